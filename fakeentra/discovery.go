package fakeentra

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// The names that stand for every tenant. Their discovery documents carry the
// literal {tenantid} where a tenant's own have its ID.
var anyTenant = []string{"common", "organizations"}

const tenantPlaceholder = "{tenantid}"

// publicCloud are the names of the global cloud, which MSAL treats as one
// (metadata of instance discovery; the same list is built into MSAL).
var publicCloud = []string{"login.microsoftonline.com", "login.windows.net", "login.microsoft.com", "sts.windows.net"}

// tenantID tells what to put for the tenant into a document: its ID, or the
// placeholder. It reports false for a tenant that there is not.
func (x *exchange) tenantID() (string, bool) {
	if slices.Contains(anyTenant, strings.ToLower(x.route.tenant)) {
		return tenantPlaceholder, true
	}
	if t := x.tenant(); t != nil {
		return t.ID, true
	}
	return "", false
}

// unknownTenant differs from the token endpoint's refusal in its error member:
// james-gould/azure-keyvault-emulator#324 shows invalid_tenant for a discovery
// document. For the keys: no source.
func (x *exchange) unknownTenant() {
	r := refusals[codeUnknownTenant]
	r.kind = "invalid_tenant"
	x.refuseAs(codeUnknownTenant, r)
}

// openIDConfiguration has the members of the service's documents that say
// something about signing in. Sources: for v1.0 and v2.0 the documents of the
// service as stored in MSAL's tests, panva/wellknown and AzureAD's MSIdentityTools
// tests; the v1.0 document points at /common for its keys in all of them.
type openIDConfiguration struct {
	TokenEndpoint         string   `json:"token_endpoint"`
	AuthMethods           []string `json:"token_endpoint_auth_methods_supported"`
	JWKSURI               string   `json:"jwks_uri"`
	ResponseModes         []string `json:"response_modes_supported"`
	SubjectTypes          []string `json:"subject_types_supported"`
	SigningAlgorithms     []string `json:"id_token_signing_alg_values_supported"`
	ResponseTypes         []string `json:"response_types_supported"`
	Scopes                []string `json:"scopes_supported"`
	Issuer                string   `json:"issuer"`
	MultiRefreshToken     bool     `json:"microsoft_multi_refresh_token,omitempty"`
	AuthorizationEndpoint string   `json:"authorization_endpoint"`
	DeviceEndpoint        string   `json:"device_authorization_endpoint"`
	EndSessionEndpoint    string   `json:"end_session_endpoint"`
	Claims                []string `json:"claims_supported"`
	TenantRegionScope     *string  `json:"tenant_region_scope"`
	CloudInstanceName     string   `json:"cloud_instance_name"`
	CloudGraphHostName    string   `json:"cloud_graph_host_name"`
	GraphHost             string   `json:"msgraph_host"`
}

func (x *exchange) discovery() {
	tenantID, ok := x.tenantID()
	if !ok {
		x.unknownTenant()
		return
	}
	inURL := tenantID
	if tenantID == tenantPlaceholder {
		inURL = strings.ToLower(x.route.tenant)
	}
	authority := x.base() + "/" + inURL
	doc := openIDConfiguration{
		TokenEndpoint:         authority + "/oauth2/token",
		AuthMethods:           []string{"client_secret_post", "private_key_jwt", "client_secret_basic"},
		JWKSURI:               x.base() + "/common/discovery/keys",
		ResponseModes:         []string{"query", "fragment", "form_post"},
		SubjectTypes:          []string{"pairwise"},
		SigningAlgorithms:     []string{"RS256"},
		ResponseTypes:         []string{"code", "id_token", "code id_token", "token id_token", "token"},
		Scopes:                []string{"openid"},
		Issuer:                issuerV1(tenantID),
		MultiRefreshToken:     true,
		AuthorizationEndpoint: authority + "/oauth2/authorize",
		DeviceEndpoint:        authority + "/oauth2/devicecode",
		EndSessionEndpoint:    authority + "/oauth2/logout",
		Claims: []string{"sub", "iss", "cloud_instance_name", "cloud_instance_host_name", "cloud_graph_host_name",
			"msgraph_host", "aud", "exp", "iat", "auth_time", "acr", "amr", "nonce", "email", "given_name", "family_name", "nickname"},
		CloudInstanceName:  "microsoftonline.com",
		CloudGraphHostName: "graph.windows.net",
		GraphHost:          "graph.microsoft.com",
	}
	if tenantID != tenantPlaceholder {
		region := "WW"
		doc.TenantRegionScope = &region
	}
	if x.route.v2 {
		doc.TokenEndpoint = authority + "/oauth2/v2.0/token"
		doc.JWKSURI = authority + "/discovery/v2.0/keys"
		doc.ResponseTypes = []string{"code", "id_token", "code id_token", "id_token token"}
		doc.Scopes = []string{"openid", "profile", "email", "offline_access"}
		doc.Issuer = issuerV2(x.base(), tenantID)
		doc.MultiRefreshToken = false
		doc.AuthorizationEndpoint = authority + "/oauth2/v2.0/authorize"
		doc.DeviceEndpoint = authority + "/oauth2/v2.0/devicecode"
		doc.EndSessionEndpoint = authority + "/oauth2/v2.0/logout"
		doc.Claims = []string{"sub", "iss", "cloud_instance_name", "cloud_instance_host_name", "cloud_graph_host_name",
			"msgraph_host", "aud", "exp", "iat", "auth_time", "acr", "nonce", "preferred_username", "name", "tid", "ver", "at_hash", "c_hash", "email"}
	}
	x.ok(doc)
}

// issuerV2 names the issuer's own host, which MSAL compares with the authority
// it was configured with.
func issuerV2(base, tenantID string) string { return base + "/" + tenantID + "/v2.0" }

func (x *exchange) keys() {
	tenantID, ok := x.tenantID()
	if !ok {
		x.unknownTenant()
		return
	}
	published, err := x.server.keys.published()
	if err != nil {
		x.internalError(err)
		return
	}
	issuer := ""
	if x.route.v2 { // the v1.0 document has no issuer per key
		issuer = issuerV2(x.base(), tenantID)
	}
	set := jwkSet{Keys: []jwk{}}
	for _, key := range published {
		set.Keys = append(set.Keys, key.published(issuer))
	}
	x.ok(set)
}

type instanceMetadata struct {
	TenantDiscoveryEndpoint string          `json:"tenant_discovery_endpoint"`
	APIVersion              string          `json:"api-version"`
	Metadata                []cloudInstance `json:"metadata"`
}

type cloudInstance struct {
	PreferredNetwork string   `json:"preferred_network"`
	PreferredCache   string   `json:"preferred_cache"`
	Aliases          []string `json:"aliases"`
}

// instance answers the question "is this authority one of yours?", which MSAL
// asks about hosts it does not know. Known are the host the issuer was reached by
// and the names of the public cloud.
func (x *exchange) instance() {
	asked := x.r.URL.Query().Get("authorization_endpoint")
	if asked == "" {
		x.details.parameter = "authorization_endpoint"
		x.refuse(codeMissingParameter)
		return
	}
	own := x.r.Host
	endpoint, err := url.Parse(asked)
	known := err == nil && endpoint.Scheme == "https" &&
		(strings.EqualFold(endpoint.Host, own) || slices.Contains(publicCloud, strings.ToLower(endpoint.Host)))
	if !known {
		x.refuse(codeUnknownInstance)
		return
	}
	tenant, _, _ := strings.Cut(strings.TrimLeft(endpoint.Path, "/"), "/")
	answer := instanceMetadata{
		TenantDiscoveryEndpoint: "https://" + endpoint.Host + "/" + url.PathEscape(tenant) + "/v2.0/.well-known/openid-configuration",
		APIVersion:              "1.1",
		Metadata: []cloudInstance{{
			PreferredNetwork: publicCloud[0],
			PreferredCache:   publicCloud[1],
			Aliases:          publicCloud,
		}},
	}
	if !slices.Contains(publicCloud, strings.ToLower(own)) {
		answer.Metadata = append(answer.Metadata, cloudInstance{PreferredNetwork: own, PreferredCache: own, Aliases: []string{own}})
	}
	x.ok(answer)
}

// internalError reports what cannot go wrong short of a broken machine.
func (x *exchange) internalError(err error) {
	x.sendError(OutcomeRefused, 0, refusal{status: http.StatusInternalServerError, kind: "server_error", text: err.Error()})
}

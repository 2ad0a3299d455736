package fakeentra

import (
	"cmp"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// maxForm is far above any real request: one with a certificate chain in its
// assertion is about 10 KiB.
const maxForm = 1 << 20

// The grants, by the name that requests have for them.
const (
	grantClientCredentials = "client_credentials"
	grantAuthorizationCode = "authorization_code"
	grantRefreshToken      = "refresh_token"
	grantPassword          = "password"
	grantDeviceCode        = "urn:ietf:params:oauth:grant-type:device_code"
	grantDeviceCodeShort   = "device_code" // the v1.0 endpoint's name, which MSAL for Go still uses
)

// tokenForm is a token request as it was sent.
type tokenForm struct {
	values       url.Values
	clientID     string
	clientSecret string
	assertion    string
}

// credentials are what the log must not show.
func (f *tokenForm) credentials() []string {
	secrets := []string{f.clientSecret} // by HTTP Basic, perhaps
	for _, name := range []string{"client_secret", "client_assertion", "code", "code_verifier", "refresh_token", "password", "device_code", "assertion"} {
		secrets = append(secrets, f.values[name]...)
	}
	return secrets
}

// readForm reads the request into x.form and into the log's record. It reports
// false when it has refused the request.
//
// Only the body counts, whatever its Content-Type: a grant_type in the query is
// not seen (microsoftgraph/microsoft-graph-docs#9207), and a JSON body is a form
// without known fields (microsoftgraph/microsoft-graph-docs-contrib#1369).
func (x *exchange) readForm() bool {
	body, err := io.ReadAll(http.MaxBytesReader(x.w, x.r.Body, maxForm))
	if err == nil {
		x.form.values, err = url.ParseQuery(string(body))
	}
	if err != nil {
		x.refuse(codeMalformedRequest)
		return false
	}
	f := &x.form
	f.clientID, f.clientSecret = f.values.Get("client_id"), f.values.Get("client_secret")
	f.assertion = f.values.Get("client_assertion")
	if id, secret, ok := x.r.BasicAuth(); ok {
		// The two are form-encoded before they are joined (RFC 6749, section 2.3.1).
		if f.clientID == "" {
			f.clientID = formDecoded(id)
		}
		if f.clientSecret == "" {
			f.clientSecret = formDecoded(secret)
		}
	}

	x.record.GrantType = f.values.Get("grant_type")
	x.recordWhatFor()
	x.details.client = f.clientID
	x.details.grant = f.values.Get("grant_type")
	x.details.scope = f.values.Get("scope")
	return true
}

// recordWhatFor notes who wants a token for what. The parameter of the other
// version's endpoints means nothing, is not looked at, and so is not noted.
func (x *exchange) recordWhatFor() {
	x.record.ClientID = x.form.clientID
	if x.route.v2 {
		x.record.Scope = x.form.values.Get("scope")
	} else {
		x.record.Resource = x.form.values.Get("resource")
	}
}

func formDecoded(s string) string {
	if plain, err := url.QueryUnescape(s); err == nil {
		return plain
	}
	return s
}

// token answers a token request. The order of the checks has no source: the
// documentation does not say which error a request with two mistakes gets.
func (x *exchange) token() {
	if x.r.Method != http.MethodPost {
		x.refuse(codePostOnly)
		return
	}
	if x.tenant() == nil && !x.anyTenant() {
		x.refuse(codeUnknownTenant)
		return
	}
	required := []string{"grant_type", "client_id"}
	answer := x.clientCredentials
	switch x.form.values.Get("grant_type") {
	case grantClientCredentials, "":
		// A v1.0 request without a resource is refused: no source.
		required = append(required, x.targetName())
	case grantAuthorizationCode:
		required, answer = append(required, "code", "redirect_uri"), x.authorizationCode
	case grantRefreshToken:
		required, answer = append(required, "refresh_token"), x.refreshToken
	case grantPassword:
		required, answer = append(required, "username", "password", x.targetName()), x.password
	case grantDeviceCode, grantDeviceCodeShort:
		answer = x.deviceToken
	default:
		answer = func() int { return codeUnsupportedGrant }
	}
	code := 0
	if missing := x.missingParameter(required); missing != "" {
		x.details.parameter = missing
		code = codeMissingParameter
	} else {
		code = answer()
	}
	if code != 0 {
		x.refuse(code)
	}
}

// anyTenant tells whether the path leaves open which tenant is meant.
func (x *exchange) anyTenant() bool {
	return slices.Contains(anyTenant, strings.ToLower(x.route.tenant))
}

// targetName is the parameter that says what the token is for.
func (x *exchange) targetName() string {
	if x.route.v2 {
		return "scope"
	}
	return "resource"
}

// missingParameter names the first of the required parameters that is not there.
func (x *exchange) missingParameter(required []string) string {
	for _, name := range required {
		if x.form.values.Get(name) == "" && (name != "client_id" || x.form.clientID == "") {
			return name
		}
	}
	return ""
}

// clientCredentials issues a token to the client itself. It returns the code to
// refuse the request with, or 0 when it has answered it.
func (x *exchange) clientCredentials() int {
	tenant := x.tenant()
	if tenant == nil { // MicrosoftDocs/azure-docs#24064
		return codeNoTenant
	}
	c, ok := tenant.client(x.form.clientID)
	if !ok {
		return codeUnknownApp
	}
	if code := x.authenticate(tenant, c); code != 0 {
		return code
	}
	audience, code := x.audience(tenant)
	if code != 0 {
		return code
	}
	var t ticket
	if c.app != nil {
		t = ticketForApp(c.app, audience, x.record.Credential.clientAuth())
	} else {
		t = ticketFor(c.identity, audience)
		t.lifetime = Lifetime{} // not from the machine's endpoint, but as any token
	}
	issued, err := x.server.issue(t)
	if err != nil {
		x.internalError(err)
		return 0
	}
	x.record.Token = &issued.info
	x.ok(x.tokenBody(issued, userAnswer{}))
	return 0
}

// audience returns the aud of the token that was asked for, or the code to
// refuse the request with.
func (x *exchange) audience(tenant *Tenant) (string, int) {
	identifier := x.form.values.Get("resource")
	if x.route.v2 {
		var failed int
		if identifier, failed = requestedResource(x.form.values.Get("scope")); failed != 0 {
			return "", failed
		}
	}
	found, ok := findResource(x.server.resources, identifier)
	if !ok {
		x.details.resource, x.details.tenant = identifier, tenant.ID
		return "", codeUnknownResource
	}
	return found.audience(x.server.audienceForm(), identifier), 0
}

type tokenV1 struct {
	TokenType    string `json:"token_type"`
	Scope        string `json:"scope,omitempty"`
	ExpiresIn    string `json:"expires_in"`
	ExtExpiresIn string `json:"ext_expires_in"`
	ExpiresOn    string `json:"expires_on"`
	NotBefore    string `json:"not_before"`
	RefreshIn    string `json:"refresh_in,omitempty"`
	Resource     string `json:"resource"`
	AccessToken  string `json:"access_token"`
	RefreshToken string `json:"refresh_token,omitempty"`
	IDToken      string `json:"id_token,omitempty"`
	ClientInfo   string `json:"client_info,omitempty"`
}

type tokenV2 struct {
	TokenType    string `json:"token_type"`
	Scope        string `json:"scope,omitempty"`
	ExpiresIn    int64  `json:"expires_in"`
	ExtExpiresIn int64  `json:"ext_expires_in"`
	RefreshIn    int64  `json:"refresh_in,omitempty"`
	AccessToken  string `json:"access_token"`
	RefreshToken string `json:"refresh_token,omitempty"`
	IDToken      string `json:"id_token,omitempty"`
	ClientInfo   string `json:"client_info,omitempty"`
}

// userAnswer is what an answer has beside the access token when a user signed in.
type userAnswer struct {
	scope, resource                   string
	refreshToken, idToken, clientInfo string
}

// tokenBody differs by endpoint: v1.0 has every number as a string and repeats
// the resource (stored answers of the service), v2.0 has numbers (Entra
// documentation, "OAuth 2.0 client credentials flow").
func (x *exchange) tokenBody(t issuedToken, u userAnswer) any {
	if x.route.v2 {
		return tokenV2{
			TokenType:    "Bearer",
			Scope:        u.scope,
			ExpiresIn:    t.expiresIn,
			ExtExpiresIn: t.expiresIn,
			RefreshIn:    t.refreshIn,
			AccessToken:  t.token,
			RefreshToken: u.refreshToken,
			IDToken:      u.idToken,
			ClientInfo:   u.clientInfo,
		}
	}
	text := func(n int64) string { return strconv.FormatInt(n, 10) }
	body := tokenV1{
		TokenType:    "Bearer",
		Scope:        u.scope,
		ExpiresIn:    text(t.expiresIn),
		ExtExpiresIn: text(t.expiresIn),
		ExpiresOn:    text(t.expires.Unix()),
		NotBefore:    text(t.notBefore.Unix()),
		Resource:     cmp.Or(u.resource, x.form.values.Get("resource")),
		AccessToken:  t.token,
		RefreshToken: u.refreshToken,
		IDToken:      u.idToken,
		ClientInfo:   u.clientInfo,
	}
	if t.refreshIn > 0 {
		body.RefreshIn = text(t.refreshIn)
	}
	return body
}

package fakeentra

import (
	"net/http"
	"strconv"
	"strings"

	"github.com/google/uuid"
)

// identityProblem is what can be wrong with a request for a token of a managed
// identity.
type identityProblem int

const (
	noProblem        identityProblem = iota
	problemMalformed                 // the form cannot be read
	problemMethod
	problemMetadata  // no Metadata header
	problemForwarded // X-Forwarded-For
	problemSecret    // a wrong secret, or none
	problemChallenge // Arc: no key yet, or a wrong one
	problemVersion
	problemNoResource
	problemSelectors // more than one identity chosen
	problemAmbiguous // none chosen, and several there
	problemIdentity  // the one chosen is not there
	problemResource  // the tenant does not know the resource
)

// identityRefusal is what a source answers for a problem. code is what its form
// of error has as a code, if it has one.
type identityRefusal struct {
	status int
	code   string
	text   string // with {placeholders} of details
}

const noSource = "This request is refused by the real endpoint too; its words for that are not known. "

// fallbackRefusals stand in where no source tells what the source answers.
var fallbackRefusals = map[identityProblem]identityRefusal{
	problemMalformed:  {http.StatusBadRequest, "invalid_request", noSource + "Expected a form."},
	problemMethod:     {http.StatusMethodNotAllowed, "method_not_allowed", noSource + "Expected GET."},
	problemMetadata:   {http.StatusBadRequest, "bad_request_102", "Required metadata header not specified"},
	problemForwarded:  {http.StatusBadRequest, "invalid_request", noSource + "Expected no X-Forwarded-For header; make the client leave out its proxy."},
	problemSecret:     {http.StatusUnauthorized, "unauthorized_client", noSource + "Expected the secret that the environment carries."},
	problemChallenge:  {http.StatusUnauthorized, "unauthorized_client", noSource + "Expected the content of the file that WWW-Authenticate names as Basic authorization."},
	problemVersion:    {http.StatusBadRequest, "invalid_request", noSource + "Expected an api-version."},
	problemNoResource: {http.StatusBadRequest, "invalid_request", "Required query variable 'resource' is missing"},
	problemSelectors:  {http.StatusBadRequest, "invalid_request", noSource + "Expected the ID of one identity, got several."},
	problemAmbiguous: {http.StatusBadRequest, "invalid_request",
		"Multiple user assigned identities exist, please specify the clientId / resourceId of the identity in the token request"},
	problemIdentity: {http.StatusBadRequest, "invalid_request", "Identity not found"},
}

// identityRefusals are the answers that differ by source. Sources:
//
//	IMDS            bad_request_102: Entra documentation, "How to use managed identities … on an Azure
//	                VM", HTTP response reference. invalid_request: Azure/azure-sdk-for-net#37278
//	                (identity), Hexadite/acs-keyvault-agent#43 (several), tests of azure-sdk-for-net
//	                (resource). api-version: Azure documentation, "Azure Instance Metadata Service",
//	                for its other endpoints. An unknown resource gets Entra's own error:
//	                AzureAD/microsoft-identity-web#2796, though the documentation has AADSTS50001.
//	                That requests must not be forwarded: the latter documentation.
//	Arc             as IMDS: no source
//	App Service     identity: Azure-Samples/azure-search-openai-demo#2148. resource, with the misspelling:
//	                Azure/azure-sdk-for-net#44685
//	Azure ML        identity: MicrosoftDocs/azure-docs#43543, of App Service with the same api-version
//	Cloud Shell     resource: Azure/CloudShell#477
//	Service Fabric  Azure documentation, "How to leverage a Service Fabric application's managed identity",
//	                error handling; the status 400 stands there as 4xx
//
// The rest has no source; see fallbackRefusals.
var identityRefusals = map[IdentitySource]map[identityProblem]identityRefusal{
	SourceIMDS: {
		problemVersion: {http.StatusBadRequest, "Bad request. api-version was not specified in the request. For more information refer to aka.ms/azureimds", ""},
	},
	SourceAppService: {
		problemIdentity: {http.StatusBadRequest, "", "No User Assigned or Delegated Managed Identity found for specified ClientId/ResourceId/PrincipalId."},
		problemResource: {http.StatusInternalServerError, "", "An unexpected error occured while fetching the AAD Token."},
	},
	SourceAzureML: {
		problemIdentity: {http.StatusBadRequest, "", "No MSI found for specified ClientId/ResourceId."},
		problemResource: {http.StatusInternalServerError, "", "An unexpected error occured while fetching the AAD Token."},
	},
	SourceCloudShell: {
		problemResource: {http.StatusBadRequest, "AudienceNotSupported", "Audience {resource} is not a supported MSI token audience."},
	},
	SourceServiceFabric: {
		problemSecret:     {http.StatusBadRequest, "SecretHeaderNotFound", "Secret is not found in the request headers."},
		problemIdentity:   {http.StatusNotFound, "ManagedIdentityNotFound", "Managed identity not found for the specified application host."},
		problemNoResource: {http.StatusBadRequest, "ArgumentNullOrEmpty", "The parameter 'resource' should not be null or empty string."},
		problemVersion:    {http.StatusBadRequest, "InvalidApiVersion", "The api-version '{parameter}' is not supported. Supported version is '" + serviceFabricVersion + "'."},
		problemResource:   {http.StatusInternalServerError, "InternalServerError", "An error occurred."},
	},
}

func (x *exchange) refuseIdentity(problem identityProblem) {
	if source := x.route.source; problem == problemResource && (source == SourceIMDS || source == SourceAzureArc) {
		x.refuse(codeUnknownResource)
		return
	}
	r, ok := identityRefusals[x.route.source][problem]
	if !ok {
		r = fallbackRefusals[problem]
	}
	switch problem {
	case problemMethod:
		x.w.Header().Set("Allow", http.MethodGet)
	case problemVersion:
		x.details.parameter = x.asked.values.Get("api-version")
	case problemChallenge:
		file, err := x.server.arc.challenge()
		if err != nil {
			x.internalError(err)
			return
		}
		x.w.Header().Set("WWW-Authenticate", "Basic realm="+file)
	}
	text := refusal{text: r.text}.describe(x.details)
	// There is no AADSTS code to log; what says most in this source's form is.
	x.record.Error = r.code
	if x.record.Error == "" {
		x.record.Error = text
	}
	x.answer(r.status, OutcomeRefused, identityError(x.route.source, r.status, r.code, text))
}

// failIdentity answers with a fault. An AADSTS code becomes a part of the text, as
// it does when Entra refuses the endpoint's own request.
func (x *exchange) failIdentity(code int, r refusal) {
	text := r.describe(x.details)
	if code != 0 {
		x.record.Error = aadsts(code)
		text = aadsts(code) + ": " + text
	}
	kind := r.kind
	if x.route.source == SourceServiceFabric || x.route.source == SourceCloudShell {
		kind = strings.ReplaceAll(http.StatusText(r.status), " ", "")
	}
	x.answer(r.status, OutcomeFault, identityError(x.route.source, r.status, kind, text))
}

// The forms of error, for which see identityRefusals.
type (
	oauthIdentityError struct {
		Error       string   `json:"error"`
		Description string   `json:"error_description,omitempty"`
		Versions    []string `json:"newest-versions,omitempty"`
	}
	appServiceError struct {
		StatusCode    int    `json:"statusCode"`
		Message       string `json:"message"`
		CorrelationID string `json:"correlationId"`
	}
	appServiceError2017 struct {
		StatusCode    int    `json:"StatusCode"`
		Message       string `json:"Message"`
		CorrelationID string `json:"CorrelationId"`
	}
	nestedError struct {
		CorrelationID string `json:"correlationId,omitempty"`
		Code          string `json:"code"`
		Message       string `json:"message"`
	}
)

func identityError(source IdentitySource, status int, code, text string) any {
	switch source {
	case SourceAppService:
		return appServiceError{status, text, uuid.NewString()}
	case SourceAzureML:
		return appServiceError2017{status, text, uuid.NewString()}
	case SourceCloudShell:
		return map[string]nestedError{"error": {Code: code, Message: text}}
	case SourceServiceFabric:
		return map[string]nestedError{"error": {uuid.NewString(), code, text}}
	}
	e := oauthIdentityError{Error: code, Description: text}
	if text == "" {
		e.Versions = []string{"2020-10-01", "2020-09-01", "2020-07-15"}
	}
	return e
}

// identityToken is the answer with a token. Every number in it is a string, as in
// the documentation of each source but Service Fabric, whose example has a number
// and whose real answers a string (MSAL for Python, _obtain_token_on_service_fabric).
// Azure ML: azure-identity for Python reports a number; the libraries take both.
type identityToken struct {
	AccessToken  string  `json:"access_token"`
	RefreshToken *string `json:"refresh_token,omitempty"` // always empty, but there
	ExpiresIn    string  `json:"expires_in,omitempty"`
	ExpiresOn    string  `json:"expires_on"`
	NotBefore    string  `json:"not_before,omitempty"`
	RefreshIn    string  `json:"refresh_in,omitempty"` // only if the TokenShape has one
	Resource     string  `json:"resource"`
	TokenType    string  `json:"token_type"`
	ClientID     string  `json:"client_id,omitempty"`
	ObjectID     string  `json:"object_id,omitempty"`
	ResourceID   string  `json:"msi_res_id,omitempty"`
}

// identityBody differs by source. IMDS, App Service and Service Fabric: the
// documentation named at identityRefusals and at selectors. Arc names the identity
// it answers for, on which the libraries insist when one was chosen (MSAL for Go,
// verifyAzureArcUserAssignedIdentity). Azure ML as App Service and Cloud Shell as
// IMDS: no source.
func (x *exchange) identityBody(m *ManagedIdentity, t issuedToken) identityToken {
	text := func(n int64) string { return strconv.FormatInt(n, 10) }
	body := identityToken{
		AccessToken: t.token,
		ExpiresOn:   text(t.expires.Unix()),
		Resource:    x.asked.resource,
		TokenType:   "Bearer",
	}
	if t.refreshIn > 0 {
		body.RefreshIn = text(t.refreshIn)
	}
	switch x.route.source {
	case SourceAppService, SourceAzureML:
		body.ClientID = m.ClientID
	case SourceIMDS, SourceCloudShell, SourceAzureArc:
		body.RefreshToken = new(string)
		body.ExpiresIn = text(t.expiresIn)
		body.NotBefore = text(t.notBefore.Unix())
	}
	if x.route.source == SourceAzureArc {
		body.ClientID, body.ObjectID, body.ResourceID = m.ClientID, m.ObjectID, m.ResourceID
	}
	return body
}

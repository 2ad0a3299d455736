package fakeentra

import (
	"fmt"
	"net/http"
	"strings"
)

// The AADSTS codes that the issuer answers with by itself.
const (
	codeUnknownInstance   = 50049
	codeBadAssertion      = 50012
	codeUnsupportedGrant  = 70003
	codeInvalidScope      = 70011
	codeUnknownTenant     = 90002
	codeTransient         = 90033
	codeThrottled         = 90055
	codeUnknownResource   = 500011
	codeUnknownApp        = 700016
	codeMissingParameter  = 900144
	codePostOnly          = 900561
	codeScopeNotDefault   = 1002012
	codeBadSecret         = 7000215
	codeMissingCredential = 7000218
	codeMalformedRequest  = 9002313
)

// refusal is what Entra answers for one AADSTS code.
type refusal struct {
	status int
	kind   string // the OAuth member "error"
	text   string // with {placeholders} of details
}

// details fill the placeholders of refusal texts; unused ones stay empty.
type details struct {
	tenant, client, parameter, scope, resource, grant, method string
}

// The texts are those that the service has been seen to send, which are longer
// than the ones in its list of error codes. Sources:
//
//	50049    AzureAD/microsoft-authentication-library-for-go#438
//	50012    list of error codes; the text is one of the reasons given there
//	70003    list of error codes; the text has no source
//	70011    learn.microsoft.com/answers/questions/1342946
//	90002    james-gould/azure-keyvault-emulator#324 (a discovery document, with invalid_tenant;
//	         that the token endpoint says invalid_request has no source)
//	90033    list of error codes; text and status have no source
//	90055    list of error codes; text and status have no source
//	500011   Azure/azure-cli#29113, rootinc/laravel-azure-middleware#51
//	700016   donwa/oneindex#621
//	900144   MicrosoftDocs/azure-docs#43780
//	900561   list of error codes; the status has no source
//	1002012  MicrosoftDocs/azure-docs#99862
//	7000215  Azure/sap-automation#418 (401)
//	7000218  list of error codes
//	9002313  TheNetworg/oauth2-azure#114
//
// The status is 400 wherever no source says another one: RFC 6749, section 5.2.
var refusals = map[int]refusal{
	codeUnknownInstance:  {http.StatusBadRequest, "invalid_instance", "Unknown or invalid instance."},
	codeBadAssertion:     {http.StatusUnauthorized, "invalid_client", "Client assertion contains an invalid signature."},
	codeUnsupportedGrant: {http.StatusBadRequest, "unsupported_grant_type", "The app requested an unsupported grant type '{grant}'."},
	codeInvalidScope: {http.StatusBadRequest, "invalid_scope",
		"The provided request must include a 'scope' input parameter. The provided value for the input parameter 'scope' is not valid. The scope {scope} is not valid."},
	codeUnknownTenant: {http.StatusBadRequest, "invalid_request",
		"Tenant '{tenant}' not found. Check to make sure you have the correct tenant ID and are signing into the correct cloud. Check with your subscription administrator, this may happen if there are no active subscriptions for the tenant."},
	codeTransient: {http.StatusServiceUnavailable, "temporarily_unavailable", "A transient error has occurred. Please try again."},
	codeThrottled: {http.StatusTooManyRequests, "temporarily_unavailable", "There are too many incoming requests."},
	codeUnknownResource: {http.StatusBadRequest, "invalid_resource",
		"The resource principal named {resource} was not found in the tenant named {tenant}. This can happen if the application has not been installed by the administrator of the tenant or consented to by any user in the tenant. You might have sent your authentication request to the wrong tenant."},
	codeUnknownApp: {http.StatusBadRequest, "unauthorized_client",
		"Application with identifier '{client}' was not found in the directory '{tenant}'. This can happen if the application has not been installed by the administrator of the tenant or consented to by any user in the tenant. You may have sent your authentication request to the wrong tenant."},
	codeMissingParameter: {http.StatusBadRequest, "invalid_request", "The request body must contain the following parameter: '{parameter}'."},
	codePostOnly:         {http.StatusBadRequest, "invalid_request", "The endpoint only accepts POST requests. Received a {method} request."},
	codeScopeNotDefault: {http.StatusBadRequest, "invalid_scope",
		"The provided value for scope {scope} is not valid. Client credential flows must have a scope value with /.default suffixed to the resource identifier (application ID URI)."},
	codeBadSecret: {http.StatusUnauthorized, "invalid_client",
		"Invalid client secret provided. Ensure the secret being sent in the request is the client secret value, not the client secret ID, for a secret added to app '{client}'."},
	codeMissingCredential: {http.StatusUnauthorized, "invalid_client", "The request body must contain the following parameter: 'client_assertion' or 'client_secret'."},
	codeMalformedRequest:  {http.StatusBadRequest, "invalid_request", "Invalid request. Request is malformed or invalid."},
}

func (r refusal) describe(d details) string {
	return strings.NewReplacer(
		"{tenant}", d.tenant, "{client}", d.client, "{parameter}", d.parameter, "{scope}", d.scope,
		"{resource}", d.resource, "{grant}", d.grant, "{method}", d.method,
	).Replace(r.text)
}

// errorBody is the JSON of every refusal; the order of its members is the
// documented one ("OAuth 2.0 client credentials flow", error response).
type errorBody struct {
	Error         string `json:"error"`
	Description   string `json:"error_description"`
	Codes         []int  `json:"error_codes"`
	Timestamp     string `json:"timestamp"`
	TraceID       string `json:"trace_id"`
	CorrelationID string `json:"correlation_id"`
	URI           string `json:"error_uri,omitempty"`
}

func (s *Server) errorBody(code int, kind, text, traceID, correlationID string) errorBody {
	timestamp := s.clock.Now().UTC().Format("2006-01-02 15:04:05Z")
	separator := " "
	if s.cfg.multilineErrors {
		separator = "\r\n"
	}
	body := errorBody{
		Error: kind,
		Description: strings.Join([]string{
			text, "Trace ID: " + traceID, "Correlation ID: " + correlationID, "Timestamp: " + timestamp,
		}, separator),
		Codes:         []int{},
		Timestamp:     timestamp,
		TraceID:       traceID,
		CorrelationID: correlationID,
	}
	if code != 0 {
		body.Description = aadsts(code) + ": " + body.Description
		body.Codes = []int{code}
		body.URI = fmt.Sprintf("https://login.microsoftonline.com/error?code=%d", code)
	}
	return body
}

func aadsts(code int) string { return fmt.Sprintf("AADSTS%d", code) }

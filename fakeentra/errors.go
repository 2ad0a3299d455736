package fakeentra

import (
	"fmt"
	"net/http"
	"strings"
)

// The AADSTS codes that the issuer answers with by itself. The negative ones are
// not codes: they name refusals without a code, or a further text for a code.
const (
	codeUnknownRedirect    = 50011
	codeBadAssertion       = 50012
	codeNoThumbprint       = 50027
	codeUnknownUser        = 50034
	codeUnknownInstance    = 50049
	codeUserDisabled       = 50057
	codeNoSession          = 50058
	codeNoTenant           = 50059
	codeBadPassword        = 50126
	codeNoVerifier         = 50148
	codeChallengeMethod    = 50149
	codeIssuerUnreachable  = 50166
	codeRevokedGrant       = 50173
	codeRedeemedGrant      = 54005
	codeInvalidGrant       = 70000
	codeUnsupportedGrant   = 70003
	codeResponseType       = 70005
	codeResponseMode       = 70007
	codeExpiredGrant       = 70008
	codeInvalidScope       = 70011
	codePending            = 70016
	codeBadDeviceCode      = 70018
	codeDeviceExpired      = 70020
	codeNoFederation       = 70021
	codeUnknownTenant      = 90002
	codeTransient          = 90033
	codeThrottled          = 90055
	codeUnknownResource    = 500011
	codeRedirectDiffers    = 500112
	codeWrongVerifier      = 501481
	codeChallengeSize      = 501491
	codeWrongTenantGrant   = 700005
	codeUnknownApp         = 700016
	codeForeignAssertion   = 700021
	codeTwoResources       = 700022
	codeAssertionAudience  = 700023
	codeAssertionDates     = 700024
	codeUnknownCertificate = 700027
	codeInactiveGrant      = 700082
	codeFederatedIssuer    = 700211
	codeFederatedAudience  = 700212
	codeFederatedSubject   = 700213
	codeMissingParameter   = 900144
	codePostOnly           = 900561
	codeScopeNotDefault    = 1002012
	codeFederatedCase      = 7002138
	codeBadSecret          = 7000215
	codeMissingCredential  = 7000218
	codeExpiredSecret      = 7000222
	codeDuplicate          = 9000411
	codeNotOverCommon      = 9001023
	codeMalformedRequest   = 9002313

	codeNoResourceInScope  = -1
	codeExpiredCertificate = -2
	codeDeclined           = -3
	codeSlowDown           = -4
)

// refusal is what Entra answers for one AADSTS code.
type refusal struct {
	status int
	kind   string // the OAuth member "error"
	text   string // with {placeholders} of details

	redirectKind string // "error" at a redirect URI, where that differs
	code         int    // the AADSTS code of a refusal that is not known by it; 0 for none
}

// details fill the placeholders of refusal texts; unused ones stay empty.
type details struct {
	tenant, client, parameter, scope, resource, grant, method string
	thumbprint, now, validFrom, validUntil                    string // of an assertion
	issuer, subject, audience                                 string // of a federated assertion
	redirect, redirectBefore, issued, inactive                string // of a grant
}

// The texts are those that the service has been seen to send, which are longer
// than the ones in its list of error codes. Sources:
//
//	50011    MicrosoftDocs/azure-docs#2438
//	50012    list of error codes; the text is one of the reasons given there
//	50027    AzureAD/microsoft-authentication-library-for-dotnet#124
//	50034    Microsoft365DSC/Microsoft365DSC#801 (400, invalid_grant)
//	50049    AzureAD/microsoft-authentication-library-for-go#438
//	50057    list of error codes
//	50058    list of error codes; login_required is of OpenID Connect
//	50059    MicrosoftDocs/azure-docs#24064; status and error have no source
//	50126    AzureAD/microsoft-authentication-library-for-dotnet#1126
//	50148    pennersr/django-allauth#2916
//	50149    MicrosoftDocs/entra-docs#1538
//	50166    Azure/azure-workload-identity#642 (newer answers have 501661)
//	50173    list of error codes
//	54005    list of error codes; davidjrh/dnn.azureadprovider#17 (invalid_grant)
//	70000    list of error codes
//	70003    list of error codes; the text has no source
//	70005    list of error codes
//	70007    list of error codes
//	70008    list of error codes; the text has no source
//	70011    learn.microsoft.com/answers/questions/1342946, which has it for two resources also
//	70016    toblum/ESPTeamsPresence#49; the error is documented for the device code flow
//	70018    list of error codes; that it belongs to bad_verification_code has no source
//	70020    Azure/azure-cli#22251; the error is documented for the device code flow
//	70021    external-secrets/external-secrets#2783 (401)
//	90002    james-gould/azure-keyvault-emulator#324 (a discovery document, with invalid_tenant;
//	         that the token endpoint says invalid_request has no source)
//	90033    list of error codes; text and status have no source
//	90055    list of error codes; text and status have no source
//	500011   Azure/azure-cli#29113, rootinc/laravel-azure-middleware#51
//	500112   PartnerCenterSamples/Reseller-Web-Application#73, when it was still 50011
//	501481   AzureAD/microsoft-authentication-library-for-js#2694
//	501491   MicrosoftDocs/entra-docs#1538
//	700005   list of error codes
//	700016   donwa/oneindex#621
//	700021   no source but the name
//	700022   list of error codes
//	700023   AzureAD/microsoft-authentication-library-for-dotnet#2746; the list has the
//	         code for a scope without a resource
//	700024   AzureAD/microsoft-authentication-library-for-dotnet#4951
//	700027   AzureAD/microsoft-authentication-library-for-js#8339; for an expired
//	         certificate the reason has no source
//	700082   list of error codes
//	700211   Azure/azure-workload-identity#1200, the text by analogy with 700213
//	700212   no source but its place between the two
//	700213   Azure/azure-workload-identity#1200; the status by analogy with 70021
//	7002138  Azure/login#515
//	900144   MicrosoftDocs/azure-docs#43780
//	900561   list of error codes; the status has no source
//	1002012  MicrosoftDocs/azure-docs#99862
//	7000215  Azure/sap-automation#418 (401)
//	7000218  list of error codes
//	7000222  liprec/vsts-release-aas#119 (401)
//	9000411  Azure/azure-sdk-for-java#31733 (the token endpoint),
//	         AzureAD/microsoft-authentication-library-for-android#688 (the authorize endpoint)
//	9001023  list of error codes
//	9002313  TheNetworg/oauth2-azure#114
//
// The status is 400 wherever no source says another one: RFC 6749, section 5.2.
var refusals = map[int]refusal{
	codeUnknownInstance:   {status: http.StatusBadRequest, kind: "invalid_instance", text: "Unknown or invalid instance."},
	codeBadAssertion:      {status: http.StatusUnauthorized, kind: "invalid_client", text: "Client assertion contains an invalid signature."},
	codeUnsupportedGrant:  {status: http.StatusBadRequest, kind: "unsupported_grant_type", text: "The app requested an unsupported grant type '{grant}'."},
	codeInvalidScope:      {status: http.StatusBadRequest, kind: "invalid_scope", text: "The provided request must include a 'scope' input parameter. The provided value for the input parameter 'scope' is not valid. The scope {scope} is not valid."},
	codeUnknownTenant:     {status: http.StatusBadRequest, kind: "invalid_request", text: "Tenant '{tenant}' not found. Check to make sure you have the correct tenant ID and are signing into the correct cloud. Check with your subscription administrator, this may happen if there are no active subscriptions for the tenant."},
	codeTransient:         {status: http.StatusServiceUnavailable, kind: "temporarily_unavailable", text: "A transient error has occurred. Please try again."},
	codeThrottled:         {status: http.StatusTooManyRequests, kind: "temporarily_unavailable", text: "There are too many incoming requests."},
	codeUnknownResource:   {status: http.StatusBadRequest, kind: "invalid_resource", text: "The resource principal named {resource} was not found in the tenant named {tenant}. This can happen if the application has not been installed by the administrator of the tenant or consented to by any user in the tenant. You might have sent your authentication request to the wrong tenant."},
	codeUnknownApp:        {status: http.StatusBadRequest, kind: "unauthorized_client", text: "Application with identifier '{client}' was not found in the directory '{tenant}'. This can happen if the application has not been installed by the administrator of the tenant or consented to by any user in the tenant. You may have sent your authentication request to the wrong tenant."},
	codeMissingParameter:  {status: http.StatusBadRequest, kind: "invalid_request", text: "The request body must contain the following parameter: '{parameter}'."},
	codePostOnly:          {status: http.StatusBadRequest, kind: "invalid_request", text: "The endpoint only accepts POST requests. Received a {method} request."},
	codeScopeNotDefault:   {status: http.StatusBadRequest, kind: "invalid_scope", text: "The provided value for scope {scope} is not valid. Client credential flows must have a scope value with /.default suffixed to the resource identifier (application ID URI)."},
	codeBadSecret:         {status: http.StatusUnauthorized, kind: "invalid_client", text: "Invalid client secret provided. Ensure the secret being sent in the request is the client secret value, not the client secret ID, for a secret added to app '{client}'."},
	codeMissingCredential: {status: http.StatusUnauthorized, kind: "invalid_client", text: "The request body must contain the following parameter: 'client_assertion' or 'client_secret'."},
	codeMalformedRequest:  {status: http.StatusBadRequest, kind: "invalid_request", text: "Invalid request. Request is malformed or invalid."},
	codeDuplicate:         {status: http.StatusBadRequest, kind: "invalid_request", text: "The request is not properly formatted. The parameter '{parameter}' is duplicated."},

	// Further client credentials.
	codeExpiredSecret:      {status: http.StatusUnauthorized, kind: "invalid_client", text: "The provided client secret keys for app '{client}' are expired. Visit the Azure portal to create new keys for your app: https://aka.ms/NewClientSecret, or consider using certificate credentials for added security: https://aka.ms/certCreds."},
	codeNoThumbprint:       {status: http.StatusUnauthorized, kind: "invalid_client", text: "Invalid JWT token. No certificate thumbprint specified in token header."},
	codeUnknownCertificate: {status: http.StatusUnauthorized, kind: "invalid_client", text: "The certificate with identifier used to sign the client assertion is not registered on application. [Reason - The key was not found., Thumbprint of key used by client: '{thumbprint}', Please visit the Azure Portal, Graph Explorer or directly use MS Graph to see configured keys for app Id '{client}'.]"},
	codeExpiredCertificate: {status: http.StatusUnauthorized, kind: "invalid_client", code: codeUnknownCertificate, text: "Client assertion contains an invalid signature. [Reason - The key used is expired., Thumbprint of key used by client: '{thumbprint}']"},
	codeForeignAssertion:   {status: http.StatusUnauthorized, kind: "invalid_client", text: "Client assertion application identifier doesn't match 'client_id' parameter."},
	codeAssertionAudience:  {status: http.StatusUnauthorized, kind: "invalid_client", text: "Client assertion audience claim does not match Realm issuer. Review the documentation at https://learn.microsoft.com/entra/identity-platform/certificate-credentials ."},
	codeAssertionDates:     {status: http.StatusUnauthorized, kind: "invalid_client", text: "Client assertion is not within its valid time range. Current time: {now}, assertion valid from {validFrom}, expiry time of assertion {validUntil}. Review the documentation at https://learn.microsoft.com/entra/identity-platform/certificate-credentials ."},
	codeNoFederation:       {status: http.StatusUnauthorized, kind: "invalid_client", text: "No matching federated identity record found for presented assertion. Assertion Issuer: '{issuer}'. Assertion Subject: '{subject}'. Assertion Audience: '{audience}'. https://learn.microsoft.com/entra/workload-id/workload-identity-federation"},
	codeFederatedIssuer:    {status: http.StatusUnauthorized, kind: "invalid_client", text: "No matching federated identity record found for presented assertion issuer '{issuer}'." + checkFederation},
	codeFederatedAudience:  {status: http.StatusUnauthorized, kind: "invalid_client", text: "No matching federated identity record found for presented assertion audience '{audience}'." + checkFederation},
	codeFederatedSubject:   {status: http.StatusUnauthorized, kind: "invalid_client", text: "No matching federated identity record found for presented assertion subject '{subject}'." + checkFederation},
	codeFederatedCase:      {status: http.StatusUnauthorized, kind: "invalid_client", text: "No matching federated identity record found for presented assertion subject '{subject}'. The subject matches with case-insensitive comparison, but not with case-sensitive comparison." + checkFederation},
	codeIssuerUnreachable:  {status: http.StatusBadRequest, kind: "invalid_request", text: "Request to External OIDC endpoint failed."},

	// What users and their grants add.
	codeNoTenant:         {status: http.StatusBadRequest, kind: "invalid_request", text: "No tenant-identifying information found in either the request or implied by any provided credentials."},
	codeNotOverCommon:    {status: http.StatusBadRequest, kind: "invalid_request", text: "The grant type is not supported over the /common or /consumers endpoints. Please use the /organizations or tenant-specific endpoint."},
	codeUnknownUser:      {status: http.StatusBadRequest, kind: "invalid_grant", text: "The user account {EmailHidden} does not exist in the {tenant} directory. To sign into this application, the account must be added to the directory."},
	codeBadPassword:      {status: http.StatusBadRequest, kind: "invalid_grant", text: "Error validating credentials due to invalid username or password."},
	codeInvalidGrant:     {status: http.StatusBadRequest, kind: "invalid_grant", text: "The provided value for the input parameter 'code' or 'refresh_token' is not valid."},
	codeExpiredGrant:     {status: http.StatusBadRequest, kind: "invalid_grant", text: "The provided authorization code or refresh token has expired. Send a new interactive authorization request for this user and resource."},
	codeRedeemedGrant:    {status: http.StatusBadRequest, kind: "invalid_grant", text: "OAuth2 Authorization code was already redeemed, please retry with a new valid code or use an existing refresh token."},
	codeRevokedGrant:     {status: http.StatusBadRequest, kind: "invalid_grant", text: "The provided grant has expired due to it being revoked, a fresh auth token is needed. The user might have changed or reset their password."},
	codeInactiveGrant:    {status: http.StatusBadRequest, kind: "invalid_grant", text: "The refresh token has expired due to inactivity. The token was issued on {issued} and was inactive for {inactive}."},
	codeWrongTenantGrant: {status: http.StatusBadRequest, kind: "invalid_grant", text: "Provided Authorization Code is intended to use against other tenant, thus rejected."},
	codeRedirectDiffers:  {status: http.StatusBadRequest, kind: "invalid_client", text: "The reply address '{redirect}' does not match the reply address '{redirectBefore}' provided when requesting Authorization code."},
	codeNoVerifier:       {status: http.StatusBadRequest, kind: "invalid_grant", text: "The code_verifier does not match the code_challenge supplied in the authorization request for PKCE."},
	codeWrongVerifier:    {status: http.StatusBadRequest, kind: "invalid_grant", text: "The Code_Verifier does not match the code_challenge supplied in the authorization request."},
	codeChallengeMethod:  {status: http.StatusBadRequest, kind: "invalid_request", text: "Invalid Code_Challenge_method parameter."},
	codeChallengeSize:    {status: http.StatusBadRequest, kind: "invalid_request", text: "Invalid size of Code_Challenge parameter."},
	codeUnknownRedirect:  {status: http.StatusBadRequest, kind: "invalid_request", text: "The redirect URI '{redirect}' specified in the request does not match the redirect URIs configured for the application '{client}'."},
	codeResponseMode:     {status: http.StatusBadRequest, kind: "invalid_request", text: "The app returned an unsupported value of 'response_mode' when requesting a token."},
	codeTwoResources:     {status: http.StatusBadRequest, kind: "invalid_scope", text: "The provided value for the input parameter scope '{scope}' is not valid because it contains more than one resource."},
	codePending:          {status: http.StatusBadRequest, kind: "authorization_pending", text: "OAuth 2.0 device flow error. Authorization is pending. Continue polling."},
	codeBadDeviceCode:    {status: http.StatusBadRequest, kind: "bad_verification_code", text: "The provided value for the input parameter 'device_code' is not valid."},
	codeDeviceExpired:    {status: http.StatusBadRequest, kind: "expired_token", text: "The provided value for the input parameter 'device_code' is not valid. This device code has expired."},
	codeUserDisabled: {
		status: http.StatusBadRequest, kind: "invalid_grant", redirectKind: "access_denied", text: "The user account is disabled.",
	},
	codeNoSession: {
		status: http.StatusBadRequest, kind: "login_required", text: "A silent sign-in request was sent but no user is signed in.",
	},
	codeResponseType: {
		status: http.StatusBadRequest, kind: "unsupported_response_type", text: "The app returned an unsupported response type.",
	},
	codeNoResourceInScope: {
		status: http.StatusBadRequest, kind: "invalid_scope", code: 700023,
		text: "The provided value for the input parameter scope '{scope}' is not valid when requesting an access token.",
	},
	codeDeclined: {status: http.StatusBadRequest, kind: "authorization_declined", text: "The end user denied the authorization request."},
	codeSlowDown: {status: http.StatusBadRequest, kind: "slow_down", text: "The device polls too often. Wait longer between two polls."},
}

const checkFederation = " Check your federated identity credential Subject, Audience and Issuer against the presented assertion. https://learn.microsoft.com/entra/workload-id/workload-identity-federation"

func (r refusal) describe(d details) string {
	return strings.NewReplacer(
		"{tenant}", d.tenant, "{client}", d.client, "{parameter}", d.parameter, "{scope}", d.scope,
		"{resource}", d.resource, "{grant}", d.grant, "{method}", d.method,
		"{thumbprint}", d.thumbprint, "{now}", d.now, "{validFrom}", d.validFrom, "{validUntil}", d.validUntil,
		"{issuer}", d.issuer, "{subject}", d.subject, "{audience}", d.audience,
		"{redirect}", d.redirect, "{redirectBefore}", d.redirectBefore, "{issued}", d.issued, "{inactive}", d.inactive,
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
	timestamp := s.now().UTC().Format("2006-01-02 15:04:05Z")
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

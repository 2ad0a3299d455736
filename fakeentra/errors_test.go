package fakeentra_test

import (
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/jonboulle/clockwork"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/entracache/entracache/fakeentra"
)

const (
	unknownTenantID = "00000000-0000-0000-0000-00000000dead"
	correlationID   = "fb3d2015-bc17-4bb9-bb85-30c5cf1aaaa7"
)

var traceID = regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}`)

// wantError builds the exact body, with TRACE for the random trace ID.
func wantError(kind, code, text string) string {
	const suffix = " Trace ID: TRACE Correlation ID: " + correlationID + " Timestamp: 2031-05-06 07:08:09Z"
	return `{"error":"` + kind + `","error_description":"AADSTS` + code + `: ` + text + suffix + `","error_codes":[` + code +
		`],"timestamp":"2031-05-06 07:08:09Z","trace_id":"TRACE","correlation_id":"` + correlationID +
		`","error_uri":"https://login.microsoftonline.com/error?code=` + code + `"}`
}

// maskTrace replaces the trace ID, which must be one and the same wherever the
// body has it.
func maskTrace(t testing.TB, a answer) string {
	t.Helper()
	id, _ := a.decode(t)["trace_id"].(string)
	require.Regexp(t, traceID, id)
	return strings.ReplaceAll(a.body, id, "TRACE")
}

func TestErrorsAreEntrasToTheByte(t *testing.T) {
	clock := clockwork.NewFakeClockAt(time.Date(2031, 5, 6, 9, 8, 9, 999, time.FixedZone("", 2*60*60)))
	s := fakeentra.RunT(t, fakeentra.WithClock(clock))
	app := s.RegisterApp("orders")
	client := newClient(t, s)
	const assertionType = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"

	v2, v1 := s.Authority()+"/oauth2/v2.0/token", s.Authority()+"/oauth2/token"
	tests := map[string]struct {
		url    string
		form   url.Values
		status int
		want   string
	}{
		"bad secret": {v2, tokenForm(app, "client_secret", "wrong"), 401, wantError("invalid_client", "7000215",
			"Invalid client secret provided. Ensure the secret being sent in the request is the client secret value, not the client secret ID, for a secret added to app '"+app.ClientID+"'.")},
		"no secret": {v2, tokenForm(app, "client_secret", ""), 401, wantError("invalid_client", "7000218",
			"The request body must contain the following parameter: 'client_assertion' or 'client_secret'.")},
		"assertion of an app without certificates": {v2, tokenForm(app, "client_secret", "", "client_assertion", "a.b.c", "client_assertion_type", assertionType), 401,
			wantError("invalid_client", "50012", "Client assertion contains an invalid signature.")},
		"unknown app": {v2, tokenForm(app, "client_id", "11111111-2222-3333-4444-555555555555"), 400, wantError("unauthorized_client", "700016",
			"Application with identifier '11111111-2222-3333-4444-555555555555' was not found in the directory '"+s.TenantID()+"'. This can happen if the application has not been installed by the administrator of the tenant or consented to by any user in the tenant. You may have sent your authentication request to the wrong tenant.")},
		"unknown tenant": {s.URL() + "/" + unknownTenantID + "/oauth2/v2.0/token", tokenForm(app), 400, wantError("invalid_request", "90002",
			"Tenant '"+unknownTenantID+"' not found. Check to make sure you have the correct tenant ID and are signing into the correct cloud. Check with your subscription administrator, this may happen if there are no active subscriptions for the tenant.")},
		"scope without .default": {v2, tokenForm(app, "scope", "https://redis.azure.com/user_impersonation"), 400, wantError("invalid_scope", "1002012",
			"The provided value for scope https://redis.azure.com/user_impersonation is not valid. Client credential flows must have a scope value with /.default suffixed to the resource identifier (application ID URI).")},
		"only OpenID scopes": {v2, tokenForm(app, "scope", "openid"), 400, wantError("invalid_scope", "1002012",
			"The provided value for scope openid is not valid. Client credential flows must have a scope value with /.default suffixed to the resource identifier (application ID URI).")},
		"malformed scope": {v2, tokenForm(app, "scope", "redis/.default"), 400, wantError("invalid_scope", "70011",
			"The provided request must include a 'scope' input parameter. The provided value for the input parameter 'scope' is not valid. The scope redis/.default is not valid.")},
		"two resources": {v2, tokenForm(app, "scope", "https://redis.azure.com/.default https://vault.azure.net/.default"), 400, wantError("invalid_scope", "700022",
			"The provided value for the input parameter scope 'https://redis.azure.com/.default https://vault.azure.net/.default' is not valid because it contains more than one resource.")},
		"unknown resource": {v2, tokenForm(app, "scope", "https://nobody.example/.default"), 400, wantError("invalid_resource", "500011",
			"The resource principal named https://nobody.example was not found in the tenant named "+s.TenantID()+". This can happen if the application has not been installed by the administrator of the tenant or consented to by any user in the tenant. You might have sent your authentication request to the wrong tenant.")},
		"unknown resource, v1.0": {v1, tokenForm(app, "scope", "", "resource", "https://nobody.example"), 400, wantError("invalid_resource", "500011",
			"The resource principal named https://nobody.example was not found in the tenant named "+s.TenantID()+". This can happen if the application has not been installed by the administrator of the tenant or consented to by any user in the tenant. You might have sent your authentication request to the wrong tenant.")},
		"no grant_type": {v2, tokenForm(app, "grant_type", ""), 400, wantError("invalid_request", "900144", "The request body must contain the following parameter: 'grant_type'.")},
		"no client_id":  {v2, tokenForm(app, "client_id", ""), 400, wantError("invalid_request", "900144", "The request body must contain the following parameter: 'client_id'.")},
		"no scope":      {v2, tokenForm(app, "scope", ""), 400, wantError("invalid_request", "900144", "The request body must contain the following parameter: 'scope'.")},
		"no resource":   {v1, tokenForm(app), 400, wantError("invalid_request", "900144", "The request body must contain the following parameter: 'resource'.")},
		"duplicate": {v2, url.Values{"scope": {fakeentra.RedisScope, fakeentra.RedisScope}, "grant_type": {"x", "y"}}, 400, wantError("invalid_request", "9000411",
			"The request is not properly formatted. The parameter 'grant_type' is duplicated.")},
		"unsupported flow": {v2, tokenForm(app, "grant_type", "implicit"), 400, wantError("unsupported_grant_type", "70003", "The app requested an unsupported grant type 'implicit'.")},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			tt.form.Set("client-request-id", correlationID)
			a := post(t, client, tt.url, tt.form)
			assert.Equal(t, tt.status, a.status)
			assert.Equal(t, tt.want, maskTrace(t, a))
			assert.Equal(t, "application/json; charset=utf-8", a.header.Get("Content-Type"))
			assert.Equal(t, "no-store, no-cache", a.header.Get("Cache-Control"))

			logged := s.Requests()[len(s.Requests())-1]
			assert.Equal(t, fakeentra.OutcomeRefused, logged.Outcome)
			assert.Equal(t, tt.status, logged.Status)
			assert.Contains(t, tt.want, logged.Error+":")
			assert.True(t, logged.Time.Equal(clock.Now()))
			assert.Nil(t, logged.Token)
		})
	}
}

// A parameter may be in the query and in the body, as client-request-id of MSAL for
// Node is; only the body of a token request is read.
func TestDuplicateParameters(t *testing.T) {
	s := fakeentra.RunT(t)
	app := s.RegisterApp("orders", fakeentra.WithRedirectURIs(redirectURI))
	s.RegisterUser("Ada")
	client := browser(t, s)
	query := authorizeQuery(app)
	query.Add("login_hint", "a@b.example")
	query.Add("login_hint", "c@d.example")
	a := get(t, client, s.Authority()+"/oauth2/v2.0/authorize?"+query.Encode())
	assert.Equal(t, []any{9000411.0}, a.decode(t)["error_codes"])
	a = post(t, client, s.Authority()+"/oauth2/v2.0/devicecode", url.Values{"client_id": {app.ClientID, app.ClientID}, "scope": {fakeentra.RedisScope}})
	assert.Equal(t, []any{9000411.0}, a.decode(t)["error_codes"])
	a = post(t, client, tokenURL(s)+"?client-request-id="+correlationID+"&scope=x", tokenForm(app, "client-request-id", correlationID))
	assert.Equal(t, http.StatusOK, a.status, a.body)
}

func TestDiscoveryOfAnUnknownTenantIsRefused(t *testing.T) {
	s := fakeentra.RunT(t)
	client := newClient(t, s)
	for _, path := range []string{"/v2.0/.well-known/openid-configuration", "/.well-known/openid-configuration", "/discovery/keys", "/discovery/v2.0/keys"} {
		a := get(t, client, s.URL()+"/"+unknownTenantID+path)
		assert.Equal(t, http.StatusBadRequest, a.status, path)
		assert.Equal(t, "invalid_tenant", a.decode(t)["error"], path)
		assert.Equal(t, []any{90002.0}, a.decode(t)["error_codes"], path)
	}
}

func TestMultilineErrors(t *testing.T) {
	clock := clockwork.NewFakeClockAt(time.Date(2016, 1, 9, 2, 2, 12, 0, time.UTC))
	s := fakeentra.RunT(t, fakeentra.WithClock(clock), fakeentra.WithMultilineErrors())
	a := post(t, newClient(t, s), tokenURL(s), url.Values{"client-request-id": {correlationID}})
	assert.Contains(t, maskTrace(t, a), `"error_description":"AADSTS900144: The request body must contain the following parameter: 'grant_type'.\r\nTrace ID: TRACE\r\nCorrelation ID: `+
		correlationID+`\r\nTimestamp: 2016-01-09 02:02:12Z"`)
}

func TestCorrelationIDFollowsTheClient(t *testing.T) {
	s := fakeentra.RunT(t)
	client := newClient(t, s)

	a := post(t, client, tokenURL(s)+"?client-request-id="+correlationID, url.Values{})
	assert.Equal(t, correlationID, a.decode(t)["correlation_id"], "as a query parameter")

	req, err := http.NewRequestWithContext(boundedContext(t), http.MethodPost, tokenURL(s), nil)
	require.NoError(t, err)
	req.Header.Set("client-request-id", correlationID)
	assert.Equal(t, correlationID, do(t, client, req).decode(t)["correlation_id"], "as a header")

	a = post(t, client, tokenURL(s), url.Values{"client-request-id": {`"}<script>`}})
	assert.Regexp(t, traceID, a.decode(t)["correlation_id"], "anything but a GUID is replaced")
}

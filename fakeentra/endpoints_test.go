package fakeentra_test

import (
	"encoding/base64"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/jonboulle/clockwork"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/entracache/entracache/fakeentra"
)

func TestOpenIDConfiguration(t *testing.T) {
	s := fakeentra.RunT(t)
	client := newClient(t, s)
	tid, base := s.TenantID(), s.URL()

	tests := map[string]map[string]any{
		"/" + tid + "/v2.0/.well-known/openid-configuration": {
			"issuer":                        base + "/" + tid + "/v2.0",
			"token_endpoint":                base + "/" + tid + "/oauth2/v2.0/token",
			"authorization_endpoint":        base + "/" + tid + "/oauth2/v2.0/authorize",
			"device_authorization_endpoint": base + "/" + tid + "/oauth2/v2.0/devicecode",
			"jwks_uri":                      base + "/" + tid + "/discovery/v2.0/keys",
		},
		"/" + tid + "/.well-known/openid-configuration": {
			"issuer":         "https://sts.windows.net/" + tid + "/",
			"token_endpoint": base + "/" + tid + "/oauth2/token",
			"jwks_uri":       base + "/common/discovery/keys",
		},
		"/common/v2.0/.well-known/openid-configuration": {
			"issuer":              base + "/{tenantid}/v2.0",
			"token_endpoint":      base + "/common/oauth2/v2.0/token",
			"jwks_uri":            base + "/common/discovery/v2.0/keys",
			"tenant_region_scope": nil,
		},
		"/organizations/.well-known/openid-configuration": {
			"issuer":         "https://sts.windows.net/{tenantid}/",
			"token_endpoint": base + "/organizations/oauth2/token",
		},
	}
	for path, want := range tests {
		// MSAL for Go sends an empty query, other clients doubled and trailing slashes.
		for _, spelling := range []string{path, path + "?", "/" + path, path + "/", path + "?x=y", strings.ToUpper(path[:1]) + path[1:]} {
			a := get(t, client, base+spelling)
			require.Equal(t, http.StatusOK, a.status, spelling)
			doc := a.decode(t)
			for member, value := range want {
				assert.Contains(t, doc, member, spelling)
				assert.Equal(t, value, doc[member], "%s of %s", member, spelling)
			}
		}
	}
}

func TestDiscoveryNamesTheHostItWasReachedBy(t *testing.T) {
	s := fakeentra.RunT(t)
	req, err := http.NewRequestWithContext(boundedContext(t), http.MethodGet, s.Authority()+"/v2.0/.well-known/openid-configuration", nil)
	require.NoError(t, err)
	req.Host = "entra.test:8443"
	doc := do(t, newClient(t, s), req).decode(t)
	assert.Equal(t, "https://entra.test:8443/"+s.TenantID()+"/oauth2/v2.0/token", doc["token_endpoint"])
	assert.Equal(t, "https://entra.test:8443/"+s.TenantID()+"/v2.0", doc["issuer"])
}

func TestPublishedKeys(t *testing.T) {
	s := fakeentra.RunT(t)
	client := newClient(t, s)
	tests := map[string]any{ // the issuer of each key
		"/common/discovery/keys":                    nil,
		"/" + s.TenantID() + "/discovery/keys":      nil,
		"/common/discovery/v2.0/keys":               s.URL() + "/{tenantid}/v2.0",
		"/" + s.TenantID() + "/discovery/v2.0/keys": s.Authority() + "/v2.0",
	}
	for path, issuer := range tests {
		keys, _ := get(t, client, s.URL()+path).decode(t)["keys"].([]any)
		require.Len(t, keys, 1, path)
		key, _ := keys[0].(map[string]any)
		assert.Equal(t, "RSA", key["kty"], path)
		assert.Equal(t, "sig", key["use"], path)
		assert.Equal(t, key["kid"], key["x5t"], path)
		assert.Equal(t, issuer, key["issuer"], path)
	}
	key := publishedKeys(t, s).Keys[0]
	require.True(t, key.Valid())
	require.Len(t, key.Certificates, 1, "x5c is a certificate of the same key: the JWK library checks that")
	assert.Equal(t, base64.RawURLEncoding.EncodeToString(key.CertificateThumbprintSHA1), key.KeyID)
}

func TestInstanceDiscovery(t *testing.T) {
	s := fakeentra.RunT(t)
	client := newClient(t, s)
	ask := func(authorize string) answer {
		return get(t, client, s.URL()+"/common/discovery/instance?api-version=1.1&authorization_endpoint="+url.QueryEscape(authorize))
	}

	a := ask(s.Authority() + "/oauth2/v2.0/authorize")
	require.Equal(t, http.StatusOK, a.status, a.body)
	assert.Equal(t, s.Authority()+"/v2.0/.well-known/openid-configuration", a.decode(t)["tenant_discovery_endpoint"])
	assert.Contains(t, a.body, `"aliases":["`+s.Addr()+`"]`)

	a = ask("https://login.microsoftonline.com/common/oauth2/v2.0/authorize")
	require.Equal(t, http.StatusOK, a.status, a.body)
	assert.Equal(t, "https://login.microsoftonline.com/common/v2.0/.well-known/openid-configuration", a.decode(t)["tenant_discovery_endpoint"])

	for _, unknown := range []string{"https://idp.example/common/oauth2/v2.0/authorize", "http://" + s.Addr() + "/common/oauth2/v2.0/authorize", "::"} {
		a = ask(unknown)
		assert.Equal(t, http.StatusBadRequest, a.status, unknown)
		assert.Equal(t, "invalid_instance", a.decode(t)["error"], unknown)
		assert.Equal(t, []any{50049.0}, a.decode(t)["error_codes"], unknown)
	}
	a = ask("")
	assert.Equal(t, http.StatusBadRequest, a.status)
	assert.Contains(t, a.body, "'authorization_endpoint'")
}

func TestTokenAnswers(t *testing.T) {
	clock := clockwork.NewFakeClockAt(time.Unix(1_900_000_000, 0))
	s := fakeentra.RunT(t, fakeentra.WithClock(clock))
	app := s.RegisterApp("orders")
	client := newClient(t, s)

	a := post(t, client, s.Authority()+"/oauth2/v2.0/token", tokenForm(app))
	v2 := a.decode(t)
	token, _ := v2["access_token"].(string)
	assert.Equal(t, `{"token_type":"Bearer","expires_in":3600,"ext_expires_in":3600,"access_token":"`+token+`"}`, a.body)
	assert.Equal(t, "no-store, no-cache", a.header.Get("Cache-Control"))

	a = post(t, client, s.Authority()+"/oauth2/token", tokenForm(app, "scope", "", "resource", fakeentra.RedisResource))
	token, _ = a.decode(t)["access_token"].(string)
	assert.Equal(t, `{"token_type":"Bearer","expires_in":"3600","ext_expires_in":"3600","expires_on":"1900003600","not_before":"1900000000",`+
		`"resource":"https://redis.azure.com","access_token":"`+token+`"}`, a.body)
}

func TestWaysOfSendingTheRequest(t *testing.T) {
	s := fakeentra.RunT(t)
	app := s.RegisterApp("orders")
	client := newClient(t, s)
	request := func(url, contentType string, form url.Values) *http.Request {
		req, err := http.NewRequestWithContext(boundedContext(t), http.MethodPost, url, strings.NewReader(form.Encode()))
		require.NoError(t, err)
		req.Header.Set("Content-Type", contentType)
		return req
	}
	const form = "application/x-www-form-urlencoded"

	basic := request(tokenURL(s), form, tokenForm(app, "client_id", "", "client_secret", ""))
	basic.SetBasicAuth(url.QueryEscape(app.ClientID), url.QueryEscape(app.ClientSecret))
	wrongBasic := request(tokenURL(s), form, tokenForm(app, "client_id", "", "client_secret", ""))
	wrongBasic.SetBasicAuth(app.ClientID, "wrong")
	queryOnly := request(tokenURL(s)+"?"+tokenForm(app).Encode(), form, url.Values{})
	wrongMethod, err := http.NewRequestWithContext(boundedContext(t), http.MethodGet, tokenURL(s), nil)
	require.NoError(t, err)

	tests := map[string]struct {
		req    *http.Request
		status int
		code   string
	}{
		"form":                     {request(tokenURL(s), form, tokenForm(app)), 200, ""},
		"other content type":       {request(tokenURL(s), "text/plain", tokenForm(app)), 200, ""},
		"unknown parameters":       {request(tokenURL(s)+"?slice=testslice", form, tokenForm(app, "client_info", "1", "x-client-SKU", "msal")), 200, ""},
		"upper-case IDs":           {request(s.URL()+"/"+strings.ToUpper(s.TenantID())+"/oauth2/v2.0/token", form, tokenForm(app, "client_id", strings.ToUpper(app.ClientID))), 200, ""},
		"extra slashes":            {request(s.URL()+"//"+s.TenantID()+"/oauth2/v2.0/token/?", form, tokenForm(app)), 200, ""},
		"HTTP Basic":               {basic, 200, ""},
		"HTTP Basic, wrong secret": {wrongBasic, 401, "AADSTS7000215"},
		"in the query":             {queryOnly, 400, "AADSTS900144"},
		"GET":                      {wrongMethod, 400, "AADSTS900561"},
		"no form at all":           {request(tokenURL(s), form, url.Values{"x": {strings.Repeat("y", 2<<20)}}), 400, "AADSTS9002313"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			a := do(t, client, tt.req)
			assert.Equal(t, tt.status, a.status, a.body)
			logged := s.Requests()[len(s.Requests())-1]
			assert.Equal(t, tt.code, logged.Error)
			assert.Equal(t, tt.status, logged.Status)
		})
	}
}

func TestAppsBelongToTheirTenant(t *testing.T) {
	s := fakeentra.RunT(t)
	other := s.AddTenant()
	app := other.RegisterApp("orders")
	require.Equal(t, s.URL()+"/"+other.ID, other.Authority())
	client := newClient(t, s)

	a := post(t, client, tokenURL(s), tokenForm(app))
	assert.Equal(t, []any{700016.0}, a.decode(t)["error_codes"])

	a = post(t, client, other.Authority()+"/oauth2/v2.0/token", tokenForm(app))
	token, _ := a.decode(t)["access_token"].(string)
	claims := verify(t, s, token)
	assert.Equal(t, other.ID, claims["tid"])
	assert.Equal(t, "https://sts.windows.net/"+other.ID+"/", claims["iss"])
}

func TestBothHTTPVersions(t *testing.T) {
	s := fakeentra.RunT(t)
	for _, major := range []int{1, 2} {
		client := newClient(t, s)
		transport, _ := client.Transport.(*http.Transport)
		transport.ForceAttemptHTTP2 = major == 2
		resp, err := client.Get(s.URL() + "/common/discovery/keys")
		require.NoError(t, err)
		require.NoError(t, resp.Body.Close())
		assert.Equal(t, major, resp.ProtoMajor)
	}
}

func TestUnknownPaths(t *testing.T) {
	s := fakeentra.RunT(t)
	client := newClient(t, s)
	for _, path := range []string{"/", "/common", "/common/oauth2/v2.0/authorise", "/x/discovery/instance"} {
		a := get(t, client, s.URL()+path)
		assert.Equal(t, http.StatusNotFound, a.status, path)
		assert.Contains(t, a.body, "expected /{tenant}/oauth2/v2.0/token")
		assert.Equal(t, fakeentra.EndpointUnknown, s.Requests()[len(s.Requests())-1].Endpoint)
	}
}

func TestHandlerCanBeMounted(t *testing.T) {
	s := fakeentra.RunT(t)
	app := s.RegisterApp("orders")
	front := httptest.NewServer(s.Handler())
	defer front.Close()

	doc := get(t, front.Client(), front.URL+"/"+s.TenantID()+"/v2.0/.well-known/openid-configuration").decode(t)
	endpoint, _ := doc["token_endpoint"].(string)
	require.Equal(t, front.URL+"/"+s.TenantID()+"/oauth2/v2.0/token", endpoint)
	assert.Equal(t, http.StatusOK, post(t, front.Client(), endpoint, tokenForm(app)).status)

	s.SetOutage(true)
	_, err := front.Client().PostForm(endpoint, tokenForm(app)) // there is no answer
	require.Error(t, err)
	s.SetOutage(false)
	assert.Equal(t, http.StatusOK, post(t, front.Client(), endpoint, tokenForm(app)).status)
}

// Whatever is posted gets an answer in JSON, and its secret stays out of the log.
func FuzzTokenRequest(f *testing.F) {
	f.Add("grant_type=client_credentials&client_id=a&client_secret=fake-secret-x&scope=https://redis.azure.com/.default", "")
	f.Add("%zz", "Basic OjpmYWtl")
	f.Add(`{"grant_type":"client_credentials"}`, "Basic !!!")
	f.Add("scope=/.default%00&client_id=%ff&grant_type=client_credentials", "Bearer x")
	s, err := fakeentra.Start(fakeentra.WithTenant("6497c918-11ad-41e7-1b0f-7c518a87d0b0"))
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { _ = s.Close() })
	handler := s.Handler()
	f.Fuzz(func(t *testing.T, body, authorization string) {
		req := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/"+s.TenantID()+"/oauth2/v2.0/token", strings.NewReader(body))
		req.Header.Set("Authorization", authorization)
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, req)
		a := answer{status: w.Code, body: w.Body.String()}
		assert.NotEmpty(t, a.decode(t)["error"])
		assert.GreaterOrEqual(t, a.status, 400)
	})
}

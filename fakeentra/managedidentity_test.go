package fakeentra_test

import (
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/jonboulle/clockwork"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/entracache/entracache/fakeentra"
)

const bypassClaims = `{"access_token":{}}` // makes MSAL leave its cache alone

var allSources = []fakeentra.IdentitySource{
	fakeentra.SourceIMDS, fakeentra.SourceAppService, fakeentra.SourceAzureArc,
	fakeentra.SourceAzureML, fakeentra.SourceCloudShell, fakeentra.SourceServiceFabric,
}

// identityRequest is a sound request to a source, as the libraries make it. change
// overrides query parameters, or headers if the name begins with "header:"; an
// empty value removes one.
func identityRequest(t testing.TB, s *fakeentra.Server, source fakeentra.IdentitySource, m *fakeentra.ManagedIdentity, change ...string) *http.Request {
	t.Helper()
	env, err := s.ManagedIdentityEnv(source, m)
	require.NoError(t, err)
	query := url.Values{"resource": {fakeentra.RedisResource}}
	header := http.Header{}
	method, endpoint := http.MethodGet, env["IDENTITY_ENDPOINT"]
	switch source {
	case fakeentra.SourceIMDS:
		endpoint = env["AZURE_POD_IDENTITY_AUTHORITY_HOST"] + "/metadata/identity/oauth2/token"
		query.Set("api-version", "2018-02-01")
		header.Set("Metadata", "true")
	case fakeentra.SourceAppService:
		query.Set("api-version", "2019-08-01")
		header.Set("X-IDENTITY-HEADER", env["IDENTITY_HEADER"])
	case fakeentra.SourceAzureArc:
		query.Set("api-version", "2020-06-01")
		header.Set("Metadata", "true")
	case fakeentra.SourceAzureML:
		endpoint = env["MSI_ENDPOINT"]
		query.Set("api-version", "2017-09-01")
		query.Set("clientid", env["DEFAULT_IDENTITY_CLIENT_ID"])
		header.Set("secret", env["MSI_SECRET"])
	case fakeentra.SourceCloudShell:
		method, endpoint = http.MethodPost, env["MSI_ENDPOINT"]
		header.Set("Metadata", "true")
	case fakeentra.SourceServiceFabric:
		query.Set("api-version", "2019-07-01-preview")
		header.Set("Secret", env["IDENTITY_HEADER"])
	}
	for i := 0; i < len(change); i += 2 {
		name, isHeader := strings.CutPrefix(change[i], "header:")
		switch {
		case isHeader && change[i+1] == "":
			header.Del(name)
		case isHeader:
			header.Set(name, change[i+1])
		case change[i+1] == "":
			query.Del(name)
		default:
			query.Set(name, change[i+1])
		}
	}
	body := ""
	if method == http.MethodPost {
		body = query.Encode()
		header.Set("Content-Type", "application/x-www-form-urlencoded")
	} else {
		endpoint += "?" + query.Encode()
	}
	req, err := http.NewRequestWithContext(boundedContext(t), method, endpoint, strings.NewReader(body))
	require.NoError(t, err)
	req.Header = header
	return req
}

// askIdentity makes a request, and for Arc the second one with the key.
func askIdentity(t testing.TB, s *fakeentra.Server, client *http.Client, source fakeentra.IdentitySource, m *fakeentra.ManagedIdentity, change ...string) answer {
	t.Helper()
	a := do(t, client, identityRequest(t, s, source, m, change...))
	if source != fakeentra.SourceAzureArc || a.status != http.StatusUnauthorized {
		return a
	}
	file, ok := strings.CutPrefix(a.header.Get("WWW-Authenticate"), "Basic realm=")
	require.True(t, ok, "a challenge: %v", a.header)
	key, err := os.ReadFile(file)
	require.NoError(t, err)
	return do(t, client, identityRequest(t, s, source, m, append(change, "header:Authorization", "Basic "+string(key))...))
}

func TestManagedIdentityAnswers(t *testing.T) {
	start := time.Date(2031, 5, 6, 7, 8, 9, 0, time.UTC)
	want := map[fakeentra.IdentitySource][]string{ // the members, beside access_token
		fakeentra.SourceIMDS:          {"refresh_token", "expires_in", "expires_on", "not_before", "resource", "token_type"},
		fakeentra.SourceCloudShell:    {"refresh_token", "expires_in", "expires_on", "not_before", "resource", "token_type"},
		fakeentra.SourceAzureArc:      {"refresh_token", "expires_in", "expires_on", "not_before", "resource", "token_type", "client_id", "object_id", "msi_res_id"},
		fakeentra.SourceAppService:    {"expires_on", "resource", "token_type", "client_id"},
		fakeentra.SourceAzureML:       {"expires_on", "resource", "token_type", "client_id"},
		fakeentra.SourceServiceFabric: {"expires_on", "resource", "token_type"},
	}
	for _, source := range allSources {
		t.Run(string(source), func(t *testing.T) {
			s := fakeentra.RunT(t, fakeentra.WithClock(clockwork.NewFakeClockAt(start)), fakeentra.WithArcKeyFolder(t.TempDir()))
			m := s.RegisterManagedIdentity("vm", fakeentra.WithSystemAssigned())
			a := askIdentity(t, s, newClient(t, s), source, m)
			require.Equal(t, http.StatusOK, a.status, a.body)
			body := a.decode(t)
			members := map[string]any{}
			for name, value := range body {
				assert.IsType(t, "", value, name) // numbers too
				if name != "access_token" {
					members[name] = true
				}
			}
			for _, name := range want[source] {
				assert.Contains(t, members, name)
			}
			assert.Len(t, members, len(want[source]), a.body)

			token, _ := body["access_token"].(string)
			claims := decode(t, token).claims
			assert.Equal(t, m.ObjectID, claims["oid"])
			assert.Equal(t, m.ClientID, claims["appid"])
			assert.Equal(t, fakeentra.RedisResource, claims["aud"])
			assert.Equal(t, start.Add(24*time.Hour).Unix(), number(t, claims["exp"]))
			assert.Equal(t, strconv.FormatInt(start.Add(24*time.Hour).Unix(), 10), body["expires_on"])
			if _, ok := body["expires_in"]; ok {
				assert.Equal(t, "86400", body["expires_in"])
				assert.Equal(t, strconv.FormatInt(start.Unix(), 10), body["not_before"])
				assert.Empty(t, body["refresh_token"])
			}
			assert.Equal(t, fakeentra.RedisResource, body["resource"])
			assert.Equal(t, "Bearer", body["token_type"])

			log := s.Requests()
			logged := log[len(log)-1]
			assert.Equal(t, fakeentra.EndpointManagedIdentity, logged.Endpoint)
			assert.Equal(t, source, logged.Source)
			assert.Equal(t, m.ClientID, logged.ClientID)
			assert.Equal(t, m.TenantID, logged.TenantID)
			assert.Equal(t, fakeentra.RedisResource, logged.Resource)
			assert.Equal(t, claims["uti"], logged.Token.ID)
			assert.False(t, logged.Cached)
		})
	}
}

// "It is not possible to force a managed identity's token to be refreshed before
// its expiry."
func TestManagedIdentityTokensAreCached(t *testing.T) {
	clock := clockwork.NewFakeClockAt(time.Date(2031, 5, 6, 7, 8, 9, 0, time.UTC))
	s := fakeentra.RunT(t, fakeentra.WithClock(clock), fakeentra.WithArcKeyFolder(t.TempDir()))
	m := s.RegisterManagedIdentity("vm", fakeentra.WithSystemAssigned())
	client := newClient(t, s)
	ask := func(source fakeentra.IdentitySource, change ...string) map[string]any {
		a := askIdentity(t, s, client, source, m, change...)
		require.Equal(t, http.StatusOK, a.status, a.body)
		return a.decode(t)
	}

	first := ask(fakeentra.SourceIMDS)
	clock.Advance(10*time.Hour + 500*time.Millisecond)
	for _, source := range allSources { // one machine, one cache
		again := ask(source)
		require.Equal(t, first["access_token"], again["access_token"], source)
		require.Equal(t, first["expires_on"], again["expires_on"], source)
	}
	log := s.Requests()
	require.True(t, log[len(log)-1].Cached)
	require.Equal(t, log[0].Token, log[len(log)-1].Token)
	require.Equal(t, strconv.Itoa(14*60*60-1), ask(fakeentra.SourceIMDS)["expires_in"], "what is left")

	other := ask(fakeentra.SourceIMDS, "resource", fakeentra.RedisResource+"/")
	require.NotEqual(t, first["access_token"], other["access_token"], "a cache per resource URI")

	clock.Advance(14*time.Hour - fakeentra.DefaultIdentityRenewal - time.Second - 500*time.Millisecond)
	require.Equal(t, first["access_token"], ask(fakeentra.SourceIMDS)["access_token"])
	clock.Advance(time.Second)
	second := ask(fakeentra.SourceIMDS)
	require.NotEqual(t, first["access_token"], second["access_token"], "near its expiry")
	require.Equal(t, "86400", second["expires_in"])

	s.ForgetIdentityTokens()
	third := ask(fakeentra.SourceIMDS)
	require.NotEqual(t, second["access_token"], third["access_token"])

	token, _ := third["access_token"].(string)
	sum := sha256.Sum256([]byte(token))
	revoked := hex.EncodeToString(sum[:])
	require.Equal(t, token, ask(fakeentra.SourceIMDS, "token_sha256_to_refresh", revoked)["access_token"], "IMDS does not know the parameter")
	require.Equal(t, token, ask(fakeentra.SourceServiceFabric, "token_sha256_to_refresh", strings.Repeat("0", 64))["access_token"], "another token")
	fresh := ask(fakeentra.SourceServiceFabric, "token_sha256_to_refresh", revoked)["access_token"]
	require.NotEqual(t, token, fresh)
	require.Equal(t, fresh, ask(fakeentra.SourceServiceFabric, "token_sha256_to_refresh", revoked)["access_token"], "the old one is gone already")
}

func TestManagedIdentityCacheFollowsTheIdentity(t *testing.T) {
	clock := clockwork.NewFakeClockAt(time.Date(2031, 5, 6, 7, 8, 9, 0, time.UTC))
	s := fakeentra.RunT(t, fakeentra.WithClock(clock), fakeentra.WithIdentityRenewal(time.Hour))
	m := s.RegisterManagedIdentity("vm", fakeentra.WithSystemAssigned())
	client := newClient(t, s)
	ask := func() string {
		token, _ := askIdentity(t, s, client, fakeentra.SourceAppService, m).decode(t)["access_token"].(string)
		return token
	}
	sound := ask()
	m.SetDefect(fakeentra.DefectNoObjectID)
	require.NotContains(t, decode(t, ask()).claims, "oid", "a defect shows at once")
	m.SetDefect(fakeentra.DefectNone)
	require.Equal(t, sound, ask())

	require.NoError(t, m.SetTokenShape(fakeentra.TokenShape{Lifetime: fakeentra.FixedLifetime(20 * time.Minute)}))
	short := ask()
	require.NotEqual(t, sound, short, "a shape shows at once")
	clock.Advance(9 * time.Minute)
	require.Equal(t, short, ask(), "no renewal before half of its life")
	clock.Advance(time.Minute)
	require.NotEqual(t, short, ask())

	require.NoError(t, m.SetTokenShape(fakeentra.TokenShape{ExpiresIn: 2 * time.Hour, RefreshIn: time.Hour}))
	shaped := askIdentity(t, s, client, fakeentra.SourceIMDS, m).decode(t)
	require.Equal(t, "7200", shaped["expires_in"])
	require.Equal(t, "3600", shaped["refresh_in"])
	clock.Advance(10 * time.Minute)
	again := askIdentity(t, s, client, fakeentra.SourceIMDS, m).decode(t)
	require.Equal(t, shaped["access_token"], again["access_token"])
	require.Equal(t, "6600", again["expires_in"])
	require.Equal(t, "3000", again["refresh_in"])
}

func TestManagedIdentitySelectors(t *testing.T) {
	s := fakeentra.RunT(t, fakeentra.WithArcKeyFolder(t.TempDir()))
	system := s.RegisterManagedIdentity("vm", fakeentra.WithSystemAssigned())
	user := s.RegisterManagedIdentity("orders")
	elsewhere := s.AddTenant().RegisterManagedIdentity("elsewhere")
	client := newClient(t, s)
	const imds, arc, app, ml, shell = fakeentra.SourceIMDS, fakeentra.SourceAzureArc, fakeentra.SourceAppService, fakeentra.SourceAzureML, fakeentra.SourceCloudShell
	tests := []struct {
		source      fakeentra.IdentitySource
		name, value string
		want        *fakeentra.ManagedIdentity // nil: refused
	}{
		{imds, "client_id", "", system},
		{imds, "client_id", user.ClientID, user},
		{imds, "client_id", strings.ToUpper(user.ClientID), user},
		{imds, "object_id", user.ObjectID, user},
		{imds, "msi_res_id", user.ResourceID, user},
		{imds, "msi_res_id", strings.ToUpper(user.ResourceID), user},
		{imds, "mi_res_id", user.ResourceID, system}, // not a name it knows
		{imds, "client_id", system.ClientID, system},
		{imds, "client_id", user.ObjectID, nil},
		{imds, "client_id", elsewhere.ClientID, elsewhere},
		{arc, "client_id", user.ClientID, user},
		{arc, "object_id", user.ObjectID, user},
		{arc, "msi_res_id", user.ResourceID, user},
		{arc, "mi_res_id", user.ResourceID, system},
		{app, "client_id", user.ClientID, user},
		{app, "object_id", user.ObjectID, user},
		{app, "principal_id", user.ObjectID, user},
		{app, "mi_res_id", user.ResourceID, user},
		{app, "msi_res_id", user.ResourceID, system},
		{app, "client_id", "nobody", nil},
		{ml, "clientid", user.ClientID, user},
		{ml, "clientid", "", system},
		{ml, "clientid", user.ObjectID, nil},
		{shell, "client_id", user.ClientID, system},
	}
	for _, tt := range tests {
		t.Run(string(tt.source)+" "+tt.name+" "+tt.value, func(t *testing.T) {
			a := askIdentity(t, s, client, tt.source, system, tt.name, tt.value)
			if tt.want == nil {
				assert.Equal(t, http.StatusBadRequest, a.status, a.body)
				return
			}
			require.Equal(t, http.StatusOK, a.status, a.body)
			token, _ := a.decode(t)["access_token"].(string)
			claims := decode(t, token).claims
			assert.Equal(t, tt.want.ObjectID, claims["oid"])
			assert.Equal(t, tt.want.TenantID, claims["tid"])
		})
	}
	t.Run("Service Fabric goes by its code", func(t *testing.T) {
		for _, m := range []*fakeentra.ManagedIdentity{system, user, elsewhere} {
			a := askIdentity(t, s, client, fakeentra.SourceServiceFabric, m)
			require.Equal(t, http.StatusOK, a.status, a.body)
			token, _ := a.decode(t)["access_token"].(string)
			assert.Equal(t, m.ObjectID, decode(t, token).claims["oid"])
		}
	})
}

func TestManagedIdentityWithoutASystemAssignedOne(t *testing.T) {
	s := fakeentra.RunT(t)
	client := newClient(t, s)
	user := s.RegisterManagedIdentity("orders")
	ask := func(source fakeentra.IdentitySource) answer {
		return askIdentity(t, s, client, source, user, "clientid", "")
	}
	require.Equal(t, http.StatusOK, ask(fakeentra.SourceIMDS).status, "the only one there is")
	require.Equal(t, http.StatusBadRequest, ask(fakeentra.SourceAppService).status)

	s.RegisterManagedIdentity("billing")
	a := ask(fakeentra.SourceIMDS)
	require.Equal(t, http.StatusBadRequest, a.status)
	require.JSONEq(t, `{"error":"invalid_request","error_description":"Multiple user assigned identities exist, please specify the clientId / resourceId of the identity in the token request"}`, a.body)
}

func TestManagedIdentityErrors(t *testing.T) {
	s := fakeentra.RunT(t, fakeentra.WithArcKeyFolder(t.TempDir()))
	m := s.RegisterManagedIdentity("vm", fakeentra.WithSystemAssigned())
	client := newClient(t, s)
	const imds, arc, app, ml, shell, fabric = fakeentra.SourceIMDS, fakeentra.SourceAzureArc, fakeentra.SourceAppService,
		fakeentra.SourceAzureML, fakeentra.SourceCloudShell, fakeentra.SourceServiceFabric
	const unknown = "https://unknown.example"
	tests := []struct {
		name   string
		source fakeentra.IdentitySource
		change []string
		status int
		want   map[string]any // members of the body
	}{
		{"no Metadata", imds, []string{"header:Metadata", ""}, 400,
			map[string]any{"error": "bad_request_102", "error_description": "Required metadata header not specified"}},
		{"Metadata not in lower case", imds, []string{"header:Metadata", "True"}, 400, map[string]any{"error": "bad_request_102"}},
		{"Metadata of Arc not in lower case", arc, []string{"header:Metadata", "True"}, 200, map[string]any{"token_type": "Bearer"}},
		{"forwarded", imds, []string{"header:X-Forwarded-For", "10.0.0.1"}, 400, map[string]any{"error": "invalid_request"}},
		{"no api-version", imds, []string{"api-version", ""}, 400,
			map[string]any{"error": "Bad request. api-version was not specified in the request. For more information refer to aka.ms/azureimds"}},
		{"no resource", imds, []string{"resource", ""}, 400,
			map[string]any{"error": "invalid_request", "error_description": "Required query variable 'resource' is missing"}},
		{"unknown identity", imds, []string{"client_id", "nobody"}, 400,
			map[string]any{"error": "invalid_request", "error_description": "Identity not found"}},
		{"two identities", imds, []string{"client_id", m.ClientID, "object_id", m.ObjectID}, 400, map[string]any{"error": "invalid_request"}},
		{"unknown resource", imds, []string{"resource", unknown}, 400, map[string]any{"error": "invalid_resource", "error_codes": []any{500011.0}}},
		{"wrong key", arc, []string{"header:Authorization", "Basic bm90aGluZw=="}, 401, nil},
		{"wrong header", app, []string{"header:X-IDENTITY-HEADER", "wrong"}, 401, map[string]any{"statusCode": 401.0}},
		{"no header", app, []string{"header:X-IDENTITY-HEADER", ""}, 401, map[string]any{"statusCode": 401.0}},
		{"unknown identity", app, []string{"client_id", "nobody"}, 400,
			map[string]any{"statusCode": 400.0, "message": "No User Assigned or Delegated Managed Identity found for specified ClientId/ResourceId/PrincipalId."}},
		{"unknown resource", app, []string{"resource", unknown}, 500,
			map[string]any{"statusCode": 500.0, "message": "An unexpected error occured while fetching the AAD Token."}},
		{"unknown identity", ml, []string{"clientid", "nobody"}, 400,
			map[string]any{"StatusCode": 400.0, "Message": "No MSI found for specified ClientId/ResourceId."}},
		{"wrong secret", ml, []string{"header:secret", "wrong"}, 401, map[string]any{"StatusCode": 401.0}},
		{"no Metadata", shell, []string{"header:Metadata", ""}, 400, nil},
		{"unknown resource", shell, []string{"resource", unknown}, 400,
			map[string]any{"error": map[string]any{"code": "AudienceNotSupported", "message": "Audience " + unknown + " is not a supported MSI token audience."}}},
		{"no secret", fabric, []string{"header:Secret", ""}, 400, map[string]any{"error.code": "SecretHeaderNotFound", "error.message": "Secret is not found in the request headers."}},
		{"wrong secret", fabric, []string{"header:Secret", "wrong"}, 404, map[string]any{"error.code": "ManagedIdentityNotFound"}},
		{"no resource", fabric, []string{"resource", ""}, 400, map[string]any{"error.code": "ArgumentNullOrEmpty"}},
		{"no api-version", fabric, []string{"api-version", ""}, 400,
			map[string]any{"error.code": "InvalidApiVersion", "error.message": "The api-version '' is not supported. Supported version is '2019-07-01-preview'."}},
		{"unknown resource", fabric, []string{"resource", unknown}, 500, map[string]any{"error.code": "InternalServerError"}},
		{"unknown parameter", app, []string{"color", "blue"}, 200, nil},
	}
	for _, tt := range tests {
		t.Run(string(tt.source)+" "+tt.name, func(t *testing.T) {
			var a answer
			if tt.status == http.StatusUnauthorized { // not the second request with the right key
				a = do(t, client, identityRequest(t, s, tt.source, m, tt.change...))
			} else {
				a = askIdentity(t, s, client, tt.source, m, tt.change...)
			}
			require.Equal(t, tt.status, a.status, a.body)
			body := a.decode(t)
			for name, want := range tt.want {
				got := any(body)
				for part := range strings.SplitSeq(name, ".") {
					members, _ := got.(map[string]any)
					got = members[part]
				}
				assert.Equal(t, want, got, name)
			}
			log := s.Requests()
			logged := log[len(log)-1]
			assert.Equal(t, tt.status, logged.Status)
			if tt.status == http.StatusOK {
				assert.Equal(t, fakeentra.OutcomeOK, logged.Outcome)
				return
			}
			assert.Equal(t, fakeentra.OutcomeRefused, logged.Outcome)
			assert.NotEmpty(t, logged.Error)
			assert.Nil(t, logged.Token)
		})
	}
	t.Run("POST", func(t *testing.T) {
		req := identityRequest(t, s, imds, m)
		req.Method = http.MethodPost
		assert.Equal(t, http.StatusMethodNotAllowed, do(t, client, req).status)
	})
	t.Run("another path", func(t *testing.T) {
		a := get(t, client, s.MetadataURL()+"/metadata/instance")
		assert.Equal(t, http.StatusNotFound, a.status)
		assert.Contains(t, a.body, "/msi/token")
		assert.Equal(t, http.StatusNotFound, get(t, client, s.URL()+"/msi/token").status, "not on the issuer's own address")
	})
}

func TestManagedIdentityPathsAreNormalised(t *testing.T) {
	s := fakeentra.RunT(t)
	m := s.RegisterManagedIdentity("vm", fakeentra.WithSystemAssigned())
	client := newClient(t, s)
	for _, path := range []string{
		"/metadata/identity/oauth2/token", "//metadata/identity/oauth2/token", "/metadata/identity/oauth2/token/",
		"/Metadata/identity//OAuth2/Token",
	} {
		req := identityRequest(t, s, fakeentra.SourceIMDS, m)
		req.URL.Path = path
		a := do(t, client, req)
		require.Equal(t, http.StatusOK, a.status, "%s: %s", path, a.body)
	}
}

func TestManagedIdentityFaultsHaveTheFormOfTheirSource(t *testing.T) {
	s := fakeentra.RunT(t)
	m := s.RegisterManagedIdentity("vm", fakeentra.WithSystemAssigned())
	client := newClient(t, s)
	want := map[fakeentra.IdentitySource]string{
		fakeentra.SourceIMDS:          "error",
		fakeentra.SourceAppService:    "statusCode",
		fakeentra.SourceAzureML:       "StatusCode",
		fakeentra.SourceServiceFabric: "error",
	}
	for source, member := range want {
		fault := s.Fail(fakeentra.Fault{Endpoint: fakeentra.EndpointManagedIdentity, ClientID: m.ClientID, Status: http.StatusGone, Code: 90033, RetryAfter: time.Second, Times: 1})
		a := askIdentity(t, s, client, source, m)
		assert.Equal(t, http.StatusGone, a.status, source)
		assert.Contains(t, a.decode(t), member, source)
		assert.Contains(t, a.body, "AADSTS90033", source)
		assert.Equal(t, "1", a.header.Get("Retry-After"), source)
		assert.Equal(t, 1, fault.Fired(), source)
		log := s.Requests()
		assert.Equal(t, fakeentra.OutcomeFault, log[len(log)-1].Outcome, source)
		assert.Equal(t, "AADSTS90033", log[len(log)-1].Error, source)
	}
}

func TestManagedIdentityOutage(t *testing.T) {
	s := fakeentra.RunT(t)
	m := s.RegisterManagedIdentity("vm", fakeentra.WithSystemAssigned())
	client := newClient(t, s)
	ask := func() error {
		resp, err := client.Do(identityRequest(t, s, fakeentra.SourceIMDS, m))
		if err == nil {
			_ = resp.Body.Close()
		}
		return err
	}
	require.NoError(t, ask())
	s.SetOutage(true)
	require.Error(t, ask())
	s.SetOutage(false)
	require.NoError(t, ask())
}

func TestManagedIdentitySecretsStayOutOfTheLog(t *testing.T) {
	s := fakeentra.RunT(t, fakeentra.WithIdentityHeader("fake-secret-identity-header"))
	m := s.RegisterManagedIdentity("vm", fakeentra.WithSystemAssigned())
	client := newClient(t, s)
	askIdentity(t, s, client, fakeentra.SourceAppService, m, "resource", "fake-secret-identity-header", "client_id", "fake-secret-identity-header")
	askIdentity(t, s, client, fakeentra.SourceServiceFabric, m)
	for _, r := range s.Requests() {
		assert.NotContains(t, r.Resource+r.ClientID+r.Path+r.Error, "fake-secret")
	}
	require.Equal(t, "[redacted]", s.Requests()[0].Resource)
}

func TestManagedIdentityEnv(t *testing.T) {
	s := fakeentra.RunT(t)
	system := s.RegisterManagedIdentity("vm", fakeentra.WithSystemAssigned())
	user := s.RegisterManagedIdentity("orders")
	for _, source := range allSources {
		env, err := s.ManagedIdentityEnv(source, system)
		require.NoError(t, err)
		require.NotContains(t, env, "AZURE_CLIENT_ID")
	}
	env, err := s.ManagedIdentityEnv(fakeentra.SourceAppService, user)
	require.NoError(t, err)
	require.Equal(t, user.ClientID, env["AZURE_CLIENT_ID"])

	_, err = s.ManagedIdentityEnv("toaster", user)
	require.ErrorContains(t, err, `unknown managed identity source "toaster"`)
	_, err = s.ManagedIdentityEnv(fakeentra.SourceIMDS, nil)
	require.ErrorContains(t, err, "expected a managed identity, got nil")
	_, err = s.ManagedIdentityEnv(fakeentra.SourceCloudShell, user)
	require.ErrorContains(t, err, "expected a system-assigned identity")

	off := fakeentra.RunT(t, fakeentra.WithMetadataAddr(""))
	require.Empty(t, off.MetadataURL())
	m := off.RegisterManagedIdentity("vm", fakeentra.WithSystemAssigned())
	_, err = off.ManagedIdentityEnv(fakeentra.SourceIMDS, m)
	require.ErrorContains(t, err, "WithMetadataAddr")
	a := askIdentity(t, off, newClient(t, off), fakeentra.SourceServiceFabric, m)
	require.Equal(t, http.StatusOK, a.status, "not on the plain address anyway")
}

func TestArcKeyFiles(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "azcmagent", "tokens")
	s, err := fakeentra.Start(fakeentra.WithArcKeyFolder(folder))
	require.NoError(t, err)
	defer func() { require.NoError(t, s.Close()) }()
	m := s.RegisterManagedIdentity("vm", fakeentra.WithSystemAssigned())
	client := newClient(t, s)
	require.NoDirExists(t, folder, "made when it is needed")

	var files []string
	for range 20 {
		a := do(t, client, identityRequest(t, s, fakeentra.SourceAzureArc, m))
		require.Equal(t, http.StatusUnauthorized, a.status)
		file := strings.TrimPrefix(a.header.Get("WWW-Authenticate"), "Basic realm=")
		require.Equal(t, folder, filepath.Dir(file))
		require.Equal(t, ".key", filepath.Ext(file))
		require.NotContains(t, file, "=", "MSAL for Python splits there")
		info, err := os.Stat(file)
		require.NoError(t, err)
		require.LessOrEqual(t, info.Size(), int64(4096), "more is not read")
		files = append(files, file)
	}
	require.NoFileExists(t, files[0], "only so many are kept")
	left, err := filepath.Glob(folder + "/*")
	require.NoError(t, err)
	require.Len(t, left, 16)

	require.NoError(t, s.Close())
	require.NoDirExists(t, filepath.Dir(folder), "what was made is removed")
}

func TestArcWithoutAFolderSaysWhatToDo(t *testing.T) {
	s := fakeentra.RunT(t)
	m := s.RegisterManagedIdentity("vm", fakeentra.WithSystemAssigned())
	a := do(t, newClient(t, s), identityRequest(t, s, fakeentra.SourceAzureArc, m))
	require.Equal(t, http.StatusInternalServerError, a.status)
	require.Contains(t, a.body, "WithArcKeyFolder")

	blocked := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(blocked, nil, 0o600))
	s = fakeentra.RunT(t, fakeentra.WithArcKeyFolder(filepath.Join(blocked, "tokens")))
	m = s.RegisterManagedIdentity("vm", fakeentra.WithSystemAssigned())
	a = do(t, newClient(t, s), identityRequest(t, s, fakeentra.SourceAzureArc, m))
	require.Equal(t, http.StatusInternalServerError, a.status)
	require.Contains(t, a.body, "key files")
}

package fakeentra_test

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"html"
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
	redirectURI = "https://app.example/signed-in"
	verifier    = "a-verifier-of-at-least-forty-three-characters-0123"
)

func challenge() string {
	sum := sha256.Sum256([]byte(verifier))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// browser follows no redirect: what it is told is what the tests look at.
func browser(t testing.TB, s *fakeentra.Server) *http.Client {
	t.Helper()
	client := newClient(t, s)
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return client
}

func values(pairs ...string) url.Values {
	v := url.Values{}
	for i := 0; i < len(pairs); i += 2 {
		v.Set(pairs[i], pairs[i+1])
	}
	return v
}

// with returns a copy with changes; an empty value removes one.
func with(v url.Values, pairs ...string) url.Values {
	out := url.Values{}
	for name, vs := range v {
		out[name] = vs
	}
	for i := 0; i < len(pairs); i += 2 {
		if pairs[i+1] == "" {
			out.Del(pairs[i])
		} else {
			out.Set(pairs[i], pairs[i+1])
		}
	}
	return out
}

func authorizeQuery(app *fakeentra.App) url.Values {
	return values("client_id", app.ClientID, "response_type", "code", "redirect_uri", redirectURI,
		"scope", "openid offline_access "+fakeentra.RedisScope, "state", "s&1", "nonce", "n1",
		"code_challenge", challenge(), "code_challenge_method", "S256")
}

func redeemForm(app *fakeentra.App, code string) url.Values {
	return values("grant_type", "authorization_code", "client_id", app.ClientID, "client_secret", app.ClientSecret,
		"code", code, "redirect_uri", redirectURI, "code_verifier", verifier, "client_info", "1")
}

// redirected returns what the redirect URI is told.
func redirected(t testing.TB, a answer) url.Values {
	t.Helper()
	require.Equal(t, http.StatusFound, a.status, a.body)
	to, err := url.Parse(a.header.Get("Location"))
	require.NoError(t, err)
	require.Equal(t, "app.example", to.Host)
	return to.Query()
}

func authorizationCode(t testing.TB, client *http.Client, authority string, app *fakeentra.App) string {
	t.Helper()
	code := redirected(t, get(t, client, authority+"/oauth2/v2.0/authorize?"+authorizeQuery(app).Encode())).Get("code")
	require.NotEmpty(t, code)
	return code
}

var (
	formAction = regexp.MustCompile(`action="([^"]*)"`)
	formField  = regexp.MustCompile(`<input type="hidden" name="([^"]+)" value="([^"]*)">`)
)

// formOf reads the form on one of the issuer's pages.
func formOf(t testing.TB, page string) (action string, fields url.Values) {
	t.Helper()
	found := formAction.FindStringSubmatch(page)
	require.NotNil(t, found, page)
	fields = url.Values{}
	for _, f := range formField.FindAllStringSubmatch(page, -1) {
		fields.Set(html.UnescapeString(f[1]), html.UnescapeString(f[2]))
	}
	return html.UnescapeString(found[1]), fields
}

func last(s *fakeentra.Server) fakeentra.Request { r := s.Requests(); return r[len(r)-1] }

func TestAuthorizationCode(t *testing.T) {
	s := fakeentra.RunT(t)
	app := s.RegisterApp("orders", fakeentra.WithRedirectURIs(redirectURI))
	ada := s.RegisterUser("Ada Lovelace")
	client := browser(t, s)

	to := redirected(t, get(t, client, s.Authority()+"/oauth2/v2.0/authorize?"+authorizeQuery(app).Encode()))
	assert.Equal(t, "s&1", to.Get("state"))
	logged := last(s)
	assert.Equal(t, fakeentra.EndpointAuthorize, logged.Endpoint)
	assert.Equal(t, ada.ObjectID, logged.UserID)
	assert.Equal(t, app.ClientID, logged.ClientID)
	assert.Equal(t, fakeentra.OutcomeOK, logged.Outcome)

	a := post(t, client, tokenURL(s), redeemForm(app, to.Get("code")))
	require.Equal(t, http.StatusOK, a.status, a.body)
	logged = last(s)
	body := a.decode(t)
	assert.Equal(t, "https://redis.azure.com/user_impersonation https://redis.azure.com/.default", body["scope"])
	assert.NotEmpty(t, body["refresh_token"])

	token, _ := body["access_token"].(string)
	claims := verify(t, s, token)
	for name, want := range map[string]any{
		"oid": ada.ObjectID, "tid": s.TenantID(), "aud": fakeentra.RedisResource, "scp": "user_impersonation",
		"appid": app.ClientID, "appidacr": "1", "name": "Ada Lovelace", "given_name": "Ada", "family_name": "Lovelace",
		"upn": ada.PrincipalName, "unique_name": ada.PrincipalName, "idtyp": "user", "ver": "1.0", "acr": "1", "ipaddr": "127.0.0.1",
	} {
		assert.Equal(t, want, claims[name], name)
	}
	assert.NotEqual(t, ada.ObjectID, claims["sub"], "pairwise")

	id, _ := body["id_token"].(string)
	idClaims := verify(t, s, id)
	for name, want := range map[string]any{
		"aud": app.ClientID, "iss": s.Authority() + "/v2.0", "oid": ada.ObjectID, "nonce": "n1", "preferred_username": ada.PrincipalName, "ver": "2.0",
	} {
		assert.Equal(t, want, idClaims[name], name)
	}
	info, err := base64.RawURLEncoding.DecodeString(body["client_info"].(string))
	require.NoError(t, err)
	assert.JSONEq(t, `{"uid":"`+ada.ObjectID+`","utid":"`+s.TenantID()+`"}`, string(info))

	assert.Equal(t, "authorization_code", logged.GrantType)
	assert.Equal(t, fakeentra.CredentialSecret, logged.Credential)
	assert.Equal(t, ada.ObjectID, logged.UserID)
	assert.Equal(t, "user", logged.Token.Type)
	assert.Equal(t, ada.ObjectID, logged.Token.ObjectID)
	assert.NotContains(t, string(mustJSON(t, logged)), to.Get("code"))
}

func TestAuthorizationCodesThatAreRefused(t *testing.T) {
	clock := clockwork.NewFakeClockAt(certificateEpoch)
	s := fakeentra.RunT(t, fakeentra.WithClock(clock))
	app := s.RegisterApp("orders", fakeentra.WithRedirectURIs(redirectURI))
	stranger := s.RegisterApp("stranger", fakeentra.WithRedirectURIs(redirectURI))
	ada := s.RegisterUser("Ada")
	other := s.AddTenant()
	client := browser(t, s)

	tests := map[string]struct {
		url    string
		change func(url.Values) url.Values
		before func()
		kind   string
		code   float64
	}{
		"no verifier":      {tokenURL(s), func(v url.Values) url.Values { return with(v, "code_verifier", "") }, nil, "invalid_grant", 50148},
		"another verifier": {tokenURL(s), func(v url.Values) url.Values { return with(v, "code_verifier", verifier+"x") }, nil, "invalid_grant", 501481},
		"another redirect": {tokenURL(s), func(v url.Values) url.Values { return with(v, "redirect_uri", redirectURI+"/") }, nil, "invalid_client", 500112},
		"no redirect":      {tokenURL(s), func(v url.Values) url.Values { return with(v, "redirect_uri", "") }, nil, "invalid_request", 900144},
		"no code":          {tokenURL(s), func(v url.Values) url.Values { return with(v, "code", "") }, nil, "invalid_request", 900144},
		"unknown code":     {tokenURL(s), func(v url.Values) url.Values { return with(v, "code", "1.Anothing") }, nil, "invalid_grant", 70000},
		"bad secret":       {tokenURL(s), func(v url.Values) url.Values { return with(v, "client_secret", "wrong") }, nil, "invalid_client", 7000215},
		"no secret":        {tokenURL(s), func(v url.Values) url.Values { return with(v, "client_secret", "") }, nil, "invalid_client", 7000218},
		"another client":   {tokenURL(s), func(v url.Values) url.Values { return with(v, "client_id", stranger.ClientID) }, nil, "invalid_grant", 70000},
		"another tenant":   {other.Authority() + "/oauth2/v2.0/token", func(v url.Values) url.Values { return v }, nil, "invalid_grant", 700005},
		"common":           {s.URL() + "/common/oauth2/v2.0/token", func(v url.Values) url.Values { return v }, nil, "invalid_grant", 700005},
		"another resource": {tokenURL(s), func(v url.Values) url.Values { return with(v, "scope", "https://vault.example/.default") }, nil, "invalid_resource", 500011},
		"an unknown scope": {tokenURL(s), func(v url.Values) url.Values { return with(v, "scope", "https://redis.azure.com/nonsense") }, nil, "invalid_scope", 70011},
		"two resources": {tokenURL(s), func(v url.Values) url.Values {
			return with(v, "scope", "https://a.example/x https://redis.azure.com/.default")
		}, nil, "invalid_scope", 70011},
		"eleven minutes on": {tokenURL(s), func(v url.Values) url.Values { return v }, func() { clock.Advance(11 * time.Minute) }, "invalid_grant", 70008},
		"disabled":          {tokenURL(s), func(v url.Values) url.Values { return v }, func() { ada.SetDisabled(true) }, "invalid_grant", 50057},
		"revoked":           {tokenURL(s), func(v url.Values) url.Values { return v }, func() { s.RevokeSessions(ada) }, "invalid_grant", 50173},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			clock.Advance(time.Second) // away from an earlier revocation
			code := authorizationCode(t, client, s.Authority(), app)
			if tt.before != nil {
				tt.before()
				defer ada.SetDisabled(false)
			}
			a := post(t, client, tt.url, tt.change(redeemForm(app, code)))
			assert.Equal(t, tt.kind, a.decode(t)["error"])
			assert.Equal(t, []any{tt.code}, a.decode(t)["error_codes"], a.body)
		})
	}
	t.Run("a mistake does not spend it", func(t *testing.T) {
		clock.Advance(time.Second)
		code := authorizationCode(t, client, s.Authority(), app)
		require.Equal(t, http.StatusUnauthorized, post(t, client, tokenURL(s), with(redeemForm(app, code), "client_secret", "wrong")).status)
		require.Equal(t, http.StatusOK, post(t, client, tokenURL(s), redeemForm(app, code)).status)
	})
	t.Run("twice", func(t *testing.T) {
		clock.Advance(time.Second)
		code := authorizationCode(t, client, s.Authority(), app)
		require.Equal(t, http.StatusOK, post(t, client, tokenURL(s), redeemForm(app, code)).status)
		a := post(t, client, tokenURL(s), redeemForm(app, code))
		assert.Equal(t, []any{54005.0}, a.decode(t)["error_codes"])
	})
}

func TestAuthorizeAnswers(t *testing.T) {
	s := fakeentra.RunT(t)
	app := s.RegisterApp("orders", fakeentra.WithRedirectURIs(redirectURI, "http://127.0.0.1/done"))
	ada, bob := s.RegisterUser("Ada"), s.RegisterUser("Bob")
	client := browser(t, s)
	ask := func(path string, change ...string) answer {
		return get(t, client, s.URL()+path+"?"+with(authorizeQuery(app), change...).Encode())
	}
	v2 := "/" + s.TenantID() + "/oauth2/v2.0/authorize"

	for name, tt := range map[string]struct {
		path   string
		change []string
		code   float64
	}{
		"unknown tenant":    {"/" + unknownTenantID + "/oauth2/v2.0/authorize", nil, 90002},
		"unknown app":       {v2, []string{"client_id", unknownTenantID}, 700016},
		"no client":         {v2, []string{"client_id", ""}, 900144},
		"no scope":          {v2, []string{"scope", ""}, 900144},
		"unknown redirect":  {v2, []string{"redirect_uri", "https://evil.example/"}, 50011},
		"longer redirect":   {v2, []string{"redirect_uri", redirectURI + "/x"}, 50011},
		"other loopback":    {v2, []string{"redirect_uri", "http://localhost:1/done"}, 50011},
		"bad response mode": {v2, []string{"response_mode", "pigeon"}, 70007},
		"common, no tenant": {"/common/oauth2/v2.0/authorize", []string{"login_hint", "x@nowhere.example"}, 50059},
	} {
		t.Run(name, func(t *testing.T) {
			a := ask(tt.path, tt.change...)
			assert.Equal(t, http.StatusBadRequest, a.status)
			assert.Equal(t, []any{tt.code}, a.decode(t)["error_codes"], a.body)
		})
	}
	for name, tt := range map[string]struct {
		change     []string
		kind, code string
	}{
		"response type":       {[]string{"response_type", "token"}, "unsupported_response_type", "AADSTS70005"},
		"unknown resource":    {[]string{"scope", "https://nobody.example/.default"}, "invalid_resource", "AADSTS500011"},
		"two resources":       {[]string{"scope", "https://redis.azure.com/.default https://x.example/.default"}, "invalid_scope", "AADSTS700022"},
		"no resource":         {[]string{"scope", "openid"}, "invalid_scope", "AADSTS700023"},
		"short challenge":     {[]string{"code_challenge", "short"}, "invalid_request", "AADSTS501491"},
		"challenge method":    {[]string{"code_challenge_method", "S1"}, "invalid_request", "AADSTS50149"},
		"nobody is signed in": {[]string{"prompt", "none"}, "login_required", "AADSTS50058"},
	} {
		t.Run(name, func(t *testing.T) {
			to := redirected(t, ask(v2, tt.change...))
			assert.Equal(t, tt.kind, to.Get("error"))
			assert.Contains(t, to.Get("error_description"), tt.code+": ")
			assert.Equal(t, "s&1", to.Get("state"))
			assert.Empty(t, to.Get("code"))
			assert.Equal(t, fakeentra.OutcomeRefused, last(s).Outcome)
			assert.Equal(t, tt.code, last(s).Error)
		})
	}
	t.Run("any port of a loopback redirect", func(t *testing.T) {
		a := ask(v2, "redirect_uri", "http://127.0.0.1:4711/done", "login_hint", ada.PrincipalName)
		assert.Contains(t, a.header.Get("Location"), "http://127.0.0.1:4711/done?code=")
	})
	t.Run("login hint", func(t *testing.T) {
		ask(v2, "login_hint", strings.ToUpper(bob.PrincipalName))
		assert.Equal(t, bob.ObjectID, last(s).UserID)
		ask("/organizations/oauth2/v2.0/authorize", "login_hint", ada.PrincipalName)
		assert.Equal(t, ada.ObjectID, last(s).UserID)
	})
	t.Run("session", func(t *testing.T) {
		require.NoError(t, s.DefaultTenant().SignIn(bob))
		redirected(t, ask(v2, "prompt", "none"))
		assert.Equal(t, bob.ObjectID, last(s).UserID)
		require.NoError(t, s.DefaultTenant().SignIn(nil))
		require.ErrorContains(t, s.AddTenant().SignIn(bob), "expected a user of tenant")
	})
	t.Run("disabled", func(t *testing.T) {
		bob.SetDisabled(true)
		assert.Equal(t, "access_denied", redirected(t, ask(v2, "login_hint", bob.PrincipalName)).Get("error"))
	})
	t.Run("fragment", func(t *testing.T) {
		location := ask(v2, "response_mode", "fragment", "login_hint", ada.PrincipalName).header.Get("Location")
		assert.Contains(t, location, redirectURI+"#code=")
		assert.Contains(t, location, "state=s%261")
	})
	t.Run("form post", func(t *testing.T) {
		a := ask(v2, "response_mode", "form_post", "login_hint", ada.PrincipalName, "state", `"><script>`)
		assert.Equal(t, http.StatusOK, a.status)
		assert.Contains(t, a.body, `action="`+redirectURI+`"`)
		assert.Regexp(t, `name="code" value="1\.A`, a.body)
		assert.NotContains(t, a.body, "><script>")
	})
	t.Run("page", func(t *testing.T) {
		a := ask(v2)
		assert.Equal(t, http.StatusOK, a.status)
		assert.Contains(t, a.body, html.EscapeString(ada.PrincipalName))
		_, next := formOf(t, a.body)
		next.Set("login_hint", ada.PrincipalName)
		to := redirected(t, get(t, client, s.URL()+v2+"?"+next.Encode()))
		assert.NotEmpty(t, to.Get("code"))
		assert.Equal(t, "s&1", to.Get("state"))
	})
	t.Run("by POST", func(t *testing.T) {
		a := post(t, client, s.URL()+v2, with(authorizeQuery(app), "login_hint", ada.PrincipalName))
		assert.NotEmpty(t, redirected(t, a).Get("code"))
	})
}

func TestPlainChallengeAndNone(t *testing.T) {
	s := fakeentra.RunT(t)
	app := s.RegisterApp("orders", fakeentra.WithRedirectURIs(redirectURI))
	s.RegisterUser("Ada")
	client := browser(t, s)
	for _, query := range []url.Values{
		with(authorizeQuery(app), "code_challenge", verifier, "code_challenge_method", "plain"),
		with(authorizeQuery(app), "code_challenge", "", "code_challenge_method", ""),
	} {
		code := redirected(t, get(t, client, s.Authority()+"/oauth2/v2.0/authorize?"+query.Encode())).Get("code")
		a := post(t, client, tokenURL(s), redeemForm(app, code))
		require.Equal(t, http.StatusOK, a.status, a.body)
	}
}

func TestUserTokensAtV1(t *testing.T) {
	s := fakeentra.RunT(t)
	app := s.RegisterApp("orders", fakeentra.WithRedirectURIs(redirectURI))
	ada := s.RegisterUser("Ada")
	client := browser(t, s)
	query := with(authorizeQuery(app), "scope", "", "resource", fakeentra.RedisResource)
	code := redirected(t, get(t, client, s.Authority()+"/oauth2/authorize?"+query.Encode())).Get("code")
	a := post(t, client, s.Authority()+"/oauth2/token", redeemForm(app, code))
	require.Equal(t, http.StatusOK, a.status, a.body)
	body := a.decode(t)
	assert.Equal(t, "user_impersonation", body["scope"])
	assert.Equal(t, "https://redis.azure.com", body["resource"])
	assert.Equal(t, "3600", body["expires_in"])
	id, _ := body["id_token"].(string)
	claims := verify(t, s, id)
	assert.Equal(t, "https://sts.windows.net/"+s.TenantID()+"/", claims["iss"])
	assert.Equal(t, ada.PrincipalName, claims["upn"])

	form := values("grant_type", "refresh_token", "client_id", app.ClientID, "client_secret", app.ClientSecret, "refresh_token", body["refresh_token"].(string))
	a = post(t, client, s.Authority()+"/oauth2/token", form)
	require.Equal(t, http.StatusOK, a.status, a.body)
}

func TestRefreshTokens(t *testing.T) {
	clock := clockwork.NewFakeClockAt(certificateEpoch)
	s := fakeentra.RunT(t, fakeentra.WithClock(clock), fakeentra.WithResource("https://vault.example"))
	app := s.RegisterApp("orders", fakeentra.WithPublicClient())
	confidential := s.RegisterApp("confidential")
	ada := s.RegisterUser("Ada")
	client := newClient(t, s)
	login := func(app *fakeentra.App, scope string) map[string]any {
		a := post(t, client, tokenURL(s), values("grant_type", "password", "client_id", app.ClientID, "client_secret", app.ClientSecret,
			"username", ada.PrincipalName, "password", ada.Password, "scope", scope))
		require.Equal(t, http.StatusOK, a.status, a.body)
		return a.decode(t)
	}
	refresh := func(app *fakeentra.App, token any, change ...string) answer {
		return post(t, client, tokenURL(s), with(values("grant_type", "refresh_token", "client_id", app.ClientID,
			"refresh_token", token.(string), "scope", "openid offline_access "+fakeentra.RedisScope), change...))
	}
	codes := func(a answer) any { return a.decode(t)["error_codes"] }

	first := login(app, "offline_access "+fakeentra.RedisScope)
	assert.Nil(t, first["id_token"])
	assert.Nil(t, login(app, fakeentra.RedisScope)["refresh_token"], "only with offline_access")

	clock.Advance(time.Hour)
	a := refresh(app, first["refresh_token"])
	require.Equal(t, http.StatusOK, a.status, a.body)
	second := a.decode(t)
	assert.NotEqual(t, first["refresh_token"], second["refresh_token"])
	assert.NotNil(t, second["id_token"])
	token, _ := second["access_token"].(string)
	assert.Equal(t, ada.ObjectID, decode(t, token).claims["oid"])
	logged := last(s)
	assert.Equal(t, "refresh_token", logged.GrantType)
	assert.Equal(t, fakeentra.CredentialNone, logged.Credential)
	assert.Equal(t, ada.ObjectID, logged.UserID)
	assert.NotContains(t, string(mustJSON(t, s.Requests())), first["refresh_token"])

	t.Run("the old one stays good", func(t *testing.T) {
		assert.Equal(t, http.StatusOK, refresh(app, first["refresh_token"]).status)
	})
	t.Run("for another resource", func(t *testing.T) {
		a := refresh(app, first["refresh_token"], "scope", "https://vault.example/.default")
		require.Equal(t, http.StatusOK, a.status, a.body)
		token, _ := a.decode(t)["access_token"].(string)
		assert.Equal(t, "https://vault.example", decode(t, token).claims["aud"])
	})
	t.Run("without scope", func(t *testing.T) {
		assert.Equal(t, http.StatusOK, refresh(app, first["refresh_token"], "scope", "").status)
		assert.Equal(t, http.StatusOK, refresh(app, first["refresh_token"], "scope", "openid profile").status)
	})
	t.Run("of another client", func(t *testing.T) {
		assert.Equal(t, []any{70000.0}, codes(refresh(confidential, first["refresh_token"])))
	})
	t.Run("at another tenant", func(t *testing.T) {
		a := post(t, client, s.AddTenant().Authority()+"/oauth2/v2.0/token", values("grant_type", "refresh_token", "client_id", app.ClientID, "refresh_token", first["refresh_token"].(string)))
		assert.Equal(t, []any{70000.0}, codes(a))
	})
	t.Run("nonsense", func(t *testing.T) {
		for _, token := range []string{"x", "1.A", "1.A" + strings.Repeat("x", 99), first["refresh_token"].(string)[:60]} {
			assert.Equal(t, []any{9002313.0}, codes(refresh(app, token)))
		}
		assert.Equal(t, []any{900144.0}, codes(refresh(app, "")))
	})
	t.Run("without the secret", func(t *testing.T) {
		own := login(confidential, "offline_access "+fakeentra.RedisScope)
		assert.Equal(t, []any{7000218.0}, codes(refresh(confidential, own["refresh_token"])))
		assert.Equal(t, http.StatusOK, refresh(confidential, own["refresh_token"], "client_secret", confidential.ClientSecret).status)
	})
	t.Run("disabled and revoked", func(t *testing.T) {
		ada.SetDisabled(true)
		assert.Equal(t, []any{50057.0}, codes(refresh(app, first["refresh_token"])))
		assert.True(t, ada.Disabled())
		ada.SetDisabled(false)
		s.RevokeSessions(ada)
		assert.Equal(t, []any{50173.0}, codes(refresh(app, second["refresh_token"])))
		clock.Advance(time.Second)
		third := login(app, "offline_access "+fakeentra.RedisScope)
		assert.Equal(t, http.StatusOK, refresh(app, third["refresh_token"]).status)
	})
	t.Run("after 90 days", func(t *testing.T) {
		used := login(app, "offline_access "+fakeentra.RedisScope)
		clock.Advance(89 * 24 * time.Hour)
		renewed := refresh(app, used["refresh_token"]).decode(t)
		clock.Advance(2 * 24 * time.Hour)
		assert.Equal(t, []any{700082.0}, codes(refresh(app, used["refresh_token"])))
		assert.Equal(t, http.StatusOK, refresh(app, renewed["refresh_token"]).status)
	})
	t.Run("of another server", func(t *testing.T) {
		other := fakeentra.RunT(t, fakeentra.WithTenant(s.TenantID()))
		twin := other.RegisterApp("orders", fakeentra.WithClientID(app.ClientID), fakeentra.WithPublicClient())
		a := post(t, newClient(t, other), tokenURL(other), values("grant_type", "refresh_token", "client_id", twin.ClientID, "refresh_token", first["refresh_token"].(string)))
		assert.Equal(t, []any{9002313.0}, codes(a))
	})
}

func TestPasswordGrant(t *testing.T) {
	s := fakeentra.RunT(t)
	public := s.RegisterApp("public", fakeentra.WithPublicClient(), fakeentra.WithoutClientSecret())
	confidential := s.RegisterApp("confidential")
	ada := s.RegisterUser("Ada", fakeentra.WithPassword("fake-secret-ada&=?"))
	group, err := s.AddGroup("readers", "", ada.ObjectID)
	require.NoError(t, err)
	client := newClient(t, s)
	form := values("grant_type", "password", "client_id", public.ClientID, "username", ada.PrincipalName, "password", ada.Password, "scope", fakeentra.RedisScope)
	organizations := s.URL() + "/organizations/oauth2/v2.0/token"

	tests := map[string]struct {
		url    string
		change []string
		kind   string
		code   float64 // 0 for a token
	}{
		"right":                      {tokenURL(s), nil, "", 0},
		"over organizations":         {organizations, nil, "", 0},
		"by domain":                  {s.URL() + "/" + s.DefaultTenant().Domain + "/oauth2/v2.0/token", nil, "", 0},
		"name in another case":       {tokenURL(s), []string{"username", strings.ToUpper(ada.PrincipalName)}, "", 0},
		"confidential client":        {tokenURL(s), []string{"client_id", confidential.ClientID, "client_secret", confidential.ClientSecret}, "", 0},
		"v1.0":                       {s.Authority() + "/oauth2/token", []string{"resource", fakeentra.RedisResource, "scope", ""}, "", 0},
		"over common":                {s.URL() + "/common/oauth2/v2.0/token", nil, "invalid_request", 9001023},
		"bad password":               {tokenURL(s), []string{"password", "wrong"}, "invalid_grant", 50126},
		"unknown user":               {tokenURL(s), []string{"username", "eve@" + s.DefaultTenant().Domain}, "invalid_grant", 50034},
		"unknown domain":             {organizations, []string{"username", "eve@nowhere.example"}, "invalid_request", 50059},
		"a group is nobody":          {tokenURL(s), []string{"username", group.Name}, "invalid_grant", 50034},
		"not even by its ID":         {tokenURL(s), []string{"username", group.ObjectID}, "invalid_grant", 50034},
		"no password":                {tokenURL(s), []string{"password", ""}, "invalid_request", 900144},
		"no secret, not public":      {tokenURL(s), []string{"client_id", confidential.ClientID}, "invalid_client", 7000218},
		"wrong secret of public app": {tokenURL(s), []string{"client_secret", "guess"}, "invalid_client", 7000215},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			a := post(t, client, tt.url, with(form, tt.change...))
			assert.Equal(t, "password", last(s).GrantType)
			assert.NotContains(t, string(mustJSON(t, last(s))), "ada&=")
			if tt.code != 0 {
				assert.Equal(t, tt.kind, a.decode(t)["error"])
				assert.Equal(t, []any{tt.code}, a.decode(t)["error_codes"], a.body)
				return
			}
			require.Equal(t, http.StatusOK, a.status, a.body)
			token, _ := a.decode(t)["access_token"].(string)
			assert.Equal(t, ada.ObjectID, decode(t, token).claims["oid"])
			assert.Equal(t, "user", last(s).Token.Type)
		})
	}

	t.Run("a group cannot sign in as an application", func(t *testing.T) {
		a := post(t, client, tokenURL(s), tokenForm(confidential, "client_id", group.ObjectID))
		assert.Equal(t, []any{700016.0}, a.decode(t)["error_codes"])
	})
	t.Run("disabled", func(t *testing.T) {
		ada.SetDisabled(true)
		defer ada.SetDisabled(false)
		assert.Equal(t, []any{50057.0}, post(t, client, tokenURL(s), form).decode(t)["error_codes"])
	})
	t.Run("client credentials need a tenant", func(t *testing.T) {
		a := post(t, client, organizations, tokenForm(confidential))
		assert.Equal(t, []any{50059.0}, a.decode(t)["error_codes"])
	})
	t.Run("realm", func(t *testing.T) {
		a := get(t, client, s.URL()+"/common/UserRealm/"+url.PathEscape(ada.PrincipalName)+"?api-version=1.0")
		assert.JSONEq(t, `{"ver":"1.0","account_type":"Managed","domain_name":"`+s.DefaultTenant().Domain+
			`","cloud_instance_name":"microsoftonline.com","cloud_audience_urn":"urn:federation:MicrosoftOnline"}`, a.body)
		a = get(t, client, s.URL()+"/common/userrealm/eve@nowhere.example")
		assert.JSONEq(t, `{"ver":"1.0","account_type":"Unknown"}`, a.body)
		assert.Equal(t, fakeentra.EndpointUserRealm, last(s).Endpoint)
	})
}

func TestDeviceCode(t *testing.T) {
	clock := clockwork.NewFakeClockAt(certificateEpoch)
	s := fakeentra.RunT(t, fakeentra.WithClock(clock), fakeentra.WithSlowDown())
	app := s.RegisterApp("orders", fakeentra.WithPublicClient())
	confidential := s.RegisterApp("confidential")
	ada := s.RegisterUser("Ada")
	client := newClient(t, s)
	begin := func(authority string, app *fakeentra.App) map[string]any {
		a := post(t, client, authority+"/oauth2/v2.0/devicecode", values("client_id", app.ClientID, "scope", "openid offline_access "+fakeentra.RedisScope))
		require.Equal(t, http.StatusOK, a.status, a.body)
		return a.decode(t)
	}
	poll := func(code any, change ...string) answer {
		return post(t, client, tokenURL(s), with(values("grant_type", "urn:ietf:params:oauth:grant-type:device_code",
			"client_id", app.ClientID, "device_code", code.(string)), change...))
	}
	kind := func(a answer) any { return a.decode(t)["error"] }

	began := begin(s.Authority(), app)
	assert.EqualValues(t, 900, began["expires_in"])
	assert.EqualValues(t, 5, began["interval"])
	assert.Regexp(t, `^[A-Z]{9}$`, began["user_code"])
	assert.Equal(t, s.URL()+"/common/oauth2/deviceauth", began["verification_uri"])
	assert.Contains(t, began["message"], began["user_code"])
	pending := s.DeviceCodes()
	require.Len(t, pending, 1)
	assert.Equal(t, began["user_code"], pending[0].UserCode)
	assert.Equal(t, app.ClientID, pending[0].ClientID)
	assert.Equal(t, fakeentra.EndpointDeviceCode, last(s).Endpoint)

	a := poll(began["device_code"])
	assert.Equal(t, http.StatusBadRequest, a.status)
	assert.Equal(t, "authorization_pending", kind(a))
	assert.Equal(t, "AADSTS70016", last(s).Error)
	clock.Advance(4 * time.Second)
	assert.Equal(t, "slow_down", kind(poll(began["device_code"])))
	assert.Equal(t, "slow_down", last(s).Error)
	assert.Equal(t, "[]", string(mustJSON(t, poll(began["device_code"]).decode(t)["error_codes"])))
	clock.Advance(5 * time.Second)
	assert.Equal(t, "authorization_pending", kind(poll(began["device_code"])))
	assert.Equal(t, "bad_verification_code", kind(poll(began["device_code"], "client_id", confidential.ClientID)))
	assert.Equal(t, "bad_verification_code", kind(poll("nonsense")))
	assert.Equal(t, "invalid_request", kind(poll("")))

	require.ErrorContains(t, s.ApproveDeviceCode("NONSENSE", ada), "no client waits")
	eve := s.AddTenant().RegisterUser("Eve")
	require.ErrorContains(t, s.ApproveDeviceCode(pending[0].UserCode, eve), "expected a user of tenant")
	require.NoError(t, s.ApproveDeviceCode(strings.ToLower(pending[0].UserCode), ada))
	require.Empty(t, s.DeviceCodes())
	require.Error(t, s.DenyDeviceCode(pending[0].UserCode), "decided already")
	a = poll(began["device_code"])
	require.Equal(t, http.StatusOK, a.status, a.body)
	token, _ := a.decode(t)["access_token"].(string)
	assert.Equal(t, ada.ObjectID, decode(t, token).claims["oid"])
	assert.Equal(t, "0", decode(t, token).claims["appidacr"])
	assert.NotNil(t, a.decode(t)["refresh_token"])
	assert.Equal(t, ada.ObjectID, last(s).UserID)
	assert.Equal(t, "bad_verification_code", kind(poll(began["device_code"])), "each is good once")
	assert.NotContains(t, string(mustJSON(t, s.Requests())), began["device_code"])

	t.Run("denied", func(t *testing.T) {
		began := begin(s.Authority(), app)
		require.NoError(t, s.DenyDeviceCode(began["user_code"].(string)))
		assert.Equal(t, "authorization_declined", kind(poll(began["device_code"])))
	})
	t.Run("expired", func(t *testing.T) {
		began := begin(s.Authority(), app)
		clock.Advance(15 * time.Minute)
		require.Error(t, s.ApproveDeviceCode(began["user_code"].(string), ada))
		a := poll(began["device_code"])
		assert.Equal(t, "expired_token", kind(a))
		assert.Equal(t, []any{70020.0}, a.decode(t)["error_codes"])
	})
	t.Run("not public", func(t *testing.T) {
		began := begin(s.Authority(), confidential)
		require.NoError(t, s.ApproveDeviceCode(began["user_code"].(string), ada))
		assert.Equal(t, []any{7000218.0}, poll(began["device_code"], "client_id", confidential.ClientID).decode(t)["error_codes"])
		a := poll(began["device_code"], "client_id", confidential.ClientID, "client_secret", confidential.ClientSecret)
		assert.Equal(t, http.StatusOK, a.status)
	})
	t.Run("v1.0", func(t *testing.T) {
		a := post(t, client, s.Authority()+"/oauth2/devicecode", values("client_id", app.ClientID, "resource", fakeentra.RedisResource))
		require.Equal(t, http.StatusOK, a.status, a.body)
		began := a.decode(t)
		assert.Equal(t, "900", began["expires_in"])
		assert.NotEmpty(t, began["verification_url"])
		require.NoError(t, s.ApproveDeviceCode(began["user_code"].(string), ada))
		a = post(t, client, s.Authority()+"/oauth2/token", values("grant_type", "device_code", "client_id", app.ClientID, "code", began["device_code"].(string)))
		assert.Equal(t, http.StatusOK, a.status, a.body)
	})
	t.Run("over organizations", func(t *testing.T) {
		began := begin(s.URL()+"/organizations", app)
		require.NoError(t, s.ApproveDeviceCode(began["user_code"].(string), ada))
		a := post(t, client, s.URL()+"/organizations/oauth2/v2.0/token", values("grant_type", "device_code", "client_id", app.ClientID, "device_code", began["device_code"].(string)))
		assert.Equal(t, http.StatusOK, a.status, a.body)
	})
	t.Run("by hand", func(t *testing.T) {
		for field, want := range map[string]string{"login_hint": "", "deny": "authorization_declined"} {
			began := begin(s.Authority(), app)
			page, _ := began["verification_uri"].(string)
			assert.Contains(t, get(t, client, page).body, "Ada")
			value := ada.PrincipalName
			a := post(t, client, page, values("user_code", began["user_code"].(string), field, value))
			assert.Contains(t, a.body, "Done")
			assert.Contains(t, post(t, client, page, values("user_code", began["user_code"].(string), field, value)).body, "no client waits")
			got := poll(began["device_code"])
			if want == "" {
				assert.Equal(t, http.StatusOK, got.status)
			} else {
				assert.Equal(t, want, kind(got))
			}
		}
		assert.Contains(t, post(t, client, s.URL()+"/common/oauth2/deviceauth", values("login_hint", "nobody@x.example")).body, "There is no user")
	})
	t.Run("requests that make no sense", func(t *testing.T) {
		for want, v := range map[float64]url.Values{
			700016: values("client_id", unknownTenantID, "scope", fakeentra.RedisScope),
			900144: values("client_id", app.ClientID),
			500011: values("client_id", app.ClientID, "scope", "https://nobody.example/.default"),
		} {
			assert.Equal(t, []any{want}, post(t, client, s.Authority()+"/oauth2/v2.0/devicecode", v).decode(t)["error_codes"])
		}
		assert.Equal(t, []any{90002.0}, post(t, client, s.URL()+"/"+unknownTenantID+"/oauth2/v2.0/devicecode", url.Values{}).decode(t)["error_codes"])
		assert.Equal(t, []any{900561.0}, get(t, client, s.Authority()+"/oauth2/v2.0/devicecode").decode(t)["error_codes"])
	})
}

func TestPollingTooFastIsNoErrorByDefault(t *testing.T) {
	s := fakeentra.RunT(t, fakeentra.WithDeviceCodes(time.Minute, 2*time.Second))
	app := s.RegisterApp("orders", fakeentra.WithPublicClient())
	client := newClient(t, s)
	var began struct {
		DeviceCode string `json:"device_code"`
		ExpiresIn  int    `json:"expires_in"`
		Interval   int    `json:"interval"`
	}
	a := post(t, client, s.Authority()+"/oauth2/v2.0/devicecode", values("client_id", app.ClientID, "scope", fakeentra.RedisScope))
	require.NoError(t, json.Unmarshal([]byte(a.body), &began))
	assert.Equal(t, 60, began.ExpiresIn)
	assert.Equal(t, 2, began.Interval)
	for range 3 {
		a := post(t, client, tokenURL(s), values("grant_type", "device_code", "client_id", app.ClientID, "device_code", began.DeviceCode))
		assert.Equal(t, "authorization_pending", a.decode(t)["error"])
	}
}

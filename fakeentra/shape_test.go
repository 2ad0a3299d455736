package fakeentra_test

import (
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/jonboulle/clockwork"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/entracache/entracache/fakeentra"
)

// lifetimes of the next n tokens, by their claims.
func lifetimes(t testing.TB, s *fakeentra.Server, app *fakeentra.App, n int) []time.Duration {
	t.Helper()
	var out []time.Duration
	for range n {
		token, err := s.IssueToken(app)
		require.NoError(t, err)
		claims := decode(t, token).claims
		out = append(out, time.Duration(number(t, claims["exp"])-number(t, claims["iat"]))*time.Second)
	}
	return out
}

func TestRandomLifetimes(t *testing.T) {
	clock := clockwork.NewFakeClockAt(certificateEpoch)
	start := func(opts ...fakeentra.Option) (*fakeentra.Server, *fakeentra.App) {
		s := fakeentra.RunT(t, append(opts, fakeentra.WithClock(clock))...)
		return s, s.RegisterApp("orders")
	}
	service := fakeentra.WithTokenShape(fakeentra.TokenShape{Lifetime: fakeentra.ServiceLifetime})

	s, app := start(service, fakeentra.WithRandomSeed(1))
	first := lifetimes(t, s, app, 40)
	assert.GreaterOrEqual(t, slices.Min(first), 60*time.Minute)
	assert.LessOrEqual(t, slices.Max(first), 90*time.Minute)
	assert.Greater(t, slices.Max(first)-slices.Min(first), 15*time.Minute, "spread over the range")

	s, app = start(service, fakeentra.WithRandomSeed(1))
	assert.Equal(t, first, lifetimes(t, s, app, 40), "the same seed, the same lifetimes")
	s, app = start(service, fakeentra.WithRandomSeed(2))
	assert.NotEqual(t, first, lifetimes(t, s, app, 40))

	require.NoError(t, app.SetTokenShape(fakeentra.TokenShape{Lifetime: fakeentra.LongLifetime}))
	for _, d := range lifetimes(t, s, app, 20) {
		assert.GreaterOrEqual(t, d, 20*time.Hour)
		assert.LessOrEqual(t, d, 28*time.Hour)
	}
	s.SetTokenLifetime(time.Minute)
	assert.GreaterOrEqual(t, lifetimes(t, s, app, 1)[0], 20*time.Hour, "an application's own lifetime wins")
	require.NoError(t, app.SetTokenShape(fakeentra.TokenShape{}))
	assert.Equal(t, time.Minute, lifetimes(t, s, app, 1)[0])
	require.NoError(t, s.SetTokenShape(fakeentra.TokenShape{RefreshIn: time.Minute}))
	assert.Equal(t, fakeentra.DefaultTokenLifetime, lifetimes(t, s, app, 1)[0], "a shape without lifetime has the default")
}

func TestUsersTakeTheirApplicationsShape(t *testing.T) {
	s := fakeentra.RunT(t)
	app := s.RegisterApp("orders", fakeentra.WithPublicClient(), fakeentra.WithAppTokenShape(fakeentra.TokenShape{ExpiresIn: 10 * time.Minute}))
	ada := s.RegisterUser("Ada")
	client := newClient(t, s)
	expiresIn := func() any {
		return post(t, client, tokenURL(s), values("grant_type", "password", "client_id", app.ClientID,
			"username", ada.PrincipalName, "password", ada.Password, "scope", fakeentra.RedisScope)).decode(t)["expires_in"]
	}
	assert.EqualValues(t, 600, expiresIn())
	require.NoError(t, ada.SetTokenShape(fakeentra.TokenShape{ExpiresIn: 20 * time.Minute}))
	assert.EqualValues(t, 1200, expiresIn())
	require.NoError(t, ada.SetTokenShape(fakeentra.TokenShape{}))
	assert.EqualValues(t, 600, expiresIn())
}

func TestAnswersThatDisagreeWithTheToken(t *testing.T) {
	clock := clockwork.NewFakeClockAt(time.Unix(1_900_000_000, 0))
	s := fakeentra.RunT(t, fakeentra.WithClock(clock),
		fakeentra.WithTokenShape(fakeentra.TokenShape{ExpiresIn: 10 * time.Minute, RefreshIn: 5 * time.Minute}))
	app := s.RegisterApp("orders")
	own := s.RegisterApp("own", fakeentra.WithAppTokenShape(fakeentra.TokenShape{ExpiresIn: 26 * time.Hour, Lifetime: fakeentra.FixedLifetime(2 * time.Hour)}))
	client := newClient(t, s)

	a := post(t, client, tokenURL(s), tokenForm(app))
	token, _ := a.decode(t)["access_token"].(string)
	assert.Equal(t, `{"token_type":"Bearer","expires_in":600,"ext_expires_in":600,"refresh_in":300,"access_token":"`+token+`"}`, a.body)
	assert.Equal(t, int64(1_900_003_600), number(t, decode(t, token).claims["exp"]))

	v1 := post(t, client, s.Authority()+"/oauth2/token", tokenForm(own, "scope", "", "resource", fakeentra.RedisResource)).decode(t)
	assert.Equal(t, "93600", v1["expires_in"])
	assert.Equal(t, "1900093600", v1["expires_on"])
	assert.Equal(t, "300", v1["refresh_in"])
	token, _ = v1["access_token"].(string)
	assert.Equal(t, int64(1_900_007_200), number(t, decode(t, token).claims["exp"]))
	assert.True(t, time.Unix(1_900_007_200, 0).Equal(last(s).Token.Expires), "the log has the truth")
}

func TestExtraClaims(t *testing.T) {
	s := fakeentra.RunT(t, fakeentra.WithTokenShape(fakeentra.TokenShape{Claims: map[string]any{"xms_cc": []string{"cp1"}, "both": 1}}))
	app := s.RegisterApp("orders", fakeentra.WithAppTokenShape(fakeentra.TokenShape{Claims: map[string]any{"roles": []string{"a"}, "both": 2}}))
	token := mustToken(t, s, newClient(t, s), app)
	claims := verify(t, s, token)
	assert.Equal(t, []any{"cp1"}, claims["xms_cc"])
	assert.Equal(t, []any{"a"}, claims["roles"])
	assert.EqualValues(t, 2, claims["both"])
}

func TestShapesThatMakeNoSense(t *testing.T) {
	for want, shape := range map[string]fakeentra.TokenShape{
		"at least 1s":              {Lifetime: fakeentra.Lifetime{Max: time.Hour}},
		"got 2h0m0s to 1h0m0s":     {Lifetime: fakeentra.Lifetime{Min: 2 * time.Hour, Max: time.Hour}},
		"zero or more":             {ExpiresIn: -1},
		`claim "oid"`:              {Claims: map[string]any{"oid": "x"}},
		`claim "f": json`:          {Claims: map[string]any{"f": func() {}}},
		"every token has it alrea": {Claims: map[string]any{"exp": 1}},
	} {
		_, err := fakeentra.Start(fakeentra.WithTokenShape(shape))
		require.ErrorContains(t, err, want)
		s := fakeentra.RunT(t)
		require.ErrorContains(t, s.SetTokenShape(shape), want)
		_, err = s.AddApp("orders", fakeentra.WithAppTokenShape(shape))
		require.ErrorContains(t, err, want)
	}
}

func TestTokenVersion2(t *testing.T) {
	s := fakeentra.RunT(t, fakeentra.WithTokenVersion(fakeentra.TokenV2))
	app := s.RegisterApp("orders", fakeentra.WithPublicClient())
	ada := s.RegisterUser("Ada Lovelace")
	client := newClient(t, s)

	token := mustToken(t, s, client, app)
	assert.Equal(t, "2.0", last(s).Token.Version)
	got := decode(t, token)
	assert.NotContains(t, got.header, "x5t")
	doc := get(t, client, s.Authority()+"/v2.0/.well-known/openid-configuration").decode(t)
	assert.Equal(t, doc["issuer"], got.claims["iss"], "what the v2.0 document says")
	for name, want := range map[string]any{"aud": fakeentra.RedisClientID, "azp": app.ClientID, "azpacr": "1", "ver": "2.0", "oid": app.ObjectID, "sub": app.ObjectID} {
		assert.Equal(t, want, got.claims[name], name)
	}
	for _, name := range []string{"appid", "appidacr", "idp"} {
		assert.NotContains(t, got.claims, name)
	}
	// From the v1.0 endpoint too: the resource decides.
	a := post(t, client, s.Authority()+"/oauth2/token", tokenForm(app, "scope", "", "resource", fakeentra.RedisResource))
	token, _ = a.decode(t)["access_token"].(string)
	assert.Equal(t, "2.0", decode(t, token).claims["ver"])

	a = post(t, client, tokenURL(s), values("grant_type", "password", "client_id", app.ClientID,
		"username", ada.PrincipalName, "password", ada.Password, "scope", fakeentra.RedisScope))
	require.Equal(t, http.StatusOK, a.status, a.body)
	token, _ = a.decode(t)["access_token"].(string)
	claims := verify(t, s, token)
	assert.Equal(t, ada.PrincipalName, claims["preferred_username"])
	assert.Equal(t, "0", claims["azpacr"])
	assert.NotContains(t, claims, "upn")

	forged, err := s.Forge(app, fakeentra.DefectIssuer)
	require.NoError(t, err)
	assert.Equal(t, "https://issuer.invalid/"+s.TenantID()+"/v2.0", decode(t, forged).claims["iss"])

	_, err = fakeentra.Start(fakeentra.WithTokenVersion(3))
	require.ErrorContains(t, err, "WithTokenVersion")
}

func TestDelegatedScopes(t *testing.T) {
	s := fakeentra.RunT(t, fakeentra.WithDelegatedScopes("Data.Read", "Data.Write"))
	app := s.RegisterApp("orders", fakeentra.WithPublicClient())
	ada := s.RegisterUser("Ada")
	for scope, want := range map[string]string{
		fakeentra.RedisScope:                           "Data.Read Data.Write",
		fakeentra.RedisResource + "/Data.Write openid": "Data.Write",
	} {
		a := post(t, newClient(t, s), tokenURL(s), values("grant_type", "password", "client_id", app.ClientID,
			"username", ada.PrincipalName, "password", ada.Password, "scope", scope))
		require.Equal(t, http.StatusOK, a.status, a.body)
		token, _ := a.decode(t)["access_token"].(string)
		assert.Equal(t, want, decode(t, token).claims["scp"])
	}
	_, err := fakeentra.Start(fakeentra.WithDelegatedScopes())
	require.ErrorContains(t, err, "WithDelegatedScopes")
	_, err = fakeentra.Start(fakeentra.WithDeviceCodes(time.Millisecond, 0))
	require.ErrorContains(t, err, "WithDeviceCodes")
}

func TestDefectsOfUsersAndIdentities(t *testing.T) {
	s := fakeentra.RunT(t)
	app := s.RegisterApp("orders", fakeentra.WithPublicClient())
	ada := s.RegisterUser("Ada")
	form := values("grant_type", "password", "client_id", app.ClientID, "username", ada.PrincipalName, "password", ada.Password, "scope", fakeentra.RedisScope)
	client := newClient(t, s)
	defect := func() fakeentra.Defect {
		require.Equal(t, http.StatusOK, post(t, client, tokenURL(s), form).status)
		return last(s).Token.Defect
	}
	assert.Equal(t, fakeentra.DefectNone, defect())
	app.SetDefect(fakeentra.DefectExpired)
	assert.Equal(t, fakeentra.DefectExpired, defect())
	ada.SetDefect(fakeentra.DefectAudience)
	assert.Equal(t, fakeentra.DefectAudience, defect(), "the user's own wins")
}

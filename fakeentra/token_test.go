package fakeentra_test

import (
	"context"
	"encoding/json"
	"net/http"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/golang-jwt/jwt/v5"
	"github.com/jonboulle/clockwork"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/entracache/entracache/fakeentra"
)

// publishedKeys fetches the keys as a relying party does, through the v1.0
// discovery document, and reads them with a JWK library.
func publishedKeys(t testing.TB, s *fakeentra.Server) jose.JSONWebKeySet {
	t.Helper()
	client := newClient(t, s)
	doc := get(t, client, s.Authority()+"/.well-known/openid-configuration")
	require.Equal(t, http.StatusOK, doc.status, doc.body)
	uri, _ := doc.decode(t)["jwks_uri"].(string)
	keys := get(t, client, uri)
	require.Equal(t, http.StatusOK, keys.status, keys.body)
	var set jose.JSONWebKeySet
	require.NoError(t, json.Unmarshal([]byte(keys.body), &set))
	return set
}

func keyFunc(set jose.JSONWebKeySet) jwt.Keyfunc {
	return func(token *jwt.Token) (any, error) {
		kid, _ := token.Header["kid"].(string)
		for _, k := range set.Key(kid) {
			return k.Key, nil
		}
		return nil, jwt.ErrTokenUnverifiable
	}
}

// verify checks a token's signature and dates and returns its claims.
func verify(t testing.TB, s *fakeentra.Server, token string) jwt.MapClaims {
	t.Helper()
	claims := jwt.MapClaims{}
	_, err := jwt.ParseWithClaims(token, claims, keyFunc(publishedKeys(t, s)), jwt.WithValidMethods([]string{"RS256"}))
	require.NoError(t, err)
	return claims
}

func TestTokenHasTheShapeOfAnEntraToken(t *testing.T) {
	start := time.Date(2031, 5, 6, 7, 8, 9, 400e6, time.UTC)
	clock := clockwork.NewFakeClockAt(start)
	s := fakeentra.RunT(t, fakeentra.WithClock(clock))
	app := s.RegisterApp("orders")
	got := decode(t, mustToken(t, s, newClient(t, s), app))

	kid := publishedKeys(t, s).Keys[0].KeyID
	assert.Equal(t, map[string]any{"typ": "JWT", "alg": "RS256", "kid": kid, "x5t": kid}, got.header)

	for _, opaque := range []string{"aio", "rh", "uti"} {
		assert.NotEmpty(t, got.claims[opaque], opaque)
		delete(got.claims, opaque)
	}
	whole := start.Truncate(time.Second).Unix()
	for name, want := range map[string]int64{
		"iat": whole,
		"nbf": whole,
		"exp": whole + 3601, // rounded up: 3600 s after .4 s past the second
	} {
		assert.Equal(t, want, number(t, got.claims[name]), name)
		delete(got.claims, name)
	}
	issuer := "https://sts.windows.net/" + s.TenantID() + "/"
	assert.Equal(t, map[string]any{
		"aud":      "https://redis.azure.com",
		"iss":      issuer,
		"appid":    app.ClientID,
		"appidacr": "1",
		"idp":      issuer,
		"idtyp":    "app",
		"oid":      app.ObjectID,
		"sub":      app.ObjectID,
		"tid":      s.TenantID(),
		"ver":      "1.0",
	}, got.claims)
}

func TestEveryTokenIsDifferent(t *testing.T) {
	s := fakeentra.RunT(t, fakeentra.WithClock(clockwork.NewFakeClock()))
	app := s.RegisterApp("orders")
	seen := map[any]bool{}
	for range 10 {
		token, err := s.IssueToken(app)
		require.NoError(t, err)
		id := decode(t, token).claims["uti"]
		require.False(t, seen[id], "uti %v twice", id)
		seen[id] = true
	}
}

func TestTokenDatesFollowTheClock(t *testing.T) {
	clock := clockwork.NewFakeClockAt(time.Unix(1_900_000_000, 0))
	s := fakeentra.RunT(t, fakeentra.WithClock(clock), fakeentra.WithTokenLifetime(10*time.Minute))
	app := s.RegisterApp("orders")
	client := newClient(t, s)

	issue := func() (dates [3]int64, expiresIn float64) {
		a := post(t, client, tokenURL(s), tokenForm(app)).decode(t)
		token, _ := a["access_token"].(string)
		claims := decode(t, token).claims
		for i, name := range []string{"iat", "nbf", "exp"} {
			dates[i] = number(t, claims[name])
		}
		expiresIn, _ = a["expires_in"].(float64)
		assert.Equal(t, a["expires_in"], a["ext_expires_in"])
		return dates, expiresIn
	}

	dates, expiresIn := issue()
	assert.Equal(t, [3]int64{1_900_000_000, 1_900_000_000, 1_900_000_600}, dates)
	assert.EqualValues(t, 600, expiresIn)

	clock.Advance(25*time.Hour + 300*time.Millisecond)
	s.SetTokenLifetime(90 * time.Second)
	dates, expiresIn = issue()
	assert.Equal(t, [3]int64{1_900_090_000, 1_900_090_000, 1_900_090_091}, dates)
	assert.EqualValues(t, 90, expiresIn, "rounded down")

	s.SetTokenLifetime(0)
	dates, _ = issue()
	assert.Equal(t, int64(1_900_090_002), dates[2], "a second is the least")
}

func TestBackdating(t *testing.T) {
	s := fakeentra.RunT(t, fakeentra.WithClock(clockwork.NewFakeClockAt(time.Unix(1_900_000_000, 0))), fakeentra.WithBackdating(5*time.Minute))
	app := s.RegisterApp("orders")
	a := post(t, newClient(t, s), s.Authority()+"/oauth2/token", tokenForm(app, "scope", "", "resource", fakeentra.RedisResource)).decode(t)
	// The numbers of a stored answer of the service: 3900 s between the two, and an hour to live.
	assert.Equal(t, "1899999700", a["not_before"])
	assert.Equal(t, "1900003600", a["expires_on"])
	assert.Equal(t, "3600", a["expires_in"])
	token, _ := a["access_token"].(string)
	assert.Equal(t, int64(1_899_999_700), number(t, decode(t, token).claims["iat"]))
}

// one defect, one difference: everything else about the token is as in a good one.
func TestDefectsAreWrongInExactlyOneWay(t *testing.T) {
	clock := clockwork.NewFakeClockAt(time.Now())
	s := fakeentra.RunT(t, fakeentra.WithClock(clock))
	keys := publishedKeys(t, s)
	app := s.RegisterApp("orders")
	goodToken := mustToken(t, s, newClient(t, s), app)
	good := decode(t, goodToken)

	// What a careful verifier says, if it is the signature or the dates that are wrong.
	check := func(token string) error {
		_, err := jwt.Parse(token, keyFunc(keys), jwt.WithValidMethods([]string{"RS256"}), jwt.WithTimeFunc(clock.Now))
		return err
	}
	require.NoError(t, check(goodToken))

	tests := map[fakeentra.Defect]struct {
		header, claims []string // the names that differ
		err            error
	}{
		fakeentra.DefectExpired:     {claims: []string{"exp", "iat", "nbf"}, err: jwt.ErrTokenExpired},
		fakeentra.DefectNotYetValid: {claims: []string{"nbf"}, err: jwt.ErrTokenNotValidYet},
		fakeentra.DefectAudience:    {claims: []string{"aud"}},
		fakeentra.DefectIssuer:      {claims: []string{"iss"}},
		fakeentra.DefectTenant:      {claims: []string{"tid"}},
		fakeentra.DefectNoObjectID:  {claims: []string{"oid"}},
		fakeentra.DefectObjectID:    {claims: []string{"oid"}},
		fakeentra.DefectNoTenant:    {claims: []string{"tid"}},
		fakeentra.DefectNoKeyID:     {header: []string{"kid", "x5t"}, err: jwt.ErrTokenUnverifiable},
		fakeentra.DefectEmbeddedKey: {header: []string{"jwk"}, err: jwt.ErrTokenSignatureInvalid},
		fakeentra.DefectPadded:      {err: jwt.ErrTokenMalformed},
		fakeentra.DefectAlgNone:     {header: []string{"alg"}, err: jwt.ErrTokenSignatureInvalid},
		fakeentra.DefectAlgHMAC:     {header: []string{"alg"}, err: jwt.ErrTokenSignatureInvalid},
		fakeentra.DefectWrongKey:    {err: jwt.ErrTokenSignatureInvalid},
		fakeentra.DefectUnknownKey:  {header: []string{"kid", "x5t"}, err: jwt.ErrTokenUnverifiable},
		fakeentra.DefectTampered:    {err: jwt.ErrTokenSignatureInvalid},
		fakeentra.DefectTooLarge:    {claims: []string{"groups"}},
		fakeentra.DefectNoExpiry:    {claims: []string{"exp"}},
		fakeentra.DefectMalformed:   {err: jwt.ErrTokenMalformed},
	}
	require.Len(t, tests, len(fakeentra.Defects()), "every defect has its row")

	for _, defect := range fakeentra.Defects() {
		t.Run(string(defect), func(t *testing.T) {
			want := tests[defect]
			app.SetDefect(defect)
			token := mustToken(t, s, newClient(t, s), app)
			got := decode(t, token)
			assert.Equal(t, defect == fakeentra.DefectTooLarge, len(token) > 16384, "longer than Redis takes: %d bytes", len(token))

			// aio and uti are new in every token.
			assert.ElementsMatch(t, want.header, differences(good.header, got.header))
			assert.ElementsMatch(t, append([]string{"aio", "uti"}, want.claims...), differences(good.claims, got.claims))
			if want.err == nil {
				assert.NoError(t, check(token), "the signature and the dates are right")
			} else {
				assert.ErrorIs(t, check(token), want.err)
			}
			if defect == fakeentra.DefectExpired {
				lifetime := func(d decodedToken) int64 { return number(t, d.claims["exp"]) - number(t, d.claims["iat"]) }
				assert.Equal(t, lifetime(good), lifetime(got))
				assert.Less(t, number(t, got.claims["exp"]), clock.Now().Add(-59*time.Minute).Unix())
			}

			forged, err := s.Forge(app, defect)
			require.NoError(t, err)
			assert.ElementsMatch(t, differences(good.claims, got.claims), differences(good.claims, decode(t, forged).claims))
			logged := s.Requests()[len(s.Requests())-1]
			assert.Equal(t, defect, logged.Token.Defect)
		})
	}

	app.SetDefect(fakeentra.DefectNone)
	require.NoError(t, check(mustToken(t, s, newClient(t, s), app)))
}

func differences(a, b map[string]any) []string {
	differ := []string{}
	for name := range a {
		if !reflect.DeepEqual(b[name], a[name]) {
			differ = append(differ, name)
		}
	}
	for name := range b {
		if _, ok := a[name]; !ok {
			differ = append(differ, name)
		}
	}
	return differ
}

func TestHMACDefectIsSignedWithThePublicKey(t *testing.T) {
	s := fakeentra.RunT(t)
	token, err := s.Forge(s.RegisterApp("orders"), fakeentra.DefectAlgHMAC)
	require.NoError(t, err)
	public := publicKeyPEM(t, publishedKeys(t, s).Keys[0])
	_, err = jwt.Parse(token, func(*jwt.Token) (any, error) { return public, nil }, jwt.WithValidMethods([]string{"HS256"}))
	require.NoError(t, err, "a verifier that lets the token choose is taken in")
}

func TestEmbeddedKeyIsTheOneThatSigned(t *testing.T) {
	s := fakeentra.RunT(t)
	token, err := s.Forge(s.RegisterApp("orders"), fakeentra.DefectEmbeddedKey)
	require.NoError(t, err)
	_, err = jwt.Parse(token, func(token *jwt.Token) (any, error) {
		var key jose.JSONWebKey
		err := key.UnmarshalJSON(mustJSON(t, token.Header["jwk"]))
		return key.Key, err
	}, jwt.WithValidMethods([]string{"RS256"}))
	require.NoError(t, err, "a verifier that lets the token bring its key is taken in")
}

func TestPaddedTokensAreSignedAsTheyAre(t *testing.T) {
	s := fakeentra.RunT(t)
	token, err := s.Forge(s.RegisterApp("orders"), fakeentra.DefectPadded)
	require.NoError(t, err)
	require.True(t, strings.HasSuffix(token, "=="), "256 bytes have two")
	_, err = jwt.Parse(token, keyFunc(publishedKeys(t, s)), jwt.WithValidMethods([]string{"RS256"}), jwt.WithPaddingAllowed())
	require.NoError(t, err, "a verifier that allows padding is content")
}

func TestUnknownDefects(t *testing.T) {
	s := fakeentra.RunT(t)
	app := s.RegisterApp("orders")
	_, err := s.Forge(app, "melted")
	require.ErrorContains(t, err, `unknown defect "melted"`)
	require.Panics(t, func() { app.SetDefect("melted") })
	_, err = fakeentra.ParseDefect("melted")
	require.Error(t, err)
	d, err := fakeentra.ParseDefect("expired")
	require.NoError(t, err)
	require.Equal(t, fakeentra.DefectExpired, d)
}

func TestFingerprint(t *testing.T) {
	s := fakeentra.RunT(t)
	app := s.RegisterApp("orders")
	token := mustToken(t, s, newClient(t, s), app)
	r, err := s.WaitRequest(boundedContext(t), func(r fakeentra.Request) bool { return r.Token != nil })
	require.NoError(t, err)
	assert.Regexp(t, regexp.MustCompile(`^jwt#[0-9a-f]{4}$`), r.Token.Fingerprint)
	assert.Equal(t, sha256Hex(token)[:4], strings.TrimPrefix(r.Token.Fingerprint, "jwt#"))
	claims := decode(t, token).claims
	assert.Equal(t, claims["uti"], r.Token.ID)
	assert.Equal(t, claims["oid"], r.Token.ObjectID)
	assert.Equal(t, claims["aud"], r.Token.Audience)
	assert.Equal(t, number(t, claims["iat"]), r.Token.IssuedAt.Unix())
	assert.Equal(t, number(t, claims["exp"]), r.Token.Expires.Unix())
}

func TestAudience(t *testing.T) {
	const guid = fakeentra.RedisClientID
	tests := []struct {
		form            fakeentra.AudienceForm
		scope, resource string
		want            string
	}{
		{fakeentra.AudienceAsRequested, "https://redis.azure.com/.default", "", "https://redis.azure.com"},
		{fakeentra.AudienceAsRequested, "https://redis.azure.com//.default", "", "https://redis.azure.com/"},
		{fakeentra.AudienceAsRequested, guid + "/.default", "", guid},
		{fakeentra.AudienceAsRequested, "openid offline_access profile https://redis.azure.com/.default", "", "https://redis.azure.com"},
		{fakeentra.AudienceAsRequested, "", "https://redis.azure.com", "https://redis.azure.com"},
		{fakeentra.AudienceAsRequested, "", "https://redis.azure.com/", "https://redis.azure.com/"},
		{fakeentra.AudienceURI, guid + "/.default", "", "https://redis.azure.com"},
		{fakeentra.AudienceClientID, "https://redis.azure.com/.default", "", guid},
		{fakeentra.AudienceAsRequested, "https://vault.example/.default", "", "https://vault.example"},
	}
	for _, tt := range tests {
		t.Run(string(tt.form)+" "+tt.scope+tt.resource, func(t *testing.T) {
			s := fakeentra.RunT(t, fakeentra.WithAudienceForm(tt.form), fakeentra.WithResource("https://vault.example"))
			app := s.RegisterApp("orders")
			path := "/oauth2/v2.0/token"
			if tt.resource != "" {
				path = "/oauth2/token"
			}
			a := post(t, newClient(t, s), s.Authority()+path, tokenForm(app, "scope", tt.scope, "resource", tt.resource))
			require.Equal(t, http.StatusOK, a.status, a.body)
			token, _ := a.decode(t)["access_token"].(string)
			assert.Equal(t, tt.want, decode(t, token).claims["aud"])
		})
	}
}

func TestWaitRequestEndsWithItsContext(t *testing.T) {
	s := fakeentra.RunT(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := s.WaitRequest(ctx, func(fakeentra.Request) bool { return true })
	require.ErrorIs(t, err, context.Canceled)
}

package fakeentra_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"maps"
	"math/big"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/golang-jwt/jwt/v5"
	"github.com/google/uuid"
	"github.com/jonboulle/clockwork"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/entracache/entracache/fakeentra"
)

const assertionType = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"

// certificateEpoch is when the tests' certificates begin; they are good for a year.
var certificateEpoch = time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)

// certificates are shared, because making a key takes long.
var certificates = sync.OnceValue(func() [2]*fakeentra.Certificate {
	var out [2]*fakeentra.Certificate
	for i := range out {
		c, err := fakeentra.NewCertificate("orders", certificateEpoch, certificateEpoch.AddDate(1, 0, 0))
		if err != nil {
			panic(err)
		}
		out[i] = c
	}
	return out
})

// assertion builds a client assertion; nil claims and headers take one away.
type assertion struct {
	method jwt.SigningMethod
	key    any
	header map[string]any
	claims jwt.MapClaims
	padded bool // with the padding of base64
}

func (a assertion) sign(t testing.TB) string {
	t.Helper()
	token := jwt.NewWithClaims(a.method, a.claims)
	maps.Copy(token.Header, a.header)
	if a.padded {
		return signPadded(t, token, a.key)
	}
	compact, err := token.SignedString(a.key)
	require.NoError(t, err)
	return compact
}

func signPadded(t testing.TB, token *jwt.Token, key any) string {
	t.Helper()
	var parts []string
	for _, part := range []any{token.Header, token.Claims} {
		raw, err := json.Marshal(part)
		require.NoError(t, err)
		parts = append(parts, base64.URLEncoding.EncodeToString(raw))
	}
	signature, err := token.Method.Sign(strings.Join(parts, "."), key)
	require.NoError(t, err)
	compact := strings.Join(append(parts, base64.URLEncoding.EncodeToString(signature)), ".")
	require.Contains(t, compact, "=", "there is some padding")
	return compact
}

func ownAssertion(s *fakeentra.Server, app *fakeentra.App, cert *fakeentra.Certificate, now time.Time) assertion {
	long := sha256.Sum256(cert.X509.Raw)
	return assertion{
		method: jwt.SigningMethodPS256,
		key:    cert.PrivateKey,
		header: map[string]any{"x5t#S256": base64.RawURLEncoding.EncodeToString(long[:])},
		claims: jwt.MapClaims{
			"aud": tokenURL(s), "iss": app.ClientID, "sub": app.ClientID, "jti": uuid.NewString(),
			"nbf": now.Unix(), "exp": now.Add(10 * time.Minute).Unix(),
		},
	}
}

func assertionForm(app *fakeentra.App, compact string) url.Values {
	return tokenForm(app, "client_secret", "", "client_assertion", compact, "client_assertion_type", assertionType)
}

func TestCertificateAssertions(t *testing.T) {
	clock := clockwork.NewFakeClockAt(certificateEpoch.AddDate(0, 1, 0))
	s := fakeentra.RunT(t, fakeentra.WithClock(clock))
	cert, other := certificates()[0], certificates()[1]
	app := s.RegisterApp("orders", fakeentra.WithAppCertificate(cert), fakeentra.WithoutClientSecret())
	require.Empty(t, app.ClientSecret)
	stranger := s.RegisterApp("stranger")
	client := newClient(t, s)
	short, long := sha1.Sum(cert.X509.Raw), sha256.Sum256(cert.X509.Raw)
	now := clock.Now()
	v1 := s.Authority() + "/oauth2/token"

	tests := map[string]struct {
		change func(*assertion)
		code   string // "" for a token
	}{
		"PS256 with x5t#S256": {func(*assertion) {}, ""},
		"RS256 with x5t": {func(a *assertion) {
			a.method, a.header = jwt.SigningMethodRS256, map[string]any{"x5t": base64.RawURLEncoding.EncodeToString(short[:])}
		}, ""},
		"RS256 with x5t#S256":    {func(a *assertion) { a.method = jwt.SigningMethodRS256 }, ""},
		"padded standard base64": {func(a *assertion) { a.header["x5t#S256"] = base64.StdEncoding.EncodeToString(long[:]) }, ""},
		"padded parts":           {func(a *assertion) { a.padded = true }, ""},
		"with x5c":               {func(a *assertion) { a.header["x5c"] = []string{base64.StdEncoding.EncodeToString(cert.X509.Raw)} }, ""},
		"without nbf and jti":    {func(a *assertion) { delete(a.claims, "nbf"); delete(a.claims, "jti") }, ""},
		"aud by domain":          {func(a *assertion) { a.claims["aud"] = s.URL() + "/" + s.DefaultTenant().Domain + "/oauth2/v2.0/token" }, ""},
		"aud of the public cloud": {func(a *assertion) {
			a.claims["aud"] = "https://login.microsoftonline.com/" + s.TenantID() + "/oauth2/v2.0/token"
		}, ""},
		"aud v1.0":              {func(a *assertion) { a.claims["aud"] = v1 }, ""},
		"clock four minutes on": {func(a *assertion) { a.claims["nbf"] = now.Add(4 * time.Minute).Unix() }, ""},

		"no thumbprint":         {func(a *assertion) { a.header = nil }, "AADSTS50027"},
		"another certificate":   {func(a *assertion) { *a = ownAssertion(s, app, other, now) }, "AADSTS700027"},
		"another key":           {func(a *assertion) { a.key = other.PrivateKey }, "AADSTS50012"},
		"another key, padded":   {func(a *assertion) { a.key, a.padded = other.PrivateKey, true }, "AADSTS50012"},
		"another algorithm":     {func(a *assertion) { a.method = jwt.SigningMethodRS512 }, "AADSTS50012"},
		"a secret for a key":    {func(a *assertion) { a.method, a.key = jwt.SigningMethodHS256, cert.X509.Raw }, "AADSTS50012"},
		"no signature":          {func(a *assertion) { a.method, a.key = jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType }, "AADSTS50012"},
		"another app's sub":     {func(a *assertion) { a.claims["sub"] = stranger.ClientID }, "AADSTS700021"},
		"another app's iss":     {func(a *assertion) { a.claims["iss"] = stranger.ClientID }, "AADSTS700021"},
		"aud of another tenant": {func(a *assertion) { a.claims["aud"] = s.URL() + "/" + unknownTenantID + "/oauth2/v2.0/token" }, "AADSTS700023"},
		"aud of another host":   {func(a *assertion) { a.claims["aud"] = "https://idp.example/" + s.TenantID() + "/oauth2/v2.0/token" }, "AADSTS700023"},
		"aud of another path":   {func(a *assertion) { a.claims["aud"] = s.Authority() + "/oauth2/v2.0/authorize" }, "AADSTS700023"},
		"no aud":                {func(a *assertion) { delete(a.claims, "aud") }, "AADSTS700023"},
		"expired":               {func(a *assertion) { a.claims["exp"] = now.Add(-6 * time.Minute).Unix() }, "AADSTS700024"},
		"not yet valid":         {func(a *assertion) { a.claims["nbf"] = now.Add(6 * time.Minute).Unix() }, "AADSTS700024"},
		"no exp":                {func(a *assertion) { delete(a.claims, "exp") }, "AADSTS700024"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			a := ownAssertion(s, app, cert, now)
			tt.change(&a)
			got := post(t, client, tokenURL(s), assertionForm(app, a.sign(t)))
			logged := s.Requests()[len(s.Requests())-1]
			assert.Equal(t, fakeentra.CredentialCertificate, logged.Credential)
			assert.Equal(t, tt.code, logged.Error)
			if tt.code != "" {
				assert.Equal(t, http.StatusUnauthorized, got.status)
				assert.Equal(t, "invalid_client", got.decode(t)["error"])
				assert.Contains(t, got.body, tt.code)
				return
			}
			require.Equal(t, http.StatusOK, got.status, got.body)
			token, _ := got.decode(t)["access_token"].(string)
			claims := decode(t, token).claims
			assert.Equal(t, app.ObjectID, claims["oid"])
			assert.Equal(t, "2", claims["appidacr"])
		})
	}

	t.Run("thumbprint in the log", func(t *testing.T) {
		post(t, client, tokenURL(s), assertionForm(app, ownAssertion(s, app, cert, now).sign(t)))
		logged := s.Requests()[len(s.Requests())-1]
		assert.Len(t, logged.CredentialID, 64, "the SHA-256, as the assertion had it")
	})
	t.Run("by HTTP at v1.0", func(t *testing.T) {
		form := assertionForm(app, ownAssertion(s, app, cert, now).sign(t))
		form.Del("scope")
		form.Set("resource", fakeentra.RedisResource)
		assert.Equal(t, http.StatusOK, post(t, client, v1, form).status)
	})
	t.Run("type", func(t *testing.T) {
		form := assertionForm(app, ownAssertion(s, app, cert, now).sign(t))
		form.Set("client_assertion_type", "saml")
		assert.Contains(t, post(t, client, tokenURL(s), form).body, "AADSTS9002313")
		form.Del("client_assertion_type")
		assert.Contains(t, post(t, client, tokenURL(s), form).body, "AADSTS900144")
	})
	t.Run("removed", func(t *testing.T) {
		require.True(t, app.RemoveCertificate(strings.ToLower(cert.Thumbprint())))
		require.False(t, app.RemoveCertificate(cert.Thumbprint()))
		got := post(t, client, tokenURL(s), assertionForm(app, ownAssertion(s, app, cert, now).sign(t)))
		assert.Contains(t, got.body, "AADSTS700027")
		require.NoError(t, app.AddCertificate(cert.X509))
	})
	t.Run("certificate expired", func(t *testing.T) {
		clock.Advance(366 * 24 * time.Hour)
		got := post(t, client, tokenURL(s), assertionForm(app, ownAssertion(s, app, cert, clock.Now()).sign(t)))
		assert.Contains(t, got.body, "AADSTS700027")
		assert.Contains(t, got.body, "The key used is expired")
	})
}

func TestCertificatesMustBeRSA(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{SerialNumber: big.NewInt(1)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	require.NoError(t, err)
	cert, err := x509.ParseCertificate(der)
	require.NoError(t, err)
	app := fakeentra.RunT(t).RegisterApp("orders")
	require.ErrorContains(t, app.AddCertificate(cert), "expected an RSA key")
	require.ErrorContains(t, app.AddCertificate(nil), "got nil")
}

func TestSingleUseAssertions(t *testing.T) {
	clock := clockwork.NewFakeClockAt(certificateEpoch.AddDate(0, 1, 0))
	cert := certificates()[0]
	for _, singleUse := range []bool{false, true} {
		opts := []fakeentra.Option{fakeentra.WithClock(clock)}
		if singleUse {
			opts = append(opts, fakeentra.WithSingleUseAssertions())
		}
		s := fakeentra.RunT(t, opts...)
		app := s.RegisterApp("orders", fakeentra.WithAppCertificate(cert))
		client := newClient(t, s)
		statuses := func(a assertion) (got [2]int) {
			form := assertionForm(app, a.sign(t))
			for i := range got {
				got[i] = post(t, client, tokenURL(s), form).status
			}
			return got
		}
		a := ownAssertion(s, app, cert, clock.Now())
		anonymous := ownAssertion(s, app, cert, clock.Now())
		delete(anonymous.claims, "jti")
		if singleUse {
			assert.Equal(t, [2]int{200, 401}, statuses(a))
			assert.Equal(t, [2]int{401, 401}, statuses(anonymous))
		} else {
			assert.Equal(t, [2]int{200, 200}, statuses(a))
			assert.Equal(t, [2]int{200, 200}, statuses(anonymous))
		}
	}
}

// otherIssuer is another identity provider on this machine.
type otherIssuer struct {
	*httptest.Server
	mu     sync.Mutex
	key    *fakeentra.Certificate
	kid    string
	asked  int
	broken bool
	name   string // what its document says it is; its URL if empty
}

func newOtherIssuer(t testing.TB) *otherIssuer { return serveOtherIssuer(t, httptest.NewServer) }

func serveOtherIssuer(t testing.TB, serve func(http.Handler) *httptest.Server) *otherIssuer {
	t.Helper()
	o := &otherIssuer{key: certificates()[1], kid: "first"}
	mux := http.NewServeMux()
	mux.HandleFunc("/cluster/.well-known/openid-configuration", func(w http.ResponseWriter, _ *http.Request) {
		o.mu.Lock()
		defer o.mu.Unlock()
		o.asked++
		if o.broken {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		name := o.name
		if name == "" {
			name = o.issuer()
		}
		_, _ = fmt.Fprintf(w, `{"issuer":%q,"jwks_uri":%q}`, name, o.URL+"/keys")
	})
	mux.HandleFunc("/keys", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write(o.keys(t))
	})
	o.Server = serve(mux)
	t.Cleanup(o.Close)
	return o
}

func (o *otherIssuer) issuer() string { return o.URL + "/cluster" }

func (o *otherIssuer) set() jose.JSONWebKeySet {
	o.mu.Lock()
	defer o.mu.Unlock()
	return jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: o.key.X509.PublicKey, KeyID: o.kid, Use: "sig", Algorithm: "RS256"}}}
}

func (o *otherIssuer) keys(t testing.TB) []byte {
	t.Helper()
	return mustJSON(t, o.set())
}

const otherSubject = "system:serviceaccount:default:orders"

func (o *otherIssuer) assertion(now time.Time) assertion {
	return assertion{
		method: jwt.SigningMethodRS256,
		key:    o.key.PrivateKey,
		header: map[string]any{"kid": o.kid},
		claims: jwt.MapClaims{
			"iss": o.issuer(), "sub": otherSubject, "aud": []string{fakeentra.FederatedAudience},
			"nbf": now.Unix(), "exp": now.Add(time.Hour).Unix(),
		},
	}
}

func TestFederatedAssertions(t *testing.T) {
	clock := clockwork.NewFakeClockAt(certificateEpoch)
	s := fakeentra.RunT(t, fakeentra.WithClock(clock))
	other := newOtherIssuer(t)
	app := s.RegisterApp("orders", fakeentra.WithoutClientSecret(), fakeentra.WithFederatedCredential(fakeentra.FederatedCredential{
		Name: "cluster", Issuer: other.issuer(), Subject: otherSubject,
	}))
	plain := s.RegisterApp("without federation")
	client := newClient(t, s)

	tests := map[string]struct {
		app    *fakeentra.App
		change func(*assertion)
		status int
		code   string
	}{
		"right":           {app, func(*assertion) {}, 200, ""},
		"one of two auds": {app, func(a *assertion) { a.claims["aud"] = []string{"x", fakeentra.FederatedAudience} }, 200, ""},
		"none configured": {plain, func(*assertion) {}, 401, "AADSTS70021"},
		"issuer":          {app, func(a *assertion) { a.claims["iss"] = other.issuer() + "/" }, 401, "AADSTS700211"},
		"subject":         {app, func(a *assertion) { a.claims["sub"] = "system:serviceaccount:default:other" }, 401, "AADSTS700213"},
		"subject's case":  {app, func(a *assertion) { a.claims["sub"] = strings.ToUpper(otherSubject) }, 401, "AADSTS7002138"},
		"audience":        {app, func(a *assertion) { a.claims["aud"] = "api://other" }, 401, "AADSTS700212"},
		"no audience":     {app, func(a *assertion) { delete(a.claims, "aud") }, 401, "AADSTS700212"},
		"another key":     {app, func(a *assertion) { a.key = certificates()[0].PrivateKey }, 401, "AADSTS50012"},
		"unknown kid":     {app, func(a *assertion) { a.header["kid"] = "nobody" }, 401, "AADSTS50012"},
		"expired":         {app, func(a *assertion) { a.claims["exp"] = clock.Now().Add(-time.Hour).Unix() }, 401, "AADSTS700024"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			a := other.assertion(clock.Now())
			tt.change(&a)
			got := post(t, client, tokenURL(s), assertionForm(tt.app, a.sign(t)))
			assert.Equal(t, tt.status, got.status, got.body)
			logged := s.Requests()[len(s.Requests())-1]
			assert.Equal(t, tt.code, logged.Error)
			assert.Equal(t, fakeentra.CredentialFederated, logged.Credential)
			if tt.code == "" {
				assert.Equal(t, "cluster", logged.CredentialID)
				token, _ := got.decode(t)["access_token"].(string)
				assert.Equal(t, app.ObjectID, decode(t, token).claims["oid"])
			}
		})
	}

	t.Run("a new key is fetched", func(t *testing.T) {
		other.mu.Lock()
		other.key, other.kid = certificates()[0], "second"
		other.mu.Unlock()
		for range 3 {
			got := post(t, client, tokenURL(s), assertionForm(app, other.assertion(clock.Now()).sign(t)))
			require.Equal(t, http.StatusOK, got.status, got.body)
		}
	})
	t.Run("the issuer is away", func(t *testing.T) {
		other.mu.Lock()
		other.kid, other.broken = "third", true
		other.mu.Unlock()
		got := post(t, client, tokenURL(s), assertionForm(app, other.assertion(clock.Now()).sign(t)))
		assert.Equal(t, http.StatusBadRequest, got.status)
		assert.Equal(t, []any{50166.0}, got.decode(t)["error_codes"])
	})
	t.Run("the issuer is another", func(t *testing.T) {
		other.mu.Lock()
		other.broken, other.name = false, "https://idp.example"
		other.mu.Unlock()
		got := post(t, client, tokenURL(s), assertionForm(app, other.assertion(clock.Now()).sign(t)))
		assert.Equal(t, []any{50166.0}, got.decode(t)["error_codes"])
	})
	t.Run("removed", func(t *testing.T) {
		require.True(t, app.RemoveFederatedCredential("cluster"))
		require.False(t, app.RemoveFederatedCredential("cluster"))
		got := post(t, client, tokenURL(s), assertionForm(app, other.assertion(clock.Now()).sign(t)))
		assert.Equal(t, []any{70021.0}, got.decode(t)["error_codes"])
	})
}

// Keys that come with the credential need no issuer to be there, and none is asked.
func TestFederatedKeysGivenAlong(t *testing.T) {
	s := fakeentra.RunT(t)
	other := newOtherIssuer(t)
	set := other.set()
	m := s.RegisterManagedIdentity("worker")
	require.NoError(t, m.AddFederatedCredential(fakeentra.FederatedCredential{
		Name: "cluster", Issuer: "https://oidc.example/cluster", Subject: otherSubject, Audience: "orders", Keys: &set,
	}))
	a := other.assertion(time.Now())
	a.claims["iss"], a.claims["aud"] = "https://oidc.example/cluster", "orders"
	got := post(t, newClient(t, s), tokenURL(s), assertionForm(&fakeentra.App{ClientID: m.ClientID}, a.sign(t)))
	require.Equal(t, http.StatusOK, got.status, got.body)
	assert.Zero(t, other.asked)
	token, _ := got.decode(t)["access_token"].(string)
	claims := decode(t, token).claims
	assert.Equal(t, m.ObjectID, claims["oid"], "a user-assigned identity signs in like an application")
	assert.Equal(t, m.ResourceID, claims["xms_mirid"])

	got = post(t, newClient(t, s), tokenURL(s), tokenForm(&fakeentra.App{ClientID: m.ClientID, ClientSecret: "guess"}))
	assert.Contains(t, got.body, "AADSTS7000215", "but never with a secret")
}

// One server can be the other issuer of another one.
func TestFederationBetweenServers(t *testing.T) {
	first, second := fakeentra.RunT(t, fakeentra.WithTokenVersion(fakeentra.TokenV2)), fakeentra.RunT(t)
	source := first.RegisterApp("source")
	target := second.RegisterApp("target")
	require.NoError(t, target.AddFederatedCredential(fakeentra.FederatedCredential{
		Issuer: first.Authority() + "/v2.0", Subject: source.ObjectID, Audience: fakeentra.RedisClientID,
	}))
	token, err := first.IssueToken(source)
	require.NoError(t, err)
	got := post(t, newClient(t, second), tokenURL(second), assertionForm(target, token))
	require.Equal(t, http.StatusOK, got.status, got.body)
}

func TestFederationCA(t *testing.T) {
	other := serveOtherIssuer(t, httptest.NewTLSServer)
	other.Config.ErrorLog = log.New(io.Discard, "", 0) // who does not trust it says so
	ask := func(opts ...fakeentra.Option) answer {
		s := fakeentra.RunT(t, opts...)
		app := s.RegisterApp("orders", fakeentra.WithFederatedCredential(fakeentra.FederatedCredential{Issuer: other.issuer(), Subject: otherSubject}))
		return post(t, newClient(t, s), tokenURL(s), assertionForm(app, other.assertion(time.Now()).sign(t)))
	}
	assert.Equal(t, []any{50166.0}, ask().decode(t)["error_codes"], "not trusted")
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: other.Certificate().Raw})
	a := ask(fakeentra.WithFederationCA(ca))
	assert.Equal(t, http.StatusOK, a.status, a.body)

	_, err := fakeentra.Start(fakeentra.WithFederationCA([]byte("no certificate")))
	require.ErrorContains(t, err, "WithFederationCA: expected certificates in PEM")
}

func TestFederatedCredentialsThatMakeNoSense(t *testing.T) {
	app := fakeentra.RunT(t).RegisterApp("orders")
	for want, c := range map[string]fakeentra.FederatedCredential{
		"expected the issuer's URL":              {Issuer: "cluster", Subject: "x"},
		"expected a subject":                     {Issuer: "https://127.0.0.1/x"},
		"expected an issuer on a loopback":       {Issuer: "https://oidc.example", Subject: "x"},
		"expected an issuer on a loopback addr":  {Issuer: "https://localhost.example", Subject: "x"},
		`got "https://169.254.169.254/metadata"`: {Issuer: "https://169.254.169.254/metadata", Subject: "x"},
	} {
		require.ErrorContains(t, app.AddFederatedCredential(c), want)
	}
	for i := range 20 {
		require.NoError(t, app.AddFederatedCredential(fakeentra.FederatedCredential{Issuer: "https://localhost:1", Subject: fmt.Sprint(i)}))
	}
	require.Len(t, app.FederatedCredentials(), 20)
	require.ErrorContains(t, app.AddFederatedCredential(fakeentra.FederatedCredential{Issuer: "https://localhost:1", Subject: "x"}), "at most 20")
	app = fakeentra.RunT(t).RegisterApp("orders")
	twice := fakeentra.FederatedCredential{Name: "a", Issuer: "https://[::1]:1", Subject: "x"}
	require.NoError(t, app.AddFederatedCredential(twice))
	require.ErrorContains(t, app.AddFederatedCredential(twice), "must be unique")
}

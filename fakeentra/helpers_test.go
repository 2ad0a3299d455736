package fakeentra_test

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/entracache/entracache/fakeentra"
)

func TestMain(m *testing.M) {
	if os.Getenv(childTenant) != "" {
		os.Exit(m.Run()) // the libraries' own HTTP clients stay connected
	}
	goleak.VerifyTestMain(m)
}

// waitBound is how long a test waits for what must happen.
const waitBound = 10 * time.Second

func boundedContext(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), waitBound)
	t.Cleanup(cancel)
	return ctx
}

// newClient returns an HTTP client that trusts only the server's CA.
func newClient(t testing.TB, s *fakeentra.Server) *http.Client {
	t.Helper()
	pool := x509.NewCertPool()
	require.True(t, pool.AppendCertsFromPEM(s.CAPEM()), "CAPEM is not a certificate")
	transport := &http.Transport{
		TLSClientConfig:     &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12},
		ForceAttemptHTTP2:   true,
		MaxIdleConnsPerHost: 128,
	}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, Timeout: waitBound}
}

type answer struct {
	status int
	header http.Header
	body   string
}

func (a answer) decode(t testing.TB) map[string]any {
	t.Helper()
	var m map[string]any
	require.NoError(t, json.Unmarshal([]byte(a.body), &m), "body: %s", a.body)
	return m
}

func do(t testing.TB, client *http.Client, req *http.Request) answer {
	t.Helper()
	resp, err := client.Do(req)
	require.NoError(t, err)
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	return answer{status: resp.StatusCode, header: resp.Header, body: string(body)}
}

func get(t testing.TB, client *http.Client, url string) answer {
	t.Helper()
	req, err := http.NewRequestWithContext(boundedContext(t), http.MethodGet, url, nil)
	require.NoError(t, err)
	return do(t, client, req)
}

func post(t testing.TB, client *http.Client, url string, form url.Values) answer {
	t.Helper()
	req, err := http.NewRequestWithContext(boundedContext(t), http.MethodPost, url, strings.NewReader(form.Encode()))
	require.NoError(t, err)
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	return do(t, client, req)
}

// tokenForm is a sound v2.0 request; change overrides fields, an empty value
// removing one.
func tokenForm(app *fakeentra.App, change ...string) url.Values {
	form := url.Values{
		"grant_type":    {"client_credentials"},
		"client_id":     {app.ClientID},
		"client_secret": {app.ClientSecret},
		"scope":         {fakeentra.RedisScope},
	}
	for i := 0; i < len(change); i += 2 {
		if change[i+1] == "" {
			form.Del(change[i])
		} else {
			form.Set(change[i], change[i+1])
		}
	}
	return form
}

func tokenURL(s *fakeentra.Server) string { return s.Authority() + "/oauth2/v2.0/token" }

// mustToken signs in and returns the access token.
func mustToken(t testing.TB, s *fakeentra.Server, client *http.Client, app *fakeentra.App) string {
	t.Helper()
	a := post(t, client, tokenURL(s), tokenForm(app))
	require.Equal(t, http.StatusOK, a.status, a.body)
	token, _ := a.decode(t)["access_token"].(string)
	require.NotEmpty(t, token)
	return token
}

type decodedToken struct {
	header, claims map[string]any
	signature      string
}

// decode takes a token apart without checking anything about it.
func decode(t testing.TB, token string) decodedToken {
	t.Helper()
	parts := strings.Split(token, ".")
	if len(parts) == 2 { // fakeentra.DefectMalformed
		parts = append(parts, "")
	}
	require.Len(t, parts, 3, token)
	part := func(i int) map[string]any {
		raw, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(parts[i], "=")) // fakeentra.DefectPadded
		require.NoError(t, err)
		dec := json.NewDecoder(strings.NewReader(string(raw)))
		dec.UseNumber()
		var m map[string]any
		require.NoError(t, dec.Decode(&m))
		return m
	}
	return decodedToken{header: part(0), claims: part(1), signature: parts[2]}
}

func number(t testing.TB, v any) int64 {
	t.Helper()
	n, ok := v.(json.Number)
	require.True(t, ok, "expected a number, got %T %v", v, v)
	i, err := n.Int64()
	require.NoError(t, err)
	return i
}

func sha256Hex(s string) string {
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:])
}

func publicKeyPEM(t testing.TB, key jose.JSONWebKey) []byte {
	t.Helper()
	der, err := x509.MarshalPKIXPublicKey(key.Key)
	require.NoError(t, err)
	return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
}

func mustJSON(t testing.TB, v any) []byte {
	t.Helper()
	raw, err := json.Marshal(v)
	require.NoError(t, err)
	return raw
}

// Package tokentest is a small issuer for the tests of the fake cache: it
// publishes keys over HTTPS as Microsoft Entra does, and signs whatever claims a
// test wants, wrong ones included. The fake issuer for users is fakeentra,
// which the fake cache must not depend on.
package tokentest

import (
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"math/big"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// TenantID is the issuer's tenant.
const TenantID = "3a2b1c0d-0000-4000-8000-000000000001"

// Audience is the usual audience of a token for the cache.
const Audience = "https://redis.azure.com"

// keys holds one key per process and name: making one takes long.
var keys sync.Map // name → func() *rsa.PrivateKey

// Key returns the process' key of that name.
func Key(name string) *rsa.PrivateKey {
	make1, _ := keys.LoadOrStore(name, sync.OnceValue(func() *rsa.PrivateKey {
		k, err := rsa.GenerateKey(rand.Reader, 2048)
		if err != nil {
			panic(err)
		}
		return k
	}))
	return make1.(func() *rsa.PrivateKey)()
}

// Issuer is a running issuer.
type Issuer struct {
	srv     *httptest.Server
	fetches atomic.Int64
	down    atomic.Bool

	mu  sync.Mutex
	kid string
}

// New starts an issuer that ends with the test. Its key is Key("k1").
func New(t testing.TB) *Issuer {
	t.Helper()
	i := &Issuer{kid: "k1"}
	i.srv = httptest.NewUnstartedServer(http.HandlerFunc(i.serve))
	i.srv.Config.ErrorLog = log.New(io.Discard, "", 0)
	i.srv.StartTLS()
	t.Cleanup(i.srv.Close)
	return i
}

// URL is the authority with its tenant.
func (i *Issuer) URL() string { return i.srv.URL + "/" + TenantID }

// CAPEM is the certificate to trust for URL.
func (i *Issuer) CAPEM() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: i.srv.Certificate().Raw})
}

// Fetches counts the requests for keys.
func (i *Issuer) Fetches() int64 { return i.fetches.Load() }

// SetDown makes every request fail with 503.
func (i *Issuer) SetDown(down bool) { i.down.Store(down) }

// Rotate publishes Key(kid) instead of the present key, and signs with it.
func (i *Issuer) Rotate(kid string) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.kid = kid
}

func (i *Issuer) serve(w http.ResponseWriter, r *http.Request) {
	if i.down.Load() {
		http.Error(w, "down", http.StatusServiceUnavailable)
		return
	}
	reply := func(v any) {
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(v)
	}
	switch r.URL.Path {
	case "/" + TenantID + "/.well-known/openid-configuration":
		reply(map[string]string{"issuer": "https://sts.windows.net/" + TenantID + "/", "jwks_uri": i.URL() + "/discovery/keys"})
	case "/" + TenantID + "/v2.0/.well-known/openid-configuration":
		reply(map[string]string{"issuer": i.URL() + "/v2.0", "jwks_uri": i.URL() + "/discovery/v2.0/keys"})
	case "/" + TenantID + "/discovery/keys", "/" + TenantID + "/discovery/v2.0/keys":
		i.fetches.Add(1)
		i.mu.Lock()
		kid := i.kid
		i.mu.Unlock()
		pub := Key(kid).PublicKey
		reply(map[string]any{"keys": []any{
			map[string]string{"kty": "RSA", "use": "sig", "kid": kid, "n": b64(pub.N.Bytes()), "e": b64(big.NewInt(int64(pub.E)).Bytes())},
			map[string]string{"kty": "unheard-of", "kid": "ignored"},
		}})
	default:
		http.NotFound(w, r)
	}
}

func b64(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

var tokens atomic.Int64

// Claims are those of a good v1.0 token for an application.
func Claims(objectID string, issued time.Time, lifetime time.Duration) jwt.MapClaims {
	return jwt.MapClaims{
		"aud": Audience, "iss": "https://sts.windows.net/" + TenantID + "/", "tid": TenantID,
		"iat": issued.Unix(), "nbf": issued.Unix(), "exp": issued.Add(lifetime).Unix(),
		"oid": objectID, "sub": objectID, "appid": "aaaaaaaa-0000-4000-8000-000000000002", "idtyp": "app", "ver": "1.0",
		"uti": fmt.Sprintf("token-%d", tokens.Add(1)),
	}
}

// Sign signs claims with the present key.
func (i *Issuer) Sign(t testing.TB, claims jwt.MapClaims) string {
	t.Helper()
	i.mu.Lock()
	kid := i.kid
	i.mu.Unlock()
	return SignWith(t, claims, kid, Key(kid))
}

// SignWith signs claims with any key.
func SignWith(t testing.TB, claims jwt.MapClaims, kid string, key *rsa.PrivateKey) string {
	t.Helper()
	tok := jwt.NewWithClaims(jwt.SigningMethodRS256, claims)
	tok.Header["kid"], tok.Header["x5t"] = kid, kid
	s, err := tok.SignedString(key)
	if err != nil {
		t.Fatalf("sign a token: %v", err)
	}
	return s
}

// Token is a good token that was issued at a time.
func (i *Issuer) Token(t testing.TB, objectID string, issued time.Time, lifetime time.Duration) string {
	t.Helper()
	return i.Sign(t, Claims(objectID, issued, lifetime))
}

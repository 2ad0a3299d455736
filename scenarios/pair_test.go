package scenarios_test

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"net/http"
	"net/url"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/entracache/entracache/fakeentra"
	"github.com/entracache/entracache/fakeserver"
)

// The tests in this file hold the two fakes against each other. They never import each other, so it can only be done from above.

// signInAt tries to sign in with a token and returns the error.
func signInAt(t *testing.T, cache *fakeserver.Server, user, token string) error {
	t.Helper()
	pool := x509.NewCertPool()
	require.True(t, pool.AppendCertsFromPEM(cache.CAPEM()))
	client := redis.NewClient(&redis.Options{
		Addr: cache.Addr(), Username: user, Password: token, MaxRetries: -1, Protocol: 2, PoolSize: 1,
		TLSConfig: &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12},
	})
	defer client.Close()
	return client.Ping(t.Context()).Err()
}

func pairFor(t *testing.T, opts ...fakeentra.Option) (*fakeentra.Server, *fakeserver.Server, *fakeentra.App) {
	t.Helper()
	entra := fakeentra.RunT(t, opts...)
	cache := fakeserver.RunT(t, fakeserver.WithIssuer(entra.Authority()), fakeserver.WithIssuerCA(entra.CAPEM()))
	app := entra.RegisterApp("pair")
	require.NoError(t, cache.Assign(app.ObjectID, fakeserver.DataOwner))
	return entra, cache, app
}

// TestCacheRefusesEveryForgedToken: each token that is wrong in exactly one way is refused for exactly that reason, while the same
// token without the defect is accepted.
func TestCacheRefusesEveryForgedToken(t *testing.T) {
	t.Parallel()
	reasons := map[fakeentra.Defect]fakeserver.Reason{
		fakeentra.DefectExpired:     fakeserver.ReasonTokenExpired,
		fakeentra.DefectNotYetValid: fakeserver.ReasonNotYetValid,
		fakeentra.DefectAudience:    fakeserver.ReasonWrongAudience,
		fakeentra.DefectIssuer:      fakeserver.ReasonWrongIssuer,
		fakeentra.DefectTenant:      fakeserver.ReasonWrongTenant,
		fakeentra.DefectNoTenant:    fakeserver.ReasonWrongTenant,
		fakeentra.DefectObjectID:    fakeserver.ReasonUsernameMismatch,
		fakeentra.DefectNoObjectID:  fakeserver.ReasonNoObjectID,
		fakeentra.DefectAlgNone:     fakeserver.ReasonBadAlgorithm,
		fakeentra.DefectAlgHMAC:     fakeserver.ReasonBadAlgorithm,
		fakeentra.DefectWrongKey:    fakeserver.ReasonBadSignature,
		fakeentra.DefectUnknownKey:  fakeserver.ReasonUnknownKey,
		fakeentra.DefectNoKeyID:     fakeserver.ReasonUnknownKey,
		fakeentra.DefectEmbeddedKey: fakeserver.ReasonBadSignature,
		fakeentra.DefectTampered:    fakeserver.ReasonBadSignature,
		fakeentra.DefectPadded:      fakeserver.ReasonMalformedToken,
		fakeentra.DefectNoExpiry:    fakeserver.ReasonMalformedToken,
		fakeentra.DefectMalformed:   fakeserver.ReasonMalformedToken,
		// Redis takes no argument of more than 16,384 bytes before sign-in: the token does not even reach AUTH.
		fakeentra.DefectTooLarge: fakeserver.ReasonProtocolError,
	}
	for _, version := range []fakeentra.TokenVersion{1, 2} {
		entra, cache, app := pairFor(t, fakeentra.WithTokenVersion(version))
		token, err := entra.IssueToken(app)
		require.NoError(t, err)
		require.NoError(t, signInAt(t, cache, app.ObjectID, token), "a sound v%d token", version)
		for _, defect := range fakeentra.Defects() {
			want, ok := reasons[defect]
			require.True(t, ok, "no reason is known for the defect %q: add it here", defect)
			token, err := entra.Forge(app, defect)
			require.NoError(t, err)
			seen := len(cache.Events())
			err = signInAt(t, cache, app.ObjectID, token)
			require.Error(t, err, "v%d %s", version, defect)
			e, err := cache.Wait(t.Context(), func(e fakeserver.Event) bool {
				return e.Seq > int64(seen) && (e.Kind == fakeserver.EventAuth || e.Kind == fakeserver.EventProtocolError)
			})
			require.NoError(t, err)
			got := e.Reason
			if e.Kind == fakeserver.EventProtocolError {
				got = fakeserver.ReasonProtocolError
				assert.Contains(t, e.Detail, "unauthenticated bulk length")
			}
			assert.Equal(t, want, got, "v%d %s", version, defect)
		}
	}
}

// TestCacheFollowsKeyRotation: tokens signed with a new key are accepted as soon as it is published, those of a key that was
// withdrawn no more.
func TestCacheFollowsKeyRotation(t *testing.T) {
	t.Parallel()
	entra, cache, app := pairFor(t)
	old, err := entra.IssueToken(app)
	require.NoError(t, err)
	require.NoError(t, signInAt(t, cache, app.ObjectID, old))
	_, err = entra.RotateKey(fakeentra.Rotation{Overlap: time.Hour})
	require.NoError(t, err)
	fresh, err := entra.IssueToken(app)
	require.NoError(t, err)
	assert.NoError(t, signInAt(t, cache, app.ObjectID, fresh), "a token of the new key")
	assert.NoError(t, signInAt(t, cache, app.ObjectID, old), "a token of the old key, which is still published")
}

// TestManagedIdentityAndUserSignIn: the cache knows identities by their object ID, whatever they are.
func TestManagedIdentityAndUserSignIn(t *testing.T) {
	t.Parallel()
	entra, cache, _ := pairFor(t)
	identity := entra.RegisterManagedIdentity("worker")
	require.NoError(t, cache.Assign(identity.ObjectID, fakeserver.DataContributor))
	env, err := entra.ManagedIdentityEnv(fakeentra.SourceAppService, identity)
	require.NoError(t, err)
	token := identityToken(t, env)
	assert.NoError(t, signInAt(t, cache, identity.ObjectID, token))
	assert.Error(t, signInAt(t, cache, identity.ClientID, token), "the client ID is no user name")
}

// identityToken asks as App Service's programs do.
func identityToken(t *testing.T, env map[string]string) string {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet,
		env["IDENTITY_ENDPOINT"]+"?api-version=2019-08-01&resource="+url.QueryEscape(fakeentra.RedisResource)+"&client_id="+env["AZURE_CLIENT_ID"], nil)
	require.NoError(t, err)
	req.Header.Set("X-IDENTITY-HEADER", env["IDENTITY_HEADER"])
	resp, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	defer resp.Body.Close()
	var body struct {
		AccessToken string `json:"access_token"`
	}
	require.NoError(t, json.NewDecoder(resp.Body).Decode(&body))
	require.NotEmpty(t, body.AccessToken, "HTTP %d", resp.StatusCode)
	return body.AccessToken
}

package scenarios_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/jonboulle/clockwork"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/entracache/entracache/fakeentra"
	"github.com/entracache/entracache/fakeserver"
)

// The tests in this file show what the cache makes of an issuer that rotates its keys, fails or has a wrong clock.

// reasonOf tries to sign in and returns why the cache refused it; "" if it did not.
func reasonOf(t *testing.T, cache *fakeserver.Server, user, token string) fakeserver.Reason {
	t.Helper()
	before := len(cache.Events())
	err := signInAt(t, cache, user, token)
	e, waitErr := cache.Wait(t.Context(), func(e fakeserver.Event) bool { return e.Seq > int64(before) && e.Kind == fakeserver.EventAuth })
	require.NoError(t, waitErr)
	require.Equal(t, err == nil, e.Reason == "", "%v, but %q", err, e.Reason)
	return e.Reason
}

// pairOnOneClock is pairFor with a clock that both share and that stands still.
func pairOnOneClock(t *testing.T) (*clockwork.FakeClock, *fakeentra.Server, *fakeserver.Server, *fakeentra.App) {
	t.Helper()
	clock := clockwork.NewFakeClockAt(time.Now())
	entra := fakeentra.RunT(t, fakeentra.WithClock(clock))
	cache := fakeserver.RunT(t, fakeserver.WithIssuer(entra.Authority()), fakeserver.WithIssuerCA(entra.CAPEM()), fakeserver.WithClock(clock))
	app := entra.RegisterApp("pair")
	require.NoError(t, cache.Assign(app.ObjectID, fakeserver.DataOwner))
	return clock, entra, cache, app
}

func tokenOf(t *testing.T, entra *fakeentra.Server, app *fakeentra.App) string {
	t.Helper()
	token, err := entra.IssueToken(app)
	require.NoError(t, err)
	return token
}

// TestKeyRotationWithLagAndOverlap: a key that signs before it is published is unknown until then; the one before it goes when its
// overlap is over.
func TestKeyRotationWithLagAndOverlap(t *testing.T) {
	t.Parallel()
	clock, entra, cache, app := pairOnOneClock(t)
	old := tokenOf(t, entra, app)
	require.Empty(t, reasonOf(t, cache, app.ObjectID, old))

	_, err := entra.RotateKey(fakeentra.Rotation{Lag: 5 * time.Minute, Overlap: 10 * time.Minute})
	require.NoError(t, err)
	early := tokenOf(t, entra, app)
	assert.Equal(t, fakeserver.ReasonUnknownKey, reasonOf(t, cache, app.ObjectID, early), "not published yet")
	assert.Empty(t, reasonOf(t, cache, app.ObjectID, old), "still published")

	clock.Advance(5 * time.Minute)
	assert.Empty(t, reasonOf(t, cache, app.ObjectID, early), "published by now")
	assert.Empty(t, reasonOf(t, cache, app.ObjectID, old), "the two overlap")

	clock.Advance(5 * time.Minute)
	// The cache learns of what has gone when it has a reason to look: a kid that it does not know.
	stranger, err := entra.Forge(app, fakeentra.DefectUnknownKey)
	require.NoError(t, err)
	assert.Equal(t, fakeserver.ReasonUnknownKey, reasonOf(t, cache, app.ObjectID, stranger))
	assert.Equal(t, fakeserver.ReasonUnknownKey, reasonOf(t, cache, app.ObjectID, old), "withdrawn")
	assert.Empty(t, reasonOf(t, cache, app.ObjectID, early))
}

// TestIssuersDocumentsFail: while the keys or the documents that lead to them cannot be had, tokens of a known key are accepted and
// those of a new one are not; afterwards both are.
func TestIssuersDocumentsFail(t *testing.T) {
	t.Parallel()
	for name, fault := range map[string]fakeentra.Fault{
		"keys unavailable":      {Endpoint: fakeentra.EndpointJWKS},
		"keys garbage":          {Endpoint: fakeentra.EndpointJWKS, Action: fakeentra.FaultGarbage},
		"keys truncated":        {Endpoint: fakeentra.EndpointJWKS, Action: fakeentra.FaultTruncate},
		"keys reset":            {Endpoint: fakeentra.EndpointJWKS, Action: fakeentra.FaultReset},
		"discovery unavailable": {Endpoint: fakeentra.EndpointDiscovery},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, entra, cache, app := pairOnOneClock(t)
			known := tokenOf(t, entra, app)
			require.Empty(t, reasonOf(t, cache, app.ObjectID, known))
			outage := entra.Fail(fault)
			_, err := entra.RotateKey(fakeentra.Rotation{Overlap: time.Hour})
			require.NoError(t, err)
			unknown := tokenOf(t, entra, app)
			assert.Equal(t, fakeserver.ReasonIssuerUnreachable, reasonOf(t, cache, app.ObjectID, unknown))
			assert.Empty(t, reasonOf(t, cache, app.ObjectID, known), "its key is known")
			require.Positive(t, outage.Fired())
			outage.Remove()
			assert.Empty(t, reasonOf(t, cache, app.ObjectID, unknown), "over")
		})
	}
}

// TestClockOfTheIssuerIsWrong: the cache goes by its own clock.
func TestClockOfTheIssuerIsWrong(t *testing.T) {
	t.Parallel()
	_, entra, cache, app := pairOnOneClock(t)
	entra.SetClockOffset(2 * time.Hour)
	assert.Equal(t, fakeserver.ReasonNotYetValid, reasonOf(t, cache, app.ObjectID, tokenOf(t, entra, app)), "the issuer is ahead")
	entra.SetClockOffset(-2 * time.Hour)
	assert.Equal(t, fakeserver.ReasonTokenExpired, reasonOf(t, cache, app.ObjectID, tokenOf(t, entra, app)), "the issuer is behind")
	entra.SetClockOffset(0)
	assert.Empty(t, reasonOf(t, cache, app.ObjectID, tokenOf(t, entra, app)))
}

// TestGroupsCannotSignIn: an assignment to a group lets no member in, under whatever name, and a token with as many groups as Entra
// puts into one is still small enough for AUTH.
func TestGroupsCannotSignIn(t *testing.T) {
	t.Parallel()
	entra, cache, app := pairFor(t, fakeentra.WithGroupsClaim())
	member := entra.RegisterApp("member")
	readers, err := entra.AddGroup("readers", "", member.ObjectID)
	require.NoError(t, err)
	require.NoError(t, cache.Assign(readers.ObjectID, fakeserver.DataOwner))
	assert.Equal(t, fakeserver.ReasonNotAssigned, reasonOf(t, cache, member.ObjectID, tokenOf(t, entra, member)))
	assert.Equal(t, fakeserver.ReasonUsernameMismatch, reasonOf(t, cache, readers.ObjectID, tokenOf(t, entra, member)))

	for i := range 200 {
		_, err := entra.AddGroup(fmt.Sprint(i), "", app.ObjectID)
		require.NoError(t, err)
	}
	token := tokenOf(t, entra, app)
	require.Greater(t, len(token), 10_000)
	assert.Empty(t, reasonOf(t, cache, app.ObjectID, token))
}

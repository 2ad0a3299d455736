package fakeentra_test

import (
	"testing"
	"time"

	"github.com/jonboulle/clockwork"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/entracache/entracache/fakeentra"
)

func publishedIDs(t *testing.T, s *fakeentra.Server) []string {
	t.Helper()
	ids := []string{}
	for _, key := range publishedKeys(t, s).Keys {
		ids = append(ids, key.KeyID)
	}
	return ids
}

func TestKeyRotation(t *testing.T) {
	clock := clockwork.NewFakeClockAt(time.Now().Add(-2 * time.Hour)) // the tokens are checked with the real clock
	s, bystander := fakeentra.RunT(t, fakeentra.WithClock(clock), fakeentra.WithTokenLifetime(24*time.Hour)), fakeentra.RunT(t)
	app := s.RegisterApp("orders")
	client := newClient(t, s)
	kidOf := func(token string) any { return decode(t, token).header["kid"] }

	old, err := s.SigningKeyID()
	require.NoError(t, err)
	before := mustToken(t, s, client, app)
	require.Equal(t, old, kidOf(before))
	require.Equal(t, []string{old}, publishedIDs(t, s))

	next, err := s.RotateKey(fakeentra.Rotation{Overlap: time.Hour, Lag: 10 * time.Minute})
	require.NoError(t, err)
	require.NotEqual(t, old, next)
	after := mustToken(t, s, client, app)
	require.Equal(t, next, kidOf(after), "the new key signs at once")
	require.Equal(t, next, decode(t, after).header["x5t"])
	require.Equal(t, []string{old}, publishedIDs(t, s), "the new key is late")
	verify(t, s, before)

	clock.Advance(10 * time.Minute)
	require.Equal(t, []string{next, old}, publishedIDs(t, s), "both")
	verify(t, s, before)
	verify(t, s, after)

	clock.Advance(50 * time.Minute)
	require.Equal(t, []string{next}, publishedIDs(t, s), "the old key is gone")
	verify(t, s, after)

	third, err := s.RotateKey(fakeentra.Rotation{})
	require.NoError(t, err)
	require.Equal(t, []string{third}, publishedIDs(t, s), "at once")
	verify(t, s, mustToken(t, s, client, app))

	_, err = s.RotateKey(fakeentra.Rotation{Overlap: 0, Lag: time.Minute})
	require.NoError(t, err)
	require.Empty(t, publishedIDs(t, s), "none: the old one is gone and the new one is late")
	require.Contains(t, get(t, client, s.URL()+"/common/discovery/keys").body, `"keys":[]`)

	same, err := bystander.SigningKeyID()
	require.NoError(t, err)
	require.Equal(t, old, same, "other servers keep the key of the process")
	require.Equal(t, []string{old}, publishedIDs(t, bystander))
}

func TestForgeUsesTheRotatedKey(t *testing.T) {
	s := fakeentra.RunT(t)
	app := s.RegisterApp("orders")
	kid, err := s.RotateKey(fakeentra.Rotation{Overlap: time.Hour})
	require.NoError(t, err)
	token, err := s.Forge(app, fakeentra.DefectWrongKey)
	require.NoError(t, err)
	require.Equal(t, kid, decode(t, token).header["kid"], "a wrong key under the right kid")
}

func TestRotationThatMakesNoSense(t *testing.T) {
	s := fakeentra.RunT(t)
	for _, r := range []fakeentra.Rotation{{Overlap: -1}, {Lag: -1}} {
		_, err := s.RotateKey(r)
		require.ErrorContains(t, err, "zero or more")
	}
}

func TestClockOffset(t *testing.T) {
	start := time.Date(2031, 5, 6, 7, 8, 9, 0, time.UTC)
	s := fakeentra.RunT(t, fakeentra.WithClock(clockwork.NewFakeClockAt(start)), fakeentra.WithClockOffset(-7*time.Minute))
	app := s.RegisterApp("orders")
	m := s.RegisterManagedIdentity("vm", fakeentra.WithSystemAssigned())
	client := newClient(t, s)
	issuedAt := func() int64 { return number(t, decode(t, mustToken(t, s, client, app)).claims["iat"]) }

	assert.Equal(t, start.Add(-7*time.Minute).Unix(), issuedAt())
	s.SetClockOffset(3 * time.Minute)
	assert.Equal(t, start.Add(3*time.Minute).Unix(), issuedAt())
	a := post(t, client, tokenURL(s), tokenForm(app))
	assert.Equal(t, 3600.0, a.decode(t)["expires_in"], "a duration is not skewed")
	token, _ := askIdentity(t, s, client, fakeentra.SourceIMDS, m).decode(t)["access_token"].(string)
	assert.Equal(t, start.Add(3*time.Minute).Unix(), number(t, decode(t, token).claims["iat"]))
	refused := post(t, client, tokenURL(s), tokenForm(app, "client_secret", "wrong")).decode(t)
	assert.Equal(t, "2031-05-06 07:11:09Z", refused["timestamp"])
	for _, r := range s.Requests() {
		assert.Equal(t, start, r.Time, "the log keeps to the right time")
	}
	s.SetClockOffset(0)
	assert.Equal(t, start.Unix(), issuedAt())
}

package fakeserver_test

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/entracache/entracache/fakeserver"
	"github.com/entracache/entracache/fakeserver/internal/token/tokentest"
)

func TestClosedWhenTheTokenExpires(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.signedIn(fakeserver.DataOwner)
	w.clock.Advance(time.Hour - time.Second)
	assert.Equal(t, "+PONG", c.line("PING"))
	w.clock.Advance(time.Second)
	c.closed()
	e := w.eventKind(fakeserver.EventConnectionClosed)
	assert.Equal(t, fakeserver.ReasonTokenExpired, e.Reason)
	assert.Equal(t, oid, e.User)
	require.NotNil(t, e.Token)
	assert.True(t, e.Time.Equal(e.Token.Expires))
	assert.Empty(t, w.Connections())
}

func TestClosedByTheRealClock(t *testing.T) {
	t.Parallel()
	iss := tokentest.New(t)
	s := fakeserver.RunT(t, fakeserver.WithIssuer(iss.URL()), fakeserver.WithIssuerCA(iss.CAPEM()))
	require.NoError(t, s.Assign(oid, fakeserver.DataOwner))
	c := dial(t, s)
	tok := iss.Token(t, oid, time.Now(), 2*time.Second)
	require.Equal(t, "+OK", c.line("AUTH", oid, tok))
	exp := s.Connections()[0].TokenExpires
	c.closed()
	late := time.Since(exp)
	assert.GreaterOrEqual(t, late, time.Duration(0), "closed too early")
	assert.Less(t, late, 5*time.Second)
}

func TestKeyConnectionsDoNotExpire(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.withKey()
	w.clock.Advance(1000 * time.Hour)
	assert.Equal(t, "+PONG", c.line("PING"))
}

func TestReauthMovesTheDeadline(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.signedIn(fakeserver.DataOwner)
	w.clock.Advance(57 * time.Minute)
	require.Equal(t, "+OK", c.line("AUTH", oid, w.token(time.Hour)))
	e := w.lastAuth()
	assert.Equal(t, 3*time.Minute, e.Lead)
	w.clock.Advance(59 * time.Minute)
	assert.Equal(t, "+PONG", c.line("PING"))
	// By HELLO too.
	require.True(t, strings.HasPrefix(c.do("HELLO", "3", "AUTH", oid, w.token(time.Hour)), "%7"))
	assert.Equal(t, time.Minute, w.lastAuth().Lead)
	w.clock.Advance(59 * time.Minute)
	assert.Equal(t, "+PONG", c.line("PING"))
	w.clock.Advance(time.Minute)
	c.closed()
}

func TestReauthWithAnOlderTokenMovesTheDeadlineBack(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.signedIn(fakeserver.DataOwner)
	require.Equal(t, "+OK", c.line("AUTH", oid, w.token(time.Minute)))
	w.clock.Advance(time.Minute)
	c.closed()
}

func TestFailedReauthChangesNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.signedIn(fakeserver.DataReader)
	w.clock.Advance(30 * time.Minute)
	assert.Equal(t, wrongPass, c.line("AUTH", oid, "bad"))
	assert.Equal(t, wrongPass, c.line("AUTH", "nope"))
	assert.Equal(t, wrongPass, c.line("HELLO", "3", "AUTH", oid, "bad"))
	assert.Equal(t, "$-1", c.line("GET", "a"), "old identity, old protocol")
	assert.True(t, strings.HasPrefix(c.line("SET", "a", "b"), "-NOPERM"))
	w.clock.Advance(30 * time.Minute)
	c.closed()
}

func TestSwitchingToAKeyLiftsTheDeadline(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.signedIn(fakeserver.DataReader)
	require.Equal(t, "+OK", c.line("AUTH", "default", "key-two"))
	w.clock.Advance(2 * time.Hour)
	assert.Equal(t, "+OK", c.line("SET", "a", "b"))
}

func TestExpiryDelay(t *testing.T) {
	t.Parallel()
	w := newWorld(t, fakeserver.WithExpiryDelay(30*time.Second))
	c := w.signedIn(fakeserver.DataOwner)
	w.clock.Advance(time.Hour + 29*time.Second)
	assert.Equal(t, "+PONG", c.line("PING"))
	w.clock.Advance(time.Second)
	c.closed()
}

func TestExpiryEndsABlockedCommandAndASubscription(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	blocked := w.signedIn(fakeserver.DataOwner)
	blocked.send(array("BLPOP", "list", "0"))
	subscribed := w.signedIn(fakeserver.DataOwner)
	subscribed.do("SUBSCRIBE", "c")
	w.waitBlocked(1)
	w.clock.Advance(time.Hour)
	blocked.closed()
	subscribed.closed()
	other := w.withKey()
	assert.Equal(t, ":1", other.line("RPUSH", "list", "x"))
	assert.Equal(t, ":1", other.line("LLEN", "list"), "nothing may be taken out for a dead client")
}

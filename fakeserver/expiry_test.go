package fakeserver_test

import (
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jonboulle/clockwork"
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

// TestEveryConnectionHasItsOwnDeadline: one timer serves them all.
func TestEveryConnectionHasItsOwnDeadline(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	require.NoError(t, w.Assign(oid, fakeserver.DataOwner))
	clients := map[int][]*client{} // by the minute of their end
	for _, minutes := range []int{5, 1, 4, 2, 6, 2, 3} {
		c := dial(t, w.Server)
		require.Equal(t, "+OK", c.line("AUTH", oid, w.token(time.Duration(minutes)*time.Minute)))
		clients[minutes] = append(clients[minutes], c)
	}
	sooner, later, never, left := clients[6][0], clients[1][0], clients[4][0], clients[5][0]
	require.Equal(t, "+OK", sooner.line("AUTH", oid, w.token(3*time.Minute)))
	require.Equal(t, "+OK", later.line("AUTH", oid, w.token(7*time.Minute)))
	key, _ := w.AccessKeys()
	require.Equal(t, "+OK", never.line("AUTH", "default", key))
	require.Equal(t, "+OK", left.line("QUIT"))
	left.closed()
	due := map[int][]*client{2: clients[2], 3: {clients[3][0], sooner}, 7: {later}}
	closed := 1
	for minute := 1; minute <= 8; minute++ {
		w.clock.Advance(time.Minute)
		for _, c := range due[minute] {
			c.closed()
			closed++
		}
		require.Eventually(t, func() bool { return len(w.eventsOf(fakeserver.EventConnectionClosed)) == closed }, patience, time.Millisecond)
	}
	assert.Len(t, w.Connections(), 1)
	assert.Equal(t, "+PONG", never.line("PING"))
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

func TestExpiryOfSubscribers(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	resp2, resp3 := w.signedIn(fakeserver.DataOwner), w.signedIn(fakeserver.DataOwner)
	resp2.do("SUBSCRIBE", "c")
	require.True(t, strings.HasPrefix(resp3.do("HELLO", "3"), "%7"))
	resp3.do("SUBSCRIBE", "c")
	w.clock.Advance(50 * time.Minute)
	assert.Equal(t, "-ERR Can't execute 'auth': only (P)SUBSCRIBE / (P)UNSUBSCRIBE / PING / QUIT are allowed in this context", resp2.line("AUTH", oid, w.token(time.Hour)))
	assert.Equal(t, "+OK", resp3.line("AUTH", oid, w.token(time.Hour)))
	w.clock.Advance(10 * time.Minute)
	resp2.closed()
	w.withKey().do("PUBLISH", "c", "m")
	assert.Equal(t, ">3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$1\r\nm\r\n", resp3.read())
	w.clock.Advance(50 * time.Minute)
	resp3.closed()
}

func TestExpiryEndsATransactionAndAMonitor(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	multi, monitor, renewed := w.signedIn(fakeserver.DataOwner), w.signedIn(fakeserver.DataOwner), w.signedIn(fakeserver.DataOwner)
	require.Equal(t, "+OK", multi.line("MULTI"))
	require.Equal(t, "+QUEUED", multi.line("SET", "lost", "x"))
	// AUTH is queued as well, and moves the deadline when it runs.
	require.Equal(t, "+OK", renewed.line("MULTI"))
	require.Equal(t, "+QUEUED", renewed.line("SET", "kept", "x"))
	w.clock.Advance(30 * time.Minute)
	require.Equal(t, "+QUEUED", renewed.line("AUTH", oid, w.token(time.Hour)))
	require.Equal(t, "*2\r\n+OK\r\n+OK\r\n", renewed.do("EXEC"))
	require.Equal(t, "+OK", renewed.line("MULTI"))
	require.Equal(t, "+OK", monitor.line("MONITOR"))
	w.clock.Advance(30 * time.Minute)
	multi.closed()
	monitor.closed()
	assert.Equal(t, "+QUEUED", renewed.line("GET", "lost"))
	assert.Equal(t, "+QUEUED", renewed.line("GET", "kept"))
	assert.Equal(t, "*2\r\n$-1\r\n$1\r\nx\r\n", renewed.do("EXEC"), "what was only queued has not run")
}

// stepClock is a clock whose time can be set, as a person or NTP sets a wall
// clock: its timers go on as if nothing had happened.
type stepClock struct {
	*clockwork.FakeClock
	step atomic.Int64
}

func (c *stepClock) Now() time.Time { return c.FakeClock.Now().Add(time.Duration(c.step.Load())) }

func TestExpiryFollowsAWallClockThatIsSet(t *testing.T) {
	t.Parallel()
	clock := &stepClock{FakeClock: clockwork.NewFakeClockAt(noon)}
	w := newWorld(t, fakeserver.WithClock(clock))
	require.NoError(t, w.Assign(oid, fakeserver.DataOwner))
	signIn := func(life time.Duration) *client {
		c := dial(t, w.Server)
		require.Equal(t, "+OK", c.line("AUTH", oid, w.iss.Token(t, oid, clock.Now(), life)))
		return c
	}
	// Set back by ten minutes: the connection lives until the token's exp.
	c := signIn(time.Hour)
	clock.step.Store(int64(-10 * time.Minute))
	clock.Advance(time.Hour)
	require.Equal(t, "+PONG", c.line("PING"))
	clock.Advance(9*time.Minute + 59*time.Second)
	require.Equal(t, "+PONG", c.line("PING"))
	clock.Advance(time.Second)
	c.closed()
	// Set forward: no command is served after the token's exp, although the
	// timer has not run.
	c = signIn(time.Hour)
	clock.step.Add(int64(time.Hour))
	c.send(array("SET", "a", "b"))
	c.closed()
	reply, err := w.Do("EXISTS", "a")
	require.NoError(t, err)
	assert.Equal(t, ":0\r\n", reply)
}

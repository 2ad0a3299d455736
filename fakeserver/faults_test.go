package fakeserver_test

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/entracache/entracache/fakeserver"
)

const loading = "LOADING Redis is loading the dataset in memory"

// end requires that the connection ends, and says how.
func (c *client) end() error {
	c.t.Helper()
	reply, err := c.next(patience)
	require.Empty(c.t, reply)
	require.Empty(c.t, c.buf)
	require.Error(c.t, err)
	require.False(c.t, errors.Is(err, os.ErrDeadlineExceeded), "the connection is still open")
	return err
}

// raw reads exactly n bytes.
func (c *client) raw(n int) string {
	c.t.Helper()
	b := make([]byte, n)
	_ = c.conn.SetReadDeadline(time.Now().Add(patience))
	_, err := io.ReadFull(io.MultiReader(bytes.NewReader(c.buf), c.conn), b)
	require.NoError(c.t, err)
	c.buf = c.buf[min(n, len(c.buf)):]
	return string(b)
}

// faulted waits until the faults have fired n times altogether.
func (w *world) faulted(n int) {
	w.t.Helper()
	seen := 0
	w.event(func(e fakeserver.Event) bool {
		if e.Kind == fakeserver.EventFault {
			seen++
		}
		return seen == n
	})
}

func TestFaultErrorIsCounted(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.withKey()
	f := w.Fail(fakeserver.Fault{Action: fakeserver.FaultError, Command: "GET", Error: loading, After: 1, Times: 2})
	assert.Equal(t, "$-1", c.line("GET", "a"), "let through")
	assert.Equal(t, "+OK", c.line("SET", "a", "b"), "another command")
	assert.Equal(t, "-"+loading, c.line("GET", "a"))
	assert.Equal(t, "-"+loading, c.line("get", "a"))
	assert.Equal(t, "$1\r\nb", c.line("GET", "a"), "it has fired twice")
	assert.Equal(t, 3, f.Matched())
	assert.Equal(t, 2, f.Fired())
	e := w.eventKind(fakeserver.EventFault)
	assert.Equal(t, "get", e.Command)
	assert.Contains(t, e.Detail, "-"+loading)
	assert.Equal(t, []*fakeserver.FaultHandle{f}, w.Faults(), "a spent fault still counts, until it is removed")
	f.Remove()
	assert.Empty(t, w.Faults())
}

func TestFaultsOldestFirst(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.withKey()
	first := w.Fail(fakeserver.Fault{Action: fakeserver.FaultError, Error: "ERR first", Times: 1})
	second := w.Fail(fakeserver.Fault{Action: fakeserver.FaultError, Error: "ERR second"})
	assert.Equal(t, "-ERR first", c.line("PING"))
	assert.Equal(t, "-ERR second", c.line("PING"))
	assert.Equal(t, [2]int{1, 1}, [2]int{first.Fired(), second.Fired()})
	assert.Equal(t, 1, second.Matched(), "what the older one took is not counted")
	second.Remove()
	second.Remove()
	assert.Equal(t, "+PONG", c.line("PING"))
}

func TestFaultMatching(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	named := w.withKey()
	require.Equal(t, "+OK", named.line("CLIENT", "SETNAME", "worker"))
	other := w.signedIn(fakeserver.DataOwner)
	bad := func(text string) fakeserver.Fault {
		return fakeserver.Fault{Action: fakeserver.FaultError, Error: "ERR " + text}
	}
	check := func(f fakeserver.Fault, hit, missed func() string) {
		t.Helper()
		h := w.Fail(f)
		assert.NotContains(t, missed(), f.Error)
		assert.Equal(t, 0, h.Matched(), f.Error)
		assert.Contains(t, hit(), f.Error)
		h.Remove()
	}
	do := func(c *client, args ...string) func() string {
		return func() string { return c.line(args...) }
	}
	f := bad("name")
	f.ConnName = "worker"
	check(f, do(named, "PING"), do(other, "PING"))
	f = bad("user")
	f.User = oid
	check(f, do(other, "PING"), do(named, "PING"))
	f = bad("number")
	f.Conn = 1
	check(f, do(named, "PING"), do(other, "PING"))
	f = bad("subcommand")
	f.Command = "CLIENT|GETNAME"
	check(f, do(named, "CLIENT", "getname"), do(named, "CLIENT", "ID"))
	f = bad("container")
	f.Command = "client"
	check(f, do(named, "CLIENT", "ID"), do(named, "PING"))
	f = bad("ordinal")
	f.Ordinal = 2
	check(f, func() string { dial(t, w.Server); return dial(t, w.Server).line("PING") }, do(other, "PING"))
	f = bad("sign-in")
	f.Command = fakeserver.FaultSignIn
	check(f, do(dial(t, w.Server), "HELLO", "3", "AUTH", "default", "key-one"), do(dial(t, w.Server), "HELLO", "3"))
	check(f, do(dial(t, w.Server), "AUTH", "key-one"), do(named, "PING"))
	f = bad("tried")
	f.User = oid
	check(f, do(dial(t, w.Server), "AUTH", oid, w.token(time.Hour)), do(dial(t, w.Server), "AUTH", "default", "key-one"))
	f = bad("unknown command")
	f.Command = "nonesuch"
	check(f, do(named, "NoneSuch"), do(named, "PING"))
}

func TestFaultFailsSignInAndKeepsTheIdentity(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.signedIn(fakeserver.DataOwner)
	w.Fail(fakeserver.Fault{Action: fakeserver.FaultError, Command: fakeserver.FaultSignIn, Error: "WRONGPASS invalid username-password pair", Times: 1})
	assert.Equal(t, wrongPass, c.line("AUTH", oid, w.token(2*time.Hour)))
	assert.Equal(t, "+OK", c.line("SET", "a", "b"))
	assert.Equal(t, "+OK", c.line("AUTH", oid, w.token(2*time.Hour)))
}

func TestFaultSlowReadsTheClock(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.withKey()
	w.Fail(fakeserver.Fault{Action: fakeserver.FaultSlow, Command: "get", Delay: 5 * time.Second, Times: 1})
	c.send(array("PING") + array("GET", "a") + array("ECHO", "x"))
	assert.Equal(t, "+PONG\r\n", c.read(), "what came before is answered")
	w.faulted(1)
	require.NoError(t, w.clock.BlockUntilContext(t.Context(), 1))
	w.clock.Advance(5*time.Second - 1)
	c.quiet()
	w.clock.Advance(1)
	assert.Equal(t, "$-1\r\n", c.read())
	assert.Equal(t, "$1\r\nx\r\n", c.read())
}

func TestFaultHangIsReleased(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.withKey()
	f := w.Fail(fakeserver.Fault{Action: fakeserver.FaultHang, Command: "incr", Times: 1})
	c.send(array("INCR", "n") + array("INCR", "n"))
	w.faulted(1)
	c.quiet()
	assert.Equal(t, "$-1", w.withKey().line("GET", "n"), "it has not run, and nobody else waits")
	f.Remove()
	assert.Equal(t, ":1\r\n", c.read())
	assert.Equal(t, ":2\r\n", c.read())

	// The token ends while the command hangs: the connection is closed.
	c = w.signedIn(fakeserver.DataOwner)
	w.Fail(fakeserver.Fault{Action: fakeserver.FaultHang, Command: "incr"})
	c.send(array("INCR", "n"))
	w.faulted(2)
	w.clock.Advance(time.Hour)
	c.closed()
	assert.Equal(t, fakeserver.ReasonTokenExpired, w.eventKind(fakeserver.EventConnectionClosed).Reason)
	assert.Equal(t, "$1\r\n2", w.withKey().line("GET", "n"), "it was not run")

	// The client leaves: that is noticed.
	c = w.withKey()
	c.send(array("INCR", "n"))
	w.faulted(3)
	require.NoError(t, c.conn.Close())
	w.event(func(e fakeserver.Event) bool {
		return e.Kind == fakeserver.EventConnectionClosed && e.Reason == fakeserver.ReasonClientClosed
	})
}

func TestFaultCloseAndReset(t *testing.T) {
	t.Parallel()
	w := newWorld(t, fakeserver.WithPlainAddr("127.0.0.1:0"))
	f := w.Fail(fakeserver.Fault{Action: fakeserver.FaultClose, Command: "set"})
	c := w.withKey()
	c.send(array("PING") + array("SET", "a", "b") + array("PING"))
	assert.Equal(t, "+PONG\r\n", c.read())
	assert.ErrorIs(t, c.end(), io.EOF)
	assert.Equal(t, fakeserver.ReasonFault, w.eventKind(fakeserver.EventConnectionClosed).Reason)
	f.Remove()
	assert.Equal(t, "$-1", w.withKey().line("GET", "a"))

	w.Fail(fakeserver.Fault{Action: fakeserver.FaultReset, Command: "set"})
	for _, c := range []*client{w.withKey(), dialPlain(t, w.Server)} {
		c.send(array("SET", "a", "b"))
		assert.ErrorIs(t, c.end(), syscall.ECONNRESET)
	}
}

func TestFaultTruncate(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.withKey()
	require.Equal(t, "+OK", c.line("SET", "a", "0123456789"))
	f := w.Fail(fakeserver.Fault{Action: fakeserver.FaultTruncate, Command: "get", Bytes: 8})
	c.send(array("PING") + array("GET", "a") + array("PING"))
	assert.Equal(t, "+PONG\r\n", c.read())
	assert.Equal(t, "$10\r\n012", c.raw(8))
	assert.ErrorIs(t, c.end(), io.EOF)
	f.Remove()

	// A RESP3 subscriber: a message must not get into the middle of the reply.
	c = w.withKey()
	c.do("HELLO", "3")
	c.do("SUBSCRIBE", "news")
	f = w.Fail(fakeserver.Fault{Action: fakeserver.FaultTruncate, Command: "get", Bytes: 8, Then: fakeserver.FaultHang})
	c.send(array("GET", "a"))
	assert.Equal(t, "$10\r\n012", c.raw(8))
	assert.Equal(t, ":1", w.withKey().line("PUBLISH", "news", "hello"))
	c.quiet()
	f.Remove()
	assert.Equal(t, "3456789\r\n", c.raw(9))
	assert.Equal(t, ">3\r\n$7\r\nmessage\r\n$4\r\nnews\r\n$5\r\nhello\r\n", c.read())
	assert.Equal(t, "+PONG", c.line("PING"))
}

func TestFaultDrop(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.withKey()
	w.Fail(fakeserver.Fault{Action: fakeserver.FaultDrop, Command: "incr", After: 1, Times: 1})
	c.send(array("INCR", "n") + array("INCR", "n") + array("INCR", "n"))
	assert.Equal(t, ":1\r\n", c.read())
	assert.Equal(t, ":3\r\n", c.read(), "it ran, but its reply is missing")
	c.quiet()
}

// TestFailingSignInInABatch is the bug of redis/redis#15640: a sign-in that fails
// and is not the first command of its batch gets no reply.
func TestFailingSignInInABatch(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	f := w.Fail(fakeserver.Fault{Action: fakeserver.FaultDrop, Command: fakeserver.FaultSignIn, InBatch: true, Failing: true})
	good := w.token(time.Hour)
	require.NoError(t, w.Assign(oid, fakeserver.DataOwner))
	for _, c := range []*client{dial(t, w.Server), w.withKey()} { // before and after signing in
		assert.Equal(t, wrongPass, c.line("AUTH", oid, "wrong"), "alone")
		c.send(array("AUTH", oid, "wrong") + array("QUIT"))
		assert.Equal(t, wrongPass+"\r\n", c.read(), "the first of its batch")
		assert.Equal(t, "+OK\r\n", c.read())
	}
	fired := 0
	for _, c := range []*client{dial(t, w.Server), w.withKey()} {
		c.send(array("AUTH", "key-one") + array("AUTH", oid, "wrong") + array("HELLO", "3", "AUTH", oid, "wrong") + array("ECHO", "x"))
		assert.Equal(t, "+OK\r\n", c.read())
		assert.Equal(t, "$1\r\nx\r\n", c.read())
		fired += 2
		c.send(array("ECHO", "y") + array("AUTH", oid, good))
		assert.Equal(t, "$1\r\ny\r\n", c.read())
		assert.Equal(t, "+OK\r\n", c.read(), "one that does not fail is answered")
	}
	assert.Equal(t, fired, f.Fired())
	assert.Equal(t, fired, f.Matched())
}

func TestFaultsInTransactions(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.withKey()
	f := w.Fail(fakeserver.Fault{Action: fakeserver.FaultError, Command: "incr", Error: "ERR no", Times: 1})
	assert.Equal(t, "+OK", c.line("MULTI"))
	assert.Equal(t, "-ERR no", c.line("INCR", "n"))
	assert.Equal(t, "-EXECABORT Transaction discarded because of previous errors.", c.line("EXEC"))
	f.Remove()
	f = w.Fail(fakeserver.Fault{Action: fakeserver.FaultError, Command: "exec", Error: loading, Times: 1})
	c.do("MULTI")
	c.do("INCR", "n")
	assert.Equal(t, "-EXECABORT Transaction discarded because of: "+loading, c.line("EXEC"))
	assert.Equal(t, "-ERR EXEC without MULTI", c.line("EXEC"))
	f.Remove()
	f = w.Fail(fakeserver.Fault{Action: fakeserver.FaultHang, Command: "exec"})
	c.send(array("MULTI") + array("INCR", "n") + array("EXEC"))
	assert.Equal(t, "+OK\r\n", c.read())
	assert.Equal(t, "+QUEUED\r\n", c.read())
	w.faulted(3)
	assert.Equal(t, "+OK", w.withKey().line("SET", "n", "5"), "nobody else waits")
	f.Remove()
	assert.Equal(t, "*1\r\n:6\r\n", c.read())
}

func TestFaultsOfBlockingCommands(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.withKey()
	w.Fail(fakeserver.Fault{Action: fakeserver.FaultTruncate, Command: "blpop", Bytes: 4})
	c.send(array("BLPOP", "l", "0"))
	w.waitBlocked(1)
	w.withKey().do("RPUSH", "l", "x")
	assert.Equal(t, "*2\r\n", c.raw(4))
	assert.ErrorIs(t, c.end(), io.EOF)
}

func TestFaultsOfSubscribers(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.withKey()
	w.Fail(fakeserver.Fault{Action: fakeserver.FaultDrop, Command: "subscribe", Times: 1})
	f := w.Fail(fakeserver.Fault{Action: fakeserver.FaultHang, Command: "ping"})
	c.send(array("SUBSCRIBE", "news"))
	w.eventKind(fakeserver.EventSubscribed)
	c.send(array("PING"))
	w.faulted(2)
	assert.Equal(t, ":1", w.withKey().line("PUBLISH", "news", "hello"))
	assert.Contains(t, c.read(), "hello", "messages come while the command hangs; the confirmation does not")
	f.Remove()
	assert.Contains(t, c.read(), "pong")
}

func TestFaultHalfOpen(t *testing.T) {
	t.Parallel()
	w := newWorld(t, fakeserver.WithPlainAddr("127.0.0.1:0"))
	c := w.signedIn(fakeserver.DataOwner)
	c.do("HELLO", "3")
	c.do("SUBSCRIBE", "news")
	f := w.Fail(fakeserver.Fault{Action: fakeserver.FaultHalfOpen, AtOnce: true, User: oid})
	assert.Equal(t, 1, f.Fired())
	c.send(array("SET", "a", "b"))
	assert.Equal(t, ":1", w.withKey().line("PUBLISH", "news", "hello"))
	c.quiet()
	assert.Equal(t, "$-1", w.withKey().line("GET", "a"), "nothing arrives")
	f.Remove()
	assert.Contains(t, c.read(), "hello")
	assert.Equal(t, "+OK\r\n", c.read())

	f = w.Fail(fakeserver.Fault{Action: fakeserver.FaultHalfOpen, Command: "get", User: oid})
	c.send(array("GET", "a"))
	w.faulted(2)
	w.clock.Advance(time.Hour)
	assert.Equal(t, fakeserver.ReasonTokenExpired, w.eventKind(fakeserver.EventConnectionClosed).Reason)
	c.quiet()
	f.Remove()
	c.closed()

	// On the plain port there is no close_notify to be held up, but the end of
	// the stream.
	c = dialPlain(t, w.Server)
	require.Equal(t, "+OK", c.line("AUTH", "key-one"))
	f = w.Fail(fakeserver.Fault{Action: fakeserver.FaultHalfOpen, AtOnce: true, User: "default"})
	require.NoError(t, w.Reboot())
	c.quiet()
	f.Remove()
	c.closed()
}

func TestFaultsWhileOpening(t *testing.T) {
	t.Parallel()
	w := newWorld(t, fakeserver.WithPlainAddr("127.0.0.1:0"))
	handshake := func() error {
		raw, err := net.Dial("tcp", w.Addr())
		if err != nil {
			return err // a reset may be that early
		}
		t.Cleanup(func() { _ = raw.Close() })
		_ = raw.SetDeadline(time.Now().Add(patience))
		conn := tls.Client(raw, &tls.Config{InsecureSkipVerify: true}) // who it is does not matter here
		return conn.HandshakeContext(t.Context())
	}
	w.Fail(fakeserver.Fault{Action: fakeserver.FaultTLSRefuse, After: 1, Times: 1})
	require.NoError(t, handshake())
	assert.EqualError(t, handshake(), "remote error: tls: handshake failure")
	w.Fail(fakeserver.Fault{Action: fakeserver.FaultTLSClose, Times: 1})
	assert.ErrorIs(t, handshake(), io.EOF)
	w.Fail(fakeserver.Fault{Action: fakeserver.FaultRefuse, Times: 2})
	assert.ErrorIs(t, handshake(), syscall.ECONNRESET)
	raw, err := net.Dial("tcp", w.PlainAddr())
	if err == nil {
		err = newClient(t, raw).end()
	}
	assert.ErrorIs(t, err, syscall.ECONNRESET)

	f := w.Fail(fakeserver.Fault{Action: fakeserver.FaultTLSHang, Times: 1})
	done := make(chan error)
	go func() { done <- handshake() }()
	w.faulted(5)
	select {
	case err := <-done:
		t.Fatalf("the handshake ended: %v", err)
	case <-time.After(briefly):
	}
	f.Remove()
	require.NoError(t, <-done)

	w.Fail(fakeserver.Fault{Action: fakeserver.FaultTLSSlow, Delay: time.Minute, Times: 1})
	go func() { done <- handshake() }()
	require.NoError(t, w.clock.BlockUntilContext(t.Context(), 1))
	w.clock.Advance(time.Minute)
	require.NoError(t, <-done)
	require.NoError(t, handshake())
}

// TestCloseLetsGoOfWhatFaultsHold: Close must not wait for them.
func TestCloseLetsGoOfWhatFaultsHold(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	hung, dead, cut := w.withKey(), w.withKey(), w.withKey()
	w.Fail(fakeserver.Fault{Action: fakeserver.FaultHang, Command: "get"})
	w.Fail(fakeserver.Fault{Action: fakeserver.FaultHalfOpen, Command: "set"})
	w.Fail(fakeserver.Fault{Action: fakeserver.FaultTruncate, Command: "ping", Then: fakeserver.FaultHang})
	w.Fail(fakeserver.Fault{Action: fakeserver.FaultTLSHang})
	hung.send(array("GET", "a"))
	dead.send(array("SET", "a", "b"))
	cut.send(array("PING"))
	raw, err := net.Dial("tcp", w.Addr())
	require.NoError(t, err)
	defer raw.Close()
	w.faulted(4)
	begin := time.Now()
	require.NoError(t, w.Close())
	assert.Less(t, time.Since(begin), 5*time.Second)
}

func TestFaultsThatMakeNoSense(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, f := range []fakeserver.Fault{
		{},
		{Action: "explode"},
		{Action: fakeserver.FaultError},
		{Action: fakeserver.FaultError, Error: "a\r\nb"},
		{Action: fakeserver.FaultHang, Error: "a"},
		{Action: fakeserver.FaultSlow},
		{Action: fakeserver.FaultHang, After: -1},
		{Action: fakeserver.FaultHang, Failing: true},
		{Action: fakeserver.FaultHang, Bytes: 1},
		{Action: fakeserver.FaultHang, AtOnce: true},
		{Action: fakeserver.FaultClose, AtOnce: true, Command: "get"},
		{Action: fakeserver.FaultTruncate, Then: fakeserver.FaultDrop},
		{Action: fakeserver.FaultTLSHang, Command: "get"},
	} {
		_, err := w.AddFault(f)
		require.Error(t, err, "%+v", f)
		assert.True(t, strings.HasPrefix(err.Error(), "add fault: "), err)
		assert.Panics(t, func() { w.Fail(f) })
	}
	assert.Empty(t, w.Faults())
}

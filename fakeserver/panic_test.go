package fakeserver

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jonboulle/clockwork"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/entracache/entracache/fakeserver/internal/keyspace"
)

// TestPanicClosesOneConnection replaces a command by one that panics.
func TestPanicClosesOneConnection(t *testing.T) {
	s := RunT(t, WithPlainAddr("127.0.0.1:0"), WithAccessKeys("k", "l"))
	s.handlers[s.table.Lookup([]byte("echo")).ID] = func(q *request) {
		if string(q.args[1]) == "locked" {
			s.keyspace.Atomically(nil) // a nil function: panics with the keyspace locked
		}
		panic("on purpose")
	}
	for _, arg := range []string{"free", "locked"} {
		conn, err := net.Dial("tcp", s.PlainAddr())
		require.NoError(t, err)
		defer conn.Close()
		require.NoError(t, conn.SetDeadline(time.Now().Add(20*time.Second)))
		_, err = fmt.Fprintf(conn, "AUTH k\r\nPING\r\nECHO %s\r\nSET must-not run\r\n", arg)
		require.NoError(t, err)
		lines := bufio.NewScanner(conn)
		var got []string
		for lines.Scan() {
			got = append(got, lines.Text())
		}
		assert.Equal(t, []string{"+OK", "+PONG", "-ERR internal error of the fake cache, which closes this connection"}, got)
	}
	conn, err := net.Dial("tcp", s.PlainAddr())
	require.NoError(t, err)
	defer conn.Close()
	_, err = fmt.Fprint(conn, "AUTH k\r\nEXISTS must-not\r\n")
	require.NoError(t, err)
	r := bufio.NewReader(conn)
	for _, want := range []string{"+OK\r\n", ":0\r\n"} {
		line, err := r.ReadString('\n')
		require.NoError(t, err)
		assert.Equal(t, want, line)
	}
	_, err = s.Wait(t.Context(), func(e Event) bool { return e.Kind == EventConnectionClosed && e.Reason == ReasonPanic })
	require.NoError(t, err)
}

// lineClient speaks inline commands and reads replies of one line.
type lineClient struct {
	t    *testing.T
	conn net.Conn
	in   *bufio.Reader
}

func dialLines(t *testing.T, s *Server) *lineClient {
	conn, err := net.Dial("tcp", s.PlainAddr())
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	require.NoError(t, conn.SetDeadline(time.Now().Add(20*time.Second)))
	c := &lineClient{t, conn, bufio.NewReader(conn)}
	require.Equal(t, "+OK", c.do("AUTH k"))
	return c
}

func (c *lineClient) send(line string) {
	_, err := c.conn.Write([]byte(line + "\r\n"))
	require.NoError(c.t, err)
}

func (c *lineClient) read() string {
	line, err := c.in.ReadString('\n')
	require.NoError(c.t, err)
	return strings.TrimSuffix(line, "\r\n")
}

func (c *lineClient) do(line string) string {
	c.t.Helper()
	c.send(line)
	return c.read()
}

// closed waits for the end of the stream. What a monitor is shown may come behind the reply.
func (c *lineClient) closed() {
	var err error
	for err == nil {
		_, err = c.in.ReadString('\n')
	}
	require.NotErrorIs(c.t, err, os.ErrDeadlineExceeded, "the connection is open still")
}

const internalError = "-ERR internal error of the fake cache, which closes this connection"

// TestPanicForOneWhoWaits: the attempt of a client that waits runs in the
// goroutine of the one that writes.
func TestPanicForOneWhoWaits(t *testing.T) {
	s := RunT(t, WithPlainAddr("127.0.0.1:0"), WithAccessKeys("k", "l"))
	s.handlers[s.table.Lookup([]byte("blpop")).ID] = func(q *request) {
		q.block(q.args[1:2], 0, func(_ *keyspace.Tx, waiting bool) ([]byte, bool) {
			if waiting {
				panic("on purpose")
			}
			return nil, false
		}, q.nullArray)
	}
	waiter, second, writer := dialLines(t, s), dialLines(t, s), dialLines(t, s)
	waiter.send("BLPOP list 0")
	second.send("BLPOP list 0")
	require.Eventually(t, func() bool {
		blocked := 0
		for _, c := range s.connections() {
			if c.unblock.Load() != nil {
				blocked++
			}
		}
		return blocked == 2
	}, 20*time.Second, time.Millisecond)
	assert.Equal(t, ":1", writer.do("RPUSH list x"))
	for _, c := range []*lineClient{waiter, second} {
		assert.Equal(t, internalError, c.read())
		c.closed()
	}
	assert.Equal(t, ":2", writer.do("RPUSH list y"))
}

// TestPanicLeavesNoLocks: whatever a command holds when it fails, others go on.
func TestPanicLeavesNoLocks(t *testing.T) {
	s := RunT(t, WithPlainAddr("127.0.0.1:0"), WithAccessKeys("k", "l"))
	s.handlers[s.table.Lookup([]byte("echo")).ID] = func(q *request) {
		switch string(q.args[1]) {
		case "publishing":
			s.hub.mu.Lock()
			defer s.hub.mu.Unlock()
			for sub := range s.hub.channels["news"] {
				sub.push(func([]byte, int) []byte { panic("on purpose") })
			}
		case "ordered":
			q.inOrder(func(*subscriber) { panic("on purpose") })
		default:
			panic("on purpose")
		}
	}
	reader, writer := dialLines(t, s), dialLines(t, s)
	require.Equal(t, "*3", reader.do("SUBSCRIBE news"))
	for range 5 {
		reader.read() // the rest of the confirmation
	}
	for _, commands := range [][]string{
		{"ECHO publishing"}, {"ECHO ordered"}, {"MULTI", "SET in-exec 1", "ECHO x", "EXEC"}, {"WATCH k", "ECHO x"},
		{"EVAL \"redis.call('set','in-script','1') return redis.call('echo','x')\" 0"}, {"CLIENT TRACKING on", "ECHO x"}, {"MONITOR", "ECHO x"},
	} {
		c := dialLines(t, s)
		for i, command := range commands {
			c.send(command)
			if i < len(commands)-1 {
				c.read()
			}
		}
		var got string
		for !strings.HasPrefix(got, "-ERR") {
			got = c.read() // MONITOR shows commands first
		}
		if !strings.Contains(got, "on purpose") { // the error that a script gets and passes on
			assert.Equal(t, internalError, got, "%q", commands)
			c.closed()
		}
		assert.Equal(t, "+OK", writer.do("SET k v"), "%q", commands)
		assert.Equal(t, ":1", writer.do("PUBLISH news x"), "%q", commands)
		assert.Equal(t, "*3", reader.read())
		for range 6 {
			reader.read()
		}
	}
}

// faultyClock panics once when it is asked for the time after it was armed.
type faultyClock struct {
	clockwork.Clock
	armed atomic.Bool
}

func (f *faultyClock) Now() time.Time {
	if f.armed.CompareAndSwap(true, false) {
		panic("on purpose")
	}
	return f.Clock.Now()
}

// TestPanicOutsideOfCommands: framing, and what runs by the clock.
func TestPanicOutsideOfCommands(t *testing.T) {
	clock := &faultyClock{Clock: clockwork.NewRealClock()}
	s := RunT(t, WithPlainAddr("127.0.0.1:0"), WithAccessKeys("k", "l"), WithClock(clock))
	c := dialLines(t, s)
	clock.armed.Store(true)
	c.send("*bad") // the event about it asks for the time
	c.closed()
	require.False(t, clock.armed.Load())
	require.NotEmpty(t, ownFaults(s))

	c = dialLines(t, s)
	require.Equal(t, "+OK", c.do("PSETEX k 60000 v"))
	clock.armed.Store(true)
	s.expireKeys()
	require.Len(t, ownFaults(s), 2)
	assert.Equal(t, ":1", c.do("EXISTS k"))
}

func ownFaults(s *Server) (found []Event) {
	for _, e := range s.Events() {
		if e.Kind == EventCommand && e.Reason == ReasonPanic {
			found = append(found, e)
		}
	}
	return found
}

package fakeserver_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/entracache/entracache/fakeserver"
)

// TestHostileBytes sends what crashes or spins redcon, before AUTH and after,
// on both ports.
func TestHostileBytes(t *testing.T) {
	t.Parallel()
	w := newWorld(t, fakeserver.WithPlainAddr("127.0.0.1:0"))
	for _, tc := range []struct{ bytes, stranger, known string }{
		{"*1\r\n$9223372036854775807\r\nabc\r\n", "invalid bulk length", "invalid bulk length"},            // 27 bytes, a crash
		{"*9000000000000000000\r\n$4\r\nPING\r\n", "invalid multibulk length", "invalid multibulk length"}, // 33 bytes, a spin
		{"*2000000000\r\n$4\r\nPING\r\n", "invalid multibulk length", "invalid multibulk length"},
		{"*11\r\n", "unauthenticated multibulk length", ""},
		{"*abc\r\n", "invalid multibulk length", "invalid multibulk length"},
		{"*1\r\n$-1\r\n", "invalid bulk length", "invalid bulk length"},
		{"*1\r\n+x\r\n", "expected '$', got '+'", "expected '$', got '+'"},
		{"SET \"a\r\n", "unbalanced quotes in request", "unbalanced quotes in request"},
		{strings.Repeat("x", 70000), "too big inline request", "too big inline request"},
	} {
		for _, known := range []bool{false, true} {
			for _, open := range []func(*testing.T, *fakeserver.Server) *client{dial, dialPlain} {
				c, want := open(t, w.Server), tc.stranger
				if known {
					require.Equal(t, "+OK", c.line("AUTH", "key-one"))
					want = tc.known
				}
				if want == "" {
					continue
				}
				c.send(tc.bytes)
				got, err := c.next(patience)
				require.NoError(t, err, "%.40q", tc.bytes)
				assert.Equal(t, "-ERR Protocol error: "+want+"\r\n", got, "%.40q", tc.bytes)
				c.closed()
			}
		}
	}
	assert.Equal(t, "+PONG", w.withKey().line("PING"))
	e := w.eventKind(fakeserver.EventProtocolError)
	assert.Contains(t, e.Detail, "Protocol error")
	assert.Equal(t, fakeserver.ReasonProtocolError, w.event(func(c fakeserver.Event) bool {
		return c.Kind == fakeserver.EventConnectionClosed && c.Conn == e.Conn
	}).Reason)
}

// TestHTTPIsClosedWithoutAWord: up to 6.2 POST and Host: are commands, for
// which one must be signed in; since 7.0 nobody is answered. Either way what
// came in the same packet is not answered.
func TestHTTPIsClosedWithoutAWord(t *testing.T) {
	t.Parallel()
	for profile, refused := range map[fakeserver.Profile]bool{fakeserver.ProfileAzureCache60: true, fakeserver.ProfileManagedRedis74: false} {
		w := newWorld(t, fakeserver.WithPlainAddr("127.0.0.1:0"), fakeserver.WithProfile(profile))
		for _, line := range []string{"POST / HTTP/1.1\r\n", "Host: localhost\r\n", "GET / HTTP/1.1\r\nhost: localhost\r\n", array("pOST")} {
			for _, open := range []func(*testing.T, *fakeserver.Server) *client{dial, dialPlain} {
				if c := open(t, w.Server); refused {
					c.send("PING\r\n" + line)
					assert.Equal(t, "-NOAUTH Authentication required.\r\n", c.read())
				} else {
					c.send("PING\r\n" + line)
					c.closed()
				}
				c := open(t, w.Server)
				require.Equal(t, "+OK", c.line("AUTH", "key-one"))
				c.send("PING\r\n" + line + "PING\r\n")
				c.closed()
			}
		}
		e := w.eventKind(fakeserver.EventProtocolError)
		assert.Contains(t, e.Detail, "an HTTP request")
		w.event(func(c fakeserver.Event) bool {
			return c.Kind == fakeserver.EventConnectionClosed && c.Conn == e.Conn && c.Reason == fakeserver.ReasonProtocolError
		})
	}
}

func TestInlineCommandsAndIgnoredFrames(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.withKey()
	c.send("*0\r\n*-1\r\n\r\nPING\r\nECHO \"\\x41\"\n")
	assert.Equal(t, "+PONG\r\n", c.read())
	assert.Equal(t, "$1\r\nA\r\n", c.read())
}

// TestLongTokens: before signing in an argument may have 16384 bytes, which a
// token with many groups exceeds.
func TestLongTokens(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := dial(t, w.Server)
	assert.Equal(t, wrongPass, c.line("AUTH", oid, strings.Repeat("x", 16384)))
	c.send("*3\r\n$4\r\nAUTH\r\n$36\r\n" + oid + "\r\n$16385\r\n") // the rest might meet a closed connection
	assert.Equal(t, "-ERR Protocol error: unauthenticated bulk length\r\n", c.read())
	c.closed()
	// On a connection that is signed in already a longer one may come.
	c = w.withKey()
	assert.Equal(t, wrongPass, c.line("AUTH", oid, strings.Repeat("x", 20000)))
}

// TestManyArguments: 300,000 arguments took redcon alone half a minute.
func TestManyArguments(t *testing.T) {
	t.Parallel()
	w := newWorld(t, fakeserver.WithPlainAddr("127.0.0.1:0"))
	c := dialPlain(t, w.Server)
	require.Equal(t, "+OK", c.line("AUTH", "key-one"))
	args := make([]string, 300_001)
	args[0] = "DEL"
	for i := range args[1:] {
		args[i+1] = fmt.Sprint("key-", i)
	}
	assert.Equal(t, ":0", c.line(args...))
}

// TestPipelineEndsWithTheConnection: commands that were read together with the
// one that ended the connection must not run.
func TestPipelineEndsWithTheConnection(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.withKey()
	c.send(array("SET", "a", "1") + array("QUIT") + array("SET", "a", "2"))
	assert.Equal(t, "+OK\r\n", c.read())
	assert.Equal(t, "+OK\r\n", c.read())
	c.closed()
	assert.Equal(t, "$1\r\n1\r\n", w.withKey().do("GET", "a"))
}

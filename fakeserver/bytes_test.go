package fakeserver_test

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/entracache/entracache/fakeserver"
	"github.com/entracache/entracache/fakeserver/internal/command/redistest"
)

// recordedBytes is what a 6.0.20 server answered to sequences of bytes, one a
// line: the mode, the bytes and the reply, the latter two quoted.
const recordedBytes = "testdata/bytes_6.0.20.txt"

// probe follows every sequence: its PONG is missing where the server has closed
// the connection, or waits for the rest of a command.
const probe = "\r\n*1\r\n$4\r\nPING\r\n"

// converse sends bytes and the probe at once, says that no more will come, and
// returns all that comes back.
func converse(t require.TestingT, network, addr, in string) string {
	conn, err := net.Dial(network, addr)
	require.NoError(t, err)
	defer conn.Close()
	require.NoError(t, conn.SetDeadline(time.Now().Add(patience)))
	_, err = io.WriteString(conn, in+probe)
	require.NoError(t, err)
	// A server that has closed may have reset the connection.
	ignoreReset := func(err error) {
		if !errors.Is(err, syscall.ECONNRESET) && !errors.Is(err, syscall.ENOTCONN) {
			require.NoError(t, err, "%q", in)
		}
	}
	ignoreReset(conn.(interface{ CloseWrite() error }).CloseWrite())
	out, err := io.ReadAll(conn)
	ignoreReset(err)
	return helloID.ReplaceAllString(string(out), "id\r\n:?\r\n")
}

type exchange struct{ mode, in, reply string }

func (e exchange) sent() string {
	if e.mode == "signed" {
		return array("AUTH", "secret") + e.in
	}
	return e.in
}

var recordedLine = regexp.MustCompile(`^(open|closed|signed) ("(?:[^"\\]|\\.)*") ("(?:[^"\\]|\\.)*")\n$`)

func recordedExchanges(t *testing.T) []exchange {
	t.Helper()
	data, err := os.ReadFile(recordedBytes)
	require.NoError(t, err)
	var all []exchange
	for line := range strings.Lines(string(data)) {
		m := recordedLine.FindStringSubmatch(line)
		require.NotNil(t, m, line)
		in, err := strconv.Unquote(m[2])
		require.NoError(t, err)
		reply, err := strconv.Unquote(m[3])
		require.NoError(t, err)
		all = append(all, exchange{m[1], in, reply})
	}
	require.Greater(t, len(all), 500)
	return all
}

// modes are a server without a password, one with a password and a client that
// has not signed in, and the same after signing in.
func modes(t *testing.T, play func(mode string), setPassword func()) {
	t.Helper()
	play("open")
	setPassword()
	play("closed")
	play("signed")
}

func TestBytesAgainstRecording(t *testing.T) {
	t.Parallel()
	fake := open(t, fakeserver.ProfileOSS60)
	all := recordedExchanges(t)
	modes(t, func(mode string) {
		for _, e := range all {
			if e.mode == mode {
				assert.Equal(t, e.reply, converse(t, "tcp", fake.PlainAddr(), e.sent()), "%s: %q", mode, e.in)
			}
		}
	}, func() { require.Equal(t, "+OK", dialPlain(t, fake).line("CONFIG", "SET", "requirepass", "secret")) })
}

// TestBytesAgainstRealServer sends the same sequences, and generated ones, to a
// 7.0 server and to the fake.
func TestBytesAgainstRealServer(t *testing.T) {
	t.Parallel()
	real := redistest.Start(t)
	fake := open(t, fakeserver.ProfileOSS70)
	compare := func(t require.TestingT, e exchange) {
		want := converse(t, "unix", real.Options().Addr, e.sent())
		require.Equal(t, want, converse(t, "tcp", fake.PlainAddr(), e.sent()), "%s: %q", e.mode, e.in)
	}
	all := recordedExchanges(t)
	modes(t, func(mode string) {
		for _, e := range all {
			if e.mode == mode {
				compare(t, e)
			}
		}
		rapid.Check(t, func(t *rapid.T) {
			fragments := rapid.SliceOfN(rapid.OneOf(rapid.SampledFrom(wellFormed), header, rapid.StringMatching(`[*$+\-0-9\r\n \x00"'\\xPINGpost:_#,(=!%~>|]{1,12}`)), 1, 6)
			compare(t, exchange{mode: mode, in: strings.Join(fragments.Draw(t, "fragments"), "")})
		})
	}, func() {
		require.NoError(t, real.ConfigSet(t.Context(), "requirepass", "secret").Err())
		require.Equal(t, "+OK", dialPlain(t, fake).line("CONFIG", "SET", "requirepass", "secret"))
	})
}

// wellFormed are commands whose replies are the same on every server.
var wellFormed = []string{
	array("PING"), array("PING"), "PING\r\n", "ping\n", array("ECHO", "x\r\ny"), array("ECHO"), array("FOO", "a", ""), array("GET", "no:key"), array("GET"),
	array("AUTH", "secret"), array("AUTH", "bad"), array("HELLO", "3"), array("HELLO", "2"), array("HELLO", "3", "AUTH", "default", "secret"),
	array("MULTI"), array("EXEC"), array("DISCARD"), array("WATCH", "no:key"), array("QUIT"), array("RESET"), array("CLIENT", "FOO"), array("CLIENT", "SETNAME", "n"),
	array("CLIENT", "GETNAME"), array("SELECT", "1"), array("SELECT", "99"), array("ACL", "WHOAMI"), "\r\n", "*0\r\n", "*-1\r\n", "\"\"\r\n",
	"POST / HTTP/1.1\r\n", "Host: x\r\n", array("post"), "GET / HTTP/1.1\r\n", "ECHO \"\\x41\" 'b'\r\n", "ECHO \"a\"b\r\n",
}

// header is a command with a header that is odd in some place.
var header = rapid.Custom(func(t *rapid.T) string {
	number := rapid.SampledFrom([]string{"1", "1", "2", "4", "0", "-1", "+1", "01", " 1", "1 ", "", "x", "11", "16385", "2147483648", "9223372036854775808", "18446744073709551617", "1\x00"})
	end := rapid.SampledFrom([]string{"\r\n", "\r\n", "\r\n", "\n", "\r", "", "\rX", "\r\r\n", "\x00\r\n"})
	mark := rapid.SampledFrom([]string{"$", "$", "$", "$", "*", "+", "\r", "\n", "", "\xff"})
	return fmt.Sprintf("*%s%s%s%s%sPING%s", number.Draw(t, "count"), end.Draw(t, "end"), mark.Draw(t, "mark"),
		rapid.OneOf(rapid.Just("4"), number).Draw(t, "length"), end.Draw(t, "end"), end.Draw(t, "end"))
})

// Redis looks at the length of a line only where it does not find its end.
func TestLinesThatAreTooLong(t *testing.T) {
	t.Parallel()
	for profile, longest := range map[fakeserver.Profile]int{fakeserver.ProfileOSS60: 80 << 10, fakeserver.ProfileOSS70: 160 << 10} {
		s := open(t, profile)
		talk := func(in string) string {
			conn, err := net.Dial("tcp", s.PlainAddr())
			require.NoError(t, err)
			c := newClient(t, conn)
			c.send(in)
			return c.read()
		}
		const tooBig = "-ERR Protocol error: too big inline request\r\n"
		assert.Equal(t, tooBig, talk(strings.Repeat("x", 64<<10+1)), "%s: without an end", profile)
		assert.Equal(t, tooBig, talk(strings.Repeat("x", longest+1)+"\r\n"), profile)
		assert.Equal(t, "-ERR Protocol error: too big mbulk count string\r\n", talk("*"+strings.Repeat("0", 64<<10)), profile)
	}
}

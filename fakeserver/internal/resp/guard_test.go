package resp

import (
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// crash and spin are what takes redcon 1.6.4 down: the first ends the process, the second occupies a core for ever.
const (
	crash = "*1\r\n$9223372036854775807\r\nabc\r\n"
	spin  = "*9000000000000000000\r\n$4\r\nPING\r\n"
)

func TestFraming(t *testing.T) {
	protocolError := func(s string) string { return "-ERR Protocol error: " + s + "\r\n" }
	long := strings.Repeat("1", defaultLine+1)
	for name, c := range map[string]struct {
		in     string
		signIn int // -1: never
		out    string
		reply  string
	}{
		"one command":              {in: "*1\r\n$4\r\nPING\r\n", out: "PING"},
		"two commands":             {in: "*1\r\n$4\r\nPING\r\n*2\r\n$4\r\nECHO\r\n$2\r\nhi\r\n", out: "PING|ECHO,hi"},
		"an empty argument":        {in: "*2\r\n$4\r\nECHO\r\n$0\r\n\r\n", out: "ECHO,"},
		"an empty name":            {in: "*1\r\n$0\r\n\r\n", out: ""},
		"binary argument":          {in: "*2\r\n$4\r\nECHO\r\n$4\r\n\r\n\x00*\r\n", out: "ECHO,\r\n\x00*"},
		"bytes after a bulk":       {in: "*1\r\n$4\r\nPINGxx*1\r\n$4\r\nQUITyy", out: "PING|QUIT"},
		"any byte after the CR":    {in: "*1\rX$4\rYPINGab", out: "PING"},
		"*0":                       {in: "*0\r\n*1\r\n$4\r\nPING\r\n", out: "PING"},
		"*-1":                      {in: "*-1\r\n*-9223372036854775808\r\nPING\r\n", out: "PING"},
		"empty lines":              {in: "\r\n\n  \t \r\n*1\r\n$4\r\nPING\r\n\r\n", out: "PING"},
		"inline":                   {in: "SET key  value\r\nGET\tkey\n", out: "SET,key,value|GET,key"},
		"inline among others":      {in: "*1\r\n$4\r\nPING\r\nPING 1\n*1\r\n$4\r\nPING\r\n", out: "PING|PING,1|PING"},
		"inline hex":               {in: `ECHO "\x41\n\t\"\q" 'a\'\x41'` + "\r\n", out: "ECHO,A\n\t\"q,a'\\x41"},
		"inline escapes":           {in: `ECHO "\r\b\a\\\'" "\xaB\xfg"` + "\r\n", out: "ECHO,\r\b\a\\',\xabxfg"},
		"inline empty argument":    {in: "ECHO \"\" ''\n", out: "ECHO,,"},
		"unfinished header":        {in: "*1\r\n$4\r\nPING\r\n*1\r", out: "PING"},
		"unfinished body":          {in: "*1\r\n$4\r\nPING\r\n*1\r\n$4\r\nPIN", out: "PING"},
		"unfinished end":           {in: "*1\r\n$4\r\nPING\r", out: "-"},
		"unfinished inline":        {in: "PING", out: "-"},
		"zero byte in a header":    {in: "*1\x00\r\n$4\r\nPING\r\n", out: "-"},
		"zero byte for a dollar":   {in: "*1\r\n\x004\r\nPING\r\n", out: "-"},
		"zero byte in a line":      {in: "PI\x00NG\r\nPING\r\n", out: "-"},
		"a long inline":            {in: "ECHO " + long[:defaultLine-5] + "\n", out: "ECHO," + long[:defaultLine-5]},
		"crash of redcon":          {in: crash, out: "-", reply: protocolError("invalid bulk length")},
		"spin of redcon":           {in: spin, out: "-", reply: protocolError("invalid multibulk length")},
		"crash before sign-in":     {in: crash, signIn: -1, out: "-", reply: protocolError("invalid bulk length")},
		"spin before sign-in":      {in: spin, signIn: -1, out: "-", reply: protocolError("invalid multibulk length")},
		"no number":                {in: "*abc\r\n", out: "-", reply: protocolError("invalid multibulk length")},
		"empty number":             {in: "*\r\n", out: "-", reply: protocolError("invalid multibulk length")},
		"plus sign":                {in: "*+1\r\n", out: "-", reply: protocolError("invalid multibulk length")},
		"leading zero":             {in: "*01\r\n", out: "-", reply: protocolError("invalid multibulk length")},
		"minus zero":               {in: "*-0\r\n", out: "-", reply: protocolError("invalid multibulk length")},
		"out of 64 bits":           {in: "*-9223372036854775809\r\n", out: "-", reply: protocolError("invalid multibulk length")},
		"most arguments":           {in: "*1048576\r\n", out: "-"},
		"too many arguments":       {in: "*1048577\r\n", out: "-", reply: protocolError("invalid multibulk length")},
		"not a bulk":               {in: "*1\r\n+PING\r\n", out: "-", reply: protocolError("expected '$', got '+'")},
		"not a bulk, unfinished":   {in: "*1\r\n+PING", out: "-"},
		"not even a byte":          {in: "*1\r\n\r\n", out: "-", reply: protocolError("expected '$', got ' '")},
		"negative bulk":            {in: "*1\r\n$-1\r\n", out: "-", reply: protocolError("invalid bulk length")},
		"longest bulk":             {in: "*1\r\n$536870912\r\nabc", out: "-"},
		"too long a bulk":          {in: "*1\r\n$536870913\r\n", out: "-", reply: protocolError("invalid bulk length")},
		"no bulk length":           {in: "*1\r\n$abc\r\n", out: "-", reply: protocolError("invalid bulk length")},
		"unbalanced quotes":        {in: "ECHO \"abc\r\n", out: "-", reply: protocolError("unbalanced quotes in request")},
		"text after a quote":       {in: "ECHO 'a'b\r\n", out: "-", reply: protocolError("unbalanced quotes in request")},
		"too long an inline":       {in: long, out: "-", reply: protocolError("too big inline request")},
		"too long, but ended":      {in: long + "\r\n", out: long},
		"much too long":            {in: strings.Repeat("x", 80<<10+1) + "\n", out: "-", reply: protocolError("too big inline request")},
		"zeros, but ended":         {in: "*" + long + "\r\n", out: "-", reply: protocolError("invalid multibulk length")},
		"too long a count":         {in: "*" + long, out: "-", reply: protocolError("too big mbulk count string")},
		"too long a length":        {in: "*1\r\n$" + long, out: "-", reply: protocolError("too big bulk count string")},
		"what came before":         {in: "*1\r\n$4\r\nPING\r\nECHO 1\n*x\r\n", out: "PING|ECHO,1", reply: protocolError("invalid multibulk length")},
		"nothing after":            {in: "*1\r\n$4\r\nPING\r\n*1\r\n$-9\r\n*1\r\n$4\r\nPING\r\n", out: "PING", reply: protocolError("invalid bulk length")},
		"arguments unauth":         {in: "*10\r\n" + strings.Repeat("$1\r\na\r\n", 10), signIn: -1, out: "a,a,a,a,a,a,a,a,a,a"},
		"too many unauth":          {in: "*11\r\n", signIn: -1, out: "-", reply: protocolError("unauthenticated multibulk length")},
		"bulk unauth":              {in: "*1\r\n$16384\r\n" + long[:16384] + "\r\n", signIn: -1, out: long[:16384]},
		"too long unauth":          {in: "*1\r\n$16385\r\n", signIn: -1, out: "-", reply: protocolError("unauthenticated bulk length")},
		"limits lifted in between": {in: "*1\r\n$4\r\nAUTH\r\n*1\r\n$16385\r\n" + long[:16385] + "\r\n", signIn: 1, out: "AUTH|" + long[:16385]},
		"limits not lifted":        {in: "*1\r\n$4\r\nAUTH\r\n*1\r\n$16385\r\n", signIn: -1, out: "AUTH", reply: protocolError("unauthenticated bulk length")},
		"inline unauth":            {in: "a b c d e f g h i j k l\n", signIn: -1, out: "a,b,c,d,e,f,g,h,i,j,k,l"},
	} {
		t.Run(name, func(t *testing.T) {
			want := outcome{reply: c.reply, violated: c.reply != ""}
			if c.out != "-" {
				for command := range strings.SplitSeq(c.out, "|") {
					want.commands = append(want.commands, strings.Split(command, ","))
				}
			}
			require.Equal(t, want, expect([]byte(c.in), Limits{}, c.signIn), "the oracle")
			for _, slices := range [][]int{{redconBuffer}, {1}, {minRead}, {7, 600, 3, 1 << 20}} {
				for _, pieces := range [][]int{{1 << 20}, {1}, {3, 1, 500, 2, 5000}} {
					if len(c.in) > 2000 && slices[0] == 1 {
						continue
					}
					got := observe(t, []byte(c.in), Limits{}, c.signIn, pieces, slices)
					require.Equal(t, want, got, "in pieces of %d, read by %d", pieces, slices)
				}
			}
		})
	}
}

// The text of "expected '$'" must not be turned into UTF-8.
func TestExpectedDollarKeepsTheByte(t *testing.T) {
	require.Equal(t, "expected '$', got '\xff'", expectedDollar(0xff))
}

func TestSplitInlineBlanks(t *testing.T) {
	args, ok := splitInline([]byte("\v\fa\vb\fc d\v"))
	require.True(t, ok)
	require.Equal(t, [][]byte{[]byte("a\vb\fc"), []byte("d\v")}, args)
}

func command(args ...string) []byte {
	b := AppendArray(nil, len(args))
	for _, a := range args {
		b = AppendBulkString(b, a)
	}
	return b
}

// An authenticated client's commands are handed over as many at a time as fit, and never a part of one beside them.
func TestBatches(t *testing.T) {
	one := string(command("SET", "key", "value"))
	c := &scripted{pieces: [][]byte{[]byte(strings.Repeat(one, 300))}}
	g := NewGuard(c, Options{})
	g.SetAuthenticated(true)
	p := make([]byte, redconBuffer)
	total := 0
	for total < 300*len(one) {
		n, err := g.Read(p)
		require.NoError(t, err)
		require.Zero(t, n%len(one), "a part of a command was handed over beside whole ones")
		if total += n; total < 300*len(one) {
			require.Greater(t, n, redconBuffer-2*len(one), "the batch could have been larger")
		}
	}
}

func TestOneCommandAtATimeBeforeSignIn(t *testing.T) {
	one := string(command("AUTH", "user", "secret"))
	g := NewGuard(&scripted{pieces: [][]byte{[]byte(strings.Repeat(one, 20))}}, Options{})
	p := make([]byte, redconBuffer)
	for i := range 10 {
		n, err := g.Read(p)
		require.NoError(t, err)
		require.Equal(t, one, string(p[:n]), "read %d", i)
	}
	g.SetAuthenticated(true)
	n, err := g.Read(p)
	require.NoError(t, err)
	require.Equal(t, strings.Repeat(one, 10), string(p[:n]))
}

// A command longer than the caller's slice comes in full slices, so that redcon, which looks at everything again at each
// read, sees it a logarithmic number of times, and the guard holds none of it.
func TestLongCommandFlowsThrough(t *testing.T) {
	value := strings.Repeat("x", 10<<20)
	in := command("SET", "key", value)
	g := NewGuard(&scripted{pieces: cut(in, 1000)}, Options{})
	g.SetAuthenticated(true)
	var out []byte
	for len(out) < len(in) {
		p := make([]byte, max(redconBuffer, len(out)))
		n, err := g.Read(p)
		require.NoError(t, err)
		out = append(out, p[:n]...)
		if len(out) < len(in) {
			require.GreaterOrEqual(t, n, len(p)-16, "a slice that is not full")
		}
		require.LessOrEqual(t, cap(g.in.b)+cap(g.pending.b), 2*redconBuffer)
	}
	require.Equal(t, string(in), string(out))
}

func TestCommandLimit(t *testing.T) {
	limits := Limits{Command: 1000}
	in := append(command("PING"), command("MSET", strings.Repeat("a", 500), strings.Repeat("b", 500))...)
	require.Equal(t, outcome{commands: [][]string{{"PING"}}, violated: true}, observe(t, in, limits, 0, []int{100}, []int{4096}))

	// Exactly at the limit, however it arrives.
	in = command("PING", "x")
	for _, piece := range []int{1, 100} {
		require.Equal(t, outcome{commands: [][]string{{"PING", "x"}}}, observe(t, in, Limits{Command: int64(len(in))}, 0, []int{piece}, []int{4096}))
		require.Equal(t, outcome{violated: true}, observe(t, in, Limits{Command: int64(len(in)) - 1}, 0, []int{piece}, []int{4096}))
	}

	// A number of arguments that cannot fit is waited for, as in Redis, but redcon does not hear of it.
	limits.Args = 1<<31 - 1
	in = append(command("PING"), "*2147483647\r\n$4\r\nPING\r\n"...)
	require.Equal(t, outcome{commands: [][]string{{"PING"}}}, observe(t, in, limits, 0, []int{100}, []int{4096}))
	c := &scripted{pieces: [][]byte{[]byte("*2147483647\r\n" + strings.Repeat("$4\r\nPING\r\n", 99))}}
	g := NewGuard(c, Options{Limits: limits})
	g.SetAuthenticated(true)
	n, err := g.Read(make([]byte, redconBuffer))
	require.Zero(t, n)
	require.ErrorIs(t, err, io.EOF)
	require.Empty(t, c.replies.String(), "Redis closes without a reply at client-query-buffer-limit")
}

func TestOnProtocolError(t *testing.T) {
	for in, want := range map[string]string{
		crash:            "ERR Protocol error: invalid bulk length",
		"*1\r\n$999\r\n": "closed without a reply: a command of more than 500 bytes",
	} {
		c := &scripted{pieces: [][]byte{[]byte(in)}}
		var got []string
		g := NewGuard(c, Options{Limits: Limits{Command: 500}, OnProtocolError: func(text string) {
			require.Empty(t, c.replies.String(), "the event comes before the reply, so that a client cannot see it first")
			got = append(got, text)
		}})
		for range 3 {
			_, err := g.Read(make([]byte, redconBuffer))
			require.ErrorIs(t, err, io.EOF)
		}
		require.Equal(t, []string{want}, got)
	}
}

// A line that arrives byte by byte, and whose end never comes, is neither kept beyond the limit nor searched anew each
// time.
func TestDripOfAnEndlessLine(t *testing.T) {
	start := time.Now()
	for _, head := range []string{"", "*", "*1\r\n$"} {
		got := observe(t, []byte(head+strings.Repeat("7", 2*defaultLine)), Limits{}, 0, []int{1}, []int{redconBuffer})
		require.Contains(t, got.reply, "too big")
	}
	require.Less(t, time.Since(start), 5*time.Second)
}

func tcpPair(t testing.TB) (client, server net.Conn) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer ln.Close()
	client, err = net.Dial("tcp", ln.Addr().String())
	require.NoError(t, err)
	server, err = ln.Accept()
	require.NoError(t, err)
	t.Cleanup(func() { client.Close(); server.Close() })
	return client, server
}

func tlsPair(t testing.TB) (client, server net.Conn) {
	c, s := tcpPair(t)
	cert := testCertificate(t)
	return tls.Client(c, &tls.Config{InsecureSkipVerify: true}), tls.Server(s, &tls.Config{Certificates: []tls.Certificate{cert}})
}

func pipePair(t testing.TB) (client, server net.Conn) {
	c, s := net.Pipe()
	t.Cleanup(func() { c.Close(); s.Close() })
	return c, s
}

var pairs = map[string]func(testing.TB) (net.Conn, net.Conn){"tcp": tcpPair, "tls": tlsPair, "pipe": pipePair}

func send(t testing.TB, c net.Conn, b []byte) {
	t.Helper()
	require.NoError(t, c.SetWriteDeadline(time.Now().Add(10*time.Second)))
	_, err := c.Write(b)
	require.NoError(t, err)
}

func readCommand(t testing.TB, g *Guard) string {
	t.Helper()
	p := make([]byte, redconBuffer)
	n, err := g.Read(p)
	require.NoError(t, err)
	return string(p[:n])
}

func TestFirstCommandTimeout(t *testing.T) {
	for name, pair := range pairs {
		t.Run(name, func(t *testing.T) {
			client, server := pair(t)
			g := NewGuard(server, Options{FirstCommandTimeout: 50 * time.Millisecond})
			if name != "tls" { // over TLS the handshake itself does not come
				go func() { _, _ = client.Write([]byte("*1\r\n$4\r\nPI")) }()
			}
			_, err := g.Read(make([]byte, redconBuffer))
			for err == nil { // the part of the command that did come
				_, err = g.Read(make([]byte, redconBuffer))
			}
			require.ErrorIs(t, err, os.ErrDeadlineExceeded)
		})
	}
	t.Run("in time", func(t *testing.T) {
		client, server := tcpPair(t)
		g := NewGuard(server, Options{FirstCommandTimeout: 100 * time.Millisecond})
		send(t, client, command("PING"))
		require.Equal(t, string(command("PING")), readCommand(t, g))
		time.AfterFunc(150*time.Millisecond, func() { _, _ = client.Write(command("ECHO", "later")) })
		require.Equal(t, string(command("ECHO", "later")), readCommand(t, g), "the deadline is for the first command only")
	})
}

func TestReadDeadlineMayBeMoved(t *testing.T) {
	client, server := tcpPair(t)
	g := NewGuard(server, Options{})
	send(t, client, command("PING")[:7])
	require.NoError(t, g.SetReadDeadline(time.Now().Add(30*time.Millisecond)))
	p := make([]byte, redconBuffer)
	n, err := g.Read(p)
	if err == nil {
		_, err = g.Read(p[n:])
	}
	require.ErrorIs(t, err, os.ErrDeadlineExceeded)
	require.NoError(t, g.SetDeadline(time.Time{}))
	send(t, client, command("PING")[7:])
	m, err := g.Read(p[n:])
	require.NoError(t, err)
	require.Equal(t, string(command("PING")), string(p[:n+m]))
}

func TestWriteTimeoutCutsTheConnection(t *testing.T) {
	for _, name := range []string{"tcp", "pipe"} {
		t.Run(name, func(t *testing.T) {
			_, server := pairs[name](t)
			g := NewGuard(server, Options{WriteTimeout: 50 * time.Millisecond})
			_, err := g.Write(make([]byte, 64<<20)) // nobody reads
			require.ErrorIs(t, err, os.ErrDeadlineExceeded)
			_, err = g.Write([]byte("+OK\r\n"))
			require.ErrorContains(t, err, "after an earlier write failed")
			_, err = g.Read(make([]byte, redconBuffer))
			require.Error(t, err)
		})
	}
}

// Replies and pushes from several goroutines arrive whole.
func TestWritesAreNotMixed(t *testing.T) {
	client, server := pipePair(t)
	g := NewGuard(server, Options{})
	const writers, each = 8, 50
	done := make(chan error, writers)
	for w := range writers {
		go func() {
			text := AppendBulkString(nil, strings.Repeat(string(rune('a'+w)), 1000+w))
			for range each {
				if _, err := g.Write(text); err != nil {
					done <- err
					return
				}
			}
			done <- nil
		}()
	}
	var in []byte
	p := make([]byte, 700)
	for replies := 0; replies < writers*each; {
		n, err := client.Read(p)
		require.NoError(t, err)
		in = append(in, p[:n]...)
		for {
			v, rest, err := Parse(in)
			if err != nil {
				require.ErrorIs(t, err, ErrIncomplete)
				break
			}
			require.Equal(t, strings.Repeat(string(v.Text[0]), len(v.Text)), string(v.Text))
			in = rest
			replies++
		}
	}
	for range writers {
		require.NoError(t, <-done)
	}
}

func TestEmptyWriteSendsNothing(t *testing.T) {
	_, server := pipePair(t) // a write would block
	n, err := NewGuard(server, Options{}).Write(nil)
	require.NoError(t, err)
	require.Zero(t, n)
}

func TestAbortDoesNotWaitForAStuckClient(t *testing.T) {
	client, server := tlsPair(t)
	g := NewGuard(server, Options{})
	handshake := make(chan error, 1)
	go func() { handshake <- client.(*tls.Conn).Handshake() }()
	require.NoError(t, server.(*tls.Conn).Handshake())
	require.NoError(t, <-handshake)
	stuck := make(chan error, 1)
	go func() { _, err := g.Write(make([]byte, 64<<20)); stuck <- err }()
	start := time.Now()
	require.NoError(t, g.Abort())
	require.Error(t, <-stuck)
	require.Less(t, time.Since(start), 2*time.Second)
}

func TestWatchDisconnect(t *testing.T) {
	for name, pair := range pairs {
		t.Run(name, func(t *testing.T) {
			client, server := pair(t)
			g := NewGuard(server, Options{})
			first := make(chan string, 1)
			go func() { first <- readCommand(t, g) }()
			send(t, client, command("BLPOP", "list", "0"))
			require.Equal(t, string(command("BLPOP", "list", "0")), <-first)

			// Watched twice without anything coming in, then with: nothing is lost.
			for range 2 {
				gone, stop := g.WatchDisconnect()
				select {
				case <-gone:
					t.Fatal("the client is still there")
				case <-time.After(20 * time.Millisecond):
				}
				stop()
				stop() // harmless
			}
			g.SetAuthenticated(true)
			_, stop := g.WatchDisconnect()
			send(t, client, command("ECHO", "read ahead"))
			send(t, client, command("ECHO", "again")[:9])
			stop()
			rest := make(chan error, 1)
			go func() { _, err := client.Write(command("ECHO", "again")[9:]); rest <- err }()
			var got string
			for want := string(command("ECHO", "read ahead")) + string(command("ECHO", "again")); len(got) < len(want); {
				got += readCommand(t, g)
				require.Equal(t, want[:min(len(want), len(got))], got)
			}
			require.NoError(t, <-rest)

			// The client leaves: noticed, and what it had sent is not run.
			gone, stop := g.WatchDisconnect()
			send(t, client, command("SET", "a", "b"))
			require.NoError(t, client.Close())
			select {
			case <-gone:
			case <-time.After(10 * time.Second):
				t.Fatal("the disconnect was not noticed")
			}
			stop()
			n, err := g.Read(make([]byte, redconBuffer))
			require.Zero(t, n)
			require.Error(t, err)
			gone, stop = g.WatchDisconnect()
			<-gone
			stop()
		})
	}
}

func TestWatchDisconnectIsStoppedByRead(t *testing.T) {
	client, server := tcpPair(t)
	g := NewGuard(server, Options{})
	_, _ = g.WatchDisconnect()
	send(t, client, command("PING"))
	require.Equal(t, string(command("PING")), readCommand(t, g))
}

func TestWatchDisconnectIsBounded(t *testing.T) {
	client, server := pipePair(t)
	g := NewGuard(server, Options{ReadAhead: 1000})
	gone, stop := g.WatchDisconnect()
	require.NoError(t, client.SetWriteDeadline(time.Now().Add(200*time.Millisecond)))
	n, err := client.Write([]byte("*1\r\n$5000\r\n" + strings.Repeat("x", 5000)))
	require.ErrorIs(t, err, os.ErrDeadlineExceeded)
	require.Equal(t, 1000, n)
	stop()
	select {
	case <-gone:
		t.Fatal("the client is still there")
	default:
	}
}

// Killing a connection from elsewhere is noticed by the watch as well.
func TestWatchDisconnectSeesAClose(t *testing.T) {
	for name, kill := range map[string]func(*Guard) error{
		"close":    (*Guard).Close,
		"abort":    (*Guard).Abort,
		"deadline": func(g *Guard) error { return g.SetReadDeadline(time.Unix(1, 0)) },
	} {
		t.Run(name, func(t *testing.T) {
			_, server := tcpPair(t)
			g := NewGuard(server, Options{})
			gone, stop := g.WatchDisconnect()
			go func() { _ = kill(g) }()
			select {
			case <-gone:
			case <-time.After(10 * time.Second):
				t.Fatal("not noticed")
			}
			stop()
			_, err := g.Read(make([]byte, redconBuffer))
			require.Error(t, err)
		})
	}
}

func TestGuardIsTheConnection(t *testing.T) {
	_, server := tcpPair(t)
	g := NewGuard(server, Options{})
	require.Same(t, server, g.NetConn())
	require.Equal(t, server.LocalAddr(), g.LocalAddr())
	require.Equal(t, server.RemoteAddr(), g.RemoteAddr())
	require.NoError(t, g.SetWriteDeadline(time.Unix(1, 0)))
	_, err := g.Write([]byte("x"))
	require.ErrorIs(t, err, os.ErrDeadlineExceeded)
}

func ExampleGuard() {
	client, server := net.Pipe()
	go func() {
		_, _ = io.WriteString(client, "SET greeting \"hello \\x77orld\"\r\n")
		_ = client.Close()
	}()
	g := NewGuard(server, Options{})
	b, _ := io.ReadAll(g)
	fmt.Printf("%q\n", b)
	// Output: "*3\r\n$3\r\nSET\r\n$8\r\ngreeting\r\n$11\r\nhello world\r\n"
}

// Before sign-in replies wait for the commands that came with theirs; a command that is not whole is no reason to wait.
func TestRepliesWaitForTheCommandsThatCameTogether(t *testing.T) {
	c := &scripted{pieces: [][]byte{[]byte("PING\r\nPING\r\nPI"), []byte("NG\r\n"), []byte("PING\r\nPING\r\n")}}
	g := NewGuard(c, Options{})
	answer := func(reply, seen string) {
		p := make([]byte, redconBuffer)
		n, err := g.Read(p)
		require.NoError(t, err)
		require.Equal(t, string(command("PING")), string(p[:n]))
		_, err = g.Write([]byte(reply))
		require.NoError(t, err)
		require.Equal(t, seen, c.replies.String())
	}
	answer("1", "")
	answer("2", "") // the beginning of another command is there
	answer("3", "123")
	answer("4", "123")
	require.NoError(t, g.Close())
	require.Equal(t, "123", c.replies.String(), "closing drops what was held")

	c = &scripted{pieces: [][]byte{[]byte("PING\r\nPING\r\n")}}
	g = NewGuard(c, Options{})
	answer("1", "")
	g.Flush()
	require.Equal(t, "1", c.replies.String())
	g.SetAuthenticated(true)
	answer("2", "12")
	_, err := g.Read(make([]byte, redconBuffer))
	require.ErrorIs(t, err, io.EOF)
}

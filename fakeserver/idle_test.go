package fakeserver_test

import (
	"bufio"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/entracache/entracache/fakeserver"
	"github.com/entracache/entracache/fakeserver/internal/token/tokentest"
)

// What an idle connection that has signed in may cost the server, in bytes.
const (
	idlePlain = 24 << 10
	idleTLS   = 48 << 10
)

// TestIdleConnectionsAreCheap measures live memory: heap and stacks.
func TestIdleConnectionsAreCheap(t *testing.T) {
	if raceDetector {
		t.Skip("the race detector takes memory of its own")
	}
	const n = 512
	assert.Less(t, measureIdle(t, false, n).live, idlePlain, "plain")
	assert.Less(t, measureIdle(t, true, n).live, idleTLS, "TLS")
}

// BenchmarkIdleConnections holds as many connections as a large application
// has. B/conn is live memory; RSS/conn is what the operating system sees,
// garbage of the sign-ins included.
func BenchmarkIdleConnections(b *testing.B) {
	for name, encrypted := range map[string]bool{"plain": false, "TLS": true} {
		b.Run(name, func(b *testing.B) {
			cost := measureIdle(b, encrypted, 10_000)
			b.ReportMetric(float64(cost.live), "B/conn")
			b.ReportMetric(float64(cost.resident), "RSS/conn")
			b.ReportMetric(0, "ns/op") // it says nothing
		})
	}
}

type idleCost struct{ live, resident int } // bytes per connection

func measureIdle(t testing.TB, encrypted bool, n int) idleCost {
	t.Helper()
	iss := tokentest.New(t)
	s := fakeserver.RunT(t, fakeserver.WithPlainAddr("127.0.0.1:0"), fakeserver.WithTokensOnPlainPort(),
		fakeserver.WithIssuer(iss.URL()), fakeserver.WithIssuerCA(iss.CAPEM()))
	require.NoError(t, s.Assign(oid, fakeserver.DataContributor))
	h := held{Addr: s.PlainAddr(), TLS: encrypted, N: n, Hello: array("AUTH", oid, iss.Token(t, oid, time.Now(), time.Hour)) + array("PING")}
	if encrypted {
		h.Addr = s.Addr()
	}
	warm := h
	warm.N = 16 // what is made once does not count
	hold(t, warm)()
	live, resident := memory()
	release := hold(t, h)
	defer release()
	require.GreaterOrEqual(t, len(s.Connections()), n)
	_, residentNow := memory()
	liveNow, _ := memory()
	return idleCost{(liveNow - live) / n, (residentNow - resident) / n}
}

// memory tells what is alive, and what is resident before it is collected.
func memory() (live, resident int) {
	if raw, err := os.ReadFile("/proc/self/statm"); err == nil {
		pages, _ := strconv.Atoi(strings.Fields(string(raw))[1])
		resident = pages * os.Getpagesize()
	}
	var m runtime.MemStats
	runtime.GC()
	runtime.GC() // stacks shrink during the first
	runtime.ReadMemStats(&m)
	return int(m.HeapAlloc + m.StackInuse), resident
}

// held tells another process which connections to hold, lest the clients'
// memory be taken for the server's.
type held struct {
	Addr  string
	TLS   bool
	N     int
	Hello string // what each sends; it is answered with +OK and +PONG
	// then, if there is one, makes what is sent on all of them when they are there;
	// it is answered with +OK.
	then func() string
	Then bool // there is one
	// Watch asks when the server closed each connection; see holding.ends.
	Watch bool
}

const holdVariable = "ENTRACACHE_TEST_HOLD"

// hold runs this test binary as a client and returns when all connections are
// there.
func hold(t testing.TB, h held) (release func()) { return holdThem(t, h).release }

type holding struct {
	release func()
	stdout  *bufio.Reader
}

// ends waits until the server has closed every connection, and returns when
// each client saw its end, the earliest first, in Unix nanoseconds.
func (h holding) ends(t testing.TB) (times []int64) {
	t.Helper()
	line, err := h.stdout.ReadBytes('\n')
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(line, &times))
	return times
}

func holdThem(t testing.TB, h held) holding {
	t.Helper()
	h.Then = h.then != nil
	order, err := json.Marshal(h)
	require.NoError(t, err)
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), holdVariable+"="+string(order))
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	require.NoError(t, err)
	stdout, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	lines := bufio.NewReader(stdout)
	if h.Then {
		line, _ := lines.ReadString('\n')
		require.Equal(t, "connected\n", line)
		require.NoError(t, json.NewEncoder(stdin).Encode(h.then()))
	}
	line, _ := lines.ReadString('\n')
	require.Equal(t, "held\n", line)
	return holding{stdout: lines, release: sync.OnceFunc(func() {
		_ = stdin.Close()
		_ = cmd.Wait()
	})}
}

// holdConnections is the other process: it ends with its standard input.
func holdConnections(order string) error {
	var h held
	if err := json.Unmarshal([]byte(order), &h); err != nil {
		return err
	}
	conns := make(chan net.Conn, h.N)
	// Of all handshakes this takes the least time.
	config := &tls.Config{InsecureSkipVerify: true, CurvePreferences: []tls.CurveID{tls.X25519}} // it is not about security
	if err := eightfold(h.N, func() error {
		c, err := holdOne(h, config)
		conns <- c
		return err
	}); err != nil {
		return err
	}
	if h.Then {
		fmt.Println("connected")
		var then string
		if err := json.NewDecoder(os.Stdin).Decode(&then); err != nil {
			return err
		}
		if err := eightfold(h.N, func() error {
			c := <-conns
			conns <- c
			return expectReply(c, then, "+OK\r\n")
		}); err != nil {
			return err
		}
	}
	if h.Watch {
		watchEnds(conns)
	}
	fmt.Println("held")
	_, err := io.Copy(io.Discard, os.Stdin)
	runtime.KeepAlive(conns)
	return err
}

// eightfold calls f n times, from eight goroutines.
func eightfold(n int, f func() error) error {
	failed := make(chan error, 8)
	for range 8 {
		go func() {
			var err error
			for i := 0; i < n/8 && err == nil; i++ {
				err = f()
			}
			failed <- err
		}()
	}
	var err error
	for range 8 {
		err = errors.Join(err, <-failed)
	}
	return err
}

// watchEnds says, once the server has closed all the connections, when each was,
// as a line of JSON. It closes none before, so that little but the server is at work.
func watchEnds(conns chan net.Conn) {
	all := make([]net.Conn, len(conns))
	for i := range all {
		all[i] = <-conns
	}
	times := whenEnded(all)
	go func() {
		ends := make([]int64, len(all))
		for i := range ends {
			ends[i] = <-times
		}
		for _, c := range all {
			_ = c.Close()
		}
		slices.Sort(ends)
		_ = json.NewEncoder(os.Stdout).Encode(ends) // who does not read it is gone
	}()
}

func holdOne(h held, config *tls.Config) (c net.Conn, err error) {
	if h.TLS {
		c, err = tls.Dial("tcp", h.Addr, config)
	} else {
		c, err = net.Dial("tcp", h.Addr)
	}
	if err != nil || h.Hello == "" {
		return c, err
	}
	return c, expectReply(c, h.Hello, "+OK\r\n+PONG\r\n")
}

// expectReply sends a command, or more, and expects the reply.
func expectReply(c net.Conn, command, want string) error {
	if _, err := c.Write([]byte(command)); err != nil {
		return err
	}
	reply := make([]byte, len(want))
	if _, err := io.ReadFull(c, reply); err != nil || string(reply) != want {
		return fmt.Errorf("expected %q, got %q: %w", want, reply, err)
	}
	return nil
}

package fakeserver_test

import (
	"bufio"
	"crypto/tls"
	"encoding/json"
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
	failed := make(chan error, h.N)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range h.N / 8 {
				c, err := holdOne(h)
				if err != nil {
					failed <- err
					return
				}
				conns <- c
			}
		})
	}
	wg.Wait()
	select {
	case err := <-failed:
		return err
	default:
	}
	if h.Watch {
		watchEnds(conns)
	}
	fmt.Println("held")
	_, err := io.Copy(io.Discard, os.Stdin)
	runtime.KeepAlive(conns)
	return err
}

// watchEnds says, once the server has closed all the connections, when each was,
// as a line of JSON.
func watchEnds(conns chan net.Conn) {
	ends := make(chan int64, len(conns))
	n := len(conns)
	for range n {
		c := <-conns
		go func() {
			var one [1]byte
			for {
				if _, err := c.Read(one[:]); err != nil {
					break
				}
			}
			ends <- time.Now().UnixNano()
			_ = c.Close()
		}()
	}
	go func() {
		times := make([]int64, n)
		for i := range times {
			times[i] = <-ends
		}
		slices.Sort(times)
		_ = json.NewEncoder(os.Stdout).Encode(times) // who does not read it is gone
	}()
}

func holdOne(h held) (c net.Conn, err error) {
	if h.TLS {
		c, err = tls.Dial("tcp", h.Addr, &tls.Config{InsecureSkipVerify: true}) //nolint:gosec // it is about memory
	} else {
		c, err = net.Dial("tcp", h.Addr)
	}
	if err != nil {
		return nil, err
	}
	if _, err = c.Write([]byte(h.Hello)); err != nil {
		return nil, err
	}
	reply := make([]byte, len("+OK\r\n+PONG\r\n"))
	if _, err = io.ReadFull(c, reply); err == nil && string(reply) != "+OK\r\n+PONG\r\n" {
		err = fmt.Errorf("signing in: got %q", reply)
	}
	return c, err
}

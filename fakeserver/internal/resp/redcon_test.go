package resp

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"math/bits"
	"net"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/tidwall/redcon"
)

// guardListener puts a guard before each accepted connection, as the fake cache does.
type guardListener struct {
	net.Listener
	opts Options
}

func (l guardListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return NewGuard(c, l.opts), nil
}

// redconServer is a real redcon server that answers AUTH with +OK and each other command with its number of arguments
// and their total length.
type redconServer struct {
	addr string
	mu   sync.Mutex
	seen []string // the commands, long ones cut
}

func (s *redconServer) handle(conn redcon.Conn, cmd redcon.Command) {
	s.mu.Lock()
	s.seen = append(s.seen, string(bytes.Join(cmd.Args[:min(len(cmd.Args), 3)], []byte(" "))))
	s.mu.Unlock()
	if bytes.EqualFold(cmd.Args[0], []byte("auth")) {
		if g, ok := conn.NetConn().(*Guard); ok {
			g.SetAuthenticated(true)
		}
		conn.WriteString("OK")
		return
	}
	total := 0
	for _, a := range cmd.Args {
		total += len(a)
	}
	conn.WriteArray(2)
	conn.WriteInt(len(cmd.Args))
	conn.WriteInt(total)
}

func (s *redconServer) commands() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string(nil), s.seen...)
}

// startRedcon serves ln with redcon until the test ends and waits for all its goroutines.
func startRedcon(t testing.TB, ln net.Listener, handle func(redcon.Conn, redcon.Command)) {
	var connections sync.WaitGroup
	srv := redcon.NewServerNetwork("tcp", ln.Addr().String(), handle,
		func(redcon.Conn) bool { connections.Add(1); return true },
		func(redcon.Conn, error) { connections.Done() })
	served := make(chan error, 1)
	go func() { served <- srv.Serve(ln) }()
	t.Cleanup(func() {
		ln.Close()
		require.NoError(t, <-served)
		connections.Wait()
	})
}

func guarded(t testing.TB, opts Options, secure bool) *redconServer {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	s := &redconServer{addr: ln.Addr().String()}
	if secure {
		ln = tls.NewListener(ln, &tls.Config{Certificates: []tls.Certificate{testCertificate(t)}})
	}
	startRedcon(t, guardListener{ln, opts}, s.handle)
	return s
}

func dial(t testing.TB, addr string) net.Conn {
	c, err := net.Dial("tcp", addr)
	require.NoError(t, err)
	t.Cleanup(func() { c.Close() })
	require.NoError(t, c.SetDeadline(time.Now().Add(time.Minute)))
	return c
}

// conversation sends everything at once, closes the sending half and returns all that comes back.
func conversation(t testing.TB, addr, in string) string {
	c := dial(t, addr)
	_, err := io.WriteString(c, in)
	require.NoError(t, err)
	require.NoError(t, c.(*net.TCPConn).CloseWrite())
	out, err := io.ReadAll(c)
	require.NoError(t, err)
	return string(out)
}

// closedByServer sends everything and returns what comes back until the server closes the connection.
func closedByServer(t testing.TB, addr, in string) string {
	c := dial(t, addr)
	_, err := io.WriteString(c, in)
	require.NoError(t, err)
	out, err := io.ReadAll(c)
	require.NoError(t, err)
	return string(out)
}

const signIn = "AUTH user secret\r\n"

func TestRedconSurvives(t *testing.T) {
	s := guarded(t, Options{}, false)
	for name, c := range map[string]struct{ in, out string }{
		"crash":              {crash, "-ERR Protocol error: invalid bulk length\r\n"},
		"crash, signed in":   {signIn + crash, "+OK\r\n-ERR Protocol error: invalid bulk length\r\n"},
		"spin":               {spin, "-ERR Protocol error: invalid multibulk length\r\n"},
		"spin, signed in":    {signIn + spin, "+OK\r\n-ERR Protocol error: invalid multibulk length\r\n"},
		"endless line":       {strings.Repeat("x", defaultLine+1), "-ERR Protocol error: too big inline request\r\n"},
		"replies come first": {signIn + "PING\r\nPING\r\n*1\r\n+\r\n", "+OK\r\n*2\r\n:1\r\n:4\r\n*2\r\n:1\r\n:4\r\n-ERR Protocol error: expected '$', got '+'\r\n"},
	} {
		t.Run(name, func(t *testing.T) {
			require.Equal(t, c.out, closedByServer(t, s.addr, c.in))
			require.Equal(t, "*2\r\n:1\r\n:4\r\n", conversation(t, s.addr, "PING\r\n"), "the server is still there")
		})
	}
}

// Nothing of what follows a protocol error, and nothing of the command that broke off, is run.
func TestRedconRunsNothingAfterAProtocolError(t *testing.T) {
	s := guarded(t, Options{}, false)
	closedByServer(t, s.addr, signIn+"ECHO 1\r\n*2\r\n$3\r\nDEL\r\n$-1\r\n"+string(command("FLUSHALL")))
	closedByServer(t, s.addr, signIn+"*2\r\n$3\r\nDEL\r\n$9000\r\n"+strings.Repeat("x", 9002)+"*1\r\n$x\r\n")
	conversation(t, s.addr, signIn+"*2\r\n$3\r\nDEL\r\n$90000\r\n"+strings.Repeat("y", 89000))
	require.Equal(t, []string{"AUTH user secret", "ECHO 1", "AUTH user secret", "DEL " + strings.Repeat("x", 9000), "AUTH user secret"}, s.commands())
}

// An AUTH in the middle of a pipeline applies to what follows it in the same packet.
func TestRedconSignInWithinAPipeline(t *testing.T) {
	s := guarded(t, Options{}, false)
	long := string(command("SET", "key", strings.Repeat("x", 20000)))
	require.Equal(t, "*2\r\n:1\r\n:4\r\n+OK\r\n*2\r\n:3\r\n:20006\r\n*2\r\n:1\r\n:4\r\n",
		conversation(t, s.addr, "PING\r\n"+signIn+long+"PING\r\n"))
	require.Equal(t, "*2\r\n:1\r\n:4\r\n-ERR Protocol error: unauthenticated bulk length\r\n",
		closedByServer(t, s.addr, "PING\r\n"+long[:40]))
}

// countingListener counts how often redcon reads from its connections, and how much at most it asks for.
type countingListener struct {
	net.Listener
	reads, longest *atomic.Int64
}

type countingConn struct {
	*Guard
	reads, longest *atomic.Int64
}

func (l countingListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	g := NewGuard(c, Options{})
	g.SetAuthenticated(true)
	return countingConn{g, l.reads, l.longest}, nil
}

func (c countingConn) Read(p []byte) (int, error) {
	c.reads.Add(1)
	c.longest.Store(max(c.longest.Load(), int64(len(p))))
	return c.Guard.Read(p)
}

// redcon looks at a command from its start at each read: 300,000 arguments that arrive in the socket's portions take it
// half a minute. Behind the guard the number of reads grows with the logarithm of the size, however small the portions.
func TestRedconManyArgumentsInLinearTime(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	var reads, longest atomic.Int64
	s := &redconServer{}
	startRedcon(t, countingListener{ln, &reads, &longest}, s.handle)
	for _, n := range []int{100_000, 300_000} {
		args := make([]string, n)
		for i := range args {
			args[i] = "key:12345"
		}
		args[0] = "DEL"
		in := command(args...)
		reads.Store(0)
		start := time.Now()
		c := dial(t, ln.Addr().String())
		for portion := range slices.Chunk(in, 1000) {
			_, err := c.Write(portion)
			require.NoError(t, err)
		}
		require.NoError(t, c.(*net.TCPConn).CloseWrite())
		out, err := io.ReadAll(c)
		require.NoError(t, err)
		require.Contains(t, string(out), fmt.Sprintf("*2\r\n:%d\r\n", n))
		t.Logf("%d arguments, %d bytes: %d reads, %v", n, len(in), reads.Load(), time.Since(start))
		require.Less(t, reads.Load(), int64(3*bits.Len(uint(len(in)))))
	}
}

func TestRedconDripFeed(t *testing.T) {
	s := guarded(t, Options{}, false)
	c := dial(t, s.addr)
	in := signIn + string(command("SET", "key", strings.Repeat("x", 20000))) + "PING\r\n"
	for i := range len(in) {
		_, err := c.Write([]byte{in[i]})
		require.NoError(t, err)
	}
	want := "+OK\r\n*2\r\n:3\r\n:20006\r\n*2\r\n:1\r\n:4\r\n"
	got := make([]byte, len(want))
	_, err := io.ReadFull(c, got)
	require.NoError(t, err)
	require.Equal(t, want, string(got))
}

// A pipeline without a pause does not make redcon's buffer grow, as it does where each read ends within a command.
func TestRedconSteadyPipelineInBoundedMemory(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	var reads, longest atomic.Int64
	startRedcon(t, countingListener{ln, &reads, &longest}, func(conn redcon.Conn, _ redcon.Command) { conn.WriteInt(1) })
	c := dial(t, ln.Addr().String())
	const commands = 300_000
	go func() {
		_, _ = c.Write(bytes.Repeat(command("SET", "key:000000000001", "value"), commands))
		_ = c.(*net.TCPConn).CloseWrite()
	}()
	n, err := io.Copy(io.Discard, c)
	require.NoError(t, err)
	require.EqualValues(t, commands*len(":1\r\n"), n)
	require.LessOrEqual(t, longest.Load(), int64(2*redconBuffer))
}

func heap() uint64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// Behind bare redcon these 20 idle connections hold 320 MiB.
func TestRedconGivesBackItsBuffer(t *testing.T) {
	for name, c := range map[string]struct {
		secure bool
		most   int // bytes a connection may hold; over TLS the two ends, both in this process, keep a record each
	}{"plain": {false, 32 << 10}, "tls": {true, 160 << 10}} {
		t.Run(name, func(t *testing.T) {
			s := guarded(t, Options{}, c.secure)
			const connections = 20
			var clients []net.Conn
			open := func() {
				conn := dial(t, s.addr)
				if c.secure {
					conn = tls.Client(conn, &tls.Config{InsecureSkipVerify: true})
				}
				clients = append(clients, conn)
			}
			talk := func(in, want string) {
				for _, c := range clients {
					_, err := io.WriteString(c, in)
					require.NoError(t, err)
					got := make([]byte, len(want))
					_, err = io.ReadFull(c, got)
					require.NoError(t, err)
					require.Equal(t, want, string(got))
				}
			}
			for range connections {
				open()
			}
			talk(signIn, "+OK\r\n")
			before := heap()
			talk(string(command("SET", "key", strings.Repeat("x", 8<<20))), "*2\r\n:3\r\n:8388614\r\n")
			s.mu.Lock()
			s.seen = nil
			s.mu.Unlock()
			// redcon lets go of its buffers after it has replied, which a client cannot see.
			after := uint64(0)
			require.Eventually(t, func() bool {
				after = heap()
				return after < before+uint64(connections*c.most)
			}, 30*time.Second, 20*time.Millisecond, "the idle connections still hold too much")
			t.Logf("%d KiB each", (int64(after)-int64(before))/connections/1024)
			// What follows is not affected, in either form of command.
			talk(string(command("ECHO", "abc")), "*2\r\n:2\r\n:7\r\n")
			talk("ECHO abc\r\n", "*2\r\n:2\r\n:7\r\n")
			talk(string(command("SET", "key", strings.Repeat("x", 100<<10))), "*2\r\n:3\r\n:102406\r\n")
			talk("\r\nECHO abc\r\n", "*2\r\n:2\r\n:7\r\n")
			require.Subset(t, s.commands(), []string{"ECHO abc"})
			for _, c := range clients {
				_, err := io.WriteString(c, string(command("SET", "key", strings.Repeat("x", 100<<10)))+spin)
				require.NoError(t, err)
				out, err := io.ReadAll(c)
				require.NoError(t, err)
				require.Equal(t, "*2\r\n:3\r\n:102406\r\n-ERR Protocol error: invalid multibulk length\r\n", string(out))
			}
		})
	}
}

// A handler that waits learns that its client has left, and the commands behind its own are still there if it has not.
func TestRedconWatchDisconnect(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	waiting := make(chan struct{}, 2)
	release := make(chan struct{})
	left := make(chan bool, 2)
	startRedcon(t, guardListener{ln, Options{}}, func(conn redcon.Conn, cmd redcon.Command) {
		if string(cmd.Args[0]) != "WAIT" {
			conn.WriteBulk(cmd.Args[0])
			return
		}
		gone, stop := conn.NetConn().(*Guard).WatchDisconnect()
		defer stop()
		waiting <- struct{}{}
		select {
		case <-gone:
			left <- true
		case <-release:
			left <- false
		}
		conn.WriteString("OK")
	})

	c := dial(t, ln.Addr().String())
	send(t, c, []byte("WAIT\r\nFIRST\r\n"))
	<-waiting
	send(t, c, []byte("SECOND\r\n"))
	release <- struct{}{}
	require.False(t, <-left)
	want := "+OK\r\n$5\r\nFIRST\r\n$6\r\nSECOND\r\n"
	got := make([]byte, len(want))
	_, err = io.ReadFull(c, got)
	require.NoError(t, err)
	require.Equal(t, want, string(got))

	send(t, c, []byte("WAIT\r\n"))
	<-waiting
	require.NoError(t, c.Close())
	select {
	case gone := <-left:
		require.True(t, gone)
	case <-time.After(10 * time.Second):
		t.Fatal("the disconnect was not noticed")
	}
}

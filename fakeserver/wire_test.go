package fakeserver_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/jonboulle/clockwork"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/entracache/entracache/fakeserver"
	"github.com/entracache/entracache/fakeserver/internal/resp"
	"github.com/entracache/entracache/fakeserver/internal/token/tokentest"
)

// Every test must leave nothing behind; see also TestCloseLeavesNothing.
func TestMain(m *testing.M) {
	if order, ok := os.LookupEnv(holdVariable); ok {
		if err := holdConnections(order); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	// For up to a minute go-redis goes on to try a node that has left its cluster, even when the client is closed.
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("github.com/redis/go-redis/v9/internal/pool.(*ConnPool).tryDial"))
}

const (
	// patience bounds the wait for something that will happen.
	patience = 20 * time.Second
	// briefly is how long something must not happen.
	briefly = 80 * time.Millisecond

	oid = "6497c918-11ad-4941-1b0f-7c518a87d0b8"
)

var noon = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

// client speaks RESP to the fake, byte by byte.
type client struct {
	t    *testing.T
	conn net.Conn
	buf  []byte
}

func dial(t *testing.T, s *fakeserver.Server) *client {
	t.Helper()
	pool := x509.NewCertPool()
	require.True(t, pool.AppendCertsFromPEM(s.CAPEM()))
	conn, err := tls.Dial("tcp", s.Addr(), &tls.Config{RootCAs: pool})
	require.NoError(t, err)
	return newClient(t, conn)
}

func dialPlain(t *testing.T, s *fakeserver.Server) *client {
	t.Helper()
	conn, err := net.Dial("tcp", s.PlainAddr())
	require.NoError(t, err)
	return newClient(t, conn)
}

func newClient(t *testing.T, conn net.Conn) *client {
	t.Cleanup(func() { _ = conn.Close() })
	return &client{t: t, conn: conn}
}

func (c *client) send(raw string) {
	c.t.Helper()
	_, err := c.conn.Write([]byte(raw))
	require.NoError(c.t, err)
}

// array encodes a command.
func array(args ...string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "*%d\r\n", len(args))
	for _, a := range args {
		fmt.Fprintf(&b, "$%d\r\n%s\r\n", len(a), a)
	}
	return b.String()
}

// read returns the next reply as it came.
func (c *client) read() string {
	c.t.Helper()
	reply, err := c.next(patience)
	require.NoError(c.t, err)
	return reply
}

func (c *client) next(wait time.Duration) (string, error) {
	deadline := time.Now().Add(wait)
	for {
		if reply, rest, err := resp.SplitReply(c.buf); err == nil {
			s := string(reply)
			c.buf = append([]byte(nil), rest...)
			return s, nil
		} else if !errors.Is(err, resp.ErrIncomplete) {
			return "", err
		}
		_ = c.conn.SetReadDeadline(deadline)
		var chunk [4096]byte
		n, err := c.conn.Read(chunk[:])
		c.buf = append(c.buf, chunk[:n]...)
		if err != nil && n == 0 {
			return "", err
		}
	}
}

func (c *client) do(args ...string) string {
	c.t.Helper()
	c.send(array(args...))
	return c.read()
}

// line is do for a reply of one line, without its end.
func (c *client) line(args ...string) string {
	c.t.Helper()
	return strings.TrimSuffix(c.do(args...), "\r\n")
}

// closed requires that the server closes the connection without a word.
func (c *client) closed() {
	c.t.Helper()
	reply, err := c.next(patience)
	require.Empty(c.t, reply)
	require.Error(c.t, err)
	require.False(c.t, errors.Is(err, os.ErrDeadlineExceeded), "the connection is still open")
	assert.True(c.t, errors.Is(err, io.EOF) || isReset(err), "expected the end of the connection, got %v", err)
}

func isReset(err error) bool {
	var op *net.OpError
	return errors.As(err, &op)
}

// quiet requires that nothing comes for a short while.
func (c *client) quiet() {
	c.t.Helper()
	reply, err := c.next(briefly)
	require.Empty(c.t, reply)
	require.ErrorIs(c.t, err, os.ErrDeadlineExceeded)
}

// world is a fake cache that trusts a test issuer, on a clock of its own.
type world struct {
	*fakeserver.Server
	t     *testing.T
	iss   *tokentest.Issuer
	clock *clockwork.FakeClock
}

func newWorld(t *testing.T, opts ...fakeserver.Option) *world {
	t.Helper()
	iss := tokentest.New(t)
	clock := clockwork.NewFakeClockAt(noon)
	all := append([]fakeserver.Option{
		fakeserver.WithClock(clock), fakeserver.WithIssuer(iss.URL()), fakeserver.WithIssuerCA(iss.CAPEM()),
		fakeserver.WithAccessKeys("key-one", "key-two"),
	}, opts...)
	return &world{Server: fakeserver.RunT(t, all...), t: t, iss: iss, clock: clock}
}

// token is a good one for oid, as from now.
func (w *world) token(life time.Duration) string {
	w.t.Helper()
	return w.iss.Token(w.t, oid, w.clock.Now(), life)
}

// signedIn dials and signs in as oid with a policy.
func (w *world) signedIn(p fakeserver.Policy) *client {
	w.t.Helper()
	require.NoError(w.t, w.Assign(oid, p))
	c := dial(w.t, w.Server)
	require.Equal(w.t, "+OK", c.line("AUTH", oid, w.token(time.Hour)))
	return c
}

// withKey dials and signs in with an access key.
func (w *world) withKey() *client {
	w.t.Helper()
	c := dial(w.t, w.Server)
	require.Equal(w.t, "+OK", c.line("AUTH", "key-one"))
	return c
}

// event waits for an event of a kind, and returns the first.
func (w *world) event(match func(fakeserver.Event) bool) fakeserver.Event {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), patience)
	defer cancel()
	e, err := w.Wait(ctx, match)
	require.NoError(w.t, err)
	return e
}

func (w *world) eventKind(k fakeserver.EventKind) fakeserver.Event {
	w.t.Helper()
	return w.event(func(e fakeserver.Event) bool { return e.Kind == k })
}

// events returns those of a kind so far.
func (w *world) eventsOf(k fakeserver.EventKind) []fakeserver.Event {
	var found []fakeserver.Event
	for _, e := range w.Events() {
		if e.Kind == k {
			found = append(found, e)
		}
	}
	return found
}

// lastAuth is the newest sign-in attempt.
func (w *world) lastAuth() fakeserver.Event {
	w.t.Helper()
	all := w.eventsOf(fakeserver.EventAuth)
	require.NotEmpty(w.t, all)
	return all[len(all)-1]
}

const wrongPass = "-WRONGPASS invalid username-password pair"

// waitBlocked waits until n clients are blocked.
func (w *world) waitBlocked(n int) {
	w.t.Helper()
	admin := w.withKey()
	want := fmt.Sprintf("blocked_clients:%d\r\n", n)
	require.Eventually(w.t, func() bool { return strings.Contains(admin.do("INFO", "clients"), want) }, patience, 2*time.Millisecond)
}

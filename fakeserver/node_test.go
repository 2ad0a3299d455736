package fakeserver_test

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/entracache/entracache/fakeserver"
)

// up waits for n nodes to come up again since the event seq.
func (w *world) up(n int) {
	w.t.Helper()
	require.Eventually(w.t, func() bool { return len(w.eventsOf(fakeserver.EventNodeUp)) >= n }, patience, time.Millisecond)
}

func TestRebootTakesTheNodesDown(t *testing.T) {
	t.Parallel()
	w := newWorld(t, fakeserver.WithPlainAddr("127.0.0.1:0"))
	c := w.withKey()
	require.Equal(t, "+OK", c.line("SET", "a", "b"))
	addr, plain := w.Addr(), w.PlainAddr()
	require.NoError(t, w.Reboot(fakeserver.RebootTakes(time.Minute)))
	c.closed()
	for _, a := range []string{addr, plain} {
		_, err := net.Dial("tcp", a)
		assert.ErrorIs(t, err, syscall.ECONNREFUSED, a)
	}
	// A second, shorter one does not end the first.
	require.NoError(t, w.Reboot(fakeserver.RebootTakes(time.Second)))
	w.clock.Advance(59 * time.Second)
	_, err := net.Dial("tcp", addr)
	require.ErrorIs(t, err, syscall.ECONNREFUSED)
	w.clock.Advance(time.Second)
	w.up(1)
	assert.Equal(t, addr, w.Addr())
	assert.Equal(t, "$1\r\nb\r\n", w.withKey().do("GET", "a"))
	assert.Equal(t, "+OK", dialPlain(t, w.Server).line("AUTH", "key-one"))
	assert.Equal(t, fakeserver.ReasonRebooted, w.eventsOf(fakeserver.EventNodeDown)[0].Reason)
}

func TestRebootMayLoseData(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	require.Equal(t, "+OK", w.withKey().line("SET", "a", "b"))
	require.NoError(t, w.Reboot(fakeserver.RebootLosesData()))
	assert.Equal(t, ":0", w.withKey().line("DBSIZE"))
	assert.ErrorContains(t, w.Reboot(fakeserver.RebootTakes(-1)), "RebootTakes")
}

func TestASilentNodeServesOnceItIsUp(t *testing.T) {
	t.Parallel()
	w := newWorld(t, fakeserver.WithOutage(fakeserver.OutageSilent))
	require.NoError(t, w.Reboot(fakeserver.RebootTakes(time.Minute)))
	raw, err := net.Dial("tcp", w.Addr())
	require.NoError(t, err)
	defer func() { _ = raw.Close() }()
	pool := x509.NewCertPool()
	require.True(t, pool.AppendCertsFromPEM(w.CAPEM()))
	conn := tls.Client(raw, &tls.Config{RootCAs: pool, ServerName: "localhost"})
	done := make(chan error, 1)
	go func() { done <- conn.Handshake() }()
	select {
	case err := <-done:
		require.Fail(t, "the handshake ended while the node was down", err)
	case <-time.After(briefly):
	}
	w.clock.Advance(time.Minute)
	require.NoError(t, <-done)
	assert.Equal(t, "+OK", newClient(t, conn).line("AUTH", "key-one"))
	_, err = fakeserver.Start(fakeserver.WithOutage("odd"))
	assert.ErrorContains(t, err, "WithOutage")
}

func TestCloseWhileDown(t *testing.T) {
	t.Parallel()
	for _, o := range []fakeserver.Outage{fakeserver.OutageRefused, fakeserver.OutageSilent} {
		s, err := fakeserver.Start(fakeserver.WithOutage(o))
		require.NoError(t, err)
		require.NoError(t, s.Reboot(fakeserver.RebootTakes(time.Hour)))
		conn, err := net.Dial("tcp", s.Addr())
		require.Equal(t, o == fakeserver.OutageRefused, errors.Is(err, syscall.ECONNREFUSED))
		require.NoError(t, s.Close())
		if conn != nil {
			_ = conn.Close()
		}
	}
}

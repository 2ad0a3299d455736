package pipe_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/entracache/entracache/fakeserver/internal/pipe"
)

var addr = &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 6380}

// transports are the pipe, and TCP, which it is to behave like.
func transports(t *testing.T) map[string]func() (client, server net.Conn) {
	ends := func(l net.Listener, dial func() (net.Conn, error)) func() (net.Conn, net.Conn) {
		t.Cleanup(func() { _ = l.Close() })
		return func() (net.Conn, net.Conn) {
			client, err := dial()
			require.NoError(t, err)
			server, err := l.Accept()
			require.NoError(t, err)
			t.Cleanup(func() { _, _ = client.Close(), server.Close() })
			return client, server
		}
	}
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	memory := pipe.Listen(addr)
	return map[string]func() (net.Conn, net.Conn){
		"pipe": ends(memory, func() (net.Conn, error) { return memory.Dial(context.Background()) }),
		"tcp":  ends(tcp, func() (net.Conn, error) { return net.Dial("tcp", tcp.Addr().String()) }),
	}
}

func TestBehavesLikeTCP(t *testing.T) {
	for name, connect := range transports(t) {
		t.Run(name, func(t *testing.T) {
			client, server := connect()
			assert.Equal(t, client.LocalAddr().String(), server.RemoteAddr().String())
			assert.Equal(t, server.LocalAddr().String(), client.RemoteAddr().String())
			_, err := client.Write([]byte("hello"))
			require.NoError(t, err, "it does not wait for the reader")
			var b [16]byte
			n, err := io.ReadAtLeast(server, b[:], 5)
			require.NoError(t, err)
			assert.Equal(t, "hello", string(b[:n]))

			// Deadlines: past, to come, taken away.
			require.NoError(t, server.SetReadDeadline(time.Unix(1, 0)))
			_, err = server.Read(b[:])
			assert.ErrorIs(t, err, os.ErrDeadlineExceeded)
			require.NoError(t, server.SetReadDeadline(time.Now().Add(20*time.Millisecond)))
			_, err = server.Read(b[:])
			assert.ErrorIs(t, err, os.ErrDeadlineExceeded)
			require.NoError(t, server.SetReadDeadline(time.Time{}))
			got := make(chan error)
			go func() { _, err := server.Read(b[:]); got <- err }()
			require.NoError(t, server.SetReadDeadline(time.Now()))
			assert.ErrorIs(t, <-got, os.ErrDeadlineExceeded, "a Read that waits")
			require.NoError(t, server.SetDeadline(time.Time{}))
			require.NoError(t, client.SetWriteDeadline(time.Now().Add(50*time.Millisecond)))
			_, err = client.Write(make([]byte, 64<<20))
			assert.ErrorIs(t, err, os.ErrDeadlineExceeded, "nobody reads")

			// The end.
			client, server = connect()
			_, _ = client.Write([]byte("bye"))
			require.NoError(t, client.Close())
			all, err := io.ReadAll(server)
			require.NoError(t, err)
			assert.Equal(t, "bye", string(all))
			for _, use := range []func() error{
				func() error { _, err := client.Read(b[:]); return err },
				func() error { _, err := client.Write(b[:]); return err },
				client.Close,
				func() error { return client.SetReadDeadline(time.Time{}) },
				func() error { return client.SetWriteDeadline(time.Time{}) },
			} {
				var op *net.OpError
				err := use()
				require.ErrorAs(t, err, &op)
				assert.ErrorIs(t, err, net.ErrClosed)
			}
			require.Eventually(t, func() bool { _, err = server.Write(b[:]); return err != nil }, 10*time.Second, time.Millisecond)
			assert.True(t, errors.Is(err, syscall.EPIPE) || errors.Is(err, syscall.ECONNRESET), err)

			// A Read that waits ends when its own end is closed.
			client, server = connect()
			go func() { _, err := server.Read(b[:]); got <- err }()
			require.NoError(t, server.Close())
			assert.ErrorIs(t, <-got, net.ErrClosed)

			client, server = connect()
			require.NoError(t, server.(interface{ SetLinger(int) error }).SetLinger(0))
			require.NoError(t, server.Close())
			_, err = client.Read(b[:])
			assert.ErrorIs(t, err, syscall.ECONNRESET)
		})
	}
}

func TestMuchData(t *testing.T) {
	client, server := pipe.New(addr, addr)
	sent := bytes.Repeat([]byte("0123456789abcdef"), 1<<16)
	go func() {
		_, _ = client.Write(sent)
		_ = client.Close()
	}()
	got, err := io.ReadAll(server)
	require.NoError(t, err)
	assert.True(t, bytes.Equal(sent, got))
}

func TestListenerRefuses(t *testing.T) {
	l := pipe.Listen(addr)
	early, err := l.Dial(t.Context())
	require.NoError(t, err)
	require.NoError(t, l.Close())
	_, err = l.Dial(t.Context())
	assert.ErrorIs(t, err, syscall.ECONNREFUSED)
	_, err = l.Accept()
	assert.ErrorIs(t, err, net.ErrClosed)
	_, err = early.Read(make([]byte, 1))
	assert.ErrorIs(t, err, syscall.ECONNRESET)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = pipe.Listen(addr).Dial(ctx)
	assert.ErrorIs(t, err, context.Canceled)
}

// TestBlocksDurably: in a bubble time goes on while a connection waits.
func TestBlocksDurably(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, server := pipe.New(addr, addr)
		begin := time.Now()
		go func() {
			time.Sleep(time.Hour)
			_, _ = server.Write([]byte("x"))
		}()
		_, err := client.Read(make([]byte, 1))
		require.NoError(t, err)
		assert.Equal(t, time.Hour, time.Since(begin))
		require.NoError(t, client.SetReadDeadline(time.Now().Add(time.Hour)))
		_, err = client.Read(make([]byte, 1))
		assert.ErrorIs(t, err, os.ErrDeadlineExceeded)
		assert.Equal(t, 2*time.Hour, time.Since(begin))
		require.NoError(t, client.Close())
	})
}

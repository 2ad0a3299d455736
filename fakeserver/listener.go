package fakeserver

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/entracache/entracache/fakeserver/internal/resp"
)

// listener turns accepted sockets into what redcon may read: TLS, then the
// guard. Nothing here waits for a client: the handshake happens at the first
// read, in the connection's own goroutine.
type listener struct {
	*port
	s   *Server
	tls *tls.Config // nil on the plain port
}

// guarded is what redcon gets as its net.Conn.
type guarded struct {
	*resp.Guard
	c *connection
}

// Read runs the handshake and the framing, in the connection's goroutine but
// outside of any command. After a fault it reports that the connection is
// closed.
func (g guarded) Read(p []byte) (n int, err error) {
	err = net.ErrClosed
	defer g.c.s.contain(g.c)
	n, err = g.Guard.Read(p)
	return n, err
}

func (l *listener) Accept() (net.Conn, error) {
	wait := 5 * time.Millisecond
	for {
		ln := l.listener()
		if ln == nil {
			return nil, net.ErrClosed
		}
		socket, err := ln.Accept()
		if err != nil {
			if errors.Is(err, net.ErrClosed) {
				continue // the port was shut
			}
			// Out of file descriptors, most likely. redcon would try again
			// without a pause.
			if !l.pause(wait) {
				return nil, net.ErrClosed
			}
			wait = min(2*wait, time.Second)
			continue
		}
		wait = 5 * time.Millisecond
		if c := l.admit(socket); c != nil {
			return guarded{c.guard, c}, nil
		}
	}
}

// admit makes a connection of an accepted socket. While the node is down the
// socket is turned away, or waits, and nobody else is accepted: everybody who
// comes to this port is led to the same node.
func (l *listener) admit(socket net.Conn) *connection {
	for {
		n := l.lead()
		if !n.reserve() {
			l.s.reject(socket, l.tls)
			return nil
		}
		c, upAgain := l.s.newConnection(socket, l.tls, n)
		if c == nil {
			n.release()
		}
		switch {
		case c != nil:
			return c
		case upAgain == nil: // the server is closing
			_ = socket.Close()
			return nil
		case l.s.opts.outage != OutageSilent:
			turnAway(socket)
			return nil
		}
		select {
		case <-upAgain:
		case <-l.s.ctx.Done():
		}
	}
}

// Addr is the port's address.
func (l *listener) Addr() net.Addr { return l.addr }

// Close is redcon's; the port is closed by the server.
func (l *listener) Close() error {
	l.close()
	return nil
}

func (l *listener) pause(d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-l.s.ctx.Done():
		return false
	}
}

// entrance is the connection below the guard. Its first Read completes the
// TLS handshake and logs that the connection is open.
type entrance struct {
	net.Conn
	tls  *tls.Conn // nil on the plain port; otherwise the same as Conn
	c    *connection
	once sync.Once
	err  error
}

func (e *entrance) Read(p []byte) (int, error) {
	if e.once.Do(e.open); e.err != nil {
		return 0, e.err
	}
	e.c.rounds.Add(1)
	e.c.reading.Store(true)
	n, err := e.Conn.Read(p)
	e.c.reading.Store(false)
	return n, err
}

// CloseWrite tells the client that nothing more will come.
func (e *entrance) CloseWrite() error {
	if e.tls != nil {
		_ = e.tls.CloseWrite() // it cannot be said before the handshake, nor where there is no room
	}
	return e.c.wire.CloseWrite()
}

func (e *entrance) open() {
	s := e.c.s
	if !e.c.sufferOpening(e.tls != nil) {
		e.err = net.ErrClosed
		return
	}
	opened := Event{Kind: EventConnectionOpened, Conn: e.c.id, Proto: 2, Detail: "from " + e.c.remote}
	if e.tls != nil {
		ctx, cancel := context.WithTimeout(s.ctx, s.opts.handshakeTimeout)
		defer cancel()
		if e.err = e.tls.HandshakeContext(ctx); e.err != nil {
			if e.c.alive() {
				s.record(Event{Kind: EventTLSFailed, Conn: e.c.id, Detail: fmt.Sprintf("TLS handshake with %s failed: %v", e.c.remote, e.err)})
			}
			return
		}
		version := e.tls.ConnectionState().Version
		e.c.tlsVersion.Store(uint32(version))
		opened.TLSVersion = tls.VersionName(version)
	} else {
		opened.Detail += " on the plain port"
	}
	e.c.opened.Store(true)
	s.record(opened)
	e.c.watchIdle()
}

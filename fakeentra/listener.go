package fakeentra

import (
	"net"
	"sync"
)

// listener can turn its clients away: during an outage every connection it has
// handed out is reset, and every new one at once.
type listener struct {
	net.Listener
	onRefused func()

	mu    sync.Mutex
	down  bool
	conns map[*conn]struct{}
}

func newListener(l net.Listener, onRefused func()) *listener {
	return &listener{Listener: l, onRefused: onRefused, conns: map[*conn]struct{}{}}
}

// Accept returns the next connection that is not turned away.
func (l *listener) Accept() (net.Conn, error) {
	for {
		raw, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		if c := l.admit(raw); c != nil {
			return c, nil
		}
		// Logged first, so that a client which has noticed finds it in the log.
		l.onRefused()
		reset(raw)
	}
}

func (l *listener) admit(raw net.Conn) *conn {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.down {
		return nil
	}
	c := &conn{Conn: raw, listener: l}
	l.conns[c] = struct{}{}
	return c
}

func (l *listener) setDown(down bool) {
	l.mu.Lock()
	l.down = down
	var cut []*conn
	if down {
		for c := range l.conns {
			cut = append(cut, c)
		}
	}
	l.mu.Unlock()
	for _, c := range cut {
		reset(c.Conn)
	}
}

// cutAll closes every connection there is.
func (l *listener) cutAll() {
	l.mu.Lock()
	var cut []*conn
	for c := range l.conns {
		cut = append(cut, c)
	}
	l.mu.Unlock()
	for _, c := range cut {
		_ = c.Conn.Close()
	}
}

// reset closes a connection so that its peer sees a reset rather than an end of
// file, as with a service that has gone away.
func reset(c net.Conn) {
	inner := c
	for {
		wrapper, ok := inner.(interface{ NetConn() net.Conn })
		if !ok {
			break
		}
		inner = wrapper.NetConn()
	}
	if tcp, ok := inner.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	_ = inner.Close() // first, so that no wrapper says goodbye in its protocol
	_ = c.Close()
}

// conn leaves the listener's list when it is closed.
type conn struct {
	net.Conn
	listener *listener
}

// NetConn is what reset looks through.
func (c *conn) NetConn() net.Conn { return c.Conn }

func (c *conn) Close() error {
	c.listener.mu.Lock()
	delete(c.listener.conns, c)
	c.listener.mu.Unlock()
	return c.Conn.Close()
}

package pipe

import (
	"context"
	"net"
	"sync"
	"syscall"
)

// The ports that clients seem to come from.
const (
	firstClientPort = 49152
	lastClientPort  = 65535
)

// Listener takes the connections that Dial makes.
type Listener struct {
	addr *net.TCPAddr

	mu      sync.Mutex
	changed sync.Cond
	dialled int
	waiting []*Conn
	closed  bool
}

var _ net.Listener = (*Listener)(nil)

// Listen returns a listener that says it is at addr. Nothing but Dial leads
// there.
func Listen(addr *net.TCPAddr) *Listener {
	l := &Listener{addr: addr}
	l.changed.L = &l.mu
	return l
}

// Dial returns the client's end of a new connection. As with TCP it does not wait
// for Accept. After Close it is refused.
func (l *Listener) Dial(ctx context.Context) (net.Conn, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	err := ctx.Err()
	if err == nil && l.closed {
		err = syscall.ECONNREFUSED
	}
	if err != nil {
		return nil, &net.OpError{Op: "dial", Net: l.addr.Network(), Addr: l.addr, Err: err}
	}
	from := &net.TCPAddr{IP: l.addr.IP, Port: firstClientPort + l.dialled%(lastClientPort-firstClientPort+1)}
	l.dialled++
	client, server := New(from, l.addr)
	l.waiting = append(l.waiting, server)
	l.changed.Signal()
	return client, nil
}

// Accept returns the server's end of the next connection, net.ErrClosed after
// Close.
func (l *Listener) Accept() (net.Conn, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for len(l.waiting) == 0 {
		if l.closed {
			return nil, &net.OpError{Op: "accept", Net: l.addr.Network(), Addr: l.addr, Err: net.ErrClosed}
		}
		l.changed.Wait()
	}
	c := l.waiting[0]
	l.waiting = l.waiting[1:]
	return c, nil
}

// Close refuses who comes from now on, and resets who was not accepted yet.
func (l *Listener) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	for _, c := range l.waiting {
		_ = c.SetLinger(0)
		_ = c.Close()
	}
	l.waiting = nil
	l.changed.Broadcast()
	return nil
}

// Addr is the address that the listener says it is at.
func (l *Listener) Addr() net.Addr { return l.addr }

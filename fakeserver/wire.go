package fakeserver

import (
	"errors"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// wire is a client's connection below TLS. A fault may put a gate on it.
type wire struct {
	net.Conn
	gone <-chan struct{} // the connection's
	gate atomic.Pointer[gate]
	last atomic.Bool // what is written now is the last, and is not waited for
}

// gate holds up what is written to a connection and, if it is shut on both
// sides, what is read from it, and that it was closed.
type gate struct {
	w      *wire
	both   bool
	opened chan struct{}

	mu     sync.Mutex
	held   []byte // written, to be sent when the gate opens
	isOpen bool
	closed bool // from here: the peer is to learn of it when the gate opens
}

const (
	// gateHolds is how many bytes a gate holds, of the order of a socket's buffer.
	gateHolds = 1 << 20
	// gateFlush bounds the sending of what was held.
	gateFlush = 5 * time.Second
)

// shut puts a gate on the wire. It returns nil if there is one.
func (w *wire) shut(both bool) *gate {
	g := &gate{w: w, both: both, opened: make(chan struct{})}
	if !w.gate.CompareAndSwap(nil, g) {
		return nil
	}
	return g
}

// open sends what was held, and takes the gate away.
func (g *gate) open() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.isOpen {
		return
	}
	g.isOpen = true
	if len(g.held) > 0 {
		_ = g.w.Conn.SetWriteDeadline(time.Now().Add(gateFlush))
		_, err := g.w.Conn.Write(g.held)
		_ = g.w.Conn.SetWriteDeadline(time.Time{})
		if err != nil {
			_ = g.w.Conn.Close() // nobody can tell how much has arrived
		}
		g.held = nil
	}
	if g.closed {
		_ = g.w.Conn.Close()
	}
	g.w.gate.Store(nil)
	close(g.opened)
}

func (w *wire) Read(p []byte) (int, error) {
	n, err := w.Conn.Read(p)
	g := w.gate.Load()
	if g == nil || !g.both {
		return n, err
	}
	if n == 0 && errors.Is(err, os.ErrDeadlineExceeded) {
		select {
		case <-w.gone:
			return 0, net.ErrClosed
		default:
			return 0, err
		}
	}
	select {
	case <-g.opened:
		return n, err
	case <-w.gone:
		return 0, net.ErrClosed
	}
}

func (w *wire) Write(p []byte) (int, error) {
	if g := w.gate.Load(); g != nil {
		switch held, err := g.hold(p); {
		case err != nil:
			return 0, err
		case held:
			return len(p), nil
		}
	}
	if w.last.Load() {
		return writeLast(w.Conn, p)
	}
	return w.Conn.Write(p)
}

// hurry ends a Write that waits for the client, and lets none wait from now on:
// the connection is about to be closed.
func (w *wire) hurry() {
	if w.gate.Load() == nil {
		w.last.Store(true)
		_ = w.Conn.SetWriteDeadline(time.Unix(1, 0)) // it fails only if the connection is closed
	}
}

// SetWriteDeadline is what TLS calls before it says goodbye.
func (w *wire) SetWriteDeadline(t time.Time) error {
	if w.last.Load() {
		return nil
	}
	return w.Conn.SetWriteDeadline(t)
}

// lastWait bounds the wait for room where it cannot be told in advance that there
// is none.
const lastWait = 10 * time.Millisecond

func writeLastInTime(c net.Conn, p []byte) (int, error) {
	_ = c.SetWriteDeadline(time.Now().Add(lastWait)) // it fails only if the connection is closed
	return c.Write(p)
}

// CloseWrite ends the stream to the client, where that can be done apart from the
// other direction.
func (w *wire) CloseWrite() error {
	c, ok := w.Conn.(interface{ CloseWrite() error })
	if !ok || w.gate.Load() != nil {
		return nil
	}
	return c.CloseWrite()
}

// hold keeps what is written, unless the gate has been opened.
func (g *gate) hold(p []byte) (bool, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	switch {
	case g.isOpen:
		return false, nil
	case len(g.held)+len(p) > gateHolds:
		return false, syscall.ETIMEDOUT // what TCP says in the end when nothing is acknowledged
	}
	g.held = append(g.held, p...)
	return true, nil
}

func (w *wire) Close() error {
	if g := w.gate.Load(); g != nil && g.both && g.close() {
		return w.Conn.SetReadDeadline(time.Unix(1, 0)) // ends the Read that is under way
	}
	return w.Conn.Close()
}

// close notes that the connection is to be closed when the gate opens, unless it
// has been opened.
func (g *gate) close() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.closed = !g.isOpen
	return g.closed
}

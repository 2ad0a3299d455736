// Package pipe is TCP within the process: listeners, and connections that behave
// like those of the loopback interface as far as a Redis server and its clients
// can tell (buffers on both sides, deadlines, end of file, resets).
//
// It does no system call and waits on condition variables only, so that inside a
// testing/synctest bubble a connection on which nothing happens counts as
// blocked. [net.Pipe] would not do: it has no buffer, and over it TLS can come to a
// standstill when both ends write.
package pipe

import (
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"time"
)

// bufferSize is how many bytes a connection takes before Write waits for the peer
// to read, in each direction.
const bufferSize = 256 << 10

// Conn is one end of a connection.
type Conn struct {
	in, out       *stream
	local, remote net.Addr

	mu     sync.Mutex
	linger bool // SetLinger(0): Close resets
}

var _ net.Conn = (*Conn)(nil)

// New returns the two ends of a connection between two addresses.
func New(a, b net.Addr) (atA, atB *Conn) {
	toA, toB := newStream(), newStream()
	return &Conn{in: toA, out: toB, local: a, remote: b}, &Conn{in: toB, out: toA, local: b, remote: a}
}

// Read reads what the peer has written. Its errors are those of a TCP connection.
func (c *Conn) Read(p []byte) (int, error) {
	n, err := c.in.read(p)
	return n, c.wrap("read", err)
}

// Write writes all of p. Its errors are those of a TCP connection.
func (c *Conn) Write(p []byte) (int, error) {
	n, err := c.out.write(p)
	return n, c.wrap("write", err)
}

// Close ends the connection. The peer can still read what was written before,
// unless SetLinger(0) was called.
func (c *Conn) Close() error {
	c.mu.Lock()
	reset := c.linger
	c.mu.Unlock()
	if !c.in.closeReader() {
		return c.wrap("close", net.ErrClosed)
	}
	c.out.closeWriter(reset)
	return nil
}

// SetLinger with 0 makes Close reset the connection, as for a TCP connection;
// other values change nothing.
func (c *Conn) SetLinger(sec int) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.linger = sec == 0
	return nil
}

// Unread says whether there is something to read.
func (c *Conn) Unread() bool {
	c.in.mu.Lock()
	defer c.in.mu.Unlock()
	return len(c.in.buf) > 0
}

// LocalAddr is the address of this end.
func (c *Conn) LocalAddr() net.Addr { return c.local }

// RemoteAddr is the address of the other end.
func (c *Conn) RemoteAddr() net.Addr { return c.remote }

// SetDeadline sets both deadlines.
func (c *Conn) SetDeadline(t time.Time) error {
	if err := c.SetReadDeadline(t); err != nil {
		return err
	}
	return c.SetWriteDeadline(t)
}

// SetReadDeadline ends a Read that waits, and those to come, at t.
func (c *Conn) SetReadDeadline(t time.Time) error {
	return c.wrap("set", c.in.setDeadline(&c.in.readBy, t))
}

// SetWriteDeadline ends a Write that waits, and those to come, at t.
func (c *Conn) SetWriteDeadline(t time.Time) error {
	return c.wrap("set", c.out.setDeadline(&c.out.writeBy, t))
}

func (c *Conn) wrap(op string, err error) error {
	if err == nil || err == io.EOF { // never wrapped here
		return err
	}
	return &net.OpError{Op: op, Net: c.local.Network(), Source: c.local, Addr: c.remote, Err: err}
}

// stream is one direction of a connection.
type stream struct {
	mu      sync.Mutex
	changed sync.Cond
	buf     []byte
	ended   bool // by the writer
	reset   bool // by the writer
	gone    bool // the reader has closed
	readBy  deadline
	writeBy deadline
}

type deadline struct {
	timer  *time.Timer
	passed bool
}

func newStream() *stream {
	s := &stream{}
	s.changed.L = &s.mu
	return s
}

func (s *stream) read(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		switch {
		case s.gone:
			return 0, net.ErrClosed
		case s.readBy.passed:
			return 0, os.ErrDeadlineExceeded
		case s.reset:
			return 0, syscall.ECONNRESET
		case len(s.buf) > 0 || len(p) == 0:
			n := copy(p, s.buf)
			if s.buf = s.buf[n:]; len(s.buf) == 0 {
				s.buf = nil // an idle connection holds no memory
			}
			s.changed.Broadcast()
			return n, nil
		case s.ended:
			return 0, io.EOF
		}
		s.changed.Wait()
	}
}

func (s *stream) write(p []byte) (written int, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		switch {
		case s.ended || s.reset:
			return written, net.ErrClosed
		case s.gone:
			return written, syscall.EPIPE
		case s.writeBy.passed:
			return written, os.ErrDeadlineExceeded
		case len(p) == 0:
			return written, nil
		}
		if n := min(len(p), bufferSize-len(s.buf)); n > 0 {
			s.buf = append(s.buf, p[:n]...)
			p = p[n:]
			written += n
			s.changed.Broadcast()
			continue
		}
		s.changed.Wait()
	}
}

// closeReader is the end of the one who reads. It reports false if there was one
// before.
func (s *stream) closeReader() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.gone {
		return false
	}
	s.gone, s.buf = true, nil
	s.readBy.stop()
	s.changed.Broadcast()
	return true
}

func (s *stream) closeWriter(reset bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ended = true
	if reset {
		s.reset, s.buf = true, nil
	}
	s.writeBy.stop()
	s.changed.Broadcast()
}

func (s *stream) setDeadline(d *deadline, t time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	d.stop()
	if d == &s.readBy && s.gone || d == &s.writeBy && (s.ended || s.reset) {
		return net.ErrClosed
	}
	switch left := time.Until(t); {
	case t.IsZero():
		d.passed = false
	case left <= 0:
		d.passed = true
	default:
		d.passed = false
		var timer *time.Timer
		timer = time.AfterFunc(left, func() {
			s.mu.Lock()
			defer s.mu.Unlock()
			if d.timer == timer { // not set anew meanwhile
				d.passed = true
				s.changed.Broadcast()
			}
		})
		d.timer = timer
	}
	s.changed.Broadcast()
	return nil
}

func (d *deadline) stop() {
	if d.timer != nil {
		d.timer.Stop()
		d.timer = nil
	}
}

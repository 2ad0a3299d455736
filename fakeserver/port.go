package fakeserver

import (
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"github.com/entracache/entracache/fakeserver/internal/pipe"
)

// Outage says what becomes of those who connect to a node that is down.
type Outage string

// What a client sees that connects to a node that is down. What it sees on the
// service has no source.
const (
	// OutageRefused refuses the connection: ECONNREFUSED.
	OutageRefused Outage = "refused"
	// OutageSilent takes the connection and says nothing; the client's TLS
	// handshake, or its first command, waits until the node is up again.
	OutageSilent Outage = "silent"
)

// port is a listening socket and the node that those who come to it are led to.
type port struct {
	s      *Server
	lead   func() *node // the node; it may be down
	secure bool         // speaks TLS
	memory bool         // is reached by Dial, and not by TCP
	pair   *port        // the one in memory beside this one

	mu     sync.Mutex
	ln     net.Listener  // nil while it is shut
	addr   *net.TCPAddr  // the same every time it opens
	held   io.Closer     // keeps the number while it is shut
	opened chan struct{} // while it is shut; closed when it is open, or for good
	closed bool          // for good
}

// openPort listens on an address.
func (s *Server) openPort(addr string, secure bool, lead func() *node) (*port, error) {
	p := &port{s: s, lead: lead, secure: secure, memory: s.opts.inMemory}
	var err error
	if p.memory {
		if p.addr, err = s.memoryAddr(addr, secure); err == nil {
			p.ln = pipe.Listen(p.addr)
		}
	} else if p.ln, err = net.Listen("tcp", addr); err == nil {
		p.addr = p.ln.Addr().(*net.TCPAddr)
	}
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", addr, err)
	}
	return p, nil
}

// beside is what Dial reaches at the address of a port.
func (p *port) beside() *port {
	return &port{s: p.s, lead: p.lead, secure: p.secure, memory: true, addr: p.addr, ln: pipe.Listen(p.addr)}
}

// listener is the socket to accept from. It waits while the port is shut; nil
// means that it is closed for good.
func (p *port) listener() net.Listener {
	for {
		p.mu.Lock()
		ln, opened, closed := p.ln, p.opened, p.closed
		p.mu.Unlock()
		if closed || ln != nil {
			return ln
		}
		<-opened
	}
}

// settle shuts the port if its node is down, and opens it if the node is up.
func (p *port) settle() {
	if p.s.opts.outage == OutageSilent {
		return // it stays open; Accept lets those who come wait
	}
	// The port first: otherwise the state that was seen could be one of the past
	// by the time that it is acted upon, and a port stay shut for ever.
	p.mu.Lock()
	defer p.mu.Unlock()
	p.s.connsMu.Lock()
	down := p.lead().upAgain != nil
	p.s.connsMu.Unlock()
	switch {
	case p.closed || down == (p.ln == nil):
	case down:
		_ = p.ln.Close()
		p.ln, p.opened = nil, make(chan struct{})
		// Without it the number might be given to somebody else meanwhile, a
		// client that tries to connect among them.
		if !p.memory {
			p.held, _ = holdPort(p.addr)
		}
	default:
		if p.held != nil {
			_ = p.held.Close()
			p.held = nil
		}
		p.ln = p.listenAgain()
		close(p.opened)
	}
}

// listenAgain opens the port that was shut.
func (p *port) listenAgain() net.Listener {
	if p.memory {
		return pipe.Listen(p.addr)
	}
	const most = 5 * time.Second
	for begin := time.Now(); ; time.Sleep(time.Millisecond) {
		ln, err := net.Listen("tcp", p.addr.String())
		if err == nil {
			return ln
		}
		if time.Since(begin) > most || p.s.ctx.Err() != nil {
			p.s.record(Event{Kind: EventNodeDown, Node: p.lead().name, Detail: "the port cannot be opened again, it stays closed: " + err.Error()})
			p.closed = true
			return nil
		}
	}
}

// close closes the port for good.
func (p *port) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return
	}
	p.closed = true
	if p.held != nil {
		_ = p.held.Close()
	}
	if p.ln != nil {
		_ = p.ln.Close()
		p.ln = nil
	} else {
		close(p.opened)
	}
}

// turnAway closes a socket that came while the node went down, so that the
// client sees it refused rather than served.
func turnAway(socket net.Conn) {
	abort(socket)
}

// WithOutage sets what a client sees that connects to a node that is down.
// Default OutageRefused; no source says what the service's clients see.
func WithOutage(o Outage) Option {
	return func(opts *options) error {
		if o != OutageRefused && o != OutageSilent {
			return fmt.Errorf("WithOutage: expected %q or %q, got %q", OutageRefused, OutageSilent, o)
		}
		opts.outage = o
		return nil
	}
}

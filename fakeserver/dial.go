package fakeserver

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"slices"
	"syscall"

	"github.com/entracache/entracache/fakeserver/internal/pipe"
)

// The ports of a cache that is in memory only: those of the service.
const (
	memoryTLSPort   = 6380
	memoryPlainPort = 6379
)

// WithInMemory opens no TCP port: the cache is reached by Dial and DialRaw only.
// Addr and PlainAddr are then names for these, "127.0.0.1:6380" and
// "127.0.0.1:6379" unless WithAddr and WithPlainAddr name other ports. It is for
// tests inside a testing/synctest bubble, where the server must be started in the
// bubble. Default off.
func WithInMemory() Option {
	return func(o *options) error { o.inMemory = true; return nil }
}

// Dial connects to the cache within the process, without the network, as a client
// does that trusts CAPEM: over TLS, with the handshake done, to Addr, and without
// to PlainAddr. It works beside the TCP ports too, and does what they do: faults,
// outages and the limits apply.
//
// It has the form that client libraries take as a dialer, such as Options.Dialer
// of go-redis, whose TLSConfig is then to be left out. network must be "tcp". The
// error is a *net.OpError with ECONNREFUSED when there is nothing at addr or the
// cache is closed.
func (s *Server) Dial(ctx context.Context, network, addr string) (net.Conn, error) {
	raw, p, err := s.dial(ctx, network, addr)
	if err != nil || !p.secure {
		return raw, err
	}
	config := &tls.Config{ServerName: p.addr.IP.String(), MinVersion: tls.VersionTLS12}
	if len(s.caPEM) > 0 {
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(s.caPEM) {
			return nil, errors.Join(errors.New("dial the fake cache: CAPEM holds no certificate; give WithCertificate one"), raw.Close())
		}
	}
	conn := tls.Client(raw, config)
	if err := conn.HandshakeContext(ctx); err != nil {
		_ = raw.Close()
		return nil, fmt.Errorf("dial the fake cache: TLS handshake: %w", err)
	}
	return conn, nil
}

// DialRaw is Dial without the TLS handshake, for clients that do it themselves.
func (s *Server) DialRaw(ctx context.Context, network, addr string) (net.Conn, error) {
	conn, _, err := s.dial(ctx, network, addr)
	return conn, err
}

func (s *Server) dial(ctx context.Context, network, addr string) (net.Conn, *port, error) {
	if network != "tcp" {
		return nil, nil, fmt.Errorf("dial the fake cache: expected the network \"tcp\", got %q", network)
	}
	for _, p := range s.everyPort() {
		if p.memory && p.addr.String() == addr && !p.over() {
			conn, err := p.dial(ctx)
			return conn, p, err
		}
	}
	return nil, nil, &net.OpError{Op: "dial", Net: network, Err: fmt.Errorf("%w: the fake cache has no port at %q", syscall.ECONNREFUSED, addr)}
}

// everyPort is every port that was opened, those too that were closed since.
func (s *Server) everyPort() []*port {
	s.connsMu.Lock()
	defer s.connsMu.Unlock()
	return slices.Clone(s.ports)
}

// over says whether the port is closed for good.
func (p *port) over() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.closed
}

// dial connects to a port in memory.
func (p *port) dial(ctx context.Context) (net.Conn, error) {
	p.mu.Lock()
	ln := p.ln
	p.mu.Unlock()
	if ln == nil {
		return nil, &net.OpError{Op: "dial", Net: "tcp", Addr: p.addr, Err: syscall.ECONNREFUSED}
	}
	return ln.(*pipe.Listener).Dial(ctx)
}

// memoryAddr is the address that a port in memory goes by.
func (s *Server) memoryAddr(addr string, secure bool) (*net.TCPAddr, error) {
	at, err := net.ResolveTCPAddr("tcp", addr)
	if err != nil {
		return nil, err
	}
	if len(at.IP) == 0 || at.IP.IsUnspecified() {
		at.IP = net.IPv4(127, 0, 0, 1)
	}
	if at.Port == 0 {
		at.Port = memoryPlainPort
		if secure {
			at.Port = memoryTLSPort
		}
	}
	for taken := true; taken; {
		taken = false
		for _, p := range s.everyPort() {
			taken = taken || p.addr.String() == at.String()
		}
		if taken {
			at.Port++
		}
	}
	return at, nil
}

package fakeentra

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jonboulle/clockwork"
)

// headerTimeout keeps a client that connects and says nothing from holding a
// connection for ever.
const headerTimeout = 30 * time.Second

// Server is a running issuer. Its methods may be called from any goroutine.
type Server struct {
	cfg       config
	clock     clockwork.Clock
	caPEM     []byte
	url       string
	addr      string
	directory directory
	tenant    *Tenant // the default one
	resources []resource
	lifetime  atomic.Int64
	outage    atomic.Bool
	faults    faults
	log       *requestLog

	listener *listener
	http     *http.Server
	served   chan struct{} // closed when the accept loop has ended
	conns    connTracker
	handlers gate

	closeOnce sync.Once
	closeErr  error
}

// Start starts an issuer. It returns an error when an option makes no sense or
// the address cannot be listened on. Close ends it.
func Start(opts ...Option) (*Server, error) {
	cfg := defaultConfig()
	for _, opt := range opts {
		opt(&cfg)
	}
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	tlsMaterial := serving{caPEM: cfg.caPEM}
	if cfg.certificate != nil {
		tlsMaterial.certificate = *cfg.certificate
	} else {
		var err error
		if tlsMaterial, err = processServing(); err != nil {
			return nil, err
		}
	}
	raw, err := net.Listen("tcp", cfg.addr)
	if err != nil {
		return nil, fmt.Errorf("fakeentra: listen on %q: %w", cfg.addr, err)
	}

	s := &Server{
		cfg:       cfg,
		clock:     cfg.clock,
		caPEM:     tlsMaterial.caPEM,
		addr:      raw.Addr().String(),
		url:       "https://" + reachable(raw.Addr()),
		resources: []resource{redisResource},
		log:       newRequestLog(cfg.clock),
		served:    make(chan struct{}),
	}
	for _, identifiers := range cfg.resources {
		s.resources = append(s.resources, resource{identifiers: identifiers})
	}
	s.SetTokenLifetime(cfg.lifetime)
	s.tenant = s.directory.add(s, cfg.tenantID)
	s.listener = newListener(raw, func() {
		s.log.add(Request{Endpoint: EndpointConnection, Outcome: OutcomeOutage})
	})
	s.http = &http.Server{
		Handler:           s.Handler(),
		ReadHeaderTimeout: headerTimeout,
		ConnState:         s.conns.observe,
		// What it would print is clients that hang up: noise in a test's output.
		ErrorLog: log.New(io.Discard, "", 0),
		TLSConfig: &tls.Config{
			Certificates: []tls.Certificate{tlsMaterial.certificate},
			MinVersion:   tls.VersionTLS12,
		},
	}
	go func() {
		defer close(s.served)
		// Always an error; the one that matters, a listener that breaks, shows up as
		// clients that cannot connect.
		_ = s.http.ServeTLS(s.listener, "", "")
	}()
	return s, nil
}

// reachable turns an address that was listened on into one to connect to.
func reachable(a net.Addr) string {
	tcp, ok := a.(*net.TCPAddr)
	if !ok || !tcp.IP.IsUnspecified() {
		return a.String()
	}
	return net.JoinHostPort("127.0.0.1", fmt.Sprint(tcp.Port))
}

// Close stops the server: when it returns the port is free, every connection is
// closed, no request is being answered and no goroutine is left but for the last
// instructions of some. Closing again returns the same result.
func (s *Server) Close() error {
	s.closeOnce.Do(func() {
		s.handlers.shut()
		if err := s.http.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
			s.closeErr = fmt.Errorf("fakeentra: close: %w", err)
		}
		<-s.served
		s.conns.wait()
		s.handlers.wait()
	})
	return s.closeErr
}

// Addr is the address listened on, as host:port.
func (s *Server) Addr() string { return s.addr }

// URL is where the issuer is reached from this machine, without a path, such as
// "https://127.0.0.1:40123": the authority host of client libraries.
func (s *Server) URL() string { return s.url }

// Authority is the URL of the default tenant.
func (s *Server) Authority() string { return s.tenant.Authority() }

// TenantID is the ID of the default tenant.
func (s *Server) TenantID() string { return s.tenant.ID }

// CAPEM is the certificate, in PEM, that clients must trust.
func (s *Server) CAPEM() []byte { return append([]byte(nil), s.caPEM...) }

// SetTokenLifetime sets how long tokens live that are issued from now on. A
// token's exp is in whole seconds, rounded up, so that it lives at least as long;
// expires_in is what is left, rounded down. Anything under a second is taken as
// a second.
func (s *Server) SetTokenLifetime(d time.Duration) {
	s.lifetime.Store(int64(max(d, minTokenLifetime)))
}

func (s *Server) tokenLifetime() time.Duration { return time.Duration(s.lifetime.Load()) }

// SetOutage takes the issuer away or brings it back. While it is away every
// connection is reset: the ones there are, also idle kept-alive ones, when
// SetOutage returns, and new ones as soon as they are accepted. New connections
// are served again as soon as SetOutage(false) returns. Requests that were being
// answered, and connections turned away, are logged with OutcomeOutage; an idle
// connection that is reset is not a request and leaves no entry.
func (s *Server) SetOutage(on bool) {
	s.outage.Store(on)
	s.listener.setDown(on)
}

// gate counts what is inside and can be shut.
type gate struct {
	mu     sync.Mutex
	closed bool
	inside sync.WaitGroup
}

// enter reports false when the gate is shut; otherwise leave must be called.
func (g *gate) enter() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed {
		return false
	}
	g.inside.Add(1)
	return true
}

func (g *gate) leave() { g.inside.Done() }

func (g *gate) shut() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.closed = true
}

func (g *gate) wait() { g.inside.Wait() }

// connTracker follows the connections of an http.Server, whose Close does not
// wait for the goroutines that serve them.
type connTracker struct {
	mu   sync.Mutex
	open map[net.Conn]struct{}
	live sync.WaitGroup
}

func (t *connTracker) observe(c net.Conn, state http.ConnState) {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch state {
	case http.StateNew:
		if t.open == nil {
			t.open = map[net.Conn]struct{}{}
		}
		t.open[c] = struct{}{}
		t.live.Add(1)
	case http.StateClosed, http.StateHijacked:
		if _, ok := t.open[c]; ok { // HTTP/2 may report the end twice
			delete(t.open, c)
			t.live.Done()
		}
	}
}

func (t *connTracker) wait() { t.live.Wait() }

package fakeentra

import (
	"crypto/tls"
	"fmt"
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
	shaping   tokenShaping // the server's own shape; its defect is not used
	dice      *dice
	seal      seal
	codes     codeStore
	devices   deviceStore
	issuers   *issuers

	usedAssertions onceSet
	offset         atomic.Int64 // of the issuer's clock, in nanoseconds
	keys           keyring
	outage         atomic.Bool
	faults         faults
	log            *requestLog

	identities identityCache
	arc        arcKeys

	issuer          *front
	issuerTunnels   *tunnels
	metadata        *front
	metadataTunnels *tunnels
	metadataURL     string
	proxy           *front
	proxyURL        string
	thumbprint      string // of the certificate
	handlers        gate
	closing         chan struct{}

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
	seal, err := newSeal()
	if err != nil {
		return nil, err
	}
	federated, err := newIssuers(tlsMaterial.caPEM, cfg.federationCA)
	if err != nil {
		return nil, err
	}
	s := &Server{
		cfg:       cfg,
		clock:     cfg.clock,
		caPEM:     tlsMaterial.caPEM,
		resources: []resource{redisResource},
		log:       newRequestLog(cfg.clock, cfg.logLimit),
		keys:      keyring{clock: cfg.clock},
		dice:      newDice(cfg.seed),
		seal:      seal,
		issuers:   federated,
		closing:   make(chan struct{}),

		identities: identityCache{renewal: cfg.identityRenewal},
		arc:        arcKeys{folder: cfg.arcFolder},
	}
	for _, identifiers := range cfg.resources {
		s.resources = append(s.resources, resource{identifiers: identifiers})
	}
	s.SetClockOffset(cfg.clockOffset)
	if err := s.shaping.SetTokenShape(cfg.shape); err != nil {
		return nil, fmt.Errorf("fakeentra: WithTokenShape: %w", err)
	}
	if err := s.open(tlsMaterial); err != nil {
		return nil, err
	}
	return s, nil
}

// open listens on every address and then serves on all of them, so that an
// address which is taken leaves nothing behind.
func (s *Server) open(material serving) (err error) {
	if s.cfg.inMemory {
		s.addr, s.url, s.metadataURL = memoryAddr, "https://"+memoryAddr, "http://"+memoryMetadata
		if err := s.populate(); err != nil {
			return err
		}
		s.makeFronts(material)
		return nil
	}
	var raw []net.Listener
	defer func() {
		if err != nil {
			for _, l := range raw {
				_ = l.Close()
			}
		}
	}()
	listen := func(addr string) (net.Listener, error) {
		l, err := net.Listen("tcp", addr)
		if err != nil {
			return nil, fmt.Errorf("fakeentra: listen on %q: %w", addr, err)
		}
		raw = append(raw, l)
		return l, nil
	}

	onIssuer, err := listen(s.cfg.addr)
	if err != nil {
		return err
	}
	s.addr, s.url = onIssuer.Addr().String(), "https://"+reachable(onIssuer.Addr())
	s.issuerTunnels, s.metadataTunnels = newTunnels(onIssuer.Addr()), newTunnels(onIssuer.Addr())
	onMetadata := []net.Listener{s.metadataTunnels}
	if s.cfg.metadataAddr != "" {
		l, err := listen(s.cfg.metadataAddr)
		if err != nil {
			return err
		}
		s.metadataURL = "http://" + reachable(l.Addr())
		onMetadata = append(onMetadata, l)
	}
	var onProxy []net.Listener
	if s.cfg.proxyAddr != "" {
		l, err := listen(s.cfg.proxyAddr)
		if err != nil {
			return err
		}
		s.proxyURL = "http://" + reachable(l.Addr())
		onProxy = append(onProxy, l)
	}
	if err := s.populate(); err != nil { // what is populated knows the addresses
		return err
	}

	s.makeFronts(material)
	refused := func() { s.log.add(Request{Endpoint: EndpointConnection, Outcome: OutcomeOutage}) }
	for front, listeners := range map[*front][]net.Listener{
		s.issuer: {onIssuer, s.issuerTunnels}, s.metadata: onMetadata, s.proxy: onProxy,
	} {
		for _, l := range listeners {
			front.serve(newListener(l, refused))
		}
	}
	return nil
}

// makeFronts makes the HTTP servers; they listen nowhere yet.
func (s *Server) makeFronts(material serving) {
	s.thumbprint = thumbprint(material.certificate.Certificate[0])
	certificates := []tls.Certificate{material.certificate}
	if material.cloud != nil {
		certificates = append(certificates, *material.cloud)
	}
	s.issuer = newFront(s.Handler(), &tls.Config{Certificates: certificates, MinVersion: tls.VersionTLS12})
	s.metadata = newFront(http.HandlerFunc(s.serveMetadata), nil)
	s.proxy = newFront(http.HandlerFunc(s.serveProxy), nil)
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
		close(s.closing)
		// The proxy first: it feeds the others.
		for _, f := range []*front{s.proxy, s.metadata, s.issuer} {
			if err := f.close(); err != nil && s.closeErr == nil {
				s.closeErr = fmt.Errorf("fakeentra: close: %w", err)
			}
		}
		s.handlers.wait()
		s.issuers.close()
		s.arc.close()
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

// SetClockOffset makes the issuer's clock wrong by d, ahead if d is positive,
// against the clock it was started with: everything it dates from now on, tokens
// and error messages, is off by as much. The request log and whatever else
// happens by time, such as faults and key rotation, keep to the right time.
func (s *Server) SetClockOffset(d time.Duration) { s.offset.Store(int64(d)) }

// now is the time as the issuer sees it.
func (s *Server) now() time.Time { return s.clock.Now().Add(time.Duration(s.offset.Load())) }

// SetOutage takes the issuer away or brings it back, its managed identity
// endpoints and the far end of the proxy's tunnels included. While it is away every
// connection is reset: the ones there are, also idle kept-alive ones, when
// SetOutage returns, and new ones as soon as they are accepted. New connections
// are served again as soon as SetOutage(false) returns. Requests that were being
// answered, and connections turned away, are logged with OutcomeOutage; an idle
// connection that is reset is not a request and leaves no entry.
func (s *Server) SetOutage(on bool) {
	s.outage.Store(on)
	s.issuer.setDown(on)
	s.metadata.setDown(on)
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

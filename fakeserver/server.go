package fakeserver

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tidwall/redcon"

	"github.com/entracache/entracache/fakeserver/internal/acl"
	"github.com/entracache/entracache/fakeserver/internal/command"
	"github.com/entracache/entracache/fakeserver/internal/keyspace"
	"github.com/entracache/entracache/fakeserver/internal/token"
)

// closeTimeout bounds Close. Only a Lua script that never ends can keep a
// connection's goroutine longer than that.
const closeTimeout = 10 * time.Second

// Server is a running fake cache. Its methods are safe for concurrent use.
type Server struct {
	opts      options
	prof      profile
	table     *command.Table
	acl       atomic.Pointer[acl.Rules]
	handlers  []handler // by command ID; nil: the data engine
	traits    []trait   // by command ID
	validator *token.Validator
	keyspace  *keyspace.Engine
	hub       *hub
	log       *eventLog
	counts    counts
	aclLog    *aclLog
	tracker   tracker
	monitors  monitors
	slowlog   slowlog
	notify    notifications
	faults    faultList
	secrets   secrets
	expiries  expiries
	pause     pause
	pausing   atomic.Bool // there may be a pause
	config    config
	maxMemory atomic.Int64 // bytes; 0: no limit
	// maxClients is for each node; idleTimeout, in nanoseconds, is 0 for none.
	maxClients, idleTimeout atomic.Int64
	minTLS                  atomic.Uint32 // a version of package tls
	stats                   stats
	script                  atomic.Pointer[luaRun] // the script that runs
	// expireOnce starts the goroutine that expires keys in time.
	expireOnce sync.Once
	caPEM      []byte
	started    time.Time
	runID      string

	ctx    context.Context // ends with Close
	cancel context.CancelFunc
	wg     sync.WaitGroup // every goroutine of ours and every connection
	close  func() error

	tlsPort, plainPort *port // the cache's own; plainPort is nil without WithPlainAddr
	tlsServing         *tls.Config

	clustered bool
	topo      atomic.Pointer[topology]
	// inFlight is read-locked while a command runs that depends on the topology;
	// see connection.landed.
	inFlight sync.RWMutex
	managing sync.Mutex // one change of the nodes at a time
	lastNode int        // how many there have been; guarded by managing

	// fullAccess is what an access key gives; noAccess is for a removed
	// assignment whose connections are kept.
	fullAccess *grant
	noAccess   *acl.Set

	connsMu  sync.Mutex
	conns    map[int64]*connection
	lastConn int64
	closing  bool
	patching bool          // Patch is at work
	restart  chan struct{} // closed and replaced by Reset: ends what is under way
	ports    []*port       // every one that was opened

	// stateMu guards what the management methods change. Commands do not take
	// it, except those that sign in.
	stateMu      sync.Mutex
	keys         accessKeys
	firstKeys    accessKeys // those of the start
	keysDisabled bool
	entra        bool // tokens sign in
	provisioning provisioning
	links        map[string]LinkedServer // by lower-case name
	grants       map[string]*grant       // by object ID
	policies     map[string]Policy       // custom ones, by policyKey
	// accounts are the users that ACL makes, by name; nil where the service
	// makes them.
	accounts map[string]*account
}

// Start starts a fake cache. It is ready when Start returns. The error says
// which option or address is wrong.
func Start(opts ...Option) (*Server, error) {
	s, err := start(opts)
	if err != nil {
		return nil, fmt.Errorf("start fake cache: %w", err)
	}
	return s, nil
}

func start(opts []Option) (*Server, error) {
	o := defaultOptions()
	for _, opt := range opts {
		if err := opt(&o); err != nil {
			return nil, err
		}
	}
	if err := o.checkSKU(); err != nil {
		return nil, err
	}
	s := &Server{
		opts:     o,
		hub:      newHub(),
		log:      &eventLog{clock: o.clock, limit: o.eventLimit},
		aclLog:   newACLLog(),
		started:  o.clock.Now(),
		runID:    randomHex(20),
		conns:    map[int64]*connection{},
		restart:  make(chan struct{}),
		grants:   map[string]*grant{},
		policies: map[string]Policy{},
		links:    map[string]LinkedServer{},
	}
	s.provisioning.state = StateSucceeded
	s.expiries.clock = o.clock
	s.close = sync.OnceValue(s.shutdown)
	var err error
	if s.prof, err = lookupProfile(o.profile); err != nil {
		return nil, err
	}
	if o.wrongPass == "" {
		s.opts.wrongPass = s.prof.wrongPassText()
	}
	if s.table, err = command.ForLevel(s.prof.level); err != nil {
		return nil, err
	}
	s.acl.Store(acl.New(s.table, s.prof.allChannels))
	if s.prof.openUsers {
		s.accounts = map[string]*account{defaultUser: newAccount(defaultUser, s.rules().DefaultUser())}
	}
	if s.noAccess, err = s.rules().Compile(""); err != nil {
		return nil, fmt.Errorf("compile the empty policy: %w", err)
	}
	if s.fullAccess, err = s.newGrant("", DataOwner); err != nil {
		return nil, err
	}
	if o.issuer != "" {
		s.validator, err = token.New(token.Config{
			Issuer: o.issuer, CAPEM: o.issuerCA, Transport: o.issuerTransport, Audiences: o.audiences, Clock: o.clock, Skew: o.skew,
		})
		if err != nil {
			return nil, err
		}
	}
	s.keys = accessKeys{primary: o.primary, secondary: o.secondary}
	if !o.keysGiven {
		s.keys = accessKeys{primary: newAccessKey(), secondary: newAccessKey()}
	}
	s.firstKeys = s.keys
	s.secrets.add(s.keys.primary, s.keys.secondary)
	s.setLimits()
	s.resetConfiguration()

	if s.tlsServing, err = s.tlsConfig(); err != nil {
		return nil, err
	}
	if s.keyspace, err = keyspace.New(o.clock); err != nil {
		return nil, err
	}
	s.handlers = s.commandHandlers()
	s.observe()
	s.ctx, s.cancel = context.WithCancel(context.Background())
	if tier := s.opts.sku.Tier(); o.shards > 0 && (tier == TierBasic || tier == TierStandard) {
		return nil, fmt.Errorf("WithShards: clustering is there in the tier Premium, and this cache is %s; start it with WithSKU(%q), or leave WithShards out", s.opts.sku, DefaultSKU)
	}
	s.clustered = o.shards > 0
	if tier := s.opts.sku.Tier(); s.opts.replicas < 0 && !s.prof.openUsers && tier != TierBasic {
		s.opts.replicas = 1
	}
	if err = s.firstTopology(); err == nil {
		s.tlsPort, err = s.listen(o.addr, s.tlsServing, s.leadEndpoint)
	}
	if err == nil && o.plainAddr != "" {
		s.plainPort, err = s.listen(o.plainAddr, nil, s.leadEndpoint)
	}
	if err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// listen opens a port and serves it; tlsConfig nil means without TLS.
func (s *Server) listen(addr string, tlsConfig *tls.Config, lead func() *node) (*port, error) {
	p, err := s.openPort(addr, tlsConfig != nil, lead)
	if err != nil {
		return nil, err
	}
	serving := []*port{p}
	if !p.memory {
		p.pair = p.beside()
		serving = append(serving, p.pair)
	}
	s.connsMu.Lock()
	defer s.connsMu.Unlock()
	if s.closing {
		for _, p := range serving {
			p.close()
		}
		return nil, errors.New("the cache is closed")
	}
	for _, p := range serving {
		s.serve(p, tlsConfig)
	}
	return p, nil
}

// serve serves a port; connsMu is held.
func (s *Server) serve(p *port, tlsConfig *tls.Config) {
	s.ports = append(s.ports, p)
	rs := redcon.NewServerNetwork("tcp", p.addr.String(), s.handle, s.accepted, s.closed)
	s.wg.Go(func() {
		// Serve returns when the listener is closed, and only then.
		_ = rs.Serve(&listener{port: p, s: s, tls: tlsConfig})
	})
}

// Close closes the listeners and every connection, and waits until all
// goroutines have ended, at most ten seconds. It may be called more than once.
func (s *Server) Close() error { return s.close() }

func (s *Server) shutdown() error {
	s.cancel()
	s.stopOperation()
	s.connsMu.Lock()
	s.closing = true
	ports := s.ports
	s.connsMu.Unlock()
	for _, p := range ports {
		p.close()
	}
	s.RemoveFaults() // which may hold connections
	s.cutAll(ReasonServerClosed)
	defer s.log.end()
	ended := make(chan struct{})
	go func() { s.wg.Wait(); close(ended) }()
	t := time.NewTimer(closeTimeout)
	defer t.Stop()
	select {
	case <-ended:
	case <-t.C:
		return fmt.Errorf("close fake cache: a command is still running after %s", closeTimeout)
	}
	s.keyspace.Close()
	return nil
}

// Addr is the TLS listener's address, "127.0.0.1:PORT".
func (s *Server) Addr() string { return s.tlsPort.addr.String() }

// Host is the host part of Addr.
func (s *Server) Host() string {
	host, _, _ := net.SplitHostPort(s.Addr())
	return host
}

// Port is the TLS port.
func (s *Server) Port() int { return s.tlsPort.addr.Port }

// PlainAddr is the plain listener's address, empty if there is none.
func (s *Server) PlainAddr() string {
	if s.plainPort == nil {
		return ""
	}
	return s.plainPort.addr.String()
}

// CAPEM is the certificate that clients are to trust, in PEM.
func (s *Server) CAPEM() []byte { return s.caPEM }

// Tester is the part of *testing.T that RunT needs.
type Tester interface {
	Helper()
	Cleanup(func())
	Fatalf(format string, args ...any)
	Logf(format string, args ...any)
}

// RunT starts a fake cache that is closed at the end of the test.
func RunT(t Tester, opts ...Option) *Server {
	t.Helper()
	s, err := Start(opts...)
	if err != nil {
		t.Fatalf("%v", err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Logf("%v", err)
		}
	})
	return s
}

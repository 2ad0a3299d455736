package fakeserver

import (
	"cmp"
	"crypto/tls"
	"net"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tidwall/redcon"

	"github.com/entracache/entracache/fakeserver/internal/command"
	"github.com/entracache/entracache/fakeserver/internal/keyspace"
	"github.com/entracache/entracache/fakeserver/internal/resp"
)

// connection is one client's connection. Unless said otherwise its fields
// belong to the goroutine that runs its commands.
type connection struct {
	s      *Server
	node   *node
	id     int64
	remote string
	local  string // the address of ours that it came to
	plain  bool   // no TLS
	since  time.Time
	guard  *resp.Guard
	rc     redcon.Conn

	// Read and written by any goroutine.
	opened atomic.Bool
	// tlsVersion is set by the handshake; 0 on the plain port.
	tlsVersion atomic.Uint32
	ended      atomic.Pointer[Reason] // why it was closed; nil while it is alive
	gone       chan struct{}          // closed when ended is set
	identity   atomic.Pointer[identity]
	proto      atomic.Int32
	expiry     expiry
	idle       idling
	status     status
	unblock    atomic.Pointer[chan bool] // set while a command blocks; true asks for an error

	postponed  atomic.Bool   // waits for the end of CLIENT PAUSE
	reading    atomic.Bool   // its goroutine is about to read from the client
	rounds     atomic.Uint32 // how often it has done so
	unsettled  atomic.Int64  // the round in which settle gave up waiting for it, -1 for none
	socket     net.Conn      // below TLS
	wire       *wire         // what is read and written of socket
	monitoring atomic.Bool
	tracks     atomic.Bool // tracking.on
	tracked    atomic.Bool // it was on once
	tracking   tracking
	commands   atomic.Int64 // how many ran
	lastCmd    atomic.Pointer[command.Command]
	lastAt     atomic.Int64 // when lastCmd came, in Unix nanoseconds

	moment   int64    // the time in Unix nanoseconds, 0 when it must be read; see tick
	request  *request // of the command under way, or of the last one while more are there; see begin
	unsent   int      // bytes replied that redcon has not sent
	session  *keyspace.Session
	multi    *transaction // nil outside MULTI
	watcher  *keyspace.Watcher
	sub      atomic.Pointer[subscriber] // written by the connection's goroutine only
	mute     muting
	behind   bool // the next command had come when the last one ended; only with faults
	inFlight bool // it holds Server.inFlight
	asking   bool // ASKING was the last command
	// readsReplica says that the client sent READONLY.
	readsReplica bool
	quit         bool // close once the replies are sent, for quitReason
	silent       bool // close without sending them
	quitReason   Reason
}

// status is what CLIENT LIST and Connections tell about a connection.
type status struct {
	mu     sync.Mutex
	name   string
	db     int
	queued int // commands in MULTI, -1 outside

	libName, libVer  string // CLIENT SETINFO
	noEvict, noTouch bool
}

func (s *status) update(f func(*status)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f(s)
}

// newConnection registers an accepted socket with a node. No connection means
// that the node is down, until upAgain is closed, or, without that, that the
// server is closing.
func (s *Server) newConnection(socket net.Conn, tlsConfig *tls.Config, n *node) (c *connection, upAgain <-chan struct{}) {
	if s.topo.Load() == nil {
		return nil, nil // the other nodes are still being made
	}
	c = &connection{
		s:       s,
		node:    n,
		remote:  socket.RemoteAddr().String(),
		local:   socket.LocalAddr().String(),
		plain:   tlsConfig == nil,
		since:   s.opts.clock.Now(),
		gone:    make(chan struct{}),
		session: s.sessionOf(n.shard),
	}
	c.session.Owner = c
	c.proto.Store(2)
	c.unsettled.Store(-1)
	c.status.queued = -1
	c.lastAt.Store(c.since.UnixNano())
	c.socket = socket
	c.wire = &wire{Conn: socket, gone: c.gone}
	e := &entrance{Conn: c.wire, c: c}
	if tlsConfig != nil {
		e.tls = tls.Server(c.wire, tlsConfig)
		e.Conn = e.tls
	}
	c.guard = resp.NewGuard(e, resp.Options{Limits: s.prof.limits(), OnProtocolError: c.protocolError})
	s.letIn(c)

	s.connsMu.Lock()
	defer s.connsMu.Unlock()
	if s.closing {
		return nil, nil
	}
	if n.upAgain != nil {
		return nil, n.upAgain
	}
	s.lastConn++
	c.id = s.lastConn
	s.conns[c.id] = c
	s.wg.Add(1) // until closed
	return c, nil
}

// accepted is redcon's callback for a new connection.
func (s *Server) accepted(rc redcon.Conn) bool {
	c := rc.NetConn().(guarded).c
	c.rc = rc
	rc.SetContext(c)
	return true
}

// closed is redcon's callback for the end of a connection's goroutine. redcon
// holds its own lock meanwhile, so nothing here may wait.
func (s *Server) closed(rc redcon.Conn, _ error) {
	defer s.wg.Done()
	c := rc.Context().(*connection)
	defer s.contain(c)
	c.end(ReasonClientClosed) // unless it has ended for another reason
	c.stopTimers()
	c.stopMonitoring()
	s.tracker.leave(c)
	s.stats.commands.Add(c.commands.Load())
	if sub := c.sub.Load(); sub != nil {
		s.hub.leave(sub)
	}
	if c.watcher != nil {
		s.keyspace.Unwatch(c.watcher)
	}
	s.connsMu.Lock()
	delete(s.conns, c.id)
	s.connsMu.Unlock()
	if c.opened.Load() {
		s.record(Event{Kind: EventConnectionClosed, Conn: c.id, Node: c.nodeName(), User: c.user(), Reason: *c.ended.Load(), Token: c.token(), Proto: c.protocol()})
	}
}

// end notes why the connection ends; the first reason stays. It reports
// whether this was the first.
func (c *connection) end(r Reason) bool {
	if !c.ended.CompareAndSwap(nil, &r) {
		return false
	}
	close(c.gone)
	c.node.release()
	return true
}

// kill ends the connection from any goroutine. Replies that were not sent yet
// are lost.
func (c *connection) kill(r Reason) {
	if c.end(r) {
		c.farewell()
		_ = c.guard.Close() // it is gone either way
	}
}

// killAll ends connections as kill does, and returns when all are closed. Where
// they are thousands, every client is told first, which is quick; what wakes a
// connection's goroutine, and is work, waits until all have been told.
func killAll(conns []*connection, r Reason) {
	told := make([]bool, len(conns))
	inParallel(len(conns), func(i int) {
		if c := conns[i]; c.end(r) {
			c.farewell()
			told[i] = true
		}
	})
	inParallel(len(conns), func(i int) {
		if told[i] {
			_ = conns[i].guard.Close() // it is gone either way
		}
	})
}

// farewell tells the client that nothing more will come, and waits for nobody.
func (c *connection) farewell() {
	c.wire.hurry()
	_ = c.guard.CloseWrite() // it is closed either way
}

// inParallel calls f for every number below n, and returns when all calls have
// ended. f does not wait.
func inParallel(n int, f func(i int)) {
	var next atomic.Int64
	work := func() {
		for i := int(next.Add(1)) - 1; i < n; i = int(next.Add(1)) - 1 {
			f(i)
		}
	}
	var wg sync.WaitGroup
	for range min(n, runtime.GOMAXPROCS(0)) - 1 {
		wg.Go(work)
	}
	work()
	wg.Wait()
}

func (c *connection) alive() bool { return c.ended.Load() == nil }

func (c *connection) protocol() int { return int(c.proto.Load()) }

// protocolError is told by the guard, which has answered the client already.
func (c *connection) protocolError(text string) {
	if c.end(ReasonProtocolError) {
		c.brokeProtocol(text)
	}
}

func (c *connection) brokeProtocol(text string) {
	c.s.record(Event{Kind: EventProtocolError, Conn: c.id, User: c.user(), Reason: ReasonProtocolError, Detail: "the client broke the protocol: " + text})
}

// cutAll closes every connection and returns when all are closed.
func (s *Server) cutAll(r Reason) {
	s.cut(r, func(*connection) bool { return true })
}

// cut closes the connections that match and returns how many they were.
func (s *Server) cut(r Reason, match func(*connection) bool) int {
	s.connsMu.Lock()
	var cut []*connection
	for _, c := range s.conns {
		if match(c) {
			cut = append(cut, c)
		}
	}
	s.connsMu.Unlock()
	killAll(cut, r)
	return len(cut)
}

// nodeName is what events call the connection's node.
func (c *connection) nodeName() string {
	if c.s.many() {
		return c.node.name
	}
	return ""
}

// connections lists the open connections, oldest first.
func (s *Server) connections() []*connection {
	s.connsMu.Lock()
	defer s.connsMu.Unlock()
	var list []*connection
	for _, c := range s.conns {
		if c.opened.Load() && c.alive() {
			list = append(list, c)
		}
	}
	slices.SortFunc(list, func(a, b *connection) int { return cmp.Compare(a.id, b.id) })
	return list
}

// ConnInfo describes an open connection.
type ConnInfo struct {
	ID           int64
	RemoteAddr   string
	User         string // empty before signing in
	AuthKind     AuthKind
	TokenExpires time.Time // zero unless AuthKind is AuthToken
	Subscribed   bool
	Blocked      bool // a command such as BLPOP waits on it
	Proto        int  // RESP version
	Name         string
	Node         string // as in Event.Node
}

// Connections lists the open connections, oldest first.
func (s *Server) Connections() []ConnInfo {
	var infos []ConnInfo
	for _, c := range s.connections() {
		info := ConnInfo{ID: c.id, RemoteAddr: c.remote, AuthKind: AuthNone, Proto: c.protocol(), Subscribed: c.subscriptions() > 0,
			Blocked: c.unblock.Load() != nil, Node: c.nodeName()}
		if id := c.identity.Load(); id != nil {
			info.User, info.AuthKind, info.TokenExpires = id.user, id.kind, id.expires
		}
		c.status.update(func(st *status) { info.Name = st.name })
		infos = append(infos, info)
	}
	return infos
}

package fakeserver

import (
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"github.com/jonboulle/clockwork"
)

// node is one Redis process of the cache. A connection belongs to the node that
// it was led to, for as long as it lives.
type node struct {
	s          *Server
	name       string // as events name it: "node-0"
	id         string // as CLUSTER names it
	shard      int    // its number, which is also that of its database
	offset     int    // which of the ports of WithNodePorts it has
	tls, plain *port  // of its own; nil where it has none

	scripts scripts

	flags atomic.Uint32 // nodeReplica, nodeLoading
	down  atomic.Bool   // the same as upAgain != nil

	clients atomic.Int64 // connected, or about to be

	// Guarded by Server.connsMu, so that a connection is either among those
	// that are cut when its node goes down, or finds it down.
	upAgain   chan struct{} // not nil while the node is down; closed when it is up
	until     time.Time     // it is down at least until then
	holds     int           // and while there are any of these, see hold
	loadsFor  time.Duration // how long it will load when it is up
	riseTimer clockwork.Timer
}

// What is on a node's flags.
const (
	nodeReplica uint32 = 1 << iota // it is one, and read-only
	nodeLoading                    // it is up, but does not serve yet
)

func (n *node) has(flag uint32) bool { return n.flags.Load()&flag != 0 }

func (n *node) setFlag(flag uint32, on bool) {
	if on {
		n.flags.Or(flag)
	} else {
		n.flags.And(^flag)
	}
}

// outage is what happens to nodes that go down.
type outage struct {
	// lasts is how long they accept no connection; 0: they are cut only.
	lasts time.Duration
	// loading is how long they answer LOADING after that.
	loading time.Duration
	// reason is why their connections are closed.
	reason Reason
	// up is called, in a goroutine of its own, when all of them are up again,
	// and never if the server is closed before; nil: nobody is told.
	up func()
}

// takeDown takes nodes down and returns when their connections are closed. They
// come up again by themselves, on the server's clock. A node that is down
// already stays so until the later of the two ends.
func (s *Server) takeDown(nodes []*node, o outage) {
	s.connsMu.Lock()
	if !s.closing {
		if o.lasts > 0 || o.loading > 0 {
			for _, n := range nodes {
				n.fall(o)
			}
		}
		if o.up != nil {
			s.whenUp(nodes, o.up)
		}
	}
	s.connsMu.Unlock()
	s.settlePorts()
	s.cutNodes(nodes, o.reason)
	for _, n := range nodes {
		n.scripts.flush() // a new process knows none
	}
}

func (s *Server) cutNodes(nodes []*node, r Reason) {
	s.cut(r, func(c *connection) bool { return slices.Contains(nodes, c.node) })
}

// whenUp calls f when the nodes are up; connsMu is held and the server is not
// closing.
func (s *Server) whenUp(nodes []*node, f func()) {
	var wait []<-chan struct{}
	for _, n := range nodes {
		if n.upAgain != nil {
			wait = append(wait, n.upAgain)
		}
	}
	s.wg.Go(func() {
		for _, up := range wait {
			select {
			case <-up:
			case <-s.ctx.Done():
				return
			}
		}
		f()
	})
}

// fall begins an outage of the node, or prolongs the one that it has; connsMu
// is held.
func (n *node) fall(o outage) {
	n.goDown(o.reason, fmt.Sprintf("%s is down for %s", n.name, o.lasts))
	n.loadsFor = max(n.loadsFor, o.loading)
	if until := n.s.opts.clock.Now().Add(o.lasts); until.After(n.until) || n.riseTimer == nil {
		n.until = until
		n.riseIn(o.lasts)
	}
}

// hold takes the node down until the returned function is called; connsMu is
// not held.
func (n *node) hold(r Reason, detail string) (release func()) {
	s := n.s
	s.connsMu.Lock()
	n.goDown(r, detail)
	n.holds++
	s.connsMu.Unlock()
	s.settlePorts()
	return func() {
		s.connsMu.Lock()
		n.holds--
		s.connsMu.Unlock()
		n.riseWhenDue()
	}
}

func (n *node) goDown(r Reason, detail string) {
	if n.upAgain == nil {
		n.upAgain = make(chan struct{})
		n.down.Store(true)
		n.setFlag(nodeLoading, false)
	}
	n.s.record(Event{Kind: EventNodeDown, Node: n.name, Reason: r, Detail: detail})
}

func (n *node) riseIn(d time.Duration) {
	if n.riseTimer != nil {
		n.riseTimer.Stop()
	}
	n.riseTimer = n.s.opts.clock.AfterFunc(d, n.riseWhenDue)
}

// riseWhenDue brings the node up, unless its outage was prolonged meanwhile, or
// a wall clock was set back.
func (n *node) riseWhenDue() {
	s := n.s
	s.connsMu.Lock()
	if n.upAgain == nil || n.holds > 0 || s.closing {
		s.connsMu.Unlock()
		return
	}
	if left := n.until.Sub(s.opts.clock.Now()); left > 0 {
		n.riseIn(left)
		s.connsMu.Unlock()
		return
	}
	up, loads := n.upAgain, n.loadsFor
	n.upAgain, n.riseTimer, n.loadsFor, n.until = nil, nil, 0, time.Time{}
	n.setFlag(nodeLoading, loads > 0)
	n.down.Store(false)
	s.connsMu.Unlock()
	s.settlePorts()
	detail := n.name + " is up again"
	if loads > 0 {
		detail += fmt.Sprintf(", and loads its data for %s", loads)
	}
	s.record(Event{Kind: EventNodeUp, Node: n.name, Detail: detail})
	close(up)
	if loads > 0 {
		s.after(loads, func() {
			n.setFlag(nodeLoading, false)
			s.record(Event{Kind: EventNodeLoaded, Node: n.name, Detail: n.name + " has loaded its data"})
		})
	}
}

// after calls f after some time of the server's clock, at once if that is 0,
// and not any more once the server closes or is reset.
func (s *Server) after(d time.Duration, f func()) {
	if d <= 0 {
		f()
		return
	}
	s.connsMu.Lock()
	restart := s.restart
	s.connsMu.Unlock()
	s.opts.clock.AfterFunc(d, func() {
		s.connsMu.Lock()
		over := s.closing || restart != s.restart
		if !over {
			s.wg.Add(1)
		}
		s.connsMu.Unlock()
		if !over {
			defer s.wg.Done()
			f()
		}
	})
}

// sleep waits some time of the server's clock; false means that the server
// closes or was reset.
func (s *Server) sleep(d time.Duration, restart <-chan struct{}) bool {
	if d <= 0 {
		return s.ctx.Err() == nil
	}
	t := s.opts.clock.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.Chan():
		return true
	case <-restart:
	case <-s.ctx.Done():
	}
	return false
}

// resetNodes brings every node up, in the roles and numbers of the start. The
// keyspace is empty, and nobody is connected.
func (s *Server) resetNodes() {
	s.managing.Lock()
	defer s.managing.Unlock()
	s.connsMu.Lock()
	close(s.restart)
	s.restart, s.patching = make(chan struct{}), false
	nodes := s.topo.Load().nodes
	for _, n := range nodes {
		n.holds, n.until, n.loadsFor = 0, time.Time{}, 0
	}
	s.connsMu.Unlock()
	for _, n := range nodes {
		n.riseWhenDue()
		n.setFlag(nodeLoading, false)
	}
	first := scale{shards: max(1, s.opts.shards), replicas: max(0, s.opts.replicas)}
	added, err := s.nodesToAdd(s.topo.Load(), first)
	if err != nil {
		s.record(Event{Kind: EventNodeDown, Detail: "a node that the cache had at its start cannot be made again: " + err.Error()})
		return
	}
	var removed []*node
	s.rearrange(func(t *topology) {
		clear(t.moving)
		removed = s.resize(t, first, added)
		t.spread()
		for shard := range t.primary {
			t.primary[shard] = slices.MinFunc(t.of(shard), func(a, b *node) int { return a.offset - b.offset })
		}
	})
	for _, n := range removed {
		s.closeNode(n)
	}
}

// settlePorts opens and shuts the ports as the state of the nodes that they
// lead to asks for.
func (s *Server) settlePorts() {
	for _, p := range s.everyPort() {
		p.settle()
	}
}

package fakeserver

import (
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/jonboulle/clockwork"
)

// node is one Redis process of the cache. A connection belongs to the node that
// it was led to, for as long as it lives.
type node struct {
	s    *Server
	name string // as events name it: "node-0"

	clients atomic.Int64 // connected, or about to be

	// Guarded by Server.connsMu, so that a connection is either among those
	// that are cut when its node goes down, or finds it down.
	upAgain chan struct{} // not nil while the node is down; closed when it is up
	until   time.Time     // when it will be
	timer   clockwork.Timer
}

// outage is what happens to nodes that go down.
type outage struct {
	// lasts is how long they accept no connection; 0: they are cut only.
	lasts time.Duration
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
	if o.lasts > 0 && !s.closing {
		for _, n := range nodes {
			n.fall(o.lasts)
		}
		s.record(Event{Kind: EventNodeDown, Reason: o.reason, Detail: fmt.Sprintf("%s down for %s", nodeNames(nodes), o.lasts)})
	}
	if o.up != nil && !s.closing {
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
			o.up()
		})
	}
	s.connsMu.Unlock()
	s.settlePorts()
	s.cut(o.reason, func(c *connection) bool { return slices.Contains(nodes, c.node) })
}

// fall begins an outage of the node, or prolongs the one that it has; connsMu
// is held.
func (n *node) fall(lasts time.Duration) {
	until := n.s.opts.clock.Now().Add(lasts)
	switch {
	case n.upAgain == nil:
		n.upAgain = make(chan struct{})
	case !until.After(n.until):
		return
	}
	n.until = until
	n.riseIn(lasts)
}

func (n *node) riseIn(d time.Duration) {
	if n.timer != nil {
		n.timer.Stop()
	}
	n.timer = n.s.opts.clock.AfterFunc(d, n.riseWhenDue)
}

// riseWhenDue is the timer's end: the node is up, unless its outage was
// prolonged meanwhile, or a wall clock was set back.
func (n *node) riseWhenDue() {
	s := n.s
	s.connsMu.Lock()
	if n.upAgain == nil || s.closing {
		s.connsMu.Unlock()
		return
	}
	if left := n.until.Sub(s.opts.clock.Now()); left > 0 {
		n.riseIn(left)
		s.connsMu.Unlock()
		return
	}
	close(n.upAgain)
	n.upAgain, n.timer = nil, nil
	s.connsMu.Unlock()
	s.settlePorts()
	s.record(Event{Kind: EventNodeUp, Node: n.name, Detail: n.name + " is up again"})
}

// settlePorts opens and shuts the ports as the state of the nodes that they
// lead to asks for.
func (s *Server) settlePorts() {
	for _, p := range s.ports {
		p.settle()
	}
}

func nodeNames(nodes []*node) string {
	names := make([]string, len(nodes))
	for i, n := range nodes {
		names[i] = n.name
	}
	if len(names) == 1 {
		return names[0] + " is"
	}
	return strings.Join(names, ", ") + " are"
}

// stopOutages lets no timer of an outage fire any more; connsMu is held.
func (s *Server) stopOutages() {
	for _, n := range s.nodes {
		if n.timer != nil {
			n.timer.Stop()
		}
	}
}

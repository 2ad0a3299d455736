package fakeserver

import (
	"fmt"
	"time"
)

// DefaultUnplannedFailover is how long an unplanned failover takes: "typically
// finishes within 10 to 15 seconds" (azure-docs cache-failover.md).
const DefaultUnplannedFailover = 12 * time.Second

// FailoverOption changes what Failover does.
type FailoverOption func(*failover) error

type failover struct {
	shards    []int
	unplanned bool
	takes     time.Duration
	takesSet  bool
}

// FailoverShards chooses the shards of a clustered cache whose primaries fail.
// Default all of them.
func FailoverShards(shards ...int) FailoverOption {
	return func(f *failover) error { f.shards = shards; return nil }
}

// FailoverUnplanned is a failure of the primaries: they are gone until the
// replicas have noticed.
func FailoverUnplanned() FailoverOption {
	return func(f *failover) error { f.unplanned = true; return nil }
}

// FailoverTakes sets how long it takes until the replicas are primaries,
// meanwhile the old ones are down. Default 0 for a planned failover, which
// "typically finishes in less than 1 second" (azure-docs cache-failover.md), and
// DefaultUnplannedFailover for an unplanned one.
func FailoverTakes(d time.Duration) FailoverOption {
	return func(f *failover) error {
		if d < 0 {
			return fmt.Errorf("FailoverTakes: expected 0 or more, got %s", d)
		}
		f.takes, f.takesSet = d, true
		return nil
	}
}

// Failover makes a replica of each shard its primary; "the old primary node
// closes existing connections", and comes back as a replica (azure-docs
// cache-failover.md). The data is kept. It returns when the connections are
// closed; that the replicas have taken over is told by an event of kind
// EventFailoverComplete for each shard, at once if it takes no time.
//
// A cache without replicas, as those of the Basic tier, is down meanwhile, and
// has lost its data afterwards.
func (s *Server) Failover(opts ...FailoverOption) error {
	var f failover
	for _, opt := range opts {
		if err := opt(&f); err != nil {
			return fmt.Errorf("fail over: %w", err)
		}
	}
	if f.unplanned && !f.takesSet {
		f.takes = DefaultUnplannedFailover
	}
	s.managing.Lock()
	defer s.managing.Unlock()
	shards, err := s.topo.Load().chosen(f.shards)
	if err != nil {
		return fmt.Errorf("fail over: %w", err)
	}
	for _, shard := range shards {
		s.failOver(shard, f.takes, !f.unplanned)
	}
	return nil
}

// failOver is the failover of one shard; managing is held.
func (s *Server) failOver(shard int, takes time.Duration, planned bool) {
	old := s.topo.Load().primary[shard]
	kind := "unplanned"
	if planned {
		kind = "planned"
	}
	s.record(Event{Kind: EventFailoverStarted, Node: old.name, Detail: fmt.Sprintf("a %s failover of shard %d from %s", kind, shard, old.name)})
	if s.basic() {
		s.takeDown([]*node{old}, outage{lasts: takes, reason: ReasonFailover})
		s.forgetData(shard)
		return
	}
	if takes == 0 {
		promoted := s.promote(shard)
		if !s.opts.keepOnFailover || !planned {
			s.cutNodes([]*node{old}, ReasonFailover)
		}
		if planned && promoted {
			s.announce(failoverComplete, old, time.Time{})
		}
		return
	}
	release := old.hold(ReasonFailover, old.name+" is down until a replica has taken over")
	s.cutNodes([]*node{old}, ReasonFailover)
	s.after(takes, func() {
		promoted := s.topo.Load().leads(old) && s.promote(shard)
		release()
		if planned && promoted {
			s.announce(failoverComplete, old, time.Time{})
		}
	})
}

// promote makes a replica of the shard that is up its primary; false means that
// there is none.
func (s *Server) promote(shard int) bool {
	var from, to *node
	t := s.topo.Load()
	for _, n := range t.replicas(shard) {
		if !n.down.Load() {
			from, to = t.primary[shard], n
			break
		}
	}
	if to == nil {
		return false
	}
	s.rearrange(func(t *topology) {
		t.primary[shard] = to
		t.bump(shard)
	})
	s.record(Event{Kind: EventFailoverComplete, Node: to.name, Detail: fmt.Sprintf("%s is the primary of shard %d, after %s", to.name, shard, from.name)})
	return true
}

// WithConnectionsKeptOnFailover leaves the connections of the old primary open
// in a planned failover that takes no time: it answers writes with READONLY, as
// Redis does where nobody closes the connections. Default they are closed, as
// the documentation of the service says.
func WithConnectionsKeptOnFailover() Option {
	return func(o *options) error { o.keepOnFailover = true; return nil }
}

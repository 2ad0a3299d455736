package fakeserver

import (
	"fmt"
	"slices"
	"time"
)

// RebootType says which nodes to reboot, by the names of the management API.
type RebootType string

// The nodes to reboot.
const (
	RebootPrimaryNode   RebootType = "PrimaryNode"
	RebootSecondaryNode RebootType = "SecondaryNode"
	RebootAllNodes      RebootType = "AllNodes"
)

// RebootOption changes what Reboot does.
type RebootOption func(*reboot) error

type reboot struct {
	outage
	which    RebootType
	shards   []int // empty: all
	loseData bool
}

// RebootNodes chooses which nodes of the cache, or of some of its shards,
// reboot. Default RebootAllNodes of all shards.
func RebootNodes(which RebootType, shards ...int) RebootOption {
	return func(r *reboot) error {
		if which != RebootPrimaryNode && which != RebootSecondaryNode && which != RebootAllNodes {
			return fmt.Errorf("RebootNodes: expected %q, %q or %q, got %q", RebootPrimaryNode, RebootSecondaryNode, RebootAllNodes, which)
		}
		r.which, r.shards = which, shards
		return nil
	}
}

// RebootTakes sets how long the nodes accept no connection; see WithOutage.
// Default 0: they take new ones at once. "After a few minutes, the selected
// nodes reboot, and are back online a few minutes later" (azure-docs
// cache-administration.md); no source is more exact.
func RebootTakes(d time.Duration) RebootOption {
	return func(r *reboot) error {
		if d < 0 {
			return fmt.Errorf("RebootTakes: expected 0 or more, got %s", d)
		}
		r.lasts = d
		return nil
	}
}

// RebootLoads sets how long the nodes answer "LOADING Redis is loading the
// dataset in memory" once they are up. Default 0. That Redis does so is known;
// whether a client of the service ever sees it has no source.
func RebootLoads(d time.Duration) RebootOption {
	return func(r *reboot) error {
		if d < 0 {
			return fmt.Errorf("RebootLoads: expected 0 or more, got %s", d)
		}
		r.loading = d
		return nil
	}
}

// RebootLosesData empties the shards whose nodes all reboot. Default the data
// is kept: after a reboot of all nodes "typically, data loss doesn't occur.
// However, data loss can still occur" (azure-docs cache-administration.md; its
// older versions say "all data is lost in the cache"). Without replicas it is
// always lost.
func RebootLosesData() RebootOption {
	return func(r *reboot) error { r.loseData = true; return nil }
}

// Reboot reboots nodes, which closes their connections. It returns when they
// are closed, not when the nodes are up again: for that there is an event of
// kind EventNodeUp for each of them, if RebootTakes is given.
//
// Without options all nodes reboot at the same time, take new connections at
// once and keep the data. That is the worst that a client must survive; the
// service attempts "to gracefully reboot both nodes, waiting for one to finish
// before rebooting the other" (azure-docs cache-administration.md).
//
// A primary that reboots alone fails over to a replica first; the replica is
// the primary afterwards.
func (s *Server) Reboot(opts ...RebootOption) error {
	r := reboot{outage: outage{reason: ReasonRebooted}, which: RebootAllNodes}
	for _, opt := range opts {
		if err := opt(&r); err != nil {
			return fmt.Errorf("reboot: %w", err)
		}
	}
	s.managing.Lock()
	defer s.managing.Unlock()
	t := s.topo.Load()
	shards, err := t.chosen(r.shards)
	if err != nil {
		return fmt.Errorf("reboot: %w", err)
	}
	detail := map[RebootType]string{
		RebootAllNodes: "all nodes were rebooted", RebootPrimaryNode: "the primary was rebooted", RebootSecondaryNode: "the replicas were rebooted",
	}[r.which]
	if len(r.shards) > 0 {
		detail += fmt.Sprintf(" of shards %v", r.shards)
	}
	s.record(Event{Kind: EventRebooted, Detail: detail})
	var nodes []*node
	for _, shard := range shards {
		replicas := t.replicas(shard)
		switch {
		case r.which == RebootSecondaryNode:
			nodes = append(nodes, replicas...)
			continue
		case r.which == RebootPrimaryNode && s.promote(shard):
			nodes = append(nodes, t.primary[shard])
			continue
		}
		nodes = append(nodes, t.primary[shard])
		if r.which == RebootAllNodes {
			nodes = append(nodes, replicas...)
		}
		if r.loseData || s.basic() {
			defer s.forgetData(shard)
		}
	}
	s.takeDown(nodes, r.outage)
	return nil
}

// rebootAll is a reboot of all nodes for whatever cause, which detail tells.
func (s *Server) rebootAll(o outage, loseData bool, detail string) {
	s.managing.Lock()
	defer s.managing.Unlock()
	s.record(Event{Kind: EventRebooted, Detail: detail})
	s.takeDown(s.topo.Load().nodes, o)
	if loseData || s.basic() {
		for shard := range s.topo.Load().primary {
			s.forgetData(shard)
		}
	}
}

// basic says whether the cache is one whose data does not survive: "Basic
// caches will have data loss" (azure-docs cache-failover.md).
func (s *Server) basic() bool { return s.replicaCount() == 0 && !s.prof.openUsers }

func (s *Server) replicaCount() int { return len(s.topo.Load().replicas(0)) }

// forgetData empties a shard, as the loss of all its nodes does.
func (s *Server) forgetData(shard int) {
	if s.clustered {
		s.keyspace.Do(nil, s.engineCall(s.sessionOf(shard), "flushdb"))
	} else {
		s.keyspace.Do(nil, s.engineCall(s.keyspace.NewSession(), "flushall"))
	}
	s.record(Event{Kind: EventDataLost, Detail: fmt.Sprintf("shard %d lost its data", shard)})
}

// chosen are the shards of a list of numbers, all of them if it is empty.
func (t *topology) chosen(numbers []int) ([]int, error) {
	if len(numbers) == 0 {
		all := make([]int, len(t.primary))
		for i := range all {
			all[i] = i
		}
		return all, nil
	}
	for _, shard := range numbers {
		if shard < 0 || shard >= len(t.primary) {
			return nil, fmt.Errorf("shard %d: expected 0 to %d", shard, len(t.primary)-1)
		}
	}
	return slices.Compact(slices.Sorted(slices.Values(numbers))), nil
}

package fakeserver

import (
	"fmt"
	"time"
)

// RebootOption changes what Reboot does.
type RebootOption func(*reboot) error

type reboot struct {
	outage
	loseData bool
}

// RebootTakes sets how long the nodes accept no connection. Default 0: they
// take new ones at once. "After a few minutes, the selected nodes reboot, and
// are back online a few minutes later" (azure-docs cache-administration.md); no
// source is more exact.
func RebootTakes(d time.Duration) RebootOption {
	return func(r *reboot) error {
		if d < 0 {
			return fmt.Errorf("RebootTakes: expected 0 or more, got %s", d)
		}
		r.lasts = d
		return nil
	}
}

// RebootLosesData empties the cache. Default the data is kept: after a reboot
// of all nodes "typically, data loss doesn't occur. However, data loss can
// still occur" (azure-docs cache-administration.md; before 2022 it said "all
// data is lost").
func RebootLosesData() RebootOption {
	return func(r *reboot) error { r.loseData = true; return nil }
}

// Reboot reboots all nodes at once, which closes every connection. It returns
// when they are closed, not when the nodes are up again: for that there is an
// event of kind EventNodeUp for each of them.
//
// That all nodes reboot at the same time is what a client must survive at worst;
// the service tries to reboot one after the other.
func (s *Server) Reboot(opts ...RebootOption) error {
	r := reboot{outage: outage{reason: ReasonRebooted}}
	for _, opt := range opts {
		if err := opt(&r); err != nil {
			return fmt.Errorf("reboot: %w", err)
		}
	}
	s.rebootAll(r.outage, r.loseData, "all nodes were rebooted")
	return nil
}

// rebootAll is a reboot of all nodes for whatever cause, which detail tells.
func (s *Server) rebootAll(o outage, loseData bool, detail string) {
	s.record(Event{Kind: EventRebooted, Detail: detail})
	s.takeDown(s.nodes, o)
	if loseData {
		s.forgetData()
	}
}

// forgetData empties the cache, as the loss of all nodes does.
func (s *Server) forgetData() {
	s.keyspace.Do(nil, s.engineCall(s.keyspace.NewSession(), "flushall"))
}

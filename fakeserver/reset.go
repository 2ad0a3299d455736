package fakeserver

import "github.com/entracache/entracache/fakeserver/internal/acl"

// Reset makes the cache as it was when it was started, for the next case of a
// test: it removes all faults and lets go of what they hold, ends CLIENT PAUSE,
// gives up a change of the configuration that is under way, puts the access keys,
// Microsoft Entra authentication, geo-replication and the minimum TLS version back
// to what they were at the start, removes all assignments, custom policies and
// users of ACL, undoes CONFIG SET, closes every connection (ReasonReset), ends
// outages and maintenance, gives the cache its first number of shards and
// replicas and the slots to where they were, and empties the keyspace and the
// logs and scripts that clients see (ACL LOG, SLOWLOG, SCRIPT).
//
// What stays: the addresses, the certificate, the tokens that were verified, the
// numbers of connections, and the event log, which gets an EventReset. The clock
// is whoever's who gave it, and often shared; see Reset of package clock.
func (s *Server) Reset() {
	s.RemoveFaults()
	s.pausing.Store(false)
	s.pause.end()
	s.undoConfig()
	s.acl.Store(acl.New(s.table, s.prof.allChannels))

	s.stateMu.Lock()
	s.record(Event{Kind: EventReset, Detail: "the cache is as it was when it was started"})
	s.resetConfiguration()
	for _, g := range s.grants {
		g.set.Store(s.noAccess)
	}
	clear(s.grants)
	clear(s.policies)
	if s.accounts != nil {
		s.accounts = map[string]*account{defaultUser: newAccount(defaultUser, s.rules().DefaultUser())}
	}
	s.stateMu.Unlock()
	s.cutAll(ReasonReset)

	for _, n := range s.topo.Load().nodes {
		n.scripts.flush()
	}
	s.aclLog.reset()
	s.slowlog.reset()
	s.keyspace.Do(nil, s.engineCall(s.keyspace.NewSession(), "flushall"))
	s.resetNodes()
}

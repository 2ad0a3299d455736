package fakeserver

import (
	"errors"
	"fmt"
	"slices"
	"time"
)

// The channel on which the service tells of maintenance, and the form of the
// messages, are those of AzureRedisEvents.md in Azure/AzureCacheForRedis. Who
// may subscribe is a matter of the access policy.
const maintenanceChannel = "AzureRedisEvents"

// The types of messages. The last is known from StackExchange.Redis'
// AzureMaintenanceEvent only.
const (
	maintenanceScheduled = "NodeMaintenanceScheduled"
	maintenanceStarting  = "NodeMaintenanceStarting"
	maintenanceStart     = "NodeMaintenanceStart"
	failoverComplete     = "NodeMaintenanceFailoverComplete"
	maintenanceEnded     = "NodeMaintenanceEnded"
	scaleComplete        = "NodeMaintenanceScaleComplete"
)

// The times of a maintenance, from the example in AzureRedisEvents.md.
const (
	// scheduledAhead: "Usually between 10-15 minutes in advance".
	scheduledAhead = 15 * time.Minute
	// startingAhead: "~20s before maintenance begins".
	startingAhead = 20 * time.Second
	// startAhead: "when maintenance is imminent (<5s)"; in the example the
	// connection is closed a second later.
	startAhead = time.Second
	// patchTakes is from the start to the end in the example.
	patchTakes = 3 * time.Minute
)

// announce publishes one message about a node. start is zero where the message
// has none.
func (s *Server) announce(kind string, n *node, start time.Time) {
	at := ""
	if !start.IsZero() {
		at = start.UTC().Format("2006-01-02T15:04:05")
	}
	isReplica := "False"
	if n.has(nodeReplica) {
		isReplica = "True"
	}
	// The nodes of a cache that is not clustered have such ports too.
	ip, tlsPort, plainPort := "", 15000+n.offset, 13000+n.offset
	if n.tls != nil {
		ip, tlsPort = n.tls.addr.IP.String(), n.tls.addr.Port
	}
	if n.plain != nil {
		plainPort = n.plain.addr.Port
	}
	message := fmt.Sprintf("NotificationType|%s|StartTimeInUTC|%s|IsReplica|%s|IPAddress|%s|SSLPort|%d|NonSSLPort|%d", kind, at, isReplica, ip, tlsPort, plainPort)
	s.hub.publish(maintenanceChannel, []byte(message))
	s.record(Event{Kind: EventMaintenance, Node: n.name, Detail: message})
}

// PatchOption changes what Patch does.
type PatchOption func(*patch) error

type patch struct {
	ahead, starting, start, takes time.Duration
}

// PatchScheduled sets how long before it begins the patching of a node is
// announced with NodeMaintenanceScheduled. Default 15 minutes ("raised … up to
// 15 minutes in advance", AzureRedisEvents.md).
func PatchScheduled(ahead time.Duration) PatchOption {
	return func(p *patch) error {
		p.ahead = ahead
		return nil
	}
}

// PatchWarned sets how long before it begins the patching of a node is announced
// with NodeMaintenanceStarting and with NodeMaintenanceStart. Default 20 s ("~20s
// before maintenance begins", AzureRedisEvents.md) and 1 s ("<5s", and a second
// in the example). It is for tests that let time pass faster.
func PatchWarned(starting, start time.Duration) PatchOption {
	return func(p *patch) error {
		if start < 0 || starting < start {
			return fmt.Errorf("PatchWarned: expected 0 or more, and no more for NodeMaintenanceStart than for NodeMaintenanceStarting, got %s and %s", starting, start)
		}
		p.starting, p.start = starting, start
		return nil
	}
}

// PatchTakes sets how long each node is down. Default 3 minutes, as in the
// example of AzureRedisEvents.md.
func PatchTakes(d time.Duration) PatchOption {
	return func(p *patch) error {
		if d < 0 {
			return fmt.Errorf("PatchTakes: expected 0 or more, got %s", d)
		}
		p.takes = d
		return nil
	}
}

// Patch begins the planned maintenance of the cache, and returns: one node
// after the other, "one shard at a time" (azure-docs cache-failover.md), is
// announced on the channel AzureRedisEvents, fails over if it is a primary,
// reboots, and comes back as a replica. The announcements are
// NodeMaintenanceScheduled, then NodeMaintenanceStarting 20 s and
// NodeMaintenanceStart 1 s ahead (see PatchWarned), NodeMaintenanceFailoverComplete and
// NodeMaintenanceEnded. An event of kind EventPatched tells the end. The order
// of the nodes of a shard, its replicas first, has no source.
//
// It is an error while another maintenance is under way.
func (s *Server) Patch(opts ...PatchOption) error {
	p := patch{ahead: scheduledAhead, starting: startingAhead, start: startAhead, takes: patchTakes}
	for _, opt := range opts {
		if err := opt(&p); err != nil {
			return fmt.Errorf("patch: %w", err)
		}
	}
	if p.ahead < p.starting {
		return fmt.Errorf("patch: PatchScheduled: expected at least %s, when NodeMaintenanceStarting is due, got %s", p.starting, p.ahead)
	}
	s.connsMu.Lock()
	defer s.connsMu.Unlock()
	if s.closing {
		return errors.New("patch: the cache is closed")
	}
	if s.patching {
		return errors.New("patch: the cache is being patched already; wait for the event " + string(EventPatched))
	}
	s.patching = true
	t, restart := s.topo.Load(), s.restart
	s.wg.Go(func() {
		defer func() {
			s.connsMu.Lock()
			s.patching = s.patching && restart != s.restart
			s.connsMu.Unlock()
		}()
		for shard := range t.primary {
			for _, n := range append(t.replicas(shard), t.primary[shard]) {
				if !s.patchNode(n, p, restart) {
					return
				}
			}
		}
		s.record(Event{Kind: EventPatched, Detail: "all nodes were patched"})
	})
	return nil
}

// patchNode is the maintenance of one node; false means that the server closes
// or was reset.
func (s *Server) patchNode(n *node, p patch, restart <-chan struct{}) bool {
	start := s.opts.clock.Now().Add(p.ahead)
	s.announce(maintenanceScheduled, n, start)
	if !s.sleep(p.ahead-p.starting, restart) {
		return false
	}
	s.announce(maintenanceStarting, n, start)
	if !s.sleep(p.starting-p.start, restart) {
		return false
	}
	s.announce(maintenanceStart, n, time.Time{})
	if !s.sleep(p.start, restart) {
		return false
	}
	up := make(chan struct{})
	s.managing.Lock()
	t := s.topo.Load()
	if !slices.Contains(t.nodes, n) { // it was scaled away
		s.managing.Unlock()
		return true
	}
	leads := t.leads(n)
	handedOver := leads && s.promote(n.shard)
	s.takeDown([]*node{n}, outage{lasts: p.takes, reason: ReasonPatched, up: func() { close(up) }})
	if leads && s.basic() {
		s.forgetData(n.shard)
	}
	s.managing.Unlock()
	if handedOver {
		s.announce(failoverComplete, n, time.Time{})
	}
	select {
	case <-up:
	case <-restart:
		return false
	case <-s.ctx.Done():
		return false
	}
	s.announce(maintenanceEnded, n, s.opts.clock.Now())
	return true
}

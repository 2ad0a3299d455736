package fakeserver

import (
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
)

// topology says which nodes there are and who serves what. It is immutable;
// every change replaces it, see Server.rearrange.
type topology struct {
	nodes   []*node // in the order in which they were made
	primary []*node // by shard
	// epoch grows with every change, epochs are those of the shards' last
	// changes, as a Redis cluster counts them.
	epoch  int64
	epochs []int64
	slots  [slotCount]uint8 // the shard that serves a slot
	moving map[int]int      // by slot: the shard that it moves to
	// replaced is closed when this is not the topology any more.
	replaced chan struct{}
}

// clone is a topology to be changed.
func (t *topology) clone() *topology {
	next := &topology{
		nodes: slices.Clone(t.nodes), primary: slices.Clone(t.primary), epoch: t.epoch, epochs: slices.Clone(t.epochs), slots: t.slots,
		moving: map[int]int{}, replaced: make(chan struct{}),
	}
	for slot, to := range t.moving {
		next.moving[slot] = to
	}
	return next
}

// bump gives a shard a new epoch, as it has after a change of its own.
func (t *topology) bump(shard int) {
	t.epoch++
	t.epochs[shard] = t.epoch
}

// replicas are the nodes of a shard but its primary.
func (t *topology) replicas(shard int) []*node {
	var list []*node
	for _, n := range t.nodes {
		if n.shard == shard && n != t.primary[shard] {
			list = append(list, n)
		}
	}
	return list
}

// leader is the primary of a node's shard. A node whose shard was scaled away,
// as the connections that it still has may find, is alone.
func (t *topology) leader(n *node) *node {
	if n.shard < len(t.primary) {
		return t.primary[n.shard]
	}
	return n
}

// leads says whether the node is its shard's primary, and part of the cache.
func (t *topology) leads(n *node) bool { return n.shard < len(t.primary) && t.primary[n.shard] == n }

// of are the nodes of a shard, the primary first.
func (t *topology) of(shard int) []*node {
	if shard >= len(t.primary) {
		return nil
	}
	return append([]*node{t.primary[shard]}, t.replicas(shard)...)
}

// ranges are the slots of a shard, each range with its first and last slot.
func (t *topology) ranges(shard int) (ranges [][2]int) {
	start := -1
	for slot := 0; slot <= slotCount; slot++ {
		mine := slot < slotCount && int(t.slots[slot]) == shard
		switch {
		case mine && start < 0:
			start = slot
		case !mine && start >= 0:
			ranges = append(ranges, [2]int{start, slot - 1})
			start = -1
		}
	}
	return ranges
}

// rearrange changes the topology while no command is under way whose node
// depends on it. change gets the one to change. It may lock the keyspace.
func (s *Server) rearrange(change func(t *topology)) {
	s.inFlight.Lock()
	old := s.topo.Load()
	next := old.clone()
	change(next)
	for _, n := range next.nodes {
		n.setFlag(nodeReplica, n != next.primary[n.shard])
	}
	s.topo.Store(next)
	close(old.replaced)
	s.inFlight.Unlock()
	s.settlePorts()
}

// firstTopology makes the nodes that the options ask for, and their ports.
func (s *Server) firstTopology() error {
	shards := max(1, s.opts.shards)
	t := &topology{replaced: make(chan struct{}), epochs: make([]int64, shards)}
	for shard := range shards {
		nodes, err := s.newNodes(t, shard, 1+max(0, s.opts.replicas))
		if err != nil {
			return err
		}
		t.nodes = append(t.nodes, nodes...)
		t.primary = append(t.primary, nodes[0])
		t.bump(shard)
		for _, n := range nodes[1:] {
			n.setFlag(nodeReplica, true)
		}
	}
	t.spread()
	s.topo.Store(t)
	return nil
}

// spread gives every shard its part of the slots, in order.
func (t *topology) spread() {
	for slot := range t.slots {
		t.slots[slot] = uint8(slot * len(t.primary) / slotCount) // fewer than 256 shards
	}
}

// newNodes makes nodes for a shard. Those of a clustered cache have ports of
// their own.
func (s *Server) newNodes(t *topology, shard, n int) ([]*node, error) {
	var nodes []*node
	for range n {
		s.lastNode++
		made := &node{s: s, name: fmt.Sprintf("node-%d", s.lastNode-1), id: randomHex(20), shard: shard, offset: s.freeOffset(t, nodes)}
		if !s.clustered {
			nodes = append(nodes, made)
			continue
		}
		lead := func() *node { return made }
		host, _, _ := net.SplitHostPort(s.opts.addr)
		tlsPort, plainPort := 0, 0
		if s.opts.nodePort > 0 {
			tlsPort, plainPort = s.opts.nodePort+made.offset, s.opts.plainNodePort+made.offset
		}
		var err error
		if made.tls, err = s.listen(net.JoinHostPort(host, strconv.Itoa(tlsPort)), s.tlsServing, lead); err != nil {
			return nil, err
		}
		if s.opts.plainAddr != "" {
			if s.opts.plainNodePort == 0 {
				plainPort = 0
			}
			if made.plain, err = s.listen(net.JoinHostPort(host, strconv.Itoa(plainPort)), nil, lead); err != nil {
				return nil, err
			}
		}
		nodes = append(nodes, made)
	}
	return nodes, nil
}

// freeOffset is the least number that no node has among the ports.
func (s *Server) freeOffset(t *topology, more []*node) int {
	for offset := 0; ; offset++ {
		has := func(n *node) bool { return n.offset == offset }
		if !slices.ContainsFunc(t.nodes, has) && !slices.ContainsFunc(more, has) {
			return offset
		}
	}
}

// leadEndpoint is the node to which the cache's own address leads: the primary,
// or, in a clustered cache, the first one that is up. By which rule the
// service's load balancer chooses among those of a clustered cache has no
// source.
func (s *Server) leadEndpoint() *node {
	t := s.topo.Load()
	for _, n := range t.primary {
		if !n.down.Load() {
			return n
		}
	}
	return t.primary[0]
}

// many says whether the cache has more than one node.
func (s *Server) many() bool { return len(s.topo.Load().nodes) > 1 }

// NodeInfo describes one node of the cache.
type NodeInfo struct {
	Name    string // as in Event.Node
	ID      string // as in CLUSTER NODES: 40 hex digits
	Shard   int
	Primary bool
	// Addr is the node's own TLS address, PlainAddr that without TLS. They are
	// empty where the node has none: only those of a clustered cache do.
	Addr, PlainAddr string
	Down, Loading   bool
}

// Nodes lists the nodes, shard by shard, the primary first.
func (s *Server) Nodes() []NodeInfo {
	t := s.topo.Load()
	var list []NodeInfo
	for shard := range t.primary {
		for _, n := range t.of(shard) {
			info := NodeInfo{Name: n.name, ID: n.id, Shard: shard, Primary: n == t.primary[shard], Down: n.down.Load(), Loading: n.has(nodeLoading)}
			if n.tls != nil {
				info.Addr = n.tls.addr.String()
			}
			if n.plain != nil {
				info.PlainAddr = n.plain.addr.String()
			}
			list = append(list, info)
		}
	}
	return list
}

// WithShards makes a clustered cache of 1 to 16 shards, as the Premium tier
// offers; more than 16 the fake does not have. Each node listens at a port of
// its own on the host of WithAddr, and speaks the protocol of a Redis cluster
// there; the cache's own address leads to one of them. Default: not clustered.
func WithShards(n int) Option {
	return func(o *options) error {
		if n < 1 || n > maxShards {
			return fmt.Errorf("WithShards: expected 1 to %d, got %d", maxShards, n)
		}
		o.shards = n
		return nil
	}
}

// WithReplicasPerPrimary sets how many replicas each primary has, 0 to 3.
// Default 1, as in the tiers Standard and Premium; 0 is the Basic tier, where a
// reboot loses the data. The replica of a cache that is not clustered cannot be
// addressed: it is there to take over.
func WithReplicasPerPrimary(n int) Option {
	return func(o *options) error {
		if n < 0 || n > 3 {
			return fmt.Errorf("WithReplicasPerPrimary: expected 0 to 3, got %d", n)
		}
		o.replicas = n
		return nil
	}
}

// WithNodePorts sets the ports of the first node of a clustered cache; each
// further one has the next numbers. The service uses 15000 for TLS and 13000
// without ("TLS-enabled caches use ports in the 150XX range, while non-TLS
// caches use ports in the 130XX range", azure-docs cache-tls-configuration.md),
// Azure Managed Redis 85XX. Default 0: any free port.
func WithNodePorts(tls, plain int) Option {
	return func(o *options) error {
		for _, p := range []int{tls, plain} {
			if p < 0 || p > 65535-64 {
				return fmt.Errorf("WithNodePorts: expected a port with room for more after it, got %d", p)
			}
		}
		o.nodePort, o.plainNodePort = tls, plain
		return nil
	}
}

// WithNodeHost sets by which host the nodes of a clustered cache are named in
// MOVED, ASK and CLUSTER: a name or another IP address. Default the IP address
// that they listen on, as the service does ("Lettuce Best Practices.md" of
// Azure/AzureCacheForRedis).
func WithNodeHost(host string) Option {
	return func(o *options) error {
		if host == "" || strings.ContainsAny(host, " ,@\r\n") {
			return fmt.Errorf("WithNodeHost: expected a host name or IP address, got %q", host)
		}
		o.nodeHost = host
		return nil
	}
}

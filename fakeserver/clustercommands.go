package fakeserver

import (
	"fmt"
	"net"
	"strconv"
	"strings"

	"github.com/entracache/entracache/fakeserver/internal/keyspace"
)

// busPort is what a Redis cluster adds to a node's port for its own talk.
const busPort = 10000

// cmdCluster is CLUSTER. Those of its subcommands that change a cluster the
// services block; here the cluster is changed by the methods of Server.
func cmdCluster(q *request) {
	if !q.s.clustered {
		q.err("ERR This instance has cluster support disabled")
		return
	}
	switch {
	case q.is("help", 2, 2):
		q.help("COUNT-FAILURE-REPORTS <node-id> -- How many nodes say that the node is down.", "COUNTKEYSINSLOT <slot> -- How many keys are in the slot.",
			"GETKEYSINSLOT <slot> <count> -- Keys in the slot.", "INFO -- The state of the cluster.", "KEYSLOT <key> -- The slot of the key.",
			"7.0:LINKS -- The connections to the other nodes.", "MYID -- The ID of this node.", "7.2:MYSHARDID -- The ID of this node's shard.",
			"NODES -- A line for every node.", "REPLICAS <node-id> -- The lines of a primary's replicas.", "7.0:SHARDS -- The shards with their nodes.",
			"SLOTS -- The ranges of slots with the nodes that serve them.")
	case q.is("info", 2, 2):
		q.text(q.clusterInfo())
	case q.is("myid", 2, 2):
		q.bulk(q.c.node.id)
	case q.is("myshardid", 2, 2) && q.since("7.2"):
		q.bulk(q.s.shardID(q.c.node.shard))
	case q.is("nodes", 2, 2):
		t := q.s.topo.Load()
		var b strings.Builder
		for _, n := range t.nodes {
			b.WriteString(q.nodeLine(t, n) + "\n")
		}
		q.text(b.String())
	case q.is("slots", 2, 2):
		q.clusterSlots()
	case q.is("shards", 2, 2) && q.since("7.0"):
		q.clusterShards()
	case q.is("links", 2, 2) && q.since("7.0"):
		q.clusterLinks()
	case q.is("keyslot", 3, 3):
		q.integer(int64(keySlot(q.args[2])))
	case q.is("countkeysinslot", 3, 3):
		if slot, ok := q.number(q.args[2], notAnInteger); ok {
			if slot < 0 || slot >= slotCount {
				q.err("ERR Invalid slot")
				return
			}
			q.integer(int64(len(q.keysInSlot(int(slot)))))
		}
	case q.is("getkeysinslot", 4, 4):
		slot, ok := q.number(q.args[2], notAnInteger)
		if !ok {
			return
		}
		most, ok := q.number(q.args[3], notAnInteger)
		if !ok {
			return
		}
		if slot < 0 || slot >= slotCount || most < 0 {
			q.err("ERR Invalid slot or number of keys")
			return
		}
		keys := q.keysInSlot(int(slot))
		q.strings(keys[:min(int64(len(keys)), most)])
	case q.is("replicas", 3, 3), q.is("slaves", 3, 3):
		t := q.s.topo.Load()
		n := q.clusterNode(t)
		switch {
		case n == nil:
		case t.primary[n.shard] != n:
			q.err("ERR The specified node is not a master")
		default:
			var lines []string
			for _, r := range t.replicas(n.shard) {
				lines = append(lines, q.nodeLine(t, r))
			}
			q.strings(lines)
		}
	case q.is("count-failure-reports", 3, 3):
		if q.clusterNode(q.s.topo.Load()) != nil {
			q.integer(0)
		}
	case clusterWrites[strings.ToLower(string(q.args[1]))]:
		cmdNotEmulated(q)
	default:
		q.unknownSubcommand()
	}
}

// clusterNode is the node that an argument names; it replies if there is none.
func (q *request) clusterNode(t *topology) *node {
	for _, n := range t.nodes {
		if n.id == string(q.args[2]) {
			return n
		}
	}
	q.err("ERR Unknown node " + clip(q.args[2], 128))
	return nil
}

// shardID is that of CLUSTER MYSHARDID; nothing else has it.
func (s *Server) shardID(shard int) string {
	return fmt.Sprintf("%s%04x", s.runID[:36], shard)
}

func (q *request) clusterInfo() string {
	t := q.s.topo.Load()
	failed, size := 0, 0
	var epoch int64
	if shard := q.c.node.shard; shard < len(t.epochs) {
		epoch = t.epochs[shard]
	}
	for shard, n := range t.primary {
		slots := 0
		for _, r := range t.ranges(shard) {
			slots += r[1] - r[0] + 1
		}
		if slots > 0 {
			size++
		}
		if n.down.Load() {
			failed += slots
		}
	}
	lines := []string{
		// "One shard might be down while the others remain available"
		// (azure-docs cache-failover.md): the cluster does not ask for full
		// coverage.
		"cluster_state:ok", fmt.Sprintf("cluster_slots_assigned:%d", slotCount), fmt.Sprintf("cluster_slots_ok:%d", slotCount-failed),
		"cluster_slots_pfail:0", fmt.Sprintf("cluster_slots_fail:%d", failed), fmt.Sprintf("cluster_known_nodes:%d", len(t.nodes)),
		fmt.Sprintf("cluster_size:%d", size), fmt.Sprintf("cluster_current_epoch:%d", t.epoch), fmt.Sprintf("cluster_my_epoch:%d", epoch),
		"cluster_stats_messages_sent:0", "cluster_stats_messages_received:0", "7.0:total_cluster_links_buffer_limit_exceeded:0",
	}
	return strings.Join(q.upToLevel(lines), "\r\n") + "\r\n"
}

// nodeLine describes a node as CLUSTER NODES does.
func (q *request) nodeLine(t *topology, n *node) string {
	host, ip, port := q.c.addressOf(n)
	at := fmt.Sprintf("%s:%d@%d", host, port, n.tls.addr.Port+busPort)
	if host != ip && q.since("7.0") {
		at = fmt.Sprintf("%s:%d@%d,%s", ip, port, n.tls.addr.Port+busPort, host)
	}
	var flags []string
	if n == q.c.node {
		flags = append(flags, "myself")
	}
	primary := "-"
	if leader := t.primary[n.shard]; leader == n {
		flags = append(flags, "master")
	} else {
		flags = append(flags, "slave")
		primary = leader.id
	}
	link := "connected"
	if n.down.Load() {
		flags = append(flags, "fail")
		link = "disconnected"
	}
	pong := q.s.opts.clock.Now().UnixMilli()
	if n == q.c.node {
		pong = 0
	}
	line := fmt.Sprintf("%s %s %s %s 0 %d %d %s", n.id, at, strings.Join(flags, ","), primary, pong, t.epochs[n.shard], link)
	if t.primary[n.shard] != n {
		return line
	}
	for _, r := range t.ranges(n.shard) {
		line += " " + strconv.Itoa(r[0])
		if r[1] > r[0] {
			line += "-" + strconv.Itoa(r[1])
		}
	}
	if n != q.c.node {
		return line
	}
	for slot := range slotCount {
		to, moving := t.moving[slot]
		switch {
		case !moving:
		case int(t.slots[slot]) == n.shard:
			line += fmt.Sprintf(" [%d->-%s]", slot, t.primary[to].id)
		case to == n.shard:
			line += fmt.Sprintf(" [%d-<-%s]", slot, t.primary[t.slots[slot]].id)
		}
	}
	return line
}

// clusterSlots is CLUSTER SLOTS: up to 6.2 shard by shard, since 7.0 in the
// order of the slots.
func (q *request) clusterSlots() {
	t := q.s.topo.Load()
	type part struct{ shard, from, to int }
	var parts []part
	if q.since("7.0") {
		for slot := 0; slot < slotCount; {
			from := slot
			for slot < slotCount && t.slots[slot] == t.slots[from] {
				slot++
			}
			parts = append(parts, part{int(t.slots[from]), from, slot - 1})
		}
	} else {
		for shard := range t.primary {
			for _, r := range t.ranges(shard) {
				parts = append(parts, part{shard, r[0], r[1]})
			}
		}
	}
	q.array(len(parts))
	for _, p := range parts {
		nodes := []*node{t.primary[p.shard]}
		for _, r := range t.replicas(p.shard) {
			if !r.down.Load() {
				nodes = append(nodes, r)
			}
		}
		q.array(2 + len(nodes))
		q.integer(int64(p.from))
		q.integer(int64(p.to))
		for _, n := range nodes {
			host, ip, port := q.c.addressOf(n)
			fields := 3
			if q.since("7.0") {
				fields = 4
			}
			q.array(fields)
			q.bulk(host)
			q.integer(int64(port))
			q.bulk(n.id)
			switch {
			case fields == 3:
			case host != ip:
				q.mapHeader(1)
				q.bulk("ip")
				q.bulk(ip)
			default:
				q.mapHeader(0)
			}
		}
	}
}

// clusterShards is CLUSTER SHARDS.
func (q *request) clusterShards() {
	t := q.s.topo.Load()
	q.array(len(t.primary))
	for shard := range t.primary {
		q.mapHeader(2)
		q.bulk("slots")
		ranges := t.ranges(shard)
		q.array(2 * len(ranges))
		for _, r := range ranges {
			q.integer(int64(r[0]))
			q.integer(int64(r[1]))
		}
		q.bulk("nodes")
		nodes := t.of(shard)
		q.array(len(nodes))
		for _, n := range nodes {
			host, ip, _ := q.c.addressOf(n)
			named := host != ip && net.ParseIP(host) == nil
			fields := 7
			if named {
				fields++
			}
			if n.plain != nil {
				fields++
			}
			q.mapHeader(fields)
			q.bulk("id")
			q.bulk(n.id)
			if n.plain != nil {
				q.bulk("port")
				q.integer(int64(n.plain.addr.Port))
			}
			q.bulk("tls-port")
			q.integer(int64(n.tls.addr.Port))
			q.bulk("ip")
			q.bulk(ip)
			q.bulk("endpoint")
			q.bulk(host)
			if named {
				q.bulk("hostname")
				q.bulk(host)
			}
			q.bulk("role")
			if n == t.primary[shard] {
				q.bulk("master")
			} else {
				q.bulk("replica")
			}
			q.bulk("replication-offset")
			q.integer(0)
			q.bulk("health")
			switch {
			case n.down.Load():
				q.bulk("fail")
			case n.has(nodeLoading):
				q.bulk("loading")
			default:
				q.bulk("online")
			}
		}
	}
}

// clusterLinks is CLUSTER LINKS: one to and one from every other node.
func (q *request) clusterLinks() {
	t := q.s.topo.Load()
	q.array(2 * (len(t.nodes) - 1))
	for _, n := range t.nodes {
		if n == q.c.node {
			continue
		}
		for _, direction := range []string{"to", "from"} {
			q.mapHeader(6)
			q.bulk("direction")
			q.bulk(direction)
			q.bulk("node")
			q.bulk(n.id)
			q.bulk("create-time")
			q.integer(q.s.started.UnixMilli())
			q.bulk("events")
			q.bulk("r")
			for _, size := range []string{"send-buffer-allocated", "send-buffer-used"} {
				q.bulk(size)
				q.integer(0)
			}
		}
	}
}

// keysInSlot lists the keys of the node's shard that are in a slot.
func (q *request) keysInSlot(slot int) (keys []string) {
	q.withKeyspace(func(tx *keyspace.Tx) {
		for _, key := range q.s.keysOf(tx, q.c.node.shard) {
			if keySlot(key) == slot {
				keys = append(keys, string(key))
			}
		}
	})
	return keys
}

// cmdAsking is ASKING: the next command may use keys of a slot that is on its
// way to this node.
func cmdAsking(q *request) { q.clusterFlag(&q.c.asking, true) }

// cmdReadOnly is READONLY: replicas may answer what only reads.
func cmdReadOnly(q *request) { q.clusterFlag(&q.c.readsReplica, true) }

func cmdReadWrite(q *request) {
	if !q.s.clustered && !q.since("7.0") {
		q.simple("OK") // 6.0 does not ask whether there is a cluster
		return
	}
	q.clusterFlag(&q.c.readsReplica, false)
}

func (q *request) clusterFlag(flag *bool, on bool) {
	if !q.s.clustered {
		q.err("ERR This instance has cluster support disabled")
		return
	}
	*flag = on
	q.simple("OK")
}

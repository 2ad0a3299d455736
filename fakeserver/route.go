package fakeserver

import (
	"bytes"
	"fmt"
	"net"
	"strings"

	"github.com/entracache/entracache/fakeserver/internal/command"
	"github.com/entracache/entracache/fakeserver/internal/keyspace"
)

// In a clustered cache a node serves the keys of its shard's slots and sends
// those who ask for others to the node that does. The order of the checks and
// the texts are those of getNodeByQuery in cluster.c of Redis 6.0 and 7.0.
//
// All shards' data is in one keyspace, each in a database of its own: so moving
// a key from one to another is the engine's MOVE, and nothing is lost of any
// type.

const (
	crossSlotText = "CROSSSLOT Keys in request don't hash to the same slot"
	tryAgainText  = "TRYAGAIN Multiple keys request during rehashing of slot"
	readOnlyText  = "READONLY You can't write against a read only replica."
	loadingText   = "LOADING Redis is loading the dataset in memory"
)

// routed says whether the connection's node serves the command's keys;
// otherwise it says where they are. While the command is under way after that,
// nothing changes in that: see connection.landed.
func (q *request) routed() bool {
	c, exec := q.c, q.cmd.Name == "exec"
	if !q.cmd.HasKeys() && !q.cmd.Write && !exec && !shardChannels[q.cmd.Name] {
		return true
	}
	if !c.inFlight {
		q.s.inFlight.RLock()
		c.inFlight = true
	}
	text := q.redirection()
	if text == "" {
		return true
	}
	switch {
	case c.multi == nil:
	case exec:
		q.endTransaction()
		q.unwatch()
	default:
		c.multi.spoiled = true
	}
	q.err(text)
	return false
}

// landed ends what routed began: the topology may change again.
func (c *connection) landed() {
	if c.inFlight {
		c.inFlight = false
		c.s.inFlight.RUnlock()
	}
}

// asked ends the effect of ASKING, which is for the next command only, or for
// the transaction that begins with it.
func (q *request) asked() {
	if q.c.asking && q.c.multi == nil && (q.cmd == nil || q.cmd.Name != "asking") {
		q.c.asking = false
	}
}

// shardChannels are the commands whose channels belong to slots.
var shardChannels = map[string]bool{"ssubscribe": true, "sunsubscribe": true, "spublish": true}

// slotKeys are the arguments of a command that belong to slots.
func slotKeys(cmd *command.Command, args [][]byte) [][]byte {
	switch cmd.Name {
	case "spublish":
		return args[1:2]
	case "ssubscribe", "sunsubscribe":
		return args[1:]
	}
	if at, _ := cmd.OnlyKey(args); at > 0 {
		return args[at : at+1]
	}
	return cmd.Keys(args)
}

// keySet is what getNodeByQuery wants to know of a command's keys, or of those
// of all commands of a transaction.
type keySet struct {
	slot     int // -1: there are no keys
	first    []byte
	several  bool // different keys
	channels bool
	all      [][]byte
}

// add takes in a command's keys; false means that they are of several slots.
func (k *keySet) add(cmd *command.Command, args [][]byte) bool {
	k.channels = k.channels || shardChannels[cmd.Name]
	for _, key := range slotKeys(cmd, args) {
		slot := keySlot(key)
		switch {
		case k.slot < 0:
			k.slot, k.first = slot, key
		case bytes.Equal(key, k.first):
		case slot != k.slot:
			return false
		default:
			k.several = true
		}
		k.all = append(k.all, key)
	}
	return true
}

// redirection is the error that says where the command's keys are, empty if
// they are here.
func (q *request) redirection() string {
	keys := keySet{slot: -1}
	// Whether the command only reads is asked up to 6.2, whether it writes
	// since: scripts are neither.
	writes, reads := q.cmd.Write, q.cmd.HasFlag("readonly") || strings.HasPrefix(q.cmd.Name, "eval")
	if q.cmd.Name == "exec" && q.c.multi != nil {
		reads = true
		for _, entry := range q.c.multi.queued {
			writes = writes || entry.cmd.Write
			reads = reads && entry.cmd.HasFlag("readonly")
			if !keys.add(entry.cmd, entry.args) {
				return crossSlotText
			}
		}
	} else if !keys.add(q.cmd, q.args) {
		return crossSlotText
	}
	if keys.slot < 0 {
		return ""
	}
	return q.where(&keys, reads && !q.since("7.0") || !writes && q.since("7.0"))
}

// where is redirection for known keys; harmless says that a replica may serve
// the command to a connection that asked for that with READONLY.
func (q *request) where(keys *keySet, harmless bool) string {
	t, me := q.s.topo.Load(), q.c.node
	owner := int(t.slots[keys.slot])
	to, moving := t.moving[keys.slot]
	leads := t.leads(me)
	migrating, importing := moving && leads && owner == me.shard, moving && leads && to == me.shard
	missing, existing := 0, 0
	if (migrating || importing) && !keys.channels {
		for _, key := range keys.all {
			if bytes.Equal(q.s.keyspace.Do(nil, q.s.engineCall(q.c.session, "exists", key)), []byte(":1\r\n")) {
				existing++
			} else {
				missing++
			}
		}
	}
	switch {
	case migrating && missing > 0 && existing > 0 && q.since("7.0"):
		return tryAgainText
	case migrating && missing > 0:
		return q.redirect("ASK", keys.slot, t.primary[to])
	case importing && (q.c.asking || q.cmd.HasFlag("asking")):
		if keys.several && missing > 0 {
			return tryAgainText
		}
		return ""
	case (q.c.readsReplica || keys.channels) && harmless && owner == me.shard:
		return ""
	case t.primary[owner] != me:
		return q.redirect("MOVED", keys.slot, t.primary[owner])
	}
	return ""
}

func (q *request) redirect(word string, slot int, to *node) string {
	host, _, port := q.c.addressOf(to)
	return fmt.Sprintf("%s %d %s:%d", word, slot, host, port)
}

// addressOf is how a node is named to a connection: by the host that clients
// are to use, its IP address, and the port that is with TLS or without, as the
// connection is.
func (c *connection) addressOf(n *node) (host, ip string, port int) {
	p := n.tls
	if c.plain && n.plain != nil {
		p = n.plain
	}
	ip = p.addr.IP.String()
	if p.addr.IP.IsUnspecified() {
		ip, _, _ = net.SplitHostPort(c.local)
	}
	host = c.s.opts.nodeHost
	if host == "" {
		host = ip
	} else if net.ParseIP(host) != nil {
		ip = host
	}
	return host, ip, p.addr.Port
}

// impaired answers a command that the state of the connection's node forbids.
func (q *request) impaired() (text string) {
	n := q.c.node
	if !n.has(nodeReplica) {
		return ""
	}
	writes := q.cmd.Write
	if q.cmd.Name == "exec" && q.c.multi != nil {
		for _, entry := range q.c.multi.queued {
			writes = writes || entry.cmd.Write
		}
	}
	if writes {
		return readOnlyText
	}
	return ""
}

// loads says whether the command must wait for the end of the node's loading.
func (q *request) loads() bool {
	if !q.c.node.has(nodeLoading) {
		return false
	}
	if q.cmd.Name == "exec" && q.c.multi != nil {
		for _, entry := range q.c.multi.queued {
			if !entry.cmd.HasFlag("loading") {
				return true
			}
		}
	}
	return !q.cmd.HasFlag("loading")
}

// scriptRefusal is why a script may not make a call in a clustered cache. slot
// is that of the keys that it has used so far, -1 if none.
func (q *request) scriptRefusal(cmd *command.Command, args [][]byte, slot *int, crossing bool) string {
	keys := keySet{slot: -1}
	inner := request{s: q.s, c: q.c, cmd: cmd, args: args}
	const notLocal = "cript attempted to access a non local key in a cluster node"
	crossed := !keys.add(cmd, args)
	if keys.slot < 0 {
		return ""
	}
	text := crossSlotText
	if !crossed {
		text = inner.where(&keys, !cmd.Write)
	}
	switch {
	case text != "" && !q.since("7.0"):
		return "Lua s" + notLocal
	case text == crossSlotText && q.since("7.4"):
		return "ERR Command '" + cmd.Name + "' in script attempted to access keys that don't hash to the same slot"
	case text == tryAgainText && q.since("7.4"):
		return "ERR Unable to execute command '" + cmd.Name + "' in script because undeclared keys were accessed during rehashing of the slot"
	case text != "":
		return "ERR S" + notLocal
	case !q.since("7.0") || crossing:
		return ""
	case *slot < 0:
		*slot = keys.slot
	case *slot != keys.slot:
		return "ERR Script attempted to access keys that do not hash to the same slot"
	}
	return ""
}

// inShard fits a call of the data engine to a clustered cache, where a shard is
// one of the engine's databases and for clients there is none but 0. false means
// that it is answered.
func (q *request) inShard(call *keyspace.Call) bool {
	switch call.Command.Name {
	case "move":
		q.err("ERR MOVE is not allowed in cluster mode")
		return false
	case "flushall":
		call.Command = q.s.table.Lookup([]byte("flushdb"))
		call.Args = append([][]byte{[]byte("flushdb")}, call.Args[1:]...)
	case "copy":
		for i := 3; i+1 < len(call.Args); i++ {
			if !equalFold(call.Args[i], "db") {
				continue
			}
			n, ok := parseNumber(call.Args[i+1])
			if !ok {
				return true // the engine says what is wrong
			}
			if n != 0 {
				q.err("ERR Copying to another database is not allowed in cluster mode")
				return false
			}
			call.Args = append(call.Args[:i:i], call.Args[i+2:]...)
			return true
		}
	}
	return true
}

// shownDB is the number of the connection's database as clients know it.
func (q *request) shownDB() int {
	if q.s.clustered {
		return 0
	}
	return q.session().DB()
}

// blockedElsewhere is the error for a connection that waits for keys which its
// node does not serve any more.
func (q *request) blockedElsewhere(keys [][]byte) string {
	if q.c.node.has(nodeReplica) && q.cmd.Write {
		if q.s.clustered && len(keys) > 0 {
			return q.redirect("MOVED", keySlot(keys[0]), q.s.topo.Load().leader(q.c.node))
		}
		return "UNBLOCKED force unblock from blocking operation, instance state changed (master -> replica?)"
	}
	if !q.s.clustered || len(keys) == 0 {
		return ""
	}
	t, slot := q.s.topo.Load(), keySlot(keys[0])
	owner := int(t.slots[slot])
	if to, moving := t.moving[slot]; owner == q.c.node.shard || moving && to == q.c.node.shard {
		return ""
	}
	return q.redirect("MOVED", slot, t.primary[owner])
}

// connections lists the node's open connections, oldest first.
func (n *node) connections() (list []*connection) {
	for _, c := range n.s.connections() {
		if c.node == n {
			list = append(list, c)
		}
	}
	return list
}

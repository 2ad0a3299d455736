package fakeserver

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/entracache/entracache/fakeserver/internal/keyspace"
)

// own are the commands that the data engine does not run, or not as Redis does:
// those about the connection, the server and its state, and those that wait. A
// container command is here once for all its subcommands.
var own = map[string]handler{
	"auth":  cmdAuth,
	"hello": cmdHello,
	"reset": cmdReset,

	"ping":   cmdPing,
	"echo":   cmdEcho,
	"select": cmdSelect,
	"swapdb": cmdSwapDB,
	"client": cmdClient,

	"acl":       cmdACL,
	"command":   cmdCommand,
	"info":      cmdInfo,
	"time":      cmdTime,
	"role":      cmdRole,
	"lastsave":  cmdLastSave,
	"lolwut":    cmdLolwut,
	"config":    cmdConfig,
	"monitor":   cmdMonitor,
	"slowlog":   cmdSlowlog,
	"latency":   cmdLatency,
	"module":    cmdModule,
	"debug":     cmdDebug,
	"object":    cmdObject,
	"memory":    cmdMemory,
	"wait":      cmdWait,
	"waitaof":   cmdWaitAOF,
	"cluster":   cmdCluster,
	"asking":    cmdAsking,
	"readonly":  cmdReadOnly,
	"readwrite": cmdReadWrite,

	"post":  cmdHTTP,
	"host:": cmdHTTP,

	"multi":   cmdMulti,
	"exec":    cmdExec,
	"discard": cmdDiscard,
	"watch":   cmdWatch,
	"unwatch": cmdUnwatch,

	"publish":      cmdPublish,
	"subscribe":    cmdSubscribe,
	"psubscribe":   cmdPSubscribe,
	"unsubscribe":  cmdUnsubscribe,
	"punsubscribe": cmdPUnsubscribe,
	"spublish":     cmdSPublish,
	"ssubscribe":   cmdSSubscribe,
	"sunsubscribe": cmdSUnsubscribe,
	"pubsub":       cmdPubSub,

	"eval":       cmdEval,
	"evalsha":    cmdEval,
	"eval_ro":    cmdEval,
	"evalsha_ro": cmdEval,
	"script":     cmdScript,
	"function":   cmdFunction,
	"fcall":      cmdFCall,
	"fcall_ro":   cmdFCall,

	"set":       cmdSet,
	"getex":     checked(checkGetEx),
	"setex":     checked(checkSetEx),
	"psetex":    checked(checkSetEx),
	"expire":    checked(checkExpire),
	"pexpire":   checked(checkExpire),
	"expireat":  checked(checkExpire),
	"pexpireat": checked(checkExpire),
	"move":      checked(checkMove),
	"flushall":  checked(checkFlush),
	"flushdb":   checked(checkFlush),
	"copy":      checked(checkCopy),
	"bitcount":  cmdBitRange,
	"bitpos":    cmdBitRange,
	"decrby":    checked(checkDecrBy),
	"mset":      checked(checkMSet),
	"msetnx":    checked(checkMSet),
	"setrange":  cmdSetRange,
	"type":      cmdType,
	"lpop":      checked(checkPopCount),
	"rpop":      checked(checkPopCount),
	"spop":      asSet(checked(checkPopCount)),
	"sinter":    asSet(cmdData),
	"sunion":    asSet(cmdData),
	"hincrby":   checked(checkHIncr),
	"zincrby":   checked(checkZIncrBy),
	"zunion":    paired(checked(checkZStore)),
	"zinter":    paired(checked(checkZStore)),

	"hexpire":          checked(checkHExpire),
	"hpexpire":         checked(checkHExpire),
	"hexpireat":        checked(checkHExpire),
	"hpexpireat":       checked(checkHExpire),
	"zscan":            cmdZScan,
	"zrange":           paired(cmdData),
	"zrevrange":        paired(cmdData),
	"zrangebyscore":    paired(cmdData),
	"zrevrangebyscore": paired(cmdData),
	"zrandmember":      paired(cmdData),
	"hrandfield":       paired(cmdData),
	"zpopmin":          paired(cmdData),
	"zpopmax":          paired(cmdData),
	"geoadd":           cmdGeoAdd,

	"incrbyfloat":  checked(checkIncrByFloat),
	"hincrbyfloat": checked(checkHIncr),
	"lmove":        checked(checkSides),
	"lpos":         checked(checkLPos),

	"del":    cmdDel,
	"unlink": cmdDel,
	"zadd":   cmdZAdd,

	"bitop":       cmdStore,
	"sinterstore": cmdStore,
	"sunionstore": cmdStore,
	"sdiffstore":  cmdStore,
	"zunionstore": cmdStore,
	"zinterstore": cmdStore,

	"zdiff":          cmdZDiff,
	"zdiffstore":     cmdZDiff,
	"zintercard":     cmdZInterCard,
	"zrangestore":    cmdZRangeStore,
	"geosearchstore": cmdGeoSearchStore,

	"sort":        cmdSort,
	"sort_ro":     cmdSort,
	"bitfield":    cmdBitfield,
	"bitfield_ro": cmdBitfield,
	"substr":      cmdSubstr,
	"stralgo":     cmdStralgo,
	"lcs":         cmdLCS,
	"geohash":     cmdGeohash,
	"xsetid":      cmdXSetID,
	"xinfo":       cmdXInfo,
	"xgroup":      checked(checkXGroup),
	"xtrim":       checked(checkXTrim),

	"blpop":      popping("lpop"),
	"brpop":      popping("rpop"),
	"bzpopmin":   popping("zpopmin"),
	"bzpopmax":   popping("zpopmax"),
	"brpoplpush": moving("rpoplpush"),
	"blmove":     moving("lmove"),
	"lmpop":      cmdMPop,
	"zmpop":      cmdMPop,
	"blmpop":     cmdMPop,
	"bzmpop":     cmdMPop,
	"xread":      cmdXRead,
	"xreadgroup": cmdXRead,
}

// commandHandlers gives every command of the level its handler: ours, nil for
// the data engine's, or one that says that the fake does not have it.
func (s *Server) commandHandlers() []handler {
	handlers := make([]handler, len(s.table.Every()))
	for _, cmd := range s.table.Every() {
		container, _, _ := strings.Cut(cmd.Name, "|")
		if h := own[container]; h != nil {
			handlers[cmd.ID] = h
		} else if !s.keyspace.Knows(container) {
			handlers[cmd.ID] = cmdNotEmulated
		}
	}
	return handlers
}

// cmdData is a command of the data engine.
func cmdData(q *request) { q.data(nil) }

func cmdNotEmulated(q *request) {
	q.err("ERR entracache does not emulate the command '" + q.cmd.Name + "'")
}

func upper(s string) string { return strings.ToUpper(s) }

func cmdPing(q *request) {
	switch {
	case len(q.args) > 2:
		q.err("ERR wrong number of arguments for 'ping' command")
	case q.c.subscriptions() > 0 && q.c.protocol() == 2:
		q.array(2)
		q.bulk("pong")
		if len(q.args) == 2 {
			q.bulk(string(q.args[1]))
		} else {
			q.bulk("")
		}
	case len(q.args) == 2:
		q.bulk(string(q.args[1]))
	default:
		q.simple("PONG")
	}
}

func cmdEcho(q *request) { q.bulk(string(q.args[1])) }

func cmdSelect(q *request) {
	text := notAnInteger
	if !q.since("6.2") {
		text = "ERR invalid DB index"
	}
	n, ok := q.number(q.args[1], text)
	switch {
	case !ok:
		return
	case n != int64(int32(n)) && q.since("6.2"): // that is what is asked
		q.err(outOfInt32)
		return
	}
	db := int(n)
	if q.s.clustered {
		// "Redis cluster only supports use of database 0 … and the Select
		// command isn't allowed" (azure-docs cache-configure.md).
		if db != 0 {
			q.err("ERR SELECT is not allowed in cluster mode")
			return
		}
		q.simple("OK")
		return
	}
	if q.tx != nil {
		ok = q.tx.Select(q.session(), db)
	} else {
		ok = q.s.keyspace.Select(q.session(), db)
	}
	if !ok {
		q.err("ERR DB index is out of range")
		return
	}
	if !q.inScript {
		q.c.status.update(func(st *status) { st.db = db })
	}
	q.simple("OK")
}

func cmdSwapDB(q *request) {
	if q.s.clustered {
		q.err("ERR SWAPDB is not allowed in cluster mode")
		return
	}
	outOfRange := false
	for i, which := range []string{"first", "second"} {
		text := "ERR invalid " + which + " DB index"
		n, ok := q.number(q.args[i+1], text)
		if !ok {
			return
		}
		if n != int64(int32(n)) && q.since("6.2") { // that is what is asked
			q.err(text)
			return
		}
		outOfRange = outOfRange || n < 0 || n >= keyspace.Databases
	}
	if outOfRange {
		q.err("ERR DB index is out of range")
		return
	}
	q.data(nil)
}

func cmdTime(q *request) {
	now := q.s.opts.clock.Now()
	q.strings([]string{strconv.FormatInt(now.Unix(), 10), strconv.Itoa(now.Nanosecond() / 1000)})
}

// cmdRole is ROLE. There is no replication that could lag: offsets are 0.
func cmdRole(q *request) {
	t, n := q.s.topo.Load(), q.c.node
	if leader := t.leader(n); leader != n {
		ip, port := q.c.replicationAddress(leader)
		q.array(5)
		q.bulk("slave")
		q.bulk(ip)
		q.integer(int64(port))
		if leader.down.Load() {
			q.bulk("connect")
		} else {
			q.bulk("connected")
		}
		q.integer(0)
		return
	}
	replicas := q.s.connectedReplicas(n.shard)
	q.array(3)
	q.bulk("master")
	q.integer(0)
	q.array(len(replicas))
	for _, r := range replicas {
		ip, port := q.c.replicationAddress(r)
		q.strings([]string{ip, strconv.Itoa(port), "0"})
	}
}

// connectedReplicas are those of a shard that are up.
func (s *Server) connectedReplicas(shard int) (up []*node) {
	for _, r := range s.topo.Load().replicas(shard) {
		if !r.down.Load() {
			up = append(up, r)
		}
	}
	return up
}

// replicationAddress is where a node is for the others. Nodes that cannot be
// addressed are shown with ports as the service's have.
func (c *connection) replicationAddress(n *node) (ip string, port int) {
	if n.tls == nil {
		return "127.0.0.1", 15000 + n.offset
	}
	_, ip, port = c.addressOf(n)
	return ip, port
}

// cmdLastSave is LASTSAVE. Nothing is ever saved; Redis, too, begins with the
// time of its start.
func cmdLastSave(q *request) { q.integer(q.s.started.Unix()) }

func cmdLolwut(q *request) { q.text("Redis ver. " + q.s.prof.version + "\n") }

// cmdModule is MODULE: there are none, and none can be loaded.
func cmdModule(q *request) {
	switch {
	case q.is("list", 2, 2):
		q.array(0)
	case q.is("load", 3, -1), q.is("loadex", 3, -1) && q.since("7.0"), q.is("unload", 3, 3):
		cmdNotEmulated(q)
	default:
		q.unknownSubcommand()
	}
}

// cmdLatency is LATENCY. No event is ever recorded, as in a Redis whose
// latency-monitor-threshold has its default.
func cmdLatency(q *request) {
	switch {
	case q.is("help", 2, 2):
		q.help("DOCTOR -- What to do about latency.", "GRAPH <event> -- A graph of an event's samples.", "HISTORY <event> -- The samples of an event.",
			"LATEST -- The latest sample of every event.", "RESET [<event> ...] -- Forget samples.",
			"7.0:HISTOGRAM [<command> ...] -- How long commands took.")
	case q.is("history", 3, 3), q.is("latest", 2, 2):
		q.array(0)
	case q.is("reset", 2, -1):
		q.integer(0)
	case q.is("graph", 3, 3):
		q.err(fmt.Sprintf("ERR No samples available for event '%s'", clip(q.args[2], 128)))
	case q.is("doctor", 2, 2):
		q.text("Latency is not monitored: set latency-monitor-threshold, with CONFIG SET, to do so.\n")
	case q.is("histogram", 2, -1) && q.since("7.0"):
		q.mapHeader(0)
	default:
		q.unknownSubcommand()
	}
}

package fakeserver

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// cmdClient is CLIENT. What came after the engine's level answers as an unknown
// subcommand.
func cmdClient(q *request) {
	switch {
	case q.is("help", 2, 2):
		q.help("CACHING YES|NO -- Track, or do not track, the keys of the next command.",
			"GETNAME -- The name of this connection.",
			"GETREDIR -- Whom invalidations are sent to: a connection's ID, 0 for this one, -1 without tracking.",
			"ID -- The number of this connection.",
			"6.2:INFO -- CLIENT LIST's line for this connection.",
			"KILL <ip:port> | <filter> <value> ... -- Close the connections that match; filters are ID, TYPE, USER, ADDR and SKIPME, and LADDR and MAXAGE of later levels.",
			"LIST [TYPE <type>] -- A line for every connection, or for those of a type.",
			"7.0:NO-EVICT ON|OFF -- Keep this connection when memory is short.",
			"7.2:NO-TOUCH ON|OFF -- Do not count this connection's accesses.",
			"PAUSE <milliseconds> -- Hold up commands.",
			"REPLY ON|OFF|SKIP -- Send replies to this connection or not.",
			"7.2:SETINFO LIB-NAME|LIB-VER <value> -- Tell the library's name or version.",
			"SETNAME <name> -- Give this connection a name.",
			"TRACKING ON|OFF [REDIRECT <id>] [BCAST] [PREFIX <prefix>] [OPTIN] [OPTOUT] [NOLOOP] -- Tell this connection when keys change.",
			"6.2:TRACKINGINFO -- The state of tracking.",
			"UNBLOCK <id> [TIMEOUT|ERROR] -- End the wait of a blocked connection.",
			"6.2:UNPAUSE -- End CLIENT PAUSE.")
	case q.is("id", 2, 2):
		q.integer(q.c.id)
	case q.is("getname", 2, 2):
		var name string
		q.c.status.update(func(st *status) { name = st.name })
		if name == "" {
			q.null()
		} else {
			q.bulk(name)
		}
	case q.is("setname", 3, 3):
		if q.nameAllowed(q.args[2]) {
			q.setName(q.args[2])
			q.simple("OK")
		}
	case q.is("setinfo", 4, 4) && q.since("7.2"):
		q.clientSetInfo()
	case q.is("info", 2, 2) && q.since("6.2"):
		q.text(q.c.line())
	case q.is("list", 2, -1):
		q.clientList()
	case q.is("kill", 2, -1):
		q.clientKill()
	case q.is("reply", 3, 3):
		q.clientReply()
	case q.is("no-evict", 3, 3) && q.since("7.0"):
		q.toggle(func(st *status, on bool) { st.noEvict = on })
	case q.is("no-touch", 3, 3) && q.since("7.2"):
		q.toggle(func(st *status, on bool) { st.noTouch = on })
	case q.is("unblock", 3, 4):
		q.clientUnblock()
	case q.is("getredir", 2, 2):
		st := q.s.tracker.state(q.c)
		q.integer(st.target())
	case q.is("caching", 3, -1):
		q.clientCaching()
	case q.is("tracking", 3, -1):
		q.clientTracking()
	case q.is("trackinginfo", 2, 2) && q.since("6.2"):
		q.clientTrackingInfo()
	case q.is("pause", 3, 3), q.is("pause", 4, 4) && q.since("6.2"):
		q.clientPause()
	case q.is("unpause", 2, 2) && q.since("6.2"):
		q.clientUnpause()
	default:
		q.unknownSubcommand()
	}
}

func (q *request) setName(name []byte) {
	q.c.status.update(func(st *status) { st.name = string(name) })
}

// nameAllowed says whether a connection may have the name, and replies if not.
func (q *request) nameAllowed(name []byte) bool {
	if plainText(name) {
		return true
	}
	q.err("ERR Client names cannot contain spaces, newlines or special characters.")
	return false
}

// plainText says whether a name or version can be shown in CLIENT LIST.
func plainText(s []byte) bool {
	return !slices.ContainsFunc(s, func(b byte) bool { return b < '!' || b > '~' })
}

// clientSetInfo is CLIENT SETINFO LIB-NAME|LIB-VER value.
func (q *request) clientSetInfo() {
	attribute, value := strings.ToLower(string(q.args[2])), q.args[3]
	if attribute != "lib-name" && attribute != "lib-ver" {
		q.err(fmt.Sprintf("ERR Unrecognized option '%s'", clip(q.args[2], 128)))
		return
	}
	if !plainText(value) {
		q.err("ERR " + attribute + " cannot contain spaces, newlines or special characters.")
		return
	}
	q.c.status.update(func(st *status) {
		if attribute == "lib-name" {
			st.libName = string(value)
		} else {
			st.libVer = string(value)
		}
	})
	q.simple("OK")
}

func (q *request) toggle(set func(st *status, on bool)) {
	on := equalFold(q.args[2], "on")
	if !on && !equalFold(q.args[2], "off") {
		q.err("ERR syntax error")
		return
	}
	q.c.status.update(func(st *status) { set(st, on) })
	q.simple("OK")
}

// clientType is "normal" or "pubsub", as CLIENT LIST TYPE and KILL TYPE count;
// who monitors counts as a replica.
func (c *connection) clientType() string {
	switch {
	case c.monitoring.Load():
		return "replica"
	case c.subscriptions() > 0:
		return "pubsub"
	default:
		return "normal"
	}
}

// clientTypes maps the names of types to those of clientType.
var clientTypes = map[string]string{"normal": "normal", "master": "master", "replica": "replica", "slave": "replica", "pubsub": "pubsub"}

func (q *request) clientTypeNamed(arg []byte) (string, bool) {
	kind, ok := clientTypes[strings.ToLower(string(arg))]
	if !ok {
		q.err(fmt.Sprintf("ERR Unknown client type '%s'", clip(arg, 128)))
	}
	return kind, ok
}

func (q *request) clientList() {
	match := func(*connection) bool { return true }
	switch {
	case len(q.args) == 2:
	case len(q.args) == 4 && equalFold(q.args[2], "type"):
		kind, ok := q.clientTypeNamed(q.args[3])
		if !ok {
			return
		}
		match = func(c *connection) bool { return c.clientType() == kind }
	case len(q.args) > 3 && equalFold(q.args[2], "id") && q.since("6.2"):
		ids := map[int64]bool{}
		for _, arg := range q.args[3:] {
			id, ok := q.number(arg, "ERR Invalid client ID")
			if !ok {
				return
			}
			ids[id] = true
		}
		match = func(c *connection) bool { return ids[c.id] }
	default:
		q.err("ERR syntax error")
		return
	}
	var b strings.Builder
	for _, c := range q.c.node.connections() {
		if match(c) {
			b.WriteString(c.line())
		}
	}
	q.text(b.String())
}

// line describes the connection in the format of the engine's level. Figures
// about buffers, which mean nothing here, are 0.
func (c *connection) line() string {
	level := c.s.prof.level
	now := c.s.opts.clock.Now()
	channels, patterns, shards := 0, 0, 0
	if sub := c.sub.Load(); sub != nil {
		c.s.hub.mu.Lock()
		channels, patterns, shards = len(sub.channels), len(sub.patterns), len(sub.shards)
		c.s.hub.mu.Unlock()
	}
	user := c.user()
	if user == "" {
		user = defaultUser // whose rights a new connection has in Redis
	}
	var st struct {
		name, cmd, libName, libVer string
		idle                       time.Duration
		db, queued                 int
		noEvict, noTouch           bool
	}
	c.status.update(func(s *status) {
		st.name, st.libName, st.libVer = s.name, s.libName, s.libVer
		st.db, st.queued, st.noEvict, st.noTouch = s.db, s.queued, s.noEvict, s.noTouch
	})
	st.idle = now.Sub(time.Unix(0, c.lastAt.Load()))
	if cmd := c.lastCmd.Load(); cmd != nil {
		st.cmd = cmd.Name
	} else {
		st.cmd = "NULL"
	}
	tracking := c.s.tracker.state(c)
	flags := ""
	for _, f := range []struct {
		set  bool
		flag string
	}{
		{c.monitoring.Load(), "O"}, {channels+patterns+shards > 0, "P"}, {st.queued >= 0, "x"}, {c.unblock.Load() != nil || c.postponed.Load(), "b"},
		{tracking.on, "t"}, {tracking.broken, "R"}, {tracking.bcast && level >= "6.2", "B"}, {st.noEvict, "e"}, {st.noTouch, "T"},
	} {
		if f.set {
			flags += f.flag
		}
	}
	if flags == "" {
		flags = "N"
	}
	var b strings.Builder
	fmt.Fprintf(&b, "id=%d addr=%s ", c.id, c.remote)
	if level >= "6.2" {
		fmt.Fprintf(&b, "laddr=%s ", c.local)
	}
	fmt.Fprintf(&b, "fd=%d name=%s age=%d idle=%d flags=%s db=%d sub=%d psub=%d ", c.id+7, st.name, int64(now.Sub(c.since)/time.Second),
		int64(st.idle/time.Second), flags, st.db, channels, patterns)
	if level >= "7.0" {
		fmt.Fprintf(&b, "ssub=%d ", shards)
	}
	fmt.Fprintf(&b, "multi=%d ", st.queued)
	if level >= "7.4" {
		b.WriteString("watch=0 ")
	}
	b.WriteString("qbuf=0 qbuf-free=0 argv-mem=0 ")
	if level >= "7.0" {
		b.WriteString("multi-mem=0 rbs=0 rbp=0 ")
	}
	fmt.Fprintf(&b, "obl=0 oll=0 omem=0 tot-mem=0 events=r cmd=%s user=%s", st.cmd, user)
	if level >= "6.2" {
		fmt.Fprintf(&b, " redir=%d", tracking.target())
	}
	if level >= "7.0" {
		fmt.Fprintf(&b, " resp=%d", c.protocol())
	}
	if level >= "7.2" {
		fmt.Fprintf(&b, " lib-name=%s lib-ver=%s", st.libName, st.libVer)
	}
	b.WriteByte('\n')
	return b.String()
}

// clientKill is CLIENT KILL addr:port, or with filters.
func (q *request) clientKill() {
	if len(q.args) == 3 {
		addr := string(q.args[2])
		if q.killClients(func(c *connection) bool { return c.remote == addr }, false) == 0 {
			q.err("ERR No such client")
			return
		}
		q.simple("OK")
		return
	}
	if len(q.args) == 2 {
		q.err("ERR syntax error")
		return
	}
	var filters []func(*connection) bool
	skipMe := true
	for args := q.args[2:]; len(args) > 0; args = args[2:] {
		if len(args) < 2 {
			q.err("ERR syntax error")
			return
		}
		switch option := args[0]; {
		case equalFold(option, "skipme"):
			skipMe = equalFold(args[1], "yes")
			if !skipMe && !equalFold(args[1], "no") {
				q.err("ERR syntax error")
				return
			}
		default:
			f := q.killFilter(option, args[1])
			if f == nil {
				return
			}
			filters = append(filters, f)
		}
	}
	q.integer(int64(q.killClients(func(c *connection) bool {
		return !slices.ContainsFunc(filters, func(f func(*connection) bool) bool { return !f(c) })
	}, skipMe)))
}

// killFilter reads one filter of CLIENT KILL; nil means that it was refused.
func (q *request) killFilter(option, arg []byte) func(*connection) bool {
	value := string(arg)
	switch {
	case equalFold(option, "id"):
		text := notAnInteger
		if q.since("7.0") {
			text = "ERR client-id should be greater than 0"
		}
		id, ok := q.number(arg, text)
		switch {
		case !ok:
			return nil
		case id < 1 && q.since("7.0"):
			q.err(text)
			return nil
		}
		return func(c *connection) bool { return id == 0 || c.id == id }
	case equalFold(option, "addr"):
		return func(c *connection) bool { return c.remote == value }
	case equalFold(option, "laddr") && q.since("6.2"):
		return func(c *connection) bool { return c.local == value }
	case equalFold(option, "user"):
		if !q.s.userExists(value) {
			q.err(fmt.Sprintf("ERR No such user '%s'", clip(arg, 128)))
			return nil
		}
		return func(c *connection) bool { return c.user() == value }
	case equalFold(option, "type"):
		kind, ok := q.clientTypeNamed(arg)
		if !ok {
			return nil
		}
		return func(c *connection) bool { return c.clientType() == kind }
	case equalFold(option, "maxage") && q.since("7.4"):
		age, ok := q.number(arg, "ERR maxage is not an integer or out of range")
		if !ok {
			return nil
		}
		if age <= 0 {
			q.err("ERR maxage should be greater than 0")
			return nil
		}
		now := q.s.opts.clock.Now()
		return func(c *connection) bool { return int64(now.Sub(c.since)/time.Second) >= age }
	default:
		q.err("ERR syntax error")
		return nil
	}
}

func (s *Server) userExists(name string) bool {
	s.stateMu.Lock()
	defer s.stateMu.Unlock()
	return name == defaultUser || s.accounts[name] != nil || s.grants[strings.ToLower(name)] != nil
}

// killClients closes the matching connections; one's own gets its reply first.
func (q *request) killClients(match func(*connection) bool, skipMe bool) int {
	killed := 0
	if !skipMe && match(q.c) {
		q.c.quit, q.c.quitReason = true, ReasonKilled
		killed++
	}
	return killed + q.s.cut(ReasonKilled, func(c *connection) bool {
		return c != q.c && c.node == q.c.node && c.opened.Load() && c.alive() && match(c)
	})
}

func (q *request) clientReply() {
	switch strings.ToLower(string(q.args[2])) {
	case "on":
		q.c.mute = replyOn
		q.simple("OK")
	case "off":
		q.c.mute = replyOff
	case "skip":
		if q.c.mute != replyOff {
			q.c.mute = replySkipNext
		}
	default:
		q.err("ERR syntax error")
	}
}

func (q *request) clientUnblock() {
	withError := false
	if len(q.args) == 4 {
		switch strings.ToLower(string(q.args[3])) {
		case "timeout":
		case "error":
			withError = true
		default:
			q.err("ERR CLIENT UNBLOCK reason should be TIMEOUT or ERROR")
			return
		}
	}
	id, ok := q.number(q.args[2], notAnInteger)
	if !ok {
		return
	}
	if c := q.s.connection(id); c != nil {
		if ch := c.unblock.Load(); ch != nil {
			select {
			case *ch <- withError:
				q.integer(1)
				return
			default: // somebody else was faster
			}
		}
	}
	q.integer(0)
}

// cmdReset is RESET, which came with 6.2: the connection is as a new one.
func cmdReset(q *request) {
	c := q.c
	c.stopMonitoring()
	q.s.tracker.disable(c)
	if q.tx == nil {
		q.endTransaction()
		q.unwatch()
		q.s.keyspace.Select(c.session, q.s.database(c.node.shard))
	} else {
		q.tx.Select(c.session, q.s.database(c.node.shard))
	}
	c.asking, c.readsReplica = false, false
	if sub := c.sub.Load(); sub != nil {
		q.s.hub.leave(sub)
	}
	c.status.update(func(st *status) { st.name, st.db = "", 0 })
	c.proto.Store(2)
	c.mute = replyOn
	q.s.signOut(c)
	q.simple("RESET")
}

package fakeserver

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// cmdClient is CLIENT at the level of Redis 6.0: SETINFO, NO-EVICT, INFO and
// MAINT_NOTIFICATIONS came later and answer as unknown subcommands.
func cmdClient(q *request) {
	sub := strings.ToLower(clip(q.args[1], 32))
	switch n := len(q.args); {
	case sub == "help" && n == 2:
		q.help("CLIENT",
			"ID                     -- Return the ID of the current connection.",
			"GETNAME                -- Return the name of the current connection.",
			"KILL <ip:port>         -- Kill connection made from <ip:port>.",
			"KILL <option> <value> [option value ...] -- Kill connections. Options are ADDR, TYPE, USER, ID, SKIPME.",
			"LIST [options ...]     -- Return information about client connections. Options: TYPE.",
			"REPLY (on|off|skip)    -- Control the replies sent to the current connection.",
			"SETNAME <name>         -- Assign the name <name> to the current connection.",
			"UNBLOCK <clientid> [TIMEOUT|ERROR] -- Unblock the specified blocked client.")
	case sub == "id" && n == 2:
		q.integer(q.c.id)
	case sub == "getname" && n == 2:
		var name string
		q.c.status.update(func(st *status) { name = st.name })
		if name == "" {
			q.null()
		} else {
			q.bulk(name)
		}
	case sub == "setname" && n == 3:
		if q.setName(q.args[2]) {
			q.simple("OK")
		}
	case sub == "list":
		q.clientList()
	case sub == "kill" && n >= 3:
		q.clientKill()
	case sub == "reply" && n == 3:
		q.clientReply()
	case sub == "unblock" && (n == 3 || n == 4):
		q.clientUnblock()
	case sub == "getredir" && n == 2:
		q.integer(-1) // tracking is off
	case sub == "caching" && n >= 3:
		q.err("ERR CLIENT CACHING can be called only when the client is in tracking mode with OPTIN or OPTOUT mode enabled")
	case sub == "tracking" && n >= 3 && equalFold(q.args[2], "off"):
		q.simple("OK")
	case sub == "tracking" && n >= 3:
		// A client that is told OK would rely on invalidations.
		q.err("ERR entracache does not emulate the command 'client|tracking'")
	case sub == "pause" && n == 3:
		q.err("ERR entracache does not emulate the command 'client|pause'")
	default:
		q.unknownSubcommand()
	}
}

// setName sets the connection's name, or refuses it.
func (q *request) setName(name []byte) bool {
	for _, b := range name {
		if b < '!' || b > '~' {
			q.err("ERR Client names cannot contain spaces, newlines or special characters.")
			return false
		}
	}
	q.c.status.update(func(st *status) { st.name = string(name) })
	return true
}

// clientType is "normal" or "pubsub", as CLIENT LIST TYPE and KILL TYPE count.
func (c *connection) clientType() string {
	if c.subscriptions() > 0 {
		return "pubsub"
	}
	return "normal"
}

var clientTypes = map[string]bool{"normal": true, "master": true, "replica": true, "slave": true, "pubsub": true}

func (q *request) clientList() {
	kind := ""
	switch {
	case len(q.args) == 2:
	case len(q.args) == 4 && equalFold(q.args[2], "type"):
		kind = strings.ToLower(string(q.args[3]))
		if !clientTypes[kind] {
			q.err(fmt.Sprintf("ERR Unknown client type '%s'", clip(q.args[3], 128)))
			return
		}
	default:
		q.err("ERR syntax error")
		return
	}
	var b strings.Builder
	for _, c := range q.s.connections() {
		if kind == "" || c.clientType() == kind {
			b.WriteString(c.line())
		}
	}
	q.text(b.String())
}

// line describes the connection in the format of Redis 6.0. Figures about
// buffers, which mean nothing here, are 0.
func (c *connection) line() string {
	now := c.s.opts.clock.Now()
	flags := "N"
	if c.unblock.Load() != nil {
		flags = "b"
	}
	channels, patterns := 0, 0
	if sub := c.sub.Load(); sub != nil {
		c.s.hub.mu.Lock()
		channels, patterns = len(sub.channels), len(sub.patterns)
		c.s.hub.mu.Unlock()
	}
	if channels+patterns > 0 {
		flags = "P"
	}
	user := c.user()
	if user == "" {
		user = defaultUser // whose rights a new connection has in Redis
	}
	var name, cmd string
	var idle time.Duration
	var db, queued int
	c.status.update(func(st *status) {
		name, cmd, idle, db, queued = st.name, st.lastCmd, now.Sub(st.lastAt), st.db, st.queued
	})
	if queued >= 0 {
		flags = "x"
	}
	if cmd == "" {
		cmd = "NULL"
	}
	return fmt.Sprintf("id=%d addr=%s fd=%d name=%s age=%d idle=%d flags=%s db=%d sub=%d psub=%d multi=%d qbuf=0 qbuf-free=0 argv-mem=0 obl=0 oll=0 omem=0 tot-mem=0 events=r cmd=%s user=%s\n",
		c.id, c.remote, c.id+7, name, int64(now.Sub(c.since)/time.Second), int64(idle/time.Second), flags, db, channels, patterns, queued, cmd, user)
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
	var filters []func(*connection) bool
	skipMe := true
	for args := q.args[2:]; len(args) > 0; args = args[2:] {
		if len(args) < 2 {
			q.err("ERR syntax error")
			return
		}
		value := string(args[1])
		switch strings.ToLower(string(args[0])) {
		case "id":
			id, err := strconv.ParseInt(value, 10, 64)
			if err != nil {
				q.err("ERR value is not an integer or out of range")
				return
			}
			filters = append(filters, func(c *connection) bool { return c.id == id })
		case "addr":
			filters = append(filters, func(c *connection) bool { return c.remote == value })
		case "user":
			if !q.s.userExists(value) {
				q.err(fmt.Sprintf("ERR No such user '%s'", clip(args[1], 128)))
				return
			}
			filters = append(filters, func(c *connection) bool { return c.user() == value })
		case "type":
			kind := strings.ToLower(value)
			if !clientTypes[kind] {
				q.err(fmt.Sprintf("ERR Unknown client type '%s'", clip(args[1], 128)))
				return
			}
			filters = append(filters, func(c *connection) bool { return c.clientType() == kind })
		case "skipme":
			switch strings.ToLower(value) {
			case "yes":
				skipMe = true
			case "no":
				skipMe = false
			default:
				q.err("ERR syntax error")
				return
			}
		default:
			q.err("ERR syntax error")
			return
		}
	}
	q.integer(int64(q.killClients(func(c *connection) bool {
		for _, f := range filters {
			if !f(c) {
				return false
			}
		}
		return true
	}, skipMe)))
}

func (s *Server) userExists(name string) bool {
	s.stateMu.Lock()
	defer s.stateMu.Unlock()
	return name == defaultUser || s.grants[strings.ToLower(name)] != nil
}

// killClients closes the matching connections; one's own gets its reply first.
func (q *request) killClients(match func(*connection) bool, skipMe bool) int {
	killed := 0
	if !skipMe && match(q.c) {
		q.c.quit, q.c.quitReason = true, ReasonKilled
		killed++
	}
	return killed + q.s.cut(ReasonKilled, func(c *connection) bool {
		return c != q.c && c.opened.Load() && c.alive() && match(c)
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
	id, err := strconv.ParseInt(string(q.args[2]), 10, 64)
	if err != nil {
		q.err("ERR value is not an integer or out of range")
		return
	}
	q.s.connsMu.Lock()
	c := q.s.conns[id]
	q.s.connsMu.Unlock()
	if c != nil {
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

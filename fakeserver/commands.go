package fakeserver

import (
	"strconv"
	"strings"
)

// own are the commands that the data engine does not run: those about the
// connection, the server and its state, and those that wait.
var own = map[string]handler{
	"auth":  cmdAuth,
	"hello": cmdHello,

	"ping":   cmdPing,
	"echo":   cmdEcho,
	"select": cmdSelect,
	"client": cmdClient,

	"command":   cmdCommand,
	"info":      cmdInfo,
	"time":      cmdTime,
	"role":      cmdRole,
	"wait":      cmdWait,
	"cluster":   cmdNoCluster,
	"asking":    cmdNoCluster,
	"readonly":  cmdNoCluster,
	"readwrite": cmdNoCluster,

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
	"pubsub":       cmdPubSub,

	"eval":    cmdEval,
	"evalsha": cmdEval,

	"blpop":      popping("lpop"),
	"brpop":      popping("rpop"),
	"bzpopmin":   popping("zpopmin"),
	"bzpopmax":   popping("zpopmax"),
	"brpoplpush": moving("rpoplpush"),
	"blmove":     moving("lmove"),
	"xread":      cmdXRead,
	"xreadgroup": cmdXRead,
}

// commandHandlers gives every command of the level its handler: ours, nil for
// the data engine's, or one that says that the fake does not have it.
func (s *Server) commandHandlers() []handler {
	handlers := make([]handler, len(s.table.All()))
	for _, cmd := range s.table.All() {
		if h := own[cmd.Name]; h != nil {
			handlers[cmd.ID] = h
		} else if !s.keyspace.Knows(cmd.Name) {
			handlers[cmd.ID] = cmdNotEmulated
		}
	}
	return handlers
}

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
	db, err := strconv.Atoi(string(q.args[1]))
	if err != nil {
		q.err("ERR invalid DB index")
		return
	}
	var ok bool
	if q.tx != nil {
		ok = q.tx.Select(q.c.session, db)
	} else {
		ok = q.s.keyspace.Select(q.c.session, db)
	}
	if !ok {
		q.err("ERR DB index is out of range")
		return
	}
	q.c.status.update(func(st *status) { st.db = db })
	q.simple("OK")
}

func cmdTime(q *request) {
	now := q.s.opts.clock.Now()
	q.strings([]string{strconv.FormatInt(now.Unix(), 10), strconv.Itoa(now.Nanosecond() / 1000)})
}

func cmdRole(q *request) {
	q.array(3)
	q.bulk("master")
	q.integer(0)
	q.array(0)
}

func cmdNoCluster(q *request) { q.err("ERR This instance has cluster support disabled") }

package fakeserver

import (
	"strings"
	"time"
)

// trait is what those who watch commands need to know of one, looked up once.
type trait struct {
	readonly    bool // it reads keys that a tracking connection is to be told of
	quick       bool // it cannot be slow, so that its time need not be taken
	unmonitored bool // MONITOR does not show it
	unlogged    bool // SLOWLOG does not
	replicates  bool // CLIENT PAUSE WRITE holds it up
	waits       bool // it may block
	denyOOM     bool // it may take memory
	consumers   bool // it may make or remove a consumer of a stream
	script      bool
	blocked     bool // the profile blocks it, or some of its subcommands
	mayBeTooNew bool // it has options that the level does not have
}

func (s *Server) commandTraits() []trait {
	traits := make([]trait, len(s.table.Every()))
	for _, cmd := range s.table.Every() {
		name, _, _ := strings.Cut(cmd.Name, "|")
		t := trait{
			readonly:    cmd.HasFlag("readonly"),
			quick:       cmd.HasFlag("fast") || name == "set",
			unmonitored: cmd.HasFlag("skip_monitor") || cmd.HasFlag("admin"),
			blocked:     s.prof.blocksAny(name),
			mayBeTooNew: s.prof.mayBeTooNew(name),
			denyOOM:     cmd.HasFlag("denyoom"),
			replicates:  cmd.Write || cmd.HasFlag("may_replicate"),
			waits:       cmd.InCategory("blocking") || name == "xread" || name == "xreadgroup" || name == "wait",
		}
		// The time for which a command waited does not count.
		t.unlogged = cmd.HasFlag("skip_slowlog") || t.waits
		switch name {
		case "eval", "evalsha", "fcall":
			t.script = true
			// 6.0 has no flag for it.
			t.replicates = true
			t.unmonitored = false // 7.0 has the flag, and shows the command itself
		case "eval_ro", "evalsha_ro", "fcall_ro":
			t.script = true
			t.unmonitored = false
		case "publish", "pfcount":
			t.replicates = true
		case "xgroup", "xreadgroup", "xclaim", "xautoclaim":
			t.consumers = true
		}
		traits[cmd.ID] = t
	}
	return traits
}

// execute runs a command for which all checks are done, and lets those know
// who watch: MONITOR, SLOWLOG, and connections that track keys.
func (q *request) execute() {
	c, t := q.c, &q.s.traits[q.cmd.ID]
	c.commands.Add(1)
	tracks := c.tracks.Load()
	if !tracks && !c.monitoring.Load() || q.tx != nil || t.waits {
		q.watched(t)
	} else {
		// What is told of the command itself has its place: a key that was read
		// must not be reported as changed before the reply with its old value was
		// sent, nor a command be shown to the monitor that sent it before its reply.
		q.inOrder(func(sub *subscriber) {
			q.watched(t)
			if !q.since("7.0") {
				q.drain(sub) // one's own changes are reported before the reply
			}
		})
	}
	if tracks && q.tx == nil && c.multi == nil && q.container() != "client" {
		q.s.tracker.cachingDone(c)
	}
}

func (q *request) watched(t *trait) {
	s := q.s
	if t.readonly && !t.script && q.c.tracks.Load() {
		// Until 7.2 a script that reads anything counts as reading all the keys
		// that it was called with, and no others.
		reader := q
		if q.inScript && !q.since("7.2") {
			reader = q.caller
		}
		s.tracker.remember(q.c, reader.cmd.Keys(reader.args))
	}
	if s.notify.on() {
		if t.consumers {
			defer q.notifyConsumers(q.consumers())
		}
		switch {
		case q.cmd.Write && s.notify.wants('n'):
			defer q.notifyNew(q.missing(writtenKeys(q.cmd, q.args)))
		case t.readonly && s.notify.wants('m'):
			q.notifyMissed()
		}
	}
	timed := s.slowlog.wants(t)
	monitored := s.monitors.any()
	if !timed && !monitored {
		q.run()
		q.counted(0)
		return
	}
	// Up to 6.2 MONITOR shows a command before it runs, since 7.0 after. A
	// script is always shown before the calls that it makes, EXEC after those
	// that it runs.
	first := t.script || !q.since("7.0") && q.cmd.Name != "exec"
	if monitored && first {
		q.monitor(t)
	}
	begin := time.Now()
	q.run()
	took := time.Since(begin)
	q.counted(took)
	if timed {
		s.slowlog.add(q, took)
	}
	if monitored && !first {
		q.monitor(t)
	}
}

const redacted = "(redacted)"

// presentable returns the command's arguments without secrets.
func (q *request) presentable() [][]byte {
	hide := func(from, to int) [][]byte {
		args := append([][]byte(nil), q.args...)
		for i := max(from, 1); i < min(to, len(args)); i++ {
			args[i] = []byte(redacted)
		}
		return args
	}
	switch q.container() {
	case "acl":
		// 7.0 knows subcommands, and hides what only SETUSER is told.
		switch {
		case !q.since("7.0"):
			return hide(1, len(q.args))
		case len(q.args) > 2 && equalFold(q.args[1], "setuser"):
			return hide(2, len(q.args))
		}
	case "auth", "migrate":
		return hide(1, len(q.args))
	case "config":
		if len(q.args) > 2 && equalFold(q.args[1], "set") {
			return hide(2, len(q.args))
		}
	case "hello":
		for i, a := range q.args {
			if equalFold(a, "auth") {
				return hide(i+1, i+3)
			}
		}
	}
	return q.args
}

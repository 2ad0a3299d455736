package fakeserver

import (
	"strings"

	"github.com/entracache/entracache/fakeserver/internal/acl"
	"github.com/entracache/entracache/fakeserver/internal/command"
	"github.com/entracache/entracache/fakeserver/internal/keyspace"
)

// transaction is what was queued since MULTI.
type transaction struct {
	queued  []queued
	spoiled bool // a command was refused: EXEC will discard
}

type queued struct {
	cmd  *command.Command
	args [][]byte
}

// queue keeps a command for EXEC. redcon copies the arguments of each command
// into memory of their own, so they may be kept.
func (t *transaction) queue(q *request) {
	t.queued = append(t.queued, queued{q.cmd, q.args})
	q.c.status.update(func(st *status) { st.queued = len(t.queued) })
	q.simple("QUEUED")
}

func cmdMulti(q *request) {
	if q.c.multi != nil {
		q.err("ERR MULTI calls can not be nested")
		return
	}
	q.c.multi = &transaction{}
	q.c.status.update(func(st *status) { st.queued = 0 })
	q.simple("OK")
}

func cmdDiscard(q *request) {
	if q.c.multi == nil {
		q.err("ERR DISCARD without MULTI")
		return
	}
	q.endTransaction()
	q.unwatch()
	q.simple("OK")
}

func (q *request) endTransaction() {
	q.c.multi = nil
	q.c.status.update(func(st *status) { st.queued = -1 })
}

func cmdWatch(q *request) {
	if q.c.multi != nil {
		q.err("ERR WATCH inside MULTI is not allowed")
		return
	}
	if q.c.watcher == nil {
		q.c.watcher = &keyspace.Watcher{}
	}
	q.s.keyspace.Watch(q.c.watcher, q.c.session, q.args[1:])
	q.simple("OK")
}

func cmdUnwatch(q *request) {
	// Inside EXEC the watches have done their work already.
	if q.tx == nil {
		q.unwatch()
	}
	q.simple("OK")
}

func (q *request) unwatch() {
	if q.c.watcher != nil {
		q.s.keyspace.Unwatch(q.c.watcher)
		q.c.watcher = nil
	}
}

func cmdExec(q *request) {
	t := q.c.multi
	if t == nil {
		q.err("ERR EXEC without MULTI")
		return
	}
	q.endTransaction()
	if t.spoiled {
		q.unwatch()
		q.err("EXECABORT Transaction discarded because of previous errors.")
		return
	}
	verified := q.verifyQueued(t)
	run := func() {
		q.s.keyspace.Atomically(func(tx *keyspace.Tx) {
			q.s.tracker.together(func() { q.exec(tx, t, verified) })
		})
	}
	if t.speaksToItself(q.c.subscriptions() > 0) {
		q.inOrder(func(*subscriber) { run() })
	} else {
		run()
	}
	q.unwatch()
}

// verifyQueued checks the sign-ins among the queued commands, because that may
// wait for the issuer and nobody may wait while the keyspace is locked.
func (q *request) verifyQueued(t *transaction) map[[2]string]signIn {
	var verified map[[2]string]signIn
	verify := func(user, password string) {
		if verified == nil {
			verified = map[[2]string]signIn{}
		}
		verified[[2]string{user, password}] = q.s.verify(q.c, user, password)
	}
	for _, entry := range t.queued {
		switch args := entry.args[1:]; entry.cmd.Name {
		case "auth":
			if len(args) <= 2 {
				user, password := authArguments(args)
				verify(strings.Clone(user), password)
			}
		case "hello":
			for i := 1; i+2 < len(args); i++ {
				if equalFold(args[i], "auth") {
					verify(string(args[i+1]), string(args[i+2]))
				}
			}
		}
	}
	return verified
}

// exec runs the queued commands with the keyspace locked. Permissions are
// checked again: the policy, or the identity, may have changed since.
func (q *request) exec(tx *keyspace.Tx, t *transaction, verified map[[2]string]signIn) {
	if q.c.watcher != nil && tx.Touched(q.c.watcher) {
		q.nullArray()
		return
	}
	q.array(len(t.queued))
	for _, entry := range t.queued {
		inner := request{s: q.s, c: q.c, cmd: entry.cmd, args: entry.args, tx: tx, verified: verified}
		if inner.stillPermitted() {
			inner.execute()
		}
		if q.s.opts.commandEvents {
			inner.log()
		}
		q.out = append(q.out, inner.out...)
	}
}

func (q *request) stillPermitted() bool {
	id := q.c.identity.Load()
	if id == nil {
		return true
	}
	set := id.grant.set.Load()
	verdict := set.Check(q.cmd, q.args)
	if verdict == acl.OK {
		return true
	}
	text := revokedText(verdict)
	q.denied(text)
	q.noteDenied(set, q.cmd, q.args, deniedInMulti)
	q.err(text)
	return false
}

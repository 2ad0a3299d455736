package fakeserver

import (
	"github.com/entracache/entracache/fakeserver/internal/keyspace"
	"github.com/entracache/entracache/fakeserver/internal/resp"
)

// Of some commands the engine's reply does not say which keys changed. Where
// somebody is told of changes, these commands are run in a way that does.

// toldOfChanges says whether anybody tracks keys or wants keyspace
// notifications.
func (q *request) toldOfChanges() bool { return q.s.tracker.clients.Load() > 0 || q.s.notify.on() }

// cmdDel is DEL and UNLINK. Where somebody is told of changes the keys are
// removed one by one: nothing is told of one that was not there.
func cmdDel(q *request) {
	if len(q.args) == 2 || !q.toldOfChanges() {
		q.data(nil)
		return
	}
	q.withKeyspace(func(tx *keyspace.Tx) {
		removed := int64(0)
		for _, key := range q.args[1:] {
			removed += q.ask(tx, q.cmd.Name, key).Int
		}
		q.integer(removed)
	})
}

// cmdStore is SINTERSTORE and the like: a result without elements removes the
// destination, which is no change if there was none.
func cmdStore(q *request) {
	if q.cmd.Name[0] == 'z' && !checkZStore(q) {
		return
	}
	if !q.toldOfChanges() {
		q.data(nil)
		return
	}
	q.withKeyspace(func(tx *keyspace.Tx) {
		dest := q.args[1]
		if q.cmd.Name == "bitop" {
			dest = q.args[2]
		}
		existed := q.typeOf(tx, dest) != "none"
		v := q.quietly(tx, q.cmd.Name, q.args[1:]...)
		start := len(q.out)
		q.out = v.Append(q.out, q.protocol())
		switch {
		case v.Kind == resp.KindError:
			q.failed = true
		case v.Int > 0:
			tx.Tell(keyspace.Call{Session: q.session(), Command: q.cmd, Args: q.args}, q.out[start:])
		case existed:
			tx.Tell(q.s.engineCall(q.session(), "del", dest), []byte(":1\r\n"))
		}
	})
}

// cmdZAdd is ZADD, whose reply counts new members only, but for CH.
func cmdZAdd(q *request) {
	if !q.goodScores() {
		return
	}
	counts := true
	for _, option := range q.args[2:] {
		counts = counts && !equalFold(option, "ch") && !equalFold(option, "incr")
	}
	if !counts || !q.toldOfChanges() {
		q.data(nil)
		return
	}
	q.withKeyspace(func(tx *keyspace.Tx) {
		key := q.args[1]
		before := q.ask(tx, "zcard", key).Int
		v := q.quietly(tx, "zadd", append([][]byte{key, []byte("CH")}, q.args[2:]...)...)
		if v.Kind == resp.KindError {
			q.err(string(v.Text))
			return
		}
		start := len(q.out)
		q.integer(q.ask(tx, "zcard", key).Int - before)
		if v.Int > 0 {
			tx.Tell(keyspace.Call{Session: q.session(), Command: q.cmd, Args: q.args}, q.out[start:])
		}
	})
}

// replace puts n elements in the place of what a key holds, as one write of the
// present command, and replies with n. add is the command that adds them.
func (q *request) replace(tx *keyspace.Tx, key []byte, add string, elements [][]byte, n int) {
	removed := q.quietly(tx, "del", key).Int > 0
	if n > 0 {
		q.quietly(tx, add, append([][]byte{key}, elements...)...)
	}
	start := len(q.out)
	q.integer(int64(n))
	switch {
	case n > 0:
		tx.Tell(keyspace.Call{Session: q.session(), Command: q.cmd, Args: q.args}, q.out[start:])
	case removed:
		tx.Tell(q.s.engineCall(q.session(), "del", key), []byte(":1\r\n"))
	}
}

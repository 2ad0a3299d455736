package keyspace

import (
	"bytes"
	"cmp"
	"container/list"
	"maps"
	"slices"
	"strings"
)

// Waiter is a client that waits for data: a blocking command that found none.
type Waiter struct {
	try    Attempt
	absent bool
	alive  func() bool
	ready  chan []byte
	turn   int64 // who has waited longer has the smaller one
	places []place
}

// place is where a waiter stands in the queue of a key.
type place struct {
	key dbKey
	at  *list.Element
}

// Attempt is the form of a blocking command that does not block: it runs with
// the keyspace locked and returns the reply, or false when there is nothing to
// reply with yet. waiting says that the client has waited already; the attempt
// then runs in the goroutine of whoever wrote the key, and must not panic.
type Attempt func(tx *Tx, waiting bool) (reply []byte, ok bool)

// queue holds who waits for a key, the longest-waiting first.
type queue struct {
	list.List     // of *Waiter
	absent    int // how many of them are to be asked although the key does not exist
}

// Block runs a blocking command. It returns the reply at once where there is
// one; otherwise the Waiter gets its turn when one of the keys is written, as
// long as alive says that the client is still there: nothing is taken out of
// the keyspace for a client that is gone. absent asks for a turn also when the
// key is removed.
//
// The caller must not use the session until the Waiter was served or
// cancelled.
func (e *Engine) Block(s *Session, keys [][]byte, absent bool, alive func() bool, try Attempt) ([]byte, *Waiter) {
	e.mu.Lock()
	defer e.mu.Unlock()
	tx := Tx{e: e}
	defer tx.done()
	if reply, ok := try(&tx, false); ok {
		return reply, nil
	}
	e.turns++
	w := &Waiter{try: try, absent: absent, alive: alive, ready: make(chan []byte, 1), turn: e.turns}
	for _, k := range keys {
		e.enqueue(w, dbKey{s.db, string(k)})
	}
	return nil, w
}

func (e *Engine) enqueue(w *Waiter, k dbKey) {
	q := e.waiting[k]
	if q == nil {
		q = &queue{}
		e.waiting[k] = q
	}
	if last := q.Back(); last != nil && last.Value == w {
		return // the command names the key twice
	}
	w.places = append(w.places, place{k, q.PushBack(w)})
	if w.absent {
		q.absent++
	}
}

// dequeue ends the waiting. It reports whether w still waited.
func (e *Engine) dequeue(w *Waiter) bool {
	for _, p := range w.places {
		q := e.waiting[p.key]
		q.Remove(p.at)
		if w.absent {
			q.absent--
		}
		if q.Len() == 0 {
			delete(e.waiting, p.key)
		}
	}
	waited := w.places != nil
	w.places = nil
	return waited
}

// Ready delivers the reply once the waiter was served.
func (w *Waiter) Ready() <-chan []byte { return w.ready }

// Cancel gives up waiting. When the waiter was served before, its reply is
// returned instead.
func (e *Engine) Cancel(w *Waiter) (reply []byte, served bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.dequeue(w) {
		return nil, false
	}
	select {
	case reply = <-w.ready:
		return reply, true
	default: // the caller has taken it already, or it waited for no key
		return nil, false
	}
}

// serve lets the clients try again that wait for what the transaction wrote, as
// Redis does: key after key as they were written, and for each the
// longest-waiting first. Serving one may write a key that another waits for
// (BRPOPLPUSH).
func (e *Engine) serve(t *Tx) {
	for t.all || len(t.changed) > 0 {
		if t.all {
			t.all, t.changed = false, e.waitedFor()
			continue
		}
		k := t.changed[0]
		t.changed = t.changed[1:]
		q := e.waiting[k]
		if q == nil {
			continue
		}
		var next *list.Element
		for at := q.Front(); at != nil; at = next {
			// Mostly the first has taken what there was: the rest need not try.
			if q.absent == 0 && !e.mini.DB(k.db).Exists(k.key) {
				break
			}
			next = at.Next()
			w := at.Value.(*Waiter)
			if !w.alive() {
				continue
			}
			if reply, ok := w.try(t, true); ok {
				e.dequeue(w)
				w.ready <- reply
			}
		}
	}
}

// waitedFor lists the keys that somebody waits for, the longest-waiting first.
func (e *Engine) waitedFor() []dbKey {
	keys := slices.Collect(maps.Keys(e.waiting))
	slices.SortFunc(keys, func(a, b dbKey) int {
		return cmp.Compare(e.waiting[a].Front().Value.(*Waiter).turn, e.waiting[b].Front().Value.(*Waiter).turn)
	})
	return keys
}

// waits are the commands in which the engine itself would wait. It must not:
// the keyspace is locked, so nothing could ever wake it.
var waits = map[string]bool{"blpop": true, "brpop": true, "brpoplpush": true, "blmove": true, "bzpopmin": true, "bzpopmax": true, "bzmpop": true}

// withoutWaiting runs such a command in a transaction of the engine's own,
// where it takes what is there or answers at once that there is nothing.
func (e *Engine) withoutWaiting(c Call) []byte {
	e.dispatch(nil, c.Session, c.Proto, []string{"MULTI"})
	queued := e.dispatch(nil, c.Session, c.Proto, stringArgs(c.Args))
	if !bytes.HasPrefix(queued, []byte("+QUEUED")) {
		e.dispatch(nil, c.Session, c.Proto, []string{"DISCARD"})
		return queued
	}
	return bytes.TrimPrefix(e.dispatch(nil, c.Session, c.Proto, []string{"EXEC"}), []byte("*1\r\n"))
}

// withoutBlock takes BLOCK and its number out of an XREAD or XREADGROUP.
func withoutBlock(c Call) [][]byte {
	for i := 1; i+1 < len(c.Args); i++ {
		switch {
		case strings.EqualFold(string(c.Args[i]), "streams"):
			return c.Args
		case strings.EqualFold(string(c.Args[i]), "block"):
			return slices.Concat(c.Args[:i], c.Args[i+2:])
		}
	}
	return c.Args
}

package keyspace

import (
	"bytes"
	"container/list"
	"slices"
	"strings"
)

// Waiter is a client that waits for data: a blocking command that found none.
type Waiter struct {
	session *Session
	keys    []dbKey
	try     Attempt
	alive   func() bool
	ready   chan []byte
	place   *list.Element // nil once served or cancelled
}

// Attempt is the form of a blocking command that does not block: it runs with
// the keyspace locked and returns the reply, or false when there is nothing to
// reply with yet. waiting says that the client has waited already.
type Attempt func(tx *Tx, waiting bool) (reply []byte, ok bool)

// Block runs a blocking command. It returns the reply at once where there is
// one; otherwise the Waiter gets its turn when one of the keys is written, as
// long as alive says that the client is still there: nothing is taken out of
// the keyspace for a client that is gone.
//
// The caller must not use the session until the Waiter was served or
// cancelled.
func (e *Engine) Block(s *Session, keys [][]byte, alive func() bool, try Attempt) ([]byte, *Waiter) {
	e.mu.Lock()
	defer e.mu.Unlock()
	tx := Tx{e: e}
	defer tx.done()
	if reply, ok := try(&tx, false); ok {
		return reply, nil
	}
	w := &Waiter{session: s, try: try, alive: alive, ready: make(chan []byte, 1)}
	for _, k := range keys {
		w.keys = append(w.keys, dbKey{s.db, string(k)})
	}
	w.place = e.waiting.PushBack(w)
	return nil, w
}

// Ready delivers the reply once the waiter was served.
func (w *Waiter) Ready() <-chan []byte { return w.ready }

// Cancel gives up waiting. When the waiter was served before, its reply is
// returned instead.
func (e *Engine) Cancel(w *Waiter) (reply []byte, served bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if w.place != nil {
		e.waiting.Remove(w.place)
		w.place = nil
		return nil, false
	}
	select {
	case reply = <-w.ready:
		return reply, true
	default: // the caller has taken it already
		return nil, false
	}
}

// serve lets the waiting clients try again, the longest-waiting first, until
// what the transaction wrote helps nobody. Serving one may write a key that
// another waits for (BRPOPLPUSH).
func (e *Engine) serve(t *Tx) {
	for again := e.waiting.Len() > 0; again; {
		again = false
		var next *list.Element
		for el := e.waiting.Front(); el != nil; el = next {
			next = el.Next()
			w := el.Value.(*Waiter)
			if !t.concerns(w) || !w.alive() {
				continue
			}
			wrote := len(t.changed)
			reply, ok := w.try(t, true)
			if !ok {
				continue
			}
			e.waiting.Remove(el)
			w.place = nil
			w.ready <- reply
			again = again || t.all || len(t.changed) > wrote
		}
	}
}

func (t *Tx) concerns(w *Waiter) bool {
	if t.all {
		return true
	}
	for _, k := range w.keys {
		for _, c := range t.changed {
			if c == k {
				return true
			}
		}
	}
	return false
}

// waits are the commands in which the engine itself would wait. It must not:
// the keyspace is locked, so nothing could ever wake it.
var waits = map[string]bool{"blpop": true, "brpop": true, "brpoplpush": true, "blmove": true, "bzpopmin": true, "bzpopmax": true}

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

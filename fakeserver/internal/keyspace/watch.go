package keyspace

import (
	"bytes"
	"strconv"
)

// Watcher remembers the versions of the keys that a connection watches. The
// versions are the engine's own, so that a write counts wherever it comes from,
// a script and an expiry included, and a command that changes nothing does not.
type Watcher struct {
	session Session
	keys    []dbKey
	dirty   bool // set by what the engine does not count: a flush
}

// Watch adds keys of the session's database to w.
func (e *Engine) Watch(w *Watcher, s *Session, keys [][]byte) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.expire()
	e.dispatch(nil, &w.session, 2, []string{"SELECT", strconv.Itoa(s.db)})
	e.dispatch(nil, &w.session, 2, append([]string{"WATCH"}, stringArgs(keys)...))
	for _, k := range keys {
		w.keys = append(w.keys, dbKey{s.db, string(k)})
	}
	e.watchers[w] = struct{}{}
}

// Unwatch forgets w. It may be called for a watcher that watches nothing.
func (e *Engine) Unwatch(w *Watcher) {
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.watchers, w)
}

// Touched says whether a watched key changed since it was watched, and forgets
// the watcher.
func (t *Tx) Touched(w *Watcher) bool {
	e := t.e
	delete(e.watchers, w)
	if len(w.keys) == 0 || w.dirty {
		return w.dirty
	}
	e.expire()
	for _, k := range w.keys {
		if h := e.held[k.db][k.key]; h != nil {
			e.writeBack(k.db, k.key, h)
		}
	}
	// An empty transaction of the engine's own is its way to compare versions.
	e.dispatch(nil, &w.session, 2, []string{"MULTI"})
	return bytes.Equal(e.dispatch(nil, &w.session, 2, []string{"EXEC"}), []byte("*-1\r\n"))
}

// flushed marks the watchers of keys that a flush of db removes, -1 meaning
// all databases. exists tells whether a key is there before the flush.
func (e *Engine) flushed(db int, exists func(dbKey) bool) {
	for w := range e.watchers {
		for _, k := range w.keys {
			if (db < 0 || k.db == db) && exists(k) {
				w.dirty = true
				break
			}
		}
	}
}

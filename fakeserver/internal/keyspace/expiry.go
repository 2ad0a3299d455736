package keyspace

import (
	"container/heap"
	"time"
)

// timed are the commands after which a key may have another time to live.
var timed = map[string]bool{
	"expire": true, "pexpire": true, "expireat": true, "pexpireat": true, "setex": true, "psetex": true, "getex": true, "restore": true,
	"rename": true, "renamenx": true, "move": true, "copy": true, "blmove": true,
}

func isTimed(c Call) bool {
	if c.Command.Name == "set" {
		return len(c.Args) > 3
	}
	return timed[c.Command.Name]
}

// expire removes the keys and hash fields whose time has come.
func (e *Engine) expire() {
	if len(e.expiry.heap) == 0 {
		return
	}
	now := e.now()
	for len(e.expiry.heap) > 0 && !now.Before(e.expiry.heap[0].at) {
		d := heap.Pop(&e.expiry).(*deadline)
		delete(e.expiry.known, d.of)
		in := e.mini.DB(d.of.db)
		at, ok := e.deadlineOf(d.of)
		switch {
		case !ok:
		case now.Before(at):
			e.expiry.set(d.of, at)
		case d.of.isField:
			in.HDel(d.of.key, d.of.field)
			in.HPersist(d.of.key, d.of.field)
			if fields, _ := in.HKeys(d.of.key); len(fields) == 0 {
				e.removeExpired(d.of)
			}
		default:
			e.removeExpired(d.of)
		}
	}
}

func (e *Engine) removeExpired(m mortal) {
	delete(e.held[m.db], m.key)
	if e.mini.DB(m.db).Del(m.key) && e.expired != nil {
		e.expired(m.db, m.key)
	}
}

// removeIfPast removes a key that was given a time that is past: that is no
// expiry, says Redis, and so nobody is told of one.
func (e *Engine) removeIfPast(m mortal) {
	if at, ok := e.deadlineOf(m); ok && !e.now().Before(at) {
		delete(e.held[m.db], m.key)
		e.mini.DB(m.db).Del(m.key)
	}
}

// deadlineOf asks the engine.
func (e *Engine) deadlineOf(m mortal) (at time.Time, ok bool) {
	in := e.mini.DB(m.db)
	ttl := in.TTL(m.key)
	if m.isField {
		ttl = in.HTTL(m.key, m.field)
	}
	return e.epoch.Add(ttl), ttl != 0
}

// noteDeadlines looks at the times to live that a command left behind.
func (e *Engine) noteDeadlines(c Call) {
	if isTimed(c) {
		for _, k := range c.Command.Keys(c.Args) {
			if c.Command.Name == "getex" {
				e.removeIfPast(mortal{db: c.Session.db, key: string(k)})
			}
			e.noteDeadline(c.Session.db, string(k))
			if c.Command.Name == "move" || c.Command.Name == "copy" {
				e.noteEverywhere(string(k))
			}
		}
	}
	if e.script != nil {
		for _, k := range e.script.keys {
			e.noteEverywhere(k) // it may have selected another database
		}
	}
	if e.swapped {
		e.swapped = false
		for _, d := range append([]*deadline(nil), e.expiry.heap...) {
			e.noteEverywhere(d.of.key)
		}
	}
}

func (e *Engine) noteEverywhere(key string) {
	for db := range Databases {
		e.noteDeadline(db, key)
	}
}

func (e *Engine) noteDeadline(db int, key string) {
	if at, ok := e.deadlineOf(mortal{db: db, key: key}); ok {
		e.expiry.set(mortal{db: db, key: key}, at)
		e.forgetTheDead()
	}
	if !e.mortalFields {
		return
	}
	if fields, err := e.mini.DB(db).HKeys(key); err == nil {
		for _, f := range fields {
			e.noteField(db, key, f)
		}
	}
}

func (e *Engine) noteField(db int, key, field string) {
	e.mortalFields = true
	m := mortal{db, key, field, true}
	if at, ok := e.deadlineOf(m); ok {
		e.expiry.set(m, at)
		e.forgetTheDead()
	}
}

// forgetTheDead drops what is known of keys that were removed before their
// time, whenever the number of those known has doubled.
func (e *Engine) forgetTheDead() {
	d := &e.expiry
	if len(d.heap) < d.limit {
		return
	}
	kept := d.heap[:0]
	for _, item := range d.heap {
		if _, ok := e.deadlineOf(item.of); ok {
			item.index = len(kept)
			kept = append(kept, item)
		} else {
			delete(d.known, item.of)
		}
	}
	clear(d.heap[len(kept):])
	d.heap = kept
	heap.Init(d)
	d.limit = max(1024, 2*len(kept))
}

// volatile counts the keys of a database that have a time to live.
func (e *Engine) volatile(db int) int {
	n := 0
	for m := range e.expiry.known {
		if _, ok := e.deadlineOf(m); ok && m.db == db && !m.isField {
			n++
		}
	}
	return n
}

// mortal is a key, or a field of a hash, that has a time to live.
type mortal struct {
	db      int
	key     string
	field   string
	isField bool
}

// deadline says that something may expire then. It is a hint: it may be gone or
// may have got more time since.
type deadline struct {
	of    mortal
	at    time.Time
	index int
}

type deadlines struct {
	heap  []*deadline
	known map[mortal]*deadline
	limit int // of the heap's length, until the dead are forgotten
}

func (d *deadlines) set(m mortal, at time.Time) {
	if d.known == nil {
		d.known = map[mortal]*deadline{}
	}
	if known := d.known[m]; known != nil {
		known.at = at
		heap.Fix(d, known.index)
		return
	}
	item := &deadline{of: m, at: at}
	d.known[m] = item
	heap.Push(d, item)
}

// Len, Less, Swap, Push and Pop make it a heap.Interface.
func (d *deadlines) Len() int           { return len(d.heap) }
func (d *deadlines) Less(i, j int) bool { return d.heap[i].at.Before(d.heap[j].at) }
func (d *deadlines) Swap(i, j int) {
	d.heap[i], d.heap[j] = d.heap[j], d.heap[i]
	d.heap[i].index, d.heap[j].index = i, j
}
func (d *deadlines) Push(x any) {
	item := x.(*deadline)
	item.index = len(d.heap)
	d.heap = append(d.heap, item)
}
func (d *deadlines) Pop() any {
	last := len(d.heap) - 1
	item := d.heap[last]
	d.heap[last] = nil
	d.heap = d.heap[:last]
	return item
}

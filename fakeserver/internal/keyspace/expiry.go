package keyspace

import (
	"container/heap"
	"strconv"
	"time"
)

// The engine keeps a time to live per key and subtracts the time that has
// passed from every one of them when it is told the time. That is a walk over
// all keys, so it is told only when it matters: before a command that reads or
// sets times, and when a deadline that we have noted has come.

// timed are the commands that read the clock or a time to live, or may change
// a time to live.
var timed = map[string]bool{
	"expire": true, "pexpire": true, "expireat": true, "pexpireat": true, "ttl": true, "pttl": true, "persist": true,
	"setex": true, "psetex": true, "getex": true, "restore": true, "xadd": true, "object": true, "eval": true, "evalsha": true,
	"rename": true, "renamenx": true, "move": true, "copy": true, "xpending": true, "xclaim": true, "xinfo": true, "xreadgroup": true,
}

func isTimed(c Call) bool {
	if c.Command.Name == "set" {
		return len(c.Args) > 3
	}
	return timed[c.Command.Name]
}

// tick tells the engine the time if the next command needs it or a key is due.
func (e *Engine) tick(timed bool) {
	if len(e.expiry.heap) == 0 {
		if timed {
			// No key can expire: the clock may jump without the walk.
			e.mini.SetTime(e.now())
			e.mini.ClockTTL(true)
		}
		return
	}
	now := e.now()
	if !timed && now.Before(e.expiry.heap[0].at) {
		return
	}
	e.mini.SetTime(now)
	e.mini.DB(0) // any access makes the engine catch up
	for len(e.expiry.heap) > 0 && !now.Before(e.expiry.heap[0].at) {
		d := heap.Pop(&e.expiry).(*deadline)
		delete(e.expiry.byKey, d.key)
	}
}

// noteDeadlines looks at the times to live that a command left behind.
func (e *Engine) noteDeadlines(c Call) {
	for _, k := range c.Command.Keys(c.Args) {
		e.noteDeadline(c.Session, string(k))
	}
	if c.Script != nil {
		for _, k := range c.Script.keys {
			e.noteDeadline(&Session{db: c.Session.db, engine: c.Session.engine}, k)
		}
	}
	if c.Command.Name == "move" {
		if db, err := strconv.Atoi(string(c.Args[2])); err == nil && db >= 0 && db < Databases {
			target := Session{}
			(&Tx{e: e}).Select(&target, db)
			e.noteDeadline(&target, string(c.Args[1]))
		}
	}
}

func (e *Engine) noteDeadline(s *Session, key string) {
	if ms := replyInt(e.dispatch(nil, s, 2, []string{"PTTL", key})); ms >= 0 {
		e.expiry.set(dbKey{s.db, key}, e.now().Add(time.Duration(ms)*time.Millisecond))
	}
}

// volatile counts the keys of the session's database that have a time to live.
func (e *Engine) volatile(s *Session) int {
	n := 0
	for k := range e.expiry.byKey {
		if k.db == s.db && replyInt(e.dispatch(nil, s, 2, []string{"PTTL", k.key})) >= 0 {
			n++
		}
	}
	return n
}

// deadline says that a key may expire then. It is a hint: the key may be gone
// or may have got more time since.
type deadline struct {
	key   dbKey
	at    time.Time
	index int
}

type deadlines struct {
	heap  []*deadline
	byKey map[dbKey]*deadline
}

func (d *deadlines) set(k dbKey, at time.Time) {
	if d.byKey == nil {
		d.byKey = map[dbKey]*deadline{}
	}
	if known := d.byKey[k]; known != nil {
		known.at = at
		heap.Fix(d, known.index)
		return
	}
	item := &deadline{key: k, at: at}
	d.byKey[k] = item
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

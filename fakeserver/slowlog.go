package fakeserver

import (
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Bounds of a slow log entry, as in Redis.
const (
	slowlogArgs   = 32
	slowlogString = 128
)

// slowlog keeps the commands that took long. How long a command took is
// measured in real time, whatever the server's clock.
type slowlog struct {
	threshold atomic.Int64 // microseconds; negative: off
	capacity  atomic.Int64

	mu      sync.Mutex
	next    int64
	entries []slowEntry // oldest first
}

type slowEntry struct {
	id       int64
	at       time.Time
	duration time.Duration
	args     []string
	addr     string
	name     string
}

// wants says whether the command's time is to be taken. Quick commands are
// left out unless the threshold is so low that they could reach it.
func (l *slowlog) wants(t *trait) bool {
	threshold := l.threshold.Load()
	return threshold >= 0 && !t.unlogged && (!t.quick || threshold < 1000)
}

func (l *slowlog) add(q *request, d time.Duration) {
	threshold := l.threshold.Load()
	if threshold < 0 || d.Microseconds() < threshold {
		return
	}
	args := q.presentable()
	kept := make([]string, 0, min(len(args), slowlogArgs))
	for i, a := range args {
		if i == slowlogArgs-1 && len(args) > slowlogArgs {
			kept = append(kept, fmt.Sprintf("... (%d more arguments)", len(args)-slowlogArgs+1))
			break
		}
		if len(a) > slowlogString {
			kept = append(kept, fmt.Sprintf("%s... (%d more bytes)", a[:slowlogString], len(a)-slowlogString))
		} else {
			kept = append(kept, string(a))
		}
	}
	e := slowEntry{at: q.s.opts.clock.Now(), duration: d, args: kept, addr: q.c.remote}
	q.c.status.update(func(st *status) { e.name = st.name })
	l.mu.Lock()
	defer l.mu.Unlock()
	e.id = l.next
	l.next++
	l.entries = append(l.entries, e)
	l.trim()
}

func (l *slowlog) trim() {
	if extra := len(l.entries) - int(l.capacity.Load()); extra > 0 {
		l.entries = slices.Delete(l.entries, 0, extra)
	}
}

func (l *slowlog) reset() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.entries = nil
}

// cmdSlowlog is SLOWLOG.
func cmdSlowlog(q *request) {
	l := &q.s.slowlog
	switch {
	case q.is("help", 2, 2):
		q.help("GET [<count>] -- The newest entries, ten unless told: id, time, microseconds, arguments, address and name of the client.",
			"LEN -- The number of entries.", "RESET -- Forget them.")
	case q.is("reset", 2, 2):
		l.reset()
		q.simple("OK")
	case q.is("len", 2, 2):
		l.mu.Lock()
		n := len(l.entries)
		l.mu.Unlock()
		q.integer(int64(n))
	case q.is("get", 2, 3):
		q.slowlogGet()
	default:
		q.unknownSubcommand()
	}
}

func (q *request) slowlogGet() {
	count := int64(10)
	if len(q.args) == 3 {
		text := notAnInteger
		if q.since("7.0") {
			text = "ERR count should be greater than or equal to -1"
		}
		n, ok := q.number(q.args[2], text)
		if !ok {
			return
		}
		if n < -1 && q.since("7.0") {
			q.err(text)
			return
		}
		count = n
	}
	l := &q.s.slowlog
	l.mu.Lock()
	entries := slices.Clone(l.entries)
	l.mu.Unlock()
	slices.Reverse(entries)
	if count >= 0 {
		entries = entries[:min(count, int64(len(entries)))]
	}
	q.array(len(entries))
	for _, e := range entries {
		q.array(6)
		q.integer(e.id)
		q.integer(e.at.Unix())
		q.integer(e.duration.Microseconds())
		q.strings(e.args)
		q.bulk(e.addr)
		q.bulk(e.name)
	}
}

package fakeserver

import (
	"fmt"
	"sync"
	"sync/atomic"
)

// monitors are the connections that ran MONITOR: they are sent a line for every
// command that anybody runs.
type monitors struct {
	count atomic.Int32
	mu    sync.Mutex
	all   map[*subscriber]struct{}
}

func (m *monitors) any() bool { return m.count.Load() > 0 }

func (m *monitors) add(sub *subscriber) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.all == nil {
		m.all = map[*subscriber]struct{}{}
	}
	m.all[sub] = struct{}{}
	m.count.Store(int32(len(m.all))) // as many as there are connections
}

func (m *monitors) remove(sub *subscriber) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.all, sub)
	m.count.Store(int32(len(m.all)))
}

func (m *monitors) show(n *node, line []byte) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for sub := range m.all {
		if sub.c.node != n {
			continue
		}
		sub.push(func(b []byte, _ int) []byte { return append(b, line...) })
	}
}

// monitor shows the command to those who ran MONITOR, secrets left out.
func (q *request) monitor(t *trait) {
	if t.unmonitored {
		return
	}
	now := q.s.opts.clock.Now()
	from := q.c.remote
	if q.inScript {
		from = "lua"
	}
	line := fmt.Appendf(nil, "+%d.%06d [%d %s]", now.Unix(), now.Nanosecond()/1000, q.shownDB(), from)
	for _, a := range q.presentable() {
		line = appendRepr(append(line, ' '), a)
	}
	q.s.monitors.show(q.c.node, append(line, '\r', '\n'))
}

// appendRepr appends a string in quotes, with what is not printable escaped as
// Redis does it.
func appendRepr(b, s []byte) []byte {
	b = append(b, '"')
	for _, c := range s {
		switch c {
		case '\\', '"':
			b = append(b, '\\', c)
		case '\n':
			b = append(b, '\\', 'n')
		case '\r':
			b = append(b, '\\', 'r')
		case '\t':
			b = append(b, '\\', 't')
		case '\a':
			b = append(b, '\\', 'a')
		case '\b':
			b = append(b, '\\', 'b')
		default:
			if c >= ' ' && c <= '~' {
				b = append(b, c)
			} else {
				b = fmt.Appendf(b, "\\x%02x", c)
			}
		}
	}
	return append(b, '"')
}

// cmdMonitor is MONITOR.
func cmdMonitor(q *request) {
	if (q.tx != nil || q.inScript) && q.since("7.0") {
		q.err("ERR MONITOR isn't allowed for DENY BLOCKING client")
		return
	}
	q.inOrder(func(sub *subscriber) {
		q.s.monitors.add(sub)
		q.c.monitoring.Store(true)
		q.simple("OK")
	})
}

func (c *connection) stopMonitoring() {
	if c.monitoring.CompareAndSwap(true, false) {
		c.s.monitors.remove(c.sub.Load())
	}
}

package fakeserver

import (
	"sync"
	"time"
)

// pause is CLIENT PAUSE: until it ends, connections wait before they run what
// it holds up.
type pause struct {
	mu     sync.Mutex
	until  time.Time // zero: no pause
	all    bool      // not only what writes
	resume chan struct{}
}

// set begins a pause, or lengthens the one that is on: a later end and the
// stricter mode win.
func (p *pause) set(now, until time.Time, all bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.until.After(now) {
		all = all || p.all
		if p.until.After(until) {
			until = p.until
		}
		close(p.resume) // those who wait look again
	}
	p.until, p.all, p.resume = until, all, make(chan struct{})
}

// end ends the pause.
func (p *pause) end() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.resume != nil {
		close(p.resume)
	}
	p.until, p.resume = time.Time{}, nil
}

// holds says until when a command is held up, and a channel that is closed
// when that changes. A nil channel means that it may run.
func (p *pause) holds(now time.Time, writes bool) (time.Time, <-chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.resume == nil || !p.until.After(now) || !p.all && !writes {
		return time.Time{}, nil
	}
	return p.until, p.resume
}

// waitForPause waits while CLIENT PAUSE holds the command up. It reports
// whether the connection is still there.
func (q *request) waitForPause() bool {
	s, c := q.s, q.c
	if !s.pausing.Load() {
		return true
	}
	writes := s.traits[q.cmd.ID].replicates
	if q.cmd.Name == "exec" && c.multi != nil {
		for _, entry := range c.multi.queued {
			writes = writes || s.traits[entry.cmd.ID].replicates
		}
	}
	until, resumed := s.pause.holds(s.opts.clock.Now(), writes)
	if resumed == nil {
		return true
	}
	c.landed()
	q.flush()
	c.postponed.Store(true)
	defer c.postponed.Store(false)
	left, stop := c.guard.WatchDisconnect()
	defer stop()
	for resumed != nil {
		timer := s.opts.clock.NewTimer(until.Sub(s.opts.clock.Now()))
		select {
		case <-resumed:
		case <-timer.Chan():
		case <-left:
			c.kill(ReasonClientClosed)
		case <-c.gone:
		}
		timer.Stop()
		if !c.alive() {
			return false
		}
		until, resumed = s.pause.holds(s.opts.clock.Now(), writes)
	}
	return true
}

// clientPause is CLIENT PAUSE milliseconds [WRITE|ALL]; the mode came with 6.2.
func (q *request) clientPause() {
	all := true
	if len(q.args) == 4 {
		switch {
		case equalFold(q.args[3], "write"):
			all = false
		case equalFold(q.args[3], "all"):
		default:
			q.err("ERR CLIENT PAUSE mode must be WRITE or ALL")
			return
		}
	}
	d, ok := q.milliseconds(q.args[2])
	if !ok {
		return
	}
	now := q.s.opts.clock.Now()
	q.s.pause.set(now, now.Add(d), all)
	q.s.pausing.Store(true)
	q.simple("OK")
}

func (q *request) clientUnpause() {
	q.s.pausing.Store(false)
	q.s.pause.end()
	q.simple("OK")
}

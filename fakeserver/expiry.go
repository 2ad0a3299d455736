package fakeserver

import (
	"time"

	"github.com/jonboulle/clockwork"
)

// An expired token closes its connection without a word: "we have decided to
// … close an authenticated connection when the AAD token which was used for
// authentication expires" (Azure/azure-sdk-for-js#24791), which clients report
// as a closed socket (Azure/Microsoft.Azure.StackExchangeRedis#69). A timer
// does it while the connection is idle; a command that comes before the timer
// runs is not served either.
//
// A token that is presented later replaces the one before, also when it expires
// earlier; a refused one changes nothing. That is what follows from the sentence
// above; no source says it of the service.

// setDeadline closes the connection at that time; the zero time lifts an
// earlier deadline.
func (c *connection) setDeadline(at time.Time) {
	x := &c.expiry
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.timer != nil && !at.IsZero() && at.UnixNano() == x.at.Load() {
		return // the same token again
	}
	if x.timer != nil {
		x.timer.Stop()
		x.timer = nil
	}
	if at.IsZero() {
		x.at.Store(0)
		return
	}
	x.at.Store(at.UnixNano())
	x.timer = c.s.opts.clock.AfterFunc(max(0, at.Sub(c.s.opts.clock.Now())), c.expireWhenDue)
}

// expireWhenDue is the timer's end. The deadline may have moved since, and a
// wall clock that was set back meanwhile leaves some time to wait.
func (c *connection) expireWhenDue() {
	if c.expired(c.s.opts.clock.Now().UnixNano()) {
		c.kill(ReasonTokenExpired)
		return
	}
	x := &c.expiry
	x.mu.Lock()
	defer x.mu.Unlock()
	if at := x.at.Load(); at != 0 && c.alive() {
		if x.timer != nil {
			x.timer.Stop()
		}
		x.timer = c.s.opts.clock.AfterFunc(max(0, time.Unix(0, at).Sub(c.s.opts.clock.Now())), c.expireWhenDue)
	}
}

// expired says whether the deadline has come at a time in Unix nanoseconds.
func (c *connection) expired(now int64) bool {
	at := c.expiry.at.Load()
	return at != 0 && now >= at
}

// stopTimers is for a connection that has ended.
func (c *connection) stopTimers() {
	x := &c.expiry
	x.mu.Lock()
	defer x.mu.Unlock()
	x.at.Store(0)
	for _, timer := range []*clockwork.Timer{&x.timer, &c.idle.timer} {
		if *timer != nil {
			(*timer).Stop()
			*timer = nil
		}
	}
}

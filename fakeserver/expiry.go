package fakeserver

import (
	"container/heap"
	"sync"
	"sync/atomic"
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

// expiry is when a connection is to be closed.
type expiry struct {
	at    atomic.Int64 // Unix nanoseconds; 0: never
	place int          // in expiries.queue, from 1; 0: not there
}

// expiries closes connections when their tokens expire. One timer serves all of
// them, so that thousands that expire together are closed together.
type expiries struct {
	clock clockwork.Clock

	mu    sync.Mutex // guards what follows, and the expiry of every connection but for reading at
	queue expiryQueue
	timer clockwork.Timer // nil while it does not run
	rings int64           // when it does, in Unix nanoseconds
}

// setDeadline closes the connection at that time; the zero time lifts an
// earlier deadline.
func (c *connection) setDeadline(at time.Time) {
	var nano int64
	if !at.IsZero() {
		nano = at.UnixNano()
	}
	if c.expiry.at.Load() == nano {
		return // the same token again
	}
	x := &c.s.expiries
	x.mu.Lock()
	defer x.mu.Unlock()
	c.expiry.at.Store(nano)
	switch place := c.expiry.place; {
	case nano == 0 && place == 0:
	case nano == 0:
		heap.Remove(&x.queue, place-1)
	case place == 0:
		heap.Push(&x.queue, c)
	default:
		heap.Fix(&x.queue, place-1)
	}
	x.setTimer()
}

// setTimer lets the timer run until the first deadline; mu is held.
func (x *expiries) setTimer() {
	switch {
	case len(x.queue) == 0 && x.timer == nil:
		return
	case len(x.queue) > 0 && x.timer != nil && x.queue[0].expiry.at.Load() == x.rings:
		return
	case x.timer != nil:
		x.timer.Stop()
		x.timer = nil
	}
	if len(x.queue) > 0 {
		x.rings = x.queue[0].expiry.at.Load()
		x.timer = x.clock.AfterFunc(max(0, time.Unix(0, x.rings).Sub(x.clock.Now())), x.ring)
	}
}

// ring is the timer's end. A wall clock that was set back meanwhile leaves some
// time to wait.
func (x *expiries) ring() {
	x.mu.Lock()
	now := x.clock.Now().UnixNano()
	var due []*connection
	for len(x.queue) > 0 && x.queue[0].expired(now) {
		due = append(due, heap.Pop(&x.queue).(*connection))
	}
	x.timer = nil
	x.setTimer()
	x.mu.Unlock()
	killAll(due, ReasonTokenExpired)
}

// expired says whether the deadline has come at a time in Unix nanoseconds.
func (c *connection) expired(now int64) bool {
	at := c.expiry.at.Load()
	return at != 0 && now >= at
}

// stopTimers is for a connection that has ended.
func (c *connection) stopTimers() {
	c.setDeadline(time.Time{})
	c.idle.stop()
}

// expiryQueue is a heap of the connections with a deadline.
type expiryQueue []*connection

func (q expiryQueue) Len() int           { return len(q) }
func (q expiryQueue) Less(i, j int) bool { return q[i].expiry.at.Load() < q[j].expiry.at.Load() }

func (q expiryQueue) Swap(i, j int) {
	q[i], q[j] = q[j], q[i]
	q[i].expiry.place, q[j].expiry.place = i+1, j+1
}

// Push and Pop are for package heap.
func (q *expiryQueue) Push(c any) {
	*q = append(*q, c.(*connection))
	c.(*connection).expiry.place = len(*q)
}

func (q *expiryQueue) Pop() any {
	n := len(*q) - 1
	c := (*q)[n]
	(*q)[n] = nil
	*q = (*q)[:n]
	c.expiry.place = 0
	return c
}

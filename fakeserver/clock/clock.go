// Package clock is a clock whose rate can be changed while it runs: frozen,
// advanced, slowed down or sped up. It implements [clockwork.Clock], and so goes
// into the options of both fakes (WithClock); clockwork's own fake clock moves
// only by hand.
//
// A Clock shows the real time until something is changed. Whoever waits by it
// waits for a moment, not for a duration of real time: a timer that was set
// before a change of rate, or before a jump, fires when the clock shows its
// moment.
//
// It has no goroutine of its own, and reads and waits by package time only, so
// that it works inside a testing/synctest bubble if it was made there.
package clock

import (
	"container/heap"
	"fmt"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jonboulle/clockwork"
)

// MaxRate is the highest rate that SetRate takes: a year passes in half a
// minute. Beyond it a timer's real wait is shorter than what it takes to fire.
const MaxRate = 1e6

// Clock is a clock whose rate can be changed. Its methods are safe for
// concurrent use.
type Clock struct {
	face atomic.Pointer[face]

	mu      sync.Mutex // guards what follows, and every change of face
	running float64    // the rate, also while frozen
	waiting waiters
	alarm   *time.Timer // for the first of waiting; nil until it is needed
}

var _ clockwork.Clock = (*Clock)(nil)

// face says what the clock shows: at the real time since it shows from, and
// from there on it moves at the rate.
type face struct {
	since, from time.Time
	rate        float64
}

func (f *face) at(real time.Time) time.Time {
	switch f.rate {
	case 1:
		// Not by what has passed since: a wall clock that is put right moves
		// this one too, as it does any other.
		return real.Add(f.from.Sub(f.since))
	case 0:
		return f.from
	default:
		return f.from.Add(scale(real.Sub(f.since), f.rate))
	}
}

// New returns a clock that shows the real time, at rate 1.
func New() *Clock {
	c := &Clock{running: 1}
	now := time.Now()
	c.face.Store(&face{since: now, from: now, rate: 1})
	return c
}

// NewFrozenAt returns a clock that stands still at t.
func NewFrozenAt(t time.Time) *Clock {
	c := &Clock{running: 1}
	c.face.Store(&face{since: time.Now(), from: t})
	return c
}

// Freeze makes the clock stand still. Advance still moves it.
func (c *Clock) Freeze() {
	c.change(func(f *face) { f.rate = 0 })
}

// Resume lets a frozen clock go on at the rate it had.
func (c *Clock) Resume() {
	c.change(func(f *face) { f.rate = c.running })
}

// SetRate sets how many seconds of the clock pass in a real second, also of a
// clock that is frozen, which then goes on. 0 freezes it. The error says that
// the rate is negative, above MaxRate, or no number.
func (c *Clock) SetRate(rate float64) error {
	if !(rate >= 0 && rate <= MaxRate) {
		return fmt.Errorf("set the clock's rate: expected 0 to %g seconds for each real one, got %g", float64(MaxRate), rate)
	}
	if rate == 0 {
		c.Freeze()
		return nil
	}
	c.change(func(f *face) {
		c.running = rate
		f.rate = rate
	})
	return nil
}

// Advance moves the clock by d at once, whatever its rate. What waits for a
// moment that is passed over fires when Advance returns or right after; it then
// sees the time that the clock was moved to, as after a machine's sleep, and a
// ticker ticks once. A negative d sets the clock back.
func (c *Clock) Advance(d time.Duration) {
	c.change(func(f *face) { f.from = f.from.Add(d) })
}

// Reset makes the clock show the real time again, at rate 1, as New does.
// Where that is back in time, what waits goes on waiting for its moment.
func (c *Clock) Reset() {
	c.change(func(f *face) {
		c.running = 1
		f.from, f.rate = f.since, 1
	})
}

// Rate is how many seconds of the clock pass in a real second: 0 when frozen.
func (c *Clock) Rate() float64 { return c.face.Load().rate }

// Frozen says whether the clock stands still.
func (c *Clock) Frozen() bool { return c.Rate() == 0 }

// change lets f alter the face as of now, and sets the alarm anew.
func (c *Clock) change(f func(*face)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	next := *c.face.Load()
	next.from, next.since = next.at(now), now
	f(&next)
	c.face.Store(&next)
	c.ring()
}

// Now returns the time that the clock shows.
func (c *Clock) Now() time.Time { return c.face.Load().at(time.Now()) }

// Since returns the clock's time that has passed since t.
func (c *Clock) Since(t time.Time) time.Duration { return c.Now().Sub(t) }

// Until returns the clock's time that is left until t.
func (c *Clock) Until(t time.Time) time.Duration { return t.Sub(c.Now()) }

// Sleep waits until d has passed on the clock.
func (c *Clock) Sleep(d time.Duration) { <-c.After(d) }

// After returns a channel that gets the time once d has passed on the clock.
func (c *Clock) After(d time.Duration) <-chan time.Time { return c.NewTimer(d).Chan() }

// NewTimer returns a timer that fires once d has passed on the clock. After
// Stop and Reset its channel holds nothing from before.
func (c *Clock) NewTimer(d time.Duration) clockwork.Timer {
	w := &waiter{clock: c, ch: make(chan time.Time, 1), place: -1}
	w.Reset(d)
	return w
}

// AfterFunc calls f in a goroutine of its own once d has passed on the clock.
func (c *Clock) AfterFunc(d time.Duration, f func()) clockwork.Timer {
	w := &waiter{clock: c, call: f, place: -1}
	w.Reset(d)
	return w
}

// NewTicker returns a ticker that ticks every d of the clock; as with
// [time.Ticker], a tick that nobody takes is dropped. It panics if d is not
// positive.
func (c *Clock) NewTicker(d time.Duration) clockwork.Ticker {
	t := ticker{&waiter{clock: c, ch: make(chan time.Time, 1), place: -1}}
	t.Reset(d)
	return t
}

// ring fires what is due and sets the alarm for what comes next. c.mu is held.
func (c *Clock) ring() {
	f := c.face.Load()
	now := f.at(time.Now())
	for len(c.waiting) > 0 && !c.waiting[0].due.After(now) {
		w := c.waiting[0]
		if w.every > 0 {
			missed := now.Sub(w.due) / w.every
			w.due = w.due.Add((missed + 1) * w.every)
			heap.Fix(&c.waiting, 0)
		} else {
			heap.Pop(&c.waiting)
		}
		w.fire(now)
	}
	switch {
	case len(c.waiting) == 0 || f.rate == 0:
		if c.alarm != nil {
			c.alarm.Stop()
		}
		return
	case c.alarm == nil:
		c.alarm = time.AfterFunc(math.MaxInt64, c.onAlarm)
	}
	left := c.waiting[0].due.Sub(now)
	if f.rate != 1 {
		left = scale(left, 1/f.rate)
	}
	// Never nothing: rounding could otherwise make it ring without end.
	c.alarm.Reset(max(left, 1))
}

func (c *Clock) onAlarm() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ring()
}

// scale multiplies, up to what a Duration holds.
func scale(d time.Duration, by float64) time.Duration {
	v := float64(d) * by
	if v >= math.MaxInt64 {
		return math.MaxInt64
	}
	return time.Duration(math.Ceil(v))
}

// waiter is a timer, or with every a ticker.
type waiter struct {
	clock *Clock
	ch    chan time.Time // nil with call
	call  func()

	// Guarded by clock.mu.
	due   time.Time
	every time.Duration
	place int // in clock.waiting, -1 when it does not wait
}

// Chan is the timer's channel, nil for AfterFunc.
func (w *waiter) Chan() <-chan time.Time { return w.ch }

// Reset sets the timer anew, and says whether it was waiting.
func (w *waiter) Reset(d time.Duration) bool {
	c := w.clock
	c.mu.Lock()
	defer c.mu.Unlock()
	waited := w.remove()
	w.due = c.Now().Add(d)
	heap.Push(&c.waiting, w)
	if w.place == 0 || waited {
		c.ring()
	}
	return waited
}

// Stop ends the timer, and says whether it was waiting.
func (w *waiter) Stop() bool {
	w.clock.mu.Lock()
	defer w.clock.mu.Unlock()
	return w.remove()
}

// remove takes the waiter out of those that wait, with what it has sent already.
// The alarm stays: it rings for nothing at worst. clock.mu is held.
func (w *waiter) remove() bool {
	select {
	case <-w.ch:
	default:
	}
	if w.place < 0 {
		return false
	}
	heap.Remove(&w.clock.waiting, w.place)
	return true
}

func (w *waiter) fire(now time.Time) {
	if w.call != nil {
		go w.call()
		return
	}
	select {
	case w.ch <- now:
	default:
	}
}

type ticker struct{ w *waiter }

func (t ticker) Chan() <-chan time.Time { return t.w.ch }

func (t ticker) Stop() { t.w.Stop() }

func (t ticker) Reset(d time.Duration) {
	if d <= 0 {
		panic(fmt.Sprintf("clock: a ticker needs a positive interval, got %s", d))
	}
	t.w.clock.mu.Lock()
	t.w.every = d
	t.w.clock.mu.Unlock()
	t.w.Reset(d)
}

// waiters is a heap, the first one due on top.
type waiters []*waiter

func (h waiters) Len() int           { return len(h) }
func (h waiters) Less(i, j int) bool { return h[i].due.Before(h[j].due) }

func (h waiters) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].place, h[j].place = i, j
}

// Push and Pop are for package heap.
func (h *waiters) Push(x any) {
	w := x.(*waiter)
	w.place = len(*h)
	*h = append(*h, w)
}

func (h *waiters) Pop() any {
	old := *h
	w := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	w.place = -1
	return w
}

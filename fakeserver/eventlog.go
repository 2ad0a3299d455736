package fakeserver

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"regexp"
	"slices"
	"sort"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/jonboulle/clockwork"
)

// eventLog is append-only: an event never changes once it is in. Once there are
// too many the oldest go, and a gap stands in their place.
type eventLog struct {
	clock clockwork.Clock
	limit int // 0: none

	mu sync.Mutex
	// chunks hold the events, oldest first; none is empty. A chunk does not move in
	// memory, so that readers may look at what was in it, and that an event costs the
	// same however many there are.
	chunks  [][]Event
	kept    int           // in all chunks
	last    int64         // Seq of the newest
	changed chan struct{} // closed at the next event; nil if nobody waits for it
	ended   bool          // there will be no more
}

const (
	firstChunk   = 16 // events
	largestChunk = 1024
)

// append stamps an event and keeps it. Times are in the order of the log.
func (l *eventLog) append(e *Event) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.last++
	e.Seq, e.Time = l.last, l.clock.Now()
	n := len(l.chunks)
	if n == 0 || len(l.chunks[n-1]) == cap(l.chunks[n-1]) {
		size := firstChunk
		if n > 0 {
			size = min(max(size, 2*cap(l.chunks[n-1])), largestChunk)
		}
		l.chunks = append(l.chunks, make([]Event, 0, size))
		n++
	}
	l.chunks[n-1] = append(l.chunks[n-1], *e)
	l.kept++
	if l.limit > 0 && l.kept > l.limit {
		l.trim()
	}
	l.wake()
}

func (l *eventLog) wake() {
	if l.changed != nil {
		close(l.changed)
		l.changed = nil
	}
}

// trim makes room for a quarter of the limit, so that not every event leaves a gap
// of its own.
func (l *eventLog) trim() {
	drop := l.kept - (l.limit - l.limit/4)
	l.kept += 1 - drop
	for drop > len(l.chunks[0]) {
		drop -= len(l.chunks[0])
		l.chunks = l.chunks[1:]
	}
	end := l.chunks[0][drop-1]
	gap := Event{Seq: end.Seq, Time: end.Time, Kind: EventGap, Detail: fmt.Sprintf("the events up to %d are no longer kept", end.Seq)}
	// A copy leaves alone what readers hold.
	rest := append([]Event{gap}, l.chunks[0][drop:]...)
	l.chunks = append([][]Event{rest}, l.chunks[1:]...)
}

// end says that there will be no more events.
func (l *eventLog) end() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ended = true
	l.wake()
}

// since returns the events after seq, in one slice or several, and a channel that
// is closed at the next one; nil if there will be none.
func (l *eventLog) since(seq int64) ([][]Event, <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	first := sort.Search(len(l.chunks), func(i int) bool { c := l.chunks[i]; return c[len(c)-1].Seq > seq })
	events := slices.Clone(l.chunks[first:])
	if len(events) > 0 {
		oldest := events[0]
		events[0] = oldest[sort.Search(len(oldest), func(i int) bool { return oldest[i].Seq > seq }):]
	}
	if l.ended {
		return events, nil
	}
	if l.changed == nil {
		l.changed = make(chan struct{})
	}
	return events, l.changed
}

// Events returns everything that happened so far, oldest first. If some of it is
// no longer kept, the first is a gap (EventGap).
func (s *Server) Events() []Event { return s.EventsSince(0) }

// EventsSince returns the events whose Seq is greater than seq.
func (s *Server) EventsSince(seq int64) []Event {
	events, _ := s.log.since(seq)
	return slices.Concat(events...)
}

// Follow returns the events whose Seq is greater than seq, those that are there
// and those to come, in order and each once, until the context is done, or the
// server is closed and everything was told. None is ever left out silently: who
// is so slow that events went meanwhile gets a gap (EventGap) in their place.
func (s *Server) Follow(ctx context.Context, seq int64) iter.Seq[Event] {
	return func(yield func(Event) bool) {
		for seq := seq; ; {
			events, changed := s.log.since(seq)
			for _, chunk := range events {
				for _, e := range chunk {
					if ctx.Err() != nil || !yield(e) {
						return
					}
					seq = e.Seq
				}
			}
			if changed == nil {
				return
			}
			select {
			case <-changed:
			case <-ctx.Done():
				return
			}
		}
	}
}

var (
	// ErrClosed is returned by the methods that wait for an event when the server
	// is closed and there will be none any more.
	ErrClosed = errors.New("the fake cache is closed, nothing will happen any more")
	// ErrGap is returned by the methods that must see every event when some are
	// gone; see WithEventLimit.
	ErrGap = errors.New("events are missing; give the cache a higher WithEventLimit, or none")
)

// Wait returns the first event, past or to come, for which match is true. match
// is called once for each event, in order, from the calling goroutine. The error
// is that of ctx, or ErrClosed.
func (s *Server) Wait(ctx context.Context, match func(Event) bool) (Event, error) {
	for e := range s.Follow(ctx, 0) {
		if match(e) {
			return e, nil
		}
	}
	return Event{}, whyNot(ctx)
}

func whyNot(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return ErrClosed
}

// WaitSignedOut waits until user, the object ID of a token or "default" for access
// keys, has been signed in on a connection and is on none any more: all of them
// are closed, or were given another identity. It returns the last event of that.
// The error tells on how many connections the user still is; it wraps that of
// ctx, ErrClosed or ErrGap.
func (s *Server) WaitSignedOut(ctx context.Context, user string) (Event, error) {
	on := map[int64]bool{}
	for e := range s.Follow(ctx, 0) {
		if e.Kind == EventGap {
			return Event{}, fmt.Errorf("wait until %s is signed out: %w", user, ErrGap)
		}
		was := on[e.Conn]
		switch {
		case e.Kind == EventConnectionClosed:
			delete(on, e.Conn)
		case e.Kind == EventAuth && e.Outcome == OutcomeOK && e.User == user:
			on[e.Conn] = true
		case e.Kind == EventAuth && e.Outcome == OutcomeOK:
			delete(on, e.Conn)
		}
		if was && len(on) == 0 {
			return e, nil
		}
	}
	return Event{}, fmt.Errorf("wait until %s is signed out: it is signed in on %d connections: %w", user, len(on), whyNot(ctx))
}

// WaitRenewed waits until user, an object ID, has renewed n times altogether: an
// AUTH or HELLO with AUTH that was accepted, on a connection where it was signed
// in already, with a token that expires later than the one before. It returns
// these n events. The error tells how many there were; it wraps that of ctx,
// ErrClosed or ErrGap.
func (s *Server) WaitRenewed(ctx context.Context, user string, n int) ([]Event, error) {
	tokens := map[int64]*TokenInfo{}
	var renewed []Event
	for e := range s.Follow(ctx, 0) {
		switch {
		case e.Kind == EventGap:
			return renewed, fmt.Errorf("wait for %d renewals of %s: %w", n, user, ErrGap)
		case e.Kind == EventConnectionClosed:
			delete(tokens, e.Conn)
			continue
		case e.Kind != EventAuth || e.Outcome != OutcomeOK:
			continue
		case e.User != user || e.Token == nil:
			delete(tokens, e.Conn)
			continue
		}
		if old := tokens[e.Conn]; old != nil && e.Token.Expires.After(old.Expires) {
			renewed = append(renewed, e)
		}
		if tokens[e.Conn] = e.Token; len(renewed) == n {
			return renewed, nil
		}
	}
	return renewed, fmt.Errorf("wait for %d renewals of %s: there were %d: %w", n, user, len(renewed), whyNot(ctx))
}

// record appends an event, without the secrets that a client may have put where
// none belongs.
func (s *Server) record(e Event) {
	e.User, e.Command, e.Detail = s.secrets.hide(e.User), s.secrets.hide(e.Command), s.secrets.hide(e.Detail)
	if e.Conn != 0 && e.Node == "" && s.many() {
		s.connsMu.Lock()
		if c := s.conns[e.Conn]; c != nil {
			e.Node = c.node.name
		}
		s.connsMu.Unlock()
	}
	s.counts.count(&e)
	s.log.append(&e)
}

// secrets are the access keys that there have been. Some events repeat what a
// client sent, and it may have sent a key or a token in the wrong place.
type secrets struct {
	mu   sync.Mutex
	keys atomic.Pointer[[]string]
}

// shortestSecret keeps a key of a letter or two, which is none, from being blanked
// out of every other word.
const shortestSecret = 6

func (x *secrets) add(keys ...string) {
	x.mu.Lock()
	defer x.mu.Unlock()
	var all []string
	if old := x.keys.Load(); old != nil {
		all = *old
	}
	all = slices.Clip(all)
	for _, key := range keys {
		if len(key) >= shortestSecret {
			// Of a command's name no more than 32 bytes are shown, in lower case.
			all = append(all, key, strings.ToLower(key[:min(len(key), 32)]))
		}
	}
	x.keys.Store(&all)
}

// tokenText is a JWT, or the beginning of one: its header is a JSON object, which
// begins with {" and so, in base64, with eyJ. Names of commands are in lower case.
var tokenText = regexp.MustCompile(`(?i)eyJ[a-z0-9_-]{8,}(\.[a-z0-9_-]*){0,4}`)

// hide replaces the access keys, and whatever looks like a token.
func (x *secrets) hide(text string) string {
	if len(text) < shortestSecret {
		return text
	}
	if strings.Contains(text, "eyJ") || strings.Contains(text, "eyj") {
		text = tokenText.ReplaceAllString(text, redacted)
	}
	for _, key := range *x.keys.Load() {
		if strings.Contains(text, key) {
			text = strings.ReplaceAll(text, key, redacted)
		}
	}
	return text
}

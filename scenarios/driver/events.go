package driver

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/entracache/entracache/scenarios/protocol"
)

// Event is an event with the time at which it arrived.
type Event struct {
	protocol.Event
	Time time.Time
}

// eventLog keeps all events of each client, in the order in which they came. Nothing is dropped until the client is
// forgotten.
type eventLog struct {
	mu      sync.Mutex
	clients map[string][]Event // a client that was opened has an entry, if only nil
	changed chan struct{}      // closed and replaced at every event
}

func newEventLog() *eventLog {
	return &eventLog{clients: map[string][]Event{}, changed: make(chan struct{})}
}

func (l *eventLog) opened(client string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, ok := l.clients[client]; !ok {
		l.clients[client] = nil
	}
}

// add is false if no such client was ever opened.
func (l *eventLog) add(event Event) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, ok := l.clients[event.Client]; !ok {
		return false
	}
	l.clients[event.Client] = append(l.clients[event.Client], event)
	close(l.changed)
	l.changed = make(chan struct{})
	return true
}

func (l *eventLog) of(client string) ([]Event, <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.clients[client]), l.changed
}

func (l *eventLog) forget(client string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, ok := l.clients[client]; ok {
		l.clients[client] = nil // the name stays known: an event may still be on its way
	}
}

// Events are all events of a client so far, in the order in which they came.
func (d *Driver) Events(client string) []Event {
	events, _ := d.events.of(client)
	return events
}

// WaitEvent waits for an event of the client that match accepts; earlier events count. The error is ctx's, or the driver's if
// it breaks meanwhile.
func (d *Driver) WaitEvent(ctx context.Context, client string, match func(Event) bool) (Event, error) {
	for {
		events, changed := d.events.of(client)
		if at := slices.IndexFunc(events, match); at >= 0 {
			return events[at], nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return Event{}, context.Cause(ctx)
		case <-d.broken:
			return Event{}, d.Err()
		}
	}
}

// Forget drops the events of a client that is closed.
func (d *Driver) Forget(client string) { d.events.forget(client) }

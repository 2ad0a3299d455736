package fakeentra

import (
	"sync"
	"time"
)

// maxOnce bounds what a client can make the server remember.
const maxOnce = 10_000

// onceSet remembers keys until they expire, to tell whether one is new.
type onceSet struct {
	mu   sync.Mutex
	seen map[string]time.Time // until when
}

// first reports whether the key has not been seen before, and remembers it.
func (o *onceSet) first(key string, now, until time.Time) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if seen, ok := o.seen[key]; ok && now.Before(seen) {
		return false
	}
	if o.seen == nil {
		o.seen = map[string]time.Time{}
	}
	if len(o.seen) >= maxOnce {
		for k, t := range o.seen {
			if !now.Before(t) || len(o.seen) >= maxOnce {
				delete(o.seen, k)
			}
		}
	}
	o.seen[key] = until
	return true
}

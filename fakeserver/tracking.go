package fakeserver

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/entracache/entracache/fakeserver/internal/resp"
)

// tracker is server-assisted client-side caching: it remembers which connection
// read which key and tells it once when the key changes, or tells of every
// change of keys with some prefix. As in Redis, keys of the same name in
// different databases are the same here.
type tracker struct {
	s       *Server
	clients atomic.Int32 // connections that track
	// remembers says that there is something in readers.
	remembers atomic.Bool

	mu        sync.Mutex
	readers   map[string]map[*connection]struct{} // by key; told once
	broadcast map[*connection]struct{}
	most      int // keys in readers; 0: no limit
	// held are, while a transaction or script runs, the changes that are
	// broadcast at its end, in one message.
	holding bool
	held    []heldChange
}

type heldChange struct {
	by  *connection
	key string
}

// tracking is one connection's side of it, guarded by the tracker's mu.
type tracking struct {
	on, bcast, optIn, optOut, noLoop bool
	caching                          bool // CLIENT CACHING was given for the next command
	prefixes                         []string
	redirect                         int64 // whom to tell; 0: the connection itself
	broken                           bool  // the one to tell is gone
}

const invalidateChannel = "__redis__:invalidate"

func (t *tracker) state(c *connection) tracking {
	t.mu.Lock()
	defer t.mu.Unlock()
	return c.tracking
}

func (t *tracker) enable(c *connection, state tracking) {
	t.mu.Lock()
	defer t.mu.Unlock()
	state.on = true
	if c.tracking.on {
		state.caching = c.tracking.caching
		if state.bcast {
			state.prefixes = append(slices.Clone(c.tracking.prefixes), state.prefixes...)
		}
	} else {
		t.clients.Add(1)
	}
	c.tracking = state
	c.tracks.Store(true)
	c.tracked.Store(true)
	if state.bcast {
		t.broadcast[c] = struct{}{}
	}
}

// disable ends tracking. What the connection has read is not forgotten: should it
// track again, it is told of that too, as Redis does.
func (t *tracker) disable(c *connection) {
	if !c.tracks.Load() {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.stop(c)
}

// stop is disable while mu is held.
func (t *tracker) stop(c *connection) {
	if c.tracking.on {
		c.tracks.Store(false)
		c.tracking = tracking{}
		t.clients.Add(-1)
		delete(t.broadcast, c)
	}
}

// leave is for a connection that has ended.
func (t *tracker) leave(c *connection) {
	if !c.tracked.Load() {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.stop(c)
	for key, readers := range t.readers {
		delete(readers, c)
		if len(readers) == 0 {
			delete(t.readers, key)
		}
	}
	t.remembers.Store(len(t.readers) > 0)
}

func (t *tracker) cachingDone(c *connection) {
	t.mu.Lock()
	defer t.mu.Unlock()
	c.tracking.caching = false
}

// remember notes that the connection is about to read the keys.
func (t *tracker) remember(c *connection, keys [][]byte) {
	t.mu.Lock()
	defer t.mu.Unlock()
	st := &c.tracking
	if !st.on || st.bcast || st.optIn && !st.caching || st.optOut && st.caching {
		return
	}
	for _, k := range keys {
		readers := t.readers[string(k)]
		if readers == nil {
			readers = map[*connection]struct{}{}
			t.readers[string(k)] = readers
		}
		readers[c] = struct{}{}
	}
	t.remembers.Store(true)
	t.forgetSome()
}

// limit sets how many keys are remembered, 0 for no limit.
func (t *tracker) limit(keys int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.most = keys
	t.forgetSome()
}

// forgetSome keeps to the limit, as Redis does by giving up any keys: those who
// read them are told that they have changed.
func (t *tracker) forgetSome() {
	for key, readers := range t.readers {
		if t.most <= 0 || len(t.readers) <= t.most {
			return
		}
		delete(t.readers, key)
		for c := range readers {
			if c.tracking.on && !c.tracking.bcast {
				t.tell(c, []string{key})
			}
		}
	}
}

// changed tells those who track the keys. by is the connection that changed
// them, nil if none did.
func (t *tracker) changed(by *connection, keys []string) {
	if t.clients.Load() == 0 && !t.remembers.Load() || len(keys) == 0 {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, key := range keys {
		readers := t.readers[key]
		delete(t.readers, key)
		for c := range readers {
			if st := &c.tracking; st.on && !st.bcast && (!st.noLoop || c != by) {
				t.tell(c, []string{key})
			}
		}
	}
	t.remembers.Store(len(t.readers) > 0)
	if len(t.broadcast) == 0 {
		return
	}
	for _, key := range keys {
		t.held = append(t.held, heldChange{by, key})
	}
	if !t.holding {
		t.broadcastHeld()
	}
}

// together makes one broadcast of all the changes that f makes, with the
// keyspace locked.
func (t *tracker) together(f func()) {
	if t.clients.Load() == 0 {
		f()
		return
	}
	t.mu.Lock()
	nested := t.holding
	t.holding = true
	t.mu.Unlock()
	defer func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		if t.holding = nested; !nested {
			t.broadcastHeld()
		}
	}()
	f()
}

// broadcastHeld tells those who want broadcasts, in a message for each of
// their prefixes.
func (t *tracker) broadcastHeld() {
	held := t.held
	t.held = nil
	if len(held) == 0 {
		return
	}
	for c := range t.broadcast {
		for _, prefix := range c.tracking.prefixes {
			var keys []string
			for _, change := range held {
				if (!c.tracking.noLoop || c != change.by) && strings.HasPrefix(change.key, prefix) {
					keys = append(keys, change.key)
				}
			}
			slices.Sort(keys)
			keys = slices.Compact(keys)
			if len(keys) > 0 {
				t.tell(c, keys)
			}
		}
	}
}

// flushed tells everybody that tracks that all keys may have changed; in a
// clustered cache those of one shard, whose number is that of the database.
func (t *tracker) flushed(db int) {
	if t.clients.Load() == 0 && !t.remembers.Load() {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.s.clustered {
		for key, readers := range t.readers {
			for c := range readers {
				if c.node.shard == db {
					delete(readers, c)
				}
			}
			if len(readers) == 0 {
				delete(t.readers, key)
			}
		}
	} else {
		t.readers = map[string]map[*connection]struct{}{}
	}
	t.s.connsMu.Lock()
	var tracking []*connection
	for _, c := range t.s.conns {
		if c.tracking.on && (!t.s.clustered || c.node.shard == db) {
			tracking = append(tracking, c)
		}
	}
	t.s.connsMu.Unlock()
	for _, c := range tracking {
		t.tell(c, nil)
	}
}

// tell sends an invalidation, of all keys if keys is nil. The tracker's mu is
// held.
func (t *tracker) tell(c *connection, keys []string) {
	target := c
	if c.tracking.redirect != 0 {
		target = t.s.connection(c.tracking.redirect)
		if target == nil {
			c.tracking.broken = true
			if c.protocol() >= 3 {
				c.subscriber().push(func(b []byte, proto int) []byte {
					b = resp.AppendPush(b, proto, 2)
					b = resp.AppendBulkString(b, "tracking-redir-broken")
					return resp.AppendInt(b, c.tracking.redirect)
				})
			}
			return
		}
	}
	if target.protocol() < 3 && (target == c || target.subscriptions() == 0) {
		return // RESP2 has no messages beside the replies, but for a subscriber
	}
	target.subscriber().push(func(b []byte, proto int) []byte {
		if proto >= 3 {
			b = resp.AppendPush(b, proto, 2)
			b = resp.AppendBulkString(b, "invalidate")
		} else {
			b = resp.AppendArray(b, 3)
			b = resp.AppendBulkString(b, "message")
			b = resp.AppendBulkString(b, invalidateChannel)
		}
		if keys == nil {
			return resp.AppendNull(b, proto)
		}
		b = resp.AppendArray(b, len(keys))
		for _, k := range keys {
			b = resp.AppendBulkString(b, k)
		}
		return b
	})
}

// connection finds an open connection by its number, nil if there is none.
func (s *Server) connection(id int64) *connection {
	s.connsMu.Lock()
	defer s.connsMu.Unlock()
	if c := s.conns[id]; c != nil && c.opened.Load() && c.alive() {
		return c
	}
	return nil
}

// clientTracking is CLIENT TRACKING ON|OFF with its options.
func (q *request) clientTracking() {
	var st tracking
	for i := 3; i < len(q.args); i++ {
		more := i+1 < len(q.args)
		switch option := q.args[i]; {
		case equalFold(option, "redirect") && more:
			i++
			if st.redirect != 0 {
				q.err("ERR A client can only redirect to a single other client")
				return
			}
			id, ok := q.number(q.args[i], notAnInteger)
			if !ok {
				return
			}
			if q.s.connection(id) == nil {
				q.err("ERR The client ID you want redirect to does not exist")
				return
			}
			st.redirect = id
		case equalFold(option, "bcast"):
			st.bcast = true
		case equalFold(option, "optin"):
			st.optIn = true
		case equalFold(option, "optout"):
			st.optOut = true
		case equalFold(option, "noloop"):
			st.noLoop = true
		case equalFold(option, "prefix") && more:
			i++
			st.prefixes = append(st.prefixes, string(q.args[i]))
		default:
			q.err("ERR syntax error")
			return
		}
	}
	switch {
	case equalFold(q.args[2], "on"):
		if refusal := q.trackingRefused(&st); refusal != "" {
			q.err("ERR " + refusal)
			return
		}
		if st.bcast && len(st.prefixes) == 0 {
			st.prefixes = []string{""}
		}
		q.c.subscriber()
		q.s.tracker.enable(q.c, st)
		q.s.expireInTime()
	case equalFold(q.args[2], "off"):
		q.s.tracker.disable(q.c)
	default:
		q.err("ERR syntax error")
		return
	}
	q.simple("OK")
}

func (q *request) trackingRefused(st *tracking) string {
	old := q.s.tracker.state(q.c)
	switch {
	case !st.bcast && len(st.prefixes) > 0:
		return "PREFIX option requires BCAST mode to be enabled"
	case old.on && old.bcast != st.bcast:
		return "You can't switch BCAST mode on/off before disabling tracking for this client, and then re-enabling it with a different mode."
	case st.bcast && (st.optIn || st.optOut):
		return "OPTIN and OPTOUT are not compatible with BCAST"
	case st.optIn && st.optOut && q.since("6.2"):
		return "You can't specify both OPTIN mode and OPTOUT mode"
	case st.optIn && old.optOut || st.optOut && old.optIn:
		return "You can't switch OPTIN/OPTOUT mode before disabling tracking for this client, and then re-enabling it with a different mode."
	}
	if !q.since("6.2") {
		return ""
	}
	overlap := func(a, b string) bool { return strings.HasPrefix(a, b) || strings.HasPrefix(b, a) }
	for i, p := range st.prefixes {
		for _, q := range old.prefixes {
			if overlap(p, q) {
				return fmt.Sprintf("Prefix '%s' overlaps with an existing prefix '%s'. Prefixes for a single client must not overlap.", p, q)
			}
		}
		for _, q := range st.prefixes[i+1:] {
			if overlap(p, q) {
				return fmt.Sprintf("Prefix '%s' overlaps with another provided prefix '%s'. Prefixes for a single client must not overlap.", p, q)
			}
		}
	}
	return ""
}

// clientCaching is CLIENT CACHING YES|NO.
func (q *request) clientCaching() {
	t := &q.s.tracker
	t.mu.Lock()
	defer t.mu.Unlock()
	st := &q.c.tracking
	switch {
	case !st.on:
		q.err("ERR CLIENT CACHING can be called only when the client is in tracking mode with OPTIN or OPTOUT mode enabled")
	case equalFold(q.args[2], "yes") && !st.optIn:
		q.err("ERR CLIENT CACHING YES is only valid when tracking is enabled in OPTIN mode.")
	case equalFold(q.args[2], "no") && !st.optOut:
		q.err("ERR CLIENT CACHING NO is only valid when tracking is enabled in OPTOUT mode.")
	case equalFold(q.args[2], "yes"), equalFold(q.args[2], "no"):
		st.caching = true
		q.simple("OK")
	default:
		q.err("ERR syntax error")
	}
}

// clientTrackingInfo is CLIENT TRACKINGINFO.
func (q *request) clientTrackingInfo() {
	st := q.s.tracker.state(q.c)
	flags := []string{"off"}
	if st.on {
		flags[0] = "on"
	}
	for _, f := range []struct {
		set  bool
		name string
	}{
		{st.bcast, "bcast"}, {st.optIn, "optin"}, {st.optIn && st.caching, "caching-yes"}, {st.optOut, "optout"}, {st.optOut && st.caching, "caching-no"},
		{st.noLoop, "noloop"}, {st.broken, "broken_redirect"},
	} {
		if f.set {
			flags = append(flags, f.name)
		}
	}
	q.mapHeader(3)
	q.bulk("flags")
	q.setHeader(len(flags))
	for _, f := range flags {
		q.bulk(f)
	}
	q.bulk("redirect")
	q.integer(st.target())
	q.bulk("prefixes")
	prefixes := slices.Clone(st.prefixes)
	slices.Sort(prefixes)
	q.array(len(prefixes))
	for _, p := range prefixes {
		q.bulk(p)
	}
}

// target is whom CLIENT GETREDIR names: -1 without tracking.
func (st *tracking) target() int64 {
	if !st.on {
		return -1
	}
	return st.redirect
}

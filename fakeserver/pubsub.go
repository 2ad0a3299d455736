package fakeserver

import (
	"fmt"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/entracache/entracache/fakeserver/internal/acl"
	"github.com/entracache/entracache/fakeserver/internal/resp"
)

// hub knows who is subscribed to what. A message is put into every
// subscriber's queue under the hub's lock, so that all of them see messages in
// the same order; the sockets are written by one goroutine per subscriber, so
// that a slow one holds up nobody.
type hub struct {
	mu       sync.Mutex
	channels topics
	patterns topics
}

type topics map[string]map[*subscriber]struct{}

func newHub() *hub { return &hub{channels: topics{}, patterns: topics{}} }

// subscriber is a connection that has subscribed at least once.
type subscriber struct {
	c     *connection
	count atomic.Int32 // channels and patterns together

	// Guarded by hub.mu.
	channels, patterns map[string]struct{}

	// deliver is held from taking messages out of the queue until they are
	// written, and by the connection's own goroutine around a reply whose
	// place among the messages matters.
	deliver sync.Mutex
	inOrder bool // the connection's goroutine holds deliver (it alone reads this)

	queueMu sync.Mutex
	queue   []byte        // whole messages, one after the other
	wake    chan struct{} // has an element when the queue may hold something
}

// subscriptions is the number of channels and patterns that the connection is
// subscribed to.
func (c *connection) subscriptions() int {
	if sub := c.sub.Load(); sub != nil {
		return int(sub.count.Load())
	}
	return 0
}

// subscriber returns the connection's subscriber; the first call starts the
// goroutine that writes to it.
func (c *connection) subscriber() *subscriber {
	if sub := c.sub.Load(); sub != nil {
		return sub
	}
	sub := &subscriber{c: c, channels: map[string]struct{}{}, patterns: map[string]struct{}{}, wake: make(chan struct{}, 1)}
	c.sub.Store(sub)
	// The connection counts in wg until its own goroutine has ended, so wg
	// cannot have reached zero.
	c.s.wg.Go(sub.write)
	return sub
}

// write sends what is queued until the connection is gone.
func (sub *subscriber) write() {
	for {
		select {
		case <-sub.wake:
			sub.deliver.Lock()
			if b := sub.take(); len(b) > 0 {
				if _, err := sub.c.guard.Write(b); err != nil {
					sub.c.kill(ReasonClientClosed)
				}
			}
			sub.deliver.Unlock()
		case <-sub.c.gone:
			return
		}
	}
}

func (sub *subscriber) take() []byte {
	sub.queueMu.Lock()
	defer sub.queueMu.Unlock()
	b := sub.queue
	sub.queue = nil
	return b
}

// push queues a message. A subscriber that does not read is cut, as Redis does
// at its client-output-buffer-limit.
func (sub *subscriber) push(frame func(b []byte, proto int) []byte) {
	sub.queueMu.Lock()
	sub.queue = frame(sub.queue, sub.c.protocol())
	full := len(sub.queue) > sub.c.s.opts.subscriberQueueBytes
	sub.queueMu.Unlock()
	if full {
		if sub.c.end(ReasonSlowSubscriber) {
			// Not here: the hub's lock is held, and closing may wait.
			sub.c.s.wg.Go(func() { _ = sub.c.guard.Close() })
		}
		return
	}
	select {
	case sub.wake <- struct{}{}:
	default:
	}
}

// publish sends a message to everybody who is subscribed and returns how many
// they are; a client that matches twice counts twice.
func (h *hub) publish(channel string, payload []byte) (receivers int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for sub := range h.channels[channel] {
		sub.push(func(b []byte, proto int) []byte {
			b = resp.AppendPush(b, proto, 3)
			b = resp.AppendBulkString(b, "message")
			b = resp.AppendBulkString(b, channel)
			return resp.AppendBulk(b, payload)
		})
		receivers++
	}
	for pattern, subs := range h.patterns {
		if len(subs) == 0 || !acl.MatchGlob(pattern, []byte(channel)) {
			continue
		}
		for sub := range subs {
			sub.push(func(b []byte, proto int) []byte {
				b = resp.AppendPush(b, proto, 4)
				b = resp.AppendBulkString(b, "pmessage")
				b = resp.AppendBulkString(b, pattern)
				b = resp.AppendBulkString(b, channel)
				return resp.AppendBulk(b, payload)
			})
			receivers++
		}
	}
	return receivers
}

func (h *hub) add(all topics, own map[string]struct{}, sub *subscriber, name string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if all[name] == nil {
		all[name] = map[*subscriber]struct{}{}
	}
	all[name][sub] = struct{}{}
	own[name] = struct{}{}
	sub.count.Store(int32(len(sub.channels) + len(sub.patterns)))
}

func (h *hub) remove(all topics, own map[string]struct{}, sub *subscriber, name string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.removeLocked(all, own, sub, name)
}

func (h *hub) removeLocked(all topics, own map[string]struct{}, sub *subscriber, name string) {
	delete(all[name], sub)
	if len(all[name]) == 0 {
		delete(all, name)
	}
	delete(own, name)
	sub.count.Store(int32(len(sub.channels) + len(sub.patterns)))
}

// leave removes a subscriber whose connection has ended.
func (h *hub) leave(sub *subscriber) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for name := range sub.channels {
		h.removeLocked(h.channels, sub.channels, sub, name)
	}
	for name := range sub.patterns {
		h.removeLocked(h.patterns, sub.patterns, sub, name)
	}
}

// inOrder runs f, which replies, at one point in the stream of messages: what
// came before is sent before, what comes after is sent after. Inside EXEC,
// which does this for all its commands, it just runs f.
func (q *request) inOrder(f func(*subscriber)) {
	sub := q.c.subscriber()
	if sub.inOrder {
		f(sub)
		return
	}
	sub.deliver.Lock()
	sub.inOrder = true
	defer func() {
		sub.inOrder = false
		sub.deliver.Unlock()
	}()
	q.emit()
	q.c.rc.WriteRaw(sub.take())
	f(sub)
	q.flush()
}

// drain puts the messages that are queued before what is replied next.
func (q *request) drain(sub *subscriber) {
	if q.tx == nil { // inside EXEC a message would be taken for an element
		q.c.rc.WriteRaw(sub.take())
	}
}

// speaksToItself says whether the transaction may put messages into its own
// connection's queue, or subscribes. Messages then wait until the whole reply of
// EXEC is sent.
func (t *transaction) speaksToItself(subscribed bool) bool {
	return slices.ContainsFunc(t.queued, func(e queued) bool {
		switch e.cmd.Name {
		case "subscribe", "unsubscribe", "psubscribe", "punsubscribe":
			return true
		case "publish", "eval", "evalsha":
			return subscribed
		default:
			return false
		}
	})
}

func cmdPublish(q *request) {
	channel, payload := string(q.args[1]), q.args[2]
	if q.c.subscriptions() == 0 {
		q.integer(int64(q.s.hub.publish(channel, payload)))
		return
	}
	// A RESP3 client that publishes to itself gets the message before the
	// reply, up to Redis 7.0.
	q.inOrder(func(sub *subscriber) {
		n := q.s.hub.publish(channel, payload)
		q.drain(sub)
		q.integer(int64(n))
	})
}

func cmdSubscribe(q *request)  { q.subscribe("subscribe", q.s.hub.channels) }
func cmdPSubscribe(q *request) { q.subscribe("psubscribe", q.s.hub.patterns) }

func (q *request) subscribe(kind string, all topics) {
	q.inOrder(func(sub *subscriber) {
		for _, a := range q.args[1:] {
			name := string(a)
			q.s.hub.add(all, sub.own(kind), sub, name)
			q.confirm(kind, &name, sub)
			q.s.record(Event{Kind: EventSubscribed, Conn: q.c.id, Command: kind, User: q.c.user(), Proto: q.c.protocol(),
				Detail: fmt.Sprintf("subscribed to %q", name)})
		}
	})
}

func cmdUnsubscribe(q *request)  { q.unsubscribe("unsubscribe", q.s.hub.channels) }
func cmdPUnsubscribe(q *request) { q.unsubscribe("punsubscribe", q.s.hub.patterns) }

func (q *request) unsubscribe(kind string, all topics) {
	q.inOrder(func(sub *subscriber) {
		own := sub.own(kind)
		var names []string
		for _, a := range q.args[1:] {
			names = append(names, string(a))
		}
		if len(q.args) == 1 {
			// Only this goroutine adds and removes its own names.
			for name := range own {
				names = append(names, name)
			}
			slices.Sort(names)
			if len(names) == 0 {
				q.confirm(kind, nil, sub)
			}
		}
		for _, name := range names {
			q.s.hub.remove(all, own, sub, name)
			q.confirm(kind, &name, sub)
		}
	})
}

// own is the subscriber's set that a command is about.
func (sub *subscriber) own(kind string) map[string]struct{} {
	if kind == "psubscribe" || kind == "punsubscribe" {
		return sub.patterns
	}
	return sub.channels
}

func (q *request) confirm(kind string, name *string, sub *subscriber) {
	q.out = resp.AppendPush(q.out, q.c.protocol(), 3)
	q.bulk(kind)
	if name == nil {
		q.null()
	} else {
		q.bulk(*name)
	}
	q.integer(int64(sub.count.Load()))
}

func cmdPubSub(q *request) {
	h := q.s.hub
	switch {
	case equalFold(q.args[1], "help") && len(q.args) == 2:
		q.help("PUBSUB", "CHANNELS [<pattern>] -- Return the currently active channels matching a pattern (default: all).",
			"NUMPAT -- Return number of subscriptions to patterns.",
			"NUMSUB [channel-1 .. channel-N] -- Returns the number of subscribers for the specified channels (excluding patterns, default: none).")
	case equalFold(q.args[1], "channels") && len(q.args) <= 3:
		var names []string
		h.mu.Lock()
		for name := range h.channels {
			if len(q.args) == 2 || acl.MatchGlob(string(q.args[2]), []byte(name)) {
				names = append(names, name)
			}
		}
		h.mu.Unlock()
		slices.Sort(names)
		q.strings(names)
	case equalFold(q.args[1], "numsub"):
		h.mu.Lock()
		defer h.mu.Unlock()
		q.array(2 * len(q.args[2:]))
		for _, a := range q.args[2:] {
			q.bulk(string(a))
			q.integer(int64(len(h.channels[string(a)])))
		}
	case equalFold(q.args[1], "numpat") && len(q.args) == 2:
		n := 0
		h.mu.Lock()
		for _, subs := range h.patterns {
			n += len(subs)
		}
		h.mu.Unlock()
		q.integer(int64(n))
	default:
		q.unknownSubcommand()
	}
}

// unknownSubcommand is Redis 6.0's answer, which has no final dot.
func (q *request) unknownSubcommand() {
	q.err(fmt.Sprintf("ERR Unknown subcommand or wrong number of arguments for '%s'. Try %s HELP", clip(q.args[1], 128), upper(q.cmd.Name)))
}

// help replies with a container command's usage.
func (q *request) help(name string, lines ...string) {
	q.array(len(lines) + 1)
	q.simple(name + " <subcommand> arg arg ... arg. Subcommands are:")
	for _, l := range lines {
		q.simple(l)
	}
}

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
	shards   topics // sharded channels; without a cluster they are just a second kind
}

type topics map[string]map[*subscriber]struct{}

func newHub() *hub { return &hub{channels: topics{}, patterns: topics{}, shards: topics{}} }

// subscriber is the part of a connection that gets messages which are no
// replies: it has subscribed, monitors, tracks keys, or is told of another
// connection's keys.
type subscriber struct {
	c          *connection
	count      atomic.Int32 // channels and patterns together
	shardCount atomic.Int32 // sharded channels

	// Guarded by hub.mu.
	channels, patterns, shards map[string]struct{}

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
// subscribed to, sharded channels included.
func (c *connection) subscriptions() int {
	if sub := c.sub.Load(); sub != nil {
		return int(sub.count.Load() + sub.shardCount.Load())
	}
	return 0
}

// subscriber returns the connection's subscriber; the first call starts the
// goroutine that writes to it. Any connection's goroutine may call it.
func (c *connection) subscriber() *subscriber {
	if sub := c.sub.Load(); sub != nil {
		return sub
	}
	sub := &subscriber{c: c, channels: map[string]struct{}{}, patterns: map[string]struct{}{}, shards: map[string]struct{}{}, wake: make(chan struct{}, 1)}
	if !c.sub.CompareAndSwap(nil, sub) {
		return c.sub.Load()
	}
	// The caller's connection counts in wg until its own goroutine has ended,
	// so wg cannot have reached zero.
	c.s.wg.Go(sub.write)
	return sub
}

// anyTopic says whether one of the channels, sharded or not, or of the patterns
// that it is subscribed to is as asked.
func (sub *subscriber) anyTopic(is func(topic string, isPattern bool) bool) bool {
	sub.c.s.hub.mu.Lock()
	defer sub.c.s.hub.mu.Unlock()
	for _, kind := range []struct {
		topics    map[string]struct{}
		isPattern bool
	}{{sub.channels, false}, {sub.shards, false}, {sub.patterns, true}} {
		for topic := range kind.topics {
			if is(topic, kind.isPattern) {
				return true
			}
		}
	}
	return false
}

// write sends what is queued until the connection is gone.
func (sub *subscriber) write() {
	defer sub.c.s.contain(sub.c)
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
	if sub.enqueue(frame) > sub.c.s.opts.subscriberQueueBytes {
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

// enqueue returns how many bytes are queued.
func (sub *subscriber) enqueue(frame func(b []byte, proto int) []byte) int {
	sub.queueMu.Lock()
	defer sub.queueMu.Unlock()
	sub.queue = frame(sub.queue, sub.c.protocol())
	return len(sub.queue)
}

// publish sends a message to everybody who is subscribed and returns how many
// they are; a client that matches twice counts twice.
func (h *hub) publish(channel string, payload []byte) (receivers int) {
	return h.publishFrom(nil, false, channel, payload)
}

// publishFrom is publish by a node: in a clustered cache all nodes' subscribers
// get the message, or those of the node's shard, and the node's own count.
func (h *hub) publishFrom(n *node, shardOnly bool, channel string, payload []byte) (receivers int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	passes := func(sub *subscriber) bool { return !shardOnly || sub.c.node.shard == n.shard }
	count := func(sub *subscriber) {
		if n == nil || sub.c.node == n {
			receivers++
		}
	}
	for sub := range h.channels[channel] {
		if !passes(sub) {
			continue
		}
		sub.push(func(b []byte, proto int) []byte {
			b = resp.AppendPush(b, proto, 3)
			b = resp.AppendBulkString(b, "message")
			b = resp.AppendBulkString(b, channel)
			return resp.AppendBulk(b, payload)
		})
		count(sub)
	}
	for pattern, subs := range h.patterns {
		if len(subs) == 0 || !acl.MatchGlob(pattern, []byte(channel)) {
			continue
		}
		for sub := range subs {
			if !passes(sub) {
				continue
			}
			sub.push(func(b []byte, proto int) []byte {
				b = resp.AppendPush(b, proto, 4)
				b = resp.AppendBulkString(b, "pmessage")
				b = resp.AppendBulkString(b, pattern)
				b = resp.AppendBulkString(b, channel)
				return resp.AppendBulk(b, payload)
			})
			count(sub)
		}
	}
	return receivers
}

// leaveSlot ends the subscriptions to sharded channels of a slot that another
// shard serves now, and tells the subscribers, as Redis 7.0 does.
func (h *hub) leaveSlot(slot int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for name, subs := range h.shards {
		if keySlot([]byte(name)) != slot {
			continue
		}
		for sub := range subs {
			h.removeLocked(h.shards, sub.shards, sub, name)
			sub.push(func(b []byte, proto int) []byte {
				b = resp.AppendPush(b, proto, 3)
				b = resp.AppendBulkString(b, "sunsubscribe")
				b = resp.AppendBulkString(b, name)
				return resp.AppendInt(b, int64(sub.shardCount.Load()))
			})
		}
	}
}

// publishShard is publish for a sharded channel.
func (h *hub) publishShard(n *node, channel string, payload []byte) (receivers int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for sub := range h.shards[channel] {
		sub.push(func(b []byte, proto int) []byte {
			b = resp.AppendPush(b, proto, 3)
			b = resp.AppendBulkString(b, "smessage")
			b = resp.AppendBulkString(b, channel)
			return resp.AppendBulk(b, payload)
		})
		if sub.c.node == n {
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
	sub.recount()
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
	sub.recount()
}

func (sub *subscriber) recount() {
	sub.count.Store(int32(len(sub.channels) + len(sub.patterns)))
	sub.shardCount.Store(int32(len(sub.shards)))
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
	for name := range sub.shards {
		h.removeLocked(h.shards, sub.shards, sub, name)
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
	q.c.landed() // the client may be slow to read
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
		case "subscribe", "unsubscribe", "psubscribe", "punsubscribe", "ssubscribe", "sunsubscribe", "monitor":
			return true
		case "publish", "spublish", "eval", "evalsha":
			return subscribed
		default:
			return false
		}
	})
}

func cmdPublish(q *request) {
	q.publish(func(n *node, channel string, payload []byte) int {
		return q.s.hub.publishFrom(n, false, channel, payload)
	})
}

func cmdSPublish(q *request) { q.publish(q.s.hub.publishShard) }

func (q *request) publish(send func(n *node, channel string, payload []byte) int) {
	to := func(channel string, payload []byte) int { return send(q.c.node, channel, payload) }
	channel, payload := string(q.args[1]), q.args[2]
	if q.tx == nil {
		q.s.hub.settle(q.c, channel)
	}
	if q.c.subscriptions() == 0 {
		q.integer(int64(to(channel, payload)))
		return
	}
	// A RESP3 client that publishes to itself gets the message before the
	// reply up to Redis 7.0, and after it since.
	q.inOrder(func(sub *subscriber) {
		n := to(channel, payload)
		if !q.since("7.2") {
			q.drain(sub)
		}
		q.integer(int64(n))
	})
}

func cmdSubscribe(q *request)  { q.subscribe("subscribe", q.s.hub.channels) }
func cmdPSubscribe(q *request) { q.subscribe("psubscribe", q.s.hub.patterns) }
func cmdSSubscribe(q *request) { q.subscribe("ssubscribe", q.s.hub.shards) }

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
func cmdSUnsubscribe(q *request) { q.unsubscribe("sunsubscribe", q.s.hub.shards) }

func (q *request) unsubscribe(kind string, all topics) {
	q.inOrder(func(sub *subscriber) {
		own := sub.own(kind)
		var names []string
		for _, a := range q.args[1:] {
			names = append(names, string(a))
		}
		if len(q.args) == 1 {
			q.s.hub.mu.Lock()
			for name := range own {
				names = append(names, name)
			}
			q.s.hub.mu.Unlock()
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
	switch kind {
	case "psubscribe", "punsubscribe":
		return sub.patterns
	case "ssubscribe", "sunsubscribe":
		return sub.shards
	default:
		return sub.channels
	}
}

func (q *request) confirm(kind string, name *string, sub *subscriber) {
	q.push(func() {
		q.out = resp.AppendPush(q.out, q.protocol(), 3)
		q.bulk(kind)
		if name == nil {
			q.null()
		} else {
			q.bulk(*name)
		}
		if kind == "ssubscribe" || kind == "sunsubscribe" {
			q.integer(int64(sub.shardCount.Load()))
		} else {
			q.integer(int64(sub.count.Load()))
		}
	})
}

// cmdPubSub is PUBSUB.
func cmdPubSub(q *request) {
	h := q.s.hub
	switch {
	case q.is("help", 2, 2):
		q.help("CHANNELS [<pattern>] -- The channels that somebody is subscribed to, all or those that match.",
			"NUMPAT -- The number of patterns that somebody is subscribed to.",
			"NUMSUB [<channel> ...] -- How many are subscribed to each of the channels.",
			"7.0:SHARDCHANNELS [<pattern>] -- CHANNELS for sharded channels.",
			"7.0:SHARDNUMSUB [<channel> ...] -- NUMSUB for sharded channels.")
	case q.is("channels", 2, 3):
		q.channels(h.channels)
	case q.is("numsub", 2, -1):
		q.numsub(h.channels)
	case q.is("shardchannels", 2, 3) && q.since("7.0"):
		q.channels(h.shards)
	case q.is("shardnumsub", 2, -1) && q.since("7.0"):
		q.numsub(h.shards)
	case q.is("numpat", 2, 2):
		// Up to 6.0 a pattern counts once for each of its subscribers.
		n := 0
		h.mu.Lock()
		for _, subs := range h.patterns {
			own := q.own(subs)
			if q.since("6.2") {
				own = min(own, 1)
			}
			n += own
		}
		h.mu.Unlock()
		q.integer(int64(n))
	default:
		q.unknownSubcommand()
	}
}

// own counts the subscribers that are connected to the connection's node.
func (q *request) own(subs map[*subscriber]struct{}) (n int) {
	for sub := range subs {
		if sub.c.node == q.c.node {
			n++
		}
	}
	return n
}

func (q *request) channels(all topics) {
	var names []string
	q.s.hub.mu.Lock()
	for name, subs := range all {
		if q.own(subs) == 0 {
			continue
		}
		if len(q.args) == 2 || acl.MatchGlob(string(q.args[2]), []byte(name)) {
			names = append(names, name)
		}
	}
	q.s.hub.mu.Unlock()
	slices.Sort(names)
	q.strings(names)
}

func (q *request) numsub(all topics) {
	q.s.hub.mu.Lock()
	defer q.s.hub.mu.Unlock()
	q.array(2 * len(q.args[2:]))
	for _, a := range q.args[2:] {
		q.bulk(string(a))
		q.integer(int64(q.own(all[string(a)])))
	}
}

package scenarios

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/entracache/entracache/fakeserver"
)

// The steps about a clustered cache.

func (w *World) aClusteredCache(shards int) error {
	w.clustered = true
	w.cacheOptions = append(w.cacheOptions, fakeserver.WithShards(shards))
	return w.aCache()
}

func (w *World) aHostCertificate() error {
	w.host = "localhost"
	return w.otherCache(fakeserver.WithCertificateForHostOnly())
}

// hasWrittenKeys has the client write to every shard, and so talk to the node of each.
func (w *World) hasWrittenKeys(n int) error {
	shards := map[int]bool{}
	w.keys = nil
	for i := range n {
		key := fmt.Sprintf("order:%d", i+1)
		w.keys = append(w.keys, key)
		shards[w.cache.ShardOf(key)] = true
	}
	if all := w.shardCount(); len(shards) < all {
		return fmt.Errorf("%d keys lie in %d of %d shards only: the step needs more keys", n, len(shards), all)
	}
	for _, key := range w.keys {
		o, err := w.do("SET "+key, "SET", key, valueOf(key))
		if err != nil {
			return err
		}
		if o.err != nil {
			return expect("the client to write to every shard", "%s, in shard %d", o, w.cache.ShardOf(key))
		}
	}
	w.rememberOpen()
	return nil
}

func valueOf(key string) string { return "value of " + key }

func (w *World) shardCount() int {
	shards := map[int]bool{}
	for _, n := range w.cache.Nodes() {
		shards[n.Shard] = true
	}
	return len(shards)
}

// topologyGrace is the least time on its own clock that a client gets to find out what has taken the place of a node that is away and
// sends nobody elsewhere. Libraries look where the nodes are at fixed intervals, whatever the lane: go-redis every 60 seconds.
const topologyGrace = 90 * time.Second

// allKeysReadable reads each key again and again until it is there, as an application does.
func (w *World) allKeysReadable(minutes int) error {
	if len(w.keys) == 0 {
		return fmt.Errorf("the step speaks of keys, but none was written before it")
	}
	grace := w.grace(minutes)
	if slices.ContainsFunc(w.cache.Nodes(), func(n fakeserver.NodeInfo) bool { return n.Down }) {
		grace = max(grace, time.Duration(float64(topologyGrace)/w.lane.rate()))
	}
	deadline := w.clock.Now().Add(w.lane.Patience(grace))
	for _, key := range w.keys {
		for {
			o, err := w.do("GET "+key, "GET", key)
			if err != nil {
				return err
			}
			if o.err == nil && o.value.Plain() == valueOf(key) {
				break
			}
			if w.clock.Now().After(deadline) {
				return expect(fmt.Sprintf("all keys to be readable within %d minutes", minutes), "%s, in shard %d", o, w.cache.ShardOf(key))
			}
			if err := w.wait(w.lane.Patience(w.grace(minutes) / pollDivisor)); err != nil {
				return err
			}
		}
	}
	return nil
}

// readsEvery collects the outcomes for "every command succeeded".
func (w *World) readsEvery(interval, duration int) error {
	return w.everySo(interval, duration, func() error {
		for _, key := range w.keys {
			o, err := w.do("GET "+key, "GET", key)
			if err != nil {
				return err
			}
			w.results = append(w.results, o)
		}
		return nil
	})
}

func (w *World) signedInAtEveryPrimary() error { return w.signedInAtEveryPrimaryWith(1) }

// signedInAtEveryPrimaryWith looks at the nodes that are primaries now, at all the time that they have been there.
func (w *World) signedInAtEveryPrimaryWith(tokens int) error {
	seen := map[string]map[string]bool{}
	for _, e := range w.cache.Events() {
		if e.Kind == fakeserver.EventAuth && e.Outcome == fakeserver.OutcomeOK && e.Token != nil {
			if seen[e.Node] == nil {
				seen[e.Node] = map[string]bool{}
			}
			seen[e.Node][e.Token.ID] = true
		}
	}
	var faults []string
	for _, n := range w.cache.Nodes() {
		if n.Primary && len(seen[n.Name]) < tokens {
			faults = append(faults, fmt.Sprintf("%d at %s, the primary of shard %d", len(seen[n.Name]), n.Name, n.Shard))
		}
	}
	if len(faults) > 0 {
		return expect(fmt.Sprintf("sign-ins with at least %d different tokens at the primary of every shard", tokens), "%s", strings.Join(faults, "; "))
	}
	return nil
}

// theShard is the one to which something happens; it is not the one to whose node the cache's own address leads.
const theShard = 1

func (w *World) primaryOfShardFails(seconds int) error {
	return w.cache.Failover(fakeserver.FailoverShards(theShard), fakeserver.FailoverUnplanned(),
		fakeserver.FailoverTakes(w.lane.World(time.Duration(seconds)*time.Second)))
}

func (w *World) primaryOfShardIsAway(minutes int) error {
	return w.cache.Reboot(fakeserver.RebootNodes(fakeserver.RebootPrimaryNode, theShard), fakeserver.RebootTakes(w.span(minutes)))
}

func (w *World) isScaled(shards int) error {
	return w.cache.Scale(fakeserver.ScaleShards(shards))
}

func (w *World) slotMoves(key string) error {
	slot, err := w.slotIsMoving(key)
	if err != nil {
		return err
	}
	return w.cache.FinishSlotMigration(slot)
}

func (w *World) keyMovesAhead(key string) error {
	slot, err := w.slotIsMoving(key)
	if err != nil {
		return err
	}
	moved, err := w.cache.MoveSlotKeys(slot, 1)
	if err == nil && moved != 1 {
		err = fmt.Errorf("the key %q was to move ahead of its slot %d, but that holds none", key, slot)
	}
	return err
}

func (w *World) slotIsMoving(key string) (slot int, err error) {
	slot = fakeserver.SlotOf(key)
	return slot, w.cache.BeginSlotMigration(slot, (w.cache.ShardOf(key)+1)%w.shardCount())
}

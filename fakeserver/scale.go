package fakeserver

import (
	"bytes"
	"errors"
	"fmt"
	"time"

	"github.com/entracache/entracache/fakeserver/internal/keyspace"
	"github.com/entracache/entracache/fakeserver/internal/resp"
)

// maxShards is how many databases the data engine has for the shards.
const maxShards = keyspace.Databases

// ScaleOption changes what Scale does.
type ScaleOption func(*scale) error

type scale struct{ shards, replicas int }

// ScaleShards sets the new number of shards of a clustered cache.
func ScaleShards(n int) ScaleOption {
	return func(o *scale) error {
		if n < 1 || n > maxShards {
			return fmt.Errorf("ScaleShards: expected 1 to %d, got %d", maxShards, n)
		}
		o.shards = n
		return nil
	}
}

// ScaleReplicas sets the new number of replicas of each primary.
func ScaleReplicas(n int) ScaleOption {
	return func(o *scale) error {
		if n < 0 || n > 3 {
			return fmt.Errorf("ScaleReplicas: expected 0 to 3, got %d", n)
		}
		o.replicas = n
		return nil
	}
}

// Scale changes the size of the cache, and returns when it is done. Shards that
// are added get their part of the slots, with the keys in them, from the others;
// those that are removed give theirs away, and their connections are closed.
// Without options it is a change to another size of the same form: each shard
// fails over to a replica, as a management operation of the service does
// (azure-docs cache-failover.md).
//
// Afterwards NodeMaintenanceScaleComplete is published on AzureRedisEvents, and
// there is an event of kind EventScaled. How the service divides the slots has
// no source: here each shard keeps what it may, and gives the rest.
func (s *Server) Scale(opts ...ScaleOption) error {
	o := scale{replicas: -1}
	for _, opt := range opts {
		if err := opt(&o); err != nil {
			return fmt.Errorf("scale: %w", err)
		}
	}
	s.managing.Lock()
	defer s.managing.Unlock()
	before := s.topo.Load()
	if len(before.moving) > 0 {
		return errors.New("scale: slots are being migrated; finish that first, see FinishSlotMigration")
	}
	if o.shards > 0 && !s.clustered {
		return errors.New("scale: the cache is not clustered, so it has no shards; start it with WithShards")
	}
	if o.shards == 0 && o.replicas < 0 {
		for shard := range before.primary {
			s.failOver(shard, 0, true)
		}
	}
	if o.shards == 0 {
		o.shards = len(before.primary)
	}
	if o.replicas < 0 {
		o.replicas = len(before.replicas(0))
	}
	added, err := s.nodesToAdd(before, o)
	if err != nil {
		return fmt.Errorf("scale: %w", err)
	}
	var removed []*node
	s.rearrange(func(t *topology) { removed = s.resize(t, o, added) })
	s.cutNodes(removed, ReasonScaled) // first, since redcon closes what is left when its port is closed
	for _, n := range removed {
		s.closeNode(n)
	}
	s.cutNodes(removed, ReasonScaled) // who came meanwhile
	s.record(Event{Kind: EventScaled, Detail: fmt.Sprintf("the cache has %d shards with %d replicas each", o.shards, o.replicas)})
	s.announce(scaleComplete, s.topo.Load().primary[0], time.Time{})
	return nil
}

// nodesToAdd makes the nodes that are missing, by shard.
func (s *Server) nodesToAdd(t *topology, o scale) ([][]*node, error) {
	added := make([][]*node, o.shards)
	made := *t // for the ports that are taken
	for shard := range added {
		n := 1 + o.replicas
		if shard < len(t.primary) {
			n -= len(t.of(shard))
		}
		nodes, err := s.newNodes(&made, shard, max(0, n))
		if err != nil {
			return nil, err
		}
		added[shard] = nodes
		made.nodes = append(made.nodes[:len(made.nodes):len(made.nodes)], nodes...)
	}
	return added, nil
}

// resize makes the topology that of the new size, moves the keys, and returns
// the nodes that are not in it any more.
func (s *Server) resize(t *topology, o scale, added [][]*node) (removed []*node) {
	for shard, nodes := range added {
		t.nodes = append(t.nodes, nodes...)
		if shard >= len(t.primary) {
			t.primary = append(t.primary, nodes[0])
			t.epochs = append(t.epochs, 0)
		}
	}
	s.moveSlots(t, t.redivide(o.shards))
	gone := map[*node]bool{}
	for shard := range t.primary {
		for i, n := range t.of(shard) {
			if shard >= o.shards || i > o.replicas {
				gone[n] = true
				removed = append(removed, n)
			}
		}
	}
	kept := t.nodes[:0:0]
	for _, n := range t.nodes {
		if !gone[n] {
			kept = append(kept, n)
		}
	}
	t.nodes, t.primary, t.epochs = kept, t.primary[:o.shards], t.epochs[:o.shards]
	return removed
}

// redivide says which slots go to which of n shards, so that all have equally
// many, give or take one.
func (t *topology) redivide(n int) map[int]int {
	has := make([]int, max(n, len(t.primary)))
	for _, shard := range t.slots {
		has[shard]++
	}
	share := func(shard int) int {
		if shard >= n {
			return 0
		}
		return slotCount*(shard+1)/n - slotCount*shard/n
	}
	moves := map[int]int{}
	to := 0
	for slot := slotCount - 1; slot >= 0; slot-- {
		from := int(t.slots[slot])
		if has[from] <= share(from) {
			continue
		}
		for has[to] >= share(to) {
			to++
		}
		moves[slot] = to
		has[from]--
		has[to]++
	}
	return moves
}

// moveSlots gives slots to other shards, with their keys.
func (s *Server) moveSlots(t *topology, moves map[int]int) {
	if len(moves) == 0 {
		return
	}
	bumped := map[int]bool{}
	s.keyspace.Atomically(func(tx *keyspace.Tx) {
		for shard := range t.primary {
			for _, key := range s.keysOf(tx, shard) {
				if to, moves := moves[keySlot(key)]; moves && to != shard {
					s.moveKey(tx, shard, to, key)
				}
			}
		}
	})
	for slot, to := range moves {
		s.hub.leaveSlot(slot)
		t.slots[slot] = uint8(to) // fewer than 256 shards
		if !bumped[to] {
			bumped[to] = true
			t.bump(to)
		}
	}
}

// closeNode ends a node that is not part of the cache any more.
func (s *Server) closeNode(n *node) {
	for _, p := range []*port{n.tls, n.plain} {
		if p == nil {
			continue
		}
		p.close()
		if p.pair != nil {
			p.pair.close()
		}
	}
}

// BeginSlotMigration makes the shard of a slot give it to another: until
// FinishSlotMigration the keys that were not moved yet are served where they
// were, and for those that are not there clients are sent to the other shard
// with ASK.
func (s *Server) BeginSlotMigration(slot, toShard int) error {
	s.managing.Lock()
	defer s.managing.Unlock()
	t := s.topo.Load()
	switch {
	case !s.clustered:
		return errors.New("migrate a slot: the cache is not clustered; start it with WithShards")
	case slot < 0 || slot >= slotCount:
		return fmt.Errorf("migrate slot %d: expected 0 to %d", slot, slotCount-1)
	case toShard < 0 || toShard >= len(t.primary):
		return fmt.Errorf("migrate slot %d to shard %d: expected 0 to %d", slot, toShard, len(t.primary)-1)
	case int(t.slots[slot]) == toShard:
		return fmt.Errorf("migrate slot %d: it is in shard %d already", slot, toShard)
	}
	if to, ok := t.moving[slot]; ok {
		return fmt.Errorf("migrate slot %d: it is being migrated to shard %d already", slot, to)
	}
	s.rearrange(func(t *topology) { t.moving[slot] = toShard })
	s.record(Event{Kind: EventSlotMigrating, Detail: fmt.Sprintf("slot %d is being migrated from shard %d to shard %d", slot, t.slots[slot], toShard)})
	return nil
}

// MoveSlotKeys moves up to n keys of a slot that is being migrated, in the order
// of their names, and returns how many it moved.
func (s *Server) MoveSlotKeys(slot, n int) (moved int, err error) {
	s.managing.Lock()
	defer s.managing.Unlock()
	to, ok := s.topo.Load().moving[slot]
	if !ok {
		return 0, fmt.Errorf("move keys of slot %d: it is not being migrated; see BeginSlotMigration", slot)
	}
	s.rearrange(func(t *topology) { moved = s.moveKeysOfSlot(slot, int(t.slots[slot]), to, n) })
	return moved, nil
}

func (s *Server) moveKeysOfSlot(slot, from, to, most int) (moved int) {
	s.keyspace.Atomically(func(tx *keyspace.Tx) {
		for _, key := range s.keysOf(tx, from) {
			if moved < most && keySlot(key) == slot {
				s.moveKey(tx, from, to, key)
				moved++
			}
		}
	})
	return moved
}

// FinishSlotMigration moves the keys that are left, and gives the slot to the
// other shard: those who ask the old one are sent there with MOVED.
func (s *Server) FinishSlotMigration(slot int) error {
	s.managing.Lock()
	defer s.managing.Unlock()
	to, ok := s.topo.Load().moving[slot]
	if !ok {
		return fmt.Errorf("finish the migration of slot %d: it is not being migrated; see BeginSlotMigration", slot)
	}
	s.rearrange(func(t *topology) {
		delete(t.moving, slot)
		s.moveSlots(t, map[int]int{slot: to})
	})
	s.record(Event{Kind: EventSlotMigrated, Detail: fmt.Sprintf("slot %d belongs to shard %d", slot, to)})
	return nil
}

// migration owns the sessions that move keys: what they do is no write of a
// client.
type migration struct{}

// sessionOf is a place in a shard's database.
func (s *Server) sessionOf(shard int) *keyspace.Session {
	session := s.keyspace.NewSession()
	s.keyspace.Select(session, s.database(shard))
	return session
}

// database is that of a shard; without a cluster clients choose.
func (s *Server) database(shard int) int {
	if s.clustered {
		return shard
	}
	return 0
}

func (s *Server) sessionIn(tx *keyspace.Tx, shard int) *keyspace.Session {
	session := s.keyspace.NewSession()
	session.Owner = migration{}
	tx.Select(session, shard)
	return session
}

// keysOf lists the keys of a shard by name.
func (s *Server) keysOf(tx *keyspace.Tx, shard int) (keys [][]byte) {
	v, _, err := resp.Parse(tx.Do(nil, s.engineCall(s.sessionIn(tx, shard), "keys", []byte("*"))))
	if err != nil {
		return nil
	}
	for _, e := range v.Elems {
		keys = append(keys, bytes.Clone(e.Text))
	}
	return keys
}

func (s *Server) moveKey(tx *keyspace.Tx, from, to int, key []byte) {
	// The other shard cannot have it: it serves the slot to those only who
	// were sent there, for keys that are not here.
	tx.Do(nil, s.engineCall(s.sessionIn(tx, from), "move", key, fmt.Append(nil, to)))
}

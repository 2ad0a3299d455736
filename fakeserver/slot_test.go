package fakeserver

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/assert"
)

// The slots are those that redis-server 7.0.15 names for the keys.
func TestKeySlot(t *testing.T) {
	t.Parallel()
	for key, want := range map[string]int{
		"a": 15495, "b": 3300, "foo": 12182, "bar": 5061, "": 0, "123456789": 12739, "{foo}": 12182, "x{foo}y": 12182, "{}foo": 9500, "foo{}{bar}": 8363,
		"foo{{bar}}zap": 4015, "foo{bar}{zap}": 5061, "{foo": 13308, "foo}": 15679,
	} {
		assert.Equal(t, want, SlotOf(key), key)
	}
}

// TestRedivide: after any change of the number of shards all have equally many
// slots, and no slot moves that need not.
func TestRedivide(t *testing.T) {
	t.Parallel()
	for from := 1; from <= maxShards; from++ {
		for to := 1; to <= maxShards; to++ {
			topo := &topology{primary: make([]*node, from)}
			topo.spread()
			moves := topo.redivide(to)
			has := make([]int, to)
			for slot, shard := range topo.slots {
				if next, moved := moves[slot]; moved {
					has[next]++
				} else {
					has[shard]++
				}
			}
			needed := 0
			for shard, n := range has {
				assert.InDelta(t, slotCount/to, n, 1, fmt.Sprintf("%d to %d, shard %d", from, to, shard))
				if shard >= from {
					needed += n
				}
			}
			if to > from {
				assert.InDelta(t, needed, len(moves), float64(to), fmt.Sprintf("%d to %d", from, to))
			}
		}
	}
}

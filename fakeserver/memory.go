package fakeserver

import (
	"runtime/metrics"
	"strings"

	"github.com/entracache/entracache/fakeserver/internal/keyspace"
)

// oomText is Redis' refusal when maxmemory is reached.
const oomText = "OOM command not allowed when used memory > 'maxmemory'."

// usedMemory is the size of this process' heap, in bytes: what the fake itself
// takes included, as in Redis.
func usedMemory() int64 {
	sample := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
	metrics.Read(sample)
	return int64(sample[0].Value.Uint64()) // no heap is that large
}

// full says whether CONFIG SET maxmemory has set a limit that is reached.
func (s *Server) full() bool {
	limit := s.maxMemory.Load()
	return limit > 0 && usedMemory() > limit
}

// outOfMemory says whether the command is to be refused because the memory is
// full: one that may take more of it, or any that would be queued.
func (q *request) outOfMemory() bool {
	if q.s.maxMemory.Load() == 0 {
		return false
	}
	may := q.s.traits[q.cmd.ID].denyOOM
	if multi := q.c.multi; multi != nil {
		switch q.cmd.Name {
		case "exec":
			for _, entry := range multi.queued {
				may = may || q.s.traits[entry.cmd.ID].denyOOM
			}
		case "discard", "reset":
		default:
			may = true
		}
	}
	if !q.s.full() {
		return false
	}
	q.evict()
	return may && q.s.full()
}

// evict removes keys, in no order, as long as the memory is full, where the
// policy is one that does.
func (q *request) evict() {
	policy := q.s.setting("maxmemory-policy")
	if policy == "noeviction" {
		return
	}
	q.withKeyspace(func(tx *keyspace.Tx) {
		place := request{s: q.s, c: q.c, sess: q.s.keyspace.NewSession()}
		for _, st := range tx.Stats() {
			if q.s.clustered && st.DB != q.c.node.shard {
				continue
			}
			tx.Select(place.sess, st.DB)
			for _, key := range place.ask(tx, "keys", []byte("*")).Elems {
				if !q.s.full() {
					return
				}
				if strings.HasPrefix(policy, "volatile") && place.ask(tx, "pttl", key.Text).Int < 0 {
					continue
				}
				q.s.notify.event(q.s, 'e', "evicted", st.DB, string(key.Text))
				place.ask(tx, "del", key.Text)
			}
		}
	})
}

package fakeserver

import (
	"strconv"

	"github.com/entracache/entracache/fakeserver/internal/keyspace"
	"github.com/entracache/entracache/fakeserver/internal/resp"
)

// cmdObject is OBJECT. The encoding is the one that Redis would have chosen for
// the value as it is now; that a value was another one before is not kept.
func cmdObject(q *request) {
	switch {
	case q.is("help", 2, 2):
		q.help("ENCODING <key> -- How the value is stored.", "FREQ <key> -- How often it is used.", "IDLETIME <key> -- For how many seconds it was not used.",
			"REFCOUNT <key> -- How often it is referred to.")
	case q.is("encoding", 3, 3):
		q.object(func(tx *keyspace.Tx, kind string) { q.bulk(q.encoding(tx, q.args[2], kind)) })
	case q.is("refcount", 3, 3):
		q.object(func(*keyspace.Tx, string) { q.integer(1) })
	case q.is("idletime", 3, 3):
		if q.countsUses() && q.exists(q.args[2]) {
			q.err("ERR An LFU maxmemory policy is selected, idle time not tracked. Please note that when switching between policies at runtime LRU and LFU data will take some time to adjust.")
			return
		}
		q.object(func(tx *keyspace.Tx, _ string) { q.integer(q.ask(tx, "object", []byte("idletime"), q.args[2]).Int) })
	case q.is("freq", 3, 3):
		if !q.countsUses() && q.exists(q.args[2]) {
			q.err("ERR An LFU maxmemory policy is not selected, access frequency not tracked. Please note that when switching between policies at runtime LRU and LFU data will take some time to adjust.")
			return
		}
		// Redis begins with 5; uses are not counted here.
		q.object(func(*keyspace.Tx, string) { q.integer(5) })
	default:
		q.unknownSubcommand()
	}
}

func (q *request) exists(key []byte) (there bool) {
	q.withKeyspace(func(tx *keyspace.Tx) { there = q.typeOf(tx, key) != "none" })
	return there
}

// countsUses says whether the maxmemory policy is one that counts uses.
func (q *request) countsUses() bool {
	policy := q.s.setting("maxmemory-policy")
	return policy == "allkeys-lfu" || policy == "volatile-lfu"
}

// object replies null for a key that is not there.
func (q *request) object(found func(tx *keyspace.Tx, kind string)) {
	q.withKeyspace(func(tx *keyspace.Tx) {
		kind := q.typeOf(tx, q.args[2])
		if kind == "none" {
			q.null()
			return
		}
		found(tx, kind)
	})
}

const maxEmbedded = 44 // bytes of a string that is stored in one piece with its header

func (q *request) encoding(tx *keyspace.Tx, key []byte, kind string) string {
	packed, setting := "ziplist", "ziplist"
	if q.since("7.0") {
		packed, setting = "listpack", "listpack"
	}
	limit := func(name string) int {
		n, _ := strconv.Atoi(q.s.setting(name))
		return n
	}
	small := func(values []resp.Value, entries int, bytes int) bool {
		if len(values) > entries {
			return false
		}
		for _, v := range values {
			if len(v.Text) > bytes {
				return false
			}
		}
		return true
	}
	switch kind {
	case "string":
		value := q.ask(tx, "get", key).Text
		if _, isInt := parseNumber(value); isInt {
			return "int"
		}
		if len(value) <= maxEmbedded {
			return "embstr"
		}
		return "raw"
	case "list":
		const smallList = 8 << 10 // list-max-listpack-size -2
		total := 0
		for _, v := range q.ask(tx, "lrange", key, []byte("0"), []byte("-1")).Elems {
			total += len(v.Text) + 11
		}
		if q.since("7.2") && total <= smallList {
			return "listpack"
		}
		return "quicklist"
	case "set":
		members := q.ask(tx, "smembers", key).Elems
		integers := len(members) <= limit("set-max-intset-entries")
		for _, v := range members {
			_, isInt := parseNumber(v.Text)
			integers = integers && isInt
		}
		switch {
		case integers:
			return "intset"
		case q.since("7.2") && small(members, 128, 64):
			return "listpack"
		default:
			return "hashtable"
		}
	case "hash":
		if small(q.ask(tx, "hgetall", key).Elems, 2*limit("hash-max-"+setting+"-entries"), limit("hash-max-"+setting+"-value")) {
			return packed
		}
		return "hashtable"
	case "zset":
		if small(q.ask(tx, "zrange", key, []byte("0"), []byte("-1")).Elems, limit("zset-max-"+setting+"-entries"), limit("zset-max-"+setting+"-value")) {
			return packed
		}
		return "skiplist"
	default:
		return kind
	}
}

// memoryStats is MEMORY STATS with the figures that mean something here: the
// memory of the whole process, and the number of keys.
func (q *request) memoryStats() {
	keys := 0
	for _, st := range q.keyspaceStats() {
		keys += st.Keys
	}
	q.mapHeader(2)
	q.bulk("total.allocated")
	q.integer(usedMemory())
	q.bulk("keys.count")
	q.integer(int64(keys))
}

// cmdMemory is MEMORY: sizes are the data engine's own, not those of Redis.
func cmdMemory(q *request) {
	switch {
	case q.is("help", 2, 2):
		q.help("DOCTOR -- What to do about memory.", "MALLOC-STATS -- Figures of the allocator.", "PURGE -- Give memory back.",
			"STATS -- Figures of memory.", "USAGE <key> [SAMPLES <count>] -- The bytes that a key takes.")
	case q.is("usage", 3, -1):
		for i := 3; i < len(q.args); i += 2 {
			if !equalFold(q.args[i], "samples") || i+1 == len(q.args) {
				q.err("ERR syntax error")
				return
			}
			n, ok := q.number(q.args[i+1], notAnInteger)
			if !ok {
				return
			}
			if n < 0 {
				q.err("ERR syntax error")
				return
			}
		}
		q.object(func(tx *keyspace.Tx, _ string) { q.integer(q.ask(tx, "memory", []byte("usage"), q.args[2]).Int) })
	case q.is("purge", 2, 2):
		q.simple("OK")
	case q.is("doctor", 2, 2):
		q.text("entracache keeps no account of memory.\n")
	case q.is("malloc-stats", 2, 2):
		q.text("Stats not supported for the current allocator")
	case q.is("stats", 2, 2):
		q.memoryStats()
	default:
		q.unknownSubcommand()
	}
}

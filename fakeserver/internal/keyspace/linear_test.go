package keyspace

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

// TestLinearTime runs each load at two sizes. The larger is 32 times the
// smaller: a quadratic load takes about 1,000 times as long.
func TestLinearTime(t *testing.T) {
	const (
		small, large = 1_000, 32_000
		tooMuch      = 300
	)
	key := func(i int) []string { return []string{fmt.Sprintf("key:%d", i)} }
	pair := func(i int) []string { return []string{fmt.Sprintf("key:%d", i), "value"} }
	scored := func(i int) []string { return []string{fmt.Sprint(i), fmt.Sprintf("key:%d", i)} }
	// one is a single command, after a command that prepares it.
	one := func(prepare string, p func(int) []string, command string, args func(int) []string) func(*fixture, int) time.Duration {
		return func(f *fixture, n int) time.Duration {
			calls := [2][]string{strings.Fields(prepare), strings.Fields(command)}
			for i := range n {
				calls[0] = append(calls[0], p(i)...)
				calls[1] = append(calls[1], args(i)...)
			}
			f.do(calls[0]...)
			call := f.call(calls[1]...)
			begin := time.Now()
			f.Do(nil, call)
			return time.Since(begin)
		}
	}
	many := func(command func(i int) string) func(*fixture, int) time.Duration {
		return func(f *fixture, n int) time.Duration {
			begin := time.Now()
			for i := range n {
				f.do(strings.Fields(command(i))...)
			}
			return time.Since(begin)
		}
	}
	// waiting are n clients that wait for one of some keys, and a write for each.
	waiting := func(keys func(i, n int) string) func(*fixture, int) time.Duration {
		return func(f *fixture, n int) time.Duration {
			served := 0
			begin := time.Now()
			for i := range n {
				k := keys(i, n)
				f.Block(f.s, [][]byte{[]byte(k)}, false, func() bool { return true }, func(tx *Tx, waiting bool) ([]byte, bool) {
					reply := tx.Do(nil, f.call("lpop", k))
					if string(reply) == "$-1\r\n" {
						return nil, false
					}
					served++
					return reply, true
				})
			}
			for i := range n {
				f.do("rpush", keys(i, n), "x")
			}
			assert.Equal(t, n, served)
			return time.Since(begin)
		}
	}
	for name, load := range map[string]func(*fixture, int) time.Duration{
		"clients that wait for one key":   waiting(func(int, int) string { return "l" }),
		"clients that wait for many keys": waiting(func(i, _ int) string { return fmt.Sprint("l", i) }),
		"clients that wait in vain": func(f *fixture, n int) time.Duration {
			waiting(func(int, int) string { return "l" })(f, 1)
			for i := range n {
				f.Block(f.s, [][]byte{[]byte("other"), fmt.Append(nil, i)}, false, func() bool { return true },
					func(*Tx, bool) ([]byte, bool) { return nil, false })
			}
			begin := time.Now()
			for range n {
				f.do("rpush", "l", "x")
			}
			return time.Since(begin)
		},
		"LPUSH":                  one("set", pair, "lpush l", key),
		"LPUSHX":                 one("rpush l", key, "lpushx l", key),
		"RPUSH":                  one("rpush l", key, "rpush l", key),
		"SADD":                   one("sadd s", key, "sadd s", key),
		"ZADD":                   one("zadd z", scored, "zadd z", scored),
		"HSET":                   one("hset h", pair, "hset h", pair),
		"MSET":                   one("mset", pair, "mset", pair),
		"MGET":                   one("mset", pair, "mget", key),
		"DEL":                    one("mset", pair, "del", key),
		"DEL of nothing":         one("sadd s", key, "del", key),
		"many LPUSH":             many(func(int) string { return "lpush l x" }),
		"many LPUSH and RPOP":    many(func(i int) string { return []string{"lpush l x", "lpush l y", "rpop l"}[i%3] }),
		"many RPOPLPUSH":         many(func(i int) string { return []string{"lpush from x", "rpush from x", "rpoplpush from to"}[i%3] }),
		"many APPEND":            many(func(int) string { return "append s 0123456789" }),
		"many keys that expire":  many(func(i int) string { return fmt.Sprintf("set key:%d x ex 100", i) }),
		"many TTL":               many(func(i int) string { return []string{fmt.Sprintf("psetex key:%d 5000 x", i), "ttl key:0"}[i%2] }),
		"many keys that die":     many(func(i int) string { return []string{"psetex k 60000 x", "del k"}[i%2] }),
		"many with all expiring": many(func(i int) string { return fmt.Sprintf("set key:%d x px 1", i) }),
	} {
		t.Run(name, func(t *testing.T) {
			shortest := func(n int) time.Duration {
				best := time.Duration(1<<63 - 1)
				for range 3 {
					f := newFixture(t)
					best = min(best, load(f, n))
				}
				return best
			}
			few, lots := shortest(small), shortest(large)
			assert.Less(t, lots, tooMuch*few, "%d took %s, %d took %s", small, few, large, lots)
		})
	}
}

func BenchmarkKeyspace(b *testing.B) {
	for name, command := range map[string][]string{
		"GET": {"get", "k"}, "SET": {"set", "k", "value"}, "SET-EX": {"set", "k", "value", "ex", "100"}, "INCR": {"incr", "n"}, "HGET": {"hget", "h", "f"},
	} {
		b.Run(name, func(b *testing.B) {
			f := newFixture(b)
			f.do("set", "k", "value")
			f.do("set", "n", "1")
			f.do("hset", "h", "f", "value")
			call := f.call(command...)
			var out []byte
			b.ReportAllocs()
			for b.Loop() {
				out = f.Do(out[:0], call)
			}
		})
	}
}

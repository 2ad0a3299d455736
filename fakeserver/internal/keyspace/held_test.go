package keyspace

import (
	"bufio"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/alicebob/miniredis/v2/server"
	"github.com/jonboulle/clockwork"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/entracache/entracache/fakeserver/internal/command"
)

// plain is the engine with nothing around it: it keeps every value itself and
// lets time pass in its own way.
type plain struct {
	mini *miniredis.Miniredis
	ctx  map[string]any // by client
}

func newPlain(t *rapid.T, now time.Time) *plain {
	m := miniredis.NewMiniRedis()
	conn, err := m.Dial()
	require.NoError(t, err)
	_ = conn.Close()
	m.SetTime(now)
	m.ClockTTL(true)
	return &plain{m, map[string]any{}}
}

func (p *plain) do(client string, proto int, args ...string) string {
	var out replyBuffer
	peer := server.NewPeer(bufio.NewWriter(&out))
	peer.Ctx, peer.Resp3 = p.ctx[client], proto == 3
	if args[0] == "ttl" {
		// It cuts off what Redis rounds.
		ms := replyInt([]byte(p.do(client, 2, "pttl", args[1])))
		if ms >= 0 {
			ms = (ms + 500) / 1000
		}
		return fmt.Sprintf(":%d\r\n", ms)
	}
	p.mini.Server().Dispatch(peer, args)
	peer.Flush()
	p.ctx[client] = peer.Ctx
	return string(out.b)
}

// TestHeldValuesCannotBeTold runs random commands on a keyspace and on the
// plain engine, and compares every reply and in the end everything that is
// stored.
func TestHeldValuesCannotBeTold(t *testing.T) {
	table, err := command.ForLevel("6.2")
	require.NoError(t, err)
	rapid.Check(t, func(t *rapid.T) {
		clock := clockwork.NewFakeClock()
		ours, err := New(clock)
		require.NoError(t, err)
		defer ours.Close()
		theirs := newPlain(t, clock.Now())
		defer theirs.mini.Close()

		sessions := map[string]*Session{"a": ours.NewSession(), "b": ours.NewSession()}
		watchers := map[string]*Watcher{}
		flushed := map[string]bool{} // since the client watched: the plain engine does not count that as a change
		call := func(client string, proto int, args []string) Call {
			c := Call{Session: sessions[client], Command: table.Lookup([]byte(args[0])), Proto: proto}
			for _, a := range args {
				c.Args = append(c.Args, []byte(a))
			}
			return c
		}
		check := func(client string, proto int, args []string, reply string) {
			expected := theirs.do(client, proto, args...)
			if reply != expected {
				t.Fatalf("client %s, %q: got %q, expected %q", client, args, reply, expected)
			}
		}
		forms := rapid.SampledFrom([][]string{allForms, stringForms, listForms}).Draw(t, "forms")
		for range rapid.IntRange(1, 60).Draw(t, "commands") {
			client := rapid.SampledFrom([]string{"a", "a", "b"}).Draw(t, "client")
			proto := rapid.IntRange(2, 3).Draw(t, "protocol")
			switch what := rapid.IntRange(0, 20).Draw(t, "what"); {
			case what == 0:
				clock.Advance(time.Duration(rapid.IntRange(1, 30).Draw(t, "time")) * 100 * time.Millisecond)
				theirs.mini.SetTime(clock.Now())
			case what == 1 && watchers[client] == nil:
				keys := rapid.SliceOfN(rapid.SampledFrom(someKeys), 1, 2).Draw(t, "watched")
				var raw [][]byte
				for _, k := range keys {
					raw = append(raw, []byte(k))
				}
				watchers[client] = &Watcher{}
				flushed[client] = false
				ours.Watch(watchers[client], sessions[client], raw)
				theirs.do(client, 2, append([]string{"watch"}, keys...)...)
			case what <= 3:
				// A transaction, which ends the watch.
				var calls [][]string
				for range rapid.IntRange(1, 4).Draw(t, "queued") {
					calls = append(calls, someCommand(t, forms))
				}
				touched := false
				var got strings.Builder
				ours.Atomically(func(tx *Tx) {
					if w := watchers[client]; w != nil {
						touched = tx.Touched(w)
					}
					fmt.Fprintf(&got, "*%d\r\n", len(calls))
					for _, args := range calls {
						if !touched {
							got.Write(tx.Do(nil, call(client, proto, args)))
						}
					}
				})
				watched := watchers[client] != nil
				watchers[client] = nil
				if watched && touched && flushed[client] {
					theirs.do(client, 2, "unwatch")
					continue
				}
				if watched {
					theirs.do(client, proto, "multi")
					queued := theirs.do(client, proto, "exec")
					require.Equal(t, touched, queued == "*-1\r\n" || queued == "_\r\n", "watched keys changed")
				}
				if !touched {
					rest := strings.SplitN(got.String(), "\r\n", 2)[1]
					for _, args := range calls {
						expected := theirs.do(client, proto, args...)
						require.True(t, strings.HasPrefix(rest, expected), "%q in a transaction: expected %q at %q", args, expected, rest)
						rest = rest[len(expected):]
						flushed = note(flushed, args)
					}
				}
			case what == 4:
				db := rapid.SampledFrom([]string{"0", "1"}).Draw(t, "db")
				require.True(t, ours.Select(sessions[client], int(db[0]-'0')))
				theirs.do(client, 2, "select", db)
			case what == 5:
				// A script of two calls, the first with its reply.
				first, second := someCommand(t, forms), someCommand(t, forms)
				for _, called := range [][]string{first, second} {
					if called[0] == "ttl" {
						called[0] = "pttl" // see plain.do
					}
				}
				args := []string{"eval", "redis.pcall(unpack(cjson.decode(ARGV[2]))); return redis.pcall(unpack(cjson.decode(ARGV[1])))", "0", asJSON(first), asJSON(second)}
				check(client, 2, args, string(ours.Do(nil, call(client, 2, args))))
				flushed = note(note(flushed, first), second)
			default:
				args := someCommand(t, forms)
				check(client, proto, args, string(ours.Do(nil, call(client, proto, args))))
				flushed = note(flushed, args)
			}
		}
		for _, db := range []string{"0", "1"} {
			require.True(t, ours.Select(sessions["a"], int(db[0]-'0')))
			theirs.do("a", 2, "select", db)
			for _, key := range someKeys {
				for _, args := range [][]string{
					{"type", key}, {"pttl", key}, {"get", key}, {"strlen", key}, {"lrange", key, "0", "-1"}, {"linsert", key, "before", "x", "y"},
				} {
					check("a", 2, args, string(ours.Do(nil, call("a", 2, args))))
				}
			}
		}
	})
}

func note(flushed map[string]bool, args []string) map[string]bool {
	if strings.HasPrefix(args[0], "flush") || args[0] == "swapdb" {
		return map[string]bool{"a": true, "b": true}
	}
	return flushed
}

func asJSON(args []string) string {
	quoted := make([]string, len(args))
	for i, a := range args {
		quoted[i] = fmt.Sprintf("%q", a)
	}
	return "[" + strings.Join(quoted, ",") + "]"
}

var someKeys = []string{"k1", "k2", "k3", "k4"}

// forms of commands: k is a key, v a value, n a number, i an index, s seconds,
// m milliseconds, L so many values that a list gets long.
var allForms = strings.Split(`get k|get k|get k|set k v|set k v|set k n|set k n|set k v ex s|set k v px m|set k v nx|set k v xx|set k v keepttl|set k v xx get|
mset k v k v|mset k v k|mget k k|mget k|incr k|incr k|decr k|incrby k n|decrby k n|incrbyfloat k n|append k v|strlen k|getset k v|getrange k i i|
setrange k 3 v|setnx k v|msetnx k v k v|setex k s v|psetex k m v|setbit k 7 1|getdel k|getex k|getex k ex s|getex k persist|
del k|del k k|unlink k|exists k k|type k|touch k|rename k k|renamenx k k|copy k k|copy k k db 1|copy k k db 1 replace|move k 1|move k 0|dump k|
expire k s|pexpire k m|expire k -1|persist k|ttl k|pttl k|keys *|dbsize|scan 0|
flushdb|flushall|swapdb 0 1|
lpush k v|lpush k v v|lpush k L|lpush k L|rpush k v|rpush k L|lpushx k v|rpushx k L|lpop k|lpop k|rpop k|lpop k 2|llen k|lindex k i|lrange k i i|lrange k 0 -1|
ltrim k i i|ltrim k 1 -2|ltrim k 0 0|ltrim k 0 1|lset k i v|lrem k 0 v|linsert k before v v|rpoplpush k k|rpoplpush k k|lmove k k left right|lpos k v|
sadd k v|smembers k|hset k v v|zadd k 1 v|sdiff k k`, "|")

// Fewer commands run into each other more often.
var (
	stringForms = strings.Split("get k|set k v|set k n|set k v ex s|incr k|append k v|mset k v k v|mget k k|strlen k|del k|rename k k|expire k s|pttl k", "|")
	listForms   = strings.Split("lpush k L|lpush k L|lpush k v|rpush k v|lpop k|rpop k|rpoplpush k k|rpoplpush k k|ltrim k 0 1|ltrim k 0 0|ltrim k i i|llen k|"+
		"lrange k i i|lindex k i|lset k 0 v|exists k|dbsize|expire k s|copy k k", "|")
)

func someCommand(t *rapid.T, forms []string) []string {
	var args []string
	for _, word := range strings.Fields(rapid.SampledFrom(forms).Draw(t, "form")) {
		switch word {
		case "k":
			word = rapid.SampledFrom(someKeys).Draw(t, "key")
		case "v":
			word = rapid.SampledFrom([]string{"", "x", "y", "12", "-7", "long enough"}).Draw(t, "value")
		case "n":
			word = rapid.SampledFrom([]string{"0", "1", "-5", "007", "+3", "x", "1.5", "9223372036854775807", "-9223372036854775808"}).Draw(t, "number")
		case "i":
			word = rapid.SampledFrom([]string{"0", "1", "-1", "-2", "5", "200", "-200", "+1", "x"}).Draw(t, "index")
		case "s":
			word = rapid.SampledFrom([]string{"1", "2", "10", "0", "-3", "x"}).Draw(t, "seconds")
		case "m":
			word = rapid.SampledFrom([]string{"100", "1500", "10000", "0", "x"}).Draw(t, "milliseconds")
		case "L":
			for i := range longList {
				args = append(args, fmt.Sprint(i))
			}
			continue
		}
		args = append(args, word)
	}
	return args
}

func TestDeque(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		list := rapid.SliceOf(rapid.String()).Draw(t, "list")
		d := newDeque(list)
		for range rapid.IntRange(0, 50).Draw(t, "operations") {
			front := rapid.Bool().Draw(t, "front")
			if v := rapid.String().Draw(t, "value"); rapid.Bool().Draw(t, "push") {
				d.push(front, v)
				if front {
					list = slices.Insert(list, 0, v)
				} else {
					list = append(list, v)
				}
			} else if len(list) > 0 {
				if front {
					assert.Equal(t, list[0], d.pop(front))
					list = list[1:]
				} else {
					assert.Equal(t, list[len(list)-1], d.pop(front))
					list = list[:len(list)-1]
				}
			}
		}
		require.Equal(t, len(list), d.n)
		for i, v := range list {
			require.Equal(t, v, d.at(i))
		}
		require.Equal(t, append([]string{}, list...), d.list())
	})
}

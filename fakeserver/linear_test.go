package fakeserver_test

import (
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/entracache/entracache/fakeserver"
)

// TestLinearTime runs loads over the wire at two sizes, the larger 64 times the
// smaller: a quadratic load takes 4,096 times as long. What the keyspace does
// alone is held to the same in its own package.
func TestLinearTime(t *testing.T) {
	const tooMuch = 1000
	small, large := 500, 32_000
	if raceDetector {
		small, large = 125, 8_000 // everything takes ten times as long
	}
	for _, load := range linearLoads {
		t.Run(load.name, func(t *testing.T) {
			few := max(100*time.Microsecond, min(load.measure(t, small), load.measure(t, small)))
			many := load.measure(t, large)
			for again := 0; again < 2 && many >= tooMuch*few; again++ {
				many = load.measure(t, large) // the machine may have been busy
			}
			t.Logf("%d took %s, %d took %s", small, few, large, many)
			assert.Less(t, many, tooMuch*few, "%d took %s, %d took %s", small, few, large, many)
		})
	}
}

// linearLoad is a load of n things: what is sent before the time is taken,
// and what is sent then.
type linearLoad struct {
	name            string
	prepare, timed  func(n int) string
	prepared, taken string // the beginning of the last reply to each
	policy          string // permissions; empty: everything
}

func (l *linearLoad) measure(t *testing.T, n int) time.Duration {
	w := newWorld(t, fakeserver.WithProfile("oss-7.0"), fakeserver.WithPlainAddr("127.0.0.1:0"))
	c := dialPlain(t, w.Server)
	defer c.conn.Close()
	if l.policy != "" {
		require.Equal(t, "+OK", c.line(append([]string{"ACL", "SETUSER", "limited", "on", "nopass"}, strings.Fields(l.policy)...)...))
		require.Equal(t, "+OK", c.line("AUTH", "limited", "x"))
	}
	if l.prepare != nil {
		answered(t, c.conn, l.prepare(n), l.prepared)
	}
	load := l.timed(n)
	begin := time.Now()
	answered(t, c.conn, load, l.taken)
	return time.Since(begin)
}

// answered sends commands and an ECHO after them, and requires that what comes
// before the ECHO's reply ends with the given text.
func answered(t *testing.T, conn net.Conn, commands, want string) {
	t.Helper()
	const end = "+the end\r\n"
	go func() {
		_, _ = io.WriteString(conn, commands+array("EVAL", "return redis.status_reply('the end')", "0"))
	}()
	require.NoError(t, conn.SetReadDeadline(time.Now().Add(5*patience)))
	var tail []byte
	chunk := make([]byte, 64<<10)
	for !strings.HasSuffix(string(tail), end) {
		n, err := conn.Read(chunk)
		tail = append(tail, chunk[:n]...)
		tail = tail[max(0, len(tail)-200):]
		require.NoError(t, err, "the last bytes: %q", tail)
	}
	got := strings.TrimSuffix(string(tail), end)
	require.True(t, strings.HasSuffix(got, want), "got …%q, expected …%q", got, want)
}

// one is a single command with n arguments, or n groups of them.
func one(command string, args ...string) func(int) string {
	return func(n int) string {
		words := strings.Fields(command)
		for i := range n {
			for _, a := range args {
				words = append(words, strings.ReplaceAll(a, "#", fmt.Sprint(i)))
			}
		}
		return array(words...)
	}
}

// many is n commands.
func many(commands ...string) func(int) string {
	return func(n int) string {
		var b strings.Builder
		for i := range n {
			b.WriteString(array(strings.Fields(strings.ReplaceAll(commands[i%len(commands)], "#", fmt.Sprint(i)))...))
		}
		return b.String()
	}
}

// all is one after the other.
func all(parts ...func(int) string) func(int) string {
	return func(n int) string {
		var b strings.Builder
		for _, p := range parts {
			b.WriteString(p(n))
		}
		return b.String()
	}
}

func once(command string) func(int) string {
	return func(int) string { return array(strings.Fields(command)...) }
}

const limited = "+@all ~key:* ~list &*"

var linearLoads = []linearLoad{
	{name: "LPUSH", timed: one("LPUSH list", "key:#"), policy: limited},
	{name: "MSET", timed: one("MSET", "key:#", "v"), taken: "+OK\r\n", policy: limited},
	{name: "DEL", prepare: one("MSET", "key:#", "v"), prepared: "+OK\r\n", timed: one("DEL", "key:#"), policy: limited},
	{name: "MGET", prepare: one("MSET", "key:#", "v"), prepared: "+OK\r\n", timed: one("MGET", "key:#"), taken: "$1\r\nv\r\n", policy: limited},
	{name: "denied at the end", timed: one("MGET", "key:#"), policy: "+@all ~key:?"},
	{name: "SUNION", prepare: many("SADD key:# #"), prepared: ":1\r\n", timed: one("SUNION", "key:#")},
	{name: "an inline command", timed: func(n int) string { return "DEL" + strings.Repeat(" k", n) + "\r\n" }, taken: ""},
	{name: "EVAL with many keys", timed: func(n int) string {
		return one(fmt.Sprintf("EVAL return(#KEYS) %d", n), "key:#")(n)
	}, policy: limited},
	{name: "EVAL with many calls", timed: func(n int) string {
		return array("EVAL", "for i=1,tonumber(ARGV[1]) do redis.call('set','key:'..i,i) redis.call('get','key:'..i) end return redis.status_reply('done')", "0", fmt.Sprint(n))
	}, taken: "+done\r\n", policy: limited},
	{name: "EXEC", timed: all(once("MULTI"), many("SET key:# v"), once("EXEC")), taken: "+OK\r\n", policy: limited},
	{name: "DISCARD", timed: all(once("MULTI"), many("SET key:# v"), once("DISCARD")), taken: "+OK\r\n"},
	{name: "WATCH of many keys", timed: all(one("WATCH", "key:#"), once("MULTI"), once("SET key:1 v"), once("EXEC")), taken: "*1\r\n+OK\r\n"},
	{name: "many WATCH", timed: all(many("WATCH key:#"), once("SET key:1 v"), once("MULTI"), once("EXEC")), taken: "*-1\r\n"},
	{name: "many watchers and FLUSHALL", timed: all(many("WATCH key:#"), once("FLUSHALL"), once("MULTI"), once("EXEC")), taken: "*0\r\n"},
	{name: "SUBSCRIBE to many", timed: all(one("SUBSCRIBE", "c:#"), once("UNSUBSCRIBE")), taken: ":0\r\n"},
	{name: "many SUBSCRIBE", timed: all(many("SUBSCRIBE c:#", "PSUBSCRIBE p:#:*"), once("UNSUBSCRIBE"), once("PUNSUBSCRIBE")), taken: ":0\r\n"},
	{name: "PUBLISH to itself", prepare: all(once("HELLO 3"), once("SUBSCRIBE c")), prepared: ":1\r\n", timed: many("PUBLISH c x")},
	{name: "messages within EXEC", prepare: all(once("HELLO 3"), once("SUBSCRIBE c")), prepared: ":1\r\n",
		timed: all(once("MULTI"), many("PUBLISH c x"), once("EXEC"))},
	{name: "tracking", prepare: all(once("HELLO 3"), once("CLIENT TRACKING on"), many("GET key:#")), prepared: "_\r\n", timed: many("SET key:# v")},
	{name: "tracking by prefix", prepare: all(once("HELLO 3"), once("CLIENT TRACKING on BCAST")), prepared: "+OK\r\n", timed: one("MSET", "key:#", "v")},
	{name: "tracking by prefix within EXEC", prepare: all(once("HELLO 3"), once("CLIENT TRACKING on BCAST")), prepared: "+OK\r\n",
		timed: all(once("MULTI"), many("SET key:# v"), once("EXEC"))},
	{name: "notifications", prepare: once("CONFIG SET notify-keyspace-events KEAnm"), prepared: "+OK\r\n", timed: all(one("MSET", "key:#", "v"), one("DEL", "key:#"))},
	{name: "SCAN", prepare: one("MSET", "key:#", "v"), prepared: "+OK\r\n", timed: once("SCAN 0 COUNT 1000")},
	{name: "KEYS", prepare: one("MSET", "key:#", "v"), prepared: "+OK\r\n", timed: once("KEYS *")},
	{name: "keys that expire", timed: many("SET key:# v PX 1", "SET other:# v EX 100", "TTL other:1")},
	{name: "SORT", prepare: one("RPUSH list", "#"), timed: once("SORT list")},
	{name: "SLOWLOG", prepare: once("CONFIG SET slowlog-log-slower-than 0"), prepared: "+OK\r\n", timed: many("GET key:#"), taken: "$-1\r\n"},
	{name: "CLIENT REPLY OFF", timed: all(once("CLIENT REPLY OFF"), many("SET key:# v"), once("CLIENT REPLY ON")), taken: "+OK\r\n"},
	{name: "denied commands", timed: many("SET other:# v"), policy: limited},
	{name: "unknown commands", timed: many("NOSUCH a b c")},
	{name: "denied in the log", timed: all(many("GET other:#"), once("ACL LOG RESET")), policy: limited, taken: "+OK\r\n"},
	{name: "a long argument", timed: func(n int) string { return array("SET", "key:1", strings.Repeat("x", 64*n)) }, taken: "+OK\r\n"},
}

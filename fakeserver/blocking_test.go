package fakeserver_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/entracache/entracache/fakeserver"
)

func TestBlockingPops(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	other := w.withKey()
	for _, tc := range []struct{ block, write, want string }{
		{"BLPOP x l 0", "RPUSH l a b", "*2\r\n$1\r\nl\r\n$1\r\na\r\n"},
		{"BRPOP x l 0", "RPUSH l a b", "*2\r\n$1\r\nl\r\n$1\r\nb\r\n"},
		{"BRPOPLPUSH l l2 0", "RPUSH l a b", "$1\r\nb\r\n"},
		{"BZPOPMIN x z 0", "ZADD z 1 a 2 b", "*3\r\n$1\r\nz\r\n$1\r\na\r\n$1\r\n1\r\n"},
		{"BZPOPMAX x z 0", "ZADD z 1 a 2 b", "*3\r\n$1\r\nz\r\n$1\r\nb\r\n$1\r\n2\r\n"},
		{"XREAD BLOCK 0 STREAMS s $", "XADD s 7-1 f v", "*1\r\n*2\r\n$1\r\ns\r\n*1\r\n*2\r\n$3\r\n7-1\r\n*2\r\n$1\r\nf\r\n$1\r\nv\r\n"},
		{"XREAD COUNT 1 BLOCK 0 STREAMS s 5", "XADD s 7-1 f v", "*1\r\n*2\r\n$1\r\ns\r\n*1\r\n*2\r\n$3\r\n7-1\r\n*2\r\n$1\r\nf\r\n$1\r\nv\r\n"},
		{"BLPOP l 0", "EVAL redis.call('RPUSH',KEYS[1],'z') 1 l", "*2\r\n$1\r\nl\r\n$1\r\nz\r\n"},
	} {
		t.Run(tc.block, func(t *testing.T) {
			other.do("FLUSHALL")
			c := w.withKey()
			// What was asked before must be answered before it waits.
			c.send(array("PING") + array(strings.Fields(tc.block)...) + array("ECHO", "after"))
			assert.Equal(t, "+PONG\r\n", c.read())
			c.quiet()
			assert.NotEqual(t, "-", other.do(strings.Fields(tc.write)...)[:1])
			assert.Equal(t, tc.want, c.read())
			assert.Equal(t, "$5\r\nafter\r\n", c.read())

			// And at once when there is something.
			if !strings.Contains(tc.block, "$") {
				other.do("FLUSHALL")
				other.do(strings.Fields(tc.write)...)
				assert.Equal(t, tc.want, c.do(strings.Fields(tc.block)...))
			}
		})
	}
}

func TestBlockedGroupRead(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c, other := w.withKey(), w.withKey()
	assert.Equal(t, "+OK", other.line("XGROUP", "CREATE", "s", "g", "$", "MKSTREAM"))
	c.send(array("XREADGROUP", "GROUP", "g", "me", "BLOCK", "0", "STREAMS", "s", ">"))
	w.waitBlocked(1)
	blocked := func() (ids []int64) {
		for _, info := range w.Connections() {
			if info.Blocked {
				ids = append(ids, info.ID)
			}
		}
		return ids
	}
	assert.Len(t, blocked(), 1)
	other.do("XADD", "s", "7-1", "f", "v")
	assert.Contains(t, c.read(), "7-1")
	assert.Empty(t, blocked())
	assert.Equal(t, "-", c.do("XREADGROUP", "GROUP", "nogroup", "me", "BLOCK", "0", "STREAMS", "s", ">")[:1])
}

func TestBlockingTimeouts(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.withKey()
	for _, cmd := range []string{"BLPOP l 10", "BRPOPLPUSH l m 10", "BZPOPMAX z 10.0", "XREAD BLOCK 10000 STREAMS s $"} {
		c.send(array(strings.Fields(cmd)...))
		w.waitBlocked(1)
		w.clock.Advance(9 * time.Second)
		c.quiet()
		w.clock.Advance(time.Second)
		assert.Equal(t, "*-1\r\n", c.read(), cmd)
		w.waitBlocked(0)
	}
	assert.Equal(t, "-ERR timeout is negative", c.line("BLPOP", "l", "-1"))
	assert.Equal(t, "-ERR timeout is not a float or out of range", c.line("BLPOP", "l", "x"))
	assert.Equal(t, "-ERR timeout is not an integer or out of range", c.line("XREAD", "BLOCK", "x", "STREAMS", "s", "$"))
	c.do("SET", "str", "x")
	assert.Contains(t, c.line("BLPOP", "str", "0"), "-WRONGTYPE")
	c.do("HELLO", "3")
	c.send(array("BLPOP", "l", "10"))
	w.waitBlocked(1)
	w.clock.Advance(10 * time.Second)
	assert.Equal(t, "_\r\n", c.read())
	c.send(array("BZPOPMIN", "z", "0"))
	w.waitBlocked(1)
	w.withKey().do("ZADD", "z", "1.5", "m")
	assert.Equal(t, "*3\r\n$1\r\nz\r\n$1\r\nm\r\n,1.5\r\n", c.read())
	assert.Equal(t, ":1", c.line("WAIT", "1", "0"), "there is one replica")
	c.send(array("WAIT", "2", "500"))
	w.waitBlocked(1)
	w.clock.Advance(500 * time.Millisecond)
	assert.Equal(t, ":1\r\n", c.read())
}

func TestWaitersAreServedInOrder(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var waiting []*client
	for i := range 5 {
		c := w.withKey()
		c.send(array("BLPOP", "l", "0"))
		w.waitBlocked(i + 1)
		waiting = append(waiting, c)
	}
	w.withKey().do("RPUSH", "l", "0", "1", "2", "3", "4")
	for i, c := range waiting {
		assert.Equal(t, fmt.Sprintf("*2\r\n$1\r\nl\r\n$1\r\n%d\r\n", i), c.read())
	}
}

// TestNothingIsTakenForTheDead: a client that left, was killed or was cut
// while it waited takes nothing with it.
func TestNothingIsTakenForTheDead(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	other := w.withKey()
	for name, end := range map[string]func(c *client, id string){
		"left":   func(c *client, _ string) { _ = c.conn.Close() },
		"killed": func(_ *client, id string) { require.Equal(t, ":1", other.line("CLIENT", "KILL", "ID", id)) },
	} {
		c := w.withKey()
		id := strings.Trim(c.line("CLIENT", "ID"), ":")
		c.send(array("BLPOP", "l", "0"))
		w.waitBlocked(1)
		end(c, id)
		w.waitBlocked(0)
		assert.Equal(t, ":1", other.line("RPUSH", "l", "x"), name)
		assert.Equal(t, "$1\r\nx\r\n", other.do("LPOP", "l"), name)
	}
	assert.Equal(t, ":0", other.line("CLIENT", "UNBLOCK", "1"))
	c := w.withKey()
	id := strings.Trim(c.line("CLIENT", "ID"), ":")
	for reason, want := range map[string]string{"TIMEOUT": "*-1\r\n", "ERROR": "-UNBLOCKED client unblocked via CLIENT UNBLOCK\r\n"} {
		c.send(array("BLPOP", "l", "0"))
		w.waitBlocked(1)
		assert.Equal(t, ":1", other.line("CLIENT", "UNBLOCK", id, reason))
		assert.Equal(t, want, c.read())
	}
}

func TestServedWithinATransaction(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c, other := w.withKey(), w.withKey()
	c.send(array("BLPOP", "l", "0"))
	w.waitBlocked(1)
	// The waiter comes after the transaction, and finds what it left.
	other.send(array("MULTI") + array("RPUSH", "l", "a") + array("LPOP", "l") + array("RPUSH", "l", "b") + array("EXEC"))
	for range 4 {
		other.read()
	}
	assert.Equal(t, "*3\r\n:1\r\n$1\r\na\r\n:1\r\n", other.read())
	assert.Equal(t, "*2\r\n$1\r\nl\r\n$1\r\nb\r\n", c.read())
}

func TestKeysExpireByTheClock(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.withKey()
	c.do("SET", "a", "1", "EX", "10")
	c.do("SET", "keep", "1")
	c.do("SETEX", "b", "20", "1")
	c.do("EVAL", "redis.call('SET', 'c', '1', 'PX', '15000')", "0")
	assert.Equal(t, ":10", c.line("TTL", "a"))
	w.clock.Advance(4 * time.Second)
	assert.Equal(t, ":6000", c.line("PTTL", "a"))
	c.do("RENAME", "a", "a2")
	c.do("SET", "a", "1", "EX", "1000")
	assert.Contains(t, c.do("INFO", "keyspace"), "db0:keys=5,expires=4")
	w.clock.Advance(6 * time.Second)
	assert.Equal(t, "$-1", c.line("GET", "a2"))
	assert.Equal(t, "$1\r\n1\r\n", c.do("GET", "a"))
	w.clock.Advance(5 * time.Second)
	assert.Equal(t, "$-1", c.line("GET", "c"))
	assert.Equal(t, ":5", c.line("TTL", "b"))
	c.do("PERSIST", "b")
	w.clock.Advance(time.Hour)
	assert.Equal(t, ":2", c.line("DBSIZE"))
	c.do("MOVE", "keep", "4")
	assert.Equal(t, fmt.Sprintf("*2\r\n$10\r\n%d\r\n$1\r\n0\r\n", w.clock.Now().Unix()), c.do("TIME"))
}

func TestScripts(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.signedIn(fakeserver.Policy{Name: "p", Permissions: "+@all -flushall ~a*"})
	assert.Equal(t, "$1\r\nv\r\n", c.do("EVAL", "redis.call('SET', KEYS[1], 'v'); return redis.call('GET', KEYS[1])", "1", "a1"))
	assert.Equal(t, "-ERR Error running script (call to f_d530a22111e074618d24a380340dd3d8bc48af4a): @user_script:1: @user_script: 1: The user executing the script can't run this command or subcommand",
		c.line("EVAL", "return redis.call('flushall')", "0"))
	assert.Contains(t, c.line("EVAL", "return redis.call('get', 'b')", "0"), "The user executing the script can't access at least one of the keys mentioned in the command arguments")
	denied := w.eventsOf(fakeserver.EventDenied)
	require.Len(t, denied, 2)
	assert.Equal(t, "flushall", denied[0].Command)
	assert.Equal(t, "-NOPERM this user has no permissions to access one of the keys used as arguments", c.line("EVAL", "return 1", "1", "b"))
	for script, want := range map[string]string{
		"return redis.call('config', 'get', 'x')":                     "Unknown Redis command called from Lua script",
		"return redis.call('blpop', 'a', 0)":                          "This Redis command is not allowed from scripts",
		"return redis.call('subscribe', 'a')":                         "This Redis command is not allowed from scripts",
		"return redis.call('get')":                                    "Wrong number of args calling Redis command From Lua script",
		"return redis.call('xread', 'block', 0, 'streams', 'a', '$')": "xread command is not allowed with BLOCK option from scripts",
	} {
		assert.Contains(t, c.line("EVAL", script, "0"), want, script)
	}
	assert.Contains(t, c.do("EVAL", "return redis.pcall('flushall').err", "0"), "can't run this command")
	sub := w.withKey()
	sub.do("SUBSCRIBE", "c")
	assert.Equal(t, ":1", c.line("EVAL", "return redis.call('publish', 'c', 'm')", "0"))
	assert.Contains(t, sub.read(), "message")
	sha := strings.Trim(strings.Split(c.do("SCRIPT", "LOAD", "return redis.call('flushall')"), "\r\n")[1], "\r\n")
	assert.Contains(t, c.line("EVALSHA", sha, "0"), "(call to f_"+sha+")")
}

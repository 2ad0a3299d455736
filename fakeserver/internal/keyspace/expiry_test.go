package keyspace

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/entracache/entracache/fakeserver/internal/command"
)

// newestFixture knows the commands of the newest level.
func newestFixture(t *testing.T) *fixture {
	f := newFixture(t)
	var err error
	f.table, err = command.ForLevel("7.4")
	require.NoError(t, err)
	return f
}

// TestEveryWayToSetATimeToLive: each key gets three seconds, except where only
// whole seconds of the clock can be said.
func TestEveryWayToSetATimeToLive(t *testing.T) {
	f := newestFixture(t)
	f.clock.Advance(12345 * time.Millisecond) // the epoch must not show
	for _, way := range []string{
		"expire k 3", "pexpire k 3000", "pexpireat k MS", "setex k 3 v", "psetex k 3000 v", "set k v EX 3", "set k v px 3000", "set k v PXAT MS",
		"set k v xx ex 3", "getex k ex 3", "getex k pxat MS", "restore k 3000 v replace", "restore k MS v absttl replace",
		"eval return(redis.call('pexpire','k',3000)) 0", "eval return(redis.call('set','k','v','ex','3')) 0",
		"expireat k S", "set k v exat S", "getex k exat S",
	} {
		now := f.clock.Now().Truncate(time.Millisecond)
		at := now.Add(3 * time.Second)
		left := 3 * time.Second
		args := strings.Fields(way)
		for i, a := range args {
			switch a {
			case "MS":
				args[i] = fmt.Sprint(at.UnixMilli())
			case "S":
				args[i] = fmt.Sprint(at.Unix())
				left = at.Truncate(time.Second).Sub(now)
			}
		}
		f.do("set", "k", "v")
		assert.NotEqual(t, "-", f.do(args...)[:1], way)
		expected := fmt.Sprintf(":%d\r\n", left.Milliseconds())
		assert.Equal(t, expected, f.do("pttl", "k"), way)
		assert.Equal(t, expected, f.do("eval", "return redis.call('pttl', 'k')", "0"), way)
		f.clock.Advance(left - time.Millisecond)
		assert.Equal(t, ":1\r\n", f.do("exists", "k"), way)
		f.clock.Advance(time.Millisecond)
		assert.Equal(t, ":0\r\n", f.do("exists", "k"), way)
	}
}

func TestTimesToLiveThatAreOdd(t *testing.T) {
	f := newestFixture(t)
	f.do("set", "k", "v")
	assert.Equal(t, ":1\r\n", f.do("expire", "k", "9999999999"), "300 years")
	f.clock.Advance(time.Hour)
	assert.Equal(t, ":1\r\n", f.do("exists", "k"))
	assert.Equal(t, ":1\r\n", f.do("pexpire", "k", "9223372036854775807"))
	assert.Equal(t, ":1\r\n", f.do("exists", "k"))
	ttl, err := strconv.ParseInt(f.do("pttl", "k")[1:14], 10, 64)
	require.NoError(t, err)
	assert.Greater(t, ttl, int64(8_000_000_000_000))
	assert.Equal(t, ":1\r\n", f.do("persist", "k"))
	assert.Equal(t, ":-1\r\n", f.do("ttl", "k"))
	assert.Equal(t, ":-2\r\n", f.do("pttl", "other"))

	assert.Equal(t, "+OK\r\n", f.do("set", "k", "v", "pxat", "1000"), "long past")
	assert.Equal(t, "$-1\r\n", f.do("get", "k"))
	f.do("rpush", "k", "a list of the same name")
	assert.Equal(t, ":-1\r\n", f.do("ttl", "k"))
	assert.Equal(t, ":1\r\n", f.do("expireat", "k", "1000"))
	assert.Equal(t, ":0\r\n", f.do("exists", "k"))
	for _, args := range [][]string{{"set", "k", "v", "ex", "0"}, {"set", "k", "v", "ex", "x"}, {"setex", "k", "-1", "v"}, {"expire", "k", "x"}, {"set", "k", "v", "ex"}, {"getex", "k", "px", "0"}} {
		assert.Equal(t, "-", f.do(args...)[:1], args)
	}
}

func TestTimesToLiveMoveWithTheirKeys(t *testing.T) {
	f := newestFixture(t)
	expired := map[string]bool{}
	f.Observe(nil, func(db int, key string) { expired[fmt.Sprint(db, key)] = true })
	f.do("set", "a", "v", "ex", "10")
	f.do("rename", "a", "b")
	f.do("set", "c", "v", "ex", "20")
	f.do("move", "c", "1")
	f.do("set", "d", "v", "ex", "30")
	f.do("swapdb", "0", "2")
	f.Select(f.s, 2)
	f.do("set", "e", "v", "ex", "40")
	f.do("eval", "redis.call('rename', 'e', 'f')", "0")
	assert.Equal(t, ":10\r\n", f.do("ttl", "b"))
	assert.Equal(t, ":40\r\n", f.do("ttl", "f"))
	for _, next := range []string{"2b", "1c", "2d", "2f"} {
		f.clock.Advance(10*time.Second - time.Millisecond)
		f.Expire()
		assert.NotContains(t, expired, next)
		f.clock.Advance(time.Millisecond)
		f.Expire()
		assert.Contains(t, expired, next)
	}
	assert.Len(t, expired, 4)
	assert.Empty(t, f.expiry.known)

	f.do("set", "g", "v", "ex", "10")
	f.do("flushall")
	assert.Empty(t, f.expiry.known)
	for i := range 5000 {
		f.do("set", fmt.Sprint(i), "v", "ex", "1000")
		f.do("del", fmt.Sprint(i))
	}
	assert.LessOrEqual(t, len(f.expiry.known), 1024, "keys that are gone must be forgotten")
}

func TestHashFieldsExpire(t *testing.T) {
	f := newestFixture(t)
	f.clock.Advance(12345 * time.Millisecond)
	f.do("hset", "h", "a", "1", "b", "2", "c", "3")
	assert.Equal(t, "*2\r\n:1\r\n:-2\r\n", f.do("hexpire", "h", "10", "fields", "2", "a", "x"))
	assert.Equal(t, "*2\r\n:10\r\n:-1\r\n", f.do("httl", "h", "fields", "2", "a", "b"))
	assert.Equal(t, "*1\r\n:10000\r\n", f.do("hpttl", "h", "fields", "1", "a"))
	assert.Equal(t, "*1\r\n:0\r\n", f.do("hexpire", "h", "9", "gt", "fields", "1", "a"))
	assert.Equal(t, "*1\r\n:1\r\n", f.do("hexpire", "h", "20", "fields", "1", "b"))
	f.do("rename", "h", "i")
	f.clock.Advance(10*time.Second - time.Millisecond)
	assert.Equal(t, ":3\r\n", f.do("hlen", "i"))
	f.clock.Advance(time.Millisecond)
	assert.Equal(t, ":2\r\n", f.do("hlen", "i"))
	f.do("hdel", "i", "c")
	f.clock.Advance(10 * time.Second)
	assert.Equal(t, ":0\r\n", f.do("exists", "i"))
	assert.Equal(t, "-", f.do("hexpire", "i", "x", "fields", "1", "a")[:1])
}

func TestHashFieldsExpireToTheMillisecond(t *testing.T) {
	f := newestFixture(t)
	f.do("hset", "h", "a", "1", "b", "2", "c", "3", "d", "4")
	now := f.clock.Now()
	at := func(d time.Duration, unit time.Duration) string {
		return fmt.Sprint(now.Add(d).UnixMilli() / unit.Milliseconds())
	}
	assert.Equal(t, "*1\r\n:1\r\n", f.do("hpexpire", "h", "1500", "fields", "1", "a"))
	assert.Equal(t, "*1\r\n:1\r\n", f.do("hexpireat", "h", at(10*time.Second, time.Second), "fields", "1", "b"))
	assert.Equal(t, "*1\r\n:1\r\n", f.do("hpexpireat", "h", at(2500*time.Millisecond, time.Millisecond), "fields", "1", "c"))
	assert.Equal(t, "*3\r\n:1500\r\n:2500\r\n:-1\r\n", f.do("hpttl", "h", "fields", "3", "a", "c", "d"))
	assert.Equal(t, "*2\r\n:"+at(2500*time.Millisecond, time.Millisecond)+"\r\n:-2\r\n", f.do("hpexpiretime", "h", "fields", "2", "c", "x"))
	assert.Equal(t, "*1\r\n:"+at(10*time.Second, time.Second)+"\r\n", f.do("hexpiretime", "h", "fields", "1", "b"))
	assert.Equal(t, "*2\r\n:2\r\n:-2\r\n", f.do("hexpireat", "h", "1", "fields", "2", "d", "x"), "2: the time had passed, the field is gone")
	f.clock.Advance(1500 * time.Millisecond)
	assert.Equal(t, ":2\r\n", f.do("hlen", "h"))
	f.clock.Advance(time.Second)
	assert.Equal(t, ":1\r\n", f.do("hlen", "h"))
	assert.Equal(t, "-", f.do("hpexpire", "h", "x", "fields", "1", "b")[:1])
	assert.Equal(t, "-", f.do("hexpiretime", "h", "fields", "2", "b")[:1])
}

package keyspace

import (
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2/server"
	"github.com/jonboulle/clockwork"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/entracache/entracache/fakeserver/internal/command"
	"github.com/entracache/entracache/fakeserver/internal/resp"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type fixture struct {
	*Engine
	clock *clockwork.FakeClock
	table *command.Table
	s     *Session
}

func newFixture(t testing.TB) *fixture {
	t.Helper()
	clock := clockwork.NewFakeClock()
	e, err := New(clock)
	require.NoError(t, err)
	t.Cleanup(e.Close)
	table, err := command.ForLevel("6.0")
	require.NoError(t, err)
	return &fixture{e, clock, table, e.NewSession()}
}

func (f *fixture) call(args ...string) Call {
	c := Call{Session: f.s, Command: f.table.Lookup([]byte(args[0])), Proto: 2}
	for _, a := range args {
		c.Args = append(c.Args, []byte(a))
	}
	return c
}

func (f *fixture) do(args ...string) string { return string(f.Do(nil, f.call(args...))) }

func TestDoAppends(t *testing.T) {
	f := newFixture(t)
	assert.Equal(t, "before+OK\r\n", string(f.Do([]byte("before"), f.call("set", "a", "b"))))
	c := f.call("hgetall", "h")
	f.do("hset", "h", "x", "y")
	c.Proto = 3
	assert.Equal(t, "%1\r\n$1\r\nx\r\n$1\r\ny\r\n", string(f.Do(nil, c)))
	assert.Equal(t, "*2\r\n$1\r\nx\r\n$1\r\ny\r\n", f.do("hgetall", "h"))
}

func TestSessionsHaveTheirOwnDatabase(t *testing.T) {
	f := newFixture(t)
	other := f.NewSession()
	require.True(t, f.Select(other, 15))
	assert.False(t, f.Select(other, 16))
	assert.False(t, f.Select(other, -1))
	assert.Equal(t, 15, other.DB())
	f.do("set", "a", "zero")
	c := f.call("get", "a")
	c.Session = other
	assert.Equal(t, "$-1\r\n", string(f.Do(nil, c)))
	f.Atomically(func(tx *Tx) { assert.Equal(t, []DBStat{{DB: 0, Keys: 1}}, tx.Stats()) })
}

func TestTimesToLiveFollowTheClock(t *testing.T) {
	f := newFixture(t)
	f.do("set", "a", "1")
	f.clock.Advance(time.Hour)
	f.do("expire", "a", "10")
	f.clock.Advance(10*time.Second - time.Millisecond)
	assert.Equal(t, ":1\r\n", f.do("exists", "a"))
	f.clock.Advance(time.Millisecond)
	assert.Equal(t, ":0\r\n", f.do("exists", "a"))
	assert.Empty(t, f.expiry.heap)
	assert.Empty(t, f.expiry.known)
	// Many keys, in no order, and one that gets more time.
	for i, key := range []string{"k5", "k1", "k4", "k2", "k3"} {
		f.do("psetex", key, []string{"5000", "1000", "4000", "2000", "3000"}[i], "v")
	}
	f.do("pexpire", "k1", "10000")
	for _, left := range []string{":5\r\n", ":4\r\n", ":3\r\n", ":2\r\n", ":1\r\n"} {
		f.clock.Advance(time.Second)
		assert.Equal(t, left, f.do("dbsize"))
	}
}

func TestWaiterTakesNothingOnceCancelledOrDead(t *testing.T) {
	f := newFixture(t)
	pop := func(tx *Tx, _ bool) ([]byte, bool) {
		reply := tx.Do(nil, f.call("lpop", "l"))
		return reply, string(reply) != "$-1\r\n"
	}
	keys := [][]byte{[]byte("l")}
	var alive atomic.Bool
	alive.Store(true)
	reply, w := f.Block(f.s, keys, false, alive.Load, pop)
	require.Nil(t, reply)
	_, served := f.Cancel(w)
	assert.False(t, served)
	f.do("rpush", "l", "x")
	assert.Equal(t, ":1\r\n", f.do("llen", "l"))
	reply, w = f.Block(f.s, keys, false, alive.Load, pop)
	assert.Nil(t, w)
	assert.Equal(t, "$1\r\nx\r\n", string(reply))

	_, w = f.Block(f.s, keys, false, alive.Load, pop)
	alive.Store(false)
	f.do("rpush", "l", "y")
	assert.Equal(t, ":1\r\n", f.do("llen", "l"))
	alive.Store(true)
	f.do("rpush", "l", "z")
	assert.Equal(t, "$1\r\ny\r\n", string(<-w.Ready()))
	_, served = f.Cancel(w)
	assert.False(t, served, "it was delivered already")
	assert.Empty(t, f.waiting)

	_, w = f.Block(f.s, [][]byte{[]byte("other")}, false, alive.Load, func(tx *Tx, _ bool) ([]byte, bool) {
		reply := tx.Do(nil, f.call("lpop", "other"))
		return reply, string(reply) != "$-1\r\n"
	})
	f.do("rpush", "l", "not for me")
	f.do("rpush", "other", "o")
	reply, served = f.Cancel(w)
	assert.True(t, served, "served before it was cancelled")
	assert.Equal(t, "$1\r\no\r\n", string(reply))
}

// TestScansLeaveNothingOut: whoever removes what a page shows, as clients do,
// must still come to see all of it.
func TestScansLeaveNothingOut(t *testing.T) {
	f := newFixture(t)
	for i := range 50 {
		f.do("sadd", "s", strconv.Itoa(i))
		f.do("zadd", "z", "1", strconv.Itoa(i))
	}
	for scan, remove := range map[string][]string{"sscan": {"srem", "s"}, "zscan": {"zrem", "z"}} {
		for cursor := "0"; ; {
			reply, _, err := resp.Parse([]byte(f.do(scan, remove[1], cursor, "COUNT", "10")))
			require.NoError(t, err)
			for _, v := range reply.Elems[1].Elems {
				f.do(append(remove, string(v.Text))...)
			}
			if cursor = string(reply.Elems[0].Text); cursor == "0" {
				break
			}
		}
		assert.Equal(t, ":0\r\n", f.do("exists", remove[1]), scan)
	}
	assert.Contains(t, f.do("sscan", "s", "0", "COUNT"), "-ERR")
	assert.Contains(t, f.do("sscan", "s", "0", "COUNT", "x"), "-ERR")
}

// TestPanicLeavesTheEngineUsable: the engine takes its own lock without defer.
func TestPanicLeavesTheEngineUsable(t *testing.T) {
	f := newFixture(t)
	for _, locked := range []bool{true, false} {
		f.srv.SetPreHook(func(*server.Peer, string, ...string) bool {
			if locked {
				f.mini.Lock()
			}
			panic("on purpose")
		})
		assert.Panics(t, func() { f.do("type", "a") })
		f.srv.SetPreHook(f.hook)
		assert.Equal(t, "+OK\r\n", f.do("set", "a", "b"))
	}
}

// TestCommandsThatWaitDoNot: whoever runs a blocking command without Block gets
// its answer at once, instead of locking the keyspace for ever.
func TestCommandsThatWaitDoNot(t *testing.T) {
	f := newFixture(t)
	for _, args := range [][]string{
		{"blpop", "l", "0"}, {"brpop", "l", "0"}, {"brpoplpush", "l", "m", "0"}, {"bzpopmin", "z", "0"},
		{"xread", "block", "0", "streams", "s", "$"},
	} {
		reply := f.do(args...)
		assert.Contains(t, []string{"*-1\r\n", "$-1\r\n"}, reply, args)
	}
	assert.Contains(t, f.do("eval", "return redis.call('blpop', 'l', 0)", "0"), "not allowed from scripts")
	f.do("rpush", "l", "x")
	assert.Equal(t, "*2\r\n$1\r\nl\r\n$1\r\nx\r\n", f.do("blpop", "l", "0"))
	assert.Equal(t, "-", f.do("blpop", "l", "soon")[:1])
	assert.Equal(t, ":0\r\n", f.do("llen", "l"), "the engine must not be left in a transaction")
}

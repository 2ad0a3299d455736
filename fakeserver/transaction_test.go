package fakeserver_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/entracache/entracache/fakeserver"
)

func TestMultiExec(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.withKey()
	assert.Equal(t, "-ERR EXEC without MULTI", c.line("EXEC"))
	assert.Equal(t, "-ERR DISCARD without MULTI", c.line("DISCARD"))
	assert.Equal(t, "+OK", c.line("MULTI"))
	assert.Equal(t, "-ERR MULTI calls can not be nested", c.line("MULTI"))
	assert.Equal(t, "-ERR WATCH inside MULTI is not allowed", c.line("WATCH", "a"))
	assert.Equal(t, "+QUEUED", c.line("SET", "a", "1"))
	assert.Equal(t, "+QUEUED", c.line("LPUSH", "a", "x"))
	assert.Equal(t, "+QUEUED", c.line("BLPOP", "nothing", "0"))
	assert.Equal(t, "+QUEUED", c.line("SELECT", "3"))
	assert.Equal(t, "+QUEUED", c.line("SET", "b", "2"))
	assert.Equal(t, "*5\r\n+OK\r\n-WRONGTYPE Operation against a key holding the wrong kind of value\r\n*-1\r\n+OK\r\n+OK\r\n", c.do("EXEC"))
	assert.Equal(t, "$1\r\n2\r\n", c.do("GET", "b"))
	assert.Equal(t, "+OK", c.line("MULTI"))
	assert.Equal(t, "+QUEUED", c.line("SET", "b", "3"))
	assert.Equal(t, "+OK", c.line("DISCARD"))
	assert.Equal(t, "$1\r\n2\r\n", c.do("GET", "b"))
	c.do("MULTI")
	assert.Equal(t, "*0", c.line("EXEC"))
}

func TestExecAbort(t *testing.T) {
	t.Parallel()
	const abort = "-EXECABORT Transaction discarded because of previous errors."
	w := newWorld(t)
	c := w.signedIn(fakeserver.DataContributor)
	for _, bad := range [][]string{{"NOSUCH"}, {"GET"}, {"FLUSHALL"}, {"CONFIG", "GET", "x"}} {
		require.Equal(t, "+OK", c.line("MULTI"))
		require.Equal(t, "+QUEUED", c.line("SET", "a", "1"))
		assert.Equal(t, "-", c.line(bad...)[:1])
		assert.Equal(t, abort, c.line("EXEC"), bad)
		assert.Equal(t, "$-1", c.line("GET", "a"))
	}
}

func TestPermissionsAreCheckedAgainAtExec(t *testing.T) {
	t.Parallel()
	const changed = "-NOPERM ACLs rules changed between the moment the transaction was accumulated and the EXEC call. This command is no longer allowed for the following reason: "
	w := newWorld(t)
	c := w.signedIn(fakeserver.DataOwner)
	c.do("MULTI")
	c.do("SET", "a", "1")
	c.do("GET", "a")
	require.NoError(t, w.Assign(oid, fakeserver.Policy{Name: "p", Permissions: "+get +exec ~b"}))
	assert.Equal(t, "*2\r\n"+changed+"no permission to execute the command or subcommand\r\n"+changed+"no permission to touch the specified keys\r\n", c.do("EXEC"))
}

func TestAuthInsideMulti(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.signedIn(fakeserver.DataOwner)
	c.do("MULTI")
	assert.Equal(t, "+QUEUED", c.line("AUTH", oid, "bad"))
	assert.Equal(t, "+QUEUED", c.line("AUTH", oid, w.token(3*time.Hour)))
	assert.Equal(t, "+QUEUED", c.line("PING"))
	assert.Equal(t, "*3\r\n"+wrongPass+"\r\n+OK\r\n+PONG\r\n", c.do("EXEC"))
	w.clock.Advance(2 * time.Hour)
	assert.Equal(t, "+PONG", c.line("PING"))
}

func TestWatch(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	other := w.withKey()
	for name, tc := range map[string]struct {
		change  []string
		aborted bool
	}{
		"nothing":        {[]string{"PING"}, false},
		"read":           {[]string{"GET", "k"}, false},
		"set":            {[]string{"SET", "k", "2"}, true},
		"no set":         {[]string{"SETNX", "k", "2"}, false},
		"another key":    {[]string{"SET", "other", "2"}, false},
		"append":         {[]string{"APPEND", "k", "2"}, true},
		"del":            {[]string{"DEL", "k"}, true},
		"del of nothing": {[]string{"DEL", "unknown"}, false},
		"rename":         {[]string{"RENAME", "k", "k2"}, true},
		"script":         {[]string{"EVAL", "redis.call('SET', KEYS[1], 'x')", "1", "k"}, true},
		"flushall":       {[]string{"FLUSHALL"}, true},
		"flushdb":        {[]string{"FLUSHDB"}, true},
		"expire":         {[]string{"PEXPIRE", "k", "1"}, true},
	} {
		c := w.withKey()
		require.Equal(t, "+OK", c.line("SET", "k", "1"))
		require.Equal(t, "+OK", c.line("WATCH", "k", "k3"))
		other.do(tc.change...)
		w.clock.Advance(2 * time.Millisecond)
		c.do("MULTI")
		c.do("PING")
		want := "*1\r\n+PONG\r\n"
		if tc.aborted {
			want = "*-1\r\n"
		}
		assert.Equal(t, want, c.do("EXEC"), name)
		// EXEC ends the watch.
		other.do("SET", "k", "9")
		c.do("MULTI")
		assert.Equal(t, "*0", c.line("EXEC"), name)
	}
	c := w.withKey()
	c.do("WATCH", "k")
	c.do("UNWATCH")
	other.do("SET", "k", "9")
	c.do("MULTI")
	assert.Equal(t, "*0", c.line("EXEC"))
	// A flush of another database does not concern the key.
	c.do("WATCH", "k")
	other.do("SELECT", "5")
	other.do("FLUSHDB")
	c.do("MULTI")
	assert.Equal(t, "*0", c.line("EXEC"))
}

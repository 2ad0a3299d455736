package fakeserver_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/entracache/entracache/fakeserver"
)

// A tracking client is told of a key that expires although nobody looks at it.
func TestTrackingTellsOfExpiredKeys(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.withKey()
	c.do("HELLO", "3")
	require.Equal(t, "+OK", c.line("CLIENT", "TRACKING", "on", "BCAST", "NOLOOP"))
	require.Equal(t, "+OK", c.line("SET", "short", "v", "PX", "1"))
	require.Equal(t, "+OK", c.line("SET", "long", "v"))
	c.quiet()
	w.clock.Advance(2 * fakeserver.ExpireEvery)
	assert.Equal(t, ">2\r\n$10\r\ninvalidate\r\n*1\r\n$5\r\nshort\r\n", c.read())
}

// Until 7.2 a script that reads any key counts as reading those it was called
// with; a script that only writes reads none.
func TestTrackingOfScripts(t *testing.T) {
	t.Parallel()
	for profile, told := range map[fakeserver.Profile]string{fakeserver.ProfileAzureCache60: "declared", fakeserver.ProfileManagedRedis74: "read"} {
		w := newWorld(t, fakeserver.WithProfile(profile))
		c, other := w.withKey(), w.withKey()
		c.do("HELLO", "3")
		require.Equal(t, "+OK", c.line("CLIENT", "TRACKING", "on"))
		c.do("EVAL", "redis.call('set', 'written', 'v')", "1", "declared")
		require.Equal(t, "+OK", other.line("MSET", "declared", "1", "read", "1"))
		c.quiet()
		c.do("EVAL", "redis.call('get', 'read')", "1", "declared")
		require.Equal(t, "+OK", other.line("MSET", "declared", "2", "read", "2"))
		assert.Equal(t, ">2\r\n$10\r\ninvalidate\r\n"+fmt.Sprintf("*1\r\n$%d\r\n%s\r\n", len(told), told), c.read(), profile)
		c.quiet()
	}
}

// A full table gives up a key, and tells those who read it.
func TestTrackingTableIsBounded(t *testing.T) {
	t.Parallel()
	s := open(t, fakeserver.ProfileOSS70)
	c := dialPlain(t, s)
	c.do("HELLO", "3")
	require.Equal(t, "+OK", c.line("CLIENT", "TRACKING", "on", "NOLOOP"))
	c.do("MGET", "a", "b")
	require.Equal(t, "+OK", dialPlain(t, s).line("CONFIG", "SET", "tracking-table-max-keys", "1"))
	assert.Regexp(t, `^>2\r\n\$10\r\ninvalidate\r\n\*1\r\n\$1\r\n[ab]\r\n$`, c.read())
	c.quiet()
}

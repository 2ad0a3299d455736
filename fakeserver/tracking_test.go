package fakeserver_test

import (
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

package scenarios

import (
	"net"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestPortsAreUsedOnce(t *testing.T) {
	t.Parallel()
	var p ports
	seen := map[int]bool{}
	for range 100 {
		first, err := p.take(3)
		require.NoError(t, err)
		for port := first; port < first+3; port++ {
			assert.False(t, seen[port], "%d was given out before", port)
			seen[port] = true
			assert.True(t, firstPort <= port && port <= lastPort, port)
		}
	}
}

func TestPortsOfOthersAreLeftOut(t *testing.T) {
	t.Parallel()
	var p ports
	first, err := p.take(1)
	require.NoError(t, err)
	busy, err := net.Listen("tcp", local(first+2))
	if err != nil {
		t.Skipf("somebody else listens on the port next but one: %v", err)
	}
	defer busy.Close()
	next, err := p.take(2)
	require.NoError(t, err)
	assert.Greater(t, next, first+2)
}

func TestPortsRunOut(t *testing.T) {
	t.Parallel()
	p := ports{next: lastPort - 1, taken: lastPort - firstPort - 4}
	for range 2 {
		_, err := p.take(2)
		require.NoError(t, err)
	}
	_, err := p.take(2)
	assert.ErrorContains(t, err, "used every port that it may: play fewer scenarios in one run")
}

func TestOthersAreQuicker(t *testing.T) {
	t.Parallel()
	var p ports
	var tried []int
	err := p.onFresh(1, func(first int) error {
		if tried = append(tried, first); len(tried) == 1 {
			return syscall.EADDRINUSE
		}
		return nil
	})
	require.NoError(t, err)
	require.Len(t, tried, 2)
	assert.NotEqual(t, tried[0], tried[1])
	assert.ErrorIs(t, p.onFresh(1, func(int) error { return syscall.EADDRINUSE }), syscall.EADDRINUSE)
}

package fakeserver_test

import (
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/entracache/entracache/fakeserver"
)

// TestClientThatReadsNothing: its replies are made as it takes them, so they
// take no memory, and nobody else waits.
func TestClientThatReadsNothing(t *testing.T) {
	if raceDetector {
		t.Skip("the race detector takes memory of its own")
	}
	w := newWorld(t, fakeserver.WithPlainAddr("127.0.0.1:0"))
	value := strings.Repeat("v", 1<<20)
	require.Equal(t, "+OK", w.withKey().line("SET", "big", value))
	get := array("GET", "big")
	for _, commands := range []string{
		strings.Repeat(get, 1000),
		array("SUBSCRIBE", "c") + strings.Repeat(array("PING", value[:1<<16]), 1000),
		strings.Repeat(array("EVAL", "return redis.call('get','big')", "0"), 1000),
		array("HELLO", "3") + array("SUBSCRIBE", "c") + strings.Repeat(array("EVAL", "redis.call('publish','c',ARGV[1]) return redis.call('get','big')", "0", "x"), 1000),
		array("HELLO", "3") + array("CLIENT", "TRACKING", "on") + strings.Repeat(get, 1000),
		array("MULTI") + strings.Repeat(get, 20) + array("EXEC") + strings.Repeat(get, 1000),
	} {
		for _, open := range []func(*testing.T, *fakeserver.Server) *client{dial, dialPlain} {
			payload := []byte(commands)
			live, _ := memory()
			slow := open(t, w.Server)
			require.Equal(t, "+OK", slow.line("AUTH", "key-one"))
			go func() { _, _ = slow.conn.Write(payload) }() // it may wait: nobody reads at the other end
			other := w.withKey()
			begin := time.Now()
			for i := range 50 {
				require.Equal(t, "+OK", other.line("SET", "k", fmt.Sprint(i)))
				require.NotEmpty(t, other.line("PUBLISH", "c", "x"))
			}
			assert.Less(t, time.Since(begin), 10*time.Second)
			now, _ := memory()
			assert.Less(t, now-live, 48<<20, "%.60q", commands)
			runtime.KeepAlive(payload)
			_ = slow.conn.Close()
			_ = other.conn.Close()
		}
	}
}

// TestOwnMessagesWithinAScript: what a script publishes to its own connection
// comes before the script's reply, as messages, whole.
func TestOwnMessagesWithinAScript(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.withKey()
	c.do("HELLO", "3")
	c.do("SUBSCRIBE", "c")
	c.send(array("EVAL", "local n = redis.call('publish','c','hello') return {n, redis.call('publish','c','again')}", "0"))
	got := map[string]int{}
	for range 3 {
		got[c.read()]++
	}
	assert.Equal(t, map[string]int{
		">3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$5\r\nhello\r\n": 1, ">3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$5\r\nagain\r\n": 1, "*2\r\n:1\r\n:1\r\n": 1,
	}, got)
}

// TestMonitorWithinATransaction: Redis 6.0 allows it.
func TestMonitorWithinATransaction(t *testing.T) {
	t.Parallel()
	w := newWorld(t, fakeserver.WithProfile("oss-6.0"))
	c := dial(t, w.Server)
	require.Equal(t, "+OK", c.line("MULTI"))
	require.Equal(t, "+QUEUED", c.line("PING"))
	require.Equal(t, "+QUEUED", c.line("MONITOR"))
	assert.Equal(t, "*2\r\n+PONG\r\n+OK\r\n", c.do("EXEC"))
}

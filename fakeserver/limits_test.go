package fakeserver_test

import (
	"crypto/tls"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/entracache/entracache/fakeserver"
)

const tooMany = "-ERR max number of clients reached\r\n"

func TestMaxClients(t *testing.T) {
	t.Parallel()
	w := newWorld(t, fakeserver.WithMaxClients(2), fakeserver.WithPlainAddr("127.0.0.1:0"))
	first, second := w.withKey(), dialPlain(t, w.Server)
	require.Equal(t, "+OK", second.line("AUTH", "key-one"))
	assert.Equal(t, 2, w.MaxClients())
	for _, c := range []*client{dial(t, w.Server), dialPlain(t, w.Server)} {
		c.send(array("AUTH", "key-one") + array("PING"))
		reply, err := c.next(patience)
		require.NoError(t, err)
		assert.Equal(t, tooMany, reply)
		c.closed()
	}
	rejected := w.eventsOf(fakeserver.EventConnectionRejected)
	require.Len(t, rejected, 2)
	assert.Contains(t, rejected[0].Detail, "max number of clients reached")
	assert.Contains(t, first.do("INFO", "stats"), "rejected_connections:2\r\n")
	assert.Contains(t, first.do("INFO", "stats"), "total_connections_received:2\r\n")
	assert.Len(t, w.Connections(), 2)

	// Who has left makes room, and so do those who are cut.
	_ = second.conn.Close()
	w.eventKind(fakeserver.EventConnectionClosed)
	third := w.withKey()
	require.NoError(t, w.Reboot())
	for _, c := range []*client{first, third} {
		c.closed()
	}
	assert.Equal(t, "+PONG", w.withKey().line("PING"))
	assert.Equal(t, "+PONG", w.withKey().line("PING"))
}

func TestMaxClientsIsExact(t *testing.T) {
	t.Parallel()
	const most = 20
	w := newWorld(t, fakeserver.WithMaxClients(most), fakeserver.WithPlainAddr("127.0.0.1:0"))
	var wg sync.WaitGroup
	var mu sync.Mutex
	counts := map[string]int{}
	for i := range 3 * most {
		connect := dialPlain
		if i%2 == 0 {
			connect = dial
		}
		c := connect(t, w.Server)
		wg.Go(func() {
			if _, err := c.conn.Write([]byte(array("AUTH", "key-one"))); err != nil {
				return
			}
			reply, _ := c.next(patience)
			mu.Lock()
			defer mu.Unlock()
			counts[reply]++
		})
	}
	wg.Wait()
	// Every connection is held open or closed by the test itself.
	assert.Equal(t, most, counts["+OK\r\n"], "%v", counts)
	assert.Equal(t, len(w.eventsOf(fakeserver.EventConnectionRejected)), counts[tooMany], "%v", counts)
}

func TestMaxClientsOfTheSKU(t *testing.T) {
	t.Parallel()
	// The documented numbers.
	for sku, most := range map[fakeserver.SKU]int{
		"Basic_C0": 256, "Standard_C0": 256, "Standard_C1": 1000, "Standard_C2": 2000, "Standard_C3": 5000, "Standard_C4": 10_000, "Standard_C5": 15_000,
		"Standard_C6": 20_000, "Premium_P1": 7500, "Premium_P2": 15_000, "Premium_P3": 30_000, "Premium_P4": 40_000, "Premium_P5": 40_000,
		"Enterprise_E10": 0,
	} {
		assert.Equal(t, most, sku.MaxClients(), sku)
		w := newWorld(t, fakeserver.WithSKU(sku))
		if most == 0 {
			most = 10_000
		}
		assert.Equal(t, most, w.MaxClients(), sku)
	}
	assert.Equal(t, fakeserver.DefaultSKU, newWorld(t).SKU())
}

func TestOpenSourceRedisDropsTLSClientsBeforeTheHandshake(t *testing.T) {
	t.Parallel()
	s := fakeserver.RunT(t, fakeserver.WithProfile(fakeserver.ProfileOSS60), fakeserver.WithPlainAddr("127.0.0.1:0"))
	c := dialPlain(t, s)
	require.Equal(t, "+OK", c.line("CONFIG", "SET", "maxclients", "1"))
	over := dialPlain(t, s)
	reply, err := over.next(patience)
	require.NoError(t, err)
	assert.Equal(t, tooMany, reply)
	over.closed()
	_, err = tls.Dial("tcp", s.Addr(), &tls.Config{InsecureSkipVerify: true}) // it must fail
	assert.Error(t, err)
}

func TestIdleConnectionsAreClosed(t *testing.T) {
	t.Parallel()
	w := newWorld(t, fakeserver.WithIdleTimeout(fakeserver.ServiceIdleTimeout))
	idle, busy := w.withKey(), w.withKey()
	blocked, subscribed, monitor := w.withKey(), w.withKey(), w.withKey()
	blocked.send(array("BLPOP", "list", "0"))
	w.waitBlocked(1) // with a connection of its own
	subscribed.do("SUBSCRIBE", "c")
	monitor.do("MONITOR")
	w.clock.Advance(9 * time.Minute)
	require.Equal(t, "+PONG", busy.line("PING"))
	w.clock.Advance(59 * time.Second)
	w.clock.Advance(time.Second)
	idle.closed()
	e := w.eventKind(fakeserver.EventConnectionClosed)
	assert.Equal(t, fakeserver.ReasonIdle, e.Reason)
	assert.Equal(t, noon.Add(10*time.Minute), e.Time)
	assert.Equal(t, "+PONG", busy.line("PING"))

	// What waits, listens or watches is not idle, for however long, and the
	// time of waiting does not count afterwards.
	w.clock.Advance(9 * time.Minute)
	require.Equal(t, ":1", busy.line("RPUSH", "list", "x"))
	require.Equal(t, "*2\r\n$4\r\nlist\r\n$1\r\nx\r\n", blocked.read())
	w.clock.Advance(9 * time.Minute)
	require.Equal(t, "+PONG", blocked.line("PING"))
	w.clock.Advance(10 * time.Minute)
	busy.closed()
	blocked.closed()
	require.True(t, strings.HasPrefix(subscribed.do("PING"), "*2\r\n$4\r\npong"))
	require.True(t, strings.HasPrefix(monitor.read(), "+"))
}

func TestIdleConnectionsAreKeptByDefault(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.withKey()
	w.clock.Advance(24 * time.Hour)
	assert.Equal(t, "+PONG", c.line("PING"))
	_, err := fakeserver.Start(fakeserver.WithIdleTimeout(-1))
	assert.ErrorContains(t, err, "WithIdleTimeout")
}

func TestIdleTimeoutIsRedisParameter(t *testing.T) {
	t.Parallel()
	w := newWorld(t, fakeserver.WithProfile(fakeserver.ProfileOSS60), fakeserver.WithIdleTimeout(time.Minute))
	c, idle := dial(t, w.Server), dial(t, w.Server)
	require.Equal(t, "+PONG", idle.line("PING"))
	assert.Equal(t, "*2\r\n$7\r\ntimeout\r\n$2\r\n60\r\n", c.do("CONFIG", "GET", "timeout"))
	require.Equal(t, "+OK", c.line("CONFIG", "SET", "timeout", "0"))
	w.clock.Advance(time.Hour)
	require.Equal(t, "+PONG", c.line("PING"))
	require.Equal(t, "+PONG", idle.line("PING"))
	w.clock.Advance(29 * time.Second)
	require.Equal(t, "+OK", c.line("CONFIG", "SET", "timeout", "30"))
	require.Equal(t, "+PONG", c.line("PING"))
	w.clock.Advance(time.Second)
	idle.closed()
	assert.Equal(t, "+PONG", c.line("PING"))
}

func TestSixteenDatabases(t *testing.T) {
	t.Parallel()
	c := newWorld(t).withKey()
	for db := range 16 {
		require.Equal(t, "+OK", c.line("SELECT", fmt.Sprint(db)))
	}
	assert.Equal(t, "-ERR DB index is out of range", c.line("SELECT", "16"))
}

func TestMaxClientsInMemory(t *testing.T) {
	t.Parallel()
	s := fakeserver.RunT(t, fakeserver.WithInMemory(), fakeserver.WithPlainAddr("127.0.0.1:6379"), fakeserver.WithMaxClients(1),
		fakeserver.WithAccessKeys("key-one", "key-two"))
	connect := func() *client {
		conn, err := s.DialRaw(t.Context(), "tcp", s.PlainAddr())
		require.NoError(t, err)
		return newClient(t, conn)
	}
	first := connect()
	require.Equal(t, "+OK", first.line("AUTH", "key-one"))
	second := connect()
	reply, err := second.next(patience)
	require.NoError(t, err)
	assert.Equal(t, tooMany, reply)
	second.closed()
	assert.Equal(t, "+PONG", first.line("PING"))
}

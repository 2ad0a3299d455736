package fakeserver_test

import (
	"fmt"
	"net"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/entracache/entracache/fakeserver"
)

// nodeEvent waits for an event of a kind about a node.
func (w *world) nodeEvent(kind fakeserver.EventKind, node string) fakeserver.Event {
	w.t.Helper()
	return w.event(func(e fakeserver.Event) bool { return e.Kind == kind && e.Node == node })
}

// timers waits until n of the server's own waits are on the clock.
func (w *world) timers(n int) {
	w.t.Helper()
	require.NoError(w.t, w.clock.BlockUntilContext(w.t.Context(), n))
}

func TestPlannedFailover(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.withKey()
	require.Equal(t, "+OK", c.line("SET", "a", "b"))
	require.NoError(t, w.Failover())
	c.closed()
	closed := w.eventKind(fakeserver.EventConnectionClosed)
	assert.Equal(t, fakeserver.ReasonFailover, closed.Reason)
	assert.Equal(t, "node-0", closed.Node)
	w.nodeEvent(fakeserver.EventFailoverStarted, "node-0")
	w.nodeEvent(fakeserver.EventFailoverComplete, "node-1")
	assert.True(t, w.Nodes()[0].Primary)
	assert.Equal(t, "node-1", w.Nodes()[0].Name)
	c = w.withKey()
	assert.Equal(t, "$1\r\nb\r\n", c.do("GET", "a"))
	assert.Equal(t, "node-1", w.lastAuth().Node)
	assert.Contains(t, c.do("INFO", "replication"), "role:master\r\nconnected_slaves:1\r\n")
	require.NoError(t, w.Failover())
	c.closed()
	assert.Equal(t, "node-0", w.Nodes()[0].Name, "it goes back and forth")
}

func TestUnplannedFailover(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.withKey()
	require.Equal(t, "+OK", c.line("SET", "a", "b"))
	require.NoError(t, w.Failover(fakeserver.FailoverUnplanned()))
	c.closed()
	_, err := net.Dial("tcp", w.Addr())
	require.ErrorIs(t, err, syscall.ECONNREFUSED)
	assert.Empty(t, w.eventsOf(fakeserver.EventFailoverComplete))
	w.clock.Advance(fakeserver.DefaultUnplannedFailover - 1)
	_, err = net.Dial("tcp", w.Addr())
	require.ErrorIs(t, err, syscall.ECONNREFUSED)
	w.clock.Advance(1)
	w.nodeEvent(fakeserver.EventFailoverComplete, "node-1")
	w.nodeEvent(fakeserver.EventNodeUp, "node-0")
	assert.Equal(t, "$1\r\nb\r\n", w.withKey().do("GET", "a"))
	assert.ErrorContains(t, w.Failover(fakeserver.FailoverTakes(-1)), "FailoverTakes")
	assert.ErrorContains(t, w.Failover(fakeserver.FailoverShards(1)), "expected 0 to 0")
}

func TestFailoverOfABasicCache(t *testing.T) {
	t.Parallel()
	w := newWorld(t, fakeserver.WithReplicasPerPrimary(0))
	require.Equal(t, "+OK", w.withKey().line("SET", "a", "b"))
	require.NoError(t, w.Failover(fakeserver.FailoverTakes(time.Second)))
	_, err := net.Dial("tcp", w.Addr())
	require.ErrorIs(t, err, syscall.ECONNREFUSED)
	w.clock.Advance(time.Second)
	w.up(1)
	assert.Equal(t, ":0", w.withKey().line("DBSIZE"), "there was nobody to keep the data")
	assert.Empty(t, w.eventsOf(fakeserver.EventConnectionOpened)[0].Node, "there is only one node")
	require.Equal(t, "+OK", w.withKey().line("SET", "a", "b"))
	require.NoError(t, w.Reboot())
	assert.Equal(t, ":0", w.withKey().line("DBSIZE"))
}

func TestADemotedNodeIsReadOnly(t *testing.T) {
	t.Parallel()
	w := newWorld(t, fakeserver.WithConnectionsKeptOnFailover())
	c, blocked := w.withKey(), w.withKey()
	require.Equal(t, "+OK", c.line("SET", "a", "b"))
	blocked.send(array("BLPOP", "list", "0"))
	w.waitBlocked(1)
	require.NoError(t, w.Failover())
	assert.Equal(t, "$1\r\nb\r\n", c.do("GET", "a"))
	assert.Equal(t, "-READONLY You can't write against a read only replica.", c.line("SET", "a", "c"))
	assert.Equal(t, "+OK", c.line("MULTI"))
	assert.Equal(t, "-READONLY You can't write against a read only replica.", c.line("SET", "a", "c"))
	assert.Contains(t, c.line("EXEC"), "-EXECABORT")
	assert.Contains(t, c.do("INFO", "replication"), "role:slave\r\n")
	assert.Contains(t, blocked.read(), "-UNBLOCKED force unblock from blocking operation")
	require.Equal(t, "+OK", w.withKey().line("SET", "a", "c"))
	assert.Equal(t, "$1\r\nc\r\n", c.do("GET", "a"), "it replicates")
}

func TestRebootOfThePrimaryOrTheReplica(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.withKey()
	require.NoError(t, w.Reboot(fakeserver.RebootNodes(fakeserver.RebootSecondaryNode), fakeserver.RebootTakes(time.Minute)))
	assert.Equal(t, "+PONG", c.line("PING"), "clients do not notice the replica")
	assert.Contains(t, c.do("INFO", "replication"), "connected_slaves:0\r\n")
	w.clock.Advance(time.Minute)
	w.up(1)
	require.NoError(t, w.Reboot(fakeserver.RebootNodes(fakeserver.RebootPrimaryNode), fakeserver.RebootTakes(time.Minute), fakeserver.RebootLosesData()))
	c.closed()
	assert.Equal(t, "+OK", w.withKey().line("SET", "a", "b"), "the replica has taken over at once")
	assert.Equal(t, []bool{false, true}, []bool{w.Nodes()[0].Down, w.Nodes()[1].Down})
	w.clock.Advance(time.Minute)
	w.up(2)
	assert.ErrorContains(t, w.Reboot(fakeserver.RebootNodes("Some")), "AllNodes")
	assert.ErrorContains(t, w.Reboot(fakeserver.RebootNodes(fakeserver.RebootAllNodes, 3)), "shard 3")
}

func TestANodeLoadsAfterAReboot(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	require.NoError(t, w.Reboot(fakeserver.RebootTakes(time.Second), fakeserver.RebootLoads(5*time.Second)))
	w.clock.Advance(time.Second)
	w.up(2)
	c := w.withKey()
	const loading = "-LOADING Redis is loading the dataset in memory"
	assert.Equal(t, loading, c.line("GET", "a"))
	assert.Equal(t, loading, c.line("PING"))
	assert.Contains(t, c.do("INFO", "server"), "redis_version")
	assert.Equal(t, "+OK", c.line("MULTI"))
	assert.Equal(t, loading, c.line("GET", "a"))
	assert.Contains(t, c.line("EXEC"), "-EXECABORT")
	assert.True(t, w.Nodes()[0].Loading)
	w.clock.Advance(5 * time.Second)
	w.nodeEvent(fakeserver.EventNodeLoaded, "node-0")
	assert.Equal(t, "$-1\r\n", c.do("GET", "a"))
}

func TestFailoverOfAShard(t *testing.T) {
	t.Parallel()
	w := newWorld(t, fakeserver.WithShards(2))
	primary, replica, other := w.node(0, 0), w.node(0, 1), w.node(1, 0)
	require.Equal(t, "+OK", primary.line("SET", "b", "1"))
	was, next := w.info(0, 0), w.info(0, 1)
	other.do("SUBSCRIBE", "AzureRedisEvents")
	require.NoError(t, w.Failover(fakeserver.FailoverShards(0), fakeserver.FailoverTakes(5*time.Second)))
	primary.closed()
	_, err := net.Dial("tcp", was.Addr)
	require.ErrorIs(t, err, syscall.ECONNREFUSED)
	assert.Equal(t, moved(slotB, was), w.node(1, 0).line("GET", "b"), "nobody has taken over yet")
	assert.Contains(t, replica.do("CLUSTER", "NODES"), was.ID+" "+was.Addr+"@")
	assert.Contains(t, replica.do("CLUSTER", "NODES"), " master,fail - 0 ")
	assert.Contains(t, replica.do("CLUSTER", "INFO"), "cluster_slots_fail:8192\r\n")
	assert.Contains(t, replica.do("ROLE"), "$7\r\nconnect\r\n")
	w.clock.Advance(5 * time.Second)
	w.nodeEvent(fakeserver.EventNodeUp, was.Name)
	assert.Equal(t, "+OK", replica.line("SET", "b", "2"))
	old := w.at(was.Addr)
	require.Equal(t, "+OK", old.line("AUTH", "key-one"))
	assert.Equal(t, moved(slotB, next), old.line("GET", "b"))
	assert.Equal(t, "+OK", old.line("READONLY"))
	assert.Equal(t, "$1\r\n2\r\n", old.do("GET", "b"))
	assert.Contains(t, old.do("CLUSTER", "INFO"), "cluster_current_epoch:3\r\ncluster_my_epoch:3\r\n")
	slots := old.do("CLUSTER", "SLOTS")
	assert.Less(t, strings.Index(slots, next.ID), strings.Index(slots, was.ID), "the new primary comes first")
	assert.Equal(t, "+PONG", w.node(1, 0).line("PING"))
	assert.Contains(t, other.read(), "NotificationType|NodeMaintenanceFailoverComplete|StartTimeInUTC||IsReplica|True|IPAddress|127.0.0.1|SSLPort|"+port(was.Addr))
}

func TestPatch(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	sub := w.signedIn(fakeserver.DataOwner)
	sub.do("SUBSCRIBE", "AzureRedisEvents")
	message := func(c *client) string {
		lines := strings.Split(c.read(), "\r\n")
		require.Equal(t, "AzureRedisEvents", lines[4])
		return lines[6]
	}
	require.NoError(t, w.Patch(fakeserver.PatchTakes(time.Minute)))
	assert.ErrorContains(t, w.Patch(), "already")
	assert.ErrorContains(t, w.Patch(fakeserver.PatchScheduled(time.Second)), "PatchScheduled")
	assert.ErrorContains(t, w.Patch(fakeserver.PatchWarned(time.Second, 2*time.Second)), "PatchWarned")
	const ports = "|IPAddress||SSLPort|15001|NonSSLPort|13001"
	assert.Equal(t, "NotificationType|NodeMaintenanceScheduled|StartTimeInUTC|2026-11-23T12:15:00|IsReplica|True"+ports, message(sub), "the replica goes first")
	w.timers(2) // Patch's, and the token's expiry
	w.clock.Advance(15*time.Minute - 20*time.Second)
	assert.Equal(t, "NotificationType|NodeMaintenanceStarting|StartTimeInUTC|2026-11-23T12:15:00|IsReplica|True"+ports, message(sub))
	w.timers(2)
	w.clock.Advance(19 * time.Second)
	assert.Equal(t, "NotificationType|NodeMaintenanceStart|StartTimeInUTC||IsReplica|True"+ports, message(sub))
	w.timers(2)
	w.clock.Advance(time.Second)
	w.nodeEvent(fakeserver.EventNodeDown, "node-1")
	w.clock.Advance(time.Minute)
	assert.Equal(t, "NotificationType|NodeMaintenanceEnded|StartTimeInUTC|2026-11-23T12:16:00|IsReplica|True"+ports, message(sub))
	assert.Equal(t, "+OK", w.withKey().line("SET", "a", "b"))

	// Then the primary, which hands over first.
	assert.Contains(t, message(sub), "NodeMaintenanceScheduled|StartTimeInUTC|2026-11-23T12:31:00|IsReplica|False|IPAddress||SSLPort|15000|NonSSLPort|13000")
	w.timers(2)
	w.clock.Advance(15*time.Minute - 20*time.Second)
	assert.Contains(t, message(sub), "NodeMaintenanceStarting")
	w.timers(2)
	w.clock.Advance(19 * time.Second)
	assert.Contains(t, message(sub), "NodeMaintenanceStart|")
	w.timers(2)
	w.clock.Advance(time.Second)
	sub.closed()
	assert.Equal(t, fakeserver.ReasonPatched, w.event(func(e fakeserver.Event) bool { return e.Kind == fakeserver.EventConnectionClosed && e.User == oid }).Reason)
	w.nodeEvent(fakeserver.EventFailoverComplete, "node-1")
	c := w.withKey()
	assert.Equal(t, "$1\r\nb\r\n", c.do("GET", "a"))
	w.event(func(e fakeserver.Event) bool {
		return e.Kind == fakeserver.EventMaintenance && strings.HasPrefix(e.Detail, "NotificationType|NodeMaintenanceFailoverComplete|StartTimeInUTC||")
	})
	c.do("SUBSCRIBE", "AzureRedisEvents")
	w.clock.Advance(time.Minute)
	assert.Contains(t, message(c), "NodeMaintenanceEnded")
	w.eventKind(fakeserver.EventPatched)
	require.NoError(t, w.Patch(fakeserver.PatchScheduled(4*time.Second), fakeserver.PatchWarned(3*time.Second, 2*time.Second)), "once it has ended it may begin again")
	assert.Contains(t, message(c), "NodeMaintenanceScheduled|")
	w.timers(1)
	w.clock.Advance(time.Second)
	assert.Contains(t, message(c), "NodeMaintenanceStarting|")
	w.timers(1)
	w.clock.Advance(time.Second)
	assert.Contains(t, message(c), "NodeMaintenanceStart|")

	// The policy says who may listen.
	require.NoError(t, w.Assign(oid, fakeserver.DataReader))
	reader := dial(t, w.Server)
	require.Equal(t, "+OK", reader.line("AUTH", oid, w.token(time.Hour)))
	assert.Contains(t, reader.line("SUBSCRIBE", "AzureRedisEvents"), "-NOPERM")
}

func TestScaleOut(t *testing.T) {
	t.Parallel()
	w := newWorld(t, fakeserver.WithShards(1))
	for i := range 100 {
		_, err := w.Do("SET", fmt.Sprint("k", i), "v")
		require.NoError(t, err)
	}
	c := w.node(0, 0)
	c.do("SUBSCRIBE", "AzureRedisEvents")
	tracker := w.node(0, 0)
	require.NoError(t, w.Scale(fakeserver.ScaleShards(3)))
	require.Len(t, w.Nodes(), 6)
	assert.Contains(t, c.read(), "NotificationType|NodeMaintenanceScaleComplete|")
	w.eventKind(fakeserver.EventScaled)
	assert.Equal(t, moved(slotA, w.info(shardOf(t, w, "a"), 0)), tracker.line("GET", "a"), "connections are kept")
	sum := 0
	for shard := range 3 {
		n := w.node(shard, 0)
		keys := strings.Count(n.do("KEYS", "*"), "\r\nk")
		assert.Greater(t, keys, 10)
		sum += keys
		assert.Contains(t, n.do("CLUSTER", "INFO"), "cluster_size:3\r\n")
	}
	assert.Equal(t, 100, sum)

	gone := w.node(2, 0)
	require.NoError(t, w.Scale(fakeserver.ScaleShards(2), fakeserver.ScaleReplicas(2)))
	gone.closed()
	assert.Equal(t, fakeserver.ReasonScaled, w.event(func(e fakeserver.Event) bool {
		return e.Kind == fakeserver.EventConnectionClosed && e.Reason == fakeserver.ReasonScaled
	}).Reason)
	require.Len(t, w.Nodes(), 6)
	reply, err := w.Do("DBSIZE")
	require.NoError(t, err)
	assert.Equal(t, ":100\r\n", reply)
	assert.Contains(t, w.node(1, 2).do("CLUSTER", "NODES"), "connected 0-")
	assert.ErrorContains(t, newWorld(t).Scale(fakeserver.ScaleShards(2)), "WithShards")
	assert.ErrorContains(t, w.Scale(fakeserver.ScaleShards(0)), "ScaleShards")
}

// shardOf is the shard that serves a key.
func shardOf(t *testing.T, w *world, key string) int {
	t.Helper()
	for _, n := range w.Nodes() {
		if n.Primary && !strings.HasPrefix(w.node(n.Shard, 0).line("GET", key), "-MOVED") {
			return n.Shard
		}
	}
	require.Fail(t, "no shard has the key")
	return 0
}

func TestScaleToAnotherSize(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.withKey()
	require.Equal(t, "+OK", c.line("SET", "a", "b"))
	require.NoError(t, w.Scale())
	c.closed()
	assert.Equal(t, "$1\r\nb\r\n", w.withKey().do("GET", "a"))
	require.NoError(t, w.Scale(fakeserver.ScaleReplicas(0)))
	assert.Len(t, w.Nodes(), 1)
}

func TestResetOfNodes(t *testing.T) {
	t.Parallel()
	w := newWorld(t, fakeserver.WithShards(2))
	first := w.Nodes()
	require.NoError(t, w.Patch())
	require.NoError(t, w.Failover(fakeserver.FailoverShards(0)))
	require.NoError(t, w.Failover(fakeserver.FailoverShards(1), fakeserver.FailoverUnplanned()))
	require.NoError(t, w.Reboot(fakeserver.RebootNodes(fakeserver.RebootSecondaryNode), fakeserver.RebootTakes(time.Hour)))
	require.NoError(t, w.BeginSlotMigration(slotB, 1))
	w.Reset()
	assert.Equal(t, first, w.Nodes())
	w.clock.Advance(fakeserver.DefaultUnplannedFailover) // which has no effect any more
	assert.Equal(t, "+OK", w.node(0, 0).line("SET", "b", "1"))
	assert.Equal(t, "+PONG", w.node(1, 0).line("PING"))
	require.NoError(t, w.Patch(), "the first one was ended")
	require.NoError(t, w.Scale(fakeserver.ScaleShards(3), fakeserver.ScaleReplicas(0)))
	w.Reset()
	assert.Len(t, w.Nodes(), 4)
	assert.Contains(t, w.node(1, 0).do("CLUSTER", "NODES"), "connected 8192-16383")
	assert.Equal(t, ":0", w.node(0, 0).line("DBSIZE"))
}

// TestPortsOpenAfterAShortOutage: a node that is up again while it still goes down, as one that only loads may be, has its port open.
func TestPortsOpenAfterAShortOutage(t *testing.T) {
	t.Parallel()
	w := fakeserver.RunT(t)
	for i := range 200 {
		require.NoError(t, w.Reboot(fakeserver.RebootLoads(time.Microsecond)))
		require.Eventually(t, func() bool {
			conn, err := net.Dial("tcp", w.Addr())
			if err == nil {
				conn.Close()
			}
			return err == nil
		}, 10*time.Second, time.Millisecond, "reboot %d", i)
	}
}

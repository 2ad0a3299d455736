package fakeserver_test

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/entracache/entracache/fakeserver"
)

// The slots of some keys; see also TestKeySlot.
const (
	slotA   = 15495 // "a"
	slotB   = 3300  // "b"
	slotFoo = 12182 // "foo"
)

// at dials a node of the cache.
func (w *world) at(addr string) *client {
	w.t.Helper()
	pool := x509.NewCertPool()
	require.True(w.t, pool.AppendCertsFromPEM(w.CAPEM()))
	conn, err := tls.Dial("tcp", addr, &tls.Config{RootCAs: pool})
	require.NoError(w.t, err)
	return newClient(w.t, conn)
}

// node dials one and signs in with an access key. The first is the primary of
// the shard, the others are its replicas.
func (w *world) node(shard, n int) *client {
	w.t.Helper()
	c := w.at(w.info(shard, n).Addr)
	require.Equal(w.t, "+OK", c.line("AUTH", "key-one"))
	return c
}

func (w *world) info(shard, n int) fakeserver.NodeInfo {
	w.t.Helper()
	for _, info := range w.Nodes() {
		if info.Shard == shard {
			if n == 0 {
				return info
			}
			n--
		}
	}
	require.Fail(w.t, "there is no such node", "shard %d", shard)
	return fakeserver.NodeInfo{}
}

func moved(slot int, n fakeserver.NodeInfo) string { return fmt.Sprintf("-MOVED %d %s", slot, n.Addr) }
func ask(slot int, n fakeserver.NodeInfo) string   { return fmt.Sprintf("-ASK %d %s", slot, n.Addr) }

func TestNodesServeTheirSlotsOnly(t *testing.T) {
	t.Parallel()
	w := newWorld(t, fakeserver.WithShards(3))
	require.Len(t, w.Nodes(), 6)
	zero, two := w.node(0, 0), w.node(2, 0)
	assert.Equal(t, moved(slotA, w.info(2, 0)), zero.line("SET", "a", "1"))
	assert.Equal(t, "+OK", two.line("SET", "a", "1"))
	assert.Equal(t, "+OK", zero.line("SET", "b", "2"))
	assert.Equal(t, moved(slotB, w.info(0, 0)), two.line("GET", "b"))
	assert.Equal(t, ":1", two.line("DBSIZE"))
	assert.Equal(t, "*1\r\n$1\r\na\r\n", two.do("KEYS", "*"))
	assert.Contains(t, two.do("SCAN", "0"), "a")
	assert.NotContains(t, two.do("SCAN", "0"), "$1\r\nb")
	assert.Equal(t, ":0", w.node(1, 0).line("DBSIZE"))
	assert.Equal(t, "-CROSSSLOT Keys in request don't hash to the same slot", zero.line("MGET", "a", "b"))
	assert.Equal(t, "-CROSSSLOT Keys in request don't hash to the same slot", zero.line("MSET", "{b}1", "x", "c", "y"))
	assert.Equal(t, "+OK", zero.line("MSET", "{b}1", "x", "b", "y"))
	assert.Equal(t, "+OK", two.line("FLUSHALL"))
	assert.Equal(t, ":0", two.line("DBSIZE"))
	assert.Equal(t, ":2", zero.line("DBSIZE"), "a flush concerns one shard")
	// The cache's own address leads to one of the nodes.
	assert.Equal(t, moved(slotA, w.info(2, 0)), w.withKey().line("GET", "a"))
}

func TestClusterModeHasOneDatabase(t *testing.T) {
	t.Parallel()
	w := newWorld(t, fakeserver.WithShards(2), fakeserver.WithProfile(fakeserver.ProfileOSS70))
	c := w.at(w.info(1, 0).Addr) // a is here
	for want, args := range map[string][]string{
		"+OK": {"SELECT", "0"},
		"-ERR SELECT is not allowed in cluster mode":                      {"SELECT", "1"},
		"-ERR SWAPDB is not allowed in cluster mode":                      {"SWAPDB", "0", "1"},
		"-ERR MOVE is not allowed in cluster mode":                        {"MOVE", "a", "1"},
		"-ERR Copying to another database is not allowed in cluster mode": {"COPY", "a", "{a}2", "DB", "1"},
		"-ERR BY option of SORT denied in Cluster mode.":                  {"SORT", "a", "BY", "w_*"},
		"-ERR GET option of SORT denied in Cluster mode.":                 {"SORT", "a", "GET", "#"},
	} {
		assert.Equal(t, want, c.line(args...))
	}
	require.Equal(t, "+OK", c.line("SET", "a", "v"))
	assert.Equal(t, ":1", c.line("COPY", "a", "{a}2", "DB", "0"))
	assert.Equal(t, "$1\r\nv\r\n", c.do("GET", "{a}2"))
	assert.Contains(t, c.do("INFO", "keyspace"), "db0:keys=2,")
	assert.Equal(t, "+RESET", c.line("RESET"))
	assert.Equal(t, "$1\r\nv\r\n", c.do("GET", "a"), "after RESET it is the same shard")
	assert.Contains(t, c.do("CLIENT", "LIST"), " db=0 ")
}

func TestClusterInfoAndHello(t *testing.T) {
	t.Parallel()
	w := newWorld(t, fakeserver.WithShards(2))
	c, replica := w.node(0, 0), w.node(0, 1)
	assert.Contains(t, c.do("INFO"), "cluster_enabled:1\r\n")
	assert.Contains(t, c.do("INFO", "server"), "redis_mode:cluster\r\n")
	assert.Contains(t, c.do("INFO", "replication"), "role:master\r\nconnected_slaves:1\r\nslave0:ip=127.0.0.1,port=")
	assert.Contains(t, replica.do("INFO", "replication"), "role:slave\r\nmaster_host:127.0.0.1\r\n")
	assert.Contains(t, c.do("HELLO", "2"), "$4\r\nmode\r\n$7\r\ncluster\r\n$4\r\nrole\r\n$6\r\nmaster\r\n")
	assert.Contains(t, replica.do("HELLO", "2"), "$4\r\nrole\r\n$7\r\nreplica\r\n")
	assert.Contains(t, replica.do("ROLE"), "$5\r\nslave\r\n$9\r\n127.0.0.1\r\n")
	assert.Equal(t, ":1", c.line("WAIT", "1", "0"))
	info := c.do("CLUSTER", "INFO")
	for _, line := range []string{"cluster_state:ok", "cluster_slots_assigned:16384", "cluster_slots_ok:16384", "cluster_known_nodes:4", "cluster_size:2"} {
		assert.Contains(t, info, line+"\r\n")
	}
	assert.Equal(t, ":12182", c.line("CLUSTER", "KEYSLOT", "foo"))
	assert.Equal(t, ":12182", c.line("CLUSTER", "KEYSLOT", "x{foo}y{b}"))
	assert.Equal(t, "$40\r\n"+w.info(0, 0).ID+"\r\n", c.do("CLUSTER", "MYID"))
	assert.Contains(t, c.line("CLUSTER", "ADDSLOTS", "1"), "-ERR unknown command `CLUSTER`")
	assert.Contains(t, c.line("CLUSTER", "SHARDS"), "-ERR Unknown subcommand or wrong number of arguments for 'SHARDS'")
	assert.Equal(t, "-ERR Unknown node x", c.line("CLUSTER", "REPLICAS", "x"))
	assert.Contains(t, c.do("CLUSTER", "REPLICAS", w.info(0, 0).ID), w.info(0, 1).ID+" "+w.info(0, 1).Addr+"@")
	assert.Equal(t, "-ERR The specified node is not a master", c.line("CLUSTER", "SLAVES", w.info(0, 1).ID))
	assert.Equal(t, ":0", c.line("CLUSTER", "COUNT-FAILURE-REPORTS", w.info(0, 1).ID))
	require.Equal(t, "+OK", c.line("SET", "b", "1"))
	assert.Equal(t, ":1", c.line("CLUSTER", "COUNTKEYSINSLOT", "3300"))
	assert.Equal(t, "*1\r\n$1\r\nb\r\n", c.do("CLUSTER", "GETKEYSINSLOT", "3300", "10"))
	assert.Equal(t, "*0\r\n", c.do("CLUSTER", "GETKEYSINSLOT", "3300", "0"))
	assert.Equal(t, "-ERR Invalid slot", c.line("CLUSTER", "COUNTKEYSINSLOT", "16384"))
	assert.Equal(t, "-ERR Invalid slot or number of keys", c.line("CLUSTER", "GETKEYSINSLOT", "1", "-1"))

	plain := newWorld(t)
	assert.Equal(t, "-ERR This instance has cluster support disabled", plain.withKey().line("CLUSTER", "INFO"))
	assert.Equal(t, "-ERR This instance has cluster support disabled", plain.withKey().line("READONLY"))
	assert.Contains(t, plain.withKey().do("INFO"), "cluster_enabled:0\r\n")
}

func TestClusterNodesAndSlots(t *testing.T) {
	t.Parallel()
	w := newWorld(t, fakeserver.WithShards(2))
	c := w.node(0, 0)
	primary, replica, other := w.info(0, 0), w.info(0, 1), w.info(1, 0)
	lines := strings.Split(c.do("CLUSTER", "NODES"), "\n")
	require.Len(t, lines, 7, "the length, four nodes, and the end")
	at := regexp.QuoteMeta(primary.ID + " " + primary.Addr)
	assert.Regexp(t, "^"+at+`@\d+ myself,master - 0 0 1 connected 0-8191$`, lines[1])
	assert.Regexp(t, "^"+replica.ID+` \S+ slave `+primary.ID+` 0 \d+ 1 connected$`, lines[2])
	assert.Regexp(t, "^"+other.ID+` \S+ master - 0 \d+ 2 connected 8192-16383$`, lines[3])

	slots := c.do("CLUSTER", "SLOTS")
	assert.True(t, strings.HasPrefix(slots, "*2\r\n*4\r\n:0\r\n:8191\r\n*3\r\n$9\r\n127.0.0.1\r\n:"+port(primary.Addr)+"\r\n$40\r\n"+primary.ID+
		"\r\n*3\r\n$9\r\n127.0.0.1\r\n:"+port(replica.Addr)+"\r\n"), slots)

	// A connection without TLS is told the ports without TLS, and a name that
	// was set goes everywhere.
	w = newWorld(t, fakeserver.WithShards(2), fakeserver.WithPlainAddr("127.0.0.1:0"), fakeserver.WithNodeHost("cache.example"),
		fakeserver.WithProfile(fakeserver.ProfileManagedRedis74))
	c = dialPlain(t, w.Server)
	require.Equal(t, "+OK", c.line("AUTH", "key-one"))
	assert.Equal(t, "-MOVED 15495 cache.example:"+port(w.info(1, 0).PlainAddr), c.line("GET", "a"))
	assert.Contains(t, c.do("CLUSTER", "SLOTS"), "*4\r\n$13\r\ncache.example\r\n:"+port(w.info(0, 0).PlainAddr)+"\r\n$40\r\n"+w.info(0, 0).ID+
		"\r\n*2\r\n$2\r\nip\r\n$9\r\n127.0.0.1\r\n")
	assert.Contains(t, c.do("CLUSTER", "NODES"), " 127.0.0.1:"+port(w.info(0, 0).PlainAddr)+"@")
	assert.Contains(t, c.do("CLUSTER", "NODES"), ",cache.example myself,master ")
	shards := c.do("CLUSTER", "SHARDS")
	for _, part := range []string{"$5\r\nslots\r\n*2\r\n:0\r\n:8191\r\n", "$8\r\ntls-port\r\n:" + port(w.info(1, 1).Addr), "$4\r\nport\r\n:" + port(w.info(1, 1).PlainAddr),
		"$8\r\nendpoint\r\n$13\r\ncache.example\r\n", "$4\r\nrole\r\n$7\r\nreplica\r\n", "$6\r\nhealth\r\n$6\r\nonline\r\n"} {
		assert.Contains(t, shards, part)
	}
	assert.Len(t, strings.TrimSpace(c.do("CLUSTER", "MYSHARDID")), len("$40\r\n")+40)
	assert.True(t, strings.HasPrefix(c.do("CLUSTER", "LINKS"), "*6\r\n*12\r\n$9\r\ndirection\r\n"))
}

func port(addr string) string { return addr[strings.LastIndexByte(addr, ':')+1:] }

func TestReplicasOfACluster(t *testing.T) {
	t.Parallel()
	w := newWorld(t, fakeserver.WithShards(2))
	primary, replica := w.node(0, 0), w.node(0, 1)
	require.Equal(t, "+OK", primary.line("SET", "b", "1"))
	assert.Equal(t, moved(slotB, w.info(0, 0)), replica.line("GET", "b"))
	assert.Equal(t, "+OK", replica.line("READONLY"))
	assert.Equal(t, "$1\r\n1\r\n", replica.do("GET", "b"))
	assert.Equal(t, moved(slotB, w.info(0, 0)), replica.line("SET", "b", "2"))
	assert.Equal(t, moved(slotA, w.info(1, 0)), replica.line("GET", "a"))
	assert.Equal(t, "-READONLY You can't write against a read only replica.", replica.line("FLUSHALL"))
	assert.Equal(t, "$1\r\n1\r\n", replica.do("EVAL", "return redis.call('GET', KEYS[1])", "1", "b"))
	assert.Contains(t, replica.line("EVAL", "return redis.call('SET', KEYS[1], 'x')", "1", "b"), "READONLY You can't write against a read only replica.")
	assert.Equal(t, "+OK", replica.line("READWRITE"))
	assert.Equal(t, moved(slotB, w.info(0, 0)), replica.line("GET", "b"))
	assert.Contains(t, replica.line("WAIT", "0", "0"), "-ERR WAIT cannot be used with replica instances.")
}

func TestTransactionsInACluster(t *testing.T) {
	t.Parallel()
	w := newWorld(t, fakeserver.WithShards(2))
	c := w.node(0, 0)
	require.Equal(t, "+OK", c.line("MULTI"))
	assert.Equal(t, moved(slotA, w.info(1, 0)), c.line("SET", "a", "1"))
	assert.Equal(t, "+QUEUED", c.line("SET", "b", "1"))
	assert.Equal(t, "-EXECABORT Transaction discarded because of previous errors.", c.line("EXEC"))
	require.Equal(t, "+OK", c.line("MULTI"))
	assert.Equal(t, "+QUEUED", c.line("SET", "b", "1"))
	assert.Equal(t, "+QUEUED", c.line("SET", "c", "1"), "both are here")
	assert.Equal(t, "-CROSSSLOT Keys in request don't hash to the same slot", c.line("EXEC"))
	assert.Equal(t, "-ERR EXEC without MULTI", c.line("EXEC"))
	require.Equal(t, "+OK", c.line("WATCH", "b"))
	require.Equal(t, "+OK", c.line("MULTI"))
	assert.Equal(t, "+QUEUED", c.line("INCR", "b"))
	assert.Equal(t, "+QUEUED", c.line("INCR", "{b}2"))
	assert.Equal(t, "*2\r\n:1\r\n:1\r\n", c.do("EXEC"))
	assert.Equal(t, moved(slotA, w.info(1, 0)), c.line("WATCH", "a"))

	// The slot goes away while the transaction is open.
	require.Equal(t, "+OK", c.line("MULTI"))
	assert.Equal(t, "+QUEUED", c.line("INCR", "b"))
	require.NoError(t, w.BeginSlotMigration(slotB, 1))
	require.NoError(t, w.FinishSlotMigration(slotB))
	assert.Equal(t, 1, w.ShardOf("b"))
	assert.Equal(t, moved(slotB, w.info(1, 0)), c.line("EXEC"))
	assert.Equal(t, "$1\r\n1\r\n", w.node(1, 0).do("GET", "b"))
}

func TestScriptsInACluster(t *testing.T) {
	t.Parallel()
	for profile, want := range map[fakeserver.Profile][3]string{
		fakeserver.ProfileAzureCache60: {
			"Lua script attempted to access a non local key in a cluster node", "Lua script attempted to access a non local key in a cluster node", "+OK",
		},
		fakeserver.ProfileManagedRedis74: {
			"ERR Script attempted to access a non local key in a cluster node", "ERR Command 'mget' in script attempted to access keys that don't hash to the same slot", "+OK",
		},
	} {
		w := newWorld(t, fakeserver.WithShards(2), fakeserver.WithProfile(profile))
		c := w.node(0, 0)
		assert.Equal(t, moved(slotA, w.info(1, 0)), c.line("EVAL", "return 1", "1", "a"))
		assert.Equal(t, ":1", c.line("EVAL", "return 1", "0"))
		assert.Contains(t, c.line("EVAL", "return redis.call('GET', 'a')", "0"), want[0])
		assert.Contains(t, c.line("EVAL", "return redis.call('MGET', 'b', 'c')", "0"), want[1])
		assert.Equal(t, want[2], c.line("EVAL", "redis.call('SET', 'b', '1'); return redis.call('SET', 'c', '1')", "0"), "both slots are here")
		sha := c.do("SCRIPT", "LOAD", "return 2")[5:45]
		assert.Equal(t, ":2", c.line("EVALSHA", sha, "0"))
		assert.Contains(t, w.node(1, 0).line("EVALSHA", sha, "0"), "-NOSCRIPT", "a script is known where it was loaded")
	}
	w := newWorld(t, fakeserver.WithShards(2), fakeserver.WithProfile(fakeserver.ProfileManagedRedis74))
	c := w.node(0, 0)
	assert.Contains(t, c.line("EVAL", "#!lua flags=\nredis.call('SET', 'b', '1'); return redis.call('SET', 'c', '1')", "0"),
		"Script attempted to access keys that do not hash to the same slot")
	assert.Equal(t, "+OK", c.line("EVAL", "#!lua flags=allow-cross-slot-keys\nredis.call('SET', 'b', '1'); return redis.call('SET', 'c', '1')", "0"))
	assert.Equal(t, "-ERR Can not run script on cluster, 'no-cluster' flag is set.", c.line("EVAL", "#!lua flags=no-cluster\nreturn 1", "0"))
	replica := w.node(0, 1)
	assert.Equal(t, "-READONLY Can not run script with write flag on readonly replica", replica.line("EVAL", "#!lua flags=\nreturn 1", "0"))
}

func TestSlotMigration(t *testing.T) {
	t.Parallel()
	for profile, whole := range map[fakeserver.Profile]string{
		fakeserver.ProfileAzureCache60:   "",
		fakeserver.ProfileManagedRedis74: "-TRYAGAIN Multiple keys request during rehashing of slot",
	} {
		w := newWorld(t, fakeserver.WithShards(2), fakeserver.WithProfile(profile))
		from, to := w.node(0, 0), w.node(1, 0)
		require.Equal(t, "+OK", from.line("MSET", "{b}1", "x", "{b}2", "y"))
		require.Equal(t, ":2", from.line("RPUSH", "{b}list", "p", "q"))
		require.Equal(t, ":1", from.line("EXPIRE", "{b}1", "100"))
		require.Equal(t, "$3\r\n1-1\r\n", from.do("XADD", "{b}stream", "1-1", "f", "v"))
		require.Equal(t, "+OK", from.line("XGROUP", "CREATE", "{b}stream", "g", "0"))
		require.NoError(t, w.BeginSlotMigration(slotB, 1))
		assert.ErrorContains(t, w.BeginSlotMigration(slotB, 1), "already")
		assert.Contains(t, from.do("CLUSTER", "NODES"), fmt.Sprintf(" [3300->-%s]", w.info(1, 0).ID))
		assert.Contains(t, to.do("CLUSTER", "NODES"), fmt.Sprintf(" [3300-<-%s]", w.info(0, 0).ID))
		moving, err := w.MoveSlotKeys(slotB, 1)
		require.NoError(t, err)
		assert.Equal(t, 1, moving)

		assert.Equal(t, "$1\r\ny\r\n", from.do("GET", "{b}2"), "it is still here")
		assert.Equal(t, ask(slotB, w.info(1, 0)), from.line("GET", "{b}1"))
		if whole == "" {
			whole = ask(slotB, w.info(1, 0))
		}
		assert.Equal(t, whole, from.line("MGET", "{b}1", "{b}2"))
		assert.Equal(t, ask(slotB, w.info(1, 0)), from.line("SET", "{b}new", "1"))
		assert.Equal(t, moved(slotB, w.info(0, 0)), to.line("GET", "{b}1"), "without ASKING")
		assert.Equal(t, "+OK", to.line("ASKING"))
		assert.Equal(t, "$1\r\nx\r\n", to.do("GET", "{b}1"))
		assert.Equal(t, moved(slotB, w.info(0, 0)), to.line("GET", "{b}1"), "ASKING is for one command")
		assert.Equal(t, "+OK", to.line("ASKING"))
		assert.Equal(t, "-TRYAGAIN Multiple keys request during rehashing of slot", to.line("MGET", "{b}1", "{b}2"))
		assert.Equal(t, "+OK", to.line("ASKING"))
		assert.Equal(t, "+OK", to.line("MULTI"))
		assert.Equal(t, "+QUEUED", to.line("INCR", "{b}new"))
		assert.Equal(t, "*1\r\n:1\r\n", to.do("EXEC"))

		require.NoError(t, w.FinishSlotMigration(slotB))
		assert.Equal(t, moved(slotB, w.info(1, 0)), from.line("GET", "{b}2"))
		assert.Equal(t, "*2\r\n$1\r\nx\r\n$1\r\ny\r\n", to.do("MGET", "{b}1", "{b}2"))
		assert.Equal(t, "*2\r\n$1\r\np\r\n$1\r\nq\r\n", to.do("LRANGE", "{b}list", "0", "-1"))
		assert.Contains(t, to.do("XINFO", "GROUPS", "{b}stream"), "$1\r\ng\r\n")
		assert.Equal(t, ":100", to.line("TTL", "{b}1"))
		w.clock.Advance(100 * time.Second)
		assert.Equal(t, "$-1\r\n", to.do("GET", "{b}1"), "it expires where it came to")
		assert.Equal(t, ":0", from.line("DBSIZE"))
		w.eventKind(fakeserver.EventSlotMigrating)
		w.eventKind(fakeserver.EventSlotMigrated)
		assert.ErrorContains(t, w.FinishSlotMigration(slotB), "not being migrated")
		assert.ErrorContains(t, w.BeginSlotMigration(16384, 1), "16383")
		assert.ErrorContains(t, w.BeginSlotMigration(slotB, 2), "0 to 1")
	}
}

func TestABlockedClientIsSentAfterItsSlot(t *testing.T) {
	t.Parallel()
	w := newWorld(t, fakeserver.WithShards(2))
	c, other := w.node(0, 0), w.node(0, 0)
	c.send(array("BLPOP", "b", "0"))
	other.send(array("BLPOP", "c", "0"))
	w.waitBlocked(2)
	require.NoError(t, w.BeginSlotMigration(slotB, 1))
	c.quiet()
	require.NoError(t, w.FinishSlotMigration(slotB))
	assert.Equal(t, moved(slotB, w.info(1, 0))+"\r\n", c.read())
	other.quiet()
	require.Equal(t, ":1", w.node(0, 0).line("RPUSH", "c", "x"))
	assert.Equal(t, "*2\r\n$1\r\nc\r\n$1\r\nx\r\n", other.read())
}

func TestPubSubInACluster(t *testing.T) {
	t.Parallel()
	w := newWorld(t, fakeserver.WithShards(2), fakeserver.WithProfile(fakeserver.ProfileManagedRedis74))
	sub, pub := w.node(0, 0), w.node(1, 1)
	sub.do("SUBSCRIBE", "news")
	assert.Equal(t, ":0", pub.line("PUBLISH", "news", "hello"), "only the node's own subscribers count")
	assert.Equal(t, "*3\r\n$7\r\nmessage\r\n$4\r\nnews\r\n$5\r\nhello\r\n", sub.read())
	assert.Equal(t, ":1", w.node(0, 0).line("PUBLISH", "news", "again"))
	assert.Equal(t, "*0\r\n", pub.do("PUBSUB", "CHANNELS"))
	assert.Equal(t, "*2\r\n$4\r\nnews\r\n:1\r\n", w.node(0, 0).do("PUBSUB", "NUMSUB", "news"))

	// A sharded channel belongs to the slot of its name.
	shard := w.node(0, 0)
	assert.Equal(t, moved(slotA, w.info(1, 0)), shard.line("SSUBSCRIBE", "a"))
	assert.Equal(t, "-CROSSSLOT Keys in request don't hash to the same slot", shard.line("SSUBSCRIBE", "b", "c"))
	assert.Equal(t, "*3\r\n$10\r\nssubscribe\r\n$1\r\nb\r\n:1\r\n", shard.do("SSUBSCRIBE", "b"))
	onReplica := w.node(0, 1)
	assert.Equal(t, "*3\r\n$10\r\nssubscribe\r\n$1\r\nb\r\n:1\r\n", onReplica.do("SSUBSCRIBE", "b"), "a replica of the shard takes it too")
	assert.Equal(t, moved(slotB, w.info(0, 0)), w.node(1, 0).line("SPUBLISH", "b", "x"))
	assert.Equal(t, ":1", w.node(0, 0).line("SPUBLISH", "b", "x"))
	for _, c := range []*client{shard, onReplica} {
		assert.Equal(t, "*3\r\n$8\r\nsmessage\r\n$1\r\nb\r\n$1\r\nx\r\n", c.read())
	}
	require.NoError(t, w.BeginSlotMigration(slotB, 1))
	require.NoError(t, w.FinishSlotMigration(slotB))
	assert.Equal(t, "*3\r\n$12\r\nsunsubscribe\r\n$1\r\nb\r\n:0\r\n", shard.read())
	assert.Equal(t, "+PONG", shard.line("PING"), "it is no subscriber any more")
}

func TestKeyspaceNotificationsStayInTheShard(t *testing.T) {
	t.Parallel()
	w := newWorld(t, fakeserver.WithShards(2), fakeserver.WithProfile(fakeserver.ProfileOSS70))
	here, there := w.at(w.info(1, 0).Addr), w.at(w.info(0, 0).Addr)
	require.Equal(t, "+OK", here.line("CONFIG", "SET", "notify-keyspace-events", "KEA"))
	subs := []*client{w.at(w.info(1, 0).Addr), w.at(w.info(0, 0).Addr)}
	for _, s := range subs {
		s.do("SUBSCRIBE", "__keyevent@0__:set")
	}
	require.Equal(t, "+OK", here.line("SET", "a", "1"))
	assert.Equal(t, "*3\r\n$7\r\nmessage\r\n$18\r\n__keyevent@0__:set\r\n$1\r\na\r\n", subs[0].read())
	subs[1].quiet()
	require.Equal(t, "+OK", there.line("SET", "b", "1"))
	assert.Equal(t, "*3\r\n$7\r\nmessage\r\n$18\r\n__keyevent@0__:set\r\n$1\r\nb\r\n", subs[1].read())
}

func TestEveryNodeWantsASignIn(t *testing.T) {
	t.Parallel()
	w := newWorld(t, fakeserver.WithShards(2))
	require.NoError(t, w.Assign(oid, fakeserver.DataReader))
	token := w.token(time.Hour)
	var clients []*client
	for _, n := range w.Nodes() {
		c := w.at(n.Addr)
		assert.Equal(t, "-NOAUTH Authentication required.", c.line("GET", "b"))
		require.Equal(t, "+OK", c.line("AUTH", oid, token))
		assert.Contains(t, c.line("SET", "b", "1"), "-NOPERM", "the policy comes before the redirection")
		clients = append(clients, c)
	}
	for i, n := range w.Nodes() {
		assert.Equal(t, n.Name, w.eventsOf(fakeserver.EventAuth)[i].Node)
		assert.Equal(t, n.Name, w.Connections()[i].Node)
	}
	w.clock.Advance(time.Hour)
	for _, c := range clients {
		c.closed()
	}
	require.NoError(t, w.Assign(oid, fakeserver.DataOwner))
	c := w.at(w.info(1, 1).Addr)
	require.Equal(t, "+OK", c.line("AUTH", oid, w.token(time.Hour)))
	require.NoError(t, w.DisableAccessKeys())
	c.closed()
}

func TestClientsOfANode(t *testing.T) {
	t.Parallel()
	w := newWorld(t, fakeserver.WithShards(2))
	here, there := w.node(0, 0), w.node(1, 0)
	assert.Equal(t, 1, strings.Count(here.do("CLIENT", "LIST"), "id="))
	assert.Contains(t, here.do("INFO", "clients"), "connected_clients:1\r\n")
	assert.Equal(t, ":0", here.line("CLIENT", "KILL", "TYPE", "normal"))
	assert.Equal(t, "+PONG", there.line("PING"))
	monitor := w.node(1, 0)
	require.Equal(t, "+OK", monitor.line("MONITOR"))
	here.do("PING")
	there.do("ECHO", "x")
	assert.Contains(t, monitor.read(), `"ECHO" "x"`)
}

func TestDoBesideACluster(t *testing.T) {
	t.Parallel()
	w := newWorld(t, fakeserver.WithShards(3))
	for i := range 30 {
		_, err := w.Do("SET", fmt.Sprint("k", i), "v")
		require.NoError(t, err)
	}
	for shard := range 3 {
		assert.NotEqual(t, ":0", w.node(shard, 0).line("DBSIZE"))
	}
	reply, err := w.Do("DBSIZE")
	require.NoError(t, err)
	assert.Equal(t, ":30\r\n", reply)
	_, err = w.Do("MGET", "a", "b")
	assert.ErrorContains(t, err, "CROSSSLOT")
	_, err = w.Do("RANDOMKEY")
	assert.ErrorContains(t, err, "clustered")
	_, err = w.Do("FLUSHALL")
	require.NoError(t, err)
	assert.Equal(t, ":0", w.node(1, 0).line("DBSIZE"))
}

func TestCertificateForHostOnly(t *testing.T) {
	t.Parallel()
	w := newWorld(t, fakeserver.WithShards(1), fakeserver.WithCertificateForHostOnly())
	pool := x509.NewCertPool()
	require.True(t, pool.AppendCertsFromPEM(w.CAPEM()))
	_, err := tls.Dial("tcp", w.info(0, 0).Addr, &tls.Config{RootCAs: pool})
	assert.ErrorContains(t, err, "IP SANs")
	conn, err := tls.Dial("tcp", w.info(0, 0).Addr, &tls.Config{RootCAs: pool, ServerName: "localhost"})
	require.NoError(t, err)
	_ = conn.Close()
}

func TestBadClusterOptions(t *testing.T) {
	t.Parallel()
	for want, opt := range map[string]fakeserver.Option{
		"WithShards":             fakeserver.WithShards(17),
		"WithReplicasPerPrimary": fakeserver.WithReplicasPerPrimary(4),
		"WithNodePorts":          fakeserver.WithNodePorts(-1, 0),
		"WithNodeHost":           fakeserver.WithNodeHost("a b"),
	} {
		_, err := fakeserver.Start(opt)
		assert.ErrorContains(t, err, want)
	}
}

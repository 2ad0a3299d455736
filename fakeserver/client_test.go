package fakeserver_test

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/entracache/entracache/fakeserver"
)

func TestClientCommands(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.withKey()
	id := c.line("CLIENT", "ID")
	assert.Equal(t, ":1", id)
	assert.Equal(t, "$-1", c.line("CLIENT", "GETNAME"))
	assert.Equal(t, "+OK", c.line("CLIENT", "SETNAME", "me"))
	assert.Equal(t, "$2\r\nme\r\n", c.do("client", "getname"))
	assert.Equal(t, "-ERR Client names cannot contain spaces, newlines or special characters.", c.line("CLIENT", "SETNAME", "a b"))
	w.clock.Advance(5 * time.Second)
	list := c.do("CLIENT", "LIST")
	assert.Contains(t, list, "id=1 addr="+c.conn.LocalAddr().String()+" fd=")
	assert.Contains(t, list, " name=me age=5 idle=0 flags=N db=0 sub=0 psub=0 multi=-1 ")
	assert.Contains(t, list, " cmd=client user=default\n")
	assert.Equal(t, "me", w.Connections()[0].Name)
	// What came after 6.0 is unknown, in 6.0's words.
	for _, sub := range []string{"SETINFO", "NO-EVICT", "MAINT_NOTIFICATIONS", "FOO", "INFO", "TRACKINGINFO"} {
		assert.Equal(t, "-ERR Unknown subcommand or wrong number of arguments for '"+sub+"'. Try CLIENT HELP", c.line("CLIENT", sub, "x", "y"))
	}
	assert.Equal(t, "-ERR Unknown subcommand or wrong number of arguments for 'ID'. Try CLIENT HELP", c.line("CLIENT", "ID", "x"))
	assert.Equal(t, "-ERR wrong number of arguments for 'client' command", c.line("CLIENT"))
	assert.Equal(t, ":-1", c.line("CLIENT", "GETREDIR"))
}

func TestClientReply(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.withKey()
	c.send(array("CLIENT", "REPLY", "SKIP") + array("PING") + array("ECHO", "one"))
	assert.Equal(t, "$3\r\none\r\n", c.read())
	c.send(array("CLIENT", "REPLY", "OFF") + array("PING") + array("BLPOP", "l", "0.001") + array("CLIENT", "REPLY", "SKIP") + array("PING"))
	w.waitBlocked(1)
	w.clock.Advance(time.Second)
	c.send(array("CLIENT", "REPLY", "ON") + array("ECHO", "two"))
	assert.Equal(t, "+OK\r\n", c.read())
	assert.Equal(t, "$3\r\ntwo\r\n", c.read())
}

func TestClientKill(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	admin := w.withKey()
	victim := w.withKey()
	assert.Equal(t, "+OK", admin.line("CLIENT", "KILL", victim.conn.LocalAddr().String()))
	victim.closed()
	assert.Equal(t, fakeserver.ReasonKilled, w.eventKind(fakeserver.EventConnectionClosed).Reason)
	assert.Equal(t, "-ERR No such client", admin.line("CLIENT", "KILL", "127.0.0.1:1"))
	a, b := w.signedIn(fakeserver.DataOwner), w.signedIn(fakeserver.DataOwner)
	b.do("SUBSCRIBE", "c")
	assert.Equal(t, ":1", admin.line("CLIENT", "KILL", "TYPE", "pubsub"))
	b.closed()
	assert.Equal(t, ":1", admin.line("CLIENT", "KILL", "USER", oid, "SKIPME", "yes"))
	a.closed()
	assert.Equal(t, "-ERR No such user 'nobody'", admin.line("CLIENT", "KILL", "USER", "nobody"))
	assert.Equal(t, "-ERR syntax error", admin.line("CLIENT", "KILL", "FOO", "x"))
	assert.Equal(t, ":0", admin.line("CLIENT", "KILL", "ID", "1"))
	// One's own death comes after the reply.
	assert.Equal(t, ":1", admin.line("CLIENT", "KILL", "ID", "1", "SKIPME", "no"))
	admin.closed()
}

func TestInfoAndCommand(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.withKey()
	info := c.do("INFO")
	for _, want := range []string{"# Server\r\nredis_version:6.0.20\r\n", "\r\nloading:0\r\n", "\r\nrole:master\r\n", "redis_mode:standalone", "connected_clients:1\r\n", "cluster_enabled:0"} {
		assert.Contains(t, info, want)
	}
	assert.True(t, strings.HasPrefix(strings.SplitN(c.do("INFO", "replication"), "\r\n", 2)[1], "# Replication\r\nrole:master\r\n"))
	assert.Equal(t, "$0\r\n\r\n", c.do("INFO", "nosuchsection"))
	assert.Equal(t, "*1\r\n*7\r\n$3\r\nget\r\n:2\r\n*2\r\n+readonly\r\n+fast\r\n:1\r\n:1\r\n:1\r\n*3\r\n+@read\r\n+@string\r\n+@fast\r\n", c.do("COMMAND", "INFO", "GET"))
	assert.Equal(t, "*2\r\n$-1\r\n$-1\r\n", c.do("COMMAND", "INFO", "nope", "config"))
	assert.Equal(t, "*2\r\n$1\r\na\r\n$1\r\nb\r\n", c.do("COMMAND", "GETKEYS", "MSET", "a", "1", "b", "2"))
	assert.Equal(t, "-ERR The command has no key arguments", c.line("COMMAND", "GETKEYS", "PING"))
	assert.Equal(t, "-ERR Invalid command specified", c.line("COMMAND", "GETKEYS", "NOPE"))
	assert.Equal(t, "-ERR Unknown subcommand or wrong number of arguments for 'DOCS'. Try COMMAND HELP.", c.line("COMMAND", "DOCS"))
	assert.Equal(t, "*3\r\n$6\r\nmaster\r\n:0\r\n*1\r\n*3\r\n$9\r\n127.0.0.1\r\n$5\r\n15001\r\n$1\r\n0\r\n", c.do("ROLE"))
	assert.Equal(t, "-ERR invalid DB index", c.line("SELECT", "x"))
	assert.Equal(t, "-ERR DB index is out of range", c.line("SELECT", "16"))
	assert.Equal(t, "-ERR entracache does not emulate the command 'pfselftest'", c.line("PFSELFTEST"))
	c.do("HELLO", "3")
	assert.True(t, strings.HasPrefix(c.do("COMMAND", "INFO", "GET"), "*1\r\n*7\r\n$3\r\nget\r\n:2\r\n~2\r\n"))
	assert.True(t, strings.HasPrefix(c.do("INFO"), "="), "INFO is a verbatim string in RESP3")
}

// sequences are what the client libraries send when they connect, as seen or
// read in their sources. Each must be answered in order, one reply per command,
// and leave a usable connection.
var sequences = map[string]struct {
	commands []string
	want     []string // prefixes of the replies
}{
	"go-redis": {
		[]string{"hello 3 auth OID TOKEN", "client maint_notifications on moving-endpoint-type internal-ip", "client setinfo LIB-NAME go-redis", "client setinfo LIB-VER 9.23.0"},
		[]string{"%7", "-ERR Unknown subcommand", "-ERR Unknown subcommand", "-ERR Unknown subcommand"},
	},
	"redis-py": {
		[]string{"HELLO 3 AUTH OID TOKEN", "CLIENT MAINT_NOTIFICATIONS ON moving-endpoint-type internal-ip", "CLIENT SETINFO LIB-NAME redis-py"},
		[]string{"%7", "-ERR Unknown subcommand", "-ERR Unknown subcommand"},
	},
	"redis-py RESP2":     {[]string{"AUTH OID TOKEN", "CLIENT SETINFO LIB-NAME redis-py", "CLIENT SETINFO LIB-VER 8"}, []string{"+OK", "-ERR", "-ERR"}},
	"node-redis":         {[]string{"HELLO 3 AUTH OID TOKEN SETNAME n", "CLIENT SETINFO LIB-VER 6", "CLIENT MAINT_NOTIFICATIONS ON moving-endpoint-type external-ip"}, []string{"%7", "-ERR", "-ERR"}},
	"ioredis 6":          {[]string{"hello 3 AUTH OID TOKEN", "client SETINFO LIB-VER 6", "info"}, []string{"%7", "-ERR", "="}},
	"ioredis 5":          {[]string{"auth OID TOKEN", "info"}, []string{"+OK", "$"}},
	"Jedis":              {[]string{"HELLO 3 AUTH OID TOKEN", "CLIENT SETNAME j", "CLIENT SETINFO LIB-NAME jedis", "READONLY", "SELECT 0"}, []string{"%7", "+OK", "-ERR Unknown", "-ERR This instance has cluster support disabled", "+OK"}},
	"Jedis, no HELLO":    {[]string{"HELLO 3", "AUTH OID TOKEN", "HELLO 3"}, []string{"-NOAUTH HELLO", "+OK", "%7"}},
	"Lettuce":            {[]string{"HELLO 3 AUTH OID TOKEN SETNAME l", "SELECT 1", "CLIENT SETINFO lib-name Lettuce", "CLIENT MAINT_NOTIFICATIONS on moving-endpoint-type x"}, []string{"%7", "+OK", "-ERR", "-ERR"}},
	"Redisson":           {[]string{"AUTH OID TOKEN", "HELLO 3", "SELECT 0", "CLIENT SETNAME r", "CLIENT CAPA redirect", "PING"}, []string{"+OK", "%7", "+OK", "+OK", "-ERR Unknown", "+PONG"}},
	"StackExchange":      {[]string{"AUTH OID TOKEN", "HELLO 3", "CLIENT SETNAME s", "CLIENT SETINFO lib-name SE.Redis", "CLIENT ID", "CONFIG GET timeout", "CONFIG GET replica-read-only", "CONFIG GET databases", "SENTINEL MASTERS", "INFO replication", "INFO server", "CLUSTER NODES", "GET __Booksleeve_TieBreak", "ECHO \x01\x02\xff", "SUBSCRIBE AzureRedisEvents"}, []string{"+OK", "%7", "+OK", "-ERR", ":", "-ERR unknown command `CONFIG`", "-ERR unknown command", "-ERR unknown command", "-ERR unknown command `SENTINEL`", "=", "=", "-ERR This instance has cluster support disabled", "_", "$3\r\n\x01\x02\xff\r\n", ">3"}},
	"StackExchange old":  {[]string{"HELLO 3 AUTH OID TOKEN SETNAME s", "AUTH OID TOKEN"}, []string{"%7", "+OK"}},
	"rueidis":            {[]string{"HELLO 3 AUTH OID TOKEN", "CLIENT TRACKING ON OPTIN", "CLIENT SETINFO LIB-NAME rueidis", "CLUSTER SLOTS", "PING"}, []string{"%7", "+OK", "-ERR", "-ERR This instance has cluster support disabled", "+PONG"}},
	"rueidis RESP2":      {[]string{"AUTH OID TOKEN", "HELLO 2", "CLUSTER SLOTS"}, []string{"+OK", "*14", "-ERR This instance has cluster support disabled"}},
	"valkey-glide":       {[]string{"HELLO 3 AUTH OID TOKEN", "CLIENT SETNAME g", "CLIENT SETINFO LIB-NAME GlideJS", "INFO REPLICATION", "PING"}, []string{"%7", "+OK", "-ERR", "=", "+PONG"}},
	"redis-rs":           {[]string{"AUTH OID TOKEN", "SELECT 2", "CLIENT SETINFO LIB-NAME redis-rs", "CLIENT SETINFO LIB-VER 1"}, []string{"+OK", "+OK", "-ERR", "-ERR"}},
	"predis":             {[]string{"HELLO 2 AUTH OID TOKEN SETNAME predis", "CLIENT SETINFO LIB-NAME predis"}, []string{"*14", "-ERR"}},
	"predis, no HELLO":   {[]string{"HELLO 2 AUTH OID bad", "AUTH TOKEN", "CLIENT SETNAME predis"}, []string{wrongPass, wrongPass, "-NOAUTH"}},
	"redis++":            {[]string{"AUTH OID TOKEN", "HELLO 3", "CLIENT SETNAME p", "SELECT 0", "READONLY"}, []string{"+OK", "%7", "+OK", "+OK", "-ERR"}},
	"AUTH behind a wait": {[]string{"AUTH OID TOKEN", "BLPOP nothing 0.05", "AUTH OID TOKEN", "PING"}, []string{"+OK", "*-1", "+OK", "+PONG"}},
}

func TestConnectSequences(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	require.NoError(t, w.Assign(oid, fakeserver.DataOwner))
	for name, seq := range sequences {
		t.Run(name, func(t *testing.T) {
			tok := w.token(time.Hour)
			encode := func(command string) string {
				args := strings.Split(command, " ")
				for i, a := range args {
					switch a {
					case "OID":
						args[i] = oid
					case "TOKEN":
						args[i] = tok
					}
				}
				return array(args...)
			}
			// One packet for all of it, as some send it, and one for each.
			pipelined, single := dial(t, w.Server), dial(t, w.Server)
			var packet strings.Builder
			for _, command := range seq.commands {
				packet.WriteString(encode(command))
			}
			pipelined.send(packet.String())
			check := func(c *client, i int) {
				if strings.HasPrefix(seq.commands[i], "BLPOP") {
					w.waitBlocked(1)
					w.clock.Advance(time.Second)
				}
				got := c.read()
				assert.True(t, strings.HasPrefix(got, seq.want[i]), "%s: %.100q, expected %q", seq.commands[i], got, seq.want[i])
			}
			require.Len(t, seq.want, len(seq.commands))
			for i := range seq.commands {
				check(pipelined, i)
			}
			for i, command := range seq.commands {
				single.send(encode(command))
				check(single, i)
			}
		})
	}
}

// TestCommandsOfManagedRedis are some that are in 7.4 alone, as the data engine does not have them.
func TestCommandsOfManagedRedis(t *testing.T) {
	t.Parallel()
	w := newWorld(t, fakeserver.WithProfile(fakeserver.ProfileManagedRedis74))
	c := w.signedIn(fakeserver.Policy{Name: "default", Permissions: "+@all ~*"})
	require.Equal(t, ":2", c.line("HSET", "h", "a", "1", "b", "2"))
	for call, reply := range map[string]string{
		"HPEXPIRE h x FIELDS 1 a":                 "-ERR value is not an integer or out of range",
		"HPEXPIRE h -1 FIELDS 1 a":                "-ERR invalid expire time, must be >= 0",
		"HEXPIREAT h 1 FIELD 1 a":                 "-ERR Mandatory argument FIELDS is missing or not at the right position",
		"HEXPIREAT h 1 NX FIELDS 0 a":             "-ERR Parameter `numFields` should be greater than 0",
		"HEXPIRE h 1 FIELDS 2 a":                  "-ERR The `numfields` parameter must match the number of arguments",
		"HPEXPIREAT h 9000000000000 FIELDS 2 a x": "*2",
		"HPEXPIRETIME h FIELDS 1 a":               "*1",
		"WAITAOF 1 0 0":                           "-ERR WAITAOF cannot be used when numlocal is set but appendonly is disabled.",
		"WAITAOF 0 0 0":                           "*2",
		"WAITAOF 2 0 0":                           "-ERR value is out of range, must be between 0 and 1",
	} {
		first, _, _ := strings.Cut(c.do(strings.Fields(call)...), "\r\n")
		assert.Equal(t, reply, first, call)
	}
	assert.Equal(t, "*1\r\n:9000000000000\r\n", c.do("HPEXPIRETIME", "h", "FIELDS", "1", "a"))
	assert.Equal(t, "*2\r\n:0\r\n:0\r\n", c.do("WAITAOF", "0", "0", "0"))
}

package fakeserver_test

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/entracache/entracache/fakeserver"
	"github.com/entracache/entracache/fakeserver/internal/command/redistest"
	"github.com/entracache/entracache/fakeserver/internal/resp"
)

// open starts a fake of an open-source profile with a port for plain dialling.
func open(t *testing.T, p fakeserver.Profile) *fakeserver.Server {
	t.Helper()
	return fakeserver.RunT(t, fakeserver.WithProfile(p), fakeserver.WithPlainAddr("127.0.0.1:0"))
}

// aclScript is put to real servers and to the fake. Each line begins with the
// connection that sends it; ” is an empty argument.
const aclScript = `
a ACL WHOAMI
a ACL LIST
a ACL USERS
a ACL GETUSER default
a ACL GETUSER nobody
a AUTH secret
a AUTH default anything
a AUTH nobody pw
a AUTH a b c
a ACL
a ACL NOPE
a ACL NOPE x
a ACL SETUSER
a ACL GETUSER
a ACL WHOAMI x
a ACL CAT nope
a ACL CAT a b
a ACL GENPASS 0
a ACL GENPASS 4097
a ACL GENPASS x
a ACL LOG x
a ACL LOAD
a ACL SAVE
a ACL DELUSER default
a ACL DELUSER nobody
a ACL SETUSER alice on >pw ~a:* +get +ping +multi +exec +auth +config|get +client|setname
a ACL LIST
a ACL GETUSER alice
b AUTH alice wrong
b AUTH alice pw
b ACL WHOAMI
b PING
b GET a:1
b GET b
b SET a:1 x
b CONFIG GET port2
b CONFIG SET a b
b CLIENT SETNAME x
b CLIENT NOPE
b CLIENT
b NOPE a b
b GET
b EVAL return 0
b HELLO 3 AUTH alice wrong
b MULTI
b GET a:1
b GET b
b EXEC
b MULTI
b GET a:1
a ACL SETUSER alice -get
b EXEC
a ACL SETUSER alice +get resetkeys
b MULTI
b GET a:1
b EXEC
a ACL SETUSER alice ~a:*
b MULTI
b GET a:1
a ACL SETUSER alice resetkeys ~b
b EXEC
b GET b
a ACL SETUSER alice off
b GET b
c AUTH alice pw
a ACL SETUSER alice on nopass
c AUTH alice anything
c GET b
a ACL SETUSER alice +nope
a ACL SETUSER alice +@nope
a ACL SETUSER alice nope
a ACL SETUSER alice <nope
a ACL SETUSER alice #nope
a ACL SETUSER alice allkeys ~a
a ACL SETUSER alice >x >y <x
a ACL GETUSER alice
a ACL SETUSER alice reset +@all -@dangerous
a ACL GETUSER alice
a ACL SETUSER alice allcommands allkeys
a ACL LIST
a ACL SETUSER alice -@all +select|1
a ACL GETUSER alice
a ACL SETUSER bob on >pw +@all
a ACL USERS
a ACL DELUSER alice bob nobody
a ACL USERS
a CONFIG SET requirepass foobar
a ACL LIST
d PING
d AUTH wrong
d AUTH foobar
d PING
a CONFIG SET requirepass ''
e PING
a ACL SETUSER default off
f PING
f AUTH x
a ACL SETUSER default on
f PING
`

// aclScript70 goes on where only 7.0 can follow.
const aclScript70 = `
a ACL SETUSER sel on nopass %R~r:* %W~w:* &news.* +@all (+get ~x) (+set %W~y)
a ACL LIST
a ACL GETUSER sel
h AUTH sel x
h GET r:1
h GET w:1
h GET x
h SET w:1 v
h SET w:1 v GET
h SET y v
h INCR w:1
h APPEND w:1 x
h COPY r:1 w:2
h COPY w:1 r:2
h RENAME r:1 w:2
h SORT r:1 STORE w:3
h SORT r:1 BY nosort
h SORT r:1 BY w:*
h SORT r:1 GET #
h SORT_RO r:1 BY x_* ALPHA
h EXISTS w:1
h TYPE z
h PUBLISH news.x m
h PUBLISH other m
h SUBSCRIBE other
h PSUBSCRIBE news.a*
h SPUBLISH other m
a ACL DRYRUN sel GET r:1
a ACL DRYRUN sel GET z
a ACL DRYRUN sel PUBLISH z m
a ACL DRYRUN sel NOPE
a ACL DRYRUN sel GET
a ACL DRYRUN nobody GET a
a ACL DRYRUN sel CONFIG NOPE
a ACL SETUSER sel -config|set -client|kill
a ACL DRYRUN sel CONFIG SET a b
a ACL DRYRUN sel CONFIG GET a
h CONFIG SET a b
h CLIENT KILL ID 99
h CONFIG NOPE
h DEBUG OBJECT a
h MODULE LOAD x
a ACL SETUSER sel clearselectors resetchannels
a ACL GETUSER sel
a ACL SETUSER x (+get
a ACL SETUSER x (+nope)
a ACL SETUSER x (+get ) +set
a ACL SETUSER x ( ~a +get )
a ACL GETUSER x
a ACL SETUSER x sanitize-payload
a ACL SETUSER x reset skip-sanitize-payload
a ACL GETUSER x
a ACL SETUSER x -get|a
a ACL SETUSER x +config|get|a
a ACL SETUSER x +config|nope
a ACL SETUSER x &* &a
a ACL SETUSER x %X~a
g HELLO 3
g ACL GETUSER x
g ACL GETUSER nobody
g ACL SETUSER x reset
a COMMAND GETKEYSANDFLAGS SET a b GET
a COMMAND GETKEYS PING
a COMMAND GETKEYS NOPE
a COMMAND GETKEYS EVAL x 0
a COMMAND GETKEYS EVAL x 3 a
a COMMAND GETKEYS ZUNIONSTORE d 2 a b
a COMMAND INFO nope
a COMMAND INFO config|get object|encoding
g COMMAND INFO zunionstore lmpop xread
a COMMAND COUNT
a COMMAND COUNT x
a COMMAND NOPE
a COMMAND LIST FILTERBY MODULE x
a COMMAND LIST FILTERBY PATTERN config|ge*
a COMMAND LIST FILTERBY NOPE x
a COMMAND LIST FILTERBY
a COMMAND LIST FILTERBY ACLCAT nope
a COMMAND DOCS nope
`

// play sends the lines of a script and returns each with its raw reply. A
// connection's name may be followed by *2 where two replies come, or by ! where
// it must be closed, by the command if there is one.
func play(t *testing.T, dial func() net.Conn, script string) []string {
	t.Helper()
	conns := map[string]*client{}
	var replies []string
	for line := range strings.Lines(strings.TrimSpace(script)) {
		words := strings.Fields(line)
		if len(words) == 0 {
			continue
		}
		for i := range words {
			if words[i] == "''" {
				words[i] = ""
			}
		}
		name, closed := strings.CutSuffix(words[0], "!")
		name, twice := strings.CutSuffix(name, "*2")
		c := conns[name]
		if c == nil {
			c = newClient(t, dial())
			conns[name] = c
		}
		reply := strings.TrimSpace(line) + "\n"
		switch {
		case closed:
			if len(words) > 1 {
				c.send(array(words[1:]...))
			}
			c.closed()
		case twice:
			reply += c.do(words[1:]...) + c.read()
		default:
			reply += c.do(words[1:]...)
		}
		replies = append(replies, reply)
	}
	return replies
}

func dialing(t *testing.T, network, addr string) func() net.Conn {
	t.Helper()
	return func() net.Conn {
		conn, err := net.Dial(network, addr)
		require.NoError(t, err)
		return conn
	}
}

// TestACLAgainstRealServer compares raw replies of a 7.0 server and of the fake.
func TestACLAgainstRealServer(t *testing.T) {
	t.Parallel()
	real := redistest.Start(t)
	fake := open(t, fakeserver.ProfileOSS70)
	script := aclScript + aclScript70
	theirs := play(t, dialing(t, "unix", real.Options().Addr), script)
	ours := play(t, dialing(t, "tcp", fake.PlainAddr()), script)
	require.Len(t, ours, len(theirs))
	for i := range theirs {
		assert.Equal(t, ordered(theirs[i]), ordered(ours[i]))
	}
}

// ordered sorts the single commands in a description of a user, which the engine
// puts in the order of a hash table, and leaves out the notes in specifications
// of keys and the number of the connection.
func ordered(reply string) string {
	reply = helloID.ReplaceAllString(reply, "id\r\n:?\r\n")
	return singleCommands.ReplaceAllStringFunc(withoutNotes(reply), func(words string) string {
		list := strings.Fields(words)
		slices.Sort(list)
		return " " + strings.Join(list, " ")
	})
}

// withoutNotes leaves out the notes of key specifications.
func withoutNotes(reply string) string {
	reply = keyNotes.ReplaceAllString(reply, "")
	return strings.ReplaceAll(strings.ReplaceAll(reply, "%4\r\n$5\r\nflags", "%3\r\n$5\r\nflags"), "*8\r\n$5\r\nflags", "*6\r\n$5\r\nflags")
}

var (
	helloID        = regexp.MustCompile(`id\r\n:\d+\r\n`)
	keyNotes       = regexp.MustCompile(`\$5\r\nnotes\r\n\$\d+\r\n[^\r]*\r\n`)
	singleCommands = regexp.MustCompile(`( [+-][a-z|]+[a-z|0-9]*)+`)
)

// recordedACL is what a 6.0.20 server replied to the script.
const recordedACL = "testdata/acl_6.0.20.json"

func TestACLAgainstRecording(t *testing.T) {
	t.Parallel()
	data, err := os.ReadFile(recordedACL)
	require.NoError(t, err)
	var recorded struct {
		Replies []string `json:"replies"`
	}
	require.NoError(t, json.Unmarshal(data, &recorded))
	ours := play(t, dialing(t, "tcp", open(t, fakeserver.ProfileOSS60).PlainAddr()), aclScript)
	require.Len(t, ours, len(recorded.Replies))
	for i := range recorded.Replies {
		assert.Equal(t, ordered(recorded.Replies[i]), ordered(ours[i]))
	}
}

// TestACLCatAgainstRealServer compares every category, each sorted.
func TestACLCatAgainstRealServer(t *testing.T) {
	t.Parallel()
	real := newClient(t, dialing(t, "unix", redistest.Start(t).Options().Addr)())
	fake := dialPlain(t, open(t, fakeserver.ProfileOSS70))
	categories := bulks(t, real.do("ACL", "CAT"))
	require.Equal(t, categories, bulks(t, fake.do("ACL", "CAT")))
	for _, category := range categories {
		theirs, ours := bulks(t, real.do("ACL", "CAT", category)), bulks(t, fake.do("ACL", "CAT", strings.ToUpper(category)))
		assert.ElementsMatch(t, theirs, ours, category)
	}
	assert.ElementsMatch(t, bulks(t, real.do("COMMAND", "LIST")), bulks(t, fake.do("COMMAND", "LIST")))
	for _, filter := range [][]string{{"ACLCAT", "dangerous"}, {"PATTERN", "*X*|*"}} {
		ask := append([]string{"COMMAND", "LIST", "FILTERBY"}, filter...)
		assert.ElementsMatch(t, bulks(t, real.do(ask...)), bulks(t, fake.do(ask...)), filter)
	}
}

// TestCommandInfoAgainstRealServer compares the raw description of every command
// and subcommand, in both versions of the protocol.
func TestCommandInfoAgainstRealServer(t *testing.T) {
	t.Parallel()
	real := newClient(t, dialing(t, "unix", redistest.Start(t).Options().Addr)())
	fake := dialPlain(t, open(t, fakeserver.ProfileOSS70))
	names := bulks(t, fake.do("COMMAND", "LIST"))
	for _, proto := range []string{"2", "3"} {
		for _, c := range []*client{real, fake} {
			c.do("HELLO", proto)
		}
		for _, name := range names {
			theirs, ours := real.do("COMMAND", "INFO", name), fake.do("COMMAND", "INFO", name)
			if strings.Contains(theirs, "$"+fmt.Sprint(len(name)+5)+"\r\n"+name+"|help") {
				continue // a container: its subcommands come in the order of a hash table
			}
			assert.Equal(t, ordered(theirs), ordered(ours), name)
		}
	}
	assert.Len(t, names, 366)
}

// bulks returns the bulk strings of an array.
func bulks(t *testing.T, reply string) []string {
	t.Helper()
	value, _, err := resp.Parse([]byte(reply))
	require.NoError(t, err)
	var list []string
	for _, v := range value.Elems {
		list = append(list, string(v.Text))
	}
	return list
}

func TestGenPass(t *testing.T) {
	t.Parallel()
	c := dialPlain(t, open(t, fakeserver.ProfileOSS70))
	seen := map[string]bool{}
	for bits, length := range map[string]int{"": 64, "1": 1, "5": 2, "128": 32, "4096": 1024} {
		args := []string{"ACL", "GENPASS"}
		if bits != "" {
			args = append(args, bits)
		}
		reply := c.do(args...)
		assert.Regexp(t, fmt.Sprintf(`^\$%d\r\n[0-9a-f]+\r\n$`, length), reply, bits)
		seen[reply] = true
	}
	assert.Len(t, seen, 5)
	assert.NotEqual(t, c.do("ACL", "GENPASS"), c.do("ACL", "GENPASS"))
}

// TestDelUserClosesConnections covers one's own connection and one that waits.
func TestDelUserClosesConnections(t *testing.T) {
	t.Parallel()
	s := open(t, fakeserver.ProfileOSS70)
	admin := dialPlain(t, s)
	require.Equal(t, "+OK", admin.line("ACL", "SETUSER", "alice", "on", ">pw", "+@all", "~*"))
	busy, own := dialPlain(t, s), dialPlain(t, s)
	for _, c := range []*client{busy, own} {
		require.Equal(t, "+OK", c.line("AUTH", "alice", "pw"))
	}
	busy.send(array("BLPOP", "list", "0"))
	require.Eventually(t, func() bool { return strings.Contains(admin.do("INFO", "clients"), "blocked_clients:1\r\n") }, patience, 2*time.Millisecond)
	assert.Equal(t, ":1", own.line("ACL", "DELUSER", "alice"))
	own.closed()
	busy.closed()
	assert.Equal(t, ":1", admin.line("RPUSH", "list", "x"), "nothing was taken for the dead connection")
	assert.Equal(t, "+PONG", admin.line("PING"))
}

// TestRevokedChannelsCloseSubscribers: those who hold a channel that is not
// allowed any more, and nobody else.
func TestRevokedChannelsCloseSubscribers(t *testing.T) {
	t.Parallel()
	s := open(t, fakeserver.ProfileOSS70)
	admin := dialPlain(t, s)
	require.Equal(t, "+OK", admin.line("ACL", "SETUSER", "alice", "on", "nopass", "+@all", "&a*", "&b", "&p.*"))
	subscribed := func(command, channel string) *client {
		c := dialPlain(t, s)
		require.Equal(t, "+OK", c.line("AUTH", "alice", "x"))
		require.Contains(t, c.do(command, channel), channel)
		return c
	}
	kept := []*client{subscribed("SUBSCRIBE", "a1"), subscribed("PSUBSCRIBE", "p.*"), subscribed("SSUBSCRIBE", "a2")}
	cut := []*client{subscribed("SUBSCRIBE", "b"), subscribed("PSUBSCRIBE", "b"), subscribed("SSUBSCRIBE", "b")}
	other := dialPlain(t, s)
	require.Contains(t, other.do("SUBSCRIBE", "b"), "subscribe")

	require.Equal(t, "+OK", admin.line("ACL", "SETUSER", "alice", "resetchannels", "&a*", "&p.*"))
	for _, c := range cut {
		c.closed()
	}
	for _, c := range append(kept, other) {
		c.quiet()
	}
}

func TestACLLog(t *testing.T) {
	t.Parallel()
	s := open(t, fakeserver.ProfileOSS70)
	admin, c := dialPlain(t, s), dialPlain(t, s)
	require.Equal(t, "+OK", admin.line("ACL", "SETUSER", "alice", "on", ">pw", "~a", "+get", "+eval", "+multi", "+exec", "+publish"))
	c.do("HELLO", "2", "AUTH", "alice", "wrong")
	require.Equal(t, "+OK", c.line("AUTH", "alice", "pw"))
	for _, call := range [][]string{
		{"SET", "a", "b"}, {"GET", "b"}, {"PUBLISH", "ch", "m"}, {"config", "get", "x"}, {"SET", "a", "b"},
		{"EVAL", "return redis.pcall('get', 'z')", "0"}, {"MULTI"}, {"GET", "y"}, {"EXEC"},
	} {
		c.do(call...)
	}
	type entry struct{ count, reason, context, object, username string }
	var got []entry
	reply, _, err := resp.Parse([]byte(admin.do("ACL", "LOG", "100")))
	require.NoError(t, err)
	for _, e := range reply.Elems {
		require.Len(t, e.Elems, 14)
		field := func(i int) string { return string(e.Elems[i].Text) }
		assert.Equal(t, []string{"count", "age-seconds", "client-info"}, []string{field(0), field(10), field(12)})
		assert.Contains(t, field(13), " user=")
		got = append(got, entry{fmt.Sprint(e.Elems[1].Int), field(3), field(5), field(7), field(9)})
	}
	assert.Equal(t, []entry{
		{"1", "key", "multi", "y", "alice"},
		{"1", "key", "lua", "z", "alice"},
		{"2", "command", "toplevel", "set", "alice"},
		{"1", "command", "toplevel", "config|get", "alice"},
		{"1", "channel", "toplevel", "ch", "alice"},
		{"1", "key", "toplevel", "b", "alice"},
		{"1", "auth", "toplevel", "HELLO", "alice"},
	}, got)
	reply, _, err = resp.Parse([]byte(admin.do("ACL", "LOG", "2")))
	require.NoError(t, err)
	assert.Len(t, reply.Elems, 2)
	assert.Equal(t, "+OK", admin.line("ACL", "LOG", "reset"))
	assert.Equal(t, "*0", admin.line("ACL", "LOG"))
}

// TestOpenUsersTakeNoKeys: access keys and policies are the services'.
func TestOpenUsersTakeNoKeys(t *testing.T) {
	t.Parallel()
	s := fakeserver.RunT(t, fakeserver.WithProfile(fakeserver.ProfileOSS70), fakeserver.WithAccessKeys("key-one", "key-two"))
	c := dial(t, s)
	require.Equal(t, "+PONG", c.line("PING"))
	require.Equal(t, "+OK", c.line("CONFIG", "SET", "requirepass", "foobar"))
	assert.Equal(t, "+PONG", c.line("PING"), "who was let in stays")
	other := dial(t, s)
	assert.Equal(t, "-NOAUTH Authentication required.", other.line("PING"))
	assert.Equal(t, wrongPass+" or user is disabled.", other.line("AUTH", "key-one"))
	assert.Equal(t, "+OK", other.line("AUTH", "foobar"))
	for _, info := range s.Connections() {
		assert.Equal(t, "default", info.User)
	}
}

// TestManagedRedis covers what the profile of Azure Managed Redis changes.
func TestManagedRedis(t *testing.T) {
	t.Parallel()
	w := newWorld(t, fakeserver.WithProfile(fakeserver.ProfileManagedRedis74))
	c := w.signedIn(fakeserver.Policy{Name: "default", Permissions: "+@all ~* -client|kill"})
	for _, blocked := range [][]string{
		{"SELECT", "0"}, {"MOVE", "a", "1"}, {"SAVE"}, {"BGSAVE"}, {"MODULE", "LOAD", "x"}, {"CLUSTER", "MEET", "h", "1"}, {"REPLCONF", "x"}, {"SHUTDOWN"},
	} {
		assert.Contains(t, c.line(blocked...), "-ERR unknown command '"+blocked[0]+"', with args beginning with:")
	}
	assert.Equal(t, "-NOPERM User "+oid+" has no permissions to run the 'client|kill' command", c.line("CLIENT", "KILL", "ID", "1"))
	assert.Equal(t, "$36\r\n"+oid+"\r\n", c.do("ACL", "WHOAMI"))
	assert.Contains(t, c.line("ACL", "SETUSER", "x"), "-ERR entracache does not emulate")
	assert.Equal(t, ":0", c.line("PUBLISH", "any", "m"), "channels need no rule")
	assert.Equal(t, wrongPass+" or user is disabled.", dial(t, w.Server).line("AUTH", "bad"))

	// A changed assignment holds from the next command on.
	require.NoError(t, w.Assign(oid, fakeserver.Policy{Name: "default", Permissions: "+@all %R~r:* resetchannels &news (+set ~w:*)"}))
	assert.Equal(t, "-NOPERM No permissions to access a key", c.line("GET", "w:1"))
	assert.Equal(t, "+OK", c.line("SET", "w:1", "x"))
	assert.Equal(t, "$-1", c.line("GET", "r:1"))
	assert.Equal(t, "-NOPERM No permissions to access a channel", c.line("PUBLISH", "any", "m"))
	assert.Equal(t, ":0", c.line("PUBLISH", "news", "m"))
	assert.Equal(t, "-ERR unknown subcommand 'NOPE'. Try CLIENT HELP.", c.line("CLIENT", "NOPE"))
	err := w.Assign(oid, fakeserver.Policy{Name: "Bad", Permissions: "+@nonexistent ~*"})
	assert.ErrorContains(t, err, "Error in ACL SETUSER modifier '+@nonexistent': Unknown command or category name in ACL")
}

func TestUnknownProfileNamesTheKnownOnes(t *testing.T) {
	t.Parallel()
	_, err := fakeserver.Start(fakeserver.WithProfile("azure-cache-9"))
	require.Error(t, err)
	for _, p := range fakeserver.Profiles() {
		assert.ErrorContains(t, err, string(p))
	}
	assert.Subset(t, fakeserver.Profiles(), []fakeserver.Profile{fakeserver.ProfileAzureCache60, fakeserver.ProfileManagedRedis74, fakeserver.ProfileOSS60, fakeserver.ProfileOSS70})
}

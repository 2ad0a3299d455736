package acl

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/entracache/entracache/fakeserver/internal/command"
)

func TestExplainPointsAtTheKey(t *testing.T) {
	set, table := compile(t, "+@all ~a*"), table60(t)
	for call, want := range map[string]int{
		"mset a1 x b y c z": 3, "get a": 0, "get b": 1, "ping b": 0, "zunionstore b 2 a c": 4, "zunionstore b 2 a a": 1,
	} {
		args := bytes.Fields([]byte(call))
		verdict, position := set.Explain(table.Lookup(args[0]), args)
		assert.Equal(t, want, position, call)
		assert.Equal(t, want != 0, verdict == DeniedKey, call)
	}
	all := compile(t, dataOwner)
	verdict, position := all.Explain(table.Lookup([]byte("get")), bytes.Fields([]byte("get b")))
	assert.Equal(t, OK, verdict)
	assert.Zero(t, position)
}

func TestCommandOfAnotherTableIsRefused(t *testing.T) {
	set := compile(t, dataOwner)
	copied := *table60(t).Lookup([]byte("get"))
	assert.Equal(t, DeniedCommand, set.Check(&copied, bytes.Fields([]byte("get a"))))
	copied.ID = 1 << 20
	assert.Equal(t, DeniedCommand, set.Check(&copied, bytes.Fields([]byte("get a"))))
}

func TestVerdictString(t *testing.T) {
	assert.Equal(t, "ok", OK.String())
	assert.Equal(t, "denied command", DeniedCommand.String())
	assert.Equal(t, "denied key", DeniedKey.String())
	assert.Equal(t, "denied channel", DeniedChannel.String())
	assert.Equal(t, "unknown verdict", Verdict(9).String())
}

// checks are the shapes of a check whose cost is measured.
type checkCase struct{ level, name, permissions, call string }

var checks = []checkCase{
	{"6.0", "all keys", dataContributor, "SET key value"},
	{"6.0", "first argument", dataReader, "CLIENT TRACKINGINFO"},
	{"6.0", "denied", dataContributor, "KEYS *"},
	{"6.0", "one pattern", "+@all ~app:*", "SET app:user:1234 value"},
	{"6.0", "last of four patterns", "+@all ~a:* ~b:* ~c:* ~app:*", "SET app:user:1234 value"},
	{"6.0", "movable keys", "+@all ~app:*", "ZUNIONSTORE app:d 2 app:1 app:2"},
	{"7.4", "all keys and channels", "allchannels " + dataContributor, "SET key value"},
	{"7.4", "all keys", dataContributor, "SET key value"},
	{"7.4", "subcommand", "+@all -@dangerous allkeys", "CLIENT SETNAME x"},
	{"7.4", "one pattern", "+@all ~app:*", "GET app:user:1234"},
	{"7.4", "written key", "+@all %R~* %W~app:*", "SET app:user:1234 value"},
	{"7.4", "second selector", "+@all ~a:* (+@all ~app:*)", "GET app:user:1234"},
	{"7.4", "channel", "+@all &app:*", "PUBLISH app:news x"},
}

func (c *checkCase) prepare(t testing.TB) (set *Set, cmd *command.Command, args [][]byte) {
	t.Helper()
	rules := rulesOf(t, c.level)
	set, err := rules.Compile(c.permissions)
	require.NoError(t, err)
	args = bytes.Fields([]byte(c.call))
	cmd, _ = rules.table.Find(args)
	return set, cmd, args
}

func TestCheckDoesNotAllocate(t *testing.T) {
	for _, c := range checks {
		set, cmd, args := c.prepare(t)
		assert.Zero(t, testing.AllocsPerRun(100, func() { set.Check(cmd, args) }), c.name)
	}
}

func BenchmarkCheck(b *testing.B) {
	for _, c := range checks {
		b.Run(c.level+" "+c.name, func(b *testing.B) {
			set, cmd, args := c.prepare(b)
			b.ReportAllocs()
			for b.Loop() {
				set.Check(cmd, args)
			}
		})
	}
}

func BenchmarkCompile(b *testing.B) {
	rules := rules60(b)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := rules.Compile(dataContributor); err != nil {
			b.Fatal(err)
		}
	}
}

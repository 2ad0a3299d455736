package acl

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestFirstDeniedKey(t *testing.T) {
	set, table := compile(t, "+@all ~a*"), table60(t)
	for call, want := range map[string]int{
		"mset a1 x b y c z": 3, "get a": 0, "get b": 1, "ping b": 0, "zunionstore b 2 a c": 4, "zunionstore b 2 a a": 1,
	} {
		args := bytes.Fields([]byte(call))
		assert.Equal(t, want, set.FirstDeniedKey(table.Lookup(args[0]), args), call)
	}
	all := compile(t, dataOwner)
	assert.Zero(t, all.FirstDeniedKey(table.Lookup([]byte("get")), bytes.Fields([]byte("get b"))))
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
	assert.Equal(t, "unknown verdict", Verdict(9).String())
}

// checks are the shapes of a check whose cost is measured.
var checks = []struct{ name, permissions, call string }{
	{"all keys", dataContributor, "SET key value"},
	{"first argument", dataReader, "CLIENT TRACKINGINFO"},
	{"denied", dataContributor, "KEYS *"},
	{"one pattern", "+@all ~app:*", "SET app:user:1234 value"},
	{"last of four patterns", "+@all ~a:* ~b:* ~c:* ~app:*", "SET app:user:1234 value"},
	{"movable keys", "+@all ~app:*", "ZUNIONSTORE app:d 2 app:1 app:2"},
}

func TestCheckDoesNotAllocate(t *testing.T) {
	for _, c := range checks {
		set, args := compile(t, c.permissions), bytes.Fields([]byte(c.call))
		cmd := table60(t).Lookup(args[0])
		assert.Zero(t, testing.AllocsPerRun(100, func() { set.Check(cmd, args) }), c.name)
	}
}

func BenchmarkCheck(b *testing.B) {
	for _, c := range checks {
		b.Run(c.name, func(b *testing.B) {
			set, args := compile(b, c.permissions), bytes.Fields([]byte(c.call))
			cmd := table60(b).Lookup(args[0])
			b.ReportAllocs()
			for b.Loop() {
				set.Check(cmd, args)
			}
		})
	}
}

func BenchmarkCompile(b *testing.B) {
	table := table60(b)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Compile(table, Grammar60, dataContributor); err != nil {
			b.Fatal(err)
		}
	}
}

package command

import (
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func levelTable(t testing.TB, level string) *Table {
	t.Helper()
	table, err := ForLevel(level)
	require.NoError(t, err)
	return table
}

func level60(t testing.TB) *Table {
	t.Helper()
	return levelTable(t, "6.0")
}

// addedIn74 are the commands that 7.4 has and 7.2.6, from which the categories were recorded, has not; of WAIT and WAITAOF
// the category blocking is new.
var addedIn74 = map[string][]string{
	"read":     {"hexpiretime", "hpexpiretime", "hpttl", "httl"},
	"write":    {"hexpire", "hexpireat", "hpersist", "hpexpire", "hpexpireat"},
	"hash":     {"hexpire", "hexpireat", "hexpiretime", "hpersist", "hpexpire", "hpexpireat", "hpexpiretime", "hpttl", "httl"},
	"fast":     {"hexpire", "hexpireat", "hexpiretime", "hpersist", "hpexpire", "hpexpireat", "hpexpiretime", "hpttl", "httl"},
	"blocking": {"wait", "waitaof"},
}

// TestCategoriesAreThoseOfTheServer compares every category in both directions with what servers answered.
func TestCategoriesAreThoseOfTheServer(t *testing.T) {
	for level, recording := range map[string]string{"6.0": "6.0.20", "6.2": "6.2.16", "7.0": "7.0.15", "7.4": "7.2.6"} {
		t.Run(level, func(t *testing.T) {
			data, err := os.ReadFile("testdata/acl_cat_" + recording + ".json")
			require.NoError(t, err)
			var recorded struct {
				Categories map[string][]string `json:"categories"`
			}
			require.NoError(t, json.Unmarshal(data, &recorded))
			require.Len(t, recorded.Categories, 21)

			table := levelTable(t, level)
			assert.Len(t, table.Categories(), len(recorded.Categories))
			for category, want := range recorded.Categories {
				assert.Contains(t, table.Categories(), category)
				var got []string
				for _, c := range table.Every() {
					if c.InCategory(category) {
						got = append(got, c.Name)
					}
				}
				if level == "7.4" {
					want = append(want, addedIn74[category]...)
				}
				assert.ElementsMatch(t, want, got, "@%s", category)
			}
		})
	}
}

// TestCommandCount holds the sizes against COMMAND COUNT of 6.0.20, 6.2.16, 7.0.15 and 7.4.1.
func TestCommandCount(t *testing.T) {
	for level, count := range map[string]int{"6.0": 205, "6.2": 224, "7.0": 240, "7.4": 250} {
		assert.Len(t, levelTable(t, level).All(), count, level)
	}
	assert.Equal(t, []string{"6.0", "6.2", "7.0", "7.4"}, Levels())
}

func TestIDsIndexAll(t *testing.T) {
	for _, level := range Levels() {
		table, err := ForLevel(level)
		require.NoError(t, err)
		assert.Equal(t, level, table.Level())
		for id, c := range table.All() {
			require.Same(t, c, table.Every()[id])
			require.Same(t, c, table.Lookup([]byte(c.Name)))
			require.Nil(t, c.Container)
		}
		subcommands := 0
		for id, c := range table.Every() {
			require.Equal(t, id, c.ID, c.Name)
			require.Same(t, c, table.FindName(c.Name))
			require.Equal(t, c.HasFlag("write"), c.Write, c.Name)
			require.Equal(t, c.HasFlag("movablekeys"), c.Movable, c.Name)
			for _, sub := range c.Subcommands {
				subcommands++
				require.Same(t, c, sub.Container)
				require.Equal(t, c.Name+"|"+sub.SubName(), sub.Name)
			}
		}
		require.Len(t, table.Every(), len(table.All())+subcommands)
	}
}

func TestLookup(t *testing.T) {
	table := level60(t)
	for name, want := range map[string]string{
		"get": "get", "GET": "get", "GeoRadiusByMember_RO": "georadiusbymember_ro", "HOST:": "host:",
		"": "", "gett": "", "ge": "", "get ": "", "get\x00": "", "client|id": "", "\u212aeys": "",
		strings.Repeat("a", longestName): "", strings.Repeat("a", 1<<16): "",
	} {
		got := table.Lookup([]byte(name))
		if want == "" {
			assert.Nil(t, got, "%.40q", name)
		} else if assert.NotNil(t, got, name) {
			assert.Equal(t, want, got.Name)
		}
	}
}

func TestFind(t *testing.T) {
	for _, test := range []struct{ level, call, found, container string }{
		{"6.0", "CONFIG GET x", "config", ""},
		{"6.0", "NOPE x", "", ""},
		{"7.0", "CONFIG GET x", "config|get", "config"},
		{"7.0", "Config gEt x", "config|get", "config"},
		{"7.0", "CONFIG", "config", ""},
		{"7.0", "COMMAND", "command", ""},
		{"7.0", "COMMAND NOPE", "", "command"},
		{"7.0", "CONFIG NOPE x", "", "config"},
		{"7.0", "CONFIG config|get", "", "config"},
		{"7.0", "config|get x", "", ""},
		{"7.0", "GET SET", "get", ""},
		{"7.0", "NOPE", "", ""},
		{"7.0", "CONFIG " + strings.Repeat("g", 1<<16), "", "config"},
	} {
		c, container := levelTable(t, test.level).Find(split(test.call))
		name := func(c *Command) string {
			if c == nil {
				return ""
			}
			return c.Name
		}
		assert.Equal(t, test.found, name(c), "%s: %.40s", test.level, test.call)
		assert.Equal(t, test.container, name(container), "%s: %.40s", test.level, test.call)
	}
	table := levelTable(t, "7.0")
	for name, want := range map[string]string{
		"GET": "get", "config|GET": "config|get", "config": "config", "config|": "", "|get": "", "config|get|x": "", "get|x": "",
	} {
		c := table.FindName(name)
		if want == "" {
			assert.Nil(t, c, name)
		} else if assert.NotNil(t, c, name) {
			assert.Equal(t, want, c.Name)
		}
	}
	assert.Equal(t, "get", table.FindName("config|get").SubName())
	assert.Equal(t, "get", table.FindName("get").SubName())
}

func TestUnknownLevelNamesTheKnownOnes(t *testing.T) {
	_, err := ForLevel("5.0")
	require.Error(t, err)
	assert.Contains(t, err.Error(), `"5.0"`)
	assert.Contains(t, err.Error(), "6.0")
}

func TestArityOK(t *testing.T) {
	table := level60(t)
	get, del := table.Lookup([]byte("get")), table.Lookup([]byte("del"))
	for n, want := range []bool{false, false, true, false} {
		assert.Equal(t, want, get.ArityOK(n), "GET with %d", n)
	}
	for n, want := range []bool{false, false, true, true} {
		assert.Equal(t, want, del.ArityOK(n), "DEL with %d", n)
	}
}

// TestKnownRows spells out rows that later parts rely on, so that a slip in the data file is seen as what it is.
func TestKnownRows(t *testing.T) {
	table := level60(t)
	acl := table.Lookup([]byte("acl"))
	// The flags that a 6.0.20 server lists for ACL.
	assert.Equal(t, []string{"admin", "noscript", "loading", "stale", "skip_slowlog"}, acl.Flags)
	client := table.Lookup([]byte("client"))
	assert.Equal(t, []string{"admin", "slow", "dangerous", "connection"}, client.Categories)
	mset := table.Lookup([]byte("mset"))
	assert.Equal(t, []int{-3, 1, -1, 2}, []int{mset.Arity, mset.FirstKey, mset.LastKey, mset.KeyStep})
	var noAuth, movable []string
	for _, c := range table.All() {
		if c.HasFlag("no_auth") {
			noAuth = append(noAuth, c.Name)
		}
		if c.Movable {
			movable = append(movable, c.Name)
		}
	}
	assert.Equal(t, []string{"auth", "hello"}, noAuth)
	assert.Equal(t, []string{"eval", "evalsha", "georadius", "georadiusbymember", "memory", "migrate", "sort", "stralgo",
		"xread", "xreadgroup", "zinterstore", "zunionstore"}, movable)
	// Neither is a command of 6.0.
	assert.Nil(t, table.Lookup([]byte("reset")))
	assert.Nil(t, table.Lookup([]byte("quit")))
}

func TestLookupDoesNotAllocate(t *testing.T) {
	table, name := level60(t), []byte("GeoRadiusByMember_RO")
	assert.Zero(t, testing.AllocsPerRun(100, func() { table.Lookup(name) }))
	table, args := levelTable(t, "7.0"), split("CONFIG GET x")
	assert.Zero(t, testing.AllocsPerRun(100, func() { table.Find(args) }))
}

func BenchmarkLookup(b *testing.B) {
	table, name := level60(b), []byte("GET")
	b.ReportAllocs()
	for b.Loop() {
		table.Lookup(name)
	}
}

package command

import (
	"encoding/json"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func level60(t testing.TB) *Table {
	t.Helper()
	table, err := ForLevel("6.0")
	require.NoError(t, err)
	return table
}

// TestCategoriesAreThoseOfTheServer compares every category in both directions with what a 6.0.20 server answered.
func TestCategoriesAreThoseOfTheServer(t *testing.T) {
	data, err := os.ReadFile("testdata/acl_cat_6.0.20.json")
	require.NoError(t, err)
	var recorded struct {
		Categories map[string][]string `json:"categories"`
	}
	require.NoError(t, json.Unmarshal(data, &recorded))
	require.Len(t, recorded.Categories, 21)

	table := level60(t)
	assert.Len(t, table.Categories(), len(recorded.Categories))
	for category, want := range recorded.Categories {
		assert.Contains(t, table.Categories(), category)
		var got []string
		for _, c := range table.All() {
			if c.InCategory(category) {
				got = append(got, c.Name)
			}
		}
		slices.Sort(want)
		assert.Equal(t, want, got, "@%s", category)
	}
}

// TestCommandCount holds the size against COMMAND COUNT of 6.0.20.
func TestCommandCount(t *testing.T) {
	assert.Len(t, level60(t).All(), 205)
}

func TestIDsIndexAll(t *testing.T) {
	for _, level := range Levels() {
		table, err := ForLevel(level)
		require.NoError(t, err)
		assert.Equal(t, level, table.Level())
		for id, c := range table.All() {
			require.Equal(t, id, c.ID, c.Name)
			require.Same(t, c, table.Lookup([]byte(c.Name)))
			require.Equal(t, c.HasFlag("write"), c.Write, c.Name)
			require.Equal(t, c.HasFlag("movablekeys"), c.Movable, c.Name)
		}
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
}

func BenchmarkLookup(b *testing.B) {
	table, name := level60(b), []byte("GET")
	b.ReportAllocs()
	for b.Loop() {
		table.Lookup(name)
	}
}

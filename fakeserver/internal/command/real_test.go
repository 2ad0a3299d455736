package command

import (
	"context"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/entracache/entracache/fakeserver/internal/command/redistest"
)

// TestKeysAgainstRealServer asks a 7.0 server for the keys of the cases in which it does as 6.0 does.
func TestKeysAgainstRealServer(t *testing.T) {
	client := redistest.Start(t)
	table := level60(t)
	asked := 0
	for _, test := range keyCases {
		args := split(test.call)
		if c := table.Lookup(args[0]); test.differs70 != "" || c.FirstKey == 0 && !c.Movable || !c.ArityOK(len(args)) {
			continue
		}
		call := []any{"COMMAND", "GETKEYS"}
		for _, arg := range args {
			call = append(call, arg)
		}
		keys, err := client.Do(context.Background(), call...).StringSlice()
		if test.keys == "" {
			if err == nil {
				assert.Empty(t, keys, test.call)
			}
			// The server's words for "no keys": the call is malformed, or its subcommand has none.
			if err != nil {
				assert.Contains(t, []string{
					"ERR Invalid arguments specified for command", "ERR The command has no key arguments",
				}, err.Error(), test.call)
			}
		} else if assert.NoError(t, err, test.call) {
			// 7.0 lists a destination first, 6.0 last.
			assert.ElementsMatch(t, strings.Fields(test.keys), quoteEmpty(keys), test.call)
		}
		asked++
	}
	require.Greater(t, asked, 60, "too few cases were put to the server")
}

func quoteEmpty(keys []string) []string {
	for i := range keys {
		if keys[i] == "" {
			keys[i] = "''"
		}
	}
	return keys
}

// facts are what COMMAND INFO says about a command; all zero for one that the server does not know.
type facts struct{ Arity, First, Last, Step int64 }

// changedIn70 are the commands of 6.0 of which 7.0 says something else, with what it says.
var changedIn70 = map[string]facts{
	"expire":    {-3, 1, 1, 1},
	"expireat":  {-3, 1, 1, 1},
	"hello":     {-1, 0, 0, 0},
	"host:":     {},
	"lpop":      {-2, 1, 1, 1},
	"migrate":   {-6, 3, 3, 1},
	"object":    {-2, 0, 0, 0},
	"pexpire":   {-3, 1, 1, 1},
	"pexpireat": {-3, 1, 1, 1},
	"pfdebug":   {3, 2, 2, 1},
	"post":      {},
	"psync":     {-3, 0, 0, 0},
	"rpop":      {-2, 1, 1, 1},
	"stralgo":   {},
	"xgroup":    {-2, 0, 0, 0},
	"xinfo":     {-2, 0, 0, 0},
	"xsetid":    {-3, 1, 1, 1},
	"xtrim":     {-4, 1, 1, 1},
}

// TestTableAgainstRealServer holds arity and key positions of every command against a 7.0 server, which has nine out of ten
// unchanged: a witness for the data file besides the source that it was made from.
func TestTableAgainstRealServer(t *testing.T) {
	client := redistest.Start(t)
	for _, c := range level60(t).All() {
		rows, err := client.Do(context.Background(), "COMMAND", "INFO", c.Name).Slice()
		require.NoError(t, err)
		require.Len(t, rows, 1)
		var theirs facts
		if row, known := rows[0].([]any); known {
			theirs = facts{row[1].(int64), row[3].(int64), row[4].(int64), row[5].(int64)}
		}
		ours := facts{int64(c.Arity), int64(c.FirstKey), int64(c.LastKey), int64(c.KeyStep)}
		if changed, listed := changedIn70[c.Name]; listed {
			assert.Equal(t, changed, theirs, "%s in 7.0", c.Name)
			assert.NotEqual(t, theirs, ours, "%s is listed as changed but is not", c.Name)
		} else {
			assert.Equal(t, theirs, ours, "%s: expected is 7.0, actual is the table of 6.0", c.Name)
		}
	}
}

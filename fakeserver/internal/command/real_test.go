package command

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"
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

// TestLevel70AgainstRealServer compares everything that COMMAND of a 7.0 server says about each command and subcommand with
// the table, but for the notes of key specifications, which are sentences.
func TestLevel70AgainstRealServer(t *testing.T) {
	client := redistest.Start(t)
	rows, err := client.Do(context.Background(), "COMMAND").Slice()
	require.NoError(t, err)
	table := levelTable(t, "7.0")
	require.Len(t, rows, len(table.All()))
	compared := 0
	var compare func(rows []any)
	compare = func(rows []any) {
		for _, r := range rows {
			row := r.([]any)
			name := row[0].(string)
			c := table.FindName(name)
			if !assert.NotNil(t, c, name) {
				continue
			}
			compared++
			assert.Equal(t, facts{row[1].(int64), row[3].(int64), row[4].(int64), row[5].(int64)},
				facts{int64(c.Arity), int64(c.FirstKey), int64(c.LastKey), int64(c.KeyStep)}, name)
			assert.Equal(t, words(row[2]), append([]string{}, c.Flags...), "%s: flags", name)
			var categories []string
			for _, category := range words(row[6]) {
				categories = append(categories, strings.TrimPrefix(category, "@"))
			}
			assert.Equal(t, categories, c.Categories, "%s: categories", name)
			assert.ElementsMatch(t, words(row[7]), c.Tips, "%s: tips", name)
			compareSpecs(t, c, row[8].([]any))
			assert.Len(t, row[9], len(c.Subcommands), "%s: subcommands", name)
			compare(row[9].([]any))
		}
	}
	compare(rows)
	assert.Len(t, table.Every(), compared)
}

func words(reply any) []string {
	list := []string{}
	for _, word := range reply.([]any) {
		list = append(list, word.(string))
	}
	return list
}

func compareSpecs(t *testing.T, c *Command, theirs []any) {
	t.Helper()
	if !assert.Len(t, theirs, len(c.Specs), "%s: key specifications", c.Name) {
		return
	}
	for i, s := range c.Specs {
		spec := fields(theirs[i])
		assert.Equal(t, words(spec["flags"]), s.Flags.Names(), "%s: key flags", c.Name)
		begin, find := fields(spec["begin_search"]), fields(spec["find_keys"])
		switch search := fields(begin["spec"]); begin["type"] {
		case "index":
			assert.Equal(t, []any{search["index"], ""}, []any{int64(s.Index), s.Keyword}, c.Name)
		case "keyword":
			assert.Equal(t, []any{search["keyword"], search["startfrom"], 0}, []any{s.Keyword, int64(s.From), s.Index}, c.Name)
		default:
			assert.Equal(t, []any{0, ""}, []any{s.Index, s.Keyword}, c.Name)
		}
		switch search := fields(find["spec"]); find["type"] {
		case "range":
			assert.Equal(t, []any{FindRange, search["lastkey"], search["keystep"], search["limit"]},
				[]any{s.Find, int64(s.Last), int64(s.Step), int64(s.Limit)}, c.Name)
		case "keynum":
			assert.Equal(t, []any{FindKeynum, search["keynumidx"], search["firstkey"], search["keystep"]},
				[]any{s.Find, int64(s.Keynum), int64(s.First), int64(s.Step)}, c.Name)
		default:
			assert.Equal(t, FindUnknown, s.Find, c.Name)
		}
	}
}

// fields makes a map of names and values in turn (RESP2) or of a map (RESP3).
func fields(reply any) map[string]any {
	m := map[string]any{}
	switch reply := reply.(type) {
	case []any:
		for i := 0; i+1 < len(reply); i += 2 {
			m[reply[i].(string)] = reply[i+1]
		}
	case map[any]any:
		for k, v := range reply {
			m[k.(string)] = v
		}
	}
	return m
}

// TestRandomKeysAgainstRealServer asks a 7.0 server for the keys, and what happens to them, of calls that are made up of the
// words that key positions depend on.
func TestRandomKeysAgainstRealServer(t *testing.T) {
	const callsPerCommand = 40
	client, ctx := redistest.Start(t), context.Background()
	random := rand.New(rand.NewPCG(7, 15)) // repeatable on purpose
	vocabulary := []string{
		"a", "b", "c", "", "0", "1", "2", "3", "01", "-1", "+1", " 1", "1x", "4294967297", "99999999999999999999", "store", "STOREDIST", "by", "get",
		"GET", "limit", "keys", "KEYS", "auth", "auth2", "copy", "streams", "STREAMS", "count", "block", "group", "noack", "set", "incrby", "overflow",
	}
	pipe := client.Pipeline()
	type asked struct {
		c      *Command
		args   [][]byte
		answer *redis.Cmd
	}
	var calls []asked
	for _, c := range levelTable(t, "7.0").Every() {
		if c.Subcommands != nil {
			continue
		}
		for range callsPerCommand {
			n := max(c.Arity, -c.Arity)
			if c.Arity < 0 {
				n += random.IntN(8)
			}
			args := split(strings.ReplaceAll(c.Name, "|", " "))
			// COMMAND GETKEYSANDFLAGS wants a command with at least one argument.
			for len(args) < n || len(args) < 2 {
				args = append(args, []byte(vocabulary[random.IntN(len(vocabulary))]))
			}
			call := []any{"COMMAND", "GETKEYSANDFLAGS"}
			for _, arg := range args {
				call = append(call, arg)
			}
			calls = append(calls, asked{c, args, pipe.Do(ctx, call...)})
		}
	}
	_, _ = pipe.Exec(ctx) // the calls without keys are errors
	found := 0
	for _, call := range calls {
		if !call.c.ArityOK(len(call.args)) {
			continue
		}
		var want []string
		if keys, err := call.answer.Slice(); err != nil {
			require.Contains(t, []string{
				"ERR The command has no key arguments", "ERR Invalid arguments specified for command",
			}, err.Error(), "%q", call.args)
			require.Equal(t, err.Error() != "ERR The command has no key arguments", call.c.HasKeys(), "%q", call.args)
		} else {
			for _, key := range keys {
				pair := key.([]any)
				want = append(want, fmt.Sprintf("%q %v", pair[0], words(pair[1])))
			}
		}
		var got []string
		for _, r := range call.c.KeyRanges(call.args) {
			for i := r.First; r.First != 0 && i <= r.Last; i += r.Step {
				got = append(got, fmt.Sprintf("%q %v", call.args[i], append([]string{}, r.Flags.Names()...)))
			}
		}
		require.Equal(t, want, got, "%q", call.args)
		found += len(got)
	}
	require.Greater(t, found, 5000, "the calls have too few keys to tell anything")
}

package command

import (
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// split makes the arguments of a call; "”" stands for an empty argument.
func split(call string) [][]byte {
	var args [][]byte
	for _, word := range strings.Split(call, " ") {
		if word == "''" {
			word = ""
		}
		args = append(args, []byte(word))
	}
	return args
}

func joined(keys [][]byte) string {
	words := make([]string, len(keys))
	for i, key := range keys {
		words[i] = string(key)
		if words[i] == "" {
			words[i] = "''"
		}
	}
	return strings.Join(words, " ")
}

// keyCases are calls and their keys, as the rules of 6.0.20 (src/db.c) find them. With differs70 set, 7.0 finds other ones
// or does not know the command, so that it is not asked.
var keyCases = []struct {
	call, keys string
	differs70  string
}{
	{call: "GET a", keys: "a"},
	{call: "get a", keys: "a"},
	{call: "SET a b EX 10", keys: "a"},
	{call: "DEL a b c", keys: "a b c"},
	{call: "DEL ''", keys: "''"},
	{call: "MSET a 1 b 2", keys: "a b"},
	{call: "MSET a 1 b", keys: "a b"},
	{call: "RENAME a b", keys: "a b"},
	{call: "BLPOP a b 0", keys: "a b"},
	{call: "BRPOPLPUSH a b 0", keys: "a b"},
	{call: "BZPOPMIN a b 0", keys: "a b"},
	{call: "BITOP AND d a b", keys: "d a b"},
	{call: "BITOP NOT d a", keys: "d a"},
	{call: "SMOVE a b m", keys: "a b"},
	{call: "SINTERSTORE d a b", keys: "d a b"},
	{call: "PFCOUNT a b", keys: "a b"},
	{call: "WATCH a b", keys: "a b"},
	{call: "TOUCH a b", keys: "a b"},
	{call: "GEODIST a m n", keys: "a"},
	{call: "PING a", keys: ""},
	{call: "KEYS a*", keys: ""},
	{call: "SCAN 0 MATCH a*", keys: ""},
	{call: "PUBLISH c m", keys: ""},
	{call: "RANDOMKEY", keys: ""},

	{call: "OBJECT ENCODING a", keys: "a"},
	{call: "OBJECT HELP", keys: ""},
	{call: "XGROUP CREATE a g $", keys: "a"},
	{call: "XINFO STREAM a", keys: "a"},
	{call: "XINFO HELP", keys: ""},
	{call: "MEMORY USAGE a", keys: "a"},
	{call: "memory Usage a SAMPLES 5", keys: "a"},
	{call: "MEMORY STATS", keys: ""},
	{call: "MEMORY DOCTOR a", keys: "", differs70: "the arity of MEMORY DOCTOR refuses it"},

	{call: "EVAL s 2 a b c", keys: "a b"},
	{call: "EVALSHA s 1 a", keys: "a"},
	{call: "EVAL s 0 a", keys: ""},
	{call: "EVAL s 3 a b", keys: ""},
	{call: "EVAL s -1 a b", keys: ""},
	{call: "EVAL s x a b", keys: ""},
	{call: "EVAL s 1x a b", keys: "a"},
	{call: "EVAL s +2 a b", keys: "a b"},
	{call: "EVAL s \t\n2 a b", keys: "a b"},
	{call: "EVAL s 4294967297 a b", keys: "a"},
	{call: "EVAL s 99999999999999999999 a b", keys: ""},
	{call: "EVAL s -99999999999999999999 a b", keys: ""},
	{call: "EVAL s -4294967295 a b", keys: "a"},
	{call: "EVAL s 2", keys: ""},

	{call: "ZUNIONSTORE d 2 a b WEIGHTS 1 2", keys: "a b d"},
	{call: "ZINTERSTORE d 1 a AGGREGATE MAX", keys: "a d"},
	{call: "ZUNIONSTORE d 3 a b", keys: ""},
	{call: "ZUNIONSTORE d 0 a b", keys: ""},

	{call: "SORT a", keys: "a"},
	{call: "SORT a BY w_* GET d_* STORE b", keys: "a b"},
	{call: "SORT a STORE b STORE c", keys: "a c"},
	{call: "SORT a LIMIT 0 STORE b", keys: "a"},
	{call: "SORT a LIMIT 0 1 store b", keys: "a b"},
	{call: "SORT a BY STORE b", keys: "a"},
	{call: "SORT a GET STORE STORE b", keys: "a b"},
	{call: "SORT a STORE", keys: "a"},
	{call: "SORT a STORE STORE b", keys: "a b"},
	{call: "SORT a STORE GET STORE b", keys: "a GET"},
	{call: "SORT STORE b", keys: "STORE"},

	{call: "GEORADIUS a 0 0 1 km", keys: "a"},
	{call: "GEORADIUS a 0 0 1 km STORE b", keys: "a b"},
	{call: "GEORADIUS a 0 0 1 km STORE b STOREDIST c", keys: "a c", differs70: "7.0 finds both destinations"},
	{call: "GEORADIUS a 0 0 1 km WITHDIST storedist b", keys: "a b"},
	{call: "GEORADIUS a 0 0 1 km STORE", keys: "a"},
	{call: "GEORADIUS a 0 0 1 km STORE STORE b", keys: "a STORE"},
	{call: "GEORADIUSBYMEMBER a m 1 km STORE b", keys: "a b"},
	{call: "GEORADIUSBYMEMBER a store 1 km", keys: "a"},
	{call: "GEORADIUS_RO a 0 0 1 km STORE b", keys: "a"},

	{call: "MIGRATE h 1 a 0 5", keys: "a"},
	{call: "MIGRATE h 1 '' 0 5 KEYS a b", keys: "a b"},
	{call: "MIGRATE h 1 '' 0 5 COPY REPLACE keys a b", keys: "a b"},
	{call: "MIGRATE h 1 '' 0 5 AUTH p KEYS a", keys: "a"},
	{call: "MIGRATE h 1 '' 0 5", keys: "''"},
	{call: "MIGRATE h 1 '' 0 5 KEYS", keys: "", differs70: "7.0 refuses the call in other words"},
	{call: "MIGRATE h 1 a 0 5 KEYS b", keys: "a", differs70: "7.0 finds no key where a key and KEYS are given"},
	{call: "MIGRATE h 1 '' 0 5 AUTH KEYS KEYS a", keys: "KEYS a", differs70: "7.0 skips the password"},

	{call: "XREAD STREAMS a 0", keys: "a"},
	{call: "XREAD COUNT 1 BLOCK 0 STREAMS a b 0 0", keys: "a b"},
	{call: "XREADGROUP GROUP g STREAMS COUNT 1 NOACK STREAMS a 0", keys: "a"},
	{call: "XREADGROUP GROUP streams streams STREAMS streams >", keys: "streams"},
	{call: "XREAD STREAMS a b 0", keys: "", differs70: "7.0 reads the malformed call by its key specification"},
	{call: "XREAD FOO STREAMS a 0", keys: "", differs70: "7.0 reads the malformed call by its key specification"},
	{call: "XREAD COUNT STREAMS a 0", keys: "", differs70: "7.0 reads the malformed call by its key specification"},

	{call: "STRALGO LCS KEYS a b", keys: "a b", differs70: "the command is gone"},
	{call: "STRALGO LCS LEN keys a b", keys: "a b", differs70: "the command is gone"},
	{call: "STRALGO LCS STRINGS KEYS a b", keys: "", differs70: "the command is gone"},
	{call: "STRALGO LCS KEYS a", keys: "", differs70: "the command is gone"},
}

func TestKeys(t *testing.T) {
	table := level60(t)
	for _, test := range keyCases {
		args := split(test.call)
		c := table.Lookup(args[0])
		require.NotNil(t, c, test.call)
		assert.Equal(t, test.keys, joined(c.Keys(args)), test.call)
	}
}

// TestKeyCasesCoverEveryMovableCommand keeps the cases above complete when a command or a rule is added.
func TestKeyCasesCoverEveryMovableCommand(t *testing.T) {
	called := map[string]bool{}
	for _, test := range keyCases {
		called[strings.ToLower(strings.Fields(test.call)[0])] = true
	}
	for _, c := range level60(t).All() {
		if c.Movable {
			assert.True(t, called[c.Name], "no case calls %s, whose keys its arguments tell", c.Name)
		}
	}
}

// TestKeysStayInsideTheArguments feeds every command the words that the rules look for in any order and number.
func TestKeysStayInsideTheArguments(t *testing.T) {
	words := []string{"", "1", "2", "-1", "99999999999", "STORE", "STOREDIST", "LIMIT", "BY", "KEYS", "STREAMS", "COUNT",
		"GROUP", "USAGE", "STRINGS", "k"}
	random := rand.New(rand.NewPCG(1, 2)) // repeatable on purpose
	for _, c := range level60(t).All() {
		for range 300 {
			args := [][]byte{[]byte(c.Name)}
			for range random.IntN(12) {
				args = append(args, []byte(words[random.IntN(len(words))]))
			}
			for _, r := range c.KeyRanges(args) {
				if r.First == 0 {
					continue
				}
				require.True(t, 0 < r.First && r.First <= r.Last && r.Last < len(args) && r.Step > 0,
					"%s: range %+v of %d arguments", args, r, len(args))
			}
		}
	}
}

func TestKeyRangesDoNotAllocate(t *testing.T) {
	table := level60(t)
	for _, test := range keyCases {
		args := split(test.call)
		c := table.Lookup(args[0])
		assert.Zero(t, testing.AllocsPerRun(10, func() { c.KeyRanges(args) }), test.call)
	}
}

// TestOnlyKeyIsTheOneOfKeyRanges holds the shortcut against the long way, for every command of every level.
func TestOnlyKeyIsTheOneOfKeyRanges(t *testing.T) {
	shortcuts := 0
	for _, level := range Levels() {
		for _, c := range levelTable(t, level).Every() {
			for n := 1; n < 9; n++ {
				args := make([][]byte, n)
				for i := range args {
					args[i] = []byte("get")
				}
				at, flags := c.OnlyKey(args)
				if at == 0 {
					continue
				}
				shortcuts++
				want := KeyRanges{{First: at, Last: at, Step: 1, Flags: flags}}
				require.Equal(t, want, c.KeyRanges(args), "%s: %s with %d arguments", level, c.Name, n)
			}
		}
	}
	require.Greater(t, shortcuts, 1000)
}

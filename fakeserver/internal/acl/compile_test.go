package acl

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/entracache/entracache/fakeserver/internal/command"
)

// TestRules gives permission strings and what they allow of some calls.
func TestRules(t *testing.T) {
	for _, test := range []struct {
		name, permissions               string
		ok, deniedCommand, deniedKeyFor []string
	}{
		{
			"nothing but AUTH without rules", "",
			[]string{"auth u p"}, []string{"ping", "get a", "hello 3"}, nil,
		},
		{
			"AUTH cannot be taken away", "+@all -auth -@connection allkeys",
			[]string{"auth u p", "get a"}, []string{"hello 3", "ping", "client id"}, nil,
		},
		{
			"commands without key patterns", "+get +hget +ping",
			[]string{"ping"}, []string{"set a b"}, []string{"get a", "hget a f"},
		},
		{
			"documented: read and one command on one prefix", "+@read +set ~Az*",
			[]string{"get Az", "get Azure", "set Az1 x", "keys *", "scan 0", "dbsize"},
			[]string{"del Az", "ping"}, []string{"get az", "get bAz", "mget Az1 b", "set b x"},
		},
		{
			"rules apply from left to right", "+@all -get +get -set +@string -@write allkeys",
			[]string{"get a", "mget a"}, []string{"set a b", "del a"}, nil,
		},
		{
			"words in any case", "NOCOMMANDS AllCommands -@DANGEROUS +KEYS AllKeys",
			[]string{"get a", "keys *"}, []string{"flushall", "config get x"}, nil,
		},
		{
			"allcommands and nocommands", "+get nocommands +set allkeys",
			[]string{"set a b"}, []string{"get a"}, nil,
		},
		{
			"a category takes no other away", "-@read +@read -@set allkeys",
			[]string{"get a", "echo x"}, []string{"scard a", "sort a"}, nil,
		},
		{
			"first arguments", "+config|get +CONFIG|ReWrite +config|GET allkeys",
			[]string{"config get x", "CONFIG GET x", "config rewrite"}, []string{"config set a b", "config", "config gett"}, nil,
		},
		{
			"any command and any word can have a first argument", "+get|a +select|0 +debug|nonsense|x ~a",
			[]string{"get a", "get A x", "select 0", "debug nonsense|x"}, []string{"get b", "select 1", "debug nonsense"},
			[]string{"get A"},
		},
		{
			"-command forgets first arguments", "+config|get -config allkeys",
			nil, []string{"config get x"}, nil,
		},
		{
			"+command replaces first arguments", "+config|get +config",
			[]string{"config get x", "config set a b"}, nil, nil,
		},
		{
			"and they do not come back", "+config|get +config -config",
			nil, []string{"config get x"}, nil,
		},
		{
			"-@category forgets first arguments", "+config|get +cluster|info +script|load -@admin",
			[]string{"script load x"}, []string{"config get x", "cluster info"}, nil,
		},
		{
			"+@category replaces first arguments", "+cluster|info +@admin",
			[]string{"cluster info", "cluster meet"}, nil, nil,
		},
		{
			"a category without the command leaves them", "+cluster|info +@read -@write",
			[]string{"cluster info"}, []string{"cluster meet"}, nil,
		},
		{
			"-@all forgets first arguments", "+config|get -@all",
			nil, []string{"config get x"}, nil,
		},
		{
			"first arguments after taking the command away", "+@all -client +client|id",
			[]string{"client id", "ping"}, []string{"client kill"}, nil,
		},
		{
			"one of several patterns is enough, for each key", "+@all ~a:* ~b:?",
			[]string{"mset a:1 x b:1 y", "ping", "eval s 0 zz", "eval s 1 a:1 zz", "object help"}, nil,
			[]string{"mset a:1 x b:10 y", "get c", "eval s 2 a:1 zz", "zunionstore zz 1 a:1", "zunionstore a:1 1 zz",
				"sort a:1 store zz", "xread streams a:1 zz 0 0", "watch a:1 zz"},
		},
		{
			"a pattern that stands for itself", `+@all ~a\* ~[b-d]`,
			[]string{"get a*", "get c"}, nil, []string{"get ab", `get a\*`, "get e", "get [b-d]"},
		},
		{
			"the empty pattern is the empty key", "+get ~",
			[]string{"get "}, nil, []string{"get a"},
		},
		{
			"a pattern twice", "+get ~a ~a ~b",
			[]string{"get a", "get b"}, nil, []string{"get c"},
		},
		{
			"resetkeys", "+get allkeys resetkeys ~a",
			[]string{"get a"}, nil, []string{"get b"},
		},
		{
			"resetkeys forgets patterns", "+get ~a resetkeys",
			nil, nil, []string{"get a"},
		},
		{
			"allkeys twice, and after a pattern", "+get ~a allkeys ~* allkeys",
			[]string{"get a", "get "}, nil, nil,
		},
		{
			"** is a pattern, not allkeys", "+get ~** ~a",
			[]string{"get a", "get anything"}, nil, []string{"get "},
		},
		{
			"spaces", " \t +get   +set   allkeys \r\n",
			[]string{"get a", "set a b"}, []string{"del a"}, nil,
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			set := compile(t, test.permissions)
			for _, call := range test.ok {
				assert.Equal(t, OK, check(t, set, call), call)
			}
			for _, call := range test.deniedCommand {
				assert.Equal(t, DeniedCommand, check(t, set, call), call)
			}
			for _, call := range test.deniedKeyFor {
				assert.Equal(t, DeniedKey, check(t, set, call), call)
			}
		})
	}
}

// TestRules70 gives permission strings of 7.0 and what they allow of some calls. A 7.0 server agrees, see
// TestUsersAgainstRealServer; this is to read.
func TestRules70(t *testing.T) {
	rules := rulesOf(t, "7.0")
	for _, test := range []struct {
		permissions string
		want        map[string]Verdict
	}{
		{"%R~r:* %W~w:* +@all", map[string]Verdict{
			"get r:1": OK, "get w:1": DeniedKey, "set w:1 v": OK, "set w:1 v get": DeniedKey, "incr w:1": DeniedKey, "append w:1 x": OK,
			"del w:1": OK, "copy r:1 w:1": OK, "rename r:1 w:1": DeniedKey, "sort r:1 store w:1": OK, "exists w:1": OK, "ttl r:1": OK,
			"bitfield r:1 get u8 0": OK, "bitfield r:1 set u8 0 1": DeniedKey, "xread streams r:1 0": OK, "mset w:1 a w:2 b": OK,
			"eval x 1 r:1": DeniedKey, "eval_ro x 1 r:1": OK, "keys *": OK, "zunionstore w:1 2 r:1 r:2": OK, "zunionstore w:1 2 r:1 w:2": DeniedKey,
		}},
		{"+@all %RW~a %R~b %W~b", map[string]Verdict{"incr a": OK, "incr b": OK, "get c": DeniedKey}},
		{"+get ~a (+set ~b) (+get ~c)", map[string]Verdict{
			"get a": OK, "get c": OK, "set b x": OK, "get b": DeniedKey, "set a x": DeniedKey, "del a": DeniedCommand,
		}},
		{"+mget ~a (+mget ~b)", map[string]Verdict{"mget a": OK, "mget b": OK, "mget a b": DeniedKey}},
		{"( +get ~a ) (+get ~b) clearselectors", map[string]Verdict{"get a": DeniedCommand, "get b": DeniedCommand}},
		{"+@all -config|set -client|kill", map[string]Verdict{
			"config set a b": DeniedCommand, "config get a": OK, "client kill x": DeniedCommand, "client id": OK,
		}},
		{"+config -config|set +config|set -config +config|get", map[string]Verdict{"config get a": OK, "config set a b": DeniedCommand}},
		{"+select|0 +get|x allkeys", map[string]Verdict{"select 0": OK, "select 1": DeniedCommand, "get x": OK, "get y": DeniedCommand}},
		{"+@all &news.* &a", map[string]Verdict{
			"publish news.x m": OK, "publish other m": DeniedChannel, "subscribe news.x a": OK, "subscribe a other": DeniedChannel,
			"psubscribe news.*": OK, "psubscribe news.a*": DeniedChannel, "psubscribe a": OK, "ssubscribe a": OK, "spublish b m": DeniedChannel,
			"unsubscribe other": OK, "punsubscribe other": OK,
		}},
		{"+@all allchannels", map[string]Verdict{"publish x m": OK, "psubscribe *": OK, "get a": DeniedKey}},
		{"+@all allchannels resetchannels", map[string]Verdict{"publish x m": DeniedChannel}},
		{"-@all", map[string]Verdict{"auth x": OK, "hello 3": OK, "quit": OK, "reset": OK, "ping": DeniedCommand}},
	} {
		set, err := rules.Compile(test.permissions)
		require.NoError(t, err, test.permissions)
		for call, want := range test.want {
			args := bytes.Fields([]byte(call))
			cmd, _ := rules.table.Find(args)
			require.NotNil(t, cmd, call)
			assert.Equal(t, want, set.Check(cmd, args), "%s: %s", test.permissions, call)
		}
	}
}

func TestRefusedRules70(t *testing.T) {
	rules := rulesOf(t, "7.0")
	for permissions, text := range map[string]string{
		"(+get":            "Unmatched parenthesis in acl selector starting at '(+get'.",
		"+get ( +set ~a":   "Unmatched parenthesis in acl selector starting at '('.",
		"(+get ~a) )":      "Error in ACL SETUSER modifier ')': Syntax error",
		"(+nope)":          "Error in ACL SETUSER modifier '(+nope)': Unknown command or category name in ACL",
		"(on)":             "Error in ACL SETUSER modifier '(on)': Syntax error",
		"(&* &a)":          "Error in ACL SETUSER modifier '(&* &a)': " + reasonAfterAllChannels,
		"&* &a":            "Error in ACL SETUSER modifier '&a': " + reasonAfterAllChannels,
		"~* %R~a":          "Error in ACL SETUSER modifier '%R~a': " + reasonAfterAllKeys,
		"%X~a":             "Error in ACL SETUSER modifier '%X~a': Syntax error",
		"%~a":              "Error in ACL SETUSER modifier '%~a': Syntax error",
		"%RR~a":            "Error in ACL SETUSER modifier '%RR~a': Syntax error",
		"+config|nope":     "Error in ACL SETUSER modifier '+config|nope': Unknown command or category name in ACL",
		"+config|":         "Error in ACL SETUSER modifier '+config|': Syntax error",
		"+config|get|x":    "Error in ACL SETUSER modifier '+config|get|x': Allowing first-arg of a subcommand is not supported",
		"-get|x":           "Error in ACL SETUSER modifier '-get|x': Unknown command or category name in ACL",
		"nopass":           "Error in ACL SETUSER modifier 'nopass': Syntax error",
		"sanitize-payload": "Error in ACL SETUSER modifier 'sanitize-payload': Syntax error",
	} {
		_, err := rules.Compile(permissions)
		assert.EqualError(t, err, text, "%q", permissions)
	}
}

// refusals are rules and the engine's reasons. With in70 set, 7.0 refuses the rule with the same text.
var refusals = []struct {
	permissions, rule, reason string
	in70                      bool
}{
	{"+foo", "+foo", reasonUnknown, true},
	{"-foo", "-foo", reasonUnknown, true},
	{"+", "+", reasonUnknown, true},
	{"-", "-", reasonUnknown, true},
	{"+@foo", "+@foo", reasonUnknown, true},
	{"-@foo", "-@foo", reasonUnknown, true},
	{"+@", "+@", reasonUnknown, true},
	{"+@\u212aeyspace", "+@\u212aeyspace", reasonUnknown, true},
	{"+@all|x", "+@all|x", reasonUnknown, true},
	{"+foo|bar", "+foo|bar", reasonUnknown, true},
	{"+|bar", "+|bar", reasonUnknown, true},
	{"+get\tx", "+get\tx", reasonUnknown, true},
	{"foo", "foo", reasonSyntax, true},
	{"*", "*", reasonSyntax, true},
	{"@all", "@all", reasonSyntax, true},
	{"+@read @all ~x", "@all", reasonSyntax, true},
	{"all\u212aeys", "all\u212aeys", reasonSyntax, true},
	{"~a\tb", "~a\tb", reasonSyntax, true},
	{"~a\x00b", "~a\x00b", reasonSyntax, false},
	{"allkeys ~a", "~a", reasonAfterAllKeys, true},
	{"~* ~**", "~**", reasonAfterAllKeys, true},
	{"+get allkeys ~a\tb", "~a\tb", reasonAfterAllKeys, true},
	{"+get|", "+get|", reasonSyntax, false},
	{"+get +get|x", "+get|x", reasonFullyAdded, false},
	{"+@all +cluster|info", "+cluster|info", reasonFullyAdded, false},
	{"+@admin +Cluster|info", "+Cluster|info", reasonFullyAdded, false},
	// Not in the grammar of 6.0.
	{"+@all -client|kill", "-client|kill", reasonUnknown, false},
	{"&a", "&a", reasonSyntax, false},
	{"resetchannels", "resetchannels", reasonSyntax, false},
	{"%R~a", "%R~a", reasonSyntax, false},
	{"(+get ~a)", "(+get", reasonSyntax, false},
	{"+reset", "+reset", reasonUnknown, false},
	// In the grammar of 6.0 but about users, not permissions: no source says what Azure does.
	{"on", "on", reasonSyntax, false},
	{"off +get", "off", reasonSyntax, false},
	{"nopass", "nopass", reasonSyntax, false},
	{"resetpass", "resetpass", reasonSyntax, false},
	{"reset", "reset", reasonSyntax, false},
	{">secret", ">secret", reasonSyntax, false},
	{"<secret", "<secret", reasonSyntax, false},
	{"#abc", "#abc", reasonSyntax, false},
	{"!abc", "!abc", reasonSyntax, false},
}

func TestRefusedRules(t *testing.T) {
	for _, test := range refusals {
		set, err := rules60(t).Compile(test.permissions)
		assert.Nil(t, set, "%q", test.permissions)
		var refused *RuleError
		if assert.ErrorAs(t, err, &refused, "%q", test.permissions) {
			assert.Equal(t, RuleError{Rule: test.rule, Reason: test.reason}, *refused, "%q", test.permissions)
		}
	}
}

// TestErrorTexts are the recorded replies of 6.0.20 without "-ERR " and the line end.
func TestErrorTexts(t *testing.T) {
	for permissions, text := range map[string]string{
		"+foo":  "Error in ACL SETUSER modifier '+foo': Unknown command or category name in ACL",
		"+@foo": "Error in ACL SETUSER modifier '+@foo': Unknown command or category name in ACL",
		"foo":   "Error in ACL SETUSER modifier 'foo': Syntax error",
		"&a":    "Error in ACL SETUSER modifier '&a': Syntax error",
		"allkeys ~a": "Error in ACL SETUSER modifier '~a': Adding a pattern after the * pattern (or the 'allkeys' flag) is " +
			"not valid and does not have any effect. Try 'resetkeys' to start with an empty list of patterns",
	} {
		_, err := rules60(t).Compile(permissions)
		assert.EqualError(t, err, text)
	}
}

func FuzzCompile(f *testing.F) {
	for _, seed := range []string{
		dataOwner, dataContributor, dataReader, dataReaderLegacy, "+get|x ~[a-", `~\`, "+@", "-", "+|", "~", "\x00", "+get +get|", "~\r",
		"%R~a %W~b &c", "(+get ~a) (%RW~b +@all -config|set)", "( +get", "(", ")", "()", "( ( +get )", "(+get ~\"a b\")", "(\"", "%", "%R",
		"%~", "%rw~x", "+config|get|x", "-config|get", "+config -config|set", "+@all -@all +select|0", "clearselectors", "resetchannels &*",
	} {
		f.Add(seed, "get", "a")
	}
	languages := everyLanguage(f)
	f.Fuzz(func(t *testing.T, permissions, arg, key string) {
		for _, rules := range languages {
			fuzzCompile(t, rules, permissions, arg, key)
		}
	})
}

func fuzzCompile(t *testing.T, rules *Rules, permissions, arg, key string) {
	t.Helper()
	level := rules.table.Level()
	set, err := rules.Compile(permissions)
	if err != nil {
		var refused *RuleError
		if !errors.As(err, &refused) || !strings.Contains(permissions, refused.Rule) || refused.Reason == "" {
			t.Fatalf("%s: %q is refused with %#v, which names no rule of it", level, permissions, err)
		}
		return
	}
	nothing := strings.Trim(permissions, " \t\r\n") + " nocommands resetkeys"
	if rules.since("7.0") {
		nothing += " clearselectors"
	}
	get := rules.table.Lookup([]byte("get"))
	if again, err := rules.Compile(nothing); err != nil {
		t.Fatalf("%s: %q is accepted, but not with more rules after it: %v", level, permissions, err)
	} else if v := again.Check(get, [][]byte{[]byte("get"), []byte(key)}); v != DeniedCommand {
		t.Fatalf("%s: %q with nocommands at its end says %s for GET", level, permissions, v)
	}
	for _, c := range rules.table.Every() {
		args := [][]byte{[]byte(c.Name), []byte(arg), []byte(key)}
		verdict := set.Check(c, args)
		explained, position := set.Explain(c, args)
		if verdict != explained || (position != 0) != (verdict == DeniedKey || verdict == DeniedChannel) {
			t.Fatalf("%s: %q: %q is %s, explained as %s at %d", level, permissions, args, verdict, explained, position)
		}
	}
}

// FuzzUser describes users and makes them again from the description: what a user may do must come out the same.
func FuzzUser(f *testing.F) {
	for _, seed := range []string{
		"on nopass +@all ~* &*", ">a <a", "#" + strings.Repeat("a", 64), "!x", "(+get ~a) (+@all -@dangerous %R~b)", "+config|get -@all +@read +get|x",
		"+@all -@dangerous +config|get -config reset +select|0 +select|1", "skip-sanitize-payload &a.* ~b",
	} {
		f.Add(seed)
	}
	languages := everyLanguage(f)
	f.Fuzz(func(t *testing.T, words string) {
		for _, rules := range languages {
			user, err := rules.NewUser().With(rules, strings.Split(words, " ")...)
			if err != nil {
				continue
			}
			for _, p := range user.Permissions() {
				// What an argument of a rule is made of must not be read as rules when it is described.
				if strings.ContainsAny(p.Commands, "\t\n\v\f\r\"'") || strings.ContainsAny(strings.Join(append(p.Keys, p.Channels...), ""), "\"'()") {
					return
				}
			}
			described := user.String()
			again, err := rules.NewUser().With(rules, strings.Split(described, " ")...)
			if err != nil {
				t.Fatalf("%s: %q is described as %q, which is refused: %v", rules.table.Level(), words, described, err)
			}
			if again.String() != described {
				t.Fatalf("%s: %q is described as %q, and that as %q", rules.table.Level(), words, described, again.String())
			}
			for i := range user.selectors {
				if !slices.Equal(user.selectors[i].allowed, again.selectors[i].allowed) {
					t.Fatalf("%s: %q is described as %q, which allows other commands", rules.table.Level(), words, described)
				}
			}
		}
	})
}

func everyLanguage(t testing.TB) []*Rules {
	t.Helper()
	var languages []*Rules
	for _, level := range command.Levels() {
		languages = append(languages, rulesOf(t, level))
	}
	return languages
}

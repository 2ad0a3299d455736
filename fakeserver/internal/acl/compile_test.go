package acl

import (
	"errors"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
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
		set, err := Compile(table60(t), Grammar60, test.permissions)
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
		_, err := Compile(table60(t), Grammar60, permissions)
		assert.EqualError(t, err, text)
	}
}

func TestUnknownGrammar(t *testing.T) {
	_, err := Compile(table60(t), "5.0", "+get")
	require.ErrorContains(t, err, `unknown ACL grammar "5.0"`)
	var refused *RuleError
	assert.False(t, errors.As(err, &refused))
}

func FuzzCompile(f *testing.F) {
	for _, seed := range []string{
		dataOwner, dataContributor, dataReader, dataReaderLegacy, "+get|x ~[a-", `~\`, "+@", "-", "+|", "~", "\x00", "+get +get|", "~\r",
	} {
		f.Add(seed, "get", "a")
	}
	table := table60(f)
	f.Fuzz(func(t *testing.T, permissions, arg, key string) {
		set, err := Compile(table, Grammar60, permissions)
		if err != nil {
			var refused *RuleError
			if !errors.As(err, &refused) || !strings.Contains(permissions, refused.Rule) || refused.Reason == "" {
				t.Fatalf("%q is refused with %#v, which names no rule of it", permissions, err)
			}
			return
		}
		if again, err := Compile(table, Grammar60, strings.Trim(permissions, " \t\r\n")+" nocommands resetkeys"); err != nil {
			t.Fatalf("%q is accepted, but not with more rules after it: %v", permissions, err)
		} else if v := again.Check(table.Lookup([]byte("get")), [][]byte{[]byte("get"), []byte(key)}); v != DeniedCommand {
			t.Fatalf("%q with nocommands at its end says %s for GET", permissions, v)
		}
		for _, c := range table.All() {
			args := [][]byte{[]byte(c.Name), []byte(arg), []byte(key)}
			verdict := set.Check(c, args)
			if denied := set.FirstDeniedKey(c, args); verdict == DeniedKey && denied == 0 || verdict == OK && denied != 0 {
				t.Fatalf("%q: %q is %s, but the first denied key is argument %d", permissions, args, verdict, denied)
			}
		}
	})
}

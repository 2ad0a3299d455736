package acl

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func user(t testing.TB, level string, words ...string) *User {
	t.Helper()
	rules := rulesOf(t, level)
	u, err := rules.NewUser().With(rules, words...)
	require.NoError(t, err)
	return u
}

// TestDescriptions are what servers of the levels list (ACL LIST) for a user of the same rules.
func TestDescriptions(t *testing.T) {
	const a = "#ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb"
	for _, test := range []struct{ level, rules, want string }{
		{"6.0", "", "off -@all"},
		{"6.2", "", "off &* -@all"},
		{"7.0", "", "off resetchannels -@all"},
		{"7.4", "", "off sanitize-payload resetchannels -@all"},
		{"6.0", "on >a ~x +@all", "on " + a + " ~x +@all"},
		{"6.2", "on nopass resetchannels &x allkeys +get", "on nopass ~* resetchannels &x -@all +get"},
		{"7.0", "on >a >a ~x %R~y %W~z +@all -@dangerous", "on " + a + " ~x %R~y %W~z resetchannels +@all -@dangerous"},
		{"7.0", "%R~x %W~x &* +get", "off ~x &* -@all +get"},
		{"7.0", dataContributor, "off ~* resetchannels +@all -@dangerous"},
		{"7.0", dataReaderLegacy, "off ~* resetchannels -@all +@read +@connection +cluster|info +cluster|nodes +cluster|slots"},
		{"7.4", dataContributor, "off sanitize-payload ~* resetchannels +@all -@dangerous +cluster|info +cluster|nodes +cluster|slots"},
		{"7.4", "+get -GET +@read -@read +config|get +config|set -config +get|X", "off sanitize-payload resetchannels -@all -get -@read -config +get|x"},
		{"7.0", "+select|1 +select|0", "off resetchannels -@all +select|1 +select|0"},
		{"7.0", "(~a +get) (%R~b &c)", "off resetchannels -@all (~a resetchannels -@all +get) (%R~b resetchannels &c -@all)"},
		{"7.0", "on >a +@all ~* reset", "off sanitize-payload resetchannels -@all"},
		{"6.2", "skip-sanitize-payload", "off skip-sanitize-payload &* -@all"},
		{"6.0", "+@all -@all +@read -@read +@all -scan -keys", "off +@all -keys -scan"},
	} {
		assert.Equal(t, test.want, user(t, test.level, strings.Split(test.rules, " ")...).String(), "%s: %s", test.level, test.rules)
	}
}

func TestFlags(t *testing.T) {
	assert.Equal(t, []string{"on", "allkeys", "allcommands", "nopass"}, rules60(t).DefaultUser().Flags())
	assert.Equal(t, []string{"on", "allkeys", "allchannels", "allcommands", "nopass"}, rulesOf(t, "6.2").DefaultUser().Flags())
	assert.Equal(t, []string{"on", "nopass"}, rulesOf(t, "7.0").DefaultUser().Flags())
	assert.Equal(t, []string{"off", "allkeys"}, user(t, "6.0", "+@all", "-get", "~*").Flags(), "+@all is not all any more")
}

func TestPasswords(t *testing.T) {
	u := user(t, "7.0", ">one", ">two", "on")
	for password, want := range map[string]bool{"one": true, "two": true, "": false, "three": false} {
		assert.Equal(t, want, u.Admits(password), password)
	}
	rules := rulesOf(t, "7.0")
	with := func(words ...string) *User {
		next, err := u.With(rules, words...)
		require.NoError(t, err)
		return next
	}
	assert.False(t, with("off").Admits("one"))
	assert.False(t, with("<one").Admits("one"))
	assert.True(t, with("<one").Admits("two"))
	assert.True(t, with("nopass").Admits("anything"))
	assert.False(t, with("nopass", "off").Admits("anything"))
	assert.False(t, with("nopass", "resetpass").Admits("one"))
	assert.False(t, with("nopass", ">x").Admits("one"))
	assert.True(t, u.Admits("one"), "a user does not change")
	for _, refused := range []struct{ rule, reason string }{
		{"<three", reasonNoPassword}, {"!" + strings.Repeat("0", 64), reasonNoPassword}, {"#abc", reasonBadHash}, {"!abc", reasonBadHash},
		{"#" + strings.Repeat("A", 64), reasonBadHash}, {"#" + strings.Repeat("a", 65), reasonBadHash},
	} {
		_, err := u.With(rules, "+get", refused.rule)
		assert.Equal(t, &RuleError{Rule: refused.rule, Reason: refused.reason}, err)
	}
}

// TestUsersShareNothing changes a copy in every way and looks at what it was copied from.
func TestUsersShareNothing(t *testing.T) {
	rules := rulesOf(t, "7.0")
	u := user(t, "7.0", "+get|a", "+select|1", "~a", "%R~b", "&c", ">p", "(+set ~d)")
	before := u.String()
	for _, words := range [][]string{
		{"+get|b", "+select|2"}, {"%W~b"}, {"~c"}, {"&d"}, {">q", "<p"}, {"(+get)"}, {"clearselectors"}, {"+@all"}, {"-@all"}, {"reset"}, {"resetkeys", "resetchannels"},
	} {
		_, err := u.With(rules, words...)
		require.NoError(t, err)
		require.Equal(t, before, u.String(), words)
	}
}

func TestSubscriptions(t *testing.T) {
	set := user(t, "7.0", "&a.*", "(&b)").Set()
	for channel, want := range map[string]bool{"a.x": true, "b": true, "c": false, "a.*": true} {
		assert.Equal(t, want, set.AllowsSubscription(channel, false), channel)
	}
	for pattern, want := range map[string]bool{"a.*": true, "b": true, "a.x": false, "*": false} {
		assert.Equal(t, want, set.AllowsSubscription(pattern, true), pattern)
	}
	assert.True(t, user(t, "7.0", "(allchannels)").Set().AllowsSubscription("*", true))
	assert.True(t, compile(t, "").AllowsSubscription("any", true), "6.0 has no rules about channels")
}

func TestReadsAnyKey(t *testing.T) {
	table := rulesOf(t, "7.0").table
	sort, args := table.Lookup([]byte("sort")), [][]byte{[]byte("sort"), []byte("k")}
	for words, want := range map[string]bool{
		"+sort ~*": true, "+sort %R~*": true, "+sort %W~* ~k": false, "+sort ~k": false, "+sort ~** ~k": false, "~*": false,
		"+sort ~k (+sort %R~*)": true, "+get ~* (+sort ~k)": false,
	} {
		assert.Equal(t, want, user(t, "7.0", strings.Split(words, " ")...).Set().ReadsAnyKey(sort, args), words)
	}
}

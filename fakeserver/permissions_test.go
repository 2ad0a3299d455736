package fakeserver_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/entracache/entracache/fakeserver"
	"github.com/entracache/entracache/fakeserver/internal/command"
	"github.com/entracache/entracache/fakeserver/internal/command/redistest"
)

// mayRun says of a command whether it can be run with any arguments: it answers once, soon, and leaves the connection and the
// server as they are for the next.
func mayRun(cmd *command.Command) bool {
	for _, flag := range []string{"admin", "blocking", "noscript", "no_auth", "pubsub", "no_multi"} {
		if cmd.HasFlag(flag) {
			return false
		}
	}
	for _, category := range []string{"connection", "transaction", "scripting"} {
		if cmd.InCategory(category) {
			return false
		}
	}
	switch cmd.Name {
	case "swapdb", "flushall", "flushdb", "lolwut", "info", "command", "restore-asking", "migrate", "debug":
		return false
	}
	return cmd.Subcommands == nil
}

// TestPermissionsInExecutionAgainstRealServer makes users of random rules on a real server and on the fake, and sends calls as
// each of them: queued in a transaction, run, and run by a script. What one refuses for want of permission, the other refuses
// with the same words; what one lets through, the other does. (Which rules allow which calls is compared for many more pairs,
// by what ACL DRYRUN says, in package acl.)
func TestPermissionsInExecutionAgainstRealServer(t *testing.T) {
	t.Parallel()
	const callsPerUser = 25
	table, err := command.ForLevel("7.0")
	require.NoError(t, err)
	var names []string
	for _, cmd := range table.Every() {
		if mayRun(cmd) {
			names = append(names, cmd.Name)
		}
	}
	require.Greater(t, len(names), 150)

	sides := [2]func() *client{}
	realAddr := redistest.Start(t).Options().Addr
	fake := open(t, fakeserver.ProfileOSS70)
	sides[0] = func() *client { return newClient(t, dialing(t, "unix", realAddr)()) }
	sides[1] = func() *client { return dialPlain(t, fake) }
	admins := [2]*client{sides[0](), sides[1]()}
	users := [2]*client{sides[0](), sides[1]()}

	key := rapid.StringMatching(`[abc]{1,2}|[ab]:c`)
	glob := rapid.StringMatching(`[abc]{0,2}[?*]?|\*|[ab]:\*`)
	name := rapid.SampledFrom(names)
	rule := rapid.OneOf(
		rapid.Custom(func(t *rapid.T) string {
			return rapid.SampledFrom([]string{"~", "~", "%R~", "%W~"}).Draw(t, "kind") + glob.Draw(t, "glob")
		}),
		rapid.Custom(func(t *rapid.T) string {
			return rapid.SampledFrom([]string{"+@", "-@"}).Draw(t, "sign") + rapid.SampledFrom(table.Categories()).Draw(t, "category")
		}),
		rapid.Custom(func(t *rapid.T) string {
			return rapid.SampledFrom([]string{"+", "-"}).Draw(t, "sign") + name.Draw(t, "name")
		}),
		rapid.Custom(func(t *rapid.T) string {
			return "(+" + name.Draw(t, "name") + " +@read %R~" + glob.Draw(t, "glob") + " %W~" + glob.Draw(t, "glob") + ")"
		}),
		rapid.Custom(func(t *rapid.T) string { return "&" + glob.Draw(t, "glob") }),
	)
	argument := rapid.OneOf(key, key, rapid.SampledFrom([]string{"0", "1", "2", "get", "store", "streams", "by", "a*", "*", "incrby", "copy"}))

	pairs, refused := 0, 0
	// both sends a call on both sides and compares the verdicts.
	both := func(t *rapid.T, call ...string) {
		theirs, ours := users[0].do(call...), users[1].do(call...)
		pairs++
		isDenied := func(reply string) bool {
			return strings.HasPrefix(reply, "-NOPERM ") || strings.HasPrefix(reply, "-ERR The user executing the script can't ") ||
				strings.HasPrefix(reply, "-ERR ") && strings.Contains(reply, "insufficient ACL permissions")
		}
		if isDenied(theirs) || isDenied(ours) {
			require.Equal(t, theirs, ours, "%q", call)
			refused++
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		rules := append([]string{"ACL", "SETUSER", "u", "reset", "on", "nopass"}, rapid.SliceOfN(rule, 1, 8).Draw(t, "rules")...)
		if rapid.Bool().Draw(t, "all commands at first") {
			rules = append(rules[:6:6], append([]string{"+@all"}, rules[6:]...)...)
		}
		rules = append(rules, "+multi", "+discard", "+eval", "+auth")
		theirs, ours := admins[0].do(rules...), admins[1].do(rules...)
		require.Equal(t, theirs, ours, "%q", rules)
		if theirs != "+OK\r\n" {
			return
		}
		for _, c := range users {
			require.Equal(t, "+OK\r\n", c.do("AUTH", "u", "x"))
		}
		for range callsPerUser {
			cmd := table.FindName(name.Draw(t, "command"))
			call := strings.Split(cmd.Name, "|")
			least := max(cmd.Arity, -cmd.Arity)
			if cmd.Arity < 0 {
				least += rapid.IntRange(0, 3).Draw(t, "more")
			}
			for len(call) < least {
				call = append(call, argument.Draw(t, "argument"))
			}
			both(t, call...)
			both(t, append([]string{"EVAL", "return redis.call(unpack(ARGV))", "0"}, call...)...)
			both(t, "MULTI")
			both(t, call...)
			both(t, "DISCARD")
		}
		for i, c := range users {
			require.Equal(t, "+OK\r\n", admins[i].do("FLUSHALL"))
			require.Equal(t, "+OK\r\n", c.do("AUTH", "default", "x"))
		}
	})
	t.Logf("%d calls, of which %d were refused", pairs, refused)
	assert.Greater(t, refused, 1000)
}

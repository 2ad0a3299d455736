package acl

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/entracache/entracache/fakeserver/internal/command"
	"github.com/entracache/entracache/fakeserver/internal/command/redistest"
)

// TestMatchGlobAgainstRealServer compares random patterns on random keys with what KEYS of a 7.0 server answers; its matcher
// is that of 6.0.20.
func TestMatchGlobAgainstRealServer(t *testing.T) {
	const (
		keyCount     = 250
		patternCount = 2000
	)
	client, ctx := redistest.Start(t), context.Background()
	random := rand.New(rand.NewPCG(6, 20)) // repeatable on purpose
	text := func(alphabet string, longest int) string {
		b := make([]byte, random.IntN(longest+1))
		for i := range b {
			b[i] = alphabet[random.IntN(len(alphabet))]
		}
		return string(b)
	}

	keys := map[string]bool{"": true}
	for len(keys) < keyCount {
		keys[text("aaabbc-]^[*\\\x00\x7f\x80\xff", 6)] = true
	}
	pipe := client.Pipeline()
	for key := range keys {
		pipe.Set(ctx, key, "", 0)
	}
	_, err := pipe.Exec(ctx)
	require.NoError(t, err)

	answers := map[string]*redis.StringSliceCmd{}
	for len(answers) < patternCount {
		// KEYS * does not ask the matcher.
		if pattern := text("aabbc**??[[]]--^\\\x00\x7f\x80\xff", 10); pattern != "*" {
			answers[pattern] = pipe.Keys(ctx, pattern)
		}
	}
	_, err = pipe.Exec(ctx)
	require.NoError(t, err)

	matches := 0
	for pattern, answer := range answers {
		var ours []string
		for key := range keys {
			if MatchGlob(pattern, []byte(key)) {
				ours = append(ours, key)
			}
		}
		theirs := answer.Val()
		slices.Sort(ours)
		slices.Sort(theirs)
		if !slices.Equal(theirs, ours) {
			t.Errorf("pattern %q\n  redis-server matches %q\n  MatchGlob matches    %q", pattern, theirs, ours)
		}
		matches += len(ours)
	}
	require.Greater(t, matches, patternCount, "the patterns match too little to tell anything")
}

// TestRefusedRulesAgainstRealServer puts the rules that 6.0 and 7.0 refuse alike to a 7.0 server.
func TestRefusedRulesAgainstRealServer(t *testing.T) {
	client := redistest.Start(t)
	asked := 0
	for i, test := range refusals {
		if !test.in70 {
			continue
		}
		call := []any{"ACL", "SETUSER", "u" + strconv.Itoa(i)}
		for rule := range strings.SplitSeq(test.permissions, " ") {
			call = append(call, rule)
		}
		err := client.Do(context.Background(), call...).Err()
		assert.EqualError(t, err, "ERR "+(&RuleError{Rule: test.rule, Reason: test.reason}).Error(), "%q", test.permissions)
		asked++
	}
	require.Greater(t, asked, 15)
}

// TestUsersAgainstRealServer makes users of random rules on a 7.0 server and here, and compares which rules are refused and
// how, how the users are described, and for each what they may run of some random calls: more than 10,000 pairs of rules
// and call in each run.
func TestUsersAgainstRealServer(t *testing.T) {
	const (
		callsPerUser = 300
		leastPairs   = 10_000
	)
	client, ctx := redistest.Start(t), context.Background()
	rules := rulesOf(t, "7.0")
	pairs, verdicts := 0, map[Verdict]int{}
	rapid.Check(t, func(t *rapid.T) {
		words := rapid.SliceOfN(ruleGenerator(rules.table, true), 0, 10).Draw(t, "rules")
		if rapid.IntRange(0, 4).Draw(t, "all commands at first") > 0 {
			words = slices.Insert(words, 0, "+@all")
		}
		if rapid.IntRange(0, 3).Draw(t, "an odd rule") == 0 {
			words = append(words, rapid.SampledFrom(oddRules).Draw(t, "rule"))
		}
		calls := rapid.SliceOfN(callGenerator(rules.table), callsPerUser, callsPerUser).Draw(t, "calls")

		setUser := []any{"ACL", "SETUSER", "u"}
		for _, word := range words {
			setUser = append(setUser, word)
		}
		pipe := client.Pipeline()
		pipe.Do(ctx, "ACL", "DELUSER", "u")
		set, list := pipe.Do(ctx, setUser...), pipe.Do(ctx, "ACL", "LIST")
		answers := make([]*redis.Cmd, len(calls))
		for i, call := range calls {
			answers[i] = pipe.Do(ctx, append([]any{"ACL", "DRYRUN", "u"}, call...)...)
		}
		_, _ = pipe.Exec(ctx) // each answer is looked at

		user, err := rules.NewUser().With(rules, words...)
		if err != nil {
			require.EqualError(t, set.Err(), "ERR "+err.Error())
			return
		}
		require.NoError(t, set.Err())
		described, err := list.StringSlice()
		require.NoError(t, err)
		require.Len(t, described, 2)
		// The engine names single commands in the order of a hash table.
		parens := strings.NewReplacer("(", "( ", ")", " )")
		require.ElementsMatch(t, strings.Fields(parens.Replace(described[1])), strings.Fields(parens.Replace("user u "+user.String())))

		for i, call := range calls {
			args := make([][]byte, len(call))
			for j := range call {
				args[j] = []byte(call[j].(string))
			}
			cmd, _ := rules.table.Find(args)
			if cmd == nil { // a container with what is no subcommand
				require.EqualError(t, answers[i].Err(), fmt.Sprintf("ERR Command '%s' not found", args[0]))
				continue
			}
			if !cmd.ArityOK(len(args)) {
				require.ErrorContains(t, answers[i].Err(), "wrong number of arguments")
				continue
			}
			verdict, at := user.Set().Explain(cmd, args)
			require.Equal(t, verdict, user.Set().Check(cmd, args))
			want := "OK"
			switch verdict {
			case DeniedCommand:
				want = fmt.Sprintf("This user has no permissions to run the '%s' command", cmd.Name)
			case DeniedKey:
				want = fmt.Sprintf("This user has no permissions to access the '%s' key", args[at])
			case DeniedChannel:
				want = fmt.Sprintf("This user has no permissions to access the '%s' channel", args[at])
			}
			got, err := answers[i].Text()
			require.NoError(t, err)
			require.Equal(t, want, got, "%q", call)
			pairs++
			verdicts[verdict]++
		}
	})
	t.Logf("%d pairs: %v", pairs, verdicts)
	require.GreaterOrEqual(t, pairs, leastPairs)
	for _, v := range []Verdict{OK, DeniedCommand, DeniedKey, DeniedChannel} {
		assert.Greater(t, verdicts[v], leastPairs/100, "too few are %s", v)
	}
}

// oddRules are about other things than permissions, or wrong.
var oddRules = []string{
	"", "on", "off", "nopass", "resetpass", ">a", "<a", "reset", "sanitize-payload", "skip-sanitize-payload", "#a", "!a",
	"#" + strings.Repeat("0", 64), "!" + strings.Repeat("0", 64), "+nope", "-nope|x", "+@nope", "%Q~a", "%R", "%~a", "%RR~a", "~a b", "clearselectors", "(", ")",
	"-get|a", "+config|get|x", "*", "(+get", "(+get ~a) ", "(on)", "()", "((~a)", "+get|", "+config|nope", "~*", "~a", "&a", "+", "-", "%", "&",
}

// ruleGenerator makes rules: mostly right ones, of commands that calls are made of too.
func ruleGenerator(table *command.Table, selectors bool) *rapid.Generator[string] {
	var names []string
	for _, c := range table.Every() {
		names = append(names, c.Name)
	}
	name := rapid.OneOf(rapid.SampledFrom(names), rapid.SampledFrom(callNames))
	glob := rapid.StringMatching(`[abc]{0,2}[?*]?|\*|[ab]:\*|\[a-b\]\*`)
	kinds := []*rapid.Generator[string]{
		rapid.SampledFrom([]string{
			"allkeys", "resetkeys", "allchannels", "resetchannels", "allcommands", "nocommands", "+@all", "-@all", "~*", "&*", "AllKeys", "%RW~*",
		}),
		rapid.Custom(func(t *rapid.T) string {
			return rapid.SampledFrom([]string{"+", "-"}).Draw(t, "sign") + name.Draw(t, "name")
		}),
		rapid.Custom(func(t *rapid.T) string {
			return rapid.SampledFrom([]string{"+@", "-@"}).Draw(t, "sign") + rapid.SampledFrom(table.Categories()).Draw(t, "category")
		}),
		rapid.Custom(func(t *rapid.T) string {
			return rapid.SampledFrom([]string{"~", "~", "%R~", "%W~", "%rW~"}).Draw(t, "kind") + glob.Draw(t, "glob")
		}),
		rapid.Custom(func(t *rapid.T) string { return "&" + glob.Draw(t, "glob") }),
		rapid.Custom(func(t *rapid.T) string {
			// A container takes its own subcommands only.
			c := table.FindName(name.Draw(t, "name"))
			if c.Container != nil || c.Subcommands != nil {
				return "+" + c.Name
			}
			return "+" + c.Name + "|" + rapid.SampledFrom([]string{"a", "get", "list", "x"}).Draw(t, "argument")
		}),
	}
	if selectors {
		inner := rapid.SliceOfN(ruleGenerator(table, false), 0, 5)
		selector := rapid.Custom(func(t *rapid.T) string { return "(" + strings.Join(inner.Draw(t, "selector"), " ") + ")" })
		kinds = append(kinds, selector, selector)
	}
	return rapid.OneOf(kinds...)
}

// callNames are commands that look at keys and channels in various ways; so that most calls are not refused as commands only.
var callNames = []string{
	"get", "set", "mset", "del", "exists", "type", "strlen", "append", "incr", "getset", "rename", "copy", "lmove", "blpop", "sort", "sort_ro", "eval",
	"fcall_ro", "zunionstore", "zunion", "xread", "xreadgroup", "bitfield", "bitop", "georadius", "migrate", "object|encoding", "memory|usage",
	"xinfo|stream", "publish", "spublish", "subscribe", "ssubscribe", "psubscribe", "unsubscribe", "config|get", "config|set", "client|id", "acl|list",
	"select", "keys", "ping", "auth", "hello", "quit", "reset", "command", "config", "lmpop", "bzmpop", "sintercard", "smove", "pfmerge", "watch",
}

func callGenerator(table *command.Table) *rapid.Generator[[]any] {
	var names []string
	for _, c := range table.Every() {
		names = append(names, c.Name)
	}
	name := rapid.OneOf(rapid.SampledFrom(callNames), rapid.SampledFrom(callNames), rapid.SampledFrom(names))
	argument := rapid.OneOf(
		rapid.StringMatching(`[abc]{1,2}|[ab]:c`),
		rapid.SampledFrom([]string{"", "0", "1", "2", "get", "GET", "set", "store", "keys", "streams", "by", "a*", "*", "b:*"}),
	)
	return rapid.Custom(func(t *rapid.T) []any {
		var call []any
		full := name.Draw(t, "name")
		for part := range strings.SplitSeq(full, "|") {
			call = append(call, part)
		}
		least := table.FindName(full).Arity
		if least < 0 {
			least = -least + rapid.IntRange(0, 4).Draw(t, "more")
		}
		for len(call) < least {
			call = append(call, argument.Draw(t, "argument"))
		}
		return call
	})
}

package acl

import (
	"context"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

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
	random := rand.New(rand.NewPCG(6, 20)) //nolint:gosec // repeatable on purpose
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

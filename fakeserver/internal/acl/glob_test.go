package acl

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

func TestMatchGlob(t *testing.T) {
	for _, test := range []struct {
		pattern string
		yes, no string // separated by spaces; '' is the empty string
	}{
		{"", "''", "a"},
		{"abc", "abc", "'' ab abcd Abc"},
		{"*", "a abc", "''"},
		{"**", "a abc", "''"},
		{"a*", "a ab abc", "'' b ba"},
		{"*a", "a ba aba", "'' ab"},
		{"a*c", "ac abc abcc acbc", "a ab cab"},
		{"a**c", "ac abc", "ab"},
		{"*a*b*", "ab xaxbx aab", "ba a b"},
		{"*ab*ab", "abab aabab abxab", "ab aba"},
		{"a***", "a ab", "b"},
		{"?", "a *", "'' ab"},
		{"a?c", "abc a?c", "ac abbc"},
		{"*?", "a ab", "''"},
		{"[abc]d", "ad bd cd", "d dd abcd [abc]d"},
		{"[^abc]", "d ^ ]", "a b c '' dd"},
		{"[a-c]", "a b c", "d - A"},
		{"[c-a]", "a b c", "d -"},
		{"[a-]", "^ _ ] a", "- b \\"},
		{"[-a]", "- a", "b"},
		{"[^a-c]x", "dx", "ax bx"},
		{`[\]]`, "]", `\ a`},
		{`[a\-c]`, "a - c", `b \`},
		{"[]", "", "a ] []"},
		{"[^]", "a ] ^", "''"},
		{"[", "", "[ a ''"},
		{"[^", "a [ ^", "'' ab"},
		{"x[ab", "xa xb", "x xc x[ab"},
		{"[a", "a", "b"},
		{`[\`, `\`, "a"},
		{"[a-c", "a b c", "-"},
		{`\*`, "*", `a \*`},
		{`\a`, "a", `\a`},
		{`a\`, `a\`, "a"},
		{`\\`, `\`, `\\`},
		{`*\`, `\ a\`, "a"},
		{"[a-c]*[0-9]", "a1 bxx9", "a d1 a1x"},
		{"user:*:x", "user:1:x user::x user:a:b:x", "user:1 user:x"},
	} {
		for _, s := range strings.Fields(test.yes) {
			assert.True(t, MatchGlob(test.pattern, unquote(s)), "%q must match %q", test.pattern, s)
		}
		for _, s := range strings.Fields(test.no) {
			assert.False(t, MatchGlob(test.pattern, unquote(s)), "%q must not match %q", test.pattern, s)
		}
	}
}

func unquote(s string) []byte {
	if s == "''" {
		return nil
	}
	return []byte(s)
}

func TestMatchGlobReadsRangesAsSignedBytes(t *testing.T) {
	// From -128 to 97, as the bytes are signed.
	assert.True(t, MatchGlob("[\x80-a]", []byte("\xff")))
	assert.True(t, MatchGlob("[\x80-a]", []byte("\x00")))
	assert.False(t, MatchGlob("[\x80-a]", []byte("b")))
}

// TestMatchGlobIsNotExponential uses a pattern on which a matcher that tries every star's every length never ends.
func TestMatchGlobIsNotExponential(t *testing.T) {
	done := make(chan bool, 1)
	go func() {
		done <- MatchGlob(strings.Repeat("a*", 1000)+"b", []byte(strings.Repeat("a", 10000)))
	}()
	select {
	case matched := <-done:
		assert.False(t, matched)
	case <-time.After(time.Minute):
		t.Fatal("no answer within a minute: the matcher tries every length of every star")
	}
}

// FuzzKeyPattern holds the shortcuts of compiled patterns against the matcher itself.
func FuzzKeyPattern(f *testing.F) {
	for _, seed := range [][2]string{
		{"", ""}, {"a", "a"}, {"a", "ab"}, {"a*", "a"}, {"a*", "ab"}, {"*", ""}, {"**", "a"}, {"a**", "ab"}, {`a\*`, "a*"},
		{"[a]*", "ab"}, {"a?*", "ab"}, {"a*b*", "acbd"}, {"\x80*", "\x80"},
	} {
		f.Add(seed[0], []byte(seed[1]))
	}
	f.Fuzz(func(t *testing.T, glob string, key []byte) {
		pattern := newKeyPattern(glob, permitAll)
		if got, want := pattern.mayMatch(headOf(key)) && pattern.matches(key), MatchGlob(glob, key); got != want {
			t.Fatalf("compiled pattern %q on %q: %t, but MatchGlob says %t", glob, key, got, want)
		}
	})
}

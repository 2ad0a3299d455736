package acl

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

// TestHeadOfAKey: whatever its length, a key's first bytes are in their places.
func TestHeadOfAKey(t *testing.T) {
	key := []byte("\x01\x02\xff\x04\x05\x06\x07\x08\x09")
	for n := range len(key) + 1 {
		var want uint64
		for i, b := range key[:min(n, 8)] {
			want |= uint64(b) << (8 * i)
		}
		assert.Equal(t, want, headOf(key[:n]), "%d bytes", n)
	}
}

// TestPatternsBesideOthers: several patterns match what they match alone.
func TestPatternsBesideOthers(t *testing.T) {
	globs := []string{"", "a", "ab*", "abcdefgh", "abcdefghi*", "abcdefg?", "abcd[ef]gh", "*h", `ab\*c`, "[a]b", "?"}
	keys := []string{"", "a", "ab", "abc", "abcdefg", "abcdefgh", "abcdefghi", "abcdefghij", "abcdfgh", "ab*c", "abxc", "b", "h"}
	for _, glob := range globs {
		alone := newKeyPattern(glob, permitAll)
		beside := selector{patterns: []keyPattern{newKeyPattern("nothing", permitAll), alone}}
		for _, key := range keys {
			assert.Equal(t, MatchGlob(glob, []byte(key)), alone.mayMatch(headOf([]byte(key))) && alone.matches([]byte(key)), "%q %q", glob, key)
			assert.Equal(t, MatchGlob(glob, []byte(key)), beside.deniedOf([][]byte{nil, []byte(key)}, 1, 1, 1, permitAll) == 0, "%q %q", glob, key)
		}
	}
}

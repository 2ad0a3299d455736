package acl

import "strings"

// keyPattern is a compiled key pattern. Nearly all patterns are a plain prefix and a star; comparing that prefix is several
// times faster than MatchGlob, and a key is checked for every command.
type keyPattern struct {
	kind patternKind
	// text is the key, the prefix or the glob, by kind.
	text string
}

type patternKind uint8

const (
	anyGlob patternKind = iota
	exactKey
	keyPrefix
)

const globBytes = `*?[\`

func newKeyPattern(glob string) keyPattern {
	if !strings.ContainsAny(glob, globBytes) {
		return keyPattern{exactKey, glob}
	}
	// Not for "*" alone: it does not match the empty key, as an empty prefix would.
	if prefix := strings.TrimSuffix(glob, "*"); prefix != "" && !strings.ContainsAny(prefix, globBytes) {
		return keyPattern{keyPrefix, prefix}
	}
	return keyPattern{anyGlob, glob}
}

func (p *keyPattern) matches(key []byte) bool {
	switch p.kind {
	case exactKey:
		return string(key) == p.text
	case keyPrefix:
		return len(key) >= len(p.text) && string(key[:len(p.text)]) == p.text
	default:
		return MatchGlob(p.text, key)
	}
}

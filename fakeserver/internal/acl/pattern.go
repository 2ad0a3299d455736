package acl

import (
	"strings"

	"github.com/entracache/entracache/fakeserver/internal/command"
)

// permission is what a key pattern permits.
type permission uint8

const (
	permitRead permission = 1 << iota
	permitWrite
	permitAll = permitRead | permitWrite
)

// needed is the permission for what a command does with a key. Where the engine does not know (levels 6.x) or the command
// only looks whether the key is there, any pattern will do.
func needed(flags command.KeyFlags) permission {
	var p permission
	if flags.Reads() {
		p |= permitRead
	}
	if flags.Writes() {
		p |= permitWrite
	}
	return p
}

// keyPattern is a compiled key pattern. Nearly all patterns are a plain prefix and a star; comparing that prefix is several
// times faster than MatchGlob, and a key is checked for every command.
type keyPattern struct {
	kind    patternKind
	permits permission
	// text is the key, the prefix or the glob, by kind.
	text string
	glob string // as it was written
}

type patternKind uint8

const (
	anyGlob patternKind = iota
	exactKey
	keyPrefix
)

const globBytes = `*?[\`

func newKeyPattern(glob string, permits permission) keyPattern {
	p := keyPattern{kind: anyGlob, permits: permits, text: glob, glob: glob}
	if !strings.ContainsAny(glob, globBytes) {
		p.kind = exactKey
	} else if prefix := strings.TrimSuffix(glob, "*"); prefix != "" && !strings.ContainsAny(prefix, globBytes) {
		// Not for "*" alone: it does not match the empty key, as an empty prefix would.
		p.kind, p.text = keyPrefix, prefix
	}
	return p
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

// String is the rule that makes the pattern.
func (p *keyPattern) String() string {
	switch p.permits {
	case permitRead:
		return "%R~" + p.glob
	case permitWrite:
		return "%W~" + p.glob
	default:
		return "~" + p.glob
	}
}

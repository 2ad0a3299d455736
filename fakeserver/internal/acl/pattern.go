package acl

import (
	"encoding/binary"
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
	// mask and head hold the first bytes of every key that the pattern matches, as headOf does: most keys that it does not
	// match are told from them.
	mask, head uint64
	// text is the key, the prefix or the glob, by kind.
	text string
	glob string // as it was written
}

type patternKind uint8

const (
	anyGlob patternKind = iota
	exactKey
	keyPrefix
	// shortPrefix is a prefix that the head holds whole.
	shortPrefix
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
	first, _, _ := strings.Cut(glob, "*")
	if i := strings.IndexAny(first, globBytes); i >= 0 {
		first = first[:i]
	}
	p.head = headOf([]byte(first))
	if n := min(len(first), headSize); n > 0 {
		p.mask = ^uint64(0) >> (8 * (headSize - n))
	}
	if p.kind == keyPrefix && len(p.text) <= headSize {
		p.kind = shortPrefix
	}
	return p
}

const headSize = 8

// headOf holds the first eight bytes of a key, the first in the lowest place; a shorter key is filled up with zeros.
func headOf(key []byte) uint64 {
	if len(key) < headSize {
		return shortHead(key)
	}
	return binary.LittleEndian.Uint64(key)
}

// shortHead is headOf for less than eight bytes. The middle is read twice.
func shortHead(key []byte) uint64 {
	n := len(key)
	if n >= 4 {
		return uint64(binary.LittleEndian.Uint32(key)) | uint64(binary.LittleEndian.Uint32(key[n-4:]))<<(8*n-32)
	}
	if n == 0 {
		return 0
	}
	return uint64(key[0]) | uint64(key[n/2])<<(n/2*8) | uint64(key[n-1])<<(n*8-8)
}

// mayMatch tells most keys that the pattern does not match; head is the key's headOf.
func (p *keyPattern) mayMatch(head uint64) bool { return head&p.mask == p.head }

// matches says whether the pattern matches a key that mayMatch.
func (p *keyPattern) matches(key []byte) bool {
	switch p.kind {
	case shortPrefix:
		return len(key) >= len(p.text) // a key may be shorter than the zeros at the prefix's end
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

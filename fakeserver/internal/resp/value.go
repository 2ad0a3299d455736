package resp

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"strconv"
)

// ErrIncomplete says that a reply has not arrived whole.
var ErrIncomplete = errors.New("resp: the reply is incomplete, read more of it")

// maxDepth is how deeply aggregates may be nested. Redis' own replies stay below ten.
const maxDepth = 128

// Kind is the first byte of a reply on the wire.
type Kind byte

// The kinds of replies of RESP2 and RESP3.
const (
	KindSimple    Kind = '+'
	KindError     Kind = '-'
	KindInt       Kind = ':'
	KindBulk      Kind = '$'
	KindArray     Kind = '*'
	KindNull      Kind = '_'
	KindBool      Kind = '#'
	KindDouble    Kind = ','
	KindBigNumber Kind = '('
	KindBulkError Kind = '!'
	KindVerbatim  Kind = '='
	KindMap       Kind = '%'
	KindSet       Kind = '~'
	KindPush      Kind = '>'
	KindAttribute Kind = '|'
)

// Value is one reply.
type Value struct {
	Kind Kind
	// Text of a string, error, double or big number; of a verbatim string without its format.
	Text []byte
	// Format of a verbatim string, "txt" or "mkd".
	Format string
	// Int of an integer; 0 or 1 of a truth value.
	Int int64
	// Elems of an array, set or push; of a map its keys and values in turn.
	Elems []Value
	// Null marks RESP2's null string ($-1) and null array (*-1). RESP3's null has its own kind; IsNull knows both.
	Null bool
	// Attributes that preceded the reply, keys and values in turn.
	Attributes []Value
}

// IsNull reports whether the reply is a null of any form.
func (v Value) IsNull() bool { return v.Null || v.Kind == KindNull }

// Parse reads the first reply of b and returns it and the bytes after it. The value refers to b, not to a copy. The
// error is ErrIncomplete where b ends too early; any other error means that b does not hold a reply.
func Parse(b []byte) (v Value, rest []byte, err error) { return parse(b, 0) }

func parse(b []byte, depth int) (Value, []byte, error) {
	if depth > maxDepth {
		return Value{}, b, fmt.Errorf("resp: replies nested more than %d deep", maxDepth)
	}
	t, rest, err := nextToken(b)
	if err != nil {
		return Value{}, b, err
	}
	v := Value{Kind: t.kind, Text: t.text, Format: t.format, Int: t.number, Null: t.null}
	if t.elems == 0 {
		if t.kind != KindAttribute {
			return v, rest, nil
		}
		attributed, rest, err := parse(rest, depth+1)
		if err != nil {
			return Value{}, b, err
		}
		return attributed, rest, nil
	}
	// The announced number may be a lie; each element takes at least three bytes.
	v.Elems = make([]Value, 0, min(t.elems, int64(len(rest)/3)))
	for range t.elems {
		var e Value
		if e, rest, err = parse(rest, depth+1); err != nil {
			return Value{}, b, err
		}
		v.Elems = append(v.Elems, e)
	}
	if t.kind != KindAttribute {
		return v, rest, nil
	}
	attributed, rest, err := parse(rest, depth+1)
	if err != nil {
		return Value{}, b, err
	}
	attributed.Attributes = append(v.Elems, attributed.Attributes...)
	return attributed, rest, nil
}

// SplitReply returns the bytes of the first reply of b, with its attributes if it has any, and the bytes after it.
// Errors are those of Parse.
func SplitReply(b []byte) (reply, rest []byte, err error) {
	rest = b
	for missing := int64(1); missing > 0; missing-- {
		var t token
		if t, rest, err = nextToken(rest); err != nil {
			return nil, b, err
		}
		if missing > math.MaxInt64-t.elems-1 {
			return nil, b, fmt.Errorf("resp: a reply of more than %d elements", missing)
		}
		missing += t.elems
		if t.kind == KindAttribute {
			missing++ // the reply that it belongs to
		}
	}
	return b[:len(b)-len(rest)], rest, nil
}

// token is a reply without its elements.
type token struct {
	kind   Kind
	text   []byte
	format string
	number int64
	elems  int64
	null   bool
}

func nextToken(b []byte) (t token, rest []byte, err error) {
	end := bytes.Index(b, []byte("\r\n"))
	if end < 0 {
		if len(b) > 0 && !isKind(b[0]) {
			return t, b, fmt.Errorf("resp: expected a reply, got one that begins with %q", b[0])
		}
		return t, b, ErrIncomplete
	}
	if end == 0 {
		return t, b, errors.New("resp: expected a reply, got an empty line")
	}
	t.kind = Kind(b[0])
	line := b[1:end]
	rest = b[end+2:]
	bad := func() (token, []byte, error) {
		return token{}, b, fmt.Errorf("resp: expected a reply, got %q", b[:min(end, 64)])
	}
	switch t.kind {
	case KindSimple, KindError, KindBigNumber:
		t.text = line
	case KindInt:
		if t.number, err = strconv.ParseInt(string(line), 10, 64); err != nil {
			return bad()
		}
	case KindNull:
		if len(line) > 0 {
			return bad()
		}
	case KindBool:
		switch string(line) {
		case "t":
			t.number = 1
		case "f":
		default:
			return bad()
		}
	case KindDouble:
		if _, err := strconv.ParseFloat(string(line), 64); err != nil {
			return bad()
		}
		t.text = line
	case KindBulk, KindBulkError, KindVerbatim:
		size, ok := parseInt(line)
		switch {
		case ok && size == -1 && t.kind == KindBulk:
			t.null = true
			return t, rest, nil
		case !ok || size < 0 || t.kind == KindVerbatim && size < 4:
			return bad()
		case int64(len(rest))-2 < size:
			return token{}, b, ErrIncomplete
		case string(rest[size:size+2]) != "\r\n":
			return token{}, b, fmt.Errorf("resp: expected a line end after a string of %d bytes, got %q", size, rest[size:size+2])
		}
		t.text, rest = rest[:size], rest[size+2:]
		if t.kind == KindVerbatim {
			if t.text[3] != ':' {
				return bad()
			}
			t.format, t.text = string(t.text[:3]), t.text[4:]
		}
	case KindArray, KindMap, KindSet, KindPush, KindAttribute:
		count, ok := parseInt(line)
		switch {
		case ok && count == -1 && t.kind == KindArray:
			t.null = true
			return t, rest, nil
		case !ok || count < 0 || count > math.MaxInt32:
			return bad()
		}
		t.elems = count
		if t.kind == KindMap || t.kind == KindAttribute {
			t.elems *= 2
		}
	default:
		return bad()
	}
	return t, rest, nil
}

func isKind(c byte) bool { return bytes.IndexByte([]byte("+-:$*_#,(!=%~>|"), c) >= 0 }

// Append appends the reply in the given protocol version, 2 or 3. A reply that was parsed from RESP2 becomes RESP3 where
// its kind has been changed first: an engine's array of names and values, say, into a map.
func (v Value) Append(b []byte, proto int) []byte {
	if len(v.Attributes) > 0 && proto >= 3 {
		b = appendHeader(b, byte(KindAttribute), int64(len(v.Attributes)/2))
		b = appendAll(b, proto, v.Attributes)
	}
	switch v.Kind {
	case KindSimple:
		return AppendSimple(b, string(v.Text))
	case KindError:
		return AppendError(b, string(v.Text))
	case KindBulkError:
		if proto < 3 {
			return AppendError(b, string(v.Text))
		}
		b = appendHeader(b, '!', int64(len(v.Text)))
		b = append(b, v.Text...)
		return append(b, '\r', '\n')
	case KindInt:
		return AppendInt(b, v.Int)
	case KindBool:
		return AppendBool(b, proto, v.Int != 0)
	case KindDouble:
		if proto < 3 {
			return AppendBulk(b, v.Text)
		}
		return appendLine(b, ',', string(v.Text))
	case KindBigNumber:
		return AppendBigNumber(b, proto, string(v.Text))
	case KindVerbatim:
		return AppendVerbatim(b, proto, v.Format, v.Text)
	case KindArray:
		if v.Null {
			return AppendNullArray(b, proto)
		}
		return appendAll(AppendArray(b, len(v.Elems)), proto, v.Elems)
	case KindMap:
		return appendAll(AppendMap(b, proto, len(v.Elems)/2), proto, v.Elems)
	case KindSet:
		return appendAll(AppendSet(b, proto, len(v.Elems)), proto, v.Elems)
	case KindPush:
		return appendAll(AppendPush(b, proto, len(v.Elems)), proto, v.Elems)
	case KindBulk:
		if !v.Null {
			return AppendBulk(b, v.Text)
		}
	}
	return AppendNull(b, proto)
}

func appendAll(b []byte, proto int, elems []Value) []byte {
	for _, e := range elems {
		b = e.Append(b, proto)
	}
	return b
}

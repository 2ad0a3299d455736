package keyspace

import (
	"math"
	"slices"
	"strconv"

	"github.com/entracache/entracache/fakeserver/internal/resp"
)

// quick runs a command on held values, if that is possible.
func (t *Tx) quick(dst []byte, c Call) (out []byte, done bool) {
	e, s, args := t.e, c.Session, c.Args
	switch c.Command.Name {
	case "get":
		if h := e.heldString(s, args[1]); h != nil {
			return resp.AppendBulk(dst, h.value), true
		}
		if e.held[s.db][string(args[1])] == nil && !e.mini.DB(s.db).Exists(string(args[1])) {
			return resp.AppendNull(dst, c.Proto), true
		}
	case "set":
		if len(args) == 3 && e.set(s, args[1:]) {
			t.wrote(s, args[1])
			return append(dst, "+OK\r\n"...), true
		}
	case "mset":
		if e.set(s, args[1:]) {
			for i := 1; i < len(args); i += 2 {
				t.wrote(s, args[i])
			}
			return append(dst, "+OK\r\n"...), true
		}
	case "mget":
		return e.mget(dst, s, args[1:])
	case "incr":
		return t.add(dst, c, 1)
	case "decr":
		return t.add(dst, c, -1)
	case "incrby":
		if by, ok := canonicalInt(args[2]); ok {
			return t.add(dst, c, by)
		}
	case "decrby":
		if by, ok := canonicalInt(args[2]); ok && by != math.MinInt64 {
			return t.add(dst, c, -by)
		}
	case "append":
		if h := e.heldString(s, args[1]); h != nil && len(h.value)+len(args[2]) <= maxString {
			h.value = append(h.value, args[2]...)
			h.stale = true
			t.wrote(s, args[1])
			return resp.AppendInt(dst, int64(len(h.value))), true
		}
	case "strlen":
		if h := e.heldString(s, args[1]); h != nil {
			return resp.AppendInt(dst, int64(len(h.value))), true
		}
	case "lpush", "rpush", "lpushx", "rpushx":
		return t.push(dst, c)
	case "lpop", "rpop":
		if h := e.heldList(s, args[1]); h != nil && h.list.n > 1 && len(args) == 2 {
			h.stale = true
			t.wrote(s, args[1])
			return resp.AppendBulkString(dst, h.list.pop(c.Command.Name == "lpop")), true
		}
	case "rpoplpush":
		return t.move(dst, c)
	case "llen":
		if h := e.heldList(s, args[1]); h != nil {
			return resp.AppendInt(dst, int64(h.list.n)), true
		}
	case "lindex":
		if h := e.heldList(s, args[1]); h != nil {
			i, ok := canonicalInt(args[2])
			if i < 0 {
				i += int64(h.list.n)
			}
			if ok && i >= 0 && i < int64(h.list.n) {
				return resp.AppendBulkString(dst, h.list.at(int(i))), true
			}
		}
	case "lrange":
		if h := e.heldList(s, args[1]); h != nil {
			from, to, ok := listRange(h.list.n, args[2], args[3])
			if ok {
				dst = resp.AppendArray(dst, to-from)
				for i := from; i < to; i++ {
					dst = resp.AppendBulkString(dst, h.list.at(i))
				}
				return dst, true
			}
		}
	case "ltrim":
		if h := e.heldList(s, args[1]); h != nil {
			from, to, ok := listRange(h.list.n, args[2], args[3])
			if ok && from < to {
				for range h.list.n - to {
					h.list.pop(false)
				}
				for range from {
					h.list.pop(true)
				}
				h.stale = true
				t.wrote(s, args[1])
				return append(dst, "+OK\r\n"...), true
			}
		}
	}
	return dst, false
}

// set sets all of the keys, or none if one is not a held string.
func (e *Engine) set(s *Session, pairs [][]byte) bool {
	if len(pairs)%2 != 0 {
		return false
	}
	for i := 0; i < len(pairs); i += 2 {
		// A time to live would have to go.
		if h := e.heldString(s, pairs[i]); h == nil || h.volatile || len(pairs[i+1]) > maxHeld {
			return false
		}
	}
	for i := 0; i < len(pairs); i += 2 {
		h := e.heldString(s, pairs[i])
		h.value = append(h.value[:0], pairs[i+1]...)
		h.stale = true
	}
	return true
}

func (e *Engine) mget(dst []byte, s *Session, keys [][]byte) ([]byte, bool) {
	start := len(dst)
	dst = resp.AppendArray(dst, len(keys))
	for _, k := range keys {
		h := e.heldString(s, k)
		if h == nil {
			return dst[:start], false
		}
		dst = resp.AppendBulk(dst, h.value)
	}
	return dst, true
}

func (t *Tx) add(dst []byte, c Call, by int64) ([]byte, bool) {
	h := t.e.heldString(c.Session, c.Args[1])
	if h == nil {
		return dst, false
	}
	n, ok := canonicalInt(h.value)
	if !ok || by > 0 && n > math.MaxInt64-by || by < 0 && n < math.MinInt64-by {
		return dst, false
	}
	h.value = strconv.AppendInt(h.value[:0], n+by, 10)
	h.stale = true
	t.wrote(c.Session, c.Args[1])
	return resp.AppendInt(dst, n+by), true
}

// push is LPUSH, RPUSH and their X forms.
func (t *Tx) push(dst []byte, c Call) ([]byte, bool) {
	e, s, key, elements := t.e, c.Session, c.Args[1], c.Args[2:]
	front := c.Command.Name[0] == 'l'
	var h *held
	if front {
		h = e.longListOf(s, key, len(elements))
	} else {
		h = e.heldList(s, key) // the engine is as quick at this end
	}
	if h == nil {
		in := e.mini.DB(s.db)
		if c.Command.Name != "lpush" || len(elements) < longList || in.Exists(string(key)) {
			return dst, false
		}
		list := stringArgs(elements)
		slices.Reverse(list)
		n, _ := in.Push(string(key), list...)
		t.wrote(s, key)
		return resp.AppendInt(dst, int64(n)), true
	}
	for _, v := range elements {
		h.list.push(front, string(v))
	}
	h.stale = true
	t.wrote(s, key)
	return resp.AppendInt(dst, int64(h.list.n)), true
}

// move is RPOPLPUSH where a long list is at one of its ends.
func (t *Tx) move(dst []byte, c Call) ([]byte, bool) {
	e, s, src, dest := t.e, c.Session, c.Args[1], c.Args[2]
	in := e.mini.DB(s.db)
	to := e.longListOf(s, dest, 1)
	from := e.heldList(s, src)
	switch {
	case to == nil && from == nil, from != nil && from.list.n < 2:
		return dst, false
	case to == nil:
		if was := in.Type(string(dest)); was != "" && was != "list" {
			return dst, false
		}
	}
	var v string
	if from != nil {
		v = from.list.pop(false)
		from.stale = true
	} else {
		var err error
		if v, err = in.Pop(string(src)); err != nil {
			return dst, false
		}
	}
	if to != nil {
		to.list.push(true, v)
		to.stale = true
	} else {
		_, _ = in.Lpush(string(dest), v) // it is a list or nothing
	}
	t.wrote(s, src)
	t.wrote(s, dest)
	return resp.AppendBulkString(dst, v), true
}

// listRange turns a start and an end as LRANGE takes them into those of a
// slice of n elements.
func listRange(n int, start, end []byte) (from, to int, ok bool) {
	a, okA := canonicalInt(start)
	b, okB := canonicalInt(end)
	if !okA || !okB {
		return 0, 0, false
	}
	if a < 0 {
		a = max(0, a+int64(n))
	}
	if b < 0 {
		b += int64(n)
	}
	b = min(b, int64(n)-1)
	if a > b {
		return 0, 0, true
	}
	return int(a), int(b) + 1, true
}

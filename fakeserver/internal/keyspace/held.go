package keyspace

import "strconv"

// The engine takes a microsecond for the simplest command, and for LPUSH and
// APPEND a time in proportion to what is there already. So the values that such commands work on
// are held here, in front of it, as in a write-back cache:
//
//   - A key that is held exists in the engine, with the same type and time to
//     live; only its value there may be older (stale). So whatever is about
//     keys and not about values (KEYS, SCAN, DBSIZE, EXISTS, TYPE) is right
//     without a look here.
//   - Before the engine runs any call, from a client or from a script, the held
//     values of all keys among its arguments are written back, and unless the
//     call only reads they are no longer held. Which arguments are keys, and of
//     which database, does not matter for that: writing back too much changes
//     nothing that a client can see.
//   - FLUSHALL, FLUSHDB and SWAPDB name no keys, so they end all holding.
//   - A key that expires is no longer held.
//   - A value that is written back counts as a change for WATCH, as it was one;
//     before the versions of watched keys are noted or compared they are
//     written back.
//
// A command is run on a held value only in the plain cases. The rest (no such
// key, another type, a number that is none, the last element of a list) is left
// to the engine, which so decides what is an error and how it reads.
//
// TestHeldValuesCannotBeTold holds this against an engine that holds nothing.
type held struct {
	value    []byte // of a string
	list     *deque // of a list; nil for a string
	volatile bool   // a string with a time to live
	stale    bool   // the engine's value is older
}

// maxHeld is the longest string in bytes that GET, SET and the like cause to be
// held: what is longer costs more to copy than the engine costs.
const maxHeld = 16 << 10

// longList is the length from which a list is held: the engine's LPUSH copies
// the list, which is as good as anything while it is short.
const longList = 128

func (e *Engine) heldString(s *Session, key []byte) *held {
	if h := e.held[s.db][string(key)]; h != nil && h.list == nil {
		return h
	}
	return nil
}

func (e *Engine) heldList(s *Session, key []byte) *held {
	if h := e.held[s.db][string(key)]; h != nil && h.list != nil {
		return h
	}
	return nil
}

func (e *Engine) hold(db int, key string, h *held) {
	if e.held[db] == nil {
		e.held[db] = map[string]*held{}
	}
	e.held[db][key] = h
}

// holdString holds a string that the engine has just answered with or been
// given.
func (e *Engine) holdString(s *Session, key, value []byte, volatile bool) {
	if len(value) <= maxHeld {
		e.hold(s.db, string(key), &held{value: append(make([]byte, 0, len(value)+8), value...), volatile: volatile})
	}
}

// longListOf returns the list at key, held from now on, if there is one and it
// is long or will be when so many elements come to it; nil otherwise.
func (e *Engine) longListOf(s *Session, key []byte, more int) *held {
	if h := e.heldList(s, key); h != nil {
		return h
	}
	if e.held[s.db][string(key)] != nil {
		return nil
	}
	list, err := e.mini.DB(s.db).List(string(key))
	if err != nil || len(list)+more < longList {
		return nil
	}
	h := &held{list: newDeque(list)}
	e.hold(s.db, string(key), h)
	return h
}

// writeBack brings the engine's value up to date. The key keeps its time to
// live.
func (e *Engine) writeBack(db int, key string, h *held) {
	if !h.stale {
		return
	}
	h.stale = false
	in := e.mini.DB(db)
	ttl := in.TTL(key)
	if h.list == nil {
		_ = in.Set(key, string(h.value)) // it is a string there, too
	} else {
		in.Del(key)
		_, _ = in.Push(key, h.list.list()...)
	}
	if ttl != 0 {
		in.SetTTL(key, ttl)
	}
}

// release prepares the engine for a call with these arguments. reads says that
// it changes no key. The engine must not be locked.
func (e *Engine) release(name string, args []string, reads bool) {
	switch name {
	case "FLUSHALL", "FLUSHDB", "SWAPDB":
		for db, keys := range e.held {
			for key, h := range keys {
				e.writeBack(db, key, h)
			}
			e.held[db] = nil
		}
		return
	}
	for db, keys := range e.held {
		if len(keys) == 0 {
			continue
		}
		for _, key := range args {
			if h := keys[key]; h != nil {
				e.writeBack(db, key, h)
				if !reads {
					delete(keys, key)
				}
			}
		}
	}
}

func (e *Engine) holdsAny() bool {
	for _, keys := range e.held {
		if len(keys) > 0 {
			return true
		}
	}
	return false
}

// learn holds the strings that a command has shown.
func (e *Engine) learn(c Call, reply []byte) {
	if len(reply) == 0 || len(c.Args) < 2 {
		return
	}
	switch c.Command.Name {
	case "get":
		if value, ok := bulk(reply); ok {
			e.holdString(c.Session, c.Args[1], value, e.mini.DB(c.Session.db).TTL(string(c.Args[1])) != 0)
		}
	case "set":
		if len(c.Args) == 3 && reply[0] == '+' {
			e.holdString(c.Session, c.Args[1], c.Args[2], false)
		}
	case "mset":
		if reply[0] == '+' {
			for i := 1; i+1 < len(c.Args); i += 2 {
				e.holdString(c.Session, c.Args[i], c.Args[i+1], false)
			}
		}
	case "append":
		// Whatever its length: the engine copies the string each time.
		if in, key := e.mini.DB(c.Session.db), string(c.Args[1]); reply[0] == ':' {
			value, _ := in.Get(key)
			e.hold(c.Session.db, key, &held{value: []byte(value), volatile: in.TTL(key) != 0})
		}
	case "incr", "decr", "incrby", "decrby":
		if reply[0] == ':' {
			e.holdString(c.Session, c.Args[1], reply[1:len(reply)-2], e.mini.DB(c.Session.db).TTL(string(c.Args[1])) != 0)
		}
	}
}

// bulk returns the content of a bulk string reply.
func bulk(reply []byte) ([]byte, bool) {
	if reply[0] != '$' || reply[1] == '-' {
		return nil, false
	}
	i := 1
	for reply[i] != '\n' {
		i++
	}
	return reply[i+1 : len(reply)-2], true
}

// canonicalInt reads a number that is written as Redis writes it, so that
// every reader of numbers agrees on it.
func canonicalInt(b []byte) (int64, bool) {
	if len(b) == 0 || len(b) > 20 {
		return 0, false
	}
	n, err := strconv.ParseInt(string(b), 10, 64)
	if err != nil || b[0] == '+' || b[0] == '0' && len(b) > 1 || b[0] == '-' && b[1] == '0' {
		return 0, false
	}
	return n, true
}

package fakeserver

import (
	"math"
	"strconv"

	"github.com/entracache/entracache/fakeserver/internal/keyspace"
)

// Commands of the data engine whose arguments are checked here first: the
// engine is more lenient than Redis, or says something else.

// checked is a command of the data engine behind a check that replies and
// returns false where it does not like the arguments.
func checked(check func(*request) bool) handler {
	return func(q *request) {
		if check(q) {
			q.data(nil)
		}
	}
}

// badExpiry is the answer to a time to live that is none.
func (q *request) badExpiry() bool {
	if q.since("7.0") {
		q.err("ERR invalid expire time in '" + q.cmd.Name + "' command")
	} else {
		q.err("ERR invalid expire time in " + q.cmd.Name)
	}
	return false
}

func (q *request) syntaxError() bool {
	q.err("ERR syntax error")
	return false
}

// goodExpiry checks a time to live, or a time, that must be positive.
func (q *request) goodExpiry(arg []byte, inSeconds, absolute bool) bool {
	n, ok := q.number(arg, notAnInteger)
	switch {
	case !ok:
		return false
	case n <= 0, q.since("6.2") && q.overflows(n, inSeconds, absolute):
		return q.badExpiry()
	}
	return true
}

// overflows says whether a time cannot be counted in milliseconds since 1970.
func (q *request) overflows(n int64, inSeconds, absolute bool) bool {
	if inSeconds {
		if n > math.MaxInt64/1000 || n < math.MinInt64/1000 {
			return true
		}
		n *= 1000
	}
	return !absolute && n > math.MaxInt64-q.s.opts.clock.Now().UnixMilli()
}

// cmdSet is SET; with a key and a value alone there is nothing to check.
func cmdSet(q *request) {
	if len(q.args) == 3 || q.goodSetOptions(q.args[3:]) {
		q.data(nil)
	}
}

// goodSetOptions checks the options of SET and GETEX.
func (q *request) goodSetOptions(options [][]byte) bool {
	var nx, xx, get, keep, persist bool
	var expiry []byte
	var inSeconds, absolute bool
	set := q.cmd.Name == "set"
	for i := 0; i < len(options); i++ {
		option := options[i]
		more := i+1 < len(options)
		fresh := expiry == nil && !keep && !persist
		switch {
		case set && equalFold(option, "nx") && !xx && (!get || q.since("7.0")):
			nx = true
		case set && equalFold(option, "xx") && !nx:
			xx = true
		case set && equalFold(option, "get") && q.since("6.2") && (!nx || q.since("7.0")):
			get = true
		case set && equalFold(option, "keepttl") && expiry == nil:
			keep = true
		case !set && equalFold(option, "persist") && expiry == nil:
			persist = true
		case more && fresh && (equalFold(option, "ex") || equalFold(option, "px") || q.since("6.2") && (equalFold(option, "exat") || equalFold(option, "pxat"))):
			inSeconds, absolute = option[0]|0x20 == 'e', len(option) == 4
			i++
			expiry = options[i]
		default:
			return q.syntaxError()
		}
	}
	return expiry == nil || q.goodExpiry(expiry, inSeconds, absolute)
}

func checkGetEx(q *request) bool { return len(q.args) == 2 || q.goodSetOptions(q.args[2:]) }

func checkSetEx(q *request) bool { return q.goodExpiry(q.args[2], q.cmd.Name == "setex", false) }

// checkExpire checks EXPIRE and its kin. Options came with 7.0.
func checkExpire(q *request) bool {
	var nx, xx, gt, lt bool
	for _, option := range q.args[3:] {
		switch {
		case equalFold(option, "nx"):
			nx = true
		case equalFold(option, "xx"):
			xx = true
		case equalFold(option, "gt"):
			gt = true
		case equalFold(option, "lt"):
			lt = true
		default:
			q.err("ERR Unsupported option " + clip(option, 128))
			return false
		}
	}
	if nx && (xx || gt || lt) {
		q.err("ERR NX and XX, GT or LT options at the same time are not compatible")
		return false
	}
	if gt && lt {
		q.err("ERR GT and LT options at the same time are not compatible")
		return false
	}
	n, ok := q.number(q.args[2], notAnInteger)
	if !ok {
		return false
	}
	inSeconds, absolute := q.cmd.Name[0] == 'e', q.cmd.Name[len(q.cmd.Name)-1] == 't'
	if q.since("6.2") && q.overflows(n, inSeconds, absolute) {
		return q.badExpiry()
	}
	return true
}

// checkMove checks the database that MOVE names.
func checkMove(q *request) bool {
	n, isNumber := parseNumber(q.args[2])
	isDB := isNumber && n >= 0 && n < keyspace.Databases
	switch {
	case isDB:
		return true
	case !q.since("6.2"):
		q.err("ERR index out of range")
	case !isNumber:
		q.err(notAnInteger)
	case n != int64(int32(n)): //nolint:gosec // that is what is asked
		q.err(outOfInt32)
	default:
		q.err("ERR DB index is out of range")
	}
	return false
}

var outOfInt32 = "ERR value is out of range, value must between " + strconv.Itoa(math.MinInt32) + " and " + strconv.Itoa(math.MaxInt32)

// checkFlush checks FLUSHALL and FLUSHDB; SYNC came with 6.2.
func checkFlush(q *request) bool {
	if len(q.args) == 1 || len(q.args) == 2 && equalFold(q.args[1], "async") {
		return true
	}
	if len(q.args) == 2 && equalFold(q.args[1], "sync") && q.since("6.2") {
		q.args = q.args[:1] // the engine does not know the word
		return true
	}
	return q.syntaxError()
}

func checkBitPos(q *request) bool {
	bit, ok := q.number(q.args[2], notAnInteger)
	if ok && bit != 0 && bit != 1 {
		q.err("ERR The bit argument must be 1 or 0.")
		return false
	}
	return ok
}

// checkSides checks LMOVE's and BLMOVE's LEFT and RIGHT.
func checkSides(q *request) bool {
	for _, side := range q.args[3:5] {
		if !equalFold(side, "left") && !equalFold(side, "right") {
			return q.syntaxError()
		}
	}
	return true
}

func checkLPos(q *request) bool {
	for i := 3; i < len(q.args); i += 2 {
		option := q.args[i]
		if i+1 == len(q.args) || !equalFold(option, "rank") && !equalFold(option, "count") && !equalFold(option, "maxlen") {
			return q.syntaxError()
		}
		n, ok := q.number(q.args[i+1], notAnInteger)
		switch {
		case !ok:
			return false
		case equalFold(option, "rank") && n == 0:
			q.err("ERR RANK can't be zero: use 1 to start from the first match, 2 from the second ... or use negative to start from the end of the list")
			return false
		case n < 0 && !equalFold(option, "rank"):
			q.err("ERR " + upper(string(option)) + " can't be negative")
			return false
		}
	}
	return true
}

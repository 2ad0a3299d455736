package fakeserver

import (
	"bytes"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/entracache/entracache/fakeserver/internal/keyspace"
	"github.com/entracache/entracache/fakeserver/internal/resp"
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
	case n != int64(int32(n)): // that is what is asked
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

// checkPopCount checks the count of LPOP, RPOP and SPOP.
func checkPopCount(q *request) bool {
	if len(q.args) != 3 || !q.since("6.2") {
		return true
	}
	if n, ok := parseNumber(q.args[2]); !ok || n < 0 {
		q.err("ERR value is out of range, must be positive")
		return false
	}
	return true
}

// checkCopy checks the database that COPY names.
func checkCopy(q *request) bool {
	for i := 3; i+1 < len(q.args); i++ {
		if !equalFold(q.args[i], "db") {
			continue
		}
		i++
		n, ok := q.number(q.args[i], notAnInteger)
		if !ok {
			return false
		}
		if n < 0 || n >= keyspace.Databases {
			q.err("ERR DB index is out of range")
			return false
		}
	}
	return true
}

const notAFloat = "ERR value is not a valid float"

// isNaN says of a number that it is none, which the engine takes for one.
func isNaN(arg []byte) bool {
	return equalFold(bytes.TrimLeft(arg, "+-"), "nan")
}

// goodScores checks the scores of ZADD.
func (q *request) goodScores() bool {
	at := 2
	for at < len(q.args) && zaddOptions[strings.ToLower(string(q.args[at]))] {
		at++
	}
	for ; at < len(q.args); at += 2 {
		if isNaN(q.args[at]) {
			q.err(notAFloat)
			return false
		}
	}
	return true
}

var zaddOptions = map[string]bool{"nx": true, "xx": true, "gt": true, "lt": true, "ch": true, "incr": true}

// checkZIncrBy refuses what would make a score that is no number.
func checkZIncrBy(q *request) bool {
	by, err := strconv.ParseFloat(string(q.args[2]), 64)
	if isNaN(q.args[2]) {
		q.err(notAFloat)
		return false
	}
	if err != nil || !math.IsInf(by, 0) {
		return true
	}
	fine := true
	q.withKeyspace(func(tx *keyspace.Tx) {
		score, err := strconv.ParseFloat(string(q.ask(tx, "zscore", q.args[1], q.args[3]).Text), 64)
		fine = err != nil || !math.IsNaN(score+by)
	})
	if !fine {
		q.err("ERR resulting score is not a number (NaN)")
	}
	return fine
}

// checkZStore checks the number of keys of ZUNION, ZUNIONSTORE and the like.
func checkZStore(q *request) bool {
	at := 1
	if strings.HasSuffix(q.cmd.Name, "store") {
		at = 2
	}
	if !q.since("7.0") || len(q.args) <= at {
		return true
	}
	_, _, ok := q.numbered(at)
	return ok
}

// checkHIncr checks what HINCRBY and HINCRBYFLOAT add to.
func checkHIncr(q *request) bool {
	float := q.cmd.Name == "hincrbyfloat"
	by, isNumber := parseNumber(q.args[3])
	if !float && !isNumber {
		q.err(notAnInteger)
		return false
	}
	text := ""
	q.withKeyspace(func(tx *keyspace.Tx) {
		v := q.ask(tx, "hget", q.args[1], q.args[2])
		if v.Kind == resp.KindError || v.IsNull() {
			return
		}
		if float {
			if _, err := strconv.ParseFloat(string(v.Text), 64); err != nil {
				text = "ERR hash value is not a float"
			}
			return
		}
		n, ok := parseNumber(v.Text)
		switch {
		case !ok:
			text = "ERR hash value is not an integer"
		case by > 0 && n > math.MaxInt64-by, by < 0 && n < math.MinInt64-by:
			text = "ERR increment or decrement would overflow"
		}
	})
	if text != "" {
		q.err(text)
	}
	return text == ""
}

func checkDecrBy(q *request) bool {
	if string(q.args[2]) == strconv.Itoa(math.MinInt64) {
		q.err("ERR decrement would overflow")
		return false
	}
	return true
}

func checkIncrByFloat(q *request) bool {
	if f, err := strconv.ParseFloat(string(q.args[2]), 64); err == nil && math.IsInf(f, 0) {
		q.err("ERR increment would produce NaN or Infinity")
		return false
	}
	if isNaN(q.args[2]) {
		q.err(notAFloat)
		return false
	}
	return true
}

func checkMSet(q *request) bool {
	if len(q.args)%2 == 1 {
		return true
	}
	if q.since("7.0") {
		q.err("ERR wrong number of arguments for '" + q.cmd.Name + "' command")
	} else {
		q.err("ERR wrong number of arguments for MSET") // MSETNX too
	}
	return false
}

// cmdSetRange is SETRANGE; nothing written makes no key.
func cmdSetRange(q *request) {
	if len(q.args[3]) > 0 {
		q.data(nil)
		return
	}
	if n, ok := q.number(q.args[2], notAnInteger); !ok || n < 0 {
		if ok {
			q.err("ERR offset is out of range")
		}
		return
	}
	q.withKeyspace(func(tx *keyspace.Tx) {
		if value, ok := q.textAt(tx, q.args[1]); ok {
			q.integer(int64(len(value)))
		}
	})
}

// cmdType is TYPE; to the engine a HyperLogLog is a type of its own.
func cmdType(q *request) {
	q.withKeyspace(func(tx *keyspace.Tx) { q.simple(q.typeOf(tx, q.args[1])) })
}

// cmdZScan is ZSCAN, whose scores are strings in RESP3 too.
func cmdZScan(q *request) {
	q.withKeyspace(func(tx *keyspace.Tx) {
		start := len(q.out)
		q.out = tx.Do(q.out, q.s.engineCall(q.session(), "zscan", q.args[1:]...))
		q.failed = isError(q.out[start:])
	})
}

// asSet is a command whose reply is a set in RESP3, where the engine has an
// array.
func asSet(next handler) handler {
	return func(q *request) {
		start := len(q.out)
		next(q)
		if q.protocol() >= 3 && len(q.out) > start && q.out[start] == '*' {
			q.out[start] = '~'
		}
	}
}

// paired is a command of the data engine whose members and scores, or fields
// and values, are in pairs in RESP3, where the engine has them in turn.
func paired(next handler) handler {
	return func(q *request) {
		start := len(q.out)
		next(q)
		if q.protocol() < 3 || q.failed {
			return
		}
		v, _, err := resp.Parse(bytes.Clone(q.out[start:]))
		scored := v.Kind == resp.KindMap || len(v.Elems) > 1 && v.Elems[1].Kind == resp.KindDouble
		if err != nil || !scored || len(q.args) == 2 {
			return
		}
		q.out = resp.AppendArray(q.out[:start], len(v.Elems)/2)
		for pair := range slices.Chunk(v.Elems, 2) {
			q.out = resp.AppendArray(q.out, 2)
			for _, e := range pair {
				q.out = e.Append(q.out, 3)
			}
		}
	}
}

// checkHExpire checks HEXPIRE and its kin, which came with 7.4.
func checkHExpire(q *request) bool {
	n, ok := q.number(q.args[2], notAnInteger)
	if !ok {
		return false
	}
	if n < 0 {
		q.err("ERR invalid expire time, must be >= 0")
		return false
	}
	at := 3
	switch condition := q.args[3]; {
	case equalFold(condition, "nx"), equalFold(condition, "xx"), equalFold(condition, "gt"), equalFold(condition, "lt"):
		at++
	}
	if !equalFold(q.args[at], "fields") {
		q.err("ERR Mandatory argument FIELDS is missing or not at the right position")
		return false
	}
	fields, ok := parseNumber(q.args[at+1])
	switch {
	case !ok || fields < 1:
		q.err("ERR Parameter `numFields` should be greater than 0")
	case fields != int64(len(q.args)-at-2):
		q.err("ERR The `numfields` parameter must match the number of arguments")
	default:
		return true
	}
	return false
}

package fakeserver

import (
	"bytes"
	"errors"
	"math"
	"math/big"
	"strconv"
	"strings"
	"time"

	"github.com/entracache/entracache/fakeserver/internal/command"
	"github.com/entracache/entracache/fakeserver/internal/keyspace"
	"github.com/entracache/entracache/fakeserver/internal/resp"
)

// A blocking command is a queue of attempts at its form that does not block,
// see keyspace.Block. While it waits, its connection's goroutine does nothing
// else: what the client sends meanwhile is answered afterwards, in order.

// block runs a blocking command. timeout 0 waits for ever; onTimeout replies.
func (q *request) block(keys [][]byte, timeout time.Duration, try keyspace.Attempt, onTimeout func()) {
	if q.tx != nil {
		if reply, ok := try(q.tx, false); ok {
			q.out = append(q.out, reply...)
		} else {
			q.nullArray()
		}
		return
	}
	c := q.c
	// An attempt for a client that waits runs in the goroutine of another: a
	// fault in it is to close this connection, not that one.
	var fault any
	attempt := func(tx *keyspace.Tx, waiting bool) (reply []byte, ok bool) {
		if waiting {
			defer func() {
				if fault = recover(); fault != nil {
					reply, ok = nil, true
				}
			}()
		}
		return try(tx, waiting)
	}
	// A group that goes with its stream ends the wait for it.
	absent := q.cmd.Name == "xreadgroup"
	reply, w := q.s.keyspace.Block(q.session(), keys, absent, c.alive, attempt)
	if w == nil {
		q.out = append(q.out, reply...)
		return
	}
	defer q.s.keyspace.Cancel(w) // should this panic
	topology := q.s.topo.Load()
	c.landed()
	// The client may be waiting for what it asked before.
	q.flush()
	unblock := make(chan bool, 1)
	c.unblock.Store(&unblock)
	defer func() {
		// The time of waiting was no idleness.
		c.lastAt.Store(q.s.opts.clock.Now().UnixNano())
		c.unblock.Store(nil)
	}()
	left, stop := c.guard.WatchDisconnect()
	defer stop()
	var timer <-chan time.Time
	if timeout > 0 {
		t := q.s.opts.clock.NewTimer(timeout)
		defer t.Stop()
		timer = t.Chan()
	}
	withError, elsewhere := false, ""
wait:
	select {
	case reply = <-w.Ready():
		if fault != nil {
			panic(fault)
		}
		q.out = append(q.out, reply...)
		return
	case <-left:
		c.kill(ReasonClientClosed)
	case <-c.gone:
	case <-timer:
	case withError = <-unblock:
	case <-topology.replaced:
		topology = q.s.topo.Load()
		if elsewhere = q.blockedElsewhere(keys); elsewhere == "" {
			goto wait
		}
	}
	reply, served := q.s.keyspace.Cancel(w)
	switch {
	case served && fault != nil:
		panic(fault)
	case served:
		q.out = append(q.out, reply...)
	case !c.alive():
	case elsewhere != "":
		q.err(elsewhere)
	case withError:
		q.err("UNBLOCKED client unblocked via CLIENT UNBLOCK")
	default:
		onTimeout()
	}
}

// engineCall makes a call of the data engine for another command's sake.
func (q *request) engineCall(name string, args ...[]byte) keyspace.Call {
	call := q.s.engineCall(q.session(), name, args...)
	call.Proto = q.protocol()
	return call
}

// engineCall makes a call whose reply is in RESP2.
func (s *Server) engineCall(session *keyspace.Session, name string, args ...[]byte) keyspace.Call {
	return keyspace.Call{Session: session, Command: s.table.Lookup([]byte(name)), Args: append([][]byte{[]byte(name)}, args...), Proto: 2}
}

// milliseconds reads the timeout of XREAD, WAIT and CLIENT PAUSE.
func (q *request) milliseconds(arg []byte) (time.Duration, bool) {
	ms, ok := parseNumber(arg)
	switch {
	case !ok:
		q.err("ERR timeout is not an integer or out of range")
		return 0, false
	case ms < 0:
		q.err("ERR timeout is negative")
		return 0, false
	}
	return time.Duration(min(ms, math.MaxInt64/int64(time.Millisecond))) * time.Millisecond, true
}

func isError(reply []byte) bool { return len(reply) > 0 && reply[0] == '-' }

func isNull(reply []byte) bool {
	return bytes.Equal(reply, []byte("$-1\r\n")) || bytes.Equal(reply, []byte("_\r\n")) || bytes.Equal(reply, []byte("*-1\r\n"))
}

// longestWait is what a timeout comes to that nobody waits for.
const longestWait = 100 * 365 * 24 * time.Hour

// seconds reads the timeout of the list and sorted-set commands. Until 7.2 one that
// milliseconds in 64 bits do not hold comes out negative.
func (q *request) seconds(arg []byte) (time.Duration, bool) {
	f, err := strconv.ParseFloat(string(arg), 64)
	if errors.Is(err, strconv.ErrRange) && isLongDouble(string(arg)) {
		err = nil
	}
	switch {
	case err != nil || math.IsNaN(f):
		q.err("ERR timeout is not a float or out of range")
		return 0, false
	case f*1000 > math.MaxInt64 && q.since("7.2"):
		q.err("ERR timeout is out of range")
		return 0, false
	case f < 0, f*1000 > math.MaxInt64:
		q.err("ERR timeout is negative")
		return 0, false
	case f > longestWait.Seconds():
		return longestWait, true
	}
	// A positive timeout that rounds to nothing must not become "for ever".
	d := time.Duration(f * float64(time.Second))
	if f > 0 && d == 0 {
		d = 1
	}
	return d, true
}

// isLongDouble says whether a number that is too large for 64 bits fits the 80 in
// which Redis reads it.
func isLongDouble(number string) bool {
	const largest = 16384 // of a binary exponent
	f, _, err := big.ParseFloat(number, 10, 64, big.ToNearestEven)
	return err == nil && !f.IsInf() && f.MantExp(nil) <= largest
}

// popping is BLPOP, BRPOP, BZPOPMIN or BZPOPMAX: the first key that has an
// element gives it, with the key's name.
func popping(pop string) handler {
	return func(q *request) {
		keys := q.args[1 : len(q.args)-1]
		timeout, ok := q.seconds(q.args[len(q.args)-1])
		if !ok {
			return
		}
		q.block(keys, timeout, func(tx *keyspace.Tx, waiting bool) ([]byte, bool) {
			for _, key := range keys {
				reply := tx.Do(nil, q.engineCall(pop, key))
				switch {
				case isError(reply):
					// A key that became something else does not concern a
					// client that waits already.
					if !waiting {
						q.failed = true
						return reply, true
					}
				case isNull(reply) || bytes.Equal(reply, []byte("*0\r\n")):
				default:
					return withKey(key, reply), true
				}
			}
			return nil, false
		}, q.nullArray)
	}
}

// withKey puts the key before a popped element: a bulk string, or the array of
// a member and its score.
func withKey(key, reply []byte) []byte {
	elements := 2
	if rest, ok := bytes.CutPrefix(reply, []byte("*2\r\n")); ok {
		elements, reply = 3, rest
	}
	out := make([]byte, 0, len(key)+len(reply)+32)
	out = append(out, '*', byte('0'+elements), '\r', '\n', '$')
	out = strconv.AppendInt(out, int64(len(key)), 10)
	out = append(out, '\r', '\n')
	out = append(out, key...)
	out = append(out, '\r', '\n')
	return append(out, reply...)
}

// moving is BRPOPLPUSH or BLMOVE: the command without its timeout.
func moving(move string) handler {
	return func(q *request) {
		if move == "lmove" && !checkSides(q) {
			return
		}
		timeout, ok := q.seconds(q.args[len(q.args)-1])
		if !ok {
			return
		}
		args := q.args[1 : len(q.args)-1]
		q.block(args[:1], timeout, func(tx *keyspace.Tx, waiting bool) ([]byte, bool) {
			reply := tx.Do(nil, q.engineCall(move, args...))
			if isError(reply) && !waiting {
				q.failed = true
				return reply, true
			}
			// Once the source has an element, a wrong destination is an error
			// for a waiting client too; a source of another type is not.
			if q.tx != nil {
				return reply, true
			}
			if isNull(reply) || isError(reply) && !listHasElements(tx, q, args[0]) {
				return nil, false
			}
			return reply, true
		}, q.nullArray)
	}
}

// cmdMPop is LMPOP and ZMPOP, and BLMPOP and BZMPOP, which wait: the first key
// that has elements gives some, with the key's name.
func cmdMPop(q *request) {
	args := q.args[1:]
	name, waits := strings.CutPrefix(q.cmd.Name, "b")
	var timeout time.Duration
	if waits {
		var ok bool
		if timeout, ok = q.seconds(args[0]); !ok {
			return
		}
		args = args[1:]
	}
	keys, ok := q.mpopArguments(args, name == "lmpop")
	if !ok {
		return
	}
	if !waits {
		q.data(nil)
		return
	}
	q.block(keys, timeout, func(tx *keyspace.Tx, waiting bool) ([]byte, bool) {
		for _, key := range keys {
			one := append([][]byte{[]byte("1"), key}, args[1+len(keys):]...)
			reply := tx.Do(nil, q.engineCall(name, one...))
			switch {
			case isError(reply):
				if !waiting {
					q.failed = true
					return reply, true
				}
			case !isNull(reply):
				return reply, true
			}
		}
		return nil, false
	}, q.nullArray)
}

// mpopArguments checks numkeys key … side [COUNT count], and returns the keys.
func (q *request) mpopArguments(args [][]byte, list bool) (keys [][]byte, ok bool) {
	n, isNumber := parseNumber(args[0])
	if !isNumber || n < 1 {
		q.err("ERR numkeys should be greater than 0")
		return nil, false
	}
	if n >= int64(len(args)-1) {
		return nil, q.syntaxError()
	}
	keys, rest := args[1:1+n], args[2+n:]
	side := args[1+n]
	if list && !equalFold(side, "left") && !equalFold(side, "right") || !list && !equalFold(side, "min") && !equalFold(side, "max") {
		return nil, q.syntaxError()
	}
	if len(rest) == 0 {
		return keys, true
	}
	if len(rest) < 2 || !equalFold(rest[0], "count") {
		return nil, q.syntaxError()
	}
	if count, isNumber := parseNumber(rest[1]); !isNumber || count < 1 {
		q.err("ERR count should be greater than 0")
		return nil, false
	}
	if len(rest) > 2 {
		return nil, q.syntaxError()
	}
	return keys, true
}

func listHasElements(tx *keyspace.Tx, q *request, key []byte) bool {
	reply := tx.Do(nil, q.engineCall("llen", key))
	return !isError(reply) && !bytes.Equal(reply, []byte(":0\r\n"))
}

// cmdXRead is XREAD and XREADGROUP, which block only when asked to.
func cmdXRead(q *request) {
	timeout, at, ok := q.blockOption()
	if !ok {
		return
	}
	if !q.goodXRead() {
		return
	}
	if at < 0 {
		start := len(q.out)
		q.data(nil)
		q.out = byStream(q.out, start, q.protocol())
		return
	}
	call := keyspace.Call{Session: q.session(), Command: q.cmd, Proto: q.protocol()}
	call.Args = append(append([][]byte{}, q.args[:at]...), q.args[at+2:]...)
	keys := q.cmd.Keys(call.Args)
	q.block(keys, timeout, func(tx *keyspace.Tx, waiting bool) ([]byte, bool) {
		if !waiting {
			q.resolveLastIDs(tx, call.Args, keys)
		}
		reply := tx.Do(nil, call)
		if isNull(reply) {
			return nil, false
		}
		q.failed = isError(reply)
		return byStream(reply, 0, q.protocol()), true
	}, q.nullArray)
}

// byStream makes a map of what was read, which the engine has in pairs in RESP3
// too. The reply starts at start.
func byStream(out []byte, start, proto int) []byte {
	if proto < 3 || !bytes.HasPrefix(out[start:], []byte("*")) {
		return out
	}
	v, _, err := resp.Parse(bytes.Clone(out[start:]))
	if err != nil || v.IsNull() {
		return out
	}
	out = resp.AppendMap(out[:start], proto, len(v.Elems))
	for _, stream := range v.Elems {
		for _, e := range stream.Elems {
			out = e.Append(out, proto)
		}
	}
	return out
}

// blockOption finds BLOCK and its milliseconds; at is its index, -1 if there is
// none. Malformed commands are left to the engine.
func (q *request) blockOption() (timeout time.Duration, at int, ok bool) {
	for i := 1; i < len(q.args); i++ {
		switch {
		case equalFold(q.args[i], "streams"):
			return 0, -1, true
		case equalFold(q.args[i], "group"):
			i += 2
		case equalFold(q.args[i], "count"):
			i++
		case equalFold(q.args[i], "block") && i+1 < len(q.args):
			ms, err := strconv.ParseInt(string(q.args[i+1]), 10, 64)
			switch {
			case err != nil || ms > math.MaxInt64/int64(time.Millisecond):
				q.err("ERR timeout is not an integer or out of range")
				return 0, 0, false
			case ms < 0:
				q.err("ERR timeout is negative")
				return 0, 0, false
			}
			return time.Duration(ms) * time.Millisecond, i, true
		}
	}
	return 0, -1, true
}

// resolveLastIDs replaces "$" by the last ID at the time of the command: what
// comes after it is news.
func (q *request) resolveLastIDs(tx *keyspace.Tx, args, keys [][]byte) {
	ids := args[len(args)-len(keys):]
	for i, id := range ids {
		if string(id) == "$" {
			ids[i] = lastID(tx.Do(nil, q.engineCall("xrevrange", keys[i], []byte("+"), []byte("-"), []byte("COUNT"), []byte("1"))))
		}
	}
}

// lastID reads the ID in XREVRANGE's reply: *1 *2 $n ID …
func lastID(reply []byte) []byte {
	lines := bytes.SplitN(reply, []byte("\r\n"), 5)
	if len(lines) == 5 && string(lines[0]) == "*1" {
		return bytes.Clone(lines[3])
	}
	return []byte("0-0")
}

// cmdWait is WAIT. Replicas that are up have what the primary has; for more of
// them it waits out its timeout.
func cmdWait(q *request) {
	if q.c.node.has(nodeReplica) {
		q.err("ERR WAIT cannot be used with replica instances. Please also note that since Redis 4.0 if a replica is configured to be writable (which is not the default) writes to replicas are just local and are not propagated.")
		return
	}
	acknowledged := func() int64 { return int64(len(q.s.connectedReplicas(q.c.node.shard))) }
	n, err := strconv.ParseInt(string(q.args[1]), 10, 64)
	if err != nil {
		q.err("ERR value is not an integer or out of range")
		return
	}
	ms, err := strconv.ParseInt(string(q.args[2]), 10, 64)
	switch {
	case err != nil || ms > math.MaxInt64/int64(time.Millisecond):
		q.err("ERR timeout is not an integer or out of range")
		return
	case ms < 0:
		q.err("ERR timeout is negative")
		return
	case n <= acknowledged() || q.tx != nil:
		q.integer(acknowledged())
		return
	}
	q.block(nil, time.Duration(ms)*time.Millisecond, func(*keyspace.Tx, bool) ([]byte, bool) { return nil, false },
		func() { q.integer(acknowledged()) })
}

// cmdWaitAOF is WAITAOF numlocal numreplicas timeout, which came with 7.2: there
// is no append-only file and no replica.
func cmdWaitAOF(q *request) {
	local, ok := parseNumber(q.args[1])
	if !ok || local < 0 || local > 1 {
		q.err("ERR value is out of range, must be between 0 and 1")
		return
	}
	replicas, ok := parseNumber(q.args[2])
	if !ok || replicas < 0 {
		q.err("ERR value is out of range, must be positive")
		return
	}
	timeout, ok := q.milliseconds(q.args[3])
	if !ok {
		return
	}
	if local > 0 {
		q.err("ERR WAITAOF cannot be used when numlocal is set but appendonly is disabled.")
		return
	}
	none := func() {
		q.array(2)
		q.integer(0)
		q.integer(0)
	}
	if replicas == 0 || q.tx != nil {
		none()
		return
	}
	q.block(nil, timeout, func(*keyspace.Tx, bool) ([]byte, bool) { return nil, false }, none)
}

// scriptMayNotBlock says of a call that a script makes whether it would block.
func scriptMayNotBlock(cmd *command.Command, args [][]byte) bool {
	if cmd.Name != "xread" && cmd.Name != "xreadgroup" {
		return false
	}
	for _, a := range args {
		if equalFold(a, "block") {
			return true
		}
		if equalFold(a, "streams") {
			return false
		}
	}
	return false
}

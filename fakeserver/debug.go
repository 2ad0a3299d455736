package fakeserver

import (
	"strconv"
	"strings"
	"time"

	"github.com/entracache/entracache/fakeserver/internal/keyspace"
	"github.com/entracache/entracache/fakeserver/internal/resp"
)

// cmdDebug is the part of DEBUG that clients' tests use, at levels that do not
// switch the command off: waiting, and a reply of every kind.
func cmdDebug(q *request) {
	switch {
	case q.is("sleep", 3, 3):
		seconds, err := strconv.ParseFloat(string(q.args[2]), 64)
		if err != nil || seconds < 0 {
			q.err("ERR value is not a valid float")
			return
		}
		// As in Redis nothing else is served meanwhile.
		timer := q.s.opts.clock.NewTimer(time.Duration(seconds * float64(time.Second)))
		defer timer.Stop()
		q.withKeyspace(func(*keyspace.Tx) {
			select {
			case <-timer.Chan():
			case <-q.s.ctx.Done():
			}
		})
		q.simple("OK")
	case q.is("set-active-expire", 3, 3), q.is("jmap", 2, 2):
		// Keys expire by the clock in any case.
		q.simple("OK")
	case q.is("protocol", 3, 3):
		q.debugProtocol(strings.ToLower(string(q.args[2])))
	default:
		q.err("ERR entracache does not emulate the command '" + q.name() + "'")
	}
}

// debugProtocol replies with an example of a kind of reply.
func (q *request) debugProtocol(kind string) {
	three := func() {
		for i := range 3 {
			q.integer(int64(i))
		}
	}
	truths := func() {
		for i := range 3 {
			q.integer(int64(i))
			q.out = resp.AppendBool(q.out, q.protocol(), i == 1)
		}
	}
	switch kind {
	case "string":
		q.bulk("Hello World")
	case "integer":
		q.integer(12345)
	case "double":
		q.out = resp.AppendDouble(q.out, q.protocol(), 3.141)
	case "null":
		q.null()
	case "array":
		q.array(3)
		three()
	case "set":
		q.setHeader(3)
		three()
	case "map":
		q.mapHeader(3)
		truths()
	case "attrib":
		if q.protocol() >= 3 {
			q.out = append(q.out, "|1\r\n"...)
			q.bulk("key-popularity")
			q.array(2)
			q.bulk("key:123")
			q.integer(90)
		}
		q.bulk("Some real reply following the attribute")
	case "push":
		q.push(func() {
			q.out = resp.AppendPush(q.out, q.protocol(), 2)
			q.bulk("server-cpu-usage")
			q.integer(42)
		})
	case "bignum":
		q.out = resp.AppendBigNumber(q.out, q.protocol(), "1234567999999999999999999999999999999")
	case "verbatim":
		q.text("This is a verbatim\nstring")
	case "true", "false":
		q.out = resp.AppendBool(q.out, q.protocol(), kind == "true")
	default:
		q.err("ERR Wrong protocol type name. Please use one of the following: string|integer|double|null|array|set|map|attrib|push|verbatim|true|false")
	}
}

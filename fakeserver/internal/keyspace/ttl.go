package keyspace

import (
	"bufio"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/alicebob/miniredis/v2/server"

	"github.com/entracache/entracache/fakeserver/internal/resp"
)

// The engine keeps a time to live per key, and to let time pass it walks over
// all keys. So for the engine time never passes. It is given times to live that
// count from a fixed epoch instead of from now, and so they are deadlines,
// which stay right by themselves; RENAME, COPY and the like carry them along as
// ever. A call that sets or reads a time to live is translated on its way to
// the engine, in adjust.

// beforeStart is how long before the start of a keyspace the epoch is, so that
// a deadline of the recent past is still a positive number.
const beforeStart = time.Hour

// longestTTL is the longest time to live, in milliseconds: 285 years. The
// engine counts in nanoseconds; more would overflow.
const longestTTL = 9_000_000_000_000

// sinceEpoch is what is added to a time to live for the engine, in
// milliseconds.
func (e *Engine) sinceEpoch() int64 { return e.at.Sub(e.epoch).Milliseconds() }

// adjust runs a call about times to live in the engine's place, in terms of the
// epoch. It reports false for other calls, and for those that the engine
// answers with an error or by removing the key: these need no translation.
func (e *Engine) adjust(p *server.Peer, name string, args []string) bool {
	switch name {
	case "TTL", "PTTL", "EXPIRETIME", "PEXPIRETIME":
		if len(args) == 1 {
			p.WriteInt(int(e.inUnit(name, replyInt(e.ask(p, "PTTL", args[0])))))
			return true
		}
	case "HTTL", "HPTTL", "HEXPIRETIME", "HPEXPIRETIME":
		return e.fieldTTLs(p, name, args)
	case "EXPIRE", "PEXPIRE", "EXPIREAT", "PEXPIREAT":
		if len(args) < 2 {
			break
		}
		if left, _, ok := e.left(args[1], name); ok && left > 0 {
			return e.pass(p, append([]string{"PEXPIRE", args[0], e.deadline(left)}, args[2:]...))
		}
	case "SETEX", "PSETEX":
		if len(args) != 3 {
			break
		}
		if left, _, ok := e.left(args[1], name); ok && left > 0 {
			return e.pass(p, []string{"PSETEX", args[0], e.deadline(left), args[2]})
		}
	case "SET", "GETEX":
		for i := 1; i+1 < len(args); i++ {
			option := strings.ToUpper(args[i])
			if name == "SET" && i == 1 || option != "EX" && option != "PX" && option != "EXAT" && option != "PXAT" {
				continue
			}
			if left, given, ok := e.left(args[i+1], option); ok && given > 0 {
				passed := append([]string{name}, args...)
				passed[i+1], passed[i+2] = "PX", e.deadline(left)
				return e.pass(p, passed)
			}
			break
		}
	case "RESTORE":
		if len(args) < 3 {
			break
		}
		unit := "PX"
		for _, option := range args[3:] {
			if strings.EqualFold(option, "absttl") {
				unit = "PXAT"
			}
		}
		if left, given, ok := e.left(args[1], unit); ok && given > 0 {
			passed := []string{"RESTORE", args[0], e.deadline(left), args[2]}
			for _, option := range args[3:] {
				if !strings.EqualFold(option, "absttl") {
					passed = append(passed, option)
				}
			}
			return e.pass(p, passed)
		}
	case "HEXPIRE", "HPEXPIRE", "HEXPIREAT", "HPEXPIREAT":
		return e.expireFields(p, name, args)
	}
	return false
}

// left reads a time as the command or option of that name takes it, and returns
// how long it is until then in milliseconds.
func (e *Engine) left(arg, name string) (left, given int64, ok bool) {
	given, err := strconv.ParseInt(arg, 10, 64)
	if err != nil {
		return 0, 0, false
	}
	ms := min(max(given, -longestTTL), longestTTL)
	inMilliseconds := name[0] == 'P'
	if !inMilliseconds {
		ms = min(max(given, -longestTTL/1000), longestTTL/1000) * 1000
	}
	if strings.HasSuffix(name, "AT") {
		ms -= e.at.UnixMilli()
	}
	return ms, given, true
}

// deadline is a time to live in terms of the epoch. A deadline that has passed
// stays one: the key goes with the next command.
func (e *Engine) deadline(left int64) string {
	return strconv.FormatInt(max(1, min(left, longestTTL-e.sinceEpoch())+e.sinceEpoch()), 10)
}

// inUnit turns the engine's PTTL into what the command of that name answers.
// Redis rounds to seconds.
func (e *Engine) inUnit(name string, pttl int64) int64 {
	if pttl < 0 {
		return pttl // no key, or no time to live
	}
	ms := max(0, pttl-e.sinceEpoch())
	switch name {
	case "EXPIRETIME":
		return (ms + e.at.UnixMilli() + 500) / 1000
	case "PEXPIRETIME", "HPEXPIRETIME":
		return ms + e.at.UnixMilli()
	case "HEXPIRETIME":
		return (ms + e.at.UnixMilli() + 999) / 1000
	case "TTL":
		return (ms + 500) / 1000
	case "HTTL":
		return (ms + 999) / 1000 // hash fields are rounded up, as of Redis 7.4
	default:
		return ms
	}
}

// pass runs a translated call as the peer who made it.
func (e *Engine) pass(p *server.Peer, call []string) bool {
	e.passing = true
	e.srv.Dispatch(p, call)
	return true
}

// ask runs a call beside the one that the peer is making, with the peer's
// database, and returns its reply.
func (e *Engine) ask(p *server.Peer, call ...string) []byte {
	var out replyBuffer
	beside := server.NewPeer(bufio.NewWriterSize(&out, 64))
	beside.Ctx = p.Ctx
	e.pass(beside, call)
	beside.Flush()
	p.Ctx = beside.Ctx
	return out.b
}

func (e *Engine) fieldTTLs(p *server.Peer, name string, args []string) bool {
	reply := e.ask(p, append([]string{"HPTTL"}, args...)...)
	list, _, err := resp.Parse(reply)
	if err != nil || len(list.Elems) == 0 {
		p.WriteRaw(string(reply)) // an error
		return true
	}
	p.WriteLen(len(list.Elems))
	for _, v := range list.Elems {
		p.WriteInt(int(e.inUnit(name, v.Int)))
	}
	return true
}

// expireFields is HEXPIRE and its kin. The engine has HEXPIRE alone, which takes
// nothing finer than seconds: the exact deadlines are put in afterwards. A field
// whose time has passed is removed, for which the reply is 2.
func (e *Engine) expireFields(p *server.Peer, name string, args []string) bool {
	at := slices.IndexFunc(args, func(a string) bool { return strings.EqualFold(a, "fields") })
	left, given, ok := int64(0), int64(0), false
	if at >= 2 {
		left, given, ok = e.left(args[1], strings.TrimPrefix(name, "H"))
	}
	if !ok || given < 0 {
		return e.pass(p, append([]string{"HEXPIRE"}, args...)) // an error
	}
	deadline := max(1, left+e.sinceEpoch())
	seconds := (deadline + 999) / 1000
	call := append([]string{"HEXPIRE"}, args...)
	call[2] = strconv.FormatInt(seconds, 10)
	reply := e.ask(p, call...)
	list, _, err := resp.Parse(reply)
	if err != nil || list.Kind != resp.KindArray {
		p.WriteRaw(string(reply))
		return true
	}
	p.WriteLen(len(list.Elems))
	for _, v := range list.Elems {
		if v.Int == 1 && left <= 0 {
			v.Int = 2
		}
		p.WriteInt(int(v.Int))
	}
	e.whileFree(func() {
		for i, v := range list.Elems {
			if v.Int != 1 {
				continue
			}
			key, field := args[0], args[at+2+i]
			for db := range Databases { // a script may have selected any
				in := e.mini.DB(db)
				switch {
				case in.HTTL(key, field) != time.Duration(seconds)*time.Second:
				case left <= 0:
					in.HDel(key, field)
					in.HPersist(key, field)
				default:
					in.HExpire(key, field, time.Duration(deadline)*time.Millisecond)
					e.noteField(db, key, field)
				}
			}
		}
	})
	return true
}

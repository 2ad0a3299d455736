package fakeserver

import (
	"bytes"
	"strconv"
	"strings"
	"sync/atomic"

	"github.com/entracache/entracache/fakeserver/internal/keyspace"
	"github.com/entracache/entracache/fakeserver/internal/resp"
)

// notifications are Redis' keyspace notifications: messages about what happened
// to keys, for those who subscribe to the channels.
type notifications struct {
	flags atomic.Pointer[string] // the classes, as CONFIG SET took them; nil: none
}

// The classes that A stands for, in the order in which CONFIG GET shows them.
func notifyAll(level string) string {
	if level >= "7.0" {
		return "g$lshzxetd"
	}
	return "g$lshzxet"
}

// notifyFlags reads a value of notify-keyspace-events and puts it into the
// order in which it is shown.
func notifyFlags(level, value string) (string, bool) {
	all := notifyAll(level)
	known := all + "KEmA"
	if level >= "7.0" {
		known += "n"
	}
	has := map[byte]bool{}
	for i := range len(value) {
		if strings.IndexByte(known, value[i]) < 0 {
			return "", false
		}
		has[value[i]] = true
	}
	complete := true
	for i := range len(all) {
		complete = complete && (has[all[i]] || has['A'])
	}
	var b strings.Builder
	if complete {
		b.WriteByte('A')
	} else {
		for i := range len(all) {
			if has[all[i]] {
				b.WriteByte(all[i])
			}
		}
	}
	for _, f := range []byte("nKEm") {
		if has[f] {
			b.WriteByte(f)
		}
	}
	return b.String(), true
}

func (n *notifications) on() bool { return n.flags.Load() != nil }

func (n *notifications) set(flags string) {
	if strings.ContainsAny(flags, "KE") {
		n.flags.Store(&flags)
	} else {
		n.flags.Store(nil)
	}
}

// wants says whether a class of events that A does not stand for is asked for.
func (n *notifications) wants(class byte) bool {
	flags := n.flags.Load()
	return flags != nil && strings.IndexByte(*flags, class) >= 0
}

// event publishes one event, if its class is asked for.
func (n *notifications) event(s *Server, class byte, event string, db int, key string) {
	flags := n.flags.Load()
	if flags == nil {
		return
	}
	wanted := strings.IndexByte(*flags, class) >= 0 || strings.IndexByte(*flags, 'A') >= 0 && class != 'n' && class != 'm'
	if !wanted {
		return
	}
	// In a clustered cache the messages stay with the nodes of the shard, whose
	// database is 0 for those outside.
	t, shard := s.topo.Load(), 0
	if s.clustered {
		shard, db = db, 0
	}
	if shard >= len(t.primary) {
		return // it was scaled away
	}
	leader := t.primary[shard]
	at := "@" + strconv.Itoa(db) + "__:"
	if strings.IndexByte(*flags, 'K') >= 0 {
		s.hub.publishFrom(leader, true, "__keyspace"+at+key, []byte(event))
	}
	if strings.IndexByte(*flags, 'E') >= 0 {
		s.hub.publishFrom(leader, true, "__keyevent"+at+event, []byte(key))
	}
}

// keyEvents are the events of commands that have one name and concern all keys
// that the command writes. Where the name is not given it is the command's.
var keyEvents = map[string]struct {
	class byte
	event string
}{
	"set": {'$', ""}, "setnx": {'$', "set"}, "setex": {'$', "set"}, "psetex": {'$', "set"}, "mset": {'$', "set"}, "msetnx": {'$', "set"}, "getset": {'$', "set"},
	"append": {'$', ""}, "incr": {'$', "incrby"}, "decr": {'$', "incrby"}, "incrby": {'$', ""}, "decrby": {'$', "incrby"}, "incrbyfloat": {'$', ""},
	"setrange": {'$', ""}, "setbit": {'$', ""}, "bitop": {'$', "set"}, "pfadd": {'$', ""}, "pfmerge": {'$', "pfadd"},
	"del": {'g', ""}, "unlink": {'g', "del"}, "getdel": {'g', "del"}, "persist": {'g', ""}, "expire": {'g', ""}, "pexpire": {'g', "expire"},
	"expireat": {'g', "expire"}, "pexpireat": {'g', "expire"}, "restore": {'g', ""}, "copy": {'g', "copy_to"},
	"lpush": {'l', ""}, "rpush": {'l', ""}, "lpushx": {'l', "lpush"}, "rpushx": {'l', "rpush"}, "lpop": {'l', ""}, "rpop": {'l', ""}, "linsert": {'l', ""},
	"sort": {'l', "sortstore"}, "georadius": {'z', "georadiusstore"}, "georadiusbymember": {'z', "georadiusstore"}, "geosearchstore": {'z', ""},
	"lset": {'l', ""}, "lrem": {'l', ""}, "ltrim": {'l', ""},
	"sadd": {'s', ""}, "srem": {'s', ""}, "spop": {'s', ""}, "sinterstore": {'s', ""}, "sunionstore": {'s', ""}, "sdiffstore": {'s', ""},
	"hset": {'h', ""}, "hmset": {'h', "hset"}, "hsetnx": {'h', "hset"}, "hincrby": {'h', ""}, "hincrbyfloat": {'h', ""}, "hdel": {'h', ""},
	"hexpire": {'h', ""}, "hpexpire": {'h', "hexpire"}, "hexpireat": {'h', "hexpire"}, "hpexpireat": {'h', "hexpire"}, "hpersist": {'h', ""},
	"zadd": {'z', ""}, "zincrby": {'z', "zincr"}, "zrem": {'z', ""}, "zremrangebyscore": {'z', ""}, "zremrangebyrank": {'z', ""},
	"zremrangebylex": {'z', ""}, "zunionstore": {'z', ""}, "zinterstore": {'z', ""}, "zdiffstore": {'z', ""}, "zrangestore": {'z', ""}, "zpopmin": {'z', ""}, "zpopmax": {'z', ""},
	"geoadd": {'z', "zadd"}, "xadd": {'t', ""}, "xdel": {'t', ""}, "xtrim": {'t', ""}, "xsetid": {'t', ""},
}

// removing are the commands that may leave nothing of a key, which is an event
// of its own.
var removing = map[string]bool{
	"lpop": true, "rpop": true, "lrem": true, "ltrim": true, "srem": true, "spop": true, "hdel": true, "zrem": true, "zremrangebyscore": true,
	"zremrangebyrank": true, "zremrangebylex": true, "zpopmin": true, "zpopmax": true, "rpoplpush": true, "lmove": true,
}

// notifyWrite publishes the events of a command that wrote.
func (s *Server) notifyWrite(tx *keyspace.Tx, w keyspace.Write, keys []string) {
	name, _, _ := strings.Cut(w.Command.Name, "|")
	db := w.Session.DB()
	event := func(class byte, event, key string) { s.notify.event(s, class, event, db, key) }
	gone := func(key string) bool {
		return bytes.Equal(tx.Do(nil, s.engineCall(w.Session, "exists", []byte(key))), []byte(":0\r\n"))
	}
	switch name {
	case "rename", "renamenx":
		event('g', "rename_from", keys[0])
		event('g', "rename_to", keys[1])
	case "move":
		event('g', "move_from", keys[0])
		if to, err := strconv.Atoi(string(w.Args[2])); err == nil {
			s.notify.event(s, 'g', "move_to", to, keys[0])
		}
	case "getex":
		switch {
		case gone(keys[0]):
			event('g', "del", keys[0])
		case equalFold(w.Args[2], "persist"):
			event('g', "persist", keys[0])
		default:
			event('g', "expire", keys[0])
		}
	case "lmpop", "zmpop":
		// The reply names the key that gave something.
		v, _, err := resp.Parse(w.Reply)
		if err != nil || len(v.Elems) == 0 {
			return
		}
		key, side := string(v.Elems[0].Text), w.Args[2+len(keys)]
		switch {
		case name == "zmpop":
			event('z', "zpop"+strings.ToLower(string(side)), key)
		default:
			event('l', strings.ToLower(string(side[:1]))+"pop", key)
		}
		if gone(key) {
			event('g', "del", key)
		}
	case "smove":
		event('s', "srem", keys[0])
		if gone(keys[0]) {
			event('g', "del", keys[0])
		}
		event('s', "sadd", keys[1])
	case "rpoplpush":
		event('l', "lpush", keys[1])
		event('l', "rpop", keys[0])
	case "lmove":
		side := func(i int) string { return strings.ToLower(string(w.Args[i][:1])) }
		event('l', side(4)+"push", keys[1])
		event('l', side(3)+"pop", keys[0])
	case "xgroup":
		// For consumers see notifyConsumers.
		if sub := strings.ToLower(string(w.Args[1])); sub == "create" || sub == "destroy" || sub == "setid" {
			event('t', "xgroup-"+sub, keys[0])
		}
	default:
		known, ok := keyEvents[name]
		if !ok {
			return
		}
		e := known.event
		if e == "" {
			e = name
		}
		if name == "copy" {
			keys = keys[:1]
		}
		for _, k := range keys {
			if e == "expire" && gone(k) { // the time had passed
				event('g', "del", k)
				continue
			}
			event(known.class, e, k)
			if name == "setex" || name == "psetex" || name == "set" && setsExpiry(w.Args) {
				event('g', "expire", k)
			}
		}
	}
	if removing[name] && gone(keys[0]) {
		event('g', "del", keys[0])
	}
}

// setsExpiry says of a SET whether it gives the key a time to live.
func setsExpiry(args [][]byte) bool {
	for _, a := range args[3:] {
		switch strings.ToLower(string(a)) {
		case "ex", "px", "exat", "pxat":
			return true
		}
	}
	return false
}

// consumers lists the consumers of the groups that the command names, by stream
// and name. Whether a command made or removed one its reply does not say.
func (q *request) consumers() map[[2]string]bool {
	group := -1
	switch name := q.container(); {
	case name == "xreadgroup":
		for i, a := range q.args {
			if equalFold(a, "group") {
				group = i + 1
				break
			}
		}
	case name == "xgroup":
		group = 3
	default:
		group = 2
	}
	found := map[[2]string]bool{}
	if group < 1 || group >= len(q.args) {
		return found
	}
	q.withKeyspace(func(tx *keyspace.Tx) {
		for _, key := range q.cmd.Keys(q.args) {
			for _, consumer := range q.ask(tx, "xinfo", []byte("consumers"), key, q.args[group]).Elems {
				if len(consumer.Elems) > 1 {
					found[[2]string{string(key), string(consumer.Elems[1].Text)}] = true
				}
			}
		}
	})
	return found
}

// notifyConsumers publishes what became of the consumers since they were as
// given.
func (q *request) notifyConsumers(before map[[2]string]bool) {
	if !q.since("7.0") {
		return
	}
	after := q.consumers()
	db := q.session().DB()
	for c := range after {
		if !before[c] {
			q.s.notify.event(q.s, 't', "xgroup-createconsumer", db, c[0])
		}
	}
	for c := range before {
		if !after[c] {
			q.s.notify.event(q.s, 't', "xgroup-delconsumer", db, c[0])
		}
	}
}

// missing returns those of the keys that are not there.
func (q *request) missing(keys []string) (missing []string) {
	q.withKeyspace(func(tx *keyspace.Tx) {
		for _, k := range keys {
			if q.typeOf(tx, []byte(k)) == "none" {
				missing = append(missing, k)
			}
		}
	})
	return missing
}

// notifyNew publishes which of the keys, which were not there before, are now.
func (q *request) notifyNew(before []string) {
	still := map[string]bool{}
	for _, k := range q.missing(before) {
		still[k] = true
	}
	for _, k := range before {
		if !still[k] {
			q.s.notify.event(q.s, 'n', "new", q.session().DB(), k)
		}
	}
}

// notifyMissed publishes which keys a command is going to read in vain.
func (q *request) notifyMissed() {
	var keys []string
	for _, k := range q.cmd.Keys(q.args) {
		keys = append(keys, string(k))
	}
	for _, k := range q.missing(keys) {
		q.s.notify.event(q.s, 'm', "keymiss", q.session().DB(), k)
	}
}

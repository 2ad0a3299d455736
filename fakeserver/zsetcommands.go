package fakeserver

import (
	"bytes"
	"cmp"
	"slices"
	"strconv"

	"github.com/entracache/entracache/fakeserver/internal/keyspace"
	"github.com/entracache/entracache/fakeserver/internal/resp"
)

// Commands about sorted sets that the data engine lacks.

// scored is a member of a sorted set, with its score as the engine writes it.
type scored struct {
	member, score []byte
}

// scoredAt reads a sorted set, or a set, whose members have the score 1, in the
// order of the scores; it replies where the key holds something else.
func (q *request) scoredAt(tx *keyspace.Tx, key []byte) (members []scored, ok bool) {
	switch q.typeOf(tx, key) {
	case "none":
		return nil, true
	case "set":
		for _, v := range q.ask(tx, "smembers", key).Elems {
			members = append(members, scored{bytes.Clone(v.Text), []byte("1")})
		}
		slices.SortFunc(members, func(a, b scored) int { return bytes.Compare(a.member, b.member) })
		return members, true
	case "zset":
		return pairsOf(q.ask(tx, "zrange", key, []byte("0"), []byte("-1"), []byte("WITHSCORES"))), true
	default:
		q.err(wrongType)
		return nil, false
	}
}

// pairsOf reads a flat array of members and scores.
func pairsOf(v resp.Value) []scored {
	var members []scored
	for i := 0; i+1 < len(v.Elems); i += 2 {
		members = append(members, scored{bytes.Clone(v.Elems[i].Text), bytes.Clone(v.Elems[i+1].Text)})
	}
	return members
}

// numbered reads a number of keys at an argument, and the keys after it.
func (q *request) numbered(at int) (keys [][]byte, rest int, ok bool) {
	n, ok := q.number(q.args[at], notAnInteger)
	switch {
	case !ok:
		return nil, 0, false
	case n < 1:
		q.err("ERR at least 1 input key is needed for '" + q.cmd.Name + "' command")
		return nil, 0, false
	case n > int64(len(q.args)-at-1):
		return nil, 0, q.syntaxError()
	}
	rest = at + 1 + int(n)
	return q.args[at+1 : rest], rest, true
}

// cmdZDiff is ZDIFF and ZDIFFSTORE.
func cmdZDiff(q *request) {
	store := q.cmd.Name == "zdiffstore"
	at := 1
	if store {
		at = 2
	}
	keys, rest, ok := q.numbered(at)
	if !ok {
		return
	}
	withScores := false
	for _, option := range q.args[rest:] {
		if store || !equalFold(option, "withscores") {
			q.syntaxError()
			return
		}
		withScores = true
	}
	q.withKeyspace(func(tx *keyspace.Tx) {
		var left []scored
		gone := map[string]bool{}
		for i, key := range keys {
			members, ok := q.scoredAt(tx, key)
			if !ok {
				return
			}
			if i == 0 {
				left = members
				continue
			}
			for _, m := range members {
				gone[string(m.member)] = true
			}
		}
		left = slices.DeleteFunc(left, func(m scored) bool { return gone[string(m.member)] })
		if store {
			q.storeScored(tx, q.args[1], left)
		} else {
			q.scored(left, withScores)
		}
	})
}

// scored replies with members, which are in pairs with their scores in RESP3.
func (q *request) scored(members []scored, withScores bool) {
	switch {
	case !withScores:
		q.array(len(members))
	case q.protocol() >= 3:
		q.array(len(members))
	default:
		q.array(2 * len(members))
	}
	for _, m := range members {
		if withScores && q.protocol() >= 3 {
			q.array(2)
		}
		q.bulk(string(m.member))
		if !withScores {
			continue
		}
		score, _ := strconv.ParseFloat(string(m.score), 64)
		q.out = resp.AppendDouble(q.out, q.protocol(), score)
	}
}

// storeScored puts members in the place of what a key holds.
func (q *request) storeScored(tx *keyspace.Tx, key []byte, members []scored) {
	var elements [][]byte
	for _, m := range members {
		elements = append(elements, m.score, m.member)
	}
	q.replace(tx, key, "zadd", elements, len(members))
}

// cmdZInterCard is ZINTERCARD.
func cmdZInterCard(q *request) {
	keys, rest, ok := q.numbered(1)
	if !ok {
		return
	}
	limit := int64(0)
	for i := rest; i < len(q.args); i += 2 {
		if !equalFold(q.args[i], "limit") || i+1 == len(q.args) {
			q.syntaxError()
			return
		}
		if limit, ok = parseNumber(q.args[i+1]); !ok || limit < 0 {
			q.err("ERR LIMIT can't be negative")
			return
		}
	}
	q.withKeyspace(func(tx *keyspace.Tx) {
		count := map[string]int{}
		for _, key := range keys {
			members, ok := q.scoredAt(tx, key)
			if !ok {
				return
			}
			for _, m := range members {
				count[string(m.member)]++
			}
		}
		common := int64(0)
		for _, c := range count {
			if c >= len(keys) { // a key may be named twice
				common++
			}
		}
		if limit > 0 {
			common = min(common, limit)
		}
		q.integer(common)
	})
}

// zrange is what ZRANGESTORE is told.
type zrange struct {
	byScore, byLex, rev, limited bool
	offset, count                int64
}

// cmdZRangeStore is ZRANGESTORE dst src min max [BYSCORE|BYLEX] [REV] [LIMIT offset count].
func cmdZRangeStore(q *request) {
	o := zrange{count: -1}
	for i := 5; i < len(q.args); i++ {
		switch arg := q.args[i]; {
		case equalFold(arg, "byscore"):
			o.byScore = true
		case equalFold(arg, "bylex"):
			o.byLex = true
		case equalFold(arg, "rev"):
			o.rev = true
		case equalFold(arg, "limit") && i+2 < len(q.args):
			var ok bool
			if o.offset, ok = q.number(q.args[i+1], notAnInteger); !ok {
				return
			}
			if o.count, ok = q.number(q.args[i+2], notAnInteger); !ok {
				return
			}
			o.limited = true
			i += 2
		default:
			q.syntaxError()
			return
		}
	}
	switch {
	case o.byScore && o.byLex:
		q.syntaxError()
		return
	case o.limited && !o.byScore && !o.byLex:
		q.err("ERR syntax error, LIMIT is only supported in combination with either BYSCORE or BYLEX")
		return
	}
	q.withKeyspace(func(tx *keyspace.Tx) { q.zrangeStore(tx, &o) })
}

func (q *request) zrangeStore(tx *keyspace.Tx, o *zrange) {
	src := q.args[2]
	name, args := "zrange", [][]byte{src, q.args[3], q.args[4]}
	switch {
	case o.byScore:
		name = "zrangebyscore"
	case o.byLex:
		name = "zrangebylex"
	}
	if o.rev {
		name = "zrev" + name[1:]
	}
	if !o.byLex {
		args = append(args, []byte("WITHSCORES"))
	}
	if o.limited {
		args = append(args, []byte("LIMIT"), strconv.AppendInt(nil, o.offset, 10), strconv.AppendInt(nil, o.count, 10))
	}
	v := q.ask(tx, name, args...)
	if v.Kind == resp.KindError {
		q.err(string(v.Text))
		return
	}
	members := pairsOf(v)
	if o.byLex {
		members = nil
		for _, e := range v.Elems {
			member := bytes.Clone(e.Text)
			members = append(members, scored{member, bytes.Clone(q.ask(tx, "zscore", src, member).Text)})
		}
	}
	q.storeScored(tx, q.args[1], members)
}

// cmdGeoSearchStore is GEOSEARCHSTORE dst src …: GEOSEARCH into a sorted set.
func cmdGeoSearchStore(q *request) {
	search, distances := [][]byte{q.args[2]}, false
	for i := 3; i < len(q.args); i++ {
		switch option := q.args[i]; {
		case equalFold(option, "storedist"):
			distances = true
		case equalFold(option, "withcoord"), equalFold(option, "withdist"), equalFold(option, "withhash"):
			q.err("ERR GEOSEARCHSTORE is not compatible with WITHDIST, WITHHASH and WITHCOORD options")
			return
		default:
			search = append(search, option)
		}
	}
	q.withKeyspace(func(tx *keyspace.Tx) {
		v := q.ask(tx, "geosearch", append(search, []byte("WITHDIST"))...)
		if v.Kind == resp.KindError {
			q.err(string(v.Text))
			return
		}
		var members []scored
		for _, e := range v.Elems {
			if len(e.Elems) != 2 {
				continue
			}
			m := scored{bytes.Clone(e.Elems[0].Text), bytes.Clone(e.Elems[1].Text)}
			if !distances {
				m.score = bytes.Clone(q.ask(tx, "zscore", q.args[2], m.member).Text)
			}
			members = append(members, m)
		}
		slices.SortFunc(members, func(a, b scored) int { return cmp.Compare(string(a.member), string(b.member)) })
		q.storeScored(tx, q.args[1], members)
	})
}

// cmdGeoAdd is GEOADD; options came with 6.2, and the engine has none.
func cmdGeoAdd(q *request) {
	var nx, xx, ch bool
	at := 2
	for ; at < len(q.args) && q.since("6.2"); at++ {
		switch option := q.args[at]; {
		case equalFold(option, "nx"):
			nx = true
			continue
		case equalFold(option, "xx"):
			xx = true
			continue
		case equalFold(option, "ch"):
			ch = true
			continue
		}
		break
	}
	if (len(q.args)-at)%3 != 0 || nx && xx || at == len(q.args) {
		q.syntaxError()
		return
	}
	if at == 2 {
		q.data(nil)
		return
	}
	q.withKeyspace(func(tx *keyspace.Tx) {
		key := q.args[1]
		add := [][]byte{key}
		before := map[string]string{}
		for triple := range slices.Chunk(q.args[at:], 3) {
			score := q.ask(tx, "zscore", key, triple[2])
			if score.Kind == resp.KindError {
				q.err(string(score.Text))
				return
			}
			if there := !score.IsNull(); there && nx || !there && xx {
				continue
			}
			before[string(triple[2])] = string(score.Text)
			add = append(add, triple...)
		}
		if len(add) == 1 {
			q.integer(0)
			return
		}
		v := q.ask(tx, "geoadd", add...)
		if v.Kind == resp.KindError {
			q.err(string(v.Text))
			return
		}
		if !ch {
			q.integer(v.Int)
			return
		}
		changed := int64(0)
		for member, score := range before {
			if string(q.ask(tx, "zscore", key, []byte(member)).Text) != score {
				changed++
			}
		}
		q.integer(changed)
	})
}

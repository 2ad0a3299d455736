package fakeserver

import (
	"bytes"
	"math"
	"strconv"

	"github.com/entracache/entracache/fakeserver/internal/keyspace"
	"github.com/entracache/entracache/fakeserver/internal/resp"
)

// cmdSubstr is SUBSTR, the old name of GETRANGE.
func cmdSubstr(q *request) {
	q.withKeyspace(func(tx *keyspace.Tx) {
		q.out = tx.Do(q.out, q.engineCall("getrange", q.args[1:]...))
		q.failed = isError(q.out)
	})
}

// maxLCS bounds the table of LCS, in cells: 64 Mi, so two strings of 8 KiB.
const maxLCS = 64 << 20

type lcsOptions struct {
	a, b            []byte
	given           bool // a and b are there
	length, indexes bool
	withLen         bool
	least           int64
}

// cmdLCS is LCS key key …, which came with 7.0.
func cmdLCS(q *request) {
	o := lcsOptions{given: true}
	q.withKeyspace(func(tx *keyspace.Tx) {
		if q.lcsStrings(tx, &o, q.args[1], q.args[2]) && q.lcsOptions(tx, &o, 3) {
			q.lcs(&o)
		}
	})
}

// cmdStralgo is STRALGO LCS KEYS|STRINGS a b …, which 7.0 replaced.
func cmdStralgo(q *request) {
	if !equalFold(q.args[1], "lcs") {
		q.err("ERR syntax error")
		return
	}
	var o lcsOptions
	q.withKeyspace(func(tx *keyspace.Tx) {
		if q.lcsOptions(tx, &o, 2) {
			q.lcs(&o)
		}
	})
}

func (q *request) lcsStrings(tx *keyspace.Tx, o *lcsOptions, a, b []byte) bool {
	for _, key := range [][]byte{a, b} {
		if t := q.typeOf(tx, key); t != "string" && t != "none" {
			q.err("ERR The specified keys must contain string values")
			return false
		}
	}
	o.a, o.b = q.ask(tx, "get", a).Text, q.ask(tx, "get", b).Text
	o.given = true
	return true
}

func (q *request) lcsOptions(tx *keyspace.Tx, o *lcsOptions, from int) bool {
	for i := from; i < len(q.args); i++ {
		left := len(q.args) - i - 1
		switch arg := q.args[i]; {
		case equalFold(arg, "idx"):
			o.indexes = true
		case equalFold(arg, "len"):
			o.length = true
		case equalFold(arg, "withmatchlen"):
			o.withLen = true
		case equalFold(arg, "minmatchlen") && left >= 1:
			i++
			n, ok := q.number(q.args[i], notAnInteger)
			if !ok {
				return false
			}
			o.least = max(n, 0)
		case q.cmd.Name == "stralgo" && (equalFold(arg, "strings") || equalFold(arg, "keys")) && left >= 2:
			switch {
			case o.given:
				q.err("ERR Either use STRINGS or KEYS")
				return false
			case equalFold(arg, "strings"):
				o.a, o.b, o.given = q.args[i+1], q.args[i+2], true
			case !q.lcsStrings(tx, o, q.args[i+1], q.args[i+2]):
				return false
			}
			i += 2
		default:
			q.err("ERR syntax error")
			return false
		}
	}
	switch {
	case !o.given:
		q.err("ERR Please specify two strings: STRINGS or KEYS options are mandatory")
	case o.indexes && o.length:
		q.err("ERR If you want both the length and indexes, please just use IDX.")
	case len(o.a) > 0 && (len(o.a)+1) > maxLCS/(len(o.b)+1):
		q.err("ERR entracache compares strings up to a product of their lengths of " + strconv.Itoa(maxLCS))
	default:
		return true
	}
	return false
}

// lcs finds a longest common subsequence by the table of its lengths, and the
// ranges that match by walking the table back from the end.
func (q *request) lcs(o *lcsOptions) {
	a, b := o.a, o.b
	width := len(b) + 1
	table := make([]int32, (len(a)+1)*width)
	for i := 1; i <= len(a); i++ {
		for j := 1; j <= len(b); j++ {
			if a[i-1] == b[j-1] {
				table[i*width+j] = table[(i-1)*width+j-1] + 1
			} else {
				table[i*width+j] = max(table[(i-1)*width+j], table[i*width+j-1])
			}
		}
	}
	total := int64(table[len(table)-1])
	if o.length {
		q.integer(total)
		return
	}
	type match struct{ a, b, n int } // where it begins in each, and its length
	var matches []match
	common := make([]byte, total)
	for i, j, k := len(a), len(b), int(total); i > 0 && j > 0; {
		switch {
		case a[i-1] == b[j-1]:
			k--
			common[k] = a[i-1]
			i--
			j--
			if m := len(matches) - 1; m >= 0 && matches[m].a == i+1 && matches[m].b == j+1 {
				matches[m] = match{i, j, matches[m].n + 1}
			} else {
				matches = append(matches, match{i, j, 1})
			}
		case table[(i-1)*width+j] > table[i*width+j-1]:
			i--
		default:
			j--
		}
	}
	if !o.indexes {
		q.out = resp.AppendBulk(q.out, common)
		return
	}
	long := matches[:0]
	for _, m := range matches {
		if int64(m.n) >= o.least {
			long = append(long, m)
		}
	}
	q.mapHeader(2)
	q.bulk("matches")
	q.array(len(long))
	for _, m := range long {
		if o.withLen {
			q.array(3)
		} else {
			q.array(2)
		}
		for _, from := range []int{m.a, m.b} {
			q.array(2)
			q.integer(int64(from))
			q.integer(int64(from + m.n - 1))
		}
		if o.withLen {
			q.integer(int64(m.n))
		}
	}
	q.bulk("len")
	q.integer(total)
}

const geoAlphabet = "0123456789bcdefghjkmnpqrstuvwxyz"

// cmdGeohash is GEOHASH: the standard's hash of eleven characters, the last one
// 0 because the engine's positions have 52 bits.
func cmdGeohash(q *request) {
	q.withKeyspace(func(tx *keyspace.Tx) {
		if t := q.typeOf(tx, q.args[1]); t != "zset" && t != "none" {
			q.err(wrongType)
			return
		}
		q.array(len(q.args) - 2)
		if len(q.args) == 2 {
			return
		}
		for _, position := range q.ask(tx, "geopos", q.args[1:]...).Elems {
			if len(position.Elems) != 2 {
				q.null()
				continue
			}
			long, err := strconv.ParseFloat(string(position.Elems[0].Text), 64)
			lat, err2 := strconv.ParseFloat(string(position.Elems[1].Text), 64)
			if err != nil || err2 != nil {
				q.null()
				continue
			}
			q.bulk(geohash(long, lat))
		}
	})
}

func geohash(long, lat float64) string {
	const steps = 26
	cell := func(v, least, most float64) uint64 {
		return uint64(math.Floor((v - least) / (most - least) * (1 << steps)))
	}
	x, y := cell(long, -180, 180), cell(lat, -90, 90)
	var bits uint64
	for i := steps - 1; i >= 0; i-- {
		bits = bits<<2 | (x>>i&1)<<1 | y>>i&1
	}
	hash := make([]byte, 11)
	for i := range 10 {
		hash[i] = geoAlphabet[bits>>(52-5*(i+1))&31]
	}
	hash[10] = '0'
	return string(hash)
}

// cmdXSetID is XSETID key id: the engine has no such thing, but an entry that is
// added and deleted leaves its ID behind.
func cmdXSetID(q *request) {
	q.withKeyspace(func(tx *keyspace.Tx) {
		key, id := q.args[1], q.args[2]
		switch q.typeOf(tx, key) {
		case "none":
			q.err("ERR no such key")
			return
		case "stream":
		default:
			q.err(wrongType)
			return
		}
		if !bytes.Contains(id, []byte("-")) {
			id = append(append([]byte(nil), id...), "-0"...)
		}
		added := q.ask(tx, "xadd", key, id, []byte("f"), []byte("v"))
		switch {
		case added.Kind != resp.KindError:
			q.ask(tx, "xdel", key, id)
			q.simple("OK")
		case bytes.Contains(added.Text, []byte("equal or smaller")):
			q.err("ERR The ID specified in XSETID is smaller than the target stream top item")
		default:
			q.err(string(added.Text))
		}
	})
}

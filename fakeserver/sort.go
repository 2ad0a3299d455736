package fakeserver

import (
	"bytes"
	"cmp"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/entracache/entracache/fakeserver/internal/keyspace"
	"github.com/entracache/entracache/fakeserver/internal/resp"
)

// sortOptions are what SORT and SORT_RO are told.
type sortOptions struct {
	desc, alpha   bool
	offset, count int64
	by            []byte // nil: the element itself
	unsorted      bool   // BY a constant
	get           [][]byte
	store         []byte // nil: reply
}

// cmdSort is SORT and SORT_RO.
func cmdSort(q *request) {
	o, ok := q.sortOptions()
	if !ok {
		return
	}
	q.withKeyspace(func(tx *keyspace.Tx) { q.sort(tx, o) })
}

func (q *request) sortOptions() (*sortOptions, bool) {
	o := &sortOptions{count: -1}
	for i := 2; i < len(q.args); i++ {
		left := len(q.args) - i - 1
		switch arg := q.args[i]; {
		case equalFold(arg, "asc"):
			o.desc = false
		case equalFold(arg, "desc"):
			o.desc = true
		case equalFold(arg, "alpha"):
			o.alpha = true
		case equalFold(arg, "limit") && left >= 2:
			var ok, ok2 bool
			if o.offset, ok = q.number(q.args[i+1], notAnInteger); !ok {
				return nil, false
			}
			if o.count, ok2 = q.number(q.args[i+2], notAnInteger); !ok2 {
				return nil, false
			}
			i += 2
		case equalFold(arg, "store") && left >= 1 && q.cmd.Name == "sort":
			i++
			o.store = q.args[i]
		case equalFold(arg, "by") && left >= 1:
			i++
			o.by = q.args[i]
			o.unsorted = !bytes.Contains(o.by, []byte("*"))
			if !o.unsorted && q.s.clustered {
				q.err("ERR BY option of SORT denied in Cluster mode.")
				return nil, false
			}
		case equalFold(arg, "get") && left >= 1:
			i++
			if q.s.clustered {
				q.err("ERR GET option of SORT denied in Cluster mode.")
				return nil, false
			}
			o.get = append(o.get, q.args[i])
		default:
			q.err("ERR syntax error")
			return nil, false
		}
	}
	return o, true
}

func (q *request) sort(tx *keyspace.Tx, o *sortOptions) {
	key := q.args[1]
	var elements resp.Value
	kind := q.typeOf(tx, key)
	switch kind {
	case "list":
		elements = q.ask(tx, "lrange", key, []byte("0"), []byte("-1"))
	case "set":
		elements = q.ask(tx, "smembers", key)
	case "zset":
		elements = q.ask(tx, "zrange", key, []byte("0"), []byte("-1"))
	case "none":
	default:
		q.err(wrongType)
		return
	}
	type item struct {
		value, by []byte
		score     float64
	}
	items := make([]item, len(elements.Elems))
	for i, e := range elements.Elems {
		items[i].value = e.Text
	}
	by, alpha, unsorted := o.by, o.alpha, o.unsorted
	if unsorted && kind == "set" && (o.store != nil || q.inScript) {
		by, alpha, unsorted = nil, true, false // so that the result is the same every time
	}
	if unsorted && o.desc && kind != "set" {
		slices.Reverse(items)
	}
	if !unsorted {
		for i := range items {
			it := &items[i]
			it.by = it.value
			if by != nil {
				it.by = q.byPattern(tx, by, it.value)
			}
			if alpha || it.by == nil {
				continue
			}
			score, err := strconv.ParseFloat(string(it.by), 64)
			if err != nil || math.IsNaN(score) {
				q.err("ERR One or more scores can't be converted into double")
				return
			}
			it.score = score
		}
		slices.SortStableFunc(items, func(a, b item) int {
			var order int
			switch {
			case !alpha:
				order = cmp.Compare(a.score, b.score)
				if order == 0 {
					order = bytes.Compare(a.value, b.value)
				}
			case by == nil:
				order = bytes.Compare(a.value, b.value)
			case a.by == nil || b.by == nil:
				order = len(nonNil(a.by)) - len(nonNil(b.by))
			default:
				order = bytes.Compare(a.by, b.by)
			}
			if o.desc {
				return -order
			}
			return order
		})
	}
	n := int64(len(items))
	start := min(max(o.offset, 0), n)
	end := n
	if count := min(max(o.count, -1), n); count >= 0 {
		end = min(start+count, n)
	}
	var out []resp.Value
	for _, it := range items[start:end] {
		if len(o.get) == 0 {
			out = append(out, resp.Value{Kind: resp.KindBulk, Text: it.value})
		}
		for _, pattern := range o.get {
			value := q.byPattern(tx, pattern, it.value)
			out = append(out, resp.Value{Kind: resp.KindBulk, Text: value, Null: value == nil})
		}
	}
	if o.store == nil {
		q.array(len(out))
		for _, v := range out {
			q.out = v.Append(q.out, q.protocol())
		}
		return
	}
	var results [][]byte
	for _, v := range out {
		results = append(results, v.Text)
	}
	q.replace(tx, o.store, "rpush", results, len(out))
}

// nonNil gives nil the length 0 and anything else the length 1.
func nonNil(b []byte) string {
	if b == nil {
		return ""
	}
	return "x"
}

// byPattern looks up what a BY or GET pattern gives for an element, nil if
// there is nothing: "#" is the element, "key_*" a string, "key_*->field" a
// field of a hash.
func (q *request) byPattern(tx *keyspace.Tx, pattern, element []byte) []byte {
	if string(pattern) == "#" {
		return element
	}
	key, field := string(pattern), ""
	star := strings.IndexByte(key, '*')
	if star < 0 {
		return nil
	}
	if arrow := strings.Index(key[star:], "->"); arrow >= 0 && star+arrow+2 < len(key) {
		key, field = key[:star+arrow], key[star+arrow+2:]
	}
	name := []byte(strings.Replace(key, "*", string(element), 1))
	var v resp.Value
	if field != "" {
		v = q.ask(tx, "hget", name, []byte(field))
	} else {
		v = q.ask(tx, "get", name)
	}
	if v.Kind != resp.KindBulk || v.Null {
		return nil
	}
	return append([]byte{}, v.Text...)
}

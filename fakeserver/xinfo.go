package fakeserver

import (
	"bytes"
	"strconv"

	"github.com/entracache/entracache/fakeserver/internal/keyspace"
	"github.com/entracache/entracache/fakeserver/internal/resp"
)

// cmdXInfo is XINFO. The engine knows little of a stream, and of its consumers
// what 7.2 knows.
func cmdXInfo(q *request) {
	switch {
	case q.is("stream", 3, 3):
		q.withKeyspace(q.xinfoStream)
	case q.is("consumers", 4, 4) && !q.since("7.2"):
		q.withKeyspace(func(tx *keyspace.Tx) {
			start := len(q.out)
			q.out = tx.Do(q.out, q.engineCall("xinfo", q.args[1:]...))
			v, _, err := resp.Parse(bytes.Clone(q.out[start:]))
			if err != nil || v.Kind == resp.KindError {
				q.failed = true
				return
			}
			for i := range v.Elems {
				v.Elems[i].Elems = withoutField(v.Elems[i].Elems, "inactive")
			}
			q.out = v.Append(q.out[:start], q.protocol())
		})
	default:
		q.data(nil)
	}
}

// withoutField leaves a name and its value out of names and values in turn.
func withoutField(fields []resp.Value, name string) []resp.Value {
	for i := 0; i+1 < len(fields); i += 2 {
		if string(fields[i].Text) == name {
			return append(fields[:i:i], fields[i+2:]...)
		}
	}
	return fields
}

// xinfoStream is XINFO STREAM key. What the engine does not keep is shown as of
// a stream from which nothing was ever deleted.
func (q *request) xinfoStream(tx *keyspace.Tx) {
	key := q.args[2]
	v := q.ask(tx, "xinfo", []byte("stream"), key)
	if v.Kind == resp.KindError {
		q.err(string(v.Text))
		return
	}
	known := map[string]resp.Value{}
	for i := 0; i+1 < len(v.Elems); i += 2 {
		known[string(v.Elems[i].Text)] = v.Elems[i+1]
	}
	length := known["length"].Int
	end := func(command, from, to string) resp.Value {
		entries := q.ask(tx, command, key, []byte(from), []byte(to), []byte("COUNT"), []byte("1"))
		if len(entries.Elems) == 1 {
			return entries.Elems[0]
		}
		return resp.Value{Kind: resp.KindBulk, Null: true}
	}
	first, last := end("xrange", "-", "+"), end("xrevrange", "+", "-")
	firstID := "0-0"
	if len(first.Elems) > 0 {
		firstID = string(first.Elems[0].Text)
	}
	text := func(s string) resp.Value { return resp.Value{Kind: resp.KindBulk, Text: []byte(s)} }
	number := func(n int64) resp.Value { return resp.Value{Kind: resp.KindInt, Int: n} }
	// A node of the radix tree holds up to a hundred entries.
	trees := (length + 99) / 100
	fields := []struct {
		name  string
		value resp.Value
		from  string
	}{
		{"length", number(length), ""}, {"radix-tree-keys", number(trees), ""}, {"radix-tree-nodes", number(trees + 1), ""},
		{"last-generated-id", known["last-generated-id"], ""}, {"max-deleted-entry-id", text("0-0"), "7.0"}, {"entries-added", number(length), "7.0"},
		{"recorded-first-entry-id", text(firstID), "7.0"}, {"groups", number(int64(len(q.ask(tx, "xinfo", []byte("groups"), key).Elems))), ""},
		{"first-entry", first, ""}, {"last-entry", last, ""},
	}
	n := 0
	for _, f := range fields {
		if q.since(f.from) {
			n++
		}
	}
	q.mapHeader(n)
	for _, f := range fields {
		if q.since(f.from) {
			q.bulk(f.name)
			q.out = f.value.Append(q.out, q.protocol())
		}
	}
}

// isStreamID says whether an argument is an ID of a stream's entry.
func isStreamID(arg []byte) bool {
	ms, seq, two := bytes.Cut(arg, []byte("-"))
	if _, err := strconv.ParseUint(string(ms), 10, 64); err != nil {
		return false
	}
	if !two {
		return true
	}
	_, err := strconv.ParseUint(string(seq), 10, 64)
	return err == nil
}

const badStreamID = "ERR Invalid stream ID specified as stream command argument"

// checkXGroup checks the ID that XGROUP CREATE is given.
func checkXGroup(q *request) bool {
	if q.is("create", 5, -1) && !isStreamID(q.args[4]) && string(q.args[4]) != "$" {
		q.err(badStreamID)
		return false
	}
	return true
}

// checkXTrim checks what XTRIM trims by.
func checkXTrim(q *request) bool {
	if len(q.args) == 2 { // 6.0 lets it come so far
		return q.answerXTrimWithoutOption()
	}
	if by := q.args[2]; !equalFold(by, "maxlen") && !(equalFold(by, "minid") && q.since("6.2")) {
		return q.syntaxError()
	}
	return true
}

// answerXTrimWithoutOption answers an XTRIM that names nothing but a key.
func (q *request) answerXTrimWithoutOption() bool {
	var kind string
	q.withKeyspace(func(tx *keyspace.Tx) { kind = q.typeOf(tx, q.args[1]) })
	switch kind {
	case "none":
		q.integer(0)
	case "stream":
		q.err("ERR XTRIM called without an option to trim the stream")
	default:
		q.err(wrongType)
	}
	return false
}

// goodXRead checks the COUNT of XREAD and XREADGROUP, and that the keys hold
// streams.
func (q *request) goodXRead() bool {
	for i := 1; i+1 < len(q.args) && !equalFold(q.args[i], "streams"); i++ {
		switch {
		case equalFold(q.args[i], "group"):
			i += 2
		case equalFold(q.args[i], "count"):
			i++
			if _, ok := q.number(q.args[i], notAnInteger); !ok {
				return false
			}
		}
	}
	fine := true
	q.withKeyspace(func(tx *keyspace.Tx) {
		for _, key := range q.cmd.Keys(q.args) {
			kind := q.typeOf(tx, key)
			fine = fine && (kind == "none" || kind == "stream")
		}
	})
	if !fine {
		q.err(wrongType)
	}
	return fine
}

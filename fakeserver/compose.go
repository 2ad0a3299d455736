package fakeserver

import (
	"github.com/entracache/entracache/fakeserver/internal/keyspace"
	"github.com/entracache/entracache/fakeserver/internal/resp"
)

// Commands that the data engine lacks are put together here from those that it
// has, with the keyspace locked in between.

// withKeyspace runs f with the keyspace to itself.
func (q *request) withKeyspace(f func(tx *keyspace.Tx)) {
	if q.tx != nil {
		f(q.tx)
		return
	}
	q.s.keyspace.Atomically(f)
}

// ask runs a command of the data engine.
func (q *request) ask(tx *keyspace.Tx, name string, args ...[]byte) resp.Value {
	reply := tx.Do(nil, q.s.engineCall(q.session(), name, args...))
	v, _, err := resp.Parse(reply)
	if err != nil {
		return resp.Value{Kind: resp.KindError, Text: []byte("ERR the data engine of entracache gave no proper reply")}
	}
	return v
}

// text asks for a string; ok is false when an error was replied instead. A key
// that is not there gives nil.
func (q *request) textAt(tx *keyspace.Tx, key []byte) (value []byte, ok bool) {
	v := q.ask(tx, "get", key)
	if v.Kind == resp.KindError {
		q.err(string(v.Text))
		return nil, false
	}
	if v.IsNull() {
		return nil, true
	}
	if v.Text == nil {
		return []byte{}, true
	}
	return v.Text, true
}

// typeOf is a key's type as TYPE names it, "none" if there is no such key.
func (q *request) typeOf(tx *keyspace.Tx, key []byte) string {
	if t := string(q.ask(tx, "type", key).Text); t != "hll" {
		return t
	}
	return "string"
}

const wrongType = "WRONGTYPE Operation against a key holding the wrong kind of value"

// quietly is ask for a step of a write that is told as one, with Tx.Tell.
func (q *request) quietly(tx *keyspace.Tx, name string, args ...[]byte) resp.Value {
	call := q.s.engineCall(q.session(), name, args...)
	call.Quiet = true
	v, _, err := resp.Parse(tx.Do(nil, call))
	if err != nil {
		return resp.Value{Kind: resp.KindError, Text: []byte("ERR the data engine of entracache gave no proper reply")}
	}
	return v
}

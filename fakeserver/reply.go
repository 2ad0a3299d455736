package fakeserver

import (
	"github.com/tidwall/redcon"

	"github.com/entracache/entracache/fakeserver/internal/resp"
)

// The methods below append one reply, or the header of one, in the
// connection's protocol version.

func (q *request) simple(s string) { q.out = resp.AppendSimple(q.out, s) }

func (q *request) err(text string) {
	q.failed = true
	q.out = resp.AppendError(q.out, text)
}

func (q *request) integer(n int64) { q.out = resp.AppendInt(q.out, n) }

func (q *request) bulk(s string) { q.out = resp.AppendBulkString(q.out, s) }

func (q *request) null() { q.out = resp.AppendNull(q.out, q.c.protocol()) }

func (q *request) nullArray() { q.out = resp.AppendNullArray(q.out, q.c.protocol()) }

func (q *request) array(n int) { q.out = resp.AppendArray(q.out, n) }

func (q *request) mapHeader(n int) { q.out = resp.AppendMap(q.out, q.c.protocol(), n) }

func (q *request) setHeader(n int) { q.out = resp.AppendSet(q.out, q.c.protocol(), n) }

func (q *request) text(s string) {
	q.out = resp.AppendVerbatim(q.out, q.c.protocol(), "txt", []byte(s))
}

func (q *request) strings(list []string) {
	q.array(len(list))
	for _, s := range list {
		q.bulk(s)
	}
}

// muting is the state of CLIENT REPLY.
type muting uint8

const (
	replyOn       muting = iota
	replyOff             // nothing is answered
	replySkipNext        // CLIENT REPLY SKIP was just run
	replySkip            // the command that runs is not answered
)

// emit hands the reply over to redcon, which sends it when the commands that
// came together are done.
func (q *request) emit() {
	if q.c.mute == replyOn {
		q.c.rc.WriteRaw(q.out)
	}
	q.out = q.out[:0]
}

// next is the state for the command that follows.
func (m muting) next() muting {
	switch m {
	case replySkipNext:
		return replySkip
	case replySkip:
		return replyOn
	default:
		return m
	}
}

// flush sends everything that was replied so far.
func (q *request) flush() {
	q.emit()
	// A failed write shows again when redcon flushes, which then closes.
	_ = redcon.BaseWriter(q.c.rc).Flush()
}

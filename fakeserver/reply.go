package fakeserver

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/tidwall/redcon"

	"github.com/entracache/entracache/fakeserver/internal/keyspace"
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

func (q *request) null() { q.out = resp.AppendNull(q.out, q.protocol()) }

func (q *request) nullArray() { q.out = resp.AppendNullArray(q.out, q.protocol()) }

func (q *request) array(n int) { q.out = resp.AppendArray(q.out, n) }

func (q *request) mapHeader(n int) { q.out = resp.AppendMap(q.out, q.protocol(), n) }

func (q *request) setHeader(n int) { q.out = resp.AppendSet(q.out, q.protocol(), n) }

func (q *request) text(s string) {
	q.out = resp.AppendVerbatim(q.out, q.protocol(), "txt", []byte(s))
}

func (q *request) strings(list []string) {
	q.array(len(list))
	for _, s := range list {
		q.bulk(s)
	}
}

func (q *request) protocol() int {
	if q.resp != 0 {
		return q.resp
	}
	return q.c.protocol()
}

func (q *request) session() *keyspace.Session {
	if q.sess != nil {
		return q.sess
	}
	return q.c.session
}

// since says whether the engine is of the level, "7.0" say, or a later one.
func (q *request) since(level string) bool { return q.s.prof.level >= level }

// is says whether the command's subcommand is the one named, in lower case, and
// the number of arguments, the command's name included, is in the bounds; most
// is -1 for no bound.
func (q *request) is(sub string, least, most int) bool {
	n := len(q.args)
	return n >= least && (most < 0 || n <= most) && n > 1 && equalFold(q.args[1], sub)
}

// container is the command's name without its subcommand.
func (q *request) container() string {
	name, _, _ := strings.Cut(q.cmd.Name, "|")
	return name
}

// unknownSubcommand is the answer to a subcommand that there is not, or not
// with that number of arguments.
func (q *request) unknownSubcommand() {
	name := q.container()
	unknown, dot, sub := "Unknown", ".", clip(q.args[1], len(q.args[1]))
	switch {
	case q.since("7.0"):
		unknown, sub = "unknown", clip(q.args[1], 128)
	case !q.since("6.2") && (name == "client" || name == "memory"):
		dot = ""
	}
	q.err(fmt.Sprintf("ERR %s subcommand or wrong number of arguments for '%s'. Try %s HELP%s", unknown, sub, upper(name), dot))
}

// help replies with a container command's usage, in words of our own. A line
// that begins with a level and a colon is shown from that level on.
func (q *request) help(lines ...string) {
	shown := []string{upper(q.container()) + " <subcommand> arg arg ... arg. Subcommands are:"}
	if q.since("6.2") {
		shown[0] = upper(q.container()) + " <subcommand> [<arg> [value] [opt] ...]. Subcommands are:"
	}
	for _, line := range lines {
		if len(line) > 4 && line[1] == '.' && line[3] == ':' {
			if !q.since(line[:3]) {
				continue
			}
			line = line[4:]
		}
		shown = append(shown, line)
	}
	if q.since("6.2") {
		shown = append(shown, "HELP", "    Prints this help.")
	}
	q.array(len(shown))
	for _, line := range shown {
		q.simple(line)
	}
}

// push replies with what f appends even if CLIENT REPLY silences replies, as
// the confirmations of a subscription do.
func (q *request) push(f func()) {
	if q.c.mute == replyOn || q.tx != nil {
		f()
		return
	}
	start := len(q.out)
	f()
	q.c.rc.WriteRaw(q.out[start:])
	q.out = q.out[:start]
}

const notAnInteger = "ERR value is not an integer or out of range"

// number reads an integer argument as Redis does: decimal digits with an
// optional minus, no leading zeros. It replies with the text otherwise.
func (q *request) number(arg []byte, text string) (int64, bool) {
	n, ok := parseNumber(arg)
	if !ok {
		q.err(text)
	}
	return n, ok
}

func parseNumber(arg []byte) (int64, bool) {
	n, err := strconv.ParseInt(string(arg), 10, 64)
	return n, err == nil && strconv.FormatInt(n, 10) == string(arg)
}

// muting is the state of CLIENT REPLY.
type muting uint8

const (
	replyOn       muting = iota
	replyOff             // nothing is answered
	replySkipNext        // CLIENT REPLY SKIP was just run
	replySkip            // the command that runs is not answered
)

// emit sends the reply, at the latest when the commands that came together are
// done.
func (q *request) emit() {
	if q.faulty != nil && len(q.out) > 0 {
		q.spoil()
	}
	if q.c.mute == replyOn {
		q.c.reply(q.out)
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
	q.c.moment = 0 // what follows may wait
	// A failed write shows again when redcon flushes, which then closes.
	_ = redcon.BaseWriter(q.c.rc).Flush()
}

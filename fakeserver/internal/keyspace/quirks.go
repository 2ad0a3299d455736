package keyspace

import (
	"bytes"
	"slices"
	"strconv"
	"strings"

	"github.com/entracache/entracache/fakeserver/internal/resp"
)

// What the engine (miniredis 2.40.0) does wrong in a way that a client would
// trip over. Each was found by TestRandomCommands of the server.

// maxString is Redis' largest string, in bytes.
const maxString = 512 << 20

// maxRepeats bounds SRANDMEMBER with a negative count, which gives that many
// elements however few there are. Redis has no such bound (before 7.0 it would
// try for ever).
const maxRepeats = 1 << 24

// refuse answers commands on which the engine panics, or for which it takes
// more memory than Redis would.
func refuse(c Call) (reply string, refused bool) {
	switch c.Command.Name {
	case "scan", "sscan", "hscan", "zscan":
		cursor := c.Args[1]
		if c.Command.Name != "scan" {
			cursor = c.Args[2]
		}
		if bytes.HasPrefix(cursor, []byte("-")) {
			return "-ERR invalid cursor\r\n", true
		}
		// COUNT below 1 is a slice index for the engine, a syntax error for
		// Redis.
		for i := 2; i+1 < len(c.Args); i++ {
			if !strings.EqualFold(string(c.Args[i]), "count") {
				continue
			}
			if n, err := strconv.ParseInt(string(c.Args[i+1]), 10, 64); err == nil && n < 1 {
				return "-ERR syntax error\r\n", true
			}
		}
	case "srandmember":
		if len(c.Args) > 2 {
			if n, err := strconv.ParseInt(string(c.Args[2]), 10, 64); err == nil && n < -maxRepeats {
				return "-ERR value is out of range\r\n", true
			}
		}
	case "xtrim":
		if last := string(c.Args[len(c.Args)-1]); last == "~" || last == "=" {
			return "-ERR syntax error\r\n", true
		}
	case "setrange":
		if n, err := strconv.ParseInt(string(c.Args[2]), 10, 64); err == nil && n > maxString-int64(len(c.Args[3])) {
			return "-ERR string exceeds maximum allowed size (512MB)\r\n", true
		}
	case "setbit", "getbit":
		if n, err := strconv.ParseInt(string(c.Args[2]), 10, 64); err != nil || n < 0 || n >= maxString*8 {
			return "-ERR bit offset is not an integer or out of range\r\n", true
		}
	}
	return "", false
}

// allAtOnce makes SSCAN and ZSCAN give all elements with the first call, as the
// engine's SCAN and HSCAN do. With a cursor it would sort everything for each
// page, and leave elements out where others were removed meanwhile.
func allAtOnce(c Call) [][]byte {
	if name := c.Command.Name; name != "sscan" && name != "zscan" || len(c.Args)%2 == 0 {
		return c.Args // without a value for each option it is an error
	}
	return append(slices.Clip(c.Args), []byte("COUNT"), []byte("1000000000"))
}

// repair puts right what a command left behind.
func (e *Engine) repair(c Call, reply []byte) {
	switch c.Command.Name {
	case "sdiffstore", "sinterstore", "sunionstore", "zinterstore", "zunionstore":
		// An empty result is stored as a key that holds nothing, on which the
		// engine's SADD panics. In Redis there is no such key.
		if bytes.Equal(reply, []byte(":0\r\n")) {
			e.dispatch(nil, c.Session, 2, []string{"DEL", string(c.Args[1])})
		}
	case "bitop":
		// An empty result removes the key, but leaves its time to live for
		// the next one of that name.
		if in, key := e.mini.DB(c.Session.db), string(c.Args[2]); bytes.Equal(reply, []byte(":0\r\n")) && !in.Exists(key) {
			_ = in.Set(key, "")
			in.Del(key)
		}
	}
}

// single makes sure that a command is answered exactly once: the engine answers
// XLEN of another type of key twice. The replies start at start.
func single(dst []byte, start int) []byte {
	reply := dst[start:]
	// Most replies are one line; looking for its end is all they need.
	if len(reply) > 0 && (reply[0] == '+' || reply[0] == '-' || reply[0] == ':') {
		if bytes.IndexByte(reply, '\n') == len(reply)-1 {
			return dst
		}
	}
	_, rest, err := resp.SplitReply(reply)
	if err != nil {
		return append(dst[:start], "-ERR the data engine of entracache gave no proper reply\r\n"...)
	}
	return dst[:len(dst)-len(rest)]
}

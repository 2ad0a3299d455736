package resp

import (
	"bytes"
	"fmt"
	"sync/atomic"
)

// phase says what the framer expects next.
type phase uint8

const (
	betweenCommands phase = iota
	bulkHeader            // "$len\r\n"
	bulkBody              // the remaining bytes of an argument
	bulkEnd               // the two bytes after it
)

// stop says why the framer stopped.
type stop uint8

const (
	stopMore  stop = iota // it needs more input
	stopFull              // there is no room for what comes next
	stopLong              // a line is longer than allowed, and its end is not there: it needs what has come meanwhile
	stopEvent             // a violation, an inline command in pending, or the one command that an unauthenticated client gets
)

// minArg is the shortest argument on the wire, "$0\r\n\r\n".
const minArg = 6

// violation is why a stream ends. An empty reply means that Redis says nothing in this case.
type violation struct {
	reply string // without the leading '-' and the line end
	note  string // for OnProtocolError, where there is no reply
}

// framer is the state of one connection's framing. It copies commands from what the client sent to what redcon will
// read. Both may be the same memory, because a command in canonical form is never longer than what was sent, inline
// commands excepted, which therefore go to pending.
type framer struct {
	limits        Limits
	authenticated atomic.Bool

	phase phase
	args  int64 // arguments still to come
	body  int64 // bytes still to come of the current argument
	end   int   // bytes still to come after it
	size  int64 // of the current command, as far as announced
	// silent: the announced number of arguments cannot fit Limits.Command. The framing is checked as ever, but nothing
	// is emitted, because redcon would count to that number at each of its reads.
	silent bool

	// Of a line whose end has not arrived yet: how much has been searched, and whether it holds a zero byte. Redis
	// searches with strchr, which stops there, so that such a line never ends.
	searched int
	zero     bool
	// Of a line that is too long: nothing more has come meanwhile, or more than may.
	nothingMore bool

	padded    bool      // the '*' of the next command has been emitted, see Guard.pad
	pending   buffer    // canonical bytes that are to be emitted before anything else
	violation violation // why the stream has ended
	broken    bool      // it has

	done    int   // commands completed in this Read
	whole   int   // end of the last of them in the caller's buffer
	largest int64 // the largest command since the last call of Guard.pad
}

// frame emits commands from src into p[n:]. It returns the new n, how much of src it has used, and why it stopped.
func (f *framer) frame(p []byte, n int, src []byte) (int, int, stop) {
	i := 0
	for i < len(src) {
		switch f.phase {
		case betweenCommands:
			if f.done > 0 && !f.authenticated.Load() {
				// The command just framed may sign in, which changes the limits of the next.
				return n, i, stopEvent
			}
			if src[i] != '*' {
				used, blank, s := f.inline(src[i:])
				i += used
				if !blank {
					return n, i, s
				}
				continue
			}
			count, size, found := f.number(src[i:])
			switch {
			case found == lineOpen:
				return n, i, stopMore
			case found == lineTooLong:
				return n, i, f.refuseLine("too big mbulk count string")
			case found == lineBad || count > f.limits.Args:
				return n, i, f.refuse("invalid multibulk length")
			case count > f.limits.UnauthenticatedArgs && !f.authenticated.Load():
				return n, i, f.refuse("unauthenticated multibulk length")
			case count <= 0:
				i += size // *0 and *-1 are commands without a name, which Redis skips
				continue
			case len(p)-n < size:
				return n, i, stopFull
			}
			f.args, f.size = count, int64(size)
			f.silent = count > f.limits.Command/minArg
			line := src[i : i+size]
			if f.padded {
				f.padded = false
				line = line[1:]
			}
			n += f.emitLine(p[n:], line)
			i += size
			f.phase = bulkHeader

		case bulkHeader:
			length, size, found := f.number(src[i:])
			switch {
			case found == lineOpen:
				return n, i, stopMore
			case found == lineTooLong:
				return n, i, f.refuseLine("too big bulk count string")
			case src[i] != '$':
				// Redis notices this, too, only once the line is there.
				return n, i, f.refuse(expectedDollar(src[i]))
			case found == lineBad || length < 0 || length > f.limits.Bulk:
				return n, i, f.refuse("invalid bulk length")
			case length > f.limits.UnauthenticatedBulk && !f.authenticated.Load():
				return n, i, f.refuse("unauthenticated bulk length")
			case len(p)-n < size:
				return n, i, stopFull
			}
			total := f.size + int64(size) + length + 2
			if total > f.limits.Command {
				return n, i, f.refuseSilently(fmt.Sprintf("a command of more than %d bytes", f.limits.Command))
			}
			f.size = total
			if whole := size + int(length) + 2; whole <= len(src)-i && whole <= len(p)-n && !f.silent {
				// Nearly every argument is all there, and nearly all of the framer's time is spent here.
				arg := p[n : n+whole]
				move(arg, src[i:i+whole])
				arg[size-1], arg[whole-2], arg[whole-1] = '\n', '\r', '\n'
				n += whole
				i += whole
				f.argDone(n)
				continue
			}
			n += f.emitLine(p[n:], src[i:i+size])
			i += size
			f.body, f.end, f.phase = length, 2, bulkBody

		case bulkBody:
			k := int(min(f.body, int64(len(src)-i), int64(len(p)-n)))
			if k == 0 && f.body > 0 {
				return n, i, stopFull
			}
			if !f.silent && k > 0 {
				move(p[n:], src[i:i+k])
				n += k
			}
			i += k
			if f.body -= int64(k); f.body == 0 {
				f.phase = bulkEnd
			}

		case bulkEnd:
			// Redis skips two bytes here, whatever they are.
			if n == len(p) {
				return n, i, stopFull
			}
			if !f.silent {
				p[n] = "\r\n"[2-f.end]
				n++
			}
			i++
			if f.end--; f.end == 0 {
				f.phase = bulkHeader
				f.argDone(n)
			}
		}
	}
	return n, i, stopMore
}

func (f *framer) argDone(n int) {
	if f.args--; f.args == 0 {
		f.completed(n)
	}
}

func (f *framer) completed(n int) {
	f.phase = betweenCommands
	f.done++
	f.whole = n
	f.largest = max(f.largest, f.size)
}

// inline frames one inline command from src into pending. It reports blank for a line that holds no command.
func (f *framer) inline(src []byte) (used int, blank bool, s stop) {
	end, found := f.lineEnd(src, '\n')
	switch found {
	case lineOpen:
		return 0, false, stopMore
	case lineTooLong:
		return 0, false, f.refuseLine("too big inline request")
	}
	line := bytes.TrimSuffix(src[:end], []byte("\r"))
	args, ok := splitInline(line)
	switch {
	case !ok:
		return 0, false, f.refuse("unbalanced quotes in request")
	case len(args) == 0:
		return end + 1, true, stopMore
	}
	command := AppendArray(nil, len(args))
	for _, arg := range args {
		command = AppendBulk(command, arg)
	}
	if f.padded {
		f.padded = false
		command = command[1:]
	}
	f.size = int64(len(command))
	f.pending.append(command)
	return end + 1, false, stopEvent
}

// line says what was found where a line should be.
type line uint8

const (
	lineFound line = iota
	lineOpen       // its end has not arrived
	lineTooLong
	lineBad // it does not hold a number
)

// number reads the number between the first byte of src and the end of the line, and the size of it all. As in Redis
// the line ends at the first \r, and the byte after it is skipped whatever it is.
func (f *framer) number(src []byte) (v int64, size int, found line) {
	// Nearly every line is a few digits and all there.
	j := 1
	for j < len(src) && j <= 10 && '0' <= src[j] && src[j] <= '9' {
		v = v*10 + int64(src[j]-'0')
		j++
	}
	if j > 1 && j+1 < len(src) && src[j] == '\r' && (src[1] != '0' || j == 2) && src[0] != 0 {
		f.searched, f.zero, f.nothingMore = 0, false, false
		return v, j + 2, lineFound
	}
	end, found := f.lineEnd(src, '\r')
	if found != lineFound {
		return 0, 0, found
	}
	if end+1 == len(src) {
		f.searched = end
		return 0, 0, lineOpen
	}
	v, ok := parseInt(src[min(1, end):end])
	if !ok {
		return 0, end + 2, lineBad
	}
	return v, end + 2, lineFound
}

// lineEnd finds the byte that ends the line at the start of src.
func (f *framer) lineEnd(src []byte, ending byte) (int, line) {
	if !f.zero {
		fresh := src[f.searched:]
		end := bytes.IndexByte(fresh, ending)
		if end >= 0 {
			fresh = fresh[:end]
		}
		f.zero = bytes.IndexByte(fresh, 0) >= 0
		if end += f.searched; !f.zero && end >= f.searched {
			if end > f.limits.Line+f.limits.Overrun {
				f.nothingMore = true
				return 0, lineTooLong
			}
			f.searched, f.nothingMore = 0, false
			return end, lineFound
		}
	}
	f.searched = len(src)
	if len(src) <= f.limits.Line {
		return 0, lineOpen
	}
	f.nothingMore = f.nothingMore || len(src) > f.limits.Line+f.limits.Overrun
	return 0, lineTooLong
}

// emitLine copies a header line to p, with the line end that it should have had.
func (f *framer) emitLine(p, header []byte) int {
	if f.silent {
		return 0
	}
	move(p, header)
	p[len(header)-1] = '\n'
	return len(header)
}

// move copies src to the start of dst, unless it is there already.
func move(dst, src []byte) {
	if &dst[0] != &src[0] {
		copy(dst, src)
	}
}

// refuseLine ends the stream because of a line that is too long, unless its end may have come already.
func (f *framer) refuseLine(text string) stop {
	if !f.nothingMore {
		return stopLong
	}
	return f.refuse(text)
}

func (f *framer) refuse(text string) stop {
	f.broken = true
	f.violation = violation{reply: "ERR Protocol error: " + text}
	return stopEvent
}

func (f *framer) refuseSilently(note string) stop {
	f.broken = true
	f.violation = violation{note: "closed without a reply: " + note}
	return stopEvent
}

func expectedDollar(got byte) string {
	if got == '\r' || got == '\n' {
		got = ' ' // as Redis does, lest the reply be cut in two
	}
	return "expected '$', got '" + string([]byte{got}) + "'"
}

// parseInt is Redis' string2ll: no plus sign, no leading zeros, no blanks, and it must fit 64 bits.
func parseInt(b []byte) (int64, bool) {
	if len(b) == 1 && b[0] == '0' {
		return 0, true
	}
	digits := bytes.TrimPrefix(b, []byte("-"))
	if len(digits) == 0 || len(digits) > 19 || digits[0] == '0' {
		return 0, false
	}
	var v uint64 // 19 digits fit
	for _, c := range digits {
		if c < '0' || c > '9' {
			return 0, false
		}
		v = v*10 + uint64(c-'0')
	}
	negative := len(digits) < len(b)
	switch {
	case negative && v <= 1<<63:
		return -int64(v), true
	case !negative && v < 1<<63:
		return int64(v), true
	}
	return 0, false
}

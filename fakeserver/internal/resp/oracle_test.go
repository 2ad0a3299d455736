package resp

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// scripted is a connection whose reads return the given pieces, one after the other, then io.EOF.
type scripted struct {
	net.Conn // nil: anything else panics
	pieces   [][]byte
	replies  bytes.Buffer
	closed   bool
	reads    int
}

func (c *scripted) Read(p []byte) (int, error) {
	c.reads++
	for len(c.pieces) > 0 && len(c.pieces[0]) == 0 {
		c.pieces = c.pieces[1:]
	}
	if len(c.pieces) == 0 {
		return 0, io.EOF
	}
	n := copy(p, c.pieces[0])
	c.pieces[0] = c.pieces[0][n:]
	return n, nil
}

func (c *scripted) Write(p []byte) (int, error)     { return c.replies.Write(p) }
func (c *scripted) Close() error                    { c.closed = true; return nil }
func (c *scripted) SetReadDeadline(time.Time) error { return nil }

// cut cuts b into pieces of the given sizes in turn, the last size being used for all that remains.
func cut(b []byte, sizes ...int) [][]byte {
	var pieces [][]byte
	for i := 0; len(b) > 0; i++ {
		n := max(1, min(len(b), sizes[min(i, len(sizes)-1)]))
		pieces = append(pieces, bytes.Clone(b[:n]))
		b = b[n:]
	}
	return pieces
}

// outcome is what a stream of bytes from a client amounts to.
type outcome struct {
	commands [][]string
	reply    string // of the guard itself
	violated bool
}

// expect is a second, much simpler implementation of Redis' framing, over a stream that is there as a whole.
// signIn says after how many commands the client counts as authenticated; negative means never.
func expect(in []byte, limits Limits, signIn int) (o outcome) {
	limits = limits.withDefaults()
	fail := func(text string) outcome {
		o.violated = true
		if text != "" {
			o.reply = "-ERR Protocol error: " + text + "\r\n"
		}
		return o
	}
	// line finds the end of a line as strchr does, which a zero byte ends.
	line := func(b []byte, end byte) (text []byte, status string) {
		i := bytes.IndexByte(b, end)
		if z := bytes.IndexByte(b, 0); z >= 0 && z < i {
			i = -1
		}
		switch {
		case i > limits.Line+limits.Overrun || i < 0 && len(b) > limits.Line:
			return nil, "long"
		case i < 0 || end == '\r' && i+1 == len(b):
			return nil, "open"
		}
		return b[:i], ""
	}
	number := func(b []byte) (int64, bool) {
		v, err := strconv.ParseInt(string(b), 10, 64)
		return v, err == nil && strconv.FormatInt(v, 10) == string(b)
	}
	for len(in) > 0 {
		authenticated := signIn >= 0 && len(o.commands) >= signIn
		var args []string
		if in[0] != '*' {
			text, status := line(in, '\n')
			switch status {
			case "open":
				return o
			case "long":
				return fail("too big inline request")
			}
			in = in[len(text)+1:]
			words, ok := splitInline(bytes.TrimSuffix(text, []byte{'\r'}))
			if !ok {
				return fail("unbalanced quotes in request")
			}
			for _, w := range words {
				args = append(args, string(w))
			}
		} else {
			text, status := line(in, '\r')
			switch status {
			case "open":
				return o
			case "long":
				return fail("too big mbulk count string")
			}
			count, ok := number(text[1:])
			if !ok || count > limits.Args {
				return fail("invalid multibulk length")
			}
			if count > limits.UnauthenticatedArgs && !authenticated {
				return fail("unauthenticated multibulk length")
			}
			size := int64(len(text) + 2)
			in = in[len(text)+2:]
			for range count {
				text, status := line(in, '\r')
				switch {
				case status == "open":
					return o
				case status == "long":
					return fail("too big bulk count string")
				case in[0] != '$':
					return fail(fmt.Sprintf("expected '$', got '%s'", strings.NewReplacer("\r", " ", "\n", " ").Replace(string(in[:1]))))
				}
				length, ok := number(text[1:])
				if !ok || length < 0 || length > limits.Bulk {
					return fail("invalid bulk length")
				}
				if length > limits.UnauthenticatedBulk && !authenticated {
					return fail("unauthenticated bulk length")
				}
				if size += int64(len(text)+4) + length; size > limits.Command {
					return fail("")
				}
				in = in[len(text)+2:]
				if int64(len(in)) < length+2 {
					return o
				}
				args = append(args, string(in[:length]))
				in = in[length+2:]
			}
		}
		if len(args) > 0 {
			o.commands = append(o.commands, args)
		}
	}
	return o
}

// observe reads in through a guard, cut into pieces of the given sizes, with slices of the given lengths, and takes what
// comes out apart. It fails where the output is not canonical, or where an unauthenticated client gets more than one
// command at a time.
func observe(t testing.TB, in []byte, limits Limits, signIn int, pieces, slices []int) (o outcome) {
	c := &scripted{pieces: cut(in, pieces...)}
	violated := 0
	g := NewGuard(c, Options{Limits: limits, OnProtocolError: func(string) { violated++ }})
	g.SetAuthenticated(signIn == 0)
	var out []byte
	for i := 0; ; i++ {
		p := make([]byte, slices[min(i, len(slices)-1)])
		n, err := g.Read(p)
		if err != nil {
			require.ErrorIs(t, err, io.EOF)
			require.Zero(t, n)
			break
		}
		require.NotZero(t, n, "an empty read")
		out = append(out, p[:n]...)
		before := len(o.commands)
		for {
			args, rest, ok := canonical(t, out)
			if !ok {
				break
			}
			out = rest
			o.commands = append(o.commands, args)
			if len(o.commands) == signIn {
				g.SetAuthenticated(true)
			}
		}
		if signIn < 0 || before < signIn {
			require.LessOrEqual(t, len(o.commands), before+1, "more than one command at a time before sign-in")
		}
	}
	n, err := g.Read(make([]byte, 4096))
	require.Zero(t, n, "bytes after the end of the stream")
	require.ErrorIs(t, err, io.EOF)
	require.LessOrEqual(t, violated, 1, "a violation is reported once")
	o.violated = violated > 0
	o.reply = c.replies.String()
	require.LessOrEqual(t, cap(g.in.b)+cap(g.pending.b), 2*(g.limits.Line+redconBuffer+len(in)), "the guard hoards")
	return o
}

// canonical takes the first whole command off b and fails where b does not begin like one.
func canonical(t testing.TB, b []byte) (args []string, rest []byte, ok bool) {
	number := func(mark byte, zeros bool) (int, bool) {
		end := bytes.Index(b, []byte("\r\n"))
		if end < 0 {
			return 0, false
		}
		require.Equal(t, mark, b[0], "in %q", b[:min(len(b), 80)])
		digits := string(b[1:end])
		n, err := strconv.Atoi(digits)
		require.NoError(t, err)
		if zeros {
			digits = "0" + strings.TrimLeft(digits, "0") // see Guard.pad
			require.Equal(t, "0"+strconv.Itoa(n), digits)
		} else {
			require.Equal(t, strconv.Itoa(n), digits)
		}
		b = b[end+2:]
		return n, true
	}
	start := b
	if len(b) == 0 {
		return nil, start, false
	}
	count, ok := number('*', true)
	if !ok {
		return nil, start, false
	}
	require.Positive(t, count)
	for range count {
		n, ok := number('$', false)
		if !ok || len(b) < n+2 {
			return nil, start, false
		}
		require.Equal(t, "\r\n", string(b[n:n+2]))
		args = append(args, string(b[:n]))
		b = b[n+2:]
	}
	return args, b, true
}

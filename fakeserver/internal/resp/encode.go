package resp

import (
	"math"
	"strconv"
)

// The append functions add one reply, or the header of one, to b and return the extended slice. Where RESP2 and RESP3
// differ they take the protocol version of the connection, 2 or 3; what RESP2 lacks becomes what Redis 6.0 sends
// instead. After the header of an aggregate come its elements, each appended in turn.

// AppendSimple appends a simple string: +OK. Line ends in it become blanks.
func AppendSimple(b []byte, s string) []byte { return appendLine(b, '+', s) }

// AppendError appends an error, its code included: "ERR syntax error". Line ends in it become blanks.
func AppendError(b []byte, s string) []byte { return appendLine(b, '-', s) }

func appendLine(b []byte, kind byte, s string) []byte {
	b = append(b, kind)
	start := len(b)
	b = append(b, s...)
	for i, c := range b[start:] {
		if c == '\r' || c == '\n' {
			b[start+i] = ' '
		}
	}
	return append(b, '\r', '\n')
}

// AppendInt appends an integer: :42.
func AppendInt(b []byte, v int64) []byte { return appendHeader(b, ':', v) }

// AppendBulk appends a bulk string of any bytes: $3, abc. A nil slice is an empty string; see AppendNull.
func AppendBulk(b, s []byte) []byte {
	b = appendHeader(b, '$', int64(len(s)))
	b = append(b, s...)
	return append(b, '\r', '\n')
}

// AppendBulkString is AppendBulk for a string.
func AppendBulkString(b []byte, s string) []byte {
	b = appendHeader(b, '$', int64(len(s)))
	b = append(b, s...)
	return append(b, '\r', '\n')
}

// AppendNull appends the null of a single value: $-1, in RESP3 _.
func AppendNull(b []byte, proto int) []byte {
	if proto >= 3 {
		return append(b, "_\r\n"...)
	}
	return append(b, "$-1\r\n"...)
}

// AppendNullArray appends the null of an array, such as an aborted EXEC's or a timed-out BLPOP's: *-1, in RESP3 _.
func AppendNullArray(b []byte, proto int) []byte {
	if proto >= 3 {
		return append(b, "_\r\n"...)
	}
	return append(b, "*-1\r\n"...)
}

// AppendArray appends the header of an array of n elements.
func AppendArray(b []byte, n int) []byte { return appendHeader(b, '*', int64(n)) }

// AppendMap appends the header of a map of n pairs; key and value alternate. In RESP2 it is an array of 2n elements.
func AppendMap(b []byte, proto, n int) []byte {
	if proto >= 3 {
		return appendHeader(b, '%', int64(n))
	}
	return appendHeader(b, '*', 2*int64(n))
}

// AppendSet appends the header of a set of n elements. In RESP2 it is an array.
func AppendSet(b []byte, proto, n int) []byte { return appendAggregate(b, '~', proto, n) }

// AppendPush appends the header of an out-of-band message of n elements. In RESP2 it is an array, the form of pub/sub
// messages there.
func AppendPush(b []byte, proto, n int) []byte { return appendAggregate(b, '>', proto, n) }

func appendAggregate(b []byte, kind byte, proto, n int) []byte {
	if proto < 3 {
		kind = '*'
	}
	return appendHeader(b, kind, int64(n))
}

// AppendDouble appends a floating-point number, in RESP2 as a bulk string, with 17 significant digits as Redis up to
// 7.0 writes it: 0.1 becomes 0.10000000000000001.
func AppendDouble(b []byte, proto int, v float64) []byte {
	var buf [32]byte
	text := appendFloat(buf[:0], v)
	if proto >= 3 {
		b = append(b, ',')
		b = append(b, text...)
		return append(b, '\r', '\n')
	}
	return AppendBulk(b, text)
}

func appendFloat(b []byte, v float64) []byte {
	switch {
	case math.IsInf(v, 1):
		return append(b, "inf"...)
	case math.IsInf(v, -1):
		return append(b, "-inf"...)
	case math.IsNaN(v):
		return append(b, "nan"...)
	}
	return strconv.AppendFloat(b, v, 'g', 17, 64)
}

// AppendBool appends a truth value: #t or #f, in RESP2 :1 or :0.
func AppendBool(b []byte, proto int, v bool) []byte {
	switch {
	case proto >= 3 && v:
		return append(b, "#t\r\n"...)
	case proto >= 3:
		return append(b, "#f\r\n"...)
	case v:
		return append(b, ":1\r\n"...)
	}
	return append(b, ":0\r\n"...)
}

// AppendVerbatim appends text with its format, "txt" or "mkd" (cut or filled up with blanks to three bytes). In RESP2
// it is a bulk string without the format.
func AppendVerbatim(b []byte, proto int, format string, s []byte) []byte {
	if proto < 3 {
		return AppendBulk(b, s)
	}
	b = appendHeader(b, '=', int64(len(s))+4)
	b = append(b, (format + "   ")[:3]...)
	b = append(b, ':')
	b = append(b, s...)
	return append(b, '\r', '\n')
}

// AppendBigNumber appends an integer of any size, given in decimal digits. In RESP2 it is a bulk string.
func AppendBigNumber(b []byte, proto int, digits string) []byte {
	if proto < 3 {
		return AppendBulkString(b, digits)
	}
	return appendLine(b, '(', digits)
}

func appendHeader(b []byte, kind byte, n int64) []byte {
	b = append(b, kind)
	b = strconv.AppendInt(b, n, 10)
	return append(b, '\r', '\n')
}

package fakeserver

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"

	lua "github.com/yuin/gopher-lua"
)

// Scripts have Redis' struct library, with which some clients (Redisson) pack
// values: numbers and strings in a layout that a format tells.

const (
	structNativeAlign = 8
	structMaxInt      = 32 // bytes of an integer, the library's own limit
)

// structFormat walks through a format.
type structFormat struct {
	l     *lua.LState
	call  string // the function's name, for errors
	rest  string
	big   bool
	align int
}

// structOption is one option of a format: what it is and how many bytes it
// takes, 0 where that depends on the value.
type structOption struct {
	kind byte
	size int
}

func (f *structFormat) fail(argument int, text string) {
	f.l.RaiseError("bad argument #%d to '%s' (%s)", argument, f.call, text)
}

// number reads the digits that follow an option.
func (f *structFormat) number(otherwise int) int {
	if f.rest == "" || f.rest[0] < '0' || f.rest[0] > '9' {
		return otherwise
	}
	n := 0
	for f.rest != "" && f.rest[0] >= '0' && f.rest[0] <= '9' {
		if n > math.MaxInt32/10-10 {
			f.fail(1, "integral size overflow")
		}
		n = n*10 + int(f.rest[0]-'0')
		f.rest = f.rest[1:]
	}
	return n
}

// next returns the next option that takes bytes; ok is false at the end.
func (f *structFormat) next() (o structOption, ok bool) {
	for f.rest != "" {
		o.kind = f.rest[0]
		f.rest = f.rest[1:]
		switch o.kind {
		case ' ':
		case '<':
			f.big = false
		case '>':
			f.big = true
		case '!':
			f.align = f.number(structNativeAlign)
			if f.align == 0 || f.align&(f.align-1) != 0 {
				f.l.RaiseError("alignment %d is not a power of 2", f.align)
			}
		case 'b', 'B', 'x':
			o.size = 1
			return o, true
		case 'h', 'H':
			o.size = 2
			return o, true
		case 'f':
			o.size = 4
			return o, true
		case 'l', 'L', 'T', 'd':
			o.size = 8
			return o, true
		case 'i', 'I':
			o.size = f.number(4)
			if o.size > structMaxInt {
				f.l.RaiseError("integral size %d is larger than limit of %d", o.size, structMaxInt)
			}
			return o, true
		case 'c':
			o.size = f.number(1)
			return o, true
		case 's':
			return o, true
		default:
			f.fail(1, fmt.Sprintf("invalid format option '%c'", o.kind))
		}
	}
	return o, false
}

// padding is how many bytes come before an option at a position.
func (f *structFormat) padding(o structOption, at int) int {
	size := min(o.size, f.align)
	if o.kind == 'c' || size <= 1 {
		return 0
	}
	return (size - at&(size-1)) & (size - 1)
}

// order copies an integer's bytes, which are in little endian, in the order of
// the format.
func (f *structFormat) order(b []byte) []byte {
	if f.big {
		for i, j := 0, len(b)-1; i < j; i, j = i+1, j-1 {
			b[i], b[j] = b[j], b[i]
		}
	}
	return b
}

func (f *structFormat) pack(l *lua.LState) int {
	var out []byte
	argument := 2
	for o, ok := f.next(); ok; o, ok = f.next() {
		out = append(out, make([]byte, f.padding(o, len(out)))...)
		switch o.kind {
		case 'x':
			out = append(out, 0)
			continue
		case 'c', 's':
			s := l.CheckString(argument)
			if o.kind == 's' {
				out = append(append(out, s...), 0)
				break
			}
			if o.size == 0 {
				o.size = len(s)
			}
			if len(s) < o.size {
				f.fail(argument, "string too short")
			}
			out = append(out, s[:o.size]...)
		case 'f':
			bits := binary.LittleEndian.AppendUint32(nil, math.Float32bits(float32(l.CheckNumber(argument))))
			out = append(out, f.order(bits)...)
		case 'd':
			bits := binary.LittleEndian.AppendUint64(nil, math.Float64bits(float64(l.CheckNumber(argument))))
			out = append(out, f.order(bits)...)
		default:
			n := float64(l.CheckNumber(argument))
			var value uint64
			if n < 0 {
				value = uint64(int64(n)) // the bits are wanted
			} else {
				value = uint64(n)
			}
			b := make([]byte, max(o.size, 8))
			binary.LittleEndian.PutUint64(b, value)
			out = append(out, f.order(b[:o.size])...)
		}
		argument++
	}
	l.Push(lua.LString(out))
	return 1
}

func (f *structFormat) unpack(l *lua.LState) int {
	data := []byte(l.CheckString(2))
	at := l.OptInt(3, 1) - 1
	if at < 0 {
		f.fail(3, "offset must be 1 or greater")
	}
	var values []lua.LValue
	for o, ok := f.next(); ok; o, ok = f.next() {
		at += f.padding(o, at)
		if o.size > len(data)-at {
			f.fail(2, "data string too short")
		}
		raw := data[at : at+o.size]
		switch o.kind {
		case 'x':
		case 'c':
			if o.size == 0 {
				last, isNumber := lua.LValue(nil), false
				if len(values) > 0 {
					last = values[len(values)-1]
					_, isNumber = last.(lua.LNumber)
				}
				if !isNumber {
					f.l.RaiseError("format 'c0' needs a previous size")
				}
				values = values[:len(values)-1]
				o.size = int(last.(lua.LNumber))
				if o.size < 0 || o.size > len(data)-at {
					f.fail(2, "data string too short")
				}
				raw = data[at : at+o.size]
			}
			values = append(values, lua.LString(raw))
		case 's':
			end := bytes.IndexByte(data[at:], 0)
			if end < 0 {
				f.l.RaiseError("unfinished string in data")
			}
			values = append(values, lua.LString(data[at:at+end]))
			o.size = end + 1
		case 'f':
			bits := binary.LittleEndian.Uint32(f.order(bytes.Clone(raw)))
			values = append(values, lua.LNumber(math.Float32frombits(bits)))
		case 'd':
			bits := binary.LittleEndian.Uint64(f.order(bytes.Clone(raw)))
			values = append(values, lua.LNumber(math.Float64frombits(bits)))
		default:
			values = append(values, f.integer(raw, o.kind >= 'a'))
		}
		at += o.size
	}
	for _, v := range values {
		l.Push(v)
	}
	l.Push(lua.LNumber(at + 1))
	return len(values) + 1
}

func (f *structFormat) integer(raw []byte, signed bool) lua.LValue {
	b := f.order(bytes.Clone(raw))
	var value uint64
	for i := len(b) - 1; i >= 0; i-- {
		value = value<<8 | uint64(b[i])
	}
	if !signed {
		return lua.LNumber(value)
	}
	if bits := 8 * len(b); bits < 64 && bits > 0 && value>>(bits-1) == 1 {
		value |= math.MaxUint64 << bits
	}
	return lua.LNumber(int64(value)) // the bits are wanted
}

func (f *structFormat) length(l *lua.LState) int {
	n := 0
	for o, ok := f.next(); ok; o, ok = f.next() {
		n += f.padding(o, n)
		if o.size == 0 && o.kind == 's' {
			f.fail(1, "option 's' has no fixed size")
		}
		if o.size == 0 && o.kind == 'c' {
			f.fail(1, "option 'c0' has no fixed size")
		}
		n += o.size
	}
	l.Push(lua.LNumber(n))
	return 1
}

// addStruct gives a script the library.
func addStruct(l *lua.LState) {
	module := l.NewTable()
	for name, run := range map[string]func(*structFormat, *lua.LState) int{
		"pack": (*structFormat).pack, "unpack": (*structFormat).unpack, "size": (*structFormat).length,
	} {
		module.RawSetString(name, l.NewFunction(func(l *lua.LState) int {
			return run(&structFormat{l: l, call: name, rest: l.CheckString(1), align: 1}, l)
		}))
	}
	l.SetGlobal("struct", module)
}

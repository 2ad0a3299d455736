package fakeserver

import (
	"math"
	"strings"

	"github.com/entracache/entracache/fakeserver/internal/keyspace"
)

// bitOp is one operation of BITFIELD.
type bitOp struct {
	kind     byte // 'g'et, 's'et or 'i'ncrby
	signed   bool
	bits     uint
	offset   uint64 // in bits
	value    int64
	overflow byte // 'w'rap, 's'aturate or 'f'ail
}

const maxStringBits = 512 << 20 << 3

// cmdBitfield is BITFIELD and BITFIELD_RO.
func cmdBitfield(q *request) {
	ops, ok := q.bitOps()
	if !ok {
		return
	}
	writes, end := false, uint64(0)
	for _, op := range ops {
		if op.kind != 'g' {
			writes = true
			end = max(end, op.offset+uint64(op.bits))
		}
	}
	if writes && q.cmd.Name == "bitfield_ro" {
		q.err("ERR BITFIELD_RO only supports the GET subcommand")
		return
	}
	q.withKeyspace(func(tx *keyspace.Tx) {
		value, ok := q.textAt(tx, q.args[1])
		if !ok {
			return
		}
		bits := append([]byte(nil), value...)
		if need := int((end + 7) / 8); len(bits) < need {
			bits = append(bits, make([]byte, need-len(bits))...)
		}
		q.array(len(ops))
		for _, op := range ops {
			q.bitOp(op, bits)
		}
		if writes {
			// SETRANGE keeps the time to live, which SET does not.
			q.ask(tx, "setrange", q.args[1], []byte("0"), bits)
		}
	})
}

func (q *request) bitOps() ([]bitOp, bool) {
	var ops []bitOp
	overflow := byte('w')
	for i := 2; i < len(q.args); i++ {
		left := len(q.args) - i - 1
		op := bitOp{overflow: overflow}
		switch arg := q.args[i]; {
		case equalFold(arg, "get") && left >= 2:
			op.kind = 'g'
		case equalFold(arg, "set") && left >= 3:
			op.kind = 's'
		case equalFold(arg, "incrby") && left >= 3:
			op.kind = 'i'
		case equalFold(arg, "overflow") && left >= 1:
			i++
			name := strings.ToLower(string(q.args[i]))
			if name != "wrap" && name != "sat" && name != "fail" {
				q.err("ERR Invalid OVERFLOW type specified")
				return nil, false
			}
			overflow = name[0]
			continue
		default:
			q.err("ERR syntax error")
			return nil, false
		}
		if !q.bitType(&op, q.args[i+1]) || !q.bitOffset(&op, q.args[i+2]) {
			return nil, false
		}
		i += 2
		if op.kind != 'g' {
			i++
			var ok bool
			if op.value, ok = q.number(q.args[i], notAnInteger); !ok {
				return nil, false
			}
		}
		ops = append(ops, op)
	}
	return ops, true
}

func (q *request) bitType(op *bitOp, arg []byte) bool {
	var n int64
	ok := len(arg) > 1
	if ok {
		op.signed = arg[0] == 'i'
		n, ok = parseNumber(arg[1:])
		ok = ok && n >= 1 && (op.signed && n <= 64 || arg[0] == 'u' && n <= 63)
	}
	if !ok {
		q.err("ERR Invalid bitfield type. Use something like i16 u8. Note that u64 is not supported but i64 is.")
		return false
	}
	op.bits = uint(n) // 1 to 64
	return true
}

func (q *request) bitOffset(op *bitOp, arg []byte) bool {
	factor := int64(1)
	if len(arg) > 0 && arg[0] == '#' {
		arg, factor = arg[1:], int64(op.bits) // 1 to 64
	}
	n, ok := parseNumber(arg)
	if !ok || n < 0 || n >= maxStringBits || n*factor >= maxStringBits {
		q.err("ERR bit offset is not an integer or out of range")
		return false
	}
	op.offset = uint64(n * factor)
	return true
}

func readBits(b []byte, offset uint64, bits uint) (v uint64) {
	for i := range uint64(bits) {
		v <<= 1
		if at := offset + i; at/8 < uint64(len(b)) {
			v |= uint64(b[at/8]>>(7-at%8)) & 1
		}
	}
	return v
}

func writeBits(b []byte, offset uint64, bits uint, v uint64) {
	for i := range uint64(bits) {
		at := offset + i
		mask := byte(1) << (7 - at%8)
		if v>>(uint64(bits)-1-i)&1 == 1 {
			b[at/8] |= mask
		} else {
			b[at/8] &^= mask
		}
	}
}

// extend gives a number of so many bits its sign.
func extend(v uint64, bits uint) int64 { return int64(v<<(64-bits)) >> (64 - bits) } // two's complement is meant

// bitOp runs one operation and replies.
func (q *request) bitOp(op bitOp, b []byte) {
	raw := readBits(b, op.offset, op.bits)
	old := int64(raw) // an unsigned field has at most 63 bits
	if op.signed {
		old = extend(raw, op.bits)
	}
	if op.kind == 'g' {
		q.integer(old)
		return
	}
	base := int64(0)
	if op.kind == 'i' {
		base = old
	}
	value, fits := op.fit(base, op.value)
	if !fits && op.overflow == 'f' {
		q.null()
		return
	}
	writeBits(b, op.offset, op.bits, uint64(value)) // the lower bits are what is written
	if op.kind == 's' {
		q.integer(old)
	} else {
		q.integer(value)
	}
}

// fit adds two numbers as the field does: it says whether the sum fits into the
// field, and what the field holds when it does not.
func (op *bitOp) fit(a, b int64) (value int64, fits bool) {
	least, most := int64(0), int64(math.MaxInt64)
	switch {
	case op.signed:
		most = math.MaxInt64 >> (64 - op.bits)
		least = -most - 1
	case op.bits < 63:
		most = 1<<op.bits - 1
	}
	sum := a + b
	over := b > 0 && a > most-b || b <= 0 && a > most
	under := b < 0 && a < least-b || b >= 0 && a < least && sum < least
	if !op.signed && b < 0 && a+b < 0 {
		under = true
	}
	switch {
	case !over && !under:
		return sum, true
	case op.overflow == 's' && over:
		return most, false
	case op.overflow == 's':
		return least, false
	case op.signed:
		return extend(uint64(sum), op.bits), false // wraps around
	default:
		return int64(uint64(sum) & (1<<op.bits - 1)), false // wraps around
	}
}

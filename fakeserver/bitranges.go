package fakeserver

import (
	"math/bits"

	"github.com/entracache/entracache/fakeserver/internal/keyspace"
)

// cmdBitRange is BITCOUNT and BITPOS: where their range is one of bits, or is
// said to be one of bytes, which came with 7.0, they are answered here.
func cmdBitRange(q *request) {
	at := 2 // of the range
	if q.cmd.Name == "bitpos" {
		if !checkBitPos(q) {
			return
		}
		at = 3
	}
	if len(q.args) != at+3 || !q.since("7.0") {
		if len(q.args) > at+2 {
			q.syntaxError()
		} else {
			q.data(nil)
		}
		return
	}
	start, ok := q.number(q.args[at], notAnInteger)
	if !ok {
		return
	}
	end, ok := q.number(q.args[at+1], notAnInteger)
	if !ok {
		return
	}
	inBits := equalFold(q.args[at+2], "bit")
	if !inBits && !equalFold(q.args[at+2], "byte") {
		q.syntaxError()
		return
	}
	q.withKeyspace(func(tx *keyspace.Tx) {
		value, ok := q.textAt(tx, q.args[1])
		if !ok {
			return
		}
		size := int64(len(value))
		if inBits {
			size *= 8
		}
		from, to := bitRange(size, start, end)
		if !inBits {
			from, to = from*8, to*8
		}
		if q.cmd.Name == "bitcount" {
			q.integer(countBits(value, from, to))
			return
		}
		wanted := q.args[2][0] - '0'
		q.integer(findBit(value, wanted, from, to))
	})
}

// bitRange turns a start and an end, which count from the end where they are
// negative, into those of a slice.
func bitRange(size, start, end int64) (from, to int64) {
	if start < 0 {
		start = max(0, start+size)
	}
	if end < 0 {
		end = max(0, end+size)
	}
	end = min(end, size-1)
	if start > end {
		return 0, 0
	}
	return start, end + 1
}

func bitAt(value []byte, i int64) byte { return value[i/8] >> (7 - i%8) & 1 }

func countBits(value []byte, from, to int64) (n int64) {
	for from < to && from%8 != 0 {
		n += int64(bitAt(value, from))
		from++
	}
	for ; from+8 <= to; from += 8 {
		n += int64(bits.OnesCount8(value[from/8]))
	}
	for ; from < to; from++ {
		n += int64(bitAt(value, from))
	}
	return n
}

func findBit(value []byte, wanted byte, from, to int64) int64 {
	for ; from < to; from++ {
		if bitAt(value, from) == wanted {
			return from
		}
	}
	return -1
}

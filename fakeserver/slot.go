package fakeserver

import "bytes"

// slotCount is the number of hash slots of a Redis cluster.
const slotCount = 16384

// crcTable is that of CRC-16/XMODEM, polynomial 0x1021.
var crcTable = func() (table [256]uint16) {
	for i := range table {
		crc := uint16(i) << 8 // below 256
		for range 8 {
			if crc&0x8000 != 0 {
				crc = crc<<1 ^ 0x1021
			} else {
				crc <<= 1
			}
		}
		table[i] = crc
	}
	return table
}()

// SlotOf is the hash slot of a key in a Redis cluster, 0 to 16383.
func SlotOf(key string) int { return keySlot([]byte(key)) }

// ShardOf is the number of the shard that a key lies in now, as in NodeInfo. It
// is 0 in a cache that is not clustered.
func (s *Server) ShardOf(key string) int { return int(s.topo.Load().slots[SlotOf(key)]) }

// keySlot is the hash slot of a key, or of a sharded channel: that of the part
// in its first braces, if there is one.
func keySlot(key []byte) int {
	if open := bytes.IndexByte(key, '{'); open >= 0 {
		if n := bytes.IndexByte(key[open+1:], '}'); n > 0 {
			key = key[open+1 : open+1+n]
		}
	}
	var crc uint16
	for _, b := range key {
		crc = crc<<8 ^ crcTable[byte(crc>>8)^b]
	}
	return int(crc) % slotCount
}

package label

import "encoding/binary"

// Fletcher64 is the checksum of index blocks, labels, info blocks and interleave
// set cookies: two 32-bit sums over little-endian 32-bit words, the second in the
// high half (UEFI 2.10 section 13.19.2). Bytes beyond the last whole word do
// not count.
func Fletcher64(p []byte) uint64 {
	var lo, hi uint32
	for ; len(p) >= 4; p = p[4:] {
		lo += binary.LittleEndian.Uint32(p)
		hi += lo
	}
	return uint64(hi)<<32 | uint64(lo)
}

// ChecksumOf is the Fletcher64 of a block whose own checksum field, the 8
// bytes at offset at, counts as zero. The block is not changed.
func ChecksumOf(block []byte, at int) uint64 {
	zeroed := append([]byte(nil), block...)
	clear(zeroed[at : at+8])
	return Fletcher64(zeroed)
}

package persist

import (
	"crypto/sha256"
	"encoding/binary"
)

// hash is the XOR of the hashes of lines, so that a change of one line costs
// no more than that line.
type hash [2]uint64

func (h hash) xor(o hash) hash { return hash{h[0] ^ o[0], h[1] ^ o[1]} }

// hashLine hashes a line in its place.
func hashLine(medium int, n uint64, p *[LineSize]byte) hash {
	var b [LineSize + 12]byte
	copy(b[:], p[:])
	binary.LittleEndian.PutUint64(b[LineSize:], n)
	binary.LittleEndian.PutUint32(b[LineSize+8:], uint32(medium))
	return hashBytes(b[:])
}

func hashBytes(b []byte) hash {
	sum := sha256.Sum256(b)
	return hash{binary.LittleEndian.Uint64(sum[:]), binary.LittleEndian.Uint64(sum[8:])}
}

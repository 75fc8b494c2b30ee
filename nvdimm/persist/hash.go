package persist

import (
	"encoding/binary"
	"math/bits"
)

// hash is the XOR of the hashes of lines, so that a change of one line costs
// no more than that line. It is made for images that differ by chance, not by
// design.
type hash [2]uint64

func (h hash) xor(o hash) hash { return hash{h[0] ^ o[0], h[1] ^ o[1]} }

// Odd constants with as many ones as zeros, at random places.
const (
	hashA = 0x9e3779b97f4a7c15
	hashB = 0xbf58476d1ce4e5b9
	hashC = 0x94d049bb133111eb
	hashD = 0xd6e8feb86659fd93
)

// mix multiplies to 128 bits and takes the halves together.
func mix(x, y uint64) uint64 {
	hi, lo := bits.Mul64(x, y)
	return hi ^ lo
}

// hashLine hashes a line in its place.
func hashLine(medium int, n uint64, p *[LineSize]byte) hash {
	x, y := mix(n^hashA, uint64(medium)^hashB), mix(n^hashC, uint64(medium)^hashD)
	for at := 0; at < LineSize; at += 16 {
		a, b := binary.LittleEndian.Uint64(p[at:]), binary.LittleEndian.Uint64(p[at+8:])
		x = mix(a^hashA^x, b^hashB)
		y = mix(a^hashC, b^hashD^y)
	}
	g := generator(x)
	x = g.next()
	g = generator(y)
	return hash{x ^ y<<1, g.next() ^ x}
}

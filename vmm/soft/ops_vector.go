package soft

//lint:file-ignore U1000 genfast inlines what is here

import (
	"nvlab/vmm/soft/fp"
	"nvlab/vmm/soft/ir"
)

// Vectors are copied by halves: a load of 16 bytes waits for two stores of 8 to
// retire.

//op:copyVector MOV XX=128 XM=128 MX=128
func copyVector(d, s *fp.Vec) { d[0], d[1] = s[0], s[1] }

//op:copyAligned MOVA XM=128 MX=128 aligned
func copyAligned(d, s *fp.Vec) { d[0], d[1] = s[0], s[1] }

// movIn clears the upper part of the vector.
//
//op:movd MOV XM:32,64 XR:32,64
func movIn[T word](d *fp.Vec, b T) { d[0], d[1] = uint64(b), 0 }

//op:movd MOV MX:32,64 RX:32,64
func movOut[T word](s *fp.Vec) T { return T(s[0]) }

//op:moveLow MOVQ XX=64
func moveLow(d, s *fp.Vec) { d[0], d[1] = s[0], 0 }

//op:movh MOVH XM=64
func movhIn(d *fp.Vec, b uint64) { d[1] = b }

//op:movh MOVH MX=64
func movhOut(s *fp.Vec) uint64 { return s[1] }

//op:vector PXOR XX=128 XM=128 aligned
func pxor(d, s *fp.Vec) { d[0], d[1] = d[0]^s[0], d[1]^s[1] }

//op:vector POR XX=128 XM=128 aligned
func por(d, s *fp.Vec) { d[0], d[1] = d[0]|s[0], d[1]|s[1] }

//op:vector PAND XX=128 XM=128 aligned
func pand(d, s *fp.Vec) { d[0], d[1] = d[0]&s[0], d[1]&s[1] }

//op:vector PANDN XX=128 XM=128 aligned
func pandn(d, s *fp.Vec) { d[0], d[1] = s[0]&^d[0], s[1]&^d[1] }

//op:vector PADDQ XX=128 XM=128 aligned
func paddq(d, s *fp.Vec) { d[0], d[1] = d[0]+s[0], d[1]+s[1] }

//op:vector PSUBQ XX=128 XM=128 aligned
func psubq(d, s *fp.Vec) { d[0], d[1] = d[0]-s[0], d[1]-s[1] }

//op:vector PCMPEQB XX=128 XM=128 aligned
func pcmpeqb(d, s *fp.Vec) {
	v, w := d[0]^s[0], d[1]^s[1]
	d[0], d[1] = zeroBytes(v), zeroBytes(w)
}

// zeroBytes has a byte of ones for each byte that is zero.
func zeroBytes(v uint64) uint64 {
	return ^(v&0x7f7f7f7f7f7f7f7f + 0x7f7f7f7f7f7f7f7f | v | 0x7f7f7f7f7f7f7f7f) >> 7 * 255
}

//op:vector PUNPCKLQDQ XX=128
func punpcklqdq(d, s *fp.Vec) { d[1] = s[0] }

//op:movmsk PMOVMSKB RX=128
func pmovmskb(s *fp.Vec) uint64 { return topBits(s[0]) | topBits(s[1])<<8 }

func topBits(v uint64) uint64 { return v >> 7 & 0x0101010101010101 * 0x0102040810204080 >> 56 }

// arithmetic is what package fp does, by the number in ir.FPOps.
//
//op:fp FP .XX=128
func arithmetic(c *cpu, o *ir.Op, d, s *fp.Vec) exit {
	ok := ir.FPOps[o.Disp](d, s, uint8(o.Imm), &c.fpu.mxcsr)
	if !ok {
		return exitBail
	}
	return exitNext
}

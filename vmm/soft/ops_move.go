package soft

//lint:file-ignore U1000 genfast inlines what is here

import (
	"math/bits"

	"nvlab/vmm/soft/ir"
	"nvlab/vmm/soft/x86"
)

//op:mov MOV RR:8,16,32,64 RI:8,16,32,64 RM:8,16,32,64 MR:8,16,32,64 MI:8,16,32,64 based
func mov[T word](b T) T { return b }

//op:movzx MOVZX RR:8,16 RM:8,16 based
func movzx[T word](b T) uint64 { return uint64(b) }

// movzxHigh is MOVZX of AH to BH.
//
//op:movzxHigh MOVZXRH
func movzxHigh(c *cpu, o *ir.Op) { c.r[o.Dst] = c.r[o.Src] >> 8 & 0xff }

//op:movsx MOVSX RR:8,16,32 RM:8,16,32 based
func movsx[T word](b T) uint64 { return uint64(signed(b)) }

//op:movsx32 MOVSX32 RR:8,16 RM:8,16 based
func movsx32[T word](b T) uint32 { return uint32(signed(b)) }

//op:lea LEA .A:32,64 based
func lea[T word](address uint64) T { return T(address) }

//op:setcc SET cc .R=8
func setcc(cond bool) uint8 {
	v := uint8(0)
	if cond {
		v = 1
	}
	return v
}

//op:cmov CMOV cc .RR:32,64
func cmov[T word](cond bool, a, b T) T {
	r := a
	if cond {
		r = b
	}
	return r
}

//op:xchg XCHG RR:32,64
func xchgRegisters[T word](c *cpu, o *ir.Op, a, b T) {
	put(&c.r[o.Dst], b)
	put(&c.r[o.Src], a)
}

//op:xchg XCHG MR:32,64
func xchg[T word](c *cpu, o *ir.Op, m *T, b T) {
	v := *m
	*m = b
	put(&c.r[o.Src], v)
}

//op:xadd XADD MR:32,64
func xadd[T word](c *cpu, o *ir.Op, m *T, b T) {
	a := *m
	r := a + b
	flagsSum(c, a, b, r)
	put(&c.r[o.Src], a)
	*m = r
}

//op:cmpxchg CMPXCHG MR:32,64
func cmpxchg[T word](c *cpu, m *T, b T) {
	a, v := T(c.r[x86.RAX]), *m
	r := a - v
	flagsDifference(c, a, v, r)
	if r == 0 {
		*m = b
	} else {
		put(&c.r[x86.RAX], v)
	}
}

//op:cmpxchg16b CMPXCHG16B .M=128 aligned
func cmpxchg16b(c *cpu, m *[2]uint64) {
	equal := m[0] == c.r[x86.RAX] && m[1] == c.r[x86.RDX]
	if equal {
		m[0], m[1] = c.r[x86.RBX], c.r[x86.RCX]
	} else {
		c.r[x86.RAX], c.r[x86.RDX] = m[0], m[1]
	}
	flagsEqual(c, equal)
}

// flagsEqual sets ZF and keeps the others.
func flagsEqual(c *cpu, equal bool) {
	c.fz = 1
	if equal {
		c.fz = 0
	}
}

//op:bswap BSWAP .R:64
func bswap64(a uint64) uint64 { return bits.ReverseBytes64(a) }

//op:bswap BSWAP .R:32
func bswap32(a uint32) uint32 { return bits.ReverseBytes32(a) }

//op:cdqe CDQE
func cdqe(c *cpu) { c.r[x86.RAX] = uint64(int32(c.r[x86.RAX])) }

//op:cwde CWDE
func cwde(c *cpu) { c.r[x86.RAX] = uint64(uint32(int16(c.r[x86.RAX]))) }

//op:cqo CQO
func cqo(c *cpu) { c.r[x86.RDX] = uint64(int64(c.r[x86.RAX]) >> 63) }

//op:cdq CDQ
func cdq(c *cpu) { c.r[x86.RDX] = uint64(uint32(int32(c.r[x86.RAX]) >> 31)) }

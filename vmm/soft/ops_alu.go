package soft

//lint:file-ignore U1000 genfast inlines what is here

import (
	"math/bits"

	"nvlab/vmm/soft/x86"
)

//op:alu ADD RR:8,16,32,64 RI:8,16,32,64 RM:8,16,32,64 MR:8,16,32,64 MI:8,16,32,64
func add[T word](c *cpu, a, b T) T {
	r := a + b
	flagsSum(c, a, b, r)
	return r
}

//op:alu OR RR:8,16,32,64 RI:8,16,32,64 RM:8,16,32,64 MR:8,16,32,64 MI:8,16,32,64
func or[T word](c *cpu, a, b T) T {
	r := a | b
	flagsLogical(c, r)
	return r
}

//op:alu ADC RR:8,16,32,64 RI:8,16,32,64 RM:8,16,32,64 MR:8,16,32,64 MI:8,16,32,64
func adc[T word](c *cpu, a, b T) T {
	r := a + b + T(c.fc>>63)
	flagsSum(c, a, b, r)
	return r
}

//op:alu SBB RR:8,16,32,64 RI:8,16,32,64 RM:8,16,32,64 MR:8,16,32,64 MI:8,16,32,64
func sbb[T word](c *cpu, a, b T) T {
	r := a - b - T(c.fc>>63)
	flagsDifference(c, a, b, r)
	return r
}

//op:alu AND RR:8,16,32,64 RI:8,16,32,64 RM:8,16,32,64 MR:8,16,32,64 MI:8,16,32,64
func and[T word](c *cpu, a, b T) T {
	r := a & b
	flagsLogical(c, r)
	return r
}

//op:alu SUB RR:8,16,32,64 RI:8,16,32,64 RM:8,16,32,64 MR:8,16,32,64 MI:8,16,32,64
func sub[T word](c *cpu, a, b T) T {
	r := a - b
	flagsDifference(c, a, b, r)
	return r
}

//op:alu XOR RR:8,16,32,64 RI:8,16,32,64 RM:8,16,32,64 MR:8,16,32,64 MI:8,16,32,64
func xor[T word](c *cpu, a, b T) T {
	r := a ^ b
	flagsLogical(c, r)
	return r
}

//op:alu CMP RR:8,16,32,64 RI:8,16,32,64 RM:8,16,32,64 MR:8,16,32,64 MI:8,16,32,64
func cmp[T word](c *cpu, a, b T) {
	r := a - b
	flagsDifference(c, a, b, r)
}

//op:test TEST RR:8,16,32,64 RI:8,16,32,64 MR:8,16,32,64 MI:8,16,32,64
func test[T word](c *cpu, a, b T) {
	r := a & b
	flagsLogical(c, r)
}

// cmpJump is CMP and a conditional branch.
//
//op:cmpJump CMP RR:8,32,64 RI:8,16,32,64 RM:32,64 MR:32,64 MI:8,16,32,64 cc
func cmpJump[T word](c *cpu, cond bool, a, b T) exit {
	r := a - b
	flagsDifference(c, a, b, r)
	if cond {
		return exitTaken
	}
	return exitNext
}

// The conditions right after CMP.

func cmpJumpB[T word](a, b T) bool  { return a < b }
func cmpJumpE[T word](a, b T) bool  { return a == b }
func cmpJumpBE[T word](a, b T) bool { return a <= b }
func cmpJumpS[T word](r T) bool     { return signed(r) < 0 }
func cmpJumpL[T word](a, b T) bool  { return signed(a) < signed(b) }
func cmpJumpLE[T word](a, b T) bool { return signed(a) <= signed(b) }

// testJump is TEST and a conditional branch. CF is 0: branches on it alone are not fused.
//
//op:testJump TEST RR:8,32,64 RI:8,32 MI:8,32 cc
func testJump[T word](c *cpu, cond bool, a, b T) exit {
	r := a & b
	flagsLogical(c, r)
	if cond {
		return exitTaken
	}
	return exitNext
}

// The conditions right after TEST: CF and OF are 0.

func testJumpE[T word](r T) bool  { return r == 0 }
func testJumpS[T word](r T) bool  { return signed(r) < 0 }
func testJumpL[T word](r T) bool  { return signed(r) < 0 }
func testJumpLE[T word](r T) bool { return signed(r) <= 0 }

//op:inc INC R:32,64 M:32,64
func inc[T word](c *cpu, a T) T {
	r := a + 1
	flagsInc(c, r)
	return r
}

// flagsInc keeps CF.
func flagsInc[T word](c *cpu, r T) {
	flagsResult(c, r)
	cf := c.fc & (1 << 63)
	c.fc = cf | cf>>1
	if r == 1<<(size[T]()-1) {
		c.fc ^= 1 << 62
	}
	if r&15 == 0 {
		c.fc |= 8
	}
}

//op:dec DEC R:32,64 M:32,64
func dec[T word](c *cpu, a T) T {
	r := a - 1
	flagsDec(c, r)
	return r
}

// flagsDec keeps CF.
func flagsDec[T word](c *cpu, r T) {
	flagsResult(c, r)
	cf := c.fc & (1 << 63)
	c.fc = cf | cf>>1
	if r == 1<<(size[T]()-1)-1 {
		c.fc ^= 1 << 62
	}
	if r&15 == 15 {
		c.fc |= 8
	}
}

//op:neg NEG R:32,64
func neg[T word](c *cpu, a T) T {
	r := -a
	flagsDifference(c, T(0), a, r)
	return r
}

//op:not NOT R:32,64
func not[T word](a T) T { return ^a }

// imul64 is IMUL of two operands: b is the r/m operand.
//
//op:imul IMUL RR:64 RRI:64
func imul64(c *cpu, a, b uint64) uint64 {
	r := a * b
	flagsSignedProduct64(c, a, b, r)
	return r
}

func flagsSignedProduct64(c *cpu, a, b, r uint64) {
	hi, _ := bits.Mul64(a, b)
	hi -= uint64(int64(a)>>63)&b + uint64(int64(b)>>63)&a
	c.fz, c.fs, c.fc = r, r, 0
	if hi != uint64(int64(r)>>63) {
		c.fc = 1 << 63
	}
}

//op:imul IMUL RR:32 RRI:32
func imul32(c *cpu, a, b uint32) uint32 {
	r := int64(int32(a)) * int64(int32(b))
	flagsSignedProduct32(c, r)
	return uint32(r)
}

func flagsSignedProduct32(c *cpu, r int64) {
	v := uint64(int32(r))
	c.fz, c.fs, c.fc = v, v, 0
	if v != uint64(r) {
		c.fc = 1 << 63
	}
}

//op:mul MUL .S:64
func mul64(c *cpu, b uint64) {
	hi, lo := bits.Mul64(c.r[x86.RAX], b)
	flagsProduct(c, lo, hi != 0)
	c.r[x86.RAX], c.r[x86.RDX] = lo, hi
}

//op:mul MUL .S:32
func mul32(c *cpu, b uint32) {
	r := uint64(uint32(c.r[x86.RAX])) * uint64(b)
	flagsProduct(c, uint64(int32(r)), r>>32 != 0)
	c.r[x86.RAX], c.r[x86.RDX] = uint64(uint32(r)), r>>32
}

// flagsProduct sets CF and OF if the upper half counts.
func flagsProduct(c *cpu, lo uint64, overflow bool) {
	c.fz, c.fs, c.fc = lo, lo, 0
	if overflow {
		c.fc = 1 << 63
	}
}

//op:div DIV .S:64
func div64(c *cpu, b uint64) exit {
	hi := c.r[x86.RDX]
	if hi >= b {
		return exitBail
	}
	if hi == 0 {
		a := c.r[x86.RAX]
		c.r[x86.RAX], c.r[x86.RDX] = a/b, a%b
	} else {
		c.r[x86.RAX], c.r[x86.RDX] = bits.Div64(hi, c.r[x86.RAX], b)
	}
	return exitNext
}

//op:div DIV .S:32
func div32(c *cpu, b uint32) exit {
	d, hi := uint64(b), uint64(uint32(c.r[x86.RDX]))
	if hi >= d {
		return exitBail
	}
	a := hi<<32 | uint64(uint32(c.r[x86.RAX]))
	c.r[x86.RAX], c.r[x86.RDX] = a/d, a%d
	return exitNext
}

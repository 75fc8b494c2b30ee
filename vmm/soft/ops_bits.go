package soft

//lint:file-ignore U1000 genfast inlines what is here

import (
	"math/bits"

	"nvlab/vmm/soft/ir"
)

// Shifts and rotates: by an immediate, which lowering has masked and which is
// not 0, or by CL, of which 0 keeps the flags. OF is as after a shift by one
// place, whatever the count.

//op:shift SHL I:32,64
func shl[T word](c *cpu, a T, n uint8) T {
	n &= uint8(size[T]() - 1)
	r := a << n
	flagsSHL(c, a, r, n)
	return r
}

//op:shift SHL CL:32,64
func shlCL[T word](c *cpu, a T, n uint8) T {
	n &= uint8(size[T]() - 1)
	r := a << n
	if n != 0 {
		flagsSHL(c, a, r, n)
	}
	return r
}

func flagsSHL[T word](c *cpu, a, r T, n uint8) {
	flagsResult(c, r)
	cf := uint64(a >> ((uint8(size[T]()) - n) & uint8(size[T]()-1)) & 1)
	c.fc = cf<<63 | uint64(r>>(size[T]()-1))<<62
}

//op:shift SHR I:32,64
func shr[T word](c *cpu, a T, n uint8) T {
	n &= uint8(size[T]() - 1)
	r := a >> n
	flagsShifted(c, r, a>>((n-1)&uint8(size[T]()-1)), uint64(a>>(size[T]()-1)))
	return r
}

//op:shift SHR CL:32,64
func shrCL[T word](c *cpu, a T, n uint8) T {
	n &= uint8(size[T]() - 1)
	r := a >> n
	if n != 0 {
		flagsShifted(c, r, a>>((n-1)&uint8(size[T]()-1)), uint64(a>>(size[T]()-1)))
	}
	return r
}

//op:shift SAR I:32,64
func sar[T word](c *cpu, a T, n uint8) T {
	n &= uint8(size[T]() - 1)
	r := T(signed(a) >> n)
	flagsShifted(c, r, a>>((n-1)&uint8(size[T]()-1)), 0)
	return r
}

//op:shift SAR CL:32,64
func sarCL[T word](c *cpu, a T, n uint8) T {
	n &= uint8(size[T]() - 1)
	r := T(signed(a) >> n)
	if n != 0 {
		flagsShifted(c, r, a>>((n-1)&uint8(size[T]()-1)), 0)
	}
	return r
}

// flagsShifted takes CF as the low bit of out.
func flagsShifted[T word](c *cpu, r, out T, of uint64) {
	flagsResult(c, r)
	cf := uint64(out & 1)
	c.fc = cf<<63 | (cf^of)<<62
}

// Rotates keep ZF, SF, PF and AF.

//op:shift ROL I:32,64
func rol[T word](c *cpu, a T, n uint8) T {
	n &= uint8(size[T]() - 1)
	r := rotate(a, int(n))
	flagsROL(c, r)
	return r
}

//op:shift ROL CL:32,64
func rolCL[T word](c *cpu, a T, n uint8) T {
	n &= uint8(size[T]() - 1)
	r := rotate(a, int(n))
	if n != 0 {
		flagsROL(c, r)
	}
	return r
}

func flagsROL[T word](c *cpu, r T) {
	c.fc = uint64(r&1)<<63 | uint64(r>>(size[T]()-1))<<62 | c.fc&8
}

//op:shift ROR I:32,64
func ror[T word](c *cpu, a T, n uint8) T {
	n &= uint8(size[T]() - 1)
	r := rotate(a, -int(n))
	flagsROR(c, r)
	return r
}

//op:shift ROR CL:32,64
func rorCL[T word](c *cpu, a T, n uint8) T {
	n &= uint8(size[T]() - 1)
	r := rotate(a, -int(n))
	if n != 0 {
		flagsROR(c, r)
	}
	return r
}

func flagsROR[T word](c *cpu, r T) {
	c.fc = uint64(r>>(size[T]()-1))<<63 | uint64(r>>(size[T]()-2)&1)<<62 | c.fc&8
}

// shrd has its count in scale.
//
//op:doubleShift SHRD .RR:32,64
func shrd[T word](c *cpu, o *ir.Op, a, b T) T {
	n := o.Scale
	r := a>>n | b<<(uint8(size[T]())-n)
	flagsShifted(c, r, a>>(n-1), uint64((a^r)>>(size[T]()-1)))
	return r
}

//op:doubleShift SHLD .RR:32,64
func shld[T word](c *cpu, o *ir.Op, a, b T) T {
	n := o.Scale
	r := a<<n | b>>(uint8(size[T]())-n)
	flagsShifted(c, r, a>>(uint8(size[T]())-n), uint64((a^r)>>(size[T]()-1)))
	return r
}

//op:bit BT RI:32,64 RR:32,64 MI:32,64
func bt[T word](c *cpu, a T, n uint8) {
	flagsCF(c, uint64(a>>(n&uint8(size[T]()-1))&1))
}

//op:bit BTS RI:32,64 RR:32,64 MI:32,64
func bts[T word](c *cpu, a T, n uint8) T {
	n &= uint8(size[T]() - 1)
	flagsCF(c, uint64(a>>n&1))
	return a | 1<<n
}

//op:bit BTR RI:32,64 RR:32,64 MI:32,64
func btr[T word](c *cpu, a T, n uint8) T {
	n &= uint8(size[T]() - 1)
	flagsCF(c, uint64(a>>n&1))
	return a &^ (1 << n)
}

// bsf keeps its destination if the source is 0.
//
//op:bitScan BSF .RR:32,64
func bsf[T word](c *cpu, o *ir.Op, b T) {
	flagsZF(c, uint64(b))
	if b != 0 {
		c.r[o.Dst] = uint64(bits.TrailingZeros64(uint64(b)))
	}
}

//op:bitScan BSR .RR:32,64
func bsr[T word](c *cpu, o *ir.Op, b T) {
	flagsZF(c, uint64(b))
	if b != 0 {
		c.r[o.Dst] = uint64(bits.Len64(uint64(b)) - 1)
	}
}

// flagsZF sets ZF if v is 0, and keeps the others.
func flagsZF(c *cpu, v uint64) { c.fz = v }

package soft

import (
	"nvlab/vmm/observe"
	"nvlab/vmm/soft/fp"
	"nvlab/vmm/soft/x86"
)

// fpuState is the x87, MMX and SSE state.
type fpuState struct {
	xmm   [32]fp.Vec // from 16 on, scratch of the fast path
	mxcsr uint32
	x87   fp.X87
}

func (s *fpuState) reset() {
	*s = fpuState{mxcsr: x86.MXCSRReset}
	s.x87.Reset()
}

// setMXCSR loads MXCSR, whose masks compiled code depends on.
func (c *cpu) setMXCSR(v uint32) {
	changed := (c.fpu.mxcsr^v)&x86.MXCSRMasks != 0
	c.fpu.mxcsr = v
	if changed {
		c.setMode()
	}
}

// sseReady raises what SSE instructions raise when the operating system has
// not made them ready (SDM 3A, table 13-1).
func (c *cpu) sseReady() bool {
	switch {
	case c.cr0&x86.CR0EM != 0, c.cr4&x86.CR4OSFXSR == 0:
		return c.ud()
	case c.cr0&x86.CR0TS != 0:
		return c.raise(excNM)
	}
	return true
}

// simdFault is what an unmasked SSE exception raises.
func (c *cpu) simdFault() bool {
	if c.cr4&x86.CR4OSXMMEXCPT == 0 {
		return c.ud()
	}
	return c.raise(excXM)
}

// sseTable has the moves and the forms with general registers; arithmetic is
// package fp's.
var sseTable [4][256]execFn

func registerSSE() {
	for _, r := range [][2]int{{0x10, 0x17}, {0x28, 0x2f}, {0x50, 0x7f}, {0xc2, 0xc6}, {0xd0, 0xfe}} {
		for o := r[0]; o <= r[1]; o++ {
			if o != 0xc3 {
				execTable[0x100+o] = execSSE
			}
		}
	}
	set := func(f execFn, op int, columns ...int) {
		for _, p := range columns {
			sseTable[p][op] = f
		}
	}
	const none, p66, pF3, pF2 = 0, 1, 2, 3
	set(sseLoad(16, false), 0x10, none, p66)
	set(sseStore(16, false), 0x11, none, p66)
	set(sseLoadScalar(4), 0x10, pF3)
	set(sseLoadScalar(8), 0x10, pF2)
	set(sseStoreScalar(4), 0x11, pF3)
	set(sseStoreScalar(8), 0x11, pF2)
	set(execMOVLPS, 0x12, none)
	set(sseLoadHalf(0), 0x12, p66)
	set(sseStoreHalf(0), 0x13, none, p66)
	set(execMOVHPS, 0x16, none)
	set(sseLoadHalf(1), 0x16, p66)
	set(sseStoreHalf(1), 0x17, none, p66)
	set(sseLoad(16, true), 0x28, none, p66)
	set(sseStore(16, true), 0x29, none, p66)
	set(execMOVNTPS, 0x2b, none, p66)
	set(execCVTPI2, 0x2a, none, p66)
	set(execCVT2PI, 0x2c, none, p66)
	set(execCVT2PI, 0x2d, none, p66)
	set(execCVTSI2, 0x2a, pF3, pF2)
	set(execCVT2SI, 0x2c, pF3, pF2)
	set(execCVT2SI, 0x2d, pF3, pF2)
	set(execCOMI, 0x2e, none, p66)
	set(execCOMI, 0x2f, none, p66)
	set(execMOVMSK, 0x50, none, p66)
	set(execMOVDToXMM, 0x6e, p66)
	set(execMOVDFromXMM, 0x7e, p66)
	set(execMOVQToXMM, 0x7e, pF3)
	set(execMOVQFromXMM, 0xd6, p66)
	set(sseLoad(16, true), 0x6f, p66)
	set(sseLoad(16, false), 0x6f, pF3)
	set(sseStore(16, true), 0x7f, p66)
	set(sseStore(16, false), 0x7f, pF3)
	set(execPINSRW, 0xc4, p66)
	set(execPEXTRW, 0xc5, p66)
	set(execMOVQ2DQ, 0xd6, pF3)
	set(execMOVDQ2Q, 0xd6, pF2)
	set(execPMOVMSKB, 0xd7, p66)
	set(execMOVNTPS, 0xe7, p66)
	set(execMASKMOVDQU, 0xf7, p66)
}

func execSSE(c *cpu, in *x86.Inst) bool {
	p := in.Prefix()
	if f := sseTable[x86.PrefixColumn(p)][in.Opcode]; f != nil {
		return c.sseReady() && f(c, in)
	}
	group := in.Opcode >= 0x71 && in.Opcode <= 0x73
	op := fp.Lookup(p, in.Opcode, in.ModRM>>3&7)
	if op == nil || group && in.Mod != 3 {
		if p == 0 {
			return execMMX(c, in)
		}
		return c.ud()
	}
	if !c.sseReady() {
		return false
	}
	if group {
		dst := &c.fpu.xmm[in.RM]
		op.Fn(dst, dst, uint8(in.Imm), &c.fpu.mxcsr)
		return true
	}
	var m fp.Vec
	src := &m
	if in.Mod == 3 {
		src = &c.fpu.xmm[in.RM]
	} else if !c.loadVec(in, op.Mem, op.Aligned, &m) {
		return false
	}
	if !op.Fn(&c.fpu.xmm[in.Reg], src, uint8(in.Imm), &c.fpu.mxcsr) {
		return c.simdFault()
	}
	return true
}

// loadVec loads size bytes of memory, zero-extended.
func (c *cpu) loadVec(in *x86.Inst, size uint8, aligned bool, v *fp.Vec) bool {
	va := c.operandAddr(in)
	if size == 16 && aligned && va&15 != 0 {
		return c.gp(0)
	}
	s, ok := c.span(in.Seg, va, size, accessRead)
	if !ok || !c.canRead(&s) {
		return false
	}
	if size == 16 {
		*v = c.read128(&s)
	} else {
		*v = fp.Vec{c.read(&s), 0}
	}
	return true
}

func (c *cpu) storeVec(in *x86.Inst, aligned bool, v fp.Vec) bool {
	va := c.operandAddr(in)
	if aligned && va&15 != 0 {
		return c.gp(0)
	}
	s, ok := c.span(in.Seg, va, 16, accessWrite)
	if ok {
		c.kind |= observe.Vector
		c.write128(&s, v)
	}
	return ok
}

func sseLoad(size uint8, aligned bool) execFn {
	return func(c *cpu, in *x86.Inst) bool {
		if in.Mod == 3 {
			c.fpu.xmm[in.Reg] = c.fpu.xmm[in.RM]
			return true
		}
		var v fp.Vec
		if !c.loadVec(in, size, aligned, &v) {
			return false
		}
		c.fpu.xmm[in.Reg] = v
		return true
	}
}

func sseStore(_ uint8, aligned bool) execFn {
	return func(c *cpu, in *x86.Inst) bool {
		if in.Mod == 3 {
			c.fpu.xmm[in.RM] = c.fpu.xmm[in.Reg]
			return true
		}
		return c.storeVec(in, aligned, c.fpu.xmm[in.Reg])
	}
}

// mergeLow replaces the low size bytes, 4 or 8.
func mergeLow(dst *fp.Vec, v uint64, size uint8) {
	m := x86.SizeMask(size)
	dst[0] = dst[0]&^m | v&m
}

// sseLoadScalar clears the rest of the register on a load from memory only.
func sseLoadScalar(size uint8) execFn {
	return func(c *cpu, in *x86.Inst) bool {
		if in.Mod == 3 {
			mergeLow(&c.fpu.xmm[in.Reg], c.fpu.xmm[in.RM][0], size)
			return true
		}
		v, ok := c.load(in.Seg, c.operandAddr(in), size)
		if ok {
			c.fpu.xmm[in.Reg] = fp.Vec{v, 0}
		}
		return ok
	}
}

func sseStoreScalar(size uint8) execFn {
	return func(c *cpu, in *x86.Inst) bool {
		v := c.fpu.xmm[in.Reg][0]
		if in.Mod == 3 {
			mergeLow(&c.fpu.xmm[in.RM], v, size)
			return true
		}
		return c.store(in.Seg, c.operandAddr(in), size, v)
	}
}

func sseLoadHalf(half int) execFn {
	return func(c *cpu, in *x86.Inst) bool {
		if in.Mod == 3 {
			return c.ud()
		}
		v, ok := c.load(in.Seg, c.operandAddr(in), 8)
		if ok {
			c.fpu.xmm[in.Reg][half] = v
		}
		return ok
	}
}

func sseStoreHalf(half int) execFn {
	return func(c *cpu, in *x86.Inst) bool {
		if in.Mod == 3 {
			return c.ud()
		}
		return c.store(in.Seg, c.operandAddr(in), 8, c.fpu.xmm[in.Reg][half])
	}
}

// execMOVLPS with a register source is MOVHLPS.
func execMOVLPS(c *cpu, in *x86.Inst) bool {
	if in.Mod == 3 {
		c.fpu.xmm[in.Reg][0] = c.fpu.xmm[in.RM][1]
		return true
	}
	return sseTable[1][0x12](c, in)
}

// execMOVHPS with a register source is MOVLHPS.
func execMOVHPS(c *cpu, in *x86.Inst) bool {
	if in.Mod == 3 {
		c.fpu.xmm[in.Reg][1] = c.fpu.xmm[in.RM][0]
		return true
	}
	return sseTable[1][0x16](c, in)
}

// execMOVNTPS is MOVNTPS, MOVNTPD and MOVNTDQ.
func execMOVNTPS(c *cpu, in *x86.Inst) bool {
	if in.Mod == 3 {
		return c.ud()
	}
	return c.storeVec(in, true, c.fpu.xmm[in.Reg])
}

func execCVTSI2(c *cpu, in *x86.Inst) bool {
	size := max(in.Size, 4)
	v, ok := c.readRM(in, size)
	if !ok {
		return false
	}
	if !fp.CvtFromInt(in.Rep, &c.fpu.xmm[in.Reg], v, int(size), &c.fpu.mxcsr) {
		return c.simdFault()
	}
	return true
}

// xmmOrMem is a source of size bytes that need not be aligned.
func (c *cpu) xmmOrMem(in *x86.Inst, size uint8) (v fp.Vec, ok bool) {
	if in.Mod == 3 {
		return c.fpu.xmm[in.RM], true
	}
	ok = c.loadVec(in, size, false, &v)
	return v, ok
}

func execCVT2SI(c *cpu, in *x86.Inst) bool {
	n := uint8(8)
	if in.Rep == 0xf3 {
		n = 4
	}
	src, ok := c.xmmOrMem(in, n)
	if !ok {
		return false
	}
	size := max(in.Size, 4)
	v, ok := fp.CvtToInt(in.Rep, in.Opcode == 0x2c, &src, int(size), &c.fpu.mxcsr)
	if !ok {
		return c.simdFault()
	}
	c.setReg(in, in.Reg, size, v)
	return true
}

func execCOMI(c *cpu, in *x86.Inst) bool {
	n := uint8(4)
	if in.Flags&x86.Prefix66 != 0 {
		n = 8
	}
	src, ok := c.xmmOrMem(in, n)
	if !ok {
		return false
	}
	zf, pf, cf, ok := fp.Comi(in.Prefix(), in.Opcode, &c.fpu.xmm[in.Reg], &src, &c.fpu.mxcsr)
	if !ok {
		return c.simdFault()
	}
	var f uint64
	if zf {
		f |= x86.FlagZF
	}
	if pf {
		f |= x86.FlagPF
	}
	if cf {
		f |= x86.FlagCF
	}
	c.setArith(f)
	return true
}

func execMOVMSK(c *cpu, in *x86.Inst) bool {
	if in.Mod != 3 {
		return c.ud()
	}
	v := c.fpu.xmm[in.RM]
	m := v[0]>>63 | v[1]>>63<<1
	if in.Flags&x86.Prefix66 == 0 {
		m = v[0]>>31&1 | v[0]>>63<<1 | v[1]>>31&1<<2 | v[1]>>63<<3
	}
	c.r[in.Reg] = m
	return true
}

func execMOVDToXMM(c *cpu, in *x86.Inst) bool {
	v, ok := c.readRM(in, max(in.Size, 4))
	if !ok {
		return false
	}
	c.fpu.xmm[in.Reg] = fp.Vec{v, 0}
	return true
}

func execMOVDFromXMM(c *cpu, in *x86.Inst) bool {
	return c.writeRM(in, max(in.Size, 4), c.fpu.xmm[in.Reg][0])
}

func execMOVQToXMM(c *cpu, in *x86.Inst) bool {
	v, ok := c.xmmOrMem(in, 8)
	if ok {
		c.fpu.xmm[in.Reg] = fp.Vec{v[0], 0}
	}
	return ok
}

func execMOVQFromXMM(c *cpu, in *x86.Inst) bool {
	v := c.fpu.xmm[in.Reg][0]
	if in.Mod == 3 {
		c.fpu.xmm[in.RM] = fp.Vec{v, 0}
		return true
	}
	return c.store(in.Seg, c.operandAddr(in), 8, v)
}

func insertWord(w *uint64, i uint, v uint64) {
	*w = *w&^(0xffff<<(16*i)) | v&0xffff<<(16*i)
}

func execPINSRW(c *cpu, in *x86.Inst) bool {
	v, ok := c.readRM(in, 2)
	if ok {
		i := uint(in.Imm) & 7
		insertWord(&c.fpu.xmm[in.Reg][i>>2], i&3, v)
	}
	return ok
}

func execPEXTRW(c *cpu, in *x86.Inst) bool {
	if in.Mod != 3 {
		return c.ud()
	}
	i := uint(in.Imm) & 7
	c.r[in.Reg] = c.fpu.xmm[in.RM][i>>2] >> (16 * (i & 3)) & 0xffff
	return true
}

// signBits gathers the top bits of eight bytes.
func signBits(v uint64) uint64 {
	return v >> 7 & 0x0101010101010101 * 0x0102040810204080 >> 56
}

func execPMOVMSKB(c *cpu, in *x86.Inst) bool {
	if in.Mod != 3 {
		return c.ud()
	}
	v := c.fpu.xmm[in.RM]
	c.r[in.Reg] = signBits(v[0]) | signBits(v[1])<<8
	return true
}

// execMASKMOVDQU stores the bytes that the mask selects at DS:x86.RDI.
func execMASKMOVDQU(c *cpu, in *x86.Inst) bool {
	if in.Mod != 3 {
		return c.ud()
	}
	v, m := c.fpu.xmm[in.Reg], c.fpu.xmm[in.RM]
	return c.storeMasked(in, v[:], m[:])
}

// storeMasked checks all selected bytes before it stores any.
func (c *cpu) storeMasked(in *x86.Inst, v, m []uint64) bool {
	a := *in
	a.Base, a.Index, a.Disp = x86.RDI, x86.SlotZero, 0
	va := c.operandAddr(&a)
	for _, write := range []bool{false, true} {
		for i := 0; i < 8*len(v); i++ {
			if m[i>>3]>>(8*(i&7)+7)&1 == 0 {
				continue
			}
			s, ok := c.span(a.Seg, va+uint64(i), 1, accessWrite)
			if !ok {
				return false
			}
			if write {
				c.write(&s, v[i>>3]>>(8*(i&7))&0xff)
			}
		}
	}
	return true
}

package soft

import (
	"nvlab/vmm/soft/fp"
	"nvlab/vmm/soft/x86"
)

func registerMMX() {
	register(execEMMS, 0x177)
}

// mmxReady raises what MMX instructions raise, and else makes the x87
// registers MMX registers.
func (c *cpu) mmxReady() bool {
	switch {
	case c.cr0&x86.CR0EM != 0:
		return c.ud()
	case c.cr0&x86.CR0TS != 0:
		return c.raise(excNM)
	case c.fpu.x87.Pending():
		return c.raise(excMF)
	}
	return true
}

func execEMMS(c *cpu, in *x86.Inst) bool {
	if in.Prefix() != 0 {
		return c.ud()
	}
	if !c.mmxReady() {
		return false
	}
	c.fpu.x87.EMMS()
	return true
}

func (c *cpu) mm(i uint8) uint64 { return *c.fpu.x87.MMX(int(i & 7)) }

func (c *cpu) setMM(i uint8, v uint64) {
	c.fpu.x87.EnterMMX()
	*c.fpu.x87.MMX(int(i & 7)) = v
	c.fpu.x87.TouchMMX(int(i & 7))
}

// mmOrMem is a source of size bytes.
func (c *cpu) mmOrMem(in *x86.Inst, size uint8) (uint64, bool) {
	if in.Mod == 3 {
		return c.mm(in.RM), true
	}
	return c.load(in.Seg, c.operandAddr(in), size)
}

// execMMX executes what the 0F map has without a mandatory prefix.
func execMMX(c *cpu, in *x86.Inst) bool {
	op := fp.LookupMMX(in.Opcode, in.ModRM>>3&7)
	group := in.Opcode >= 0x71 && in.Opcode <= 0x73
	known := op != nil
	switch in.Opcode {
	case 0x6e, 0x7e, 0x6f, 0x7f, 0xc4:
		known = true
	case 0xc5, 0xd7, 0xf7:
		known = in.Mod == 3
	case 0xe7:
		known = in.Mod != 3
	}
	if !known || group && in.Mod != 3 {
		return c.ud()
	}
	if !c.mmxReady() {
		return false
	}
	switch in.Opcode {
	case 0x6e: // MOVD
		v, ok := c.readRM(in, in.Wide())
		if ok {
			c.setMM(in.Reg, v)
		}
		return ok
	case 0x7e:
		if !c.writeRM(in, in.Wide(), c.mm(in.Reg)) {
			return false
		}
	case 0x6f: // MOVQ
		v, ok := c.mmOrMem(in, 8)
		if ok {
			c.setMM(in.Reg, v)
		}
		return ok
	case 0x7f:
		if in.Mod == 3 {
			c.setMM(in.RM, c.mm(in.Reg))
			return true
		}
		if !c.store(in.Seg, c.operandAddr(in), 8, c.mm(in.Reg)) {
			return false
		}
	case 0xe7: // MOVNTQ
		if !c.store(in.Seg, c.operandAddr(in), 8, c.mm(in.Reg)) {
			return false
		}
	case 0xc4: // PINSRW
		v, ok := c.readRM(in, 2)
		if ok {
			w := c.mm(in.Reg)
			insertWord(&w, uint(in.Imm)&3, v)
			c.setMM(in.Reg, w)
		}
		return ok
	case 0xc5: // PEXTRW
		c.r[in.Reg] = c.mm(in.RM) >> (16 * (in.Imm & 3)) & 0xffff
	case 0xd7: // PMOVMSKB
		c.r[in.Reg] = signBits(c.mm(in.RM))
	case 0xf7: // MASKMOVQ
		if !c.storeMasked(in, []uint64{c.mm(in.Reg)}, []uint64{c.mm(in.RM)}) {
			return false
		}
	default:
		if group {
			v := c.mm(in.RM)
			op.Fn(&v, &v, uint8(in.Imm))
			c.setMM(in.RM, v)
			return true
		}
		src, ok := c.mmOrMem(in, op.Mem)
		if !ok {
			return false
		}
		v := c.mm(in.Reg)
		op.Fn(&v, &src, uint8(in.Imm))
		c.setMM(in.Reg, v)
		return true
	}
	c.fpu.x87.EnterMMX()
	return true
}

// execCVTPI2 is CVTPI2PS and CVTPI2PD. With a source in memory they leave the
// x87 state alone.
func execCVTPI2(c *cpu, in *x86.Inst) bool {
	double := in.Flags&x86.Prefix66 != 0
	if in.Mod == 3 && !c.mmxReady() {
		return false
	}
	src, ok := c.mmOrMem(in, 8)
	if !ok {
		return false
	}
	if double {
		fp.CvtPI2PD(&c.fpu.xmm[in.Reg], src)
	} else if !fp.CvtPI2PS(&c.fpu.xmm[in.Reg], src, &c.fpu.mxcsr) {
		return c.simdFault()
	}
	if in.Mod == 3 {
		c.fpu.x87.EnterMMX()
	}
	return true
}

// execCVT2PI is CVTPS2PI, CVTPD2PI and their truncating forms.
func execCVT2PI(c *cpu, in *x86.Inst) bool {
	if !c.mmxReady() {
		return false
	}
	trunc := in.Opcode == 0x2c
	if in.Flags&x86.Prefix66 != 0 {
		var src fp.Vec
		if in.Mod == 3 {
			src = c.fpu.xmm[in.RM]
		} else if !c.loadVec(in, 16, true, &src) {
			return false
		}
		v, ok := fp.CvtPD2PI(trunc, &src, &c.fpu.mxcsr)
		if !ok {
			return c.simdFault()
		}
		c.setMM(in.Reg, v)
		return true
	}
	src, ok := c.xmmOrMem(in, 8)
	if !ok {
		return false
	}
	v, ok := fp.CvtPS2PI(trunc, &src, &c.fpu.mxcsr)
	if !ok {
		return c.simdFault()
	}
	c.setMM(in.Reg, v)
	return true
}

func execMOVQ2DQ(c *cpu, in *x86.Inst) bool {
	if in.Mod != 3 {
		return c.ud()
	}
	if !c.mmxReady() {
		return false
	}
	c.fpu.xmm[in.Reg] = fp.Vec{c.mm(in.RM), 0}
	c.fpu.x87.EnterMMX()
	return true
}

func execMOVDQ2Q(c *cpu, in *x86.Inst) bool {
	if in.Mod != 3 {
		return c.ud()
	}
	if !c.mmxReady() {
		return false
	}
	c.setMM(in.Reg, c.fpu.xmm[in.RM][0])
	return true
}

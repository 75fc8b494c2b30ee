package soft

import "nvlab/vmm/soft/fp"

func registerMMX() {
	register(execEMMS, 0x177)
}

// mmxReady raises what MMX instructions raise, and else makes the x87
// registers MMX registers.
func (c *cpu) mmxReady() bool {
	switch {
	case c.cr0&cr0EM != 0:
		return c.ud()
	case c.cr0&cr0TS != 0:
		return c.raise(excNM)
	case c.fpu.x87.Pending():
		return c.raise(excMF)
	}
	return true
}

func execEMMS(c *cpu, in *inst) bool {
	if in.prefix() != 0 {
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
func (c *cpu) mmOrMem(in *inst, size uint8) (uint64, bool) {
	if in.mod == 3 {
		return c.mm(in.rm), true
	}
	return c.load(in.seg, c.operandAddr(in), size)
}

// execMMX executes what the 0F map has without a mandatory prefix.
func execMMX(c *cpu, in *inst) bool {
	op := fp.LookupMMX(in.opcode, in.modrm>>3&7)
	group := in.opcode >= 0x71 && in.opcode <= 0x73
	known := op != nil
	switch in.opcode {
	case 0x6e, 0x7e, 0x6f, 0x7f, 0xc4:
		known = true
	case 0xc5, 0xd7, 0xf7:
		known = in.mod == 3
	case 0xe7:
		known = in.mod != 3
	}
	if !known || group && in.mod != 3 {
		return c.ud()
	}
	if !c.mmxReady() {
		return false
	}
	switch in.opcode {
	case 0x6e: // MOVD
		v, ok := c.readRM(in, in.wide())
		if ok {
			c.setMM(in.reg, v)
		}
		return ok
	case 0x7e:
		if !c.writeRM(in, in.wide(), c.mm(in.reg)) {
			return false
		}
	case 0x6f: // MOVQ
		v, ok := c.mmOrMem(in, 8)
		if ok {
			c.setMM(in.reg, v)
		}
		return ok
	case 0x7f:
		if in.mod == 3 {
			c.setMM(in.rm, c.mm(in.reg))
			return true
		}
		if !c.store(in.seg, c.operandAddr(in), 8, c.mm(in.reg)) {
			return false
		}
	case 0xe7: // MOVNTQ
		if !c.store(in.seg, c.operandAddr(in), 8, c.mm(in.reg)) {
			return false
		}
	case 0xc4: // PINSRW
		v, ok := c.readRM(in, 2)
		if ok {
			w := c.mm(in.reg)
			insertWord(&w, uint(in.imm)&3, v)
			c.setMM(in.reg, w)
		}
		return ok
	case 0xc5: // PEXTRW
		c.r[in.reg] = c.mm(in.rm) >> (16 * (in.imm & 3)) & 0xffff
	case 0xd7: // PMOVMSKB
		c.r[in.reg] = signBits(c.mm(in.rm))
	case 0xf7: // MASKMOVQ
		if !c.storeMasked(in, []uint64{c.mm(in.reg)}, []uint64{c.mm(in.rm)}) {
			return false
		}
	default:
		if group {
			v := c.mm(in.rm)
			op.Fn(&v, &v, uint8(in.imm))
			c.setMM(in.rm, v)
			return true
		}
		src, ok := c.mmOrMem(in, op.Mem)
		if !ok {
			return false
		}
		v := c.mm(in.reg)
		op.Fn(&v, &src, uint8(in.imm))
		c.setMM(in.reg, v)
		return true
	}
	c.fpu.x87.EnterMMX()
	return true
}

// execCVTPI2 is CVTPI2PS and CVTPI2PD. With a source in memory they leave the
// x87 state alone.
func execCVTPI2(c *cpu, in *inst) bool {
	double := in.flags&inst66 != 0
	if in.mod == 3 && !c.mmxReady() {
		return false
	}
	src, ok := c.mmOrMem(in, 8)
	if !ok {
		return false
	}
	if double {
		fp.CvtPI2PD(&c.fpu.xmm[in.reg], src)
	} else if !fp.CvtPI2PS(&c.fpu.xmm[in.reg], src, &c.fpu.mxcsr) {
		return c.simdFault()
	}
	if in.mod == 3 {
		c.fpu.x87.EnterMMX()
	}
	return true
}

// execCVT2PI is CVTPS2PI, CVTPD2PI and their truncating forms.
func execCVT2PI(c *cpu, in *inst) bool {
	if !c.mmxReady() {
		return false
	}
	trunc := in.opcode == 0x2c
	if in.flags&inst66 != 0 {
		var src fp.Vec
		if in.mod == 3 {
			src = c.fpu.xmm[in.rm]
		} else if !c.loadVec(in, 16, true, &src) {
			return false
		}
		v, ok := fp.CvtPD2PI(trunc, &src, &c.fpu.mxcsr)
		if !ok {
			return c.simdFault()
		}
		c.setMM(in.reg, v)
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
	c.setMM(in.reg, v)
	return true
}

func execMOVQ2DQ(c *cpu, in *inst) bool {
	if in.mod != 3 {
		return c.ud()
	}
	if !c.mmxReady() {
		return false
	}
	c.fpu.xmm[in.reg] = fp.Vec{c.mm(in.rm), 0}
	c.fpu.x87.EnterMMX()
	return true
}

func execMOVDQ2Q(c *cpu, in *inst) bool {
	if in.mod != 3 {
		return c.ud()
	}
	if !c.mmxReady() {
		return false
	}
	c.setMM(in.reg, c.fpu.xmm[in.rm][0])
	return true
}

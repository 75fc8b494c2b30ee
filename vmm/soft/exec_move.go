package soft

func registerMove() {
	register(execMovToRM, 0x88, 0x89)
	register(execMovToReg, 0x8a, 0x8b)
	register(execLEA, 0x8d)
	registerRange(execMovImm, 0xb0, 0xbf)
	register(execMovRMImm, 0xc6, 0xc7)
	register(execMoffsLoad, 0xa0, 0xa1)
	register(execMoffsStore, 0xa2, 0xa3)
	register(execXCHG, 0x86, 0x87)
	registerRange(execXCHGAX, 0x90, 0x97)
	register(execMOVSXD, opMOVSXD)
	register(execMOVZX, 0x1b6, 0x1b7)
	register(execMOVSX, 0x1be, 0x1bf)
	registerRange(execSETcc, 0x190, 0x19f)
	registerRange(execCMOVcc, 0x140, 0x14f)
	registerRange(execPush, 0x50, 0x57)
	registerRange(execPop, 0x58, 0x5f)
	register(execPushImm, 0x68, 0x6a)
	register(execPopRM, 0x8f)
	register(execENTER, 0xc8)
	register(execLEAVE, 0xc9)
	register(execXLAT, 0xd7)
	register(execMOVNTI, 0x1c3)
	register(execNop, 0x10d)
	registerRange(execNop, 0x118, 0x11f)
}

func execNop(*cpu, *inst) bool { return true }

func execMovToRM(c *cpu, in *inst) bool {
	return c.writeRM(in, in.size, c.reg(in, in.reg, in.size))
}

func execMovToReg(c *cpu, in *inst) bool {
	v, ok := c.readRM(in, in.size)
	if ok {
		c.setReg(in, in.reg, in.size, v)
	}
	return ok
}

func execLEA(c *cpu, in *inst) bool {
	if in.mod == 3 {
		return c.ud()
	}
	c.setReg(in, in.reg, in.size, c.effective(in))
	return true
}

func execMovImm(c *cpu, in *inst) bool {
	c.setReg(in, in.opcode&7|in.rex&1<<3, in.size, in.imm)
	return true
}

func execMovRMImm(c *cpu, in *inst) bool {
	if in.modrm>>3&7 != 0 {
		return c.ud()
	}
	return c.writeRM(in, in.size, in.imm)
}

func execMoffsLoad(c *cpu, in *inst) bool {
	v, ok := c.load(in.seg, c.operandAddr(in), in.size)
	if ok {
		c.setReg(in, rAX, in.size, v)
	}
	return ok
}

func execMoffsStore(c *cpu, in *inst) bool {
	return c.store(in.seg, c.operandAddr(in), in.size, c.r[rAX])
}

func execXCHG(c *cpu, in *inst) bool {
	a, s, ok := c.readModify(in, in.size)
	if ok {
		b := c.reg(in, in.reg, in.size)
		c.setReg(in, in.reg, in.size, a)
		c.modify(in, in.size, &s, b)
	}
	return ok
}

func execXCHGAX(c *cpu, in *inst) bool {
	n := in.opcode&7 | in.rex&1<<3
	if n == rAX {
		return true // NOP, PAUSE
	}
	a, b := c.reg(in, rAX, in.size), c.reg(in, n, in.size)
	c.setReg(in, rAX, in.size, b)
	c.setReg(in, n, in.size, a)
	return true
}

func execMOVSXD(c *cpu, in *inst) bool {
	if !c.long {
		return c.arpl(in)
	}
	n := min(in.size, 4)
	v, ok := c.readRM(in, n)
	if ok {
		c.setReg(in, in.reg, in.size, signExtend(v, n))
	}
	return ok
}

func execMOVZX(c *cpu, in *inst) bool {
	v, ok := c.readRM(in, in.opcode&1+1)
	if ok {
		c.setReg(in, in.reg, in.size, v)
	}
	return ok
}

func execMOVSX(c *cpu, in *inst) bool {
	n := in.opcode&1 + 1
	v, ok := c.readRM(in, n)
	if ok {
		c.setReg(in, in.reg, in.size, signExtend(v, n))
	}
	return ok
}

func execSETcc(c *cpu, in *inst) bool {
	v := uint64(0)
	if c.cond(in.opcode & 15) {
		v = 1
	}
	return c.writeRM(in, 1, v)
}

func execCMOVcc(c *cpu, in *inst) bool {
	v, ok := c.readRM(in, in.size)
	if !ok {
		return false
	}
	if !c.cond(in.opcode & 15) {
		v = c.reg(in, in.reg, in.size)
	}
	c.setReg(in, in.reg, in.size, v)
	return true
}

func execPush(c *cpu, in *inst) bool {
	return c.push(in.size, c.r[in.opcode&7|in.rex&1<<3])
}

func execPop(c *cpu, in *inst) bool {
	v, ok := c.pop(in.size)
	if ok {
		c.setReg(in, in.opcode&7|in.rex&1<<3, in.size, v)
	}
	return ok
}

func execPushImm(c *cpu, in *inst) bool { return c.push(in.size, in.imm) }

// execPopRM computes its address with the stack pointer already moved.
func execPopRM(c *cpu, in *inst) bool {
	if in.modrm>>3&7 != 0 {
		return c.ud()
	}
	sp := c.r[rSP]
	v, ok := c.pop(in.size)
	if ok && !c.writeRM(in, in.size, v) {
		c.r[rSP] = sp
		return false
	}
	return ok
}

func execENTER(c *cpu, in *inst) bool {
	level := in.imm & 31
	size := uint64(in.size)
	sp, bp := c.r[rSP], c.r[rBP]
	sp -= size
	if !c.store(segSS, c.stackAt(sp), in.size, bp) {
		return false
	}
	frame := sp
	for i := uint64(1); i < level; i++ {
		bp -= size
		v, ok := c.load(segSS, c.stackAt(bp), in.size)
		if !ok {
			return false
		}
		sp -= size
		if !c.store(segSS, c.stackAt(sp), in.size, v) {
			return false
		}
	}
	if level > 0 {
		sp -= size
		if !c.store(segSS, c.stackAt(sp), in.size, frame) {
			return false
		}
	}
	sp -= uint64(in.imm2)
	if _, ok := c.span(segSS, c.stackAt(sp), in.size, accessWrite); !ok {
		return false
	}
	c.setReg(in, rBP, in.size, frame)
	c.setSP(sp)
	return true
}

func execLEAVE(c *cpu, in *inst) bool {
	v, ok := c.load(segSS, c.stackAt(c.r[rBP]), in.size)
	if ok {
		c.setSP(c.r[rBP] + uint64(in.size))
		c.setReg(in, rBP, in.size, v)
	}
	return ok
}

func execXLAT(c *cpu, in *inst) bool {
	a := *in
	a.base = rBX
	a.disp = c.r[rAX] & 0xff
	v, ok := c.load(in.seg, c.operandAddr(&a), 1)
	if ok {
		c.r[rAX] = c.r[rAX]&^0xff | v
	}
	return ok
}

func execMOVNTI(c *cpu, in *inst) bool {
	if in.mod == 3 || in.prefix() != 0 {
		return c.ud()
	}
	return c.store(in.seg, c.operandAddr(in), in.size, c.reg(in, in.reg, in.size))
}

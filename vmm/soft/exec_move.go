package soft

import "nvlab/vmm/soft/x86"

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

func execNop(*cpu, *x86.Inst) bool { return true }

func execMovToRM(c *cpu, in *x86.Inst) bool {
	return c.writeRM(in, in.Size, c.reg(in, in.Reg, in.Size))
}

func execMovToReg(c *cpu, in *x86.Inst) bool {
	v, ok := c.readRM(in, in.Size)
	if ok {
		c.setReg(in, in.Reg, in.Size, v)
	}
	return ok
}

func execLEA(c *cpu, in *x86.Inst) bool {
	if in.Mod == 3 {
		return c.ud()
	}
	c.setReg(in, in.Reg, in.Size, c.effective(in))
	return true
}

func execMovImm(c *cpu, in *x86.Inst) bool {
	c.setReg(in, in.Opcode&7|in.REX&1<<3, in.Size, in.Imm)
	return true
}

func execMovRMImm(c *cpu, in *x86.Inst) bool {
	if in.ModRM>>3&7 != 0 {
		return c.ud()
	}
	return c.writeRM(in, in.Size, in.Imm)
}

func execMoffsLoad(c *cpu, in *x86.Inst) bool {
	v, ok := c.load(in.Seg, c.operandAddr(in), in.Size)
	if ok {
		c.setReg(in, x86.RAX, in.Size, v)
	}
	return ok
}

func execMoffsStore(c *cpu, in *x86.Inst) bool {
	return c.store(in.Seg, c.operandAddr(in), in.Size, c.r[x86.RAX])
}

func execXCHG(c *cpu, in *x86.Inst) bool {
	a, s, ok := c.readModify(in, in.Size)
	if ok {
		b := c.reg(in, in.Reg, in.Size)
		c.setReg(in, in.Reg, in.Size, a)
		c.modify(in, in.Size, &s, b)
	}
	return ok
}

func execXCHGAX(c *cpu, in *x86.Inst) bool {
	n := in.Opcode&7 | in.REX&1<<3
	if n == x86.RAX {
		return true // NOP, PAUSE
	}
	a, b := c.reg(in, x86.RAX, in.Size), c.reg(in, n, in.Size)
	c.setReg(in, x86.RAX, in.Size, b)
	c.setReg(in, n, in.Size, a)
	return true
}

func execMOVSXD(c *cpu, in *x86.Inst) bool {
	if !c.long {
		return c.arpl(in)
	}
	n := min(in.Size, 4)
	v, ok := c.readRM(in, n)
	if ok {
		c.setReg(in, in.Reg, in.Size, x86.SignExtend(v, n))
	}
	return ok
}

func execMOVZX(c *cpu, in *x86.Inst) bool {
	v, ok := c.readRM(in, in.Opcode&1+1)
	if ok {
		c.setReg(in, in.Reg, in.Size, v)
	}
	return ok
}

func execMOVSX(c *cpu, in *x86.Inst) bool {
	n := in.Opcode&1 + 1
	v, ok := c.readRM(in, n)
	if ok {
		c.setReg(in, in.Reg, in.Size, x86.SignExtend(v, n))
	}
	return ok
}

func execSETcc(c *cpu, in *x86.Inst) bool {
	v := uint64(0)
	if c.cond(in.Opcode & 15) {
		v = 1
	}
	return c.writeRM(in, 1, v)
}

func execCMOVcc(c *cpu, in *x86.Inst) bool {
	v, ok := c.readRM(in, in.Size)
	if !ok {
		return false
	}
	if !c.cond(in.Opcode & 15) {
		v = c.reg(in, in.Reg, in.Size)
	}
	c.setReg(in, in.Reg, in.Size, v)
	return true
}

func execPush(c *cpu, in *x86.Inst) bool {
	return c.push(in.Size, c.r[in.Opcode&7|in.REX&1<<3])
}

func execPop(c *cpu, in *x86.Inst) bool {
	v, ok := c.pop(in.Size)
	if ok {
		c.setReg(in, in.Opcode&7|in.REX&1<<3, in.Size, v)
	}
	return ok
}

func execPushImm(c *cpu, in *x86.Inst) bool { return c.push(in.Size, in.Imm) }

// execPopRM computes its address with the stack pointer already moved.
func execPopRM(c *cpu, in *x86.Inst) bool {
	if in.ModRM>>3&7 != 0 {
		return c.ud()
	}
	sp := c.r[x86.RSP]
	v, ok := c.pop(in.Size)
	if ok && !c.writeRM(in, in.Size, v) {
		c.r[x86.RSP] = sp
		return false
	}
	return ok
}

func execENTER(c *cpu, in *x86.Inst) bool {
	level := in.Imm & 31
	size := uint64(in.Size)
	sp, bp := c.r[x86.RSP], c.r[x86.RBP]
	sp -= size
	if !c.store(x86.SegSS, c.stackAt(sp), in.Size, bp) {
		return false
	}
	frame := sp
	for i := uint64(1); i < level; i++ {
		bp -= size
		v, ok := c.load(x86.SegSS, c.stackAt(bp), in.Size)
		if !ok {
			return false
		}
		sp -= size
		if !c.store(x86.SegSS, c.stackAt(sp), in.Size, v) {
			return false
		}
	}
	if level > 0 {
		sp -= size
		if !c.store(x86.SegSS, c.stackAt(sp), in.Size, frame) {
			return false
		}
	}
	sp -= uint64(in.Imm2)
	if _, ok := c.span(x86.SegSS, c.stackAt(sp), in.Size, accessWrite); !ok {
		return false
	}
	c.setReg(in, x86.RBP, in.Size, frame)
	c.setSP(sp)
	return true
}

func execLEAVE(c *cpu, in *x86.Inst) bool {
	v, ok := c.load(x86.SegSS, c.stackAt(c.r[x86.RBP]), in.Size)
	if ok {
		c.setSP(c.r[x86.RBP] + uint64(in.Size))
		c.setReg(in, x86.RBP, in.Size, v)
	}
	return ok
}

func execXLAT(c *cpu, in *x86.Inst) bool {
	a := *in
	a.Base = x86.RBX
	a.Disp = c.r[x86.RAX] & 0xff
	v, ok := c.load(in.Seg, c.operandAddr(&a), 1)
	if ok {
		c.r[x86.RAX] = c.r[x86.RAX]&^0xff | v
	}
	return ok
}

func execMOVNTI(c *cpu, in *x86.Inst) bool {
	if in.Mod == 3 || in.Prefix() != 0 {
		return c.ud()
	}
	return c.store(in.Seg, c.operandAddr(in), in.Size, c.reg(in, in.Reg, in.Size))
}

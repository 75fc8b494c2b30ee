package soft

// Opcodes that have a rule of their own elsewhere.
const (
	opSYSCALL = 0x105
	opSYSRET  = 0x107
)

func registerFlow() {
	registerRange(execJcc, 0x70, 0x7f)
	registerRange(execJcc, 0x180, 0x18f)
	register(execJMP, 0xe9, 0xeb)
	register(execCALL, 0xe8)
	register(execRET, 0xc2, 0xc3)
	register(execLOOP, 0xe0, 0xe1, 0xe2)
	register(execJRCXZ, 0xe3)
	register(execGroup5, 0xff)
	register(execRETF, 0xca, 0xcb)
	register(execINT, 0xcc, 0xcd)
	register(execINT1, 0xf1)
	register(execIRET, 0xcf)
	register(execSYSCALL, opSYSCALL)
	register(execSYSRET, opSYSRET)
}

// branch makes target the next instruction.
func (c *cpu) branch(target uint64) bool {
	if !canonical(target) {
		return c.gp(0)
	}
	c.next = target
	return true
}

func execJcc(c *cpu, in *inst) bool {
	if c.cond(in.opcode & 15) {
		return c.branch(c.next + in.imm)
	}
	return true
}

func execJMP(c *cpu, in *inst) bool { return c.branch(c.next + in.imm) }

// call pushes the next instruction's address and branches.
func (c *cpu) call(target uint64) bool {
	if !canonical(target) {
		return c.gp(0)
	}
	if !c.push(8, c.next) {
		return false
	}
	c.next = target
	return true
}

func execCALL(c *cpu, in *inst) bool { return c.call(c.next + in.imm) }

func execRET(c *cpu, in *inst) bool {
	v, ok := c.load(segSS, c.r[rSP], 8)
	if !ok || !c.branch(v) {
		return false
	}
	c.r[rSP] += 8 + in.imm
	return true
}

// count is rCX as LOOP and string operations use it.
func (c *cpu) count(in *inst) uint64 {
	if in.asize == 4 {
		return uint64(uint32(c.r[rCX]))
	}
	return c.r[rCX]
}

func (c *cpu) setCount(in *inst, n uint64) {
	if in.asize == 4 {
		n = uint64(uint32(n))
	}
	c.r[rCX] = n
}

func execLOOP(c *cpu, in *inst) bool {
	n := c.count(in) - 1
	if in.asize == 4 {
		n = uint64(uint32(n))
	}
	take := n != 0
	switch in.opcode {
	case 0xe0:
		take = take && c.fz != 0
	case 0xe1:
		take = take && c.fz == 0
	}
	if take && !c.branch(c.next+in.imm) {
		return false
	}
	c.setCount(in, n)
	return true
}

func execJRCXZ(c *cpu, in *inst) bool {
	if c.count(in) == 0 {
		return c.branch(c.next + in.imm)
	}
	return true
}

func execGroup5(c *cpu, in *inst) bool {
	switch in.modrm >> 3 & 7 {
	case 0, 1:
		return execIncDec(c, in)
	case 2, 4:
		v, ok := c.readRM(in, 8)
		if !ok {
			return false
		}
		if in.modrm>>3&7 == 2 {
			return c.call(v)
		}
		return c.branch(v)
	case 3, 5:
		if in.mod == 3 {
			return c.ud()
		}
		sel, off, ok := c.loadFar(in)
		return ok && c.farBranch(sel, off, in.modrm>>3&7 == 3, in.size)
	case 6:
		size := in.size
		if size == 4 {
			size = 8
		}
		v, ok := c.readRM(in, size)
		return ok && c.push(size, v)
	}
	return c.ud()
}

// loadFar reads a far pointer operand.
func (c *cpu) loadFar(in *inst) (sel uint16, off uint64, ok bool) {
	va := c.operandAddr(in)
	if off, ok = c.load(in.seg, va, in.size); !ok {
		return 0, 0, false
	}
	s, ok := c.load(in.seg, va+uint64(in.size), 2)
	return uint16(s), off, ok
}

func execINT(c *cpu, in *inst) bool {
	vec := uint8(in.imm)
	if in.opcode == 0xcc {
		vec = excBP
	}
	c.exc = exception{vec: vec, soft: true}
	return c.softInterrupt()
}

func execINT1(c *cpu, _ *inst) bool {
	c.exc = exception{vec: excDB}
	return c.softInterrupt()
}

// softInterrupt delivers c.exc as a trap, which returns after the instruction.
func (c *cpu) softInterrupt() bool {
	e := c.exc
	rip := c.rip
	c.rip = c.next
	if !c.interrupt(e) {
		c.rip = rip
		return false
	}
	c.delivered++
	c.debug = 0 // TF is clear from here on
	c.next = c.rip
	return true
}

// execSYSCALL: SDM 2, "SYSCALL".
func execSYSCALL(c *cpu, _ *inst) bool {
	if c.efer&eferSCE == 0 {
		return c.ud()
	}
	f := c.rflags()
	if !canonical(c.msr.lstar) {
		return c.gp(0)
	}
	c.r[rCX] = c.next
	c.r[11] = f &^ flagRF
	c.setRFLAGS(f &^ c.msr.fmask &^ flagRF)
	sel := uint16(c.msr.star>>32) &^ 3
	c.seg[segCS] = segment{sel: sel, attr: attrCode64, limit: ^uint32(0)}
	c.seg[segSS] = segment{sel: sel + 8, attr: attrData, limit: ^uint32(0)}
	c.setCPL(0)
	c.next = c.msr.lstar
	c.attn = true
	return true
}

// execSYSRET: SDM 2, "SYSRET".
func execSYSRET(c *cpu, in *inst) bool {
	if c.efer&eferSCE == 0 {
		return c.ud()
	}
	if c.cpl != 0 || in.size != 8 || !canonical(c.r[rCX]) {
		// A return to compatibility mode is refused: it is not built.
		return c.gp(0)
	}
	c.setRFLAGS(c.r[11] &^ (flagRF | flagVM))
	sel := uint16(c.msr.star>>48) | 3
	c.seg[segCS] = segment{sel: sel + 16, attr: attrCode64 | 3<<5, limit: ^uint32(0)}
	c.seg[segSS] = segment{sel: sel + 8, attr: attrData | 3<<5, limit: ^uint32(0)}
	c.setCPL(3)
	c.next = c.r[rCX]
	c.attn = true
	if c.flags&flagTF != 0 {
		// A step over a system call ends here. Neither instruction looks at
		// TF as it was before (AMD64 Architecture Programmer's Manual 2,
		// 13.1.4).
		c.debug |= dr6BS
	}
	return true
}

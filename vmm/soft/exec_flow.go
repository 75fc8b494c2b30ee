package soft

import "nvlab/vmm/soft/x86"

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
	if !c.long {
		target = uint64(uint32(target))
	}
	if !x86.Canonical(target) {
		return c.gp(0)
	}
	c.next = target
	return true
}

func execJcc(c *cpu, in *x86.Inst) bool {
	if c.cond(in.Opcode & 15) {
		return c.near(in, c.next+in.Imm)
	}
	return true
}

// near branches within the segment; 32-bit code may branch to a word.
func (c *cpu) near(in *x86.Inst, target uint64) bool {
	if !c.long && in.Size == 2 {
		target &= 0xffff
	}
	return c.branch(target)
}

// nearSize is the size of a near branch's target in memory.
func (c *cpu) nearSize(in *x86.Inst) uint8 {
	if c.long {
		return 8
	}
	return in.Size
}

func execJMP(c *cpu, in *x86.Inst) bool { return c.near(in, c.next+in.Imm) }

// call pushes the next instruction's address and branches.
func (c *cpu) call(in *x86.Inst, target uint64) bool {
	after := c.next
	if !c.near(in, target) {
		return false
	}
	return c.push(c.nearSize(in), after)
}

func execCALL(c *cpu, in *x86.Inst) bool { return c.call(in, c.next+in.Imm) }

func execRET(c *cpu, in *x86.Inst) bool {
	n := c.nearSize(in)
	v, ok := c.load(x86.SegSS, c.stack(0), n)
	if !ok || !c.near(in, v) {
		return false
	}
	c.moveSP(uint64(n) + in.Imm)
	return true
}

// count is x86.RCX as LOOP and string operations use it.
func (c *cpu) count(in *x86.Inst) uint64 {
	return in.Wrap(c.r[x86.RCX])
}

func (c *cpu) setCount(in *x86.Inst, n uint64) { c.setReg(in, x86.RCX, in.AddressSize, n) }

func execLOOP(c *cpu, in *x86.Inst) bool {
	n := in.Wrap(c.count(in) - 1)
	take := n != 0
	switch in.Opcode {
	case 0xe0:
		take = take && c.fz != 0
	case 0xe1:
		take = take && c.fz == 0
	}
	if take && !c.near(in, c.next+in.Imm) {
		return false
	}
	c.setCount(in, n)
	return true
}

func execJRCXZ(c *cpu, in *x86.Inst) bool {
	if c.count(in) == 0 {
		return c.near(in, c.next+in.Imm)
	}
	return true
}

func execGroup5(c *cpu, in *x86.Inst) bool {
	switch in.ModRM >> 3 & 7 {
	case 0, 1:
		return execIncDec(c, in)
	case 2, 4:
		v, ok := c.readRM(in, c.nearSize(in))
		if !ok {
			return false
		}
		if in.ModRM>>3&7 == 2 {
			return c.call(in, v)
		}
		return c.near(in, v)
	case 3, 5:
		if in.Mod == 3 {
			return c.ud()
		}
		sel, off, ok := c.loadFar(in)
		return ok && c.farBranch(sel, off, in.ModRM>>3&7 == 3, in.Size)
	case 6:
		size := in.Size
		if size == 4 && c.long {
			size = 8
		}
		v, ok := c.readRM(in, size)
		return ok && c.push(size, v)
	}
	return c.ud()
}

// loadFar reads a far pointer operand.
func (c *cpu) loadFar(in *x86.Inst) (sel uint16, off uint64, ok bool) {
	va := c.operandAddr(in)
	if off, ok = c.load(in.Seg, va, in.Size); !ok {
		return 0, 0, false
	}
	s, ok := c.load(in.Seg, va+uint64(in.Size), 2)
	return uint16(s), off, ok
}

func execINT(c *cpu, in *x86.Inst) bool {
	vec := uint8(in.Imm)
	if in.Opcode == 0xcc {
		vec = excBP
	}
	c.exc = exception{vec: vec, soft: true}
	return c.softInterrupt()
}

func execINT1(c *cpu, _ *x86.Inst) bool {
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
func execSYSCALL(c *cpu, _ *x86.Inst) bool {
	if c.efer&x86.EFERSCE == 0 {
		return c.ud()
	}
	f := c.rflags()
	target := c.msr.lstar
	if !c.long {
		if c.efer&x86.EFERLMA == 0 {
			return c.ud()
		}
		target = c.msr.cstar
	}
	c.r[x86.RCX] = c.next
	c.r[11] = f &^ x86.FlagRF
	c.setRFLAGS(f &^ c.msr.fmask &^ x86.FlagRF)
	sel := uint16(c.msr.star>>32) &^ 3
	c.seg[x86.SegCS] = segment{sel: sel, attr: attrCode64, limit: ^uint32(0)}
	c.seg[x86.SegSS] = segment{sel: sel + 8, attr: attrData, limit: ^uint32(0)}
	c.setLong()
	c.setCPL(0)
	c.next = target
	c.attn = true
	return true
}

// execSYSRET: SDM 2, "SYSRET".
func execSYSRET(c *cpu, in *x86.Inst) bool {
	if c.efer&x86.EFERSCE == 0 {
		return c.ud()
	}
	if c.cpl != 0 || !c.long || in.Size == 8 && !x86.Canonical(c.r[x86.RCX]) {
		return c.gp(0)
	}
	c.setRFLAGS(c.r[11] &^ (x86.FlagRF | x86.FlagVM))
	sel := uint16(c.msr.star>>48) | 3
	c.next = c.r[x86.RCX]
	if in.Size == 8 {
		c.seg[x86.SegCS] = segment{sel: sel + 16, attr: attrCode64 | 3<<5, limit: ^uint32(0)}
	} else { // to compatibility mode
		c.seg[x86.SegCS] = segment{sel: sel, attr: attrCode32 | 3<<5, limit: ^uint32(0)}
		c.next = uint64(uint32(c.next))
	}
	c.seg[x86.SegSS] = segment{sel: sel + 8, attr: attrData | 3<<5, limit: ^uint32(0)}
	c.setLong()
	c.setCPL(3)
	c.attn = true
	if c.flags&x86.FlagTF != 0 {
		// A step over a system call ends here. Neither instruction looks at
		// TF as it was before (AMD64 Architecture Programmer's Manual 2,
		// 13.1.4).
		c.debug |= dr6BS
	}
	return true
}

package soft

import (
	"nvlab/vmm/soft/ir"
	"nvlab/vmm/soft/x86"
)

//lint:file-ignore U1000 genfast inlines what is here

// The stack and branches. Forms: Push is memory below the stack pointer, Pop
// memory at it, Frame memory at x86.RBP.

//op:push PUSH .Push=64
func push(c *cpu, o *ir.Op, m *uint64, va uint64) {
	*m = c.r[o.Src]
	c.r[x86.RSP] = va
}

//op:pushImm PUSHI .Push=64
func pushImm(c *cpu, o *ir.Op, m *uint64, va uint64) {
	*m = uint64(o.Imm)
	c.r[x86.RSP] = va
}

//op:pushf PUSHF .Push=64
func pushf(c *cpu, m *uint64, va uint64) {
	v := c.rflags() &^ (x86.FlagVM | x86.FlagRF)
	*m = v
	c.r[x86.RSP] = va
}

//op:pop POP .Pop=64
func pop(c *cpu, o *ir.Op, m *uint64, va uint64) {
	v := *m
	c.r[x86.RSP] = va + 8
	c.r[o.Dst] = v
}

// push2 is two instructions: the first pushes src.
//
//op:push2 PUSH2 .Push=128
func push2(c *cpu, o *ir.Op, m *[2]uint64, va uint64) {
	m[1], m[0] = c.r[o.Src], c.r[o.Dst]
	c.r[x86.RSP] = va
}

// pop2 is two instructions: the first pops dst.
//
//op:pop2 POP2 .Pop=128
func pop2(c *cpu, o *ir.Op, m *[2]uint64, va uint64) {
	v, w := m[0], m[1]
	c.r[x86.RSP] = va + 16
	c.r[o.Dst], c.r[o.Src] = v, w
}

//op:leave LEAVE .Frame=64
func leaveFrame(c *cpu, m *uint64, va uint64) {
	v := *m
	c.r[x86.RSP] = va + 8
	c.r[x86.RBP] = v
}

//op:popf POPF .Pop=64
func popf(c *cpu, m *uint64) exit {
	v := *m
	if (c.flags^v)&(x86.FlagTF|x86.FlagIOPL|x86.FlagNT|x86.FlagAC|x86.FlagID) != 0 {
		return exitBail
	}
	if v&x86.FlagIF&^c.flags != 0 {
		irq := c.apic.Pending()
		if irq >= 0 {
			return exitBail
		}
	}
	c.flags = c.flags&^(x86.FlagIF|x86.FlagDF) | v&(x86.FlagIF|x86.FlagDF)
	flagsAssign(c, v)
	c.r[x86.RSP] += 8
	return exitNext
}

// flagsAssign is setArith.
func flagsAssign(c *cpu, v uint64) {
	c.fz = ^v & x86.FlagZF
	c.fs = v>>7<<63 | ^v>>2&1
	c.fc = v<<63 | (v^v>>11)&1<<62 | v>>4&1<<3
}

//op:call CALL .Push=64
func call(c *cpu, o *ir.Op, page uint64, m *uint64, va uint64) exit {
	*m = page + uint64(int64(o.Disp))
	c.r[x86.RSP] = va
	return exitTaken
}

//op:callReg CALLR .Push=64
func callReg(c *cpu, o *ir.Op, page uint64, m *uint64, va uint64) (rip uint64, to exit) {
	rip = c.r[o.Src]
	if !x86.Canonical(rip) {
		return rip, exitBail
	}
	*m = page + uint64(o.Imm)
	c.r[x86.RSP] = va
	return rip, exitJump
}

//op:ret RET .Pop=64
func ret(c *cpu, o *ir.Op, m *uint64, va uint64) (rip uint64, to exit) {
	rip = *m
	if !x86.Canonical(rip) {
		return rip, exitBail
	}
	c.r[x86.RSP] = va + 8 + uint64(o.Imm)
	return rip, exitJump
}

//op:jmp JMP
func jmp() exit { return exitTaken }

//op:jmpReg JMPR
func jmpReg(c *cpu, o *ir.Op) (rip uint64, to exit) {
	rip = c.r[o.Src]
	if !x86.Canonical(rip) {
		return rip, exitBail
	}
	return rip, exitJump
}

//op:jcc J cc
func jcc(cond bool) exit {
	if cond {
		return exitTaken
	}
	return exitNext
}

package soft

//lint:file-ignore U1000 genfast inlines what is here

// The stack and branches. Forms: Push is memory below the stack pointer, Pop
// memory at it, Frame memory at rBP.

//op:push PUSH .Push=64
func push(c *cpu, o *op, m *uint64, va uint64) {
	*m = c.r[o.src]
	c.r[rSP] = va
}

//op:pushImm PUSHI .Push=64
func pushImm(c *cpu, o *op, m *uint64, va uint64) {
	*m = uint64(o.imm)
	c.r[rSP] = va
}

//op:pushf PUSHF .Push=64
func pushf(c *cpu, m *uint64, va uint64) {
	v := c.rflags() &^ (flagVM | flagRF)
	*m = v
	c.r[rSP] = va
}

//op:pop POP .Pop=64
func pop(c *cpu, o *op, m *uint64, va uint64) {
	v := *m
	c.r[rSP] = va + 8
	c.r[o.dst] = v
}

// push2 is two instructions: the first pushes src.
//
//op:push2 PUSH2 .Push=128
func push2(c *cpu, o *op, m *[2]uint64, va uint64) {
	m[1], m[0] = c.r[o.src], c.r[o.dst]
	c.r[rSP] = va
}

// pop2 is two instructions: the first pops dst.
//
//op:pop2 POP2 .Pop=128
func pop2(c *cpu, o *op, m *[2]uint64, va uint64) {
	v, w := m[0], m[1]
	c.r[rSP] = va + 16
	c.r[o.dst], c.r[o.src] = v, w
}

//op:leave LEAVE .Frame=64
func leaveFrame(c *cpu, m *uint64, va uint64) {
	v := *m
	c.r[rSP] = va + 8
	c.r[rBP] = v
}

//op:popf POPF .Pop=64
func popf(c *cpu, m *uint64) exit {
	v := *m
	if (c.flags^v)&(flagTF|flagIOPL|flagNT|flagAC|flagID) != 0 {
		return exitBail
	}
	if v&flagIF&^c.flags != 0 {
		irq := c.apic.pending()
		if irq >= 0 {
			return exitBail
		}
	}
	c.flags = c.flags&^(flagIF|flagDF) | v&(flagIF|flagDF)
	flagsAssign(c, v)
	c.r[rSP] += 8
	return exitNext
}

// flagsAssign is setArith.
func flagsAssign(c *cpu, v uint64) {
	c.fz = ^v & flagZF
	c.fs = v>>7<<63 | ^v>>2&1
	c.fc = v<<63 | (v^v>>11)&1<<62 | v>>4&1<<3
}

//op:call CALL .Push=64
func call(c *cpu, o *op, page uint64, m *uint64, va uint64) exit {
	*m = page + uint64(int64(o.disp))
	c.r[rSP] = va
	return exitTaken
}

//op:callReg CALLR .Push=64
func callReg(c *cpu, o *op, page uint64, m *uint64, va uint64) (rip uint64, to exit) {
	rip = c.r[o.src]
	if !canonical(rip) {
		return rip, exitBail
	}
	*m = page + uint64(o.imm)
	c.r[rSP] = va
	return rip, exitJump
}

//op:ret RET .Pop=64
func ret(c *cpu, o *op, m *uint64, va uint64) (rip uint64, to exit) {
	rip = *m
	if !canonical(rip) {
		return rip, exitBail
	}
	c.r[rSP] = va + 8 + uint64(o.imm)
	return rip, exitJump
}

//op:jmp JMP
func jmp() exit { return exitTaken }

//op:jmpReg JMPR
func jmpReg(c *cpu, o *op) (rip uint64, to exit) {
	rip = c.r[o.src]
	if !canonical(rip) {
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

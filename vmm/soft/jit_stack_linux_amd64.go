package soft

// stack is PUSH, POP, CALL and RET, and the jumps.
func (t *translator) stack(i int, o *op, x *opInfo) bool {
	a := &t.asm
	push := op{base: rSP, index: slotZero, disp: -8}
	pop := op{base: rSP, index: slotZero}
	drop := func(n int32) { a.lea(hSP, inMem(hSP, n)) }
	switch x.kind {
	case kindPush, kindPushImm:
		t.prepare(i, true, rSP)
		m := t.locate(i, &push, 8, true, false)
		switch {
		case x.kind == kindPush:
			a.store(8, t.into(hA, o.src), m)
		default:
			a.storeImm(8, m, o.imm)
		}
		drop(-8)
		t.wrote(rSP)
	case kindPop:
		t.prepare(i, true, rSP, o.dst)
		m := t.locate(i, &pop, 8, false, false)
		if d := t.target(hA, o.dst); d == hSP || d == hA {
			a.load(8, hA, m)
			drop(8)
			a.store(8, hA, t.slot(o.dst))
		} else {
			a.load(8, d, m)
			drop(8)
		}
		t.wrote(rSP, o.dst)
	case kindLeave:
		t.prepare(i, true, rSP, rBP)
		m := t.locate(i, &op{base: rBP, index: slotZero}, 8, false, false)
		a.lea(hSP, inMem(rBP, 8))
		a.load(8, rBP, m)
		t.wrote(rSP, rBP)
	case kindPushf:
		t.prepare(i, true, rSP)
		t.toWord()
		m := t.locate(i, &push, 8, true, false)
		a.insn(0x0fb6, 4, hA, inCPU(offFlagWord))
		a.shiftImm(4, 4, hA, 11)
		a.alu(aluOR, 1, hA, inCPU(offFlagWord+1))
		a.alu(aluOR, 8, hA, inCPU(offFlags))
		a.aluImm(aluAND, 4, inReg(hA), ^(flagVM | flagRF))
		a.store(8, hA, m)
		drop(-8)
		t.flags.host = 0
		t.wrote(rSP)
	case kindPopf:
		t.popFlags(i, &pop)
	case kindCall:
		t.prepare(i, true, rSP)
		t.push(i, int64(o.disp))
		t.edge(i, 0)
	case kindJmp:
		t.edge(i, 0)
	case kindRet:
		t.prepare(i, true, rSP)
		t.toWord()
		m := t.locate(i, &pop, 8, false, false)
		a.load(8, hA, m)
		t.jump(i)
	case kindJmpReg:
		t.prepare(i, true)
		t.toWord()
		a.load(8, hA, t.slot(o.src))
		t.jump(i)
	case kindCallReg:
		t.prepare(i, true, rSP)
		t.toWord()
		a.load(8, hA, t.slot(o.src))
		t.callTo(i)
	case kindPush2:
		t.prepare(i, true, rSP)
		push.disp = -16
		m := t.locate(i, &push, 16, true, false)
		a.store(8, t.into(hA, o.dst), m)
		m.disp += 8
		a.store(8, t.into(hA, o.src), m)
		drop(-16)
		t.wrote(rSP)
	case kindPop2:
		t.prepare(i, true, rSP, o.dst, o.src)
		m := t.locate(i, &pop, 16, false, false)
		for _, s := range []uint8{o.dst, o.src} {
			d := t.target(hA, s)
			a.load(8, d, m)
			t.finish(d, s)
			m.disp += 8
		}
		drop(16)
		t.wrote(rSP, o.dst, o.src)
	}
	return true
}

// push pushes an address of this page, for op i.
func (t *translator) push(i int, off int64) {
	a := &t.asm
	m := t.locate(i, &op{base: rSP, index: slotZero, disp: -8}, 8, true, false)
	if v := t.page + uint64(off); v == uint64(int32(v)) {
		a.storeImm(8, m, int64(v))
	} else {
		a.movImm(hA, v)
		a.store(8, hA, m)
	}
	a.lea(hSP, inMem(hSP, -8))
}

// popFlags is POPF where it changes no flag that the executor must see.
func (t *translator) popFlags(i int, pop *op) {
	a := &t.asm
	t.prepare(i, true, rSP)
	t.toWord()
	m := t.locate(i, pop, 8, false, false)
	a.load(8, hA, m)
	a.alu(aluXOR, 8, hA, inCPU(offFlags))
	a.insn(0xf7, 4, 0, inReg(hA)) // test r14d, imm32
	a.imm32(flagTF | flagIOPL | flagNT | flagAC | flagID)
	t.bail(i, a.jcc(5))
	// Interrupts going on are an exit if one may be pending.
	a.load(8, hA, m)
	a.store(8, hA, inCPU(offSpill))
	a.insn(0xf7, 4, 0, inReg(hA))
	a.imm32(flagIF)
	off := a.jcc(4)
	a.load(8, hA, inCPU(offIRR))
	for n := uintptr(8); n < 32; n += 8 {
		a.alu(aluOR, 8, hA, inCPU(offIRR+n))
	}
	a.insn(0x85, 8, hA, inReg(hA))
	t.bail(i, a.jcc(5))
	a.here(off)
	a.load(8, hA, inCPU(offSpill))
	a.aluImm(aluAND, 4, inReg(hA), flagIF|flagDF)
	a.aluImm(aluAND, 4, inCPU(offFlags), ^(flagIF | flagDF))
	a.aluTo(aluOR, 4, inCPU(offFlags), hA)
	a.load(8, hA, inCPU(offSpill))
	a.load(4, hB, inReg(hA))
	a.shiftImm(5, 4, hB, 11)
	a.aluImm(aluAND, 4, inReg(hB), 1)
	a.store(1, hB, inCPU(offFlagWord))
	a.aluImm(aluAND, 4, inReg(hA), (flagsArith&^flagOF)|flagOne)
	a.aluImm(aluOR, 4, inReg(hA), flagOne)
	a.store(1, hA, inCPU(offFlagWord+1))
	a.lea(hSP, inMem(hSP, 8))
	t.defineWord(0)
}

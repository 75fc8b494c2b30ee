package soft

// translations are how ops are translated, by kind. One says whether it could;
// what has none is left to the interpreter.
var translations = [kindCount]func(t *translator, i int, o *op, x *opInfo) bool{
	kindAlu:         (*translator).alu,
	kindTest:        (*translator).test,
	kindCmpJump:     (*translator).cmpJump,
	kindTestJump:    (*translator).testJump,
	kindMov:         (*translator).mov,
	kindMovzx:       (*translator).extend,
	kindMovsx:       (*translator).extend,
	kindMovsx32:     (*translator).extend,
	kindMovzxHigh:   (*translator).movzxHigh,
	kindSetcc:       (*translator).setcc,
	kindCmov:        (*translator).cmov,
	kindJcc:         (*translator).jcc,
	kindShift:       (*translator).shift,
	kindDoubleShift: (*translator).doubleShiftImm,
	kindInc:         (*translator).incDec,
	kindDec:         (*translator).incDec,
	kindNeg:         (*translator).negNot,
	kindNot:         (*translator).negNot,
	kindImul:        (*translator).imul,
	kindMul:         (*translator).mul,
	kindDiv:         (*translator).div,
	kindBit:         (*translator).bitTest,
	kindBitScan:     (*translator).bitScan,
	kindLea:         (*translator).lea,
	kindXchg:        (*translator).exchange,
	kindXadd:        (*translator).exchangeAdd,
	kindCmpxchg:     (*translator).compareExchange,
	kindCmpxchg16b:  (*translator).compareExchange16,
	kindBswap:       (*translator).byteSwap,
	kindCdqe:        (*translator).convert,
	kindCwde:        (*translator).convert,
	kindCqo:         (*translator).convert,
	kindCdq:         (*translator).convert,
	kindClc:         (*translator).system,
	kindStc:         (*translator).system,
	kindCld:         (*translator).system,
	kindCli:         (*translator).system,
	kindSti:         (*translator).system,
	kindOrder:       (*translator).system,
	kindRdtsc:       (*translator).system,
	kindPush:        (*translator).stack,
	kindPushImm:     (*translator).stack,
	kindPushf:       (*translator).stack,
	kindPush2:       (*translator).stack,
	kindPop:         (*translator).stack,
	kindPopf:        (*translator).stack,
	kindPop2:        (*translator).stack,
	kindLeave:       (*translator).stack,
	kindCall:        (*translator).stack,
	kindCallReg:     (*translator).stack,
	kindRet:         (*translator).stack,
	kindJmp:         (*translator).stack,
	kindJmpReg:      (*translator).stack,
	kindCopyVector:  (*translator).moveVector,
	kindCopyAligned: (*translator).moveVector,
	kindMovd:        (*translator).moveVector,
	kindMoveLow:     (*translator).moveVector,
	kindMovh:        (*translator).moveVector,
	kindMovmsk:      (*translator).moveVector,
	kindVector:      (*translator).vector,
	kindFp:          (*translator).packed,
	kindGeneric:     (*translator).generic,
}

// op translates op i, or says that it cannot.
func (t *translator) op(i int, o *op) bool {
	x := &opTable[o.code]
	f := translations[x.kind]
	return f != nil && f(t, i, o, x)
}

func (t *translator) generic(i int, o *op, _ *opInfo) bool {
	d := t.direct(o)
	if d.emit != nil {
		d.emit(i, &t.n.cache.insts[o.imm])
	}
	return d.emit != nil
}

func (t *translator) test(i int, o *op, x *opInfo) bool {
	t.compare(i, o, lazyTest, x.form, x.size, o.imm)
	return true
}

func (t *translator) jcc(i int, _ *op, x *opInfo) bool {
	t.branch(i, t.cond(x.sub))
	return true
}

// alu is the eight two-operand operations.
func (t *translator) alu(i int, o *op, x *opInfo) bool {
	form, size, op := x.form, x.size, x.sub
	if op == aluCMP {
		t.compare(i, o, lazyCmp, form, size, o.imm)
		return true
	}
	a := &t.asm
	logic := op == aluOR || op == aluAND || op == aluXOR
	carry := op == aluADC || op == aluSBB
	shown := t.shown(i)
	g := lazyFlags{size: size, dst: o.dst, src: o.src}
	if form == formRI || form == formMI {
		g.src, g.imm = slotZero, o.imm
	}
	switch {
	case logic:
		g.kind, g.src, g.imm = lazyTest, o.dst, 0
	case carry || form != formRR && form != formRI && !shown || o.dst == o.src && form == formRR:
	case op == aluADD:
		g.kind = lazyAdd
	case op == aluSUB:
		g.kind = lazySub
	}
	if form == formRR || form == formRI || form == formRM {
		t.prepare(i, form == formRM, o.dst)
		if carry && form == formRM {
			t.toWord()
		}
		var m arg
		switch form {
		case formRM:
			m = t.locate(i, o, size, false, false)
		case formRR:
			m = t.slot(o.src)
		}
		if carry {
			t.carry()
		}
		d := t.target(hA, o.dst)
		keep := form == formRM && g.kind >= lazyAdd
		if form == formRM && (d == hA || keep) {
			// hA may be part of the address.
			a.loadLow(size, hB, m)
			m = inReg(hB)
		}
		if keep {
			g.src = slotKept + 1
			a.store(8, hB, t.slot(g.src))
		}
		if d == hA {
			a.load(8, hA, t.slot(o.dst))
		}
		if form == formRI {
			a.aluImm(op, size, inReg(d), o.imm)
		} else {
			a.alu(op, size, d, m)
		}
		t.finish(d, o.dst)
		t.define(i, logic, g)
		return true
	}
	t.prepare(i, true)
	if carry {
		t.toWord()
	}
	m := t.locate(i, o, size, true, false)
	if form == formMR {
		m = t.beside(o, o.src, m)
	}
	if carry {
		t.carry()
	}
	if form == formMI {
		a.aluImm(op, size, m, o.imm)
	} else {
		a.aluTo(op, size, m, t.into(hA, o.src))
	}
	if shown && g.kind != lazyNot {
		t.keepResult(size, m)
		g.dst = slotKept
		if logic {
			g.src = slotKept
		}
	} else {
		g.kind = lazyNot
	}
	t.define(i, logic, g)
	return true
}

// simpleAccess says that locate's result does not use hA.
func (t *translator) simpleAccess(o *op) bool {
	return o.index == slotZero && (o.base == slotZero || !t.slot(o.base).mem)
}

// beside makes a located operand leave hA free if slot src needs it.
func (t *translator) beside(o *op, src uint8, m arg) arg {
	if t.slot(src).mem && !t.simpleAccess(o) {
		t.asm.lea(hB, m)
		return inMem(hB, 0)
	}
	return m
}

// compare is CMP and TEST.
func (t *translator) compare(i int, o *op, kind uint8, form opForm, size uint8, imm int64) {
	a := &t.asm
	g := lazyFlags{kind: kind, op: 0, size: size, dst: o.dst, src: o.src, imm: imm}
	switch form {
	case formRI:
		g.src = slotZero
		fallthrough
	case formRR:
		t.prepare(i, false)
		t.recompute(g)
		t.define(i, kind == lazyTest, g)
		return
	}
	t.prepare(i, true)
	m := t.locate(i, o, size, false, false)
	if t.shown(i) {
		t.keep(i, kind, form, size, m, o, imm)
		return
	}
	switch form {
	case formRM:
		if s := t.slot(o.dst); s.mem {
			a.load(size, hB, m)
			a.aluTo(aluCMP, size, s, hB)
		} else {
			a.alu(aluCMP, size, s.reg, m)
		}
	case formMR:
		s := t.slot(o.src)
		switch {
		case !s.mem && kind == lazyCmp:
			a.aluTo(aluCMP, size, m, s.reg)
		case !s.mem:
			a.insn(byteOp(0x85, size), size, s.reg, m)
		case kind == lazyCmp:
			a.load(size, hB, m)
			a.alu(aluCMP, size, hB, s)
		default:
			a.load(size, hB, m)
			a.insn(byteOp(0x85, size), size, hB, s)
		}
	default:
		if kind == lazyCmp {
			a.aluImm(aluCMP, size, m, imm)
		} else {
			a.insn(byteOp(0xf7, size), size, 0, m)
			a.immediate(size, imm)
		}
	}
	t.define(i, kind == lazyTest, lazyFlags{})
}

// shown says that an op may leave with the flags of op i.
func (t *translator) shown(i int) bool {
	for j := i + 1; j < len(t.ops); j++ {
		if t.leaves[j] {
			return true
		}
		if t.sets[j] {
			break
		}
	}
	return false
}

// keep compares what is at m, and keeps it: this costs less than the flags
// do.
func (t *translator) keep(i int, kind uint8, form opForm, size uint8, m arg, o *op, imm int64) {
	a := &t.asm
	a.loadLow(size, hB, m)
	g := lazyFlags{kind: kind, size: size, dst: slotKept, src: o.src, imm: imm}
	if form == formRM {
		a.store(8, hB, t.slot(slotKept+1))
	} else {
		a.store(8, hB, t.slot(slotKept))
	}
	switch {
	case form == formRM:
		g.dst, g.src = o.dst, slotKept+1
		if s := t.slot(o.dst); s.mem {
			a.aluTo(aluCMP, size, s, hB)
		} else {
			a.alu(aluCMP, size, s.reg, inReg(hB))
		}
	case form == formMR && kind == lazyCmp:
		a.alu(aluCMP, size, hB, t.slot(o.src))
	case form == formMR:
		a.insn(byteOp(0x85, size), size, hB, t.slot(o.src))
	case kind == lazyCmp:
		g.src = slotZero
		a.aluImm(aluCMP, size, inReg(hB), imm)
	default:
		g.src = slotZero
		a.insn(byteOp(0xf7, size), size, 0, inReg(hB))
		a.immediate(size, imm)
	}
	t.define(i, kind == lazyTest, g)
}

// cmpJump and testJump are a comparison and a branch.

func (t *translator) cmpJump(i int, o *op, x *opInfo) bool {
	t.compare(i, o, lazyCmp, x.form, x.size, int64(int32(o.imm)))
	t.branch(i, x.sub)
	return true
}

func (t *translator) testJump(i int, o *op, x *opInfo) bool {
	t.compare(i, o, lazyTest, x.form, x.size, int64(int32(o.imm)))
	t.branch(i, x.sub)
	return true
}

func (t *translator) mov(i int, o *op, x *opInfo) bool {
	a := &t.asm
	size := x.size
	switch x.form {
	case formRR:
		t.prepare(i, false, o.dst)
		d, s := t.slot(o.dst), t.slot(o.src)
		switch {
		case !d.mem:
			a.load(size, d.reg, s)
		case size == 4:
			a.load(4, hA, s)
			a.store(8, hA, d)
		default:
			a.store(size, t.into(hA, o.src), d)
		}
		t.wrote(o.dst)
	case formRI:
		t.prepare(i, false, o.dst)
		d := t.slot(o.dst)
		switch {
		case size <= 2 && d.mem:
			a.storeImm(size, d, o.imm)
		case size == 2:
			a.insn(0xc7, 2, 0, d)
			a.immediate(2, o.imm)
		case size == 1:
			a.insn(0xc6, 1, 0, d)
			a.immediate(1, o.imm)
		default:
			v := uint64(o.imm)
			if size == 4 {
				v = uint64(uint32(v))
			}
			r := t.target(hA, o.dst)
			a.movImm(r, v)
			t.finish(r, o.dst)
		}
		t.wrote(o.dst)
	case formRM:
		t.prepare(i, true, o.dst)
		m := t.locate(i, o, size, false, false)
		t.loaded(o.dst, size, m, byteOp(0x8b, size))
	case formMR:
		t.prepare(i, true)
		m := t.beside(o, o.src, t.locate(i, o, size, true, false))
		a.store(size, t.into(hA, o.src), m)
	default:
		t.prepare(i, true)
		a.storeImm(size, t.locate(i, o, size, true, false), o.imm)
	}
	return true
}

// loaded is the end of a load: opcode reads m into slot dst.
func (t *translator) loaded(dst, size uint8, m arg, opcode uint32) {
	a := &t.asm
	if s := t.slot(dst); s.mem {
		if size < 4 && opcode&0xff00 == 0 {
			a.insn(opcode, size, hB, m)
			a.store(size, hB, s)
		} else {
			a.insn(opcode, size, hB, m)
			a.store(8, hB, s)
		}
	} else {
		a.insn(opcode, size, s.reg, m)
	}
	t.wrote(dst)
}

// extend is MOVZX, MOVSX and MOVSXD.
func (t *translator) extend(i int, o *op, x *opInfo) bool {
	a := &t.asm
	opcode := 0x0fb5 + uint32(x.size) // MOVZX
	size, from := uint8(4), x.size
	switch {
	case x.kind == kindMovzx:
	case from == 4:
		opcode, size = 0x63, 8
	default:
		opcode += 8
		if x.kind == kindMovsx {
			size = 8
		}
	}
	var m arg
	if x.form == formRM {
		t.prepare(i, true, o.dst)
		m = t.locate(i, o, from, false, false)
	} else {
		t.prepare(i, false, o.dst)
		m = t.slot(o.src)
		if !m.mem && from == 1 && m.reg >= 4 && m.reg < 8 && size == 4 {
			// Needs a REX prefix: take the 64-bit form's, where it is the same.
			if x.kind == kindMovzx {
				size = 8
			} else {
				a.load(8, hA, m)
				m = inReg(hA)
			}
		}
	}
	t.loaded(o.dst, size, m, opcode)
	return true
}

// movzxHigh is MOVZX of AH to BH. Shifts would change EFLAGS: it goes through
// memory's second byte.
func (t *translator) movzxHigh(i int, o *op, _ *opInfo) bool {
	t.prepare(i, false, o.dst)
	s := t.slot(o.src)
	if !s.mem {
		t.asm.store(8, s.reg, inCPU(offSpill))
		s = inCPU(offSpill)
	}
	s.disp++
	t.loaded(o.dst, 4, s, 0x0fb6)
	return true
}

func (t *translator) setcc(i int, o *op, x *opInfo) bool {
	t.prepare(i, false, o.dst)
	cc := t.cond(x.sub)
	t.asm.insn(0x0f90|uint32(cc), 1, 0, t.slot(o.dst))
	t.wrote(o.dst)
	return true
}

func (t *translator) cmov(i int, o *op, x *opInfo) bool {
	a := &t.asm
	t.prepare(i, false, o.dst)
	cc := t.cond(x.sub)
	d := t.target(hA, o.dst)
	if d == hA {
		a.load(8, hA, t.slot(o.dst))
	}
	a.insn(0x0f40|uint32(cc), x.size, d, t.slot(o.src))
	t.finish(d, o.dst)
	t.wrote(o.dst)
	return true
}

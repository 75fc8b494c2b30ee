package soft

func (t *translator) lea(i int, o *op, x *opInfo) bool {
	t.prepare(i, false, o.dst)
	d := t.target(hA, o.dst)
	t.asm.insn(0x8d, x.size, d, t.address(o))
	t.finish(d, o.dst)
	t.wrote(o.dst)
	return true
}

// exchange is XCHG.
func (t *translator) exchange(i int, o *op, x *opInfo) bool {
	a := &t.asm
	if x.form == formRR {
		t.prepare(i, false, o.dst, o.src)
		a.load(x.size, hA, t.slot(o.dst))
		a.load(x.size, hB, t.slot(o.src))
		a.store(8, hB, t.slot(o.dst))
		a.store(8, hA, t.slot(o.src))
		t.wrote(o.dst, o.src)
		return true
	}
	t.prepare(i, true, o.src)
	m := t.beside(o, o.src, t.locate(i, o, x.size, true, false))
	r := t.into(hA, o.src)
	a.insn(0x87, x.size, r, m)
	t.finish(r, o.src)
	t.wrote(o.src)
	return true
}

// exchangeAdd is XADD with memory.
func (t *translator) exchangeAdd(i int, o *op, x *opInfo) bool {
	t.prepare(i, true, o.src)
	m := t.beside(o, o.src, t.locate(i, o, x.size, true, false))
	r := t.into(hA, o.src)
	t.asm.insn(0x0fc1, x.size, r, m)
	t.finish(r, o.src)
	g := lazyFlags{}
	if t.shown(i) && o.src != o.base && o.src != o.index {
		t.keepResult(x.size, m)
		g = lazyFlags{kind: lazyAdd, size: x.size, dst: slotKept, src: o.src}
	}
	t.define(i, false, g)
	return true
}

// compareExchange is CMPXCHG with memory.
func (t *translator) compareExchange(i int, o *op, x *opInfo) bool {
	t.prepare(i, true, rAX)
	m := t.beside(o, o.src, t.locate(i, o, x.size, true, false))
	r := t.into(hA, o.src)
	t.asm.insn(0x0fb1, x.size, r, m)
	t.define(i, false, lazyFlags{})
	return true
}

// compareExchange16 is CMPXCHG16B.
func (t *translator) compareExchange16(i int, o *op, _ *opInfo) bool {
	a := &t.asm
	t.prepare(i, true, rAX, rDX)
	t.toWord()
	m := t.locate(i, o, 16, true, true)
	a.insn(0x0fc7, 8, 1, m)
	a.insn(0x0f94, 1, 0, inReg(hA)) // setz r14b
	a.shiftImm(4, 4, hA, 6)
	a.aluImm(aluAND, 1, inCPU(offFlagWord+1), 0xff&^flagZF)
	a.aluTo(aluOR, 1, inCPU(offFlagWord+1), hA)
	t.wrote(rAX, rDX)
	t.defineWord(0)
	return true
}

func (t *translator) byteSwap(i int, o *op, x *opInfo) bool {
	a := &t.asm
	t.prepare(i, false, o.dst)
	d := t.target(hA, o.dst)
	if d == hA {
		a.load(8, hA, t.slot(o.dst))
	}
	a.bytes(0x40|x.size&8|d>>3, 0x0f, 0xc8|d&7)
	t.finish(d, o.dst)
	t.wrote(o.dst)
	return true
}

// convert is CDQE, CWDE, CQO and CDQ.
func (t *translator) convert(i int, _ *op, x *opInfo) bool {
	slot, opcode := uint8(rAX), byte(0x98)
	if x.kind == kindCqo || x.kind == kindCdq {
		slot, opcode = rDX, 0x99
	}
	t.prepare(i, false, slot)
	if x.kind == kindCdqe || x.kind == kindCqo {
		t.asm.byte(0x48)
	}
	t.asm.byte(opcode)
	t.wrote(slot)
	return true
}

// system is flags, and the clock.
func (t *translator) system(i int, o *op, x *opInfo) bool {
	a := &t.asm
	switch x.kind {
	case kindOrder:
		a.storeImm(1, inCPU(offOrdered), int64(orderLock)) // in it is all that was noted before
	case kindRdtsc:
		t.prepare(i, true, rAX, rDX)
		a.load(8, hA, inCPU(offLimit))
		a.alu(aluSUB, 8, hA, inReg(hLeft))
		a.alu(aluADD, 8, hA, inCPU(offTSC))
		a.aluImm(aluADD, 8, inReg(hA), int64(o.n)-1-maxBlock)
		a.load(4, hAX, inReg(hA))
		a.shiftImm(5, 8, hA, 32)
		a.load(4, hDX, inReg(hA))
		t.wrote(rAX, rDX)
	case kindClc:
		t.prepare(i, true)
		t.toWord()
		a.aluImm(aluAND, 1, inCPU(offFlagWord+1), 0xff&^flagCF)
		t.defineWord(0)
	case kindStc:
		t.prepare(i, true)
		t.toWord()
		a.aluImm(aluOR, 1, inCPU(offFlagWord+1), flagCF)
		t.defineWord(0)
	case kindCld:
		t.prepare(i, true)
		a.aluImm(aluAND, 4, inCPU(offFlags), ^flagDF)
	case kindCli:
		t.prepare(i, true)
		a.aluImm(aluAND, 4, inCPU(offFlags), ^flagIF)
	case kindSti:
		t.prepare(i, true)
		t.noInterrupt(i)
		a.aluImm(aluOR, 4, inCPU(offFlags), flagIF)
	}
	return true
}

// noInterrupt leaves before op i if the APIC may have something pending.
func (t *translator) noInterrupt(i int) {
	a := &t.asm
	a.load(8, hA, inCPU(offIRR))
	for n := uintptr(8); n < 32; n += 8 {
		a.alu(aluOR, 8, hA, inCPU(offIRR+n))
	}
	a.insn(0x85, 8, hA, inReg(hA))
	t.bail(i, a.jcc(5))
}

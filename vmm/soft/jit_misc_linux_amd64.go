package soft

// other is moves, the stack, branches and system instructions.
func (t *translator) other(i int, o *op) bool {
	a := &t.asm
	switch o.code {
	case opLEA64, opLEA32:
		t.prepare(i, false, o.dst)
		size := uint8(8)
		if o.code == opLEA32 {
			size = 4
		}
		d := t.target(hA, o.dst)
		a.insn(0x8d, size, d, t.address(o))
		t.finish(d, o.dst)
		t.wrote(o.dst)
	case opXCHGRR32, opXCHGRR64:
		t.prepare(i, false, o.dst, o.src)
		size := uint8(8)
		if o.code == opXCHGRR32 {
			size = 4
		}
		a.load(size, hA, t.slot(o.dst))
		a.load(size, hB, t.slot(o.src))
		a.store(8, hB, t.slot(o.dst))
		a.store(8, hA, t.slot(o.src))
		t.wrote(o.dst, o.src)
	case opXCHGMR32, opXCHGMR64:
		size := uint8(8)
		if o.code == opXCHGMR32 {
			size = 4
		}
		t.prepare(i, true, o.src)
		m := t.beside(o, o.src, t.locate(i, o, size, true, false))
		r := t.into(hA, o.src)
		a.insn(0x87, size, r, m)
		t.finish(r, o.src)
		t.wrote(o.src)
	case opXADDMR32, opXADDMR64:
		size := uint8(8)
		if o.code == opXADDMR32 {
			size = 4
		}
		t.prepare(i, true, o.src)
		m := t.beside(o, o.src, t.locate(i, o, size, true, false))
		r := t.into(hA, o.src)
		a.insn(0x0fc1, size, r, m)
		t.finish(r, o.src)
		g := again{}
		if t.shown(i) && o.src != o.base && o.src != o.index {
			t.keepResult(size, m)
			g = again{kind: againAdd, size: size, dst: slotKept, src: o.src}
		}
		t.define(i, false, g)
	case opCMPXCHGMR32, opCMPXCHGMR64:
		return t.compareExchange(i, o)
	case opCMPXCHG16B:
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
	case opBSWAP32, opBSWAP64:
		t.prepare(i, false, o.dst)
		d := t.target(hA, o.dst)
		if d == hA {
			a.load(8, hA, t.slot(o.dst))
		}
		rex := byte(0x40) | d>>3
		if o.code == opBSWAP64 {
			rex |= 8
		}
		a.bytes(rex, 0x0f, 0xc8|d&7)
		t.finish(d, o.dst)
		t.wrote(o.dst)
	case opCDQE:
		t.prepare(i, false, rAX)
		a.bytes(0x48, 0x98)
		t.wrote(rAX)
	case opCWDE:
		t.prepare(i, false, rAX)
		a.byte(0x98)
		t.wrote(rAX)
	case opCQO:
		t.prepare(i, false, rDX)
		a.bytes(0x48, 0x99)
		t.wrote(rDX)
	case opCDQ:
		t.prepare(i, false, rDX)
		a.byte(0x99)
		t.wrote(rDX)
	case opCLC, opSTC:
		t.prepare(i, true)
		t.toWord()
		if o.code == opCLC {
			a.aluImm(aluAND, 1, inCPU(offFlagWord+1), 0xff&^flagCF)
		} else {
			a.aluImm(aluOR, 1, inCPU(offFlagWord+1), flagCF)
		}
		t.defineWord(0)
	case opORDER:
		a.storeImm(1, inCPU(offOrdered), int64(orderLock)) // in it is all that was noted before
	case opCLD:
		t.prepare(i, true)
		a.aluImm(aluAND, 4, inCPU(offFlags), ^flagDF)
	case opCLI:
		t.prepare(i, true)
		a.aluImm(aluAND, 4, inCPU(offFlags), ^flagIF)
	case opSTI:
		t.prepare(i, true)
		t.noInterrupt(i)
		a.aluImm(aluOR, 4, inCPU(offFlags), flagIF)
	case opRDTSC:
		t.prepare(i, true, rAX, rDX)
		a.load(8, hA, inCPU(offLimit))
		a.alu(aluSUB, 8, hA, inReg(hLeft))
		a.alu(aluADD, 8, hA, inCPU(offTSC))
		a.aluImm(aluADD, 8, inReg(hA), int64(o.n)-1-maxBlock)
		a.load(4, hAX, inReg(hA))
		a.shiftImm(5, 8, hA, 32)
		a.load(4, hDX, inReg(hA))
		t.wrote(rAX, rDX)
	default:
		return t.stack(i, o)
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

// compareExchange is CMPXCHG with memory.
func (t *translator) compareExchange(i int, o *op) bool {
	a := &t.asm
	size := uint8(8)
	if o.code == opCMPXCHGMR32 {
		size = 4
	}
	t.prepare(i, true, rAX)
	m := t.beside(o, o.src, t.locate(i, o, size, true, false))
	r := t.into(hA, o.src)
	a.insn(0x0fb1, size, r, m)
	t.define(i, false, again{})
	return true
}

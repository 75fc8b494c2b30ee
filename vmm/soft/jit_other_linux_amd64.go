package soft

import "bytes"

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
		t.define(i, false, again{})
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
		a.aluImm(aluADD, 8, inReg(hA), int64(o.n)-1)
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
	if size == 4 {
		// The host leaves the upper half of RAX alone if they were equal,
		// and so does the executor.
		return true
	}
	return true
}

// stack is PUSH, POP, CALL and RET, and the jumps.
func (t *translator) stack(i int, o *op) bool {
	a := &t.asm
	push := op{base: rSP, index: slotZero, disp: -8}
	pop := op{base: rSP, index: slotZero}
	drop := func(n int32) { a.lea(hSP, inMem(hSP, n)) }
	switch o.code {
	case opPUSH, opPUSHI:
		t.prepare(i, true, rSP)
		m := t.locate(i, &push, 8, true, false)
		switch {
		case o.code == opPUSH:
			a.store(8, t.into(hA, o.src), m)
		default:
			a.storeImm(8, m, o.imm)
		}
		drop(-8)
		t.wrote(rSP)
	case opPOP:
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
	case opLEAVE:
		t.prepare(i, true, rSP, rBP)
		m := t.locate(i, &op{base: rBP, index: slotZero}, 8, false, false)
		a.lea(hSP, inMem(rBP, 8))
		a.load(8, rBP, m)
		t.wrote(rSP, rBP)
	case opPUSHF:
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
	case opPOPF:
		t.popFlags(i, &pop)
	case opCALL:
		t.prepare(i, true, rSP)
		m := t.locate(i, &push, 8, true, false)
		t.storeAddress(m, int64(o.disp))
		drop(-8)
		t.toWord()
		t.edge(i)
	case opJMP:
		t.toWord()
		t.edge(i)
	case opRET:
		t.prepare(i, true, rSP)
		t.toWord()
		m := t.locate(i, &pop, 8, false, false)
		a.load(8, hA, m)
		t.canonical(i)
		a.lea(hSP, inMem(hSP, 8+int32(o.imm)))
		t.jump(o)
	case opJMPR:
		t.prepare(i, true)
		t.toWord()
		a.load(8, hA, t.slot(o.src))
		t.canonical(i)
		t.jump(o)
	case opCALLR:
		t.prepare(i, true, rSP)
		t.toWord()
		a.load(8, hA, t.slot(o.src))
		t.canonical(i)
		a.store(8, hA, inCPU(offSpill))
		m := t.locate(i, &push, 8, true, false)
		t.storeAddress(m, o.imm)
		drop(-8)
		a.load(8, hA, inCPU(offSpill))
		t.jump(o)
	case opPUSH2:
		t.prepare(i, true, rSP)
		push.disp = -16
		m := t.locate(i, &push, 16, true, false)
		a.store(8, t.into(hA, o.dst), m)
		m.disp += 8
		a.store(8, t.into(hA, o.src), m)
		drop(-16)
		t.wrote(rSP)
	case opPOP2:
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
	default:
		return false
	}
	return true
}

// storeAddress stores an address of this page to the located stack slot.
func (t *translator) storeAddress(m arg, off int64) {
	a := &t.asm
	v := t.page + uint64(off)
	if v == uint64(int32(v)) {
		a.storeImm(8, m, int64(v))
		return
	}
	a.movImm(hA, v)
	a.store(8, hA, m)
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

// vector is moves between vector registers and memory, and what the host's
// registers compute bit by bit as the guest's do.
func (t *translator) vector(i int, o *op) bool {
	a := &t.asm
	x := func(n uint8) arg { return inCPU(offXMM + 16*uintptr(n&31)) }
	high := func(m arg) arg { m.disp += 8; return m }
	const movups, storeups = 0x0f10, 0x0f11
	load := func(r uint8, m arg) { a.insn(movups, 4, r, m) }
	store := func(r uint8, m arg) { a.insn(storeups, 4, r, m) }
	switch o.code {
	case opMOVX:
		load(0, x(o.src))
		store(0, x(o.dst))
	case opMOVXM, opMOVAXM:
		t.prepare(i, true)
		load(0, t.locate(i, o, 16, false, o.code == opMOVAXM))
		store(0, x(o.dst))
	case opMOVMX, opMOVAMX:
		t.prepare(i, true)
		m := t.locate(i, o, 16, true, o.code == opMOVAMX)
		load(0, x(o.src))
		store(0, m)
	case opMOVXM32, opMOVXM64:
		size := uint8(4)
		if o.code == opMOVXM64 {
			size = 8
		}
		t.prepare(i, true)
		a.load(size, hB, t.locate(i, o, size, false, false))
		a.store(8, hB, x(o.dst))
		a.storeImm(8, high(x(o.dst)), 0)
	case opMOVMX32, opMOVMX64:
		size := uint8(4)
		if o.code == opMOVMX64 {
			size = 8
		}
		t.prepare(i, true)
		m := t.locate(i, o, size, true, false)
		a.lea(hB, m)
		a.load(size, hA, x(o.src))
		a.store(size, hA, inMem(hB, 0))
	case opMOVXR32, opMOVXR64:
		size := uint8(4)
		if o.code == opMOVXR64 {
			size = 8
		}
		a.load(size, hA, t.slot(o.src))
		a.store(8, hA, x(o.dst))
		a.storeImm(8, high(x(o.dst)), 0)
	case opMOVRX32, opMOVRX64:
		size := uint8(4)
		if o.code == opMOVRX64 {
			size = 8
		}
		t.prepare(i, false, o.dst)
		a.load(size, hA, x(o.src))
		a.store(8, hA, t.slot(o.dst))
		t.wrote(o.dst)
	case opMOVQX:
		a.load(8, hA, x(o.src))
		a.store(8, hA, x(o.dst))
		a.storeImm(8, high(x(o.dst)), 0)
	case opMOVHXM:
		t.prepare(i, true)
		a.load(8, hB, t.locate(i, o, 8, false, false))
		a.store(8, hB, high(x(o.dst)))
	case opMOVHMX:
		t.prepare(i, true)
		m := t.locate(i, o, 8, true, false)
		a.lea(hB, m)
		a.load(8, hA, high(x(o.src)))
		a.store(8, hA, inMem(hB, 0))
	case opPMOVMSKB:
		t.prepare(i, false, o.dst)
		load(0, x(o.src))
		a.insn(0x660fd7, 4, hA, inReg(0))
		a.store(8, hA, t.slot(o.dst))
		t.wrote(o.dst)
	case opPXOR, opPOR, opPAND, opPANDN, opPADDQ, opPSUBQ, opPCMPEQB, opPUNPCKLQDQ:
		load(0, x(o.dst))
		load(1, x(o.src))
		a.insn(0x660f00|vectorOps[o.code], 4, 0, inReg(1))
		store(0, x(o.dst))
	case opPXORM, opPORM, opPANDM, opPANDNM, opPADDQM, opPSUBQM, opPCMPEQBM:
		t.prepare(i, true)
		load(1, t.locate(i, o, 16, false, true))
		load(0, x(o.dst))
		a.insn(0x660f00|vectorOps[o.code-1], 4, 0, inReg(1))
		store(0, x(o.dst))
	case opFP:
		return t.packed(i, o)
	default:
		return false
	}
	return true
}

var vectorOps = map[opcode]uint32{
	opPXOR: 0xef, opPOR: 0xeb, opPAND: 0xdb, opPANDN: 0xdf, opPADDQ: 0xd4, opPSUBQ: 0xfb, opPCMPEQB: 0x74, opPUNPCKLQDQ: 0x6c,
}

// Opcodes of the 0F map that are the same for the host: those that depend on
// MXCSR, and with which prefixes; and those that do not.
var (
	floatOpcodes   = []byte{0x51, 0x58, 0x59, 0x5a, 0x5b, 0x5c, 0x5d, 0x5e, 0x5f, 0xc2, 0xe6}
	shuffleOpcodes = []byte{0x14, 0x15, 0x54, 0x55, 0x56, 0x57, 0x70, 0xc6}
)

// packedOpcode says whether an opcode is an integer operation of SSE2, with
// prefix 66, on two vector registers.
func packedOpcode(o byte) bool {
	switch {
	case o >= 0x60 && o <= 0x6d, o >= 0x74 && o <= 0x76:
		return true
	case o == 0xd6 || o == 0xd7 || o == 0xe6 || o == 0xe7 || o == 0xf7:
		return false
	}
	return o >= 0xd1 && o <= 0xfe && o != 0xf0
}

// packed is arithmetic of package fp that the host does the same way. Its MXCSR
// is the guest's but for the masks, so nothing may be unmasked.
func (t *translator) packed(i int, o *op) bool {
	a := &t.asm
	x := func(n uint8) arg { return inCPU(offXMM + 16*uintptr(n&31)) }
	const movups, storeups = 0x0f10, 0x0f11
	if o.disp >= fpGroups { // shifts by an immediate
		n := uint32(o.disp - fpGroups)
		a.insn(movups, 4, 0, x(o.dst))
		a.insn(0x660f71+n/8, 4, uint8(n%8), inReg(0))
		a.byte(byte(o.imm))
		a.insn(storeups, 4, 0, x(o.dst))
		return true
	}
	prefix := []uint32{0, 0x660000, 0xf30000, 0xf20000}[o.disp>>8&3]
	code := byte(o.disp)
	switch {
	case bytes.IndexByte(floatOpcodes, code) >= 0:
		t.prepare(i, true)
		a.load(4, hA, inCPU(offMXCSR))
		a.aluImm(aluAND, 4, inReg(hA), mxcsrMasks)
		a.aluImm(aluCMP, 4, inReg(hA), mxcsrMasks)
		t.bail(i, a.jcc(5))
	case bytes.IndexByte(shuffleOpcodes, code) >= 0, prefix == 0x660000 && packedOpcode(code):
	default:
		return false
	}
	a.insn(movups, 4, 0, x(o.dst))
	a.insn(movups, 4, 1, x(o.src))
	a.insn(prefix|0x0f00|uint32(code), 4, 0, inReg(1))
	if code == 0x70 || code == 0xc2 || code == 0xc6 {
		a.byte(byte(o.imm))
	}
	a.insn(storeups, 4, 0, x(o.dst))
	return true
}

package soft

import "bytes"

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

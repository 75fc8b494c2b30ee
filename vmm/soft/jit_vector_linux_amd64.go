package soft

import "bytes"

// Guest xmm0 to xmm15 live in the host registers of the same number, but for
// two that stay in memory. They are there from the first block that needs them
// until generated code is left, and so is MXCSR.
const (
	vB = 13 // scratch
	vA = 14 // scratch, and slotVec
)

const (
	movups, storeups = 0x0f10, 0x0f11
	movaps           = 0x0f28
	movss, storess   = 0xf30f10, 0xf30f11
	movq, storeq     = 0xf30f7e, 0x660fd6
)

func inHost(n uint8) bool { return n <= 12 || n == 15 || n == slotVec }

func vectorInCPU(n uint8) arg { return inCPU(offXMM + 16*uintptr(n&31)) }

// vec returns a host register that holds vector n: its own, or r.
func (t *translator) vec(r, n uint8) uint8 {
	switch {
	case n == slotVec:
		return vA
	case inHost(n):
		return n
	}
	t.asm.insn(movups, 4, r, vectorInCPU(n))
	return r
}

// vecTarget is the register in which to make a new value of vector n.
func vecTarget(n uint8) uint8 {
	switch {
	case n == slotVec:
		return vA
	case inHost(n):
		return n
	}
	return vB
}

func (t *translator) finishVec(r, n uint8) {
	if !inHost(n) {
		t.asm.insn(storeups, 4, r, vectorInCPU(n))
	}
}

// modifyVec does d = d op s for an instruction of registers.
func (t *translator) modifyVec(opcode uint32, dst, src uint8) {
	d, s := t.vec(vB, dst), t.vec(vA, src)
	t.asm.insn(opcode, 4, d, inReg(s))
	t.finishVec(d, dst)
}

// getVectors loads what leaving stores.
func (t *translator) getVectors() {
	a := &t.asm
	for n := range uint8(16) {
		if inHost(n) {
			a.insn(movups, 4, n, vectorInCPU(n))
		}
	}
	a.insn(0x0fae, 4, 3, inCPU(offHostMXCSR)) // stmxcsr
	a.load(4, hB, inCPU(offMXCSR))
	a.aluImm(aluOR, 4, inReg(hB), mxcsrMasks)
	a.store(4, hB, inCPU(offScratch))
	a.insn(0x0fae, 4, 2, inCPU(offScratch)) // ldmxcsr
	a.storeImm(4, inCPU(offVectors), 1)
}

func (t *translator) putVectors() {
	a := &t.asm
	for n := range uint8(16) {
		if inHost(n) {
			a.insn(storeups, 4, n, vectorInCPU(n))
		}
	}
	a.insn(0x0fae, 4, 3, inCPU(offScratch))
	a.load(4, hA, inCPU(offScratch))
	a.aluImm(aluAND, 4, inReg(hA), mxcsrFlags)
	a.aluTo(aluOR, 4, inCPU(offMXCSR), hA)
	a.insn(0x0fae, 4, 2, inCPU(offHostMXCSR))
	a.storeImm(4, inCPU(offVectors), 0)
}

// needVectors makes the registers hold the vectors if an op from i on uses
// them. The flags are in the word, or to be had again.
func (t *translator) needVectors(i int) {
	t.vectors = false
	for _, o := range t.ops[i:] {
		if opTable[o.code].vectors || o.code == opGENERIC && t.direct(&o).vectors {
			t.haveVectors()
			return
		}
	}
}

func (t *translator) haveVectors() {
	a := &t.asm
	a.aluImm(aluCMP, 4, inCPU(offVectors), 0)
	there := a.jcc(5)
	a.bytes(0x4c, 0x8d, 0x35) // lea r14, [rip+5]: there
	a.imm32(5)
	a.jmpTo(t.n.vectors)
	a.here(there)
	t.vectors = true
}

// finishVector gives the interpreter the operand of op o.
func (t *translator) finishVector(o *op) {
	if o.code == opFP && o.disp < fpGroups && o.src == slotVec {
		t.asm.insn(storeups, 4, vA, vectorInCPU(slotVec))
	}
}

// moveVector is moves between vector registers, general registers and memory.
func (t *translator) moveVector(i int, o *op, x *opInfo) bool {
	a := &t.asm
	load := func(opcode uint32) {
		t.prepare(i, true)
		m := t.locate(i, o, x.size, false, x.kind == kindCopyAligned)
		d := vecTarget(o.dst)
		a.insn(opcode, 4, d, m)
		t.finishVec(d, o.dst)
	}
	store := func(opcode uint32) {
		t.prepare(i, true)
		m := t.locate(i, o, x.size, true, x.kind == kindCopyAligned)
		a.insn(opcode, 4, t.vec(vA, o.src), m)
	}
	move := func(opcode uint32) {
		d := vecTarget(o.dst)
		a.insn(opcode, 4, d, inReg(t.vec(vA, o.src)))
		t.finishVec(d, o.dst)
	}
	toGeneral := func(opcode uint32, size uint8) {
		t.prepare(i, false, o.dst)
		r := t.target(hA, o.dst)
		a.insn(opcode, size, t.vec(vA, o.src), inReg(r))
		t.finish(r, o.dst)
		t.wrote(o.dst)
	}
	switch x.kind {
	case kindCopyVector, kindCopyAligned:
		switch x.form {
		case formXX:
			move(movaps)
		case formXM:
			load(movups)
		case formMX:
			store(storeups)
		}
	case kindMoveLow:
		move(movq)
	case kindMovd:
		switch {
		case x.form == formXM && x.size == 4:
			load(movss)
		case x.form == formXM:
			load(movq)
		case x.form == formMX && x.size == 4:
			store(storess)
		case x.form == formMX:
			store(storeq)
		case x.form == formXR:
			d := vecTarget(o.dst)
			a.insn(0x660f6e, x.size, d, t.slot(o.src))
			t.finishVec(d, o.dst)
		case x.form == formRX:
			toGeneral(0x660f7e, x.size)
		}
	case kindMovh:
		if x.form == formMX {
			store(0x0f17)
		} else {
			t.loadHalf(i, o, 0x0f16)
		}
	case kindMovmsk:
		t.prepare(i, false, o.dst)
		r := t.target(hA, o.dst)
		a.insn(0x660fd7, 4, r, inReg(t.vec(vA, o.src)))
		t.finish(r, o.dst)
		t.wrote(o.dst)
	}
	return true
}

// vector is what the host's registers compute bit by bit as the guest's do.
func (t *translator) vector(i int, o *op, x *opInfo) bool {
	src := o.src
	if x.form == formXM {
		t.prepare(i, true)
		t.asm.insn(movups, 4, vA, t.locate(i, o, 16, false, true))
		src = slotVec
	}
	t.modifyVec(0x660f00|vectorOpcodes[x.sub], o.dst, src)
	return true
}

// loadHalf is a load that keeps a half of the register.
func (t *translator) loadHalf(i int, o *op, opcode uint32) {
	t.prepare(i, true)
	m := t.locate(i, o, 8, false, false)
	d := t.vec(vB, o.dst)
	t.asm.insn(opcode, 4, d, m)
	t.finishVec(d, o.dst)
}

// vectorOpcodes are those of the 0F map, with prefix 66.
var vectorOpcodes = [...]uint32{
	vectorPXOR: 0xef, vectorPOR: 0xeb, vectorPAND: 0xdb, vectorPANDN: 0xdf, vectorPADDQ: 0xd4, vectorPSUBQ: 0xfb, vectorPCMPEQB: 0x74, vectorPUNPCKLQDQ: 0x6c,
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

// prefixes are the mandatory ones in the order of fpOps.
var prefixes = [4]uint32{0, 0x660000, 0xf30000, 0xf20000}

// computes says whether the host does arithmetic of package fp, op o, the same
// way. Its MXCSR is the guest's but for the masks, so nothing may be unmasked.
func (t *translator) computes(o *op) bool {
	if o.disp >= fpGroups {
		return true
	}
	code := byte(o.disp)
	if bytes.IndexByte(floatOpcodes, code) >= 0 {
		return t.masked
	}
	return bytes.IndexByte(shuffleOpcodes, code) >= 0 || o.disp>>8&3 == 1 && packedOpcode(code)
}

func (t *translator) packed(_ int, o *op, _ *opInfo) bool {
	if !t.computes(o) {
		return false
	}
	a := &t.asm
	if o.disp >= fpGroups { // shifts by an immediate
		n := uint32(o.disp - fpGroups)
		d := t.vec(vB, o.dst)
		a.insn(0x660f71+n/8, 4, uint8(n%8), inReg(d))
		a.byte(byte(o.imm))
		t.finishVec(d, o.dst)
		return true
	}
	code := byte(o.disp)
	d, s := t.vec(vB, o.dst), t.vec(vA, o.src)
	a.insn(prefixes[o.disp>>8&3]|0x0f00|uint32(code), 4, d, inReg(s))
	if code == 0x70 || code == 0xc2 || code == 0xc6 {
		a.byte(byte(o.imm))
	}
	t.finishVec(d, o.dst)
	return true
}

package jit

import (
	"bytes"

	"nvlab/vmm/soft/ir"
	"nvlab/vmm/soft/jit/asm"
	"nvlab/vmm/soft/x86"
)

// Guest xmm0 to xmm15 live in the host registers of the same number, but for
// two that stay in memory. They are there from the first block that needs them
// until generated code is left, and so is MXCSR.
const (
	vB = 13 // scratch
	vA = 14 // scratch, and ir.SlotVec
)

const (
	movups, storeups = 0x0f10, 0x0f11
	movaps           = 0x0f28
	movss, storess   = 0xf30f10, 0xf30f11
	movq, storeq     = 0xf30f7e, 0x660fd6
)

func inHost(n uint8) bool { return n <= 12 || n == 15 || n == ir.SlotVec }

func (t *translator) vectorInCPU(n uint8) asm.Arg { return inCPU(t.cpu.XMM + 16*uintptr(n&31)) }

// vec returns a host register that holds vector n: its own, or r.
func (t *translator) vec(r, n uint8) uint8 {
	switch {
	case n == ir.SlotVec:
		return vA
	case inHost(n):
		return n
	}
	t.asm.Insn(movups, 4, r, t.vectorInCPU(n))
	return r
}

// vecTarget is the register in which to make a new value of vector n.
func vecTarget(n uint8) uint8 {
	switch {
	case n == ir.SlotVec:
		return vA
	case inHost(n):
		return n
	}
	return vB
}

func (t *translator) finishVec(r, n uint8) {
	if !inHost(n) {
		t.asm.Insn(storeups, 4, r, t.vectorInCPU(n))
	}
}

// modifyVec does d = d op s for an instruction of registers.
func (t *translator) modifyVec(opcode uint32, dst, src uint8) {
	d, s := t.vec(vB, dst), t.vec(vA, src)
	t.asm.Insn(opcode, 4, d, asm.Reg(s))
	t.finishVec(d, dst)
}

// getVectors loads what leaving stores.
func (t *translator) getVectors() {
	a := &t.asm
	for n := range uint8(16) {
		if inHost(n) {
			a.Insn(movups, 4, n, t.vectorInCPU(n))
		}
	}
	a.Insn(0x0fae, 4, 3, t.crossing(offHostMXCSR)) // stmxcsr
	a.Load(4, hB, inCPU(t.cpu.MXCSR))
	a.AluImm(x86.AluOR, 4, asm.Reg(hB), x86.MXCSRMasks)
	a.Store(4, hB, t.crossing(offScratch))
	a.Insn(0x0fae, 4, 2, t.crossing(offScratch)) // ldmxcsr
	a.StoreImm(4, t.crossing(offVectors), 1)
}

func (t *translator) putVectors() {
	a := &t.asm
	for n := range uint8(16) {
		if inHost(n) {
			a.Insn(storeups, 4, n, t.vectorInCPU(n))
		}
	}
	a.Insn(0x0fae, 4, 3, t.crossing(offScratch))
	a.Load(4, hA, t.crossing(offScratch))
	a.AluImm(x86.AluAND, 4, asm.Reg(hA), x86.MXCSRFlags)
	a.AluTo(x86.AluOR, 4, inCPU(t.cpu.MXCSR), hA)
	a.Insn(0x0fae, 4, 2, t.crossing(offHostMXCSR))
	a.StoreImm(4, t.crossing(offVectors), 0)
}

// needVectors makes the registers hold the vectors if an op from i on uses
// them. The flags are in the word, or to be had again.
func (t *translator) needVectors(i int) {
	t.vectors = false
	for _, o := range t.ops[i:] {
		if ir.OpTable[o.Code].Vectors || o.Code == ir.OpGENERIC && t.direct(&o).vectors {
			t.haveVectors()
			return
		}
	}
}

func (t *translator) haveVectors() {
	a := &t.asm
	a.AluImm(x86.AluCMP, 4, t.crossing(offVectors), 0)
	there := a.Jcc(5)
	a.Bytes(0x4c, 0x8d, 0x35) // lea r14, [rip+5]: there
	a.Imm32(5)
	a.JmpTo(t.n.vectors)
	a.Here(there)
	t.vectors = true
}

// finishVector gives the interpreter the operand of op o.
func (t *translator) finishVector(o *ir.Op) {
	if o.Code == ir.OpFP && o.Disp < ir.FPGroups && o.Src == ir.SlotVec {
		t.asm.Insn(storeups, 4, vA, t.vectorInCPU(ir.SlotVec))
	}
}

// moveVector is moves between vector registers, general registers and memory.
func (t *translator) moveVector(i int, o *ir.Op, x *ir.OpInfo) bool {
	a := &t.asm
	load := func(opcode uint32) {
		t.prepare(i, true)
		m := t.locate(i, o, x.Size, false, x.Kind == ir.KindCopyAligned)
		d := vecTarget(o.Dst)
		a.Insn(opcode, 4, d, m)
		t.finishVec(d, o.Dst)
	}
	store := func(opcode uint32) {
		t.prepare(i, true)
		m := t.locate(i, o, x.Size, true, x.Kind == ir.KindCopyAligned)
		a.Insn(opcode, 4, t.vec(vA, o.Src), m)
	}
	move := func(opcode uint32) {
		d := vecTarget(o.Dst)
		a.Insn(opcode, 4, d, asm.Reg(t.vec(vA, o.Src)))
		t.finishVec(d, o.Dst)
	}
	toGeneral := func(opcode uint32, size uint8) {
		t.prepare(i, false, o.Dst)
		r := t.target(hA, o.Dst)
		a.Insn(opcode, size, t.vec(vA, o.Src), asm.Reg(r))
		t.finish(r, o.Dst)
		t.wrote(o.Dst)
	}
	switch x.Kind {
	case ir.KindCopyVector, ir.KindCopyAligned:
		switch x.Form {
		case ir.FormXX:
			move(movaps)
		case ir.FormXM:
			load(movups)
		case ir.FormMX:
			store(storeups)
		}
	case ir.KindMoveLow:
		move(movq)
	case ir.KindMovd:
		switch {
		case x.Form == ir.FormXM && x.Size == 4:
			load(movss)
		case x.Form == ir.FormXM:
			load(movq)
		case x.Form == ir.FormMX && x.Size == 4:
			store(storess)
		case x.Form == ir.FormMX:
			store(storeq)
		case x.Form == ir.FormXR:
			d := vecTarget(o.Dst)
			a.Insn(0x660f6e, x.Size, d, t.slot(o.Src))
			t.finishVec(d, o.Dst)
		case x.Form == ir.FormRX:
			toGeneral(0x660f7e, x.Size)
		}
	case ir.KindMovh:
		if x.Form == ir.FormMX {
			store(0x0f17)
		} else {
			t.loadHalf(i, o, 0x0f16)
		}
	case ir.KindMovmsk:
		t.prepare(i, false, o.Dst)
		r := t.target(hA, o.Dst)
		a.Insn(0x660fd7, 4, r, asm.Reg(t.vec(vA, o.Src)))
		t.finish(r, o.Dst)
		t.wrote(o.Dst)
	}
	return true
}

// vector is what the host's registers compute bit by bit as the guest's do.
func (t *translator) vector(i int, o *ir.Op, x *ir.OpInfo) bool {
	src := o.Src
	if x.Form == ir.FormXM {
		t.prepare(i, true)
		t.asm.Insn(movups, 4, vA, t.locate(i, o, 16, false, true))
		src = ir.SlotVec
	}
	t.modifyVec(0x660f00|vectorOpcodes[x.Sub], o.Dst, src)
	return true
}

// loadHalf is a load that keeps a half of the register.
func (t *translator) loadHalf(i int, o *ir.Op, opcode uint32) {
	t.prepare(i, true)
	m := t.locate(i, o, 8, false, false)
	d := t.vec(vB, o.Dst)
	t.asm.Insn(opcode, 4, d, m)
	t.finishVec(d, o.Dst)
}

// vectorOpcodes are those of the 0F map, with prefix 66.
var vectorOpcodes = [...]uint32{
	ir.VectorPXOR: 0xef, ir.VectorPOR: 0xeb, ir.VectorPAND: 0xdb, ir.VectorPANDN: 0xdf, ir.VectorPADDQ: 0xd4, ir.VectorPSUBQ: 0xfb, ir.VectorPCMPEQB: 0x74, ir.VectorPUNPCKLQDQ: 0x6c,
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

// prefixes are the mandatory ones in the order of ir.FPOps.
var prefixes = [4]uint32{0, 0x660000, 0xf30000, 0xf20000}

// computes says whether the host does arithmetic of package fp, op o, the same
// way. Its MXCSR is the guest's but for the masks, so nothing may be unmasked.
func (t *translator) computes(o *ir.Op) bool {
	if o.Disp >= ir.FPGroups {
		return true
	}
	code := byte(o.Disp)
	if bytes.IndexByte(floatOpcodes, code) >= 0 {
		return t.masked
	}
	return bytes.IndexByte(shuffleOpcodes, code) >= 0 || o.Disp>>8&3 == 1 && packedOpcode(code)
}

func (t *translator) packed(_ int, o *ir.Op, _ *ir.OpInfo) bool {
	if !t.computes(o) {
		return false
	}
	a := &t.asm
	if o.Disp >= ir.FPGroups { // shifts by an immediate
		n := uint32(o.Disp - ir.FPGroups)
		d := t.vec(vB, o.Dst)
		a.Insn(0x660f71+n/8, 4, uint8(n%8), asm.Reg(d))
		a.Byte(byte(o.Imm))
		t.finishVec(d, o.Dst)
		return true
	}
	code := byte(o.Disp)
	d, s := t.vec(vB, o.Dst), t.vec(vA, o.Src)
	a.Insn(prefixes[o.Disp>>8&3]|0x0f00|uint32(code), 4, d, asm.Reg(s))
	if code == 0x70 || code == 0xc2 || code == 0xc6 {
		a.Byte(byte(o.Imm))
	}
	t.finishVec(d, o.Dst)
	return true
}

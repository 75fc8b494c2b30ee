package jit

import (
	"nvlab/vmm/soft/abi"
	"nvlab/vmm/soft/ir"
	"nvlab/vmm/soft/jit/asm"
	"nvlab/vmm/soft/x86"
)

func (t *translator) lea(i int, o *ir.Op, x *ir.OpInfo) bool {
	t.prepare(i, false, o.Dst)
	d := t.target(hA, o.Dst)
	t.asm.Insn(0x8d, x.Size, d, t.address(o))
	t.finish(d, o.Dst)
	t.wrote(o.Dst)
	return true
}

// exchange is XCHG.
func (t *translator) exchange(i int, o *ir.Op, x *ir.OpInfo) bool {
	a := &t.asm
	if x.Form == ir.FormRR {
		t.prepare(i, false, o.Dst, o.Src)
		a.Load(x.Size, hA, t.slot(o.Dst))
		a.Load(x.Size, hB, t.slot(o.Src))
		a.Store(8, hB, t.slot(o.Dst))
		a.Store(8, hA, t.slot(o.Src))
		t.wrote(o.Dst, o.Src)
		return true
	}
	t.prepare(i, true, o.Src)
	m := t.beside(o, o.Src, t.locate(i, o, x.Size, true, false))
	r := t.into(hA, o.Src)
	a.Insn(0x87, x.Size, r, m)
	t.finish(r, o.Src)
	t.wrote(o.Src)
	return true
}

// exchangeAdd is XADD with memory.
func (t *translator) exchangeAdd(i int, o *ir.Op, x *ir.OpInfo) bool {
	t.prepare(i, true, o.Src)
	m := t.beside(o, o.Src, t.locate(i, o, x.Size, true, false))
	r := t.into(hA, o.Src)
	t.asm.Insn(0x0fc1, x.Size, r, m)
	t.finish(r, o.Src)
	g := lazyFlags{}
	if t.shown(i) && o.Src != o.Base && o.Src != o.Index {
		t.keepResult(x.Size, m)
		g = lazyFlags{kind: lazyAdd, size: x.Size, dst: ir.SlotKept, src: o.Src}
	}
	t.define(i, false, g)
	return true
}

// compareExchange is CMPXCHG with memory.
func (t *translator) compareExchange(i int, o *ir.Op, x *ir.OpInfo) bool {
	t.prepare(i, true, x86.RAX)
	m := t.beside(o, o.Src, t.locate(i, o, x.Size, true, false))
	r := t.into(hA, o.Src)
	t.asm.Insn(0x0fb1, x.Size, r, m)
	t.define(i, false, lazyFlags{})
	return true
}

// compareExchange16 is CMPXCHG16B.
func (t *translator) compareExchange16(i int, o *ir.Op, _ *ir.OpInfo) bool {
	a := &t.asm
	t.toWord()
	t.prepare(i, true, x86.RAX, x86.RDX)
	m := t.locate(i, o, 16, true, true)
	a.Insn(0x0fc7, 8, 1, m)
	a.Insn(0x0f94, 1, 0, asm.Reg(hA)) // setz r14b
	a.ShiftImm(4, 4, hA, 6)
	a.AluImm(x86.AluAND, 1, t.crossing(offFlagWord+1), 0xff&^x86.FlagZF)
	a.AluTo(x86.AluOR, 1, t.crossing(offFlagWord+1), hA)
	t.wrote(x86.RAX, x86.RDX)
	t.defineWord(0)
	return true
}

func (t *translator) byteSwap(i int, o *ir.Op, x *ir.OpInfo) bool {
	a := &t.asm
	t.prepare(i, false, o.Dst)
	d := t.modified(hA, o.Dst)
	a.Bytes(0x40|x.Size&8|d>>3, 0x0f, 0xc8|d&7)
	t.finish(d, o.Dst)
	t.wrote(o.Dst)
	return true
}

// convert is CDQE, CWDE, CQO and CDQ.
func (t *translator) convert(i int, _ *ir.Op, x *ir.OpInfo) bool {
	slot, opcode := uint8(x86.RAX), byte(0x98)
	if x.Kind == ir.KindCqo || x.Kind == ir.KindCdq {
		slot, opcode = x86.RDX, 0x99
	}
	t.prepare(i, false, slot)
	if x.Kind == ir.KindCdqe || x.Kind == ir.KindCqo {
		t.asm.Byte(0x48)
	}
	t.asm.Byte(opcode)
	t.wrote(slot)
	return true
}

// system is flags, and the clock.
func (t *translator) system(i int, o *ir.Op, x *ir.OpInfo) bool {
	a := &t.asm
	switch x.Kind {
	case ir.KindOrder:
		a.StoreImm(1, inCPU(t.cpu.Ordered), int64(abi.OrderLock)) // in it is all that was noted before
		a.StoreImm(8, t.crossing(offStreamEnd), 0)                // it is told before the next store
	case ir.KindRdtsc:
		t.prepare(i, true, x86.RAX, x86.RDX)
		a.Load(8, hA, t.crossing(offLimit))
		a.Alu(x86.AluSUB, 8, hA, asm.Reg(hLeft))
		a.Alu(x86.AluADD, 8, hA, inCPU(t.cpu.TSC))
		a.AluImm(x86.AluADD, 8, asm.Reg(hA), int64(o.N)-1-ir.MaxBlock)
		a.Load(4, hAX, asm.Reg(hA))
		a.ShiftImm(5, 8, hA, 32)
		a.Load(4, hDX, asm.Reg(hA))
		t.wrote(x86.RAX, x86.RDX)
	case ir.KindClc:
		t.toWord()
		t.prepare(i, true)
		a.AluImm(x86.AluAND, 1, t.crossing(offFlagWord+1), 0xff&^x86.FlagCF)
		t.defineWord(0)
	case ir.KindStc:
		t.toWord()
		t.prepare(i, true)
		a.AluImm(x86.AluOR, 1, t.crossing(offFlagWord+1), x86.FlagCF)
		t.defineWord(0)
	case ir.KindCld:
		t.prepare(i, true)
		a.AluImm(x86.AluAND, 4, inCPU(t.cpu.Flags), ^x86.FlagDF)
	case ir.KindCli:
		t.prepare(i, true)
		a.AluImm(x86.AluAND, 4, inCPU(t.cpu.Flags), ^x86.FlagIF)
	case ir.KindSti:
		t.prepare(i, true)
		t.noInterrupt(i)
		a.AluImm(x86.AluOR, 4, inCPU(t.cpu.Flags), x86.FlagIF)
	case ir.KindStac:
		t.prepare(i, true)
		a.AluImm(x86.AluOR, 4, inCPU(t.cpu.Flags), x86.FlagAC)
	case ir.KindClac:
		t.prepare(i, true)
		a.AluImm(x86.AluCMP, 8, inCPU(t.cpu.Users), 0)
		t.bail(i, a.Jcc(5))
		a.AluImm(x86.AluAND, 4, inCPU(t.cpu.Flags), ^x86.FlagAC)
		t.values.forget() // if the executor does it, it changes the TLB
		t.held = 0
	case ir.KindSwapgs:
		t.prepare(i, false, o.Dst)
		gs := t.slot(o.Dst)
		a.Load(8, hB, gs)
		a.Load(8, hA, inCPU(t.cpu.KernelGS))
		a.Store(8, hB, inCPU(t.cpu.KernelGS))
		a.Store(8, hA, gs)
		t.wrote(o.Dst)
	}
	return true
}

// noInterrupt leaves before op i if the APIC may have something pending.
func (t *translator) noInterrupt(i int) {
	a := &t.asm
	a.Load(8, hA, inCPU(t.cpu.IRR))
	for n := uintptr(8); n < 32; n += 8 {
		a.Alu(x86.AluOR, 8, hA, inCPU(t.cpu.IRR+n))
	}
	a.Insn(0x85, 8, hA, asm.Reg(hA))
	t.bail(i, a.Jcc(5))
}

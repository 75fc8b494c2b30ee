package jit

import (
	"nvlab/vmm/soft/ir"
	"nvlab/vmm/soft/jit/asm"
	"nvlab/vmm/soft/x86"
)

// streams says that op o is a store that may be noted in abi.Stream.
func (t *translator) streams(o *ir.Op) bool { return t.watch && ir.Streams(o) }

// stream is op i, which streams: where Go has said that its page may be stored to so, it
// is noted, and elsewhere a store like any other. The note says all that Go
// would tell of it.
func (t *translator) stream(i int, o *ir.Op) {
	a := &t.asm
	t.prepare(i, true)
	a.Lea(hA, t.address(o))
	a.Load(8, hB, asm.Reg(hA))
	a.AluImm(x86.AluAND, 8, asm.Reg(hB), -x86.PageSize|7) // no page's address has these bits
	a.Alu(x86.AluCMP, 8, hB, t.crossing(offStreamPage))
	elsewhere := a.Jcc(5)
	a.Load(8, hB, t.crossing(offStreamNext))
	a.Alu(x86.AluCMP, 8, hB, t.crossing(offStreamEnd))
	full := a.Jcc(3)
	note := func(off uintptr) asm.Arg { return asm.Mem(hB, int32(off)) }
	a.Alu(x86.AluADD, 8, hA, t.crossing(offStreamOffset))
	a.Store(8, hA, note(offNotedOffset))
	a.Alu(x86.AluADD, 8, hA, t.crossing(offStreamHost))
	a.Load(8, hA, asm.Mem(hA, 0))
	a.Store(8, hA, note(offNotedOld))
	a.Store(8, t.into(hA, o.Src), note(offNotedValue))
	if pc := t.page + uint64(o.PC); t.relative {
		a.Lea(hA, asm.Mem(t.into(hA, ir.SlotPage), int32(o.PC)))
		a.Store(8, hA, note(offNotedPC))
	} else if pc == uint64(int32(pc)) {
		a.StoreImm(8, note(offNotedPC), int64(int32(pc)))
	} else {
		a.MovImm(hA, pc)
		a.Store(8, hA, note(offNotedPC))
	}
	a.Load(8, hA, t.crossing(offStreamSeq))
	a.Alu(x86.AluSUB, 8, hA, asm.Reg(hLeft))
	a.AluImm(x86.AluADD, 8, asm.Reg(hA), int64(o.N)-ir.MaxBlock)
	a.Store(8, hA, note(offNotedSeq))
	a.Alu(x86.AluADD, 8, hA, t.crossing(offStreamGroup))
	a.Store(8, hA, note(offNotedGroup))
	a.Load(8, hA, note(offNotedOffset))
	a.Alu(x86.AluADD, 8, hA, t.crossing(offStreamHost))
	a.AluImm(x86.AluADD, 8, asm.Reg(hB), int64(sizeStreamed))
	a.Store(8, hB, t.crossing(offStreamNext))
	a.Store(8, t.into(hB, o.Src), asm.Mem(hA, 0))
	done := a.Jmp()
	a.Here(elsewhere)
	a.Here(full)
	m := t.beside(o, o.Src, t.locate(i, o, 8, true, false))
	a.Store(8, t.into(hA, o.Src), m)
	a.Here(done)
}

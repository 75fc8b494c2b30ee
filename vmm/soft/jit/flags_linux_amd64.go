package jit

import (
	"nvlab/vmm/soft/ir"
	"nvlab/vmm/soft/jit/asm"
	"nvlab/vmm/soft/x86"
)

// Where the guest's arithmetic flags are at a point of generated code. They
// are in at least one of three places: the processor's word, the host's
// EFLAGS, or nowhere but computable again from registers that still hold the
// operands.
//
// The word holds what LAHF leaves in AH, above OF in bit 0.
type flagState struct {
	word bool
	host uint64 // flags that EFLAGS holds
	noAF bool   // AF of EFLAGS is undefined and counts as 0
	lazyFlags
}

// lazyFlags is an operation that gives the flags once more.
type lazyFlags struct {
	kind     uint8
	op, size uint8
	dst, src uint8 // slots; src is x86.SlotZero with an immediate
	imm      int64
}

const (
	lazyNot   = iota
	lazyCmp   // CMP dst, src
	lazyTest  // TEST dst, src
	lazyAdd   // dst is the sum of itself and src
	lazySub   // dst is the difference of itself and src
	lazyNeg   // dst is what it negated
	lazyInc   // dst is more by one, and CF is the word's
	lazyDec   // dst is less by one, and CF is the word's
	lazyShift // dst is what was shifted, by imm; OF takes more: see toWord
)

// counted says that it is INC or DEC, which have CF in the word.
func (g *lazyFlags) counted() bool { return g.kind == lazyInc || g.kind == lazyDec }

func (g *lazyFlags) uses(slot uint8) bool {
	return g.kind != lazyNot && slot != x86.SlotZero && (g.dst == slot || g.src == slot)
}

// inWord is the state at the start of a block.
var inWord = flagState{word: true}

// save stores EFLAGS, all of which are good, to the word. It needs hA.
func (t *translator) save(noAF bool) {
	a := &t.asm
	a.Load(8, hA, asm.Reg(hAX))
	a.Byte(0x9f)              // lahf
	a.Bytes(0x0f, 0x90, 0xc0) // seto al
	if noAF {
		a.Bytes(0x80, 0xe4, 0xff&^x86.FlagAF) // and ah, imm8
	}
	a.Store(2, hAX, t.crossing(offFlagWord))
	a.Load(8, hAX, asm.Reg(hA))
}

// restore loads EFLAGS from the word. It needs hA.
func (t *translator) restore() {
	a := &t.asm
	a.Load(8, hA, asm.Reg(hAX))
	a.Insn(0x0fb7, 4, hAX, t.crossing(offFlagWord)) // movzx
	a.Bytes(0x04, 0x7f)                             // add al, 0x7f: OF
	a.Byte(0x9e)                                    // sahf
	a.Load(8, hAX, asm.Reg(hA))
}

// recompute computes the flags again, into EFLAGS.
func (t *translator) recompute(g lazyFlags) (noAF bool) {
	a := &t.asm
	operate := func(op uint8, r uint8) {
		if g.src == x86.SlotZero {
			a.AluImm(op, g.size, asm.Reg(r), g.imm)
		} else {
			a.Alu(op, g.size, r, t.slot(g.src))
		}
	}
	switch g.kind {
	case lazyCmp:
		if g.src == x86.SlotZero {
			a.AluImm(x86.AluCMP, g.size, t.slot(g.dst), g.imm)
		} else {
			operate(x86.AluCMP, t.into(hA, g.dst))
		}
	case lazyTest:
		if g.src == x86.SlotZero {
			a.Insn(asm.ByteOp(0xf7, g.size), g.size, 0, t.slot(g.dst))
			a.Immediate(g.size, g.imm)
		} else {
			a.Insn(asm.ByteOp(0x85, g.size), g.size, t.into(hA, g.dst), t.slot(g.src))
		}
		return true
	case lazyAdd:
		a.Load(8, hA, t.slot(g.dst))
		operate(x86.AluSUB, hA)
		operate(x86.AluADD, hA)
	case lazySub:
		a.Load(8, hA, t.slot(g.dst))
		operate(x86.AluADD, hA)
		operate(x86.AluSUB, hA)
	case lazyNeg:
		a.Load(8, hA, t.slot(g.dst))
		a.Insn(asm.ByteOp(0xf7, g.size), g.size, 3, asm.Reg(hA))
		a.Insn(asm.ByteOp(0xf7, g.size), g.size, 3, asm.Reg(hA))
	case lazyShift:
		a.Load(8, hA, t.slot(g.dst))
		a.ShiftImm(g.op, g.size, hA, uint8(g.imm))
		return true
	case lazyInc, lazyDec:
		ext := g.kind - lazyInc // of INC, and of DEC
		a.Load(8, hA, t.slot(g.dst))
		a.Insn(asm.ByteOp(0xff, g.size), g.size, ext^1, asm.Reg(hA))
		t.carryOfWord()
		a.Insn(asm.ByteOp(0xff, g.size), g.size, ext, asm.Reg(hA))
	}
	return false
}

// toWord makes the word hold the flags.
func (t *translator) toWord() {
	f := &t.flags
	switch {
	case f.word:
		return
	case f.kind == lazyShift:
		t.recompute(f.lazyFlags)
		t.shifted(f.size, f.op, t.slot(f.dst))
		f.host = 0
	case f.host == x86.FlagsArith:
		t.save(f.noAF)
	default:
		t.save(t.recompute(f.lazyFlags))
		f.host = 0
	}
	f.word, t.saved = true, true
}

// prepare gets the flags out of op i's way. clobbers says that the op's code
// changes EFLAGS before it may leave; slots are those it writes.
func (t *translator) prepare(i int, clobbers bool, slots ...uint8) {
	f := &t.flags
	t.writes = append(t.writes, slots...)
	after := t.live[i] && !t.sets[i] // of what is there before
	lost := false
	for _, s := range slots {
		lost = lost || f.uses(s)
	}
	switch {
	case !after && !t.leaves[i]:
		// Nobody reads them any more, but the operation itself.
	case f.word:
	case lost && after && (clobbers || f.host != x86.FlagsArith || t.shown(i)):
		t.keepOperands(slots)
	case clobbers && f.kind == lazyNot:
		t.toWord()
	}
	if clobbers {
		f.host = 0
	}
}

// keepOperands copies what of slots gives the flags again.
func (t *translator) keepOperands(slots []uint8) {
	f := &t.flags
	for _, s := range slots {
		switch {
		case !f.uses(s):
		case f.dst == s:
			t.asm.Store(8, t.into(hA, s), t.slot(ir.SlotKept))
			f.dst = ir.SlotKept
			if f.src == s {
				f.src = ir.SlotKept
			}
		default:
			t.asm.Store(8, t.into(hA, s), t.slot(ir.SlotKept+1))
			f.src = ir.SlotKept + 1
		}
	}
}

// wrote forgets what op i's writing of slots makes useless. It comes after
// all places where the op may leave.
func (t *translator) wrote(slots ...uint8) {
	for _, s := range slots {
		if t.flags.uses(s) {
			t.flags.lazyFlags = lazyFlags{}
		}
	}
}

// define says that EFLAGS now hold op i's flags.
func (t *translator) define(i int, noAF bool, g lazyFlags) {
	t.flags = flagState{host: x86.FlagsArith, noAF: noAF, lazyFlags: g}
	if !t.live[i] {
		t.flags.word = true // nobody looks
	}
	t.mergeHere(i)
}

// keepCarry makes the word hold CF for INC or DEC, op i, which keeps it.
func (t *translator) keepCarry(i int) {
	f := &t.flags
	if !t.live[i] || f.word || f.counted() {
		return
	}
	t.carry()
	t.asm.Insn(0x0f92, 1, 0, t.crossing(offFlagWord+1)) // setc
	f.host |= x86.FlagCF
}

// defineCount says that EFLAGS now hold the flags of op i, INC or DEC, whose
// result is in slot dst. CF was kept.
func (t *translator) defineCount(i int, ext, size, dst uint8) {
	cf := t.flags.host & x86.FlagCF
	t.define(i, false, lazyFlags{kind: lazyInc + ext, size: size, dst: dst, src: x86.SlotZero})
	t.flags.host = x86.FlagsArith&^x86.FlagCF | cf
}

// keepResult copies what an op made at m. It needs hB.
func (t *translator) keepResult(size uint8, m asm.Arg) {
	t.asm.LoadLow(size, hB, m)
	t.asm.Store(8, hB, t.slot(ir.SlotKept))
}

// defineWord says that the word now holds op i's flags, and EFLAGS some.
func (t *translator) defineWord(host uint64) {
	t.flags = flagState{word: true, host: host}
}

// Flags that a condition reads, by its number without the lowest bit.
var condFlags = [8]uint64{x86.FlagOF, x86.FlagCF, x86.FlagZF, x86.FlagCF | x86.FlagZF, x86.FlagSF, x86.FlagPF, x86.FlagSF | x86.FlagOF, x86.FlagZF | x86.FlagSF | x86.FlagOF}

// cond makes EFLAGS hold condition cc, and returns the one to test instead.
func (t *translator) cond(cc uint8) uint8 {
	f := &t.flags
	want := condFlags[cc>>1]
	a := &t.asm
	if f.kind == lazyShift && want&x86.FlagOF != 0 {
		t.toWord()
	}
	switch {
	case f.host&want == want:
		return cc
	case f.word && want&x86.FlagOF == 0: // TEST byte [word+1], imm8
		a.Insn(0xf6, 1, 0, t.crossing(offFlagWord+1))
		a.Byte(byte(want))
		f.host = 0
		return 4 | ^cc&1 // NE for the condition, E for its contrary
	case f.word:
		t.restore()
		f.noAF = false
	default:
		f.noAF = t.recompute(f.lazyFlags)
	}
	f.host = x86.FlagsArith
	if f.kind == lazyShift && !f.word {
		f.host &^= x86.FlagOF
	}
	return cc
}

// carry makes CF of EFLAGS the guest's. Without the word it needs hA.
func (t *translator) carry() {
	f := &t.flags
	switch {
	case f.host&x86.FlagCF != 0:
	case f.word || f.counted():
		t.carryOfWord()
		f.host = 0
	default:
		t.recompute(f.lazyFlags)
	}
}

func (t *translator) carryOfWord() {
	t.asm.Insn(0x0fba, 2, 4, t.crossing(offFlagWord)) // BT word, 8
	t.asm.Byte(8)
}

package soft

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
	dst, src uint8 // slots; src is slotZero with an immediate
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
	return g.kind != lazyNot && slot != slotZero && (g.dst == slot || g.src == slot)
}

// inWord is the state at the start of a block.
var inWord = flagState{word: true}

// save stores EFLAGS, all of which are good, to the word. It needs hA.
func (t *translator) save(noAF bool) {
	a := &t.asm
	a.load(8, hA, inReg(hAX))
	a.byte(0x9f)              // lahf
	a.bytes(0x0f, 0x90, 0xc0) // seto al
	if noAF {
		a.bytes(0x80, 0xe4, 0xff&^flagAF) // and ah, imm8
	}
	a.store(2, hAX, inCPU(offFlagWord))
	a.load(8, hAX, inReg(hA))
}

// restore loads EFLAGS from the word. It needs hA.
func (t *translator) restore() {
	a := &t.asm
	a.load(8, hA, inReg(hAX))
	a.insn(0x0fb7, 4, hAX, inCPU(offFlagWord)) // movzx
	a.bytes(0x04, 0x7f)                        // add al, 0x7f: OF
	a.byte(0x9e)                               // sahf
	a.load(8, hAX, inReg(hA))
}

// recompute computes the flags again, into EFLAGS.
func (t *translator) recompute(g lazyFlags) (noAF bool) {
	a := &t.asm
	operate := func(op uint8, r uint8) {
		if g.src == slotZero {
			a.aluImm(op, g.size, inReg(r), g.imm)
		} else {
			a.alu(op, g.size, r, t.slot(g.src))
		}
	}
	switch g.kind {
	case lazyCmp:
		if g.src == slotZero {
			a.aluImm(aluCMP, g.size, t.slot(g.dst), g.imm)
		} else {
			operate(aluCMP, t.into(hA, g.dst))
		}
	case lazyTest:
		if g.src == slotZero {
			a.insn(byteOp(0xf7, g.size), g.size, 0, t.slot(g.dst))
			a.immediate(g.size, g.imm)
		} else {
			a.insn(byteOp(0x85, g.size), g.size, t.into(hA, g.dst), t.slot(g.src))
		}
		return true
	case lazyAdd:
		a.load(8, hA, t.slot(g.dst))
		operate(aluSUB, hA)
		operate(aluADD, hA)
	case lazySub:
		a.load(8, hA, t.slot(g.dst))
		operate(aluADD, hA)
		operate(aluSUB, hA)
	case lazyNeg:
		a.load(8, hA, t.slot(g.dst))
		a.insn(byteOp(0xf7, g.size), g.size, 3, inReg(hA))
		a.insn(byteOp(0xf7, g.size), g.size, 3, inReg(hA))
	case lazyShift:
		a.load(8, hA, t.slot(g.dst))
		a.shiftImm(g.op, g.size, hA, uint8(g.imm))
		return true
	case lazyInc, lazyDec:
		ext := g.kind - lazyInc // of INC, and of DEC
		a.load(8, hA, t.slot(g.dst))
		a.insn(byteOp(0xff, g.size), g.size, ext^1, inReg(hA))
		t.carryOfWord()
		a.insn(byteOp(0xff, g.size), g.size, ext, inReg(hA))
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
	case f.host == flagsArith:
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
	case lost && after && (clobbers || f.host != flagsArith || t.shown(i)):
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
			t.asm.store(8, t.into(hA, s), t.slot(slotKept))
			f.dst = slotKept
			if f.src == s {
				f.src = slotKept
			}
		default:
			t.asm.store(8, t.into(hA, s), t.slot(slotKept+1))
			f.src = slotKept + 1
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
	t.flags = flagState{host: flagsArith, noAF: noAF, lazyFlags: g}
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
	t.asm.insn(0x0f92, 1, 0, inCPU(offFlagWord+1)) // setc
	f.host |= flagCF
}

// defineCount says that EFLAGS now hold the flags of op i, INC or DEC, whose
// result is in slot dst. CF was kept.
func (t *translator) defineCount(i int, ext, size, dst uint8) {
	cf := t.flags.host & flagCF
	t.define(i, false, lazyFlags{kind: lazyInc + ext, size: size, dst: dst, src: slotZero})
	t.flags.host = flagsArith&^flagCF | cf
}

// keepResult copies what an op made at m. It needs hB.
func (t *translator) keepResult(size uint8, m arg) {
	t.asm.loadLow(size, hB, m)
	t.asm.store(8, hB, t.slot(slotKept))
}

// defineWord says that the word now holds op i's flags, and EFLAGS some.
func (t *translator) defineWord(host uint64) {
	t.flags = flagState{word: true, host: host}
}

// Flags that a condition reads, by its number without the lowest bit.
var condFlags = [8]uint64{flagOF, flagCF, flagZF, flagCF | flagZF, flagSF, flagPF, flagSF | flagOF, flagZF | flagSF | flagOF}

// cond makes EFLAGS hold condition cc, and returns the one to test instead.
func (t *translator) cond(cc uint8) uint8 {
	f := &t.flags
	want := condFlags[cc>>1]
	a := &t.asm
	if f.kind == lazyShift && want&flagOF != 0 {
		t.toWord()
	}
	switch {
	case f.host&want == want:
		return cc
	case f.word && want&flagOF == 0: // TEST byte [word+1], imm8
		a.insn(0xf6, 1, 0, inCPU(offFlagWord+1))
		a.byte(byte(want))
		f.host = 0
		return 4 | ^cc&1 // NE for the condition, E for its contrary
	case f.word:
		t.restore()
		f.noAF = false
	default:
		f.noAF = t.recompute(f.lazyFlags)
	}
	f.host = flagsArith
	if f.kind == lazyShift && !f.word {
		f.host &^= flagOF
	}
	return cc
}

// carry makes CF of EFLAGS the guest's. Without the word it needs hA.
func (t *translator) carry() {
	f := &t.flags
	switch {
	case f.host&flagCF != 0:
	case f.word || f.counted():
		t.carryOfWord()
		f.host = 0
	default:
		t.recompute(f.lazyFlags)
	}
}

func (t *translator) carryOfWord() {
	t.asm.insn(0x0fba, 2, 4, inCPU(offFlagWord)) // BT word, 8
	t.asm.byte(8)
}

package ir

import (
	"nvlab/vmm/soft/x86"
)

// A Source is what a block is made of.
type Source struct {
	Page   uint64 // virtual, 0 in ModeRelative
	PC     uint16 // of the block's start in the page
	Mode   uint8
	Single bool   // it is one instruction, which reaches into the next page
	Bytes  []byte // of the page; of a single one, the next page's first follow; nil if the executor is to fetch them
}

// Lower appends a block's ops, and the instructions that have none. It returns how
// many instructions the block is of.
func (a *Arena) Lower(s Source) uint8 {
	t := lowering{code: a, page: s.Page, pc: s.PC, single: s.Single, sse: s.Mode&ModeSSE != 0, user: s.Mode&ModeUser != 0, watch: s.Mode&ModeWatched != 0, relative: s.Mode&ModeRelative != 0, several: s.Mode&ModeSeveral != 0}
	if s.Bytes == nil {
		t.slow()
	} else {
		t.block(s.Bytes, s.PC)
	}
	return t.n
}

// A lowering turns the instructions of one block into ops.
type lowering struct {
	code     *Arena
	page     uint64 // 0 if that is relative
	pc       uint16 // of the instruction at hand
	next     uint16 // what follows it
	n        uint8  // instructions so far, with it
	sse      bool   // SSE instructions do not fault
	user     bool   // CPL 3
	watch    bool   // LOCK is noted
	several  bool   // there are several processors
	relative bool
	done     bool // the block has ended
	single   bool // it is one instruction, which reaches into the next page

	first     int    // index of the block's first op
	jumped    bool   // the instruction at hand is a jump to target
	target    uint16 // in the page
	jumps     int    // that the block goes along with
	start     uint16 // of the block
	unrolled  int    // that the block goes back there
	passStart uint8  // instructions before the last time
}

const (
	maxJumps  = 4 // jumps that a block follows
	maxUnroll = 7 // passes of a loop that it has beyond the first
)

// eliminateDeadFlags replaces ops whose flags nothing reads by variants that set none.
func eliminateDeadFlags(ops []Op) {
	live := true
	for i := len(ops) - 1; i >= 0; i-- {
		o := &ops[i]
		if quiet := OpTable[o.Code].Quiet; !live && quiet != 0 {
			o.Code = quiet
		}
		live = OpTable[o.Code].Effect.liveBefore(live)
	}
}

// block makes ops of the page's code from pc on.
func (t *lowering) block(code []byte, pc uint16) {
	t.first, t.start = len(t.code.Ops), pc
	defer func() { eliminateDeadFlags(t.code.Ops[t.first:]) }()
	var in, after x86.Inst
	for !t.done {
		t.pc = pc
		if t.n >= MaxBlock-1 || t.single && t.n > 0 || x86.Decode(code[pc:], &in, true) != x86.OK {
			break
		}
		t.n++
		end := pc + uint16(in.Len)
		t.next = end
		locked := t.watch && (in.Flags&x86.PrefixLock != 0 || in.Op|1 == 0x87 && in.Mod != 3)
		switch {
		case !t.single && fusable(&in) && x86.Decode(code[end:], &after, true) == x86.OK && isJcc(&after) && t.fuse(&in, &after):
			end += uint16(after.Len)
		case !t.lower(&in):
			t.generic(&in)
		}
		if locked {
			t.emit(Op{Code: OpORDER}) // not if it faults
		}
		pc = end
		if t.jumped {
			pc, t.jumped = t.target, false
		}
	}
	if t.done {
		return
	}
	if t.n == 0 {
		t.slow()
		return
	}
	t.end()
}

// emit appends an op for the instruction at hand.
func (t *lowering) emit(o Op) {
	o.N, o.PC = t.n, t.pc
	if PlainStore(o.Code) {
		o.Gen = uint32(t.next)
	}
	if b := OpTable[o.Code].Based; b != 0 && o.Index == x86.SlotZero {
		o.Code = b
	}
	if t.pair(&o) {
		return
	}
	t.code.Ops = append(t.code.Ops, o)
}

// pair makes one op of o and the op before, if both push or both pop.
func (t *lowering) pair(o *Op) bool {
	if len(t.code.Ops) == t.first {
		return false
	}
	last := &t.code.Ops[len(t.code.Ops)-1]
	if last.Code != o.Code || last.N+1 != o.N {
		return false
	}
	switch {
	case o.Code == OpPUSH && last.Src != x86.RSP && o.Src != x86.RSP && last.Src != SlotTmp && o.Src != SlotTmp:
		last.Code, last.Dst = OpPUSH2, o.Src
	case o.Code == OpPOP && last.Dst != x86.RSP && o.Dst != x86.RSP && last.Dst != o.Dst:
		last.Code, last.Src = OpPOP2, o.Dst
	default:
		return false
	}
	last.N, last.More = o.N, 1
	return true
}

// slow leaves the instruction at pc to the executor, from its bytes.
func (t *lowering) slow() {
	t.n++
	t.emit(Op{Code: OpSLOW})
	t.done = true
}

// generic leaves in to the executor.
func (t *lowering) generic(in *x86.Inst) {
	i := len(t.code.Insts)
	t.code.Insts = append(t.code.Insts, *in)
	t.emit(Op{Code: OpGENERIC, Imm: int64(i), Disp: int32(t.pc) + int32(in.Len)})
	switch in.Op {
	case 0xca, 0xcb, 0xcc, 0xcd, 0xcf, 0xf1, 0xf4, 0x105, 0x107:
		t.pc += uint16(in.Len)
		t.end()
	}
}

// end ends the block with a branch to pc, which is no instruction.
func (t *lowering) end() {
	if last := &t.code.Ops[len(t.code.Ops)-1]; last.Code == OpSTI {
		// The shadow of STI reaches out of the block.
		in := x86.Inst{Op: 0xfb, Opcode: 0xfb, Len: 1, Size: 4, AddressSize: 8}
		last.Code = OpGENERIC
		last.Disp = int32(last.PC) + 1
		last.Imm = int64(len(t.code.Insts))
		t.code.Insts = append(t.code.Insts, in)
	}
	o := Op{Code: OpJMP}
	t.branch(&o, t.page+uint64(t.pc))
	t.emit(o)
	t.done = true
}

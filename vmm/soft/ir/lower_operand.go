package ir

import (
	"nvlab/vmm/soft/x86"
)

// mem sets the address of in's memory operand, with ops before if it takes
// more than one op can hold.
func (t *lowering) mem(in *x86.Inst, o *Op) bool {
	if in.AddressSize != 8 {
		return false
	}
	o.Base, o.Index, o.Scale = in.Base, in.Index, in.Scale
	disp := in.Disp
	if in.Flags&x86.RIPRelative != 0 {
		disp += t.page + uint64(t.pc) + uint64(in.Len)
		if t.relative {
			if int64(int32(disp)) != int64(disp) {
				return false
			}
			o.Base = SlotPage
		}
	}
	if int64(int32(disp)) != int64(disp) { // RIP-relative or moffs: no base
		t.emit(Op{Code: OpMOVRI64, Dst: SlotTmp, Imm: int64(disp)})
		o.Base, disp = SlotTmp, 0
	}
	seg := in.SegBase()
	switch {
	case seg == x86.SlotZero:
	case o.Base == x86.SlotZero:
		o.Base = seg
	case o.Index == x86.SlotZero:
		o.Index, o.Scale = seg, 0
	default:
		t.emit(Op{Code: OpLEA64, Dst: SlotTmp, Base: o.Base, Index: o.Index, Scale: o.Scale, Disp: int32(disp)})
		o.Base, o.Index, o.Scale, disp = SlotTmp, seg, 0, 0
	}
	o.Disp = int32(disp)
	return true
}

// withMem emits o with in's memory operand.
func (t *lowering) withMem(in *x86.Inst, o Op) bool {
	if !t.mem(in, &o) {
		return false
	}
	t.emit(o)
	return true
}

// withMem2 is withMem after an op that used SlotTmp, which the address then
// must not.
func (t *lowering) withMem2(in *x86.Inst, o Op) bool {
	n := len(t.code.Ops)
	if t.withMem(in, o) && len(t.code.Ops) == n+1 {
		return true
	}
	t.code.Ops = t.code.Ops[:n-1]
	return false
}

// pick chooses the 32- or 64-bit one of two opcodes.
func pick(in *x86.Inst, o32, o64 Opcode) Opcode {
	if in.Size == 8 {
		return o64
	}
	return o32
}

func (t *lowering) emitIf(ok bool, o Op) bool {
	if ok {
		t.emit(o)
	}
	return ok
}

// source is the slot of the r/m operand, loaded into SlotTmp if in memory.
func (t *lowering) source(in *x86.Inst) (uint8, bool) {
	if !in.Is4or8() {
		return 0, false
	}
	if in.Mod == 3 {
		return in.RM, true
	}
	return SlotTmp, t.withMem(in, Op{Code: pick(in, OpMOVRM32, OpMOVRM64), Dst: SlotTmp})
}

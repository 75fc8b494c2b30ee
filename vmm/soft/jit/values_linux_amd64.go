package jit

import (
	"nvlab/vmm/soft/ir"
	"nvlab/vmm/soft/x86"
)

// value is what a slot holds, as far as a translator knows: a distance from
// something that has a number. Number 0 is zero, so that constants are values
// as well.
type value struct {
	id  uint32
	off int64
}

// values are those of the slots at a point of a block.
type values struct {
	slots  [ir.SlotPage + 1]value
	last   uint32  // number given out
	since  uint32  // the last one before the executor did an instruction: the TLB may have changed
	writes []uint8 // slots that the op at hand writes
}

// unknown is a value that equals no other.
func (v *values) unknown() value {
	v.last++
	return value{id: v.last}
}

// forget makes all slots hold something new.
func (v *values) forget() {
	v.since = v.last
	for s := range v.slots {
		v.slots[s] = v.unknown()
	}
	v.slots[x86.SlotZero] = value{}
	v.writes = v.writes[:0]
}

// after is what the slots hold after o, whose writes are known.
func (v *values) after(o *ir.Op) {
	writes := v.writes
	v.writes = writes[:0]
	var moved value
	known := true
	switch o.Code {
	case ir.OpADDRI64:
		moved = v.slots[o.Dst].plus(o.Imm)
	case ir.OpSUBRI64:
		moved = v.slots[o.Dst].plus(-o.Imm)
	case ir.OpINCR64:
		moved = v.slots[o.Dst].plus(1)
	case ir.OpDECR64:
		moved = v.slots[o.Dst].plus(-1)
	case ir.OpMOVRR64:
		moved = v.slots[o.Src]
	case ir.OpMOVRI32:
		moved = value{off: int64(uint32(o.Imm))}
	case ir.OpMOVRI64:
		moved = value{off: o.Imm}
	case ir.OpLEA64:
		moved = v.slots[o.Base].plus(int64(o.Disp))
		known = o.Index == x86.SlotZero
	default:
		known = false
	}
	if known {
		v.slots[o.Dst] = moved
		return
	}
	sp := v.slots[x86.RSP]
	bp := v.slots[x86.RBP]
	for _, s := range writes {
		v.slots[s] = v.unknown()
	}
	switch o.Code {
	case ir.OpPUSH, ir.OpPUSHI, ir.OpPUSHF:
		v.slots[x86.RSP] = sp.plus(-8)
	case ir.OpPUSH2:
		v.slots[x86.RSP] = sp.plus(-16)
	case ir.OpPOP:
		if o.Dst != x86.RSP {
			v.slots[x86.RSP] = sp.plus(8)
		}
	case ir.OpPOPF:
		v.slots[x86.RSP] = sp.plus(8)
	case ir.OpPOP2:
		if o.Dst != x86.RSP && o.Src != x86.RSP {
			v.slots[x86.RSP] = sp.plus(16)
		}
	case ir.OpLEAVE:
		v.slots[x86.RSP] = bp.plus(8)
	}
}

func (x value) plus(n int64) value { return value{id: x.id, off: x.off + n} }

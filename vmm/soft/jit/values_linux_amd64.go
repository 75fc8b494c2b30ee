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
	made   []made  // what was computed so far
	last   uint32  // number given out
	since  uint32  // the last one before the executor did an instruction: the TLB may have changed
	writes []uint8 // slots that the op at hand writes
}

// made is a value that was computed of others, and its number: whoever computes it once more
// gets the same, as a loop does of what it does not change.
type made struct {
	code  ir.Opcode
	scale uint8
	x, y  uint32 // numbers
	off   int64  // of an operand whose distance is part of it
	id    uint32
}

// number is that of what is computed of x and y.
func (v *values) number(m made) uint32 {
	for i := range v.made {
		m.id = v.made[i].id
		if v.made[i] == m {
			return m.id
		}
	}
	m.id = v.unknown().id
	v.made = append(v.made, m)
	return m.id
}

// sum is x+y<<scale.
func (v *values) sum(x, y value, scale uint8) value {
	off := x.off + y.off<<scale
	switch {
	case y.id == 0:
		return value{id: x.id, off: off}
	case x.id == 0:
		return v.shifted(y.id, scale).plus(off)
	case scale == 0 && x.id > y.id:
		x, y = y, x
	}
	return value{id: v.number(made{code: ir.OpLEA64, scale: scale, x: x.id, y: y.id}), off: off}
}

// shifted is a number shifted to the left.
func (v *values) shifted(id uint32, n uint8) value {
	if id != 0 && n != 0 {
		id = v.number(made{code: ir.OpSHLI64, scale: n, x: id})
	}
	return value{id: id}
}

// function is what a pure operation makes of x and a constant.
func (v *values) function(code ir.Opcode, x value, imm int64) value {
	return value{id: v.number(made{code: code, x: x.id, off: x.off, y: uint32(imm)})}
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
	v.made = v.made[:0]
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
		moved = v.sum(v.slots[o.Base], v.slots[o.Index], o.Scale&3).plus(int64(o.Disp))
	case ir.OpADDRR64:
		moved = v.sum(v.slots[o.Dst], v.slots[o.Src], 0)
	case ir.OpSHLI64:
		n := uint8(o.Src)
		moved = v.shifted(v.slots[o.Dst].id, n).plus(v.slots[o.Dst].off << n)
	case ir.OpXORRR32, ir.OpXORRR64:
		known = o.Dst == o.Src
	case ir.OpMOVRR32, ir.OpMOVSXRR32:
		moved = v.function(o.Code, v.slots[o.Src], 0)
	case ir.OpANDRI32, ir.OpANDRI64:
		moved = v.function(o.Code, v.slots[o.Dst], o.Imm)
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

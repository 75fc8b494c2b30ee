package soft

// value is what a slot holds, as far as a translator knows: a distance from
// something that has a number. Number 0 is zero, so that constants are values
// as well.
type value struct {
	id  uint32
	off int64
}

// values are those of the slots at a point of a block.
type values struct {
	slots  [slotKept + 1]value
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
	v.slots[slotZero] = value{}
	v.writes = v.writes[:0]
}

// after is what the slots hold after o, whose writes are known.
func (v *values) after(o *op) {
	writes := v.writes
	v.writes = writes[:0]
	var moved value
	known := true
	switch o.code {
	case opADDRI64:
		moved = v.slots[o.dst].plus(o.imm)
	case opSUBRI64:
		moved = v.slots[o.dst].plus(-o.imm)
	case opINCR64:
		moved = v.slots[o.dst].plus(1)
	case opDECR64:
		moved = v.slots[o.dst].plus(-1)
	case opMOVRR64:
		moved = v.slots[o.src]
	case opMOVRI32:
		moved = value{off: int64(uint32(o.imm))}
	case opMOVRI64:
		moved = value{off: o.imm}
	case opLEA64:
		moved = v.slots[o.base].plus(int64(o.disp))
		known = o.index == slotZero
	default:
		known = false
	}
	if known {
		v.slots[o.dst] = moved
		return
	}
	sp := v.slots[rSP]
	bp := v.slots[rBP]
	for _, s := range writes {
		v.slots[s] = v.unknown()
	}
	switch o.code {
	case opPUSH, opPUSHI, opPUSHF:
		v.slots[rSP] = sp.plus(-8)
	case opPUSH2:
		v.slots[rSP] = sp.plus(-16)
	case opPOP:
		if o.dst != rSP {
			v.slots[rSP] = sp.plus(8)
		}
	case opPOPF:
		v.slots[rSP] = sp.plus(8)
	case opPOP2:
		if o.dst != rSP && o.src != rSP {
			v.slots[rSP] = sp.plus(16)
		}
	case opLEAVE:
		v.slots[rSP] = bp.plus(8)
	}
}

func (x value) plus(n int64) value { return value{id: x.id, off: x.off + n} }

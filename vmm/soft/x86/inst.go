package x86

// Inst is one decoded instruction. It holds no pointer, so that blocks of them
// cost the collector nothing.
type Inst struct {
	Op          uint16 // opcode byte, plus 0x100 for the 0F map, 0x200 for 0F38, 0x300 for 0F3A
	Len         uint8
	Flags       uint8
	Rep         uint8 // last of F2 and F3, or 0
	ModRM       uint8
	Mod         uint8
	Reg         uint8 // extended by REX.R
	RM          uint8 // extended by REX.B
	Size        uint8 // of operands: 1, 2, 4, 8
	AddressSize uint8 // 2, 4, 8
	Seg         uint8 // of the memory operand
	Base        uint8 // slot
	Index       uint8 // slot
	Scale       uint8 // log2
	REX         uint8 // W, R, X, B
	Disp        uint64
	Imm         uint64 // sign-extended
	Imm2        uint16 // of ENTER: the first operand; Imm is the second
	Opcode      uint8
}

// Bits of Inst.Flags.
const (
	PrefixREX   = 1 << iota // a REX prefix
	Prefix66                // operand-size prefix
	PrefixLock              // LOCK prefix
	RIPRelative             // RIP-relative operand
	PrefixSegment
	Prefix67 // address-size prefix
)

// Low says whether register n of the given size is the low part of its slot.
func (in *Inst) Low(n, size uint8) bool {
	return size > 1 || n < 4 || in.Flags&PrefixREX != 0
}

// RegRM says that the r/m operand is a register that is low in its slot.
func (in *Inst) RegRM(size uint8) bool { return in.Mod == 3 && in.Low(in.RM, size) }

// Is4or8 says that the operand size is 4 or 8.
func (in *Inst) Is4or8() bool { return in.Size >= 4 }

// Prefix is the mandatory prefix: F2 and F3 win over 66.
func (in *Inst) Prefix() uint8 {
	if in.Rep != 0 {
		return in.Rep
	}
	if in.Flags&Prefix66 != 0 {
		return 0x66
	}
	return 0
}

// PrefixColumn numbers the prefixes 0, 66, F3, F2.
func PrefixColumn(p uint8) int {
	switch p {
	case 0x66:
		return 1
	case 0xf3:
		return 2
	case 0xf2:
		return 3
	}
	return 0
}

// Wide is the size of a general register as an operand of an SSE instruction.
func (in *Inst) Wide() uint8 {
	if in.REX&8 != 0 {
		return 8
	}
	return 4
}

// Wrap cuts an offset, or a count, to the address size.
func (in *Inst) Wrap(a uint64) uint64 {
	switch in.AddressSize {
	case 2:
		return uint64(uint16(a))
	case 4:
		return uint64(uint32(a))
	}
	return a
}

// RMOf3 is the register of an instruction that ignores ModRM.mod.
func (in *Inst) RMOf3() uint8 { return in.ModRM&7 | in.REX&1<<3 }

// RMIsLow says that the r/m operand is in memory or the low part of a slot.
func (in *Inst) RMIsLow() bool { return in.Mod != 3 || in.RegRM(in.Size) }

// SegBase is the slot of what the operand's segment adds to its address in 64-bit
// code: FS and GS alone have a base there (SDM 1, 3.4.2.1).
func (in *Inst) SegBase() uint8 {
	switch in.Seg {
	case SegFS:
		return SlotFS
	case SegGS:
		return SlotGS
	}
	return SlotZero
}

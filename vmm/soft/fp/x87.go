package fp

// F80 is a number in double extended precision format (SDM vol. 1, 4.2.2).
type F80 struct {
	Sig uint64 // with the explicit integer bit at 63
	SE  uint16 // sign at bit 15, biased exponent below
}

// X87 is the state of an x87 FPU and of the MMX registers, which share its
// registers. It is plain data. Use Reset before anything else.
type X87 struct {
	R   [8]F80 // by physical number, not by distance from the top
	CW  uint16
	SW  uint16 // with the top of the stack in bits 13:11
	Tag uint8  // bit i set: R[i] is not empty

	// The last non-control instruction and its memory operand. They are the
	// caller's to set: the arithmetic does not know them.
	FOP      uint16
	FIP, FDP uint64
	FCS, FDS uint16
}

// Reset does what FNINIT does, to an FPU with zeros in its registers.
func (x *X87) Reset() {
	*x = X87{}
	x.CW = 0x037F
}

// Pending says that an unmasked exception waits: FWAIT, the waiting x87
// instructions and the MMX instructions then raise #MF (with CR0.NE set).
func (x *X87) Pending() bool { return x.SW&0x80 != 0 }

// MemOperand gives the bytes that an instruction D8..DF with a memory operand
// reads, or with store writes. The state images of FLDENV, FNSTENV, FRSTOR
// and FNSAVE are those of a 32-bit operand size. ok is false for #UD.
func MemOperand(op, reg byte) (size int, store, ok bool) {
	if op < 0xD8 || op > 0xDF {
		return 0, false, false
	}
	return 0, false, false
}

// Load executes an instruction that reads data, which has the size that
// MemOperand gives.
func (x *X87) Load(op, reg byte, data []byte) Fault { return UD }

// Store executes an instruction that writes data, which has the size that
// MemOperand gives. Its result is data only if it returns None.
func (x *X87) Store(op, reg byte, data []byte) Fault { return UD }

// Reg executes an instruction D8..DF with a register operand, modrm C0..FF.
// ax is written by FNSTSW AX.
func (x *X87) Reg(op, modrm byte, flags *Flags, ax *uint16) Fault { return UD }

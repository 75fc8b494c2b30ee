package x86

// Arithmetic and logic in the order of opcode bits 5..3.
const (
	AluADD = iota
	AluOR
	AluADC
	AluSBB
	AluAND
	AluSUB
	AluXOR
	AluCMP
)

// Shifts and rotates in the order of ModRM.reg.
const (
	ShiftROL = iota
	ShiftROR
	ShiftRCL
	ShiftRCR
	ShiftSHL
	ShiftSHR
	ShiftSHL2 // the undocumented alias of SHL
	ShiftSAR
)

// ShiftCount masks a count as the processor does.
func ShiftCount(n uint64, size uint8) uint64 {
	if size == 8 {
		return n & 63
	}
	return n & 31
}

// Bit operations in the order of opcode bits 4..3.
const (
	BitBT = iota
	BitBTS
	BitBTR
	BitBTC
)

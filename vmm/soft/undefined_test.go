package soft

// undefinedFlags are the flags that an instruction does not define, given what
// RCX is before it (SDM 2, at each instruction).
func undefinedFlags(in *inst, rcx uint64) uint64 {
	ext := in.modrm >> 3 & 7
	switch op := in.op; {
	case op == 0x27, op == 0x2f: // DAA, DAS
		return flagOF
	case op == 0x37, op == 0x3f: // AAA, AAS
		return flagOF | flagSF | flagZF | flagPF
	case op == 0xd4, op == 0xd5: // AAM, AAD
		return flagOF | flagAF | flagCF
	case op < 0x40:
		return undefinedLogic(uint8(op >> 3))
	case op == 0x80, op == 0x81, op == 0x83:
		return undefinedLogic(ext)
	case op == 0x84, op == 0x85, op == 0xa8, op == 0xa9:
		return flagAF
	case op == 0xf6, op == 0xf7:
		return [8]uint64{flagAF, flagAF, 0, 0, undefinedMul, undefinedMul, flagsArith, flagsArith}[ext]
	case op == 0x69, op == 0x6b, op == 0x1af:
		return undefinedMul
	case op == 0xc0, op == 0xc1:
		return undefinedShift(ext, in.imm, in.size)
	case op == 0xd0, op == 0xd1:
		return undefinedShift(ext, 1, in.size)
	case op == 0xd2, op == 0xd3:
		return undefinedShift(ext, rcx, in.size)
	case op == 0x1a4, op == 0x1ac:
		return undefinedDouble(in.imm, in.size)
	case op == 0x1a5, op == 0x1ad:
		return undefinedDouble(rcx, in.size)
	case op == 0x1a3, op == 0x1ab, op == 0x1b3, op == 0x1bb, op == 0x1ba:
		return flagOF | flagSF | flagAF | flagPF
	case op == 0x1bc, op == 0x1bd:
		return flagsArith &^ flagZF
	}
	return 0
}

const undefinedMul = flagSF | flagZF | flagAF | flagPF

func undefinedLogic(op uint8) uint64 {
	if op == aluOR || op == aluAND || op == aluXOR {
		return flagAF
	}
	return 0
}

func undefinedShift(op uint8, count uint64, size uint8) (u uint64) {
	n := shiftCount(count, size)
	if n == 0 {
		return 0
	}
	if n != 1 {
		u = flagOF
	}
	if op > 3 { // no rotation
		u |= flagAF
		if n > 8*uint64(size) {
			u |= flagCF
		}
	}
	return u
}

func undefinedDouble(count uint64, size uint8) uint64 {
	switch n := shiftCount(count, size); {
	case n == 0:
		return 0
	case n > 8*uint64(size):
		return flagsArith
	case n != 1:
		return flagAF | flagOF
	}
	return flagAF
}

// undefinedResult says that not even the destination is defined: the double
// shift of a word by more than its length.
func undefinedResult(in *inst, rcx uint64) bool {
	n := in.imm
	switch in.op {
	case 0x1a4, 0x1ac:
	case 0x1a5, 0x1ad:
		n = rcx
	default:
		return false
	}
	return in.size == 2 && shiftCount(n, 2) > 16
}

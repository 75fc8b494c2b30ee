package soft

import "nvlab/vmm/soft/x86"

// undefinedFlags are the flags that an instruction does not define, given what
// RCX is before it (SDM 2, at each instruction).
func undefinedFlags(in *x86.Inst, rcx uint64) uint64 {
	ext := in.ModRM >> 3 & 7
	switch op := in.Op; {
	case op == 0x27, op == 0x2f: // DAA, DAS
		return x86.FlagOF
	case op == 0x37, op == 0x3f: // AAA, AAS
		return x86.FlagOF | x86.FlagSF | x86.FlagZF | x86.FlagPF
	case op == 0xd4, op == 0xd5: // AAM, AAD
		return x86.FlagOF | x86.FlagAF | x86.FlagCF
	case op < 0x40:
		return undefinedLogic(uint8(op >> 3))
	case op == 0x80, op == 0x81, op == 0x83:
		return undefinedLogic(ext)
	case op == 0x84, op == 0x85, op == 0xa8, op == 0xa9:
		return x86.FlagAF
	case op == 0xf6, op == 0xf7:
		return [8]uint64{x86.FlagAF, x86.FlagAF, 0, 0, undefinedMul, undefinedMul, x86.FlagsArith, x86.FlagsArith}[ext]
	case op == 0x69, op == 0x6b, op == 0x1af:
		return undefinedMul
	case op == 0xc0, op == 0xc1:
		return undefinedShift(ext, in.Imm, in.Size)
	case op == 0xd0, op == 0xd1:
		return undefinedShift(ext, 1, in.Size)
	case op == 0xd2, op == 0xd3:
		return undefinedShift(ext, rcx, in.Size)
	case op == 0x1a4, op == 0x1ac:
		return undefinedDouble(in.Imm, in.Size)
	case op == 0x1a5, op == 0x1ad:
		return undefinedDouble(rcx, in.Size)
	case op == 0x1a3, op == 0x1ab, op == 0x1b3, op == 0x1bb, op == 0x1ba:
		return x86.FlagOF | x86.FlagSF | x86.FlagAF | x86.FlagPF
	case op == 0x1bc, op == 0x1bd:
		return x86.FlagsArith &^ x86.FlagZF
	}
	return 0
}

const undefinedMul = x86.FlagSF | x86.FlagZF | x86.FlagAF | x86.FlagPF

func undefinedLogic(op uint8) uint64 {
	if op == x86.AluOR || op == x86.AluAND || op == x86.AluXOR {
		return x86.FlagAF
	}
	return 0
}

func undefinedShift(op uint8, count uint64, size uint8) (u uint64) {
	n := x86.ShiftCount(count, size)
	if n == 0 {
		return 0
	}
	if n != 1 {
		u = x86.FlagOF
	}
	if op > 3 { // no rotation
		u |= x86.FlagAF
		if n > 8*uint64(size) {
			u |= x86.FlagCF
		}
	}
	return u
}

func undefinedDouble(count uint64, size uint8) uint64 {
	switch n := x86.ShiftCount(count, size); {
	case n == 0:
		return 0
	case n > 8*uint64(size):
		return x86.FlagsArith
	case n != 1:
		return x86.FlagAF | x86.FlagOF
	}
	return x86.FlagAF
}

// undefinedResult says that not even the destination is defined: the double
// shift of a word by more than its length.
func undefinedResult(in *x86.Inst, rcx uint64) bool {
	n := in.Imm
	switch in.Op {
	case 0x1a4, 0x1ac:
	case 0x1a5, 0x1ad:
		n = rcx
	default:
		return false
	}
	return in.Size == 2 && x86.ShiftCount(n, 2) > 16
}

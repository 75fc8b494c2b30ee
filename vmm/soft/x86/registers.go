package x86

// Register slots. Pre-decoded ops name registers by slot, and an array of 256
// indexed by a byte needs no bounds check.
const (
	RAX = iota
	RCX
	RDX
	RBX
	RSP
	RBP
	RSI
	RDI
	SlotZero = 16 // always zero: an absent base or index
	SlotFS   = 17 // FS base
	SlotGS   = 18 // GS base
)

// Segment registers, in the encoding of MOV Sreg.
const (
	SegES = iota
	SegCS
	SegSS
	SegDS
	SegFS
	SegGS
)

// Bits of RFLAGS (SDM 1, 3.4.3).
const (
	FlagCF   = 1 << 0
	FlagOne  = 1 << 1
	FlagPF   = 1 << 2
	FlagAF   = 1 << 4
	FlagZF   = 1 << 6
	FlagSF   = 1 << 7
	FlagTF   = 1 << 8
	FlagIF   = 1 << 9
	FlagDF   = 1 << 10
	FlagOF   = 1 << 11
	FlagIOPL = 3 << 12
	FlagNT   = 1 << 14
	FlagRF   = 1 << 16
	FlagVM   = 1 << 17
	FlagAC   = 1 << 18
	FlagVIF  = 1 << 19
	FlagVIP  = 1 << 20
	FlagID   = 1 << 21

	FlagsArith = FlagCF | FlagPF | FlagAF | FlagZF | FlagSF | FlagOF
)

// Bits of the control registers and EFER (SDM 3A, 2.5).
const (
	CR0PE = 1 << 0
	CR0MP = 1 << 1
	CR0EM = 1 << 2
	CR0TS = 1 << 3
	CR0ET = 1 << 4
	CR0NE = 1 << 5
	CR0WP = 1 << 16
	CR0AM = 1 << 18
	CR0NW = 1 << 29
	CR0CD = 1 << 30
	CR0PG = 1 << 31

	CR4TSD        = 1 << 2
	CR4DE         = 1 << 3
	CR4PSE        = 1 << 4
	CR4PAE        = 1 << 5
	CR4MCE        = 1 << 6
	CR4PGE        = 1 << 7
	CR4PCE        = 1 << 8
	CR4OSFXSR     = 1 << 9
	CR4OSXMMEXCPT = 1 << 10
	CR4UMIP       = 1 << 11
	CR4SMEP       = 1 << 20
	CR4SMAP       = 1 << 21

	CR4Valid = CR4TSD | CR4DE | CR4PSE | CR4PAE | CR4MCE | CR4PGE | CR4PCE |
		CR4OSFXSR | CR4OSXMMEXCPT | CR4UMIP | CR4SMEP | CR4SMAP

	EFERSCE = 1 << 0
	EFERLME = 1 << 8
	EFERLMA = 1 << 10
	EFERNXE = 1 << 11
)

// MXCSR after a reset, and its bits: all that there are, the exception flags and
// their masks (SDM 1, 10.2.3).
const (
	MXCSRReset = 0x1f80
	MXCSRMask  = 0xffff

	MXCSRFlags = 0x3f
	MXCSRMasks = 0x1f80
)

// A page of 4 KiB.
const (
	PageShift = 12
	PageSize  = 1 << PageShift
	PageMask  = PageSize - 1
)

// Canonical says whether bits 63..47 of a linear address are equal.
func Canonical(va uint64) bool {
	return uint64(int64(va<<16)>>16) == va
}

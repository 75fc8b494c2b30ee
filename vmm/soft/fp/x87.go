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

// Bits of the status word (SDM vol. 1, 8.1.3); the flags are bits 5:0.
const (
	swFlags      = 0x3F
	swStackFault = 1 << 6
	swPending    = 1 << 7 // error summary
	swC0         = 1 << 8
	swC1         = 1 << 9
	swC2         = 1 << 10
	swTop        = 7 << 11
	swC3         = 1 << 14
	swBusy       = 1 << 15 // the same as the error summary
)

// Bits of the control word (SDM vol. 1, 8.1.5); the masks are bits 5:0.
const (
	cwInit     = 0x037F
	cwReserved = 1 << 6 // reads as one
	cwWritable = 0x1F3F
)

// Reset does what FNINIT does, to an FPU with zeros in its registers.
func (x *X87) Reset() {
	*x = X87{}
	x.init()
}

func (x *X87) init() {
	*x = X87{R: x.R, CW: cwInit}
}

// Pending says that an unmasked exception waits: FWAIT, the waiting x87
// instructions and the MMX instructions then raise #MF (with CR0.NE set).
func (x *X87) Pending() bool { return x.SW&swPending != 0 }

// summarize sets the error summary by flags and masks.
func (x *X87) summarize() {
	x.SW &^= swPending | swBusy
	if x.SW&^x.CW&swFlags != 0 {
		x.SW |= swPending | swBusy
	}
}

func (x *X87) loadControl(cw uint16) {
	x.CW = cw&cwWritable | cwReserved
	x.summarize()
}

func (x *X87) top() uint8 { return uint8(x.SW>>11) & 7 }

func (x *X87) setTop(top uint8) { x.SW = x.SW&^swTop | uint16(top&7)<<11 }

// physical is the number of the register that is ST(i).
func (x *X87) physical(i uint8) uint8 { return (x.top() + i) & 7 }

func (x *X87) st(i uint8) *F80 { return &x.R[x.physical(i)] }

func (x *X87) empty(i uint8) bool { return x.Tag>>x.physical(i)&1 == 0 }

// set writes ST(i), which need not be in use.
func (x *X87) set(i uint8, v F80) {
	*x.st(i) = v
	x.Tag |= 1 << x.physical(i)
}

func (x *X87) free(i uint8) {
	x.Tag &^= 1 << x.physical(i)
}

func (x *X87) pop() {
	x.free(0)
	x.setTop(x.top() + 1)
}

func (x *X87) push(v F80) {
	x.setTop(x.top() - 1)
	x.set(0, v)
}

// env gives what CW asks of a computation.
func (x *X87) env() env {
	return env{mode: uint8(x.CW >> 10 & 3), masked: uint8(x.CW & swFlags), rewrap: true}
}

// precision is that of FADD, FSUB, FMUL, FDIV and FSQRT (SDM vol. 1, 8.1.5.2).
func (x *X87) precision() *format {
	switch x.CW >> 8 & 3 {
	case 0:
		return extended24
	case 2:
		return extended53
	}
	return extended
}

// finish takes the flags over and sets C1. False means that an unmasked
// exception prevents the computation: no register changes.
func (x *X87) finish(e *env) bool {
	x.SW &^= swC1
	if e.pre&^e.masked != 0 {
		x.SW |= uint16(e.pre)
		x.summarize()
		return false
	}
	x.SW |= uint16(e.pre | e.post)
	if e.roundedUp {
		x.SW |= swC1
	}
	x.summarize()
	return true
}

// stackFault raises invalid for a stack overflow or underflow, and says
// whether it is masked: the instruction then delivers the indefinite NaN.
func (x *X87) stackFault(overflow bool) (masked bool) {
	x.SW = x.SW&^swC1 | flagInvalid | swStackFault
	if overflow {
		x.SW |= swC1
	}
	x.summarize()
	return x.CW&flagInvalid != 0
}

// indefinite80 is the default NaN.
var indefinite80 = indefinite.encode80()

// propagate80 gives the result of an operation on a NaN or an unsupported
// encoding (SDM vol. 1, table 4-7). ok is false if neither is one.
func (e *env) propagate80(a, b number) (n number, ok bool) {
	if a.kind == unsupported || b.kind == unsupported {
		return e.invalid(), true
	}
	if !a.isNaN() && !b.isNaN() {
		return number{}, false
	}
	e.roundedUp = false
	if a.kind == signalingNaN || b.kind == signalingNaN {
		e.pre |= flagInvalid
	}
	switch {
	case !b.isNaN():
		return a.quiet(), true
	case !a.isNaN():
		return b.quiet(), true
	case a.kind != b.kind && a.kind == quietNaN:
		return a, true
	case a.kind != b.kind:
		return b, true
	}
	// The larger significand, and of equal ones the positive.
	if a.sig > b.sig || a.sig == b.sig && !a.neg {
		return a.quiet(), true
	}
	return b.quiet(), true
}

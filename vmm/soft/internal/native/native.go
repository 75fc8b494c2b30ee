// Package native runs instructions on the host's processor, for tests that
// compare with it.
package native

// State is what an instruction reads and writes besides memory.
type State struct {
	R     [16]uint64
	Flags uint64
	XMM   [16][2]uint64
	MXCSR uint32
	FPU   [512]byte // an FXSAVE64 image; see WithFPU
}

// Kind says what of a State an instruction is given and what is kept, besides
// the general registers and the flags.
type Kind uint8

const (
	Plain   Kind = iota
	WithXMM      // XMM registers and MXCSR
	WithFPU      // the image in FPU, which holds those too
	kinds

	// In32 runs the instruction in compatibility mode, to an exception. The
	// upper halves of registers must be zero.
	In32 Kind = 4
)

// Lead is the offset of the instruction in its page, whose other bytes are
// INT3.
const Lead = 512

// Fault is how a run ended.
type Fault struct {
	Vector int // of the exception, or -1
	Error  uint64
	Addr   uint64 // of a page fault
	RIP    uint64 // that the exception saved
}

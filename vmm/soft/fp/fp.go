// Package fp computes what the SSE, SSE2, MMX and x87 instructions of an
// x86-64 processor compute: pure functions from operands and control words to
// results and exception flags, exact in every bit that the architecture
// defines. It decodes no instruction and touches no memory.
//
// The rules are those of the Intel 64 and IA-32 Architectures Software
// Developer's Manual ("SDM") volume 1, chapters 4, 8, 9, 10, 11 and appendices
// D and E, and volume 2. What they leave undefined is as AMD's processors have
// it, where that is known. All arithmetic is done on integers, or by operations
// that IEEE 754 defines to the bit, so every host gets the same results.
package fp

// Vec is an XMM register: bits 63:0, then bits 127:64.
type Vec = [2]uint64

// Fn computes an SSE instruction on dst and src, which may be the same
// register. The exception flags of mxcsr accumulate in every case. False means
// that an exception is unmasked (#XM); dst then is unchanged.
type Fn func(dst, src *Vec, imm uint8, mxcsr *uint32) bool

// Op is an SSE or SSE2 instruction with an XMM destination and an XMM or
// memory source.
type Op struct {
	Name    string
	Mem     uint8 // bytes that a memory source has: 4, 8 or 16
	Aligned bool  // a memory source must be 16-byte aligned, or #GP
	Imm     bool  // an immediate byte follows
	Fn      Fn
}

// MMXFn computes an MMX instruction on dst and src, which may be the same
// register. No MMX instruction has floating-point exceptions of its own.
type MMXFn func(dst, src *uint64, imm uint8)

// MMXOp is an instruction with an MMX destination and an MMX or memory
// source, which need not be aligned.
type MMXOp struct {
	Name string
	Mem  uint8 // bytes that a memory source has: 4 or 8
	Imm  bool  // an immediate byte follows
	Fn   MMXFn
}

// Fault is how an x87 instruction ended.
type Fault uint8

const (
	// None: the instruction is complete.
	None Fault = iota
	// MF: an earlier instruction left an unmasked exception pending. Nothing
	// has changed.
	MF
	// UD: the encoding is not an instruction.
	UD
	// NoStore: the instruction is complete, but an unmasked exception keeps
	// it from writing its memory operand. The next waiting instruction will
	// give MF.
	NoStore
)

// Flags are the bits of RFLAGS that FCMOVcc reads and FCOMI and its kin write.
type Flags struct{ CF, PF, ZF bool }

// Exception flags: the low six bits of both MXCSR and the x87 status word.
// The masks are the same bits at 12:7 of MXCSR and 5:0 of the control word.
const (
	flagInvalid   = 1 << 0
	flagDenormal  = 1 << 1
	flagZero      = 1 << 2
	flagOverflow  = 1 << 3
	flagUnderflow = 1 << 4
	flagPrecision = 1 << 5
)

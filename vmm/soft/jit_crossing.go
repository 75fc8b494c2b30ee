package soft

// crossing is what passes between Go and generated code.
type crossing struct {
	left, limit uint64 // instructions to go; the clock when none are
	flags       uint64 // see flagState
	op, header  uint32 // where code was left
	why         uint32
	rip         uint64
	ops, code   uint64 // addresses of the ops and of the code
	spill       uint64
	hostSP      uint64
	page        uint64            // of the last byte of a group of accesses that missed
	near        [maxGroups]uint64 // what such groups found
	mxcsr       uint32            // the host's
	vectors     uint32            // not 0: the host's registers have the vectors and MXCSR
}

// Why generated code was left.
const (
	leftOp       = iota // op is to be interpreted
	leftTaken           // op's branch is taken, and not linked
	leftHeader          // the block of header is to be entered
	leftJump            // rip is to be looked for
	leftStrained        // as leftOp, and op leads a group of accesses
	leftRun             // the executor did an instruction after which all is open
)

// Executions of a block before it is compiled, and a count that is never
// reached.
const (
	hot  = 64
	cold = 1<<31 - 1
)

// maxGroups is how many groups of accesses a block may have at a time.
const maxGroups = 8

// nativePage is the page of the block that was left.
func (c *cpu) nativePage() uint64 { return uint64(c.p.cache.ops[c.native.header].imm) }

// compilerStats counts what a compiler did.
type compilerStats struct {
	blocks, entries, flushes, twins, bridges uint64
	size                                     int // bytes of code
}

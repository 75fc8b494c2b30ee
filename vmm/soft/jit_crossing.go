package soft

// crossing is what passes between Go and generated code.
type crossing struct {
	left, limit uint64 // instructions to go; the clock when none are
	flags       uint64 // see flagState
	op, header  uint32 // where code was left
	why         uint32
	rip         uint64
	ops, code   uint64 // addresses of the ops and of the code
	hostSP      uint64
	spill       uint64 // an op's own: a miss of the TLB keeps it
	scratch     uint64
	missPage    uint64            // of the last byte of an access that missed the TLB
	missEntry   uint32            // offset in the TLB of its first byte's entry
	missWhat    uint32            // missWrites and so on, and where the code is that looks it up
	near        [maxGroups]uint64 // what such groups found
	mxcsr       uint32            // the host's
	vectors     uint32            // not 0: the host's registers have the vectors and MXCSR
}

// Why generated code was left.
const (
	leftOp     = iota // op is to be interpreted
	leftTaken         // op's branch is taken, and not linked
	leftHeader        // the block of header is to be entered
	leftJump          // rip is to be looked for
	leftMissed        // as leftOp, for an access that the TLB did not answer
	leftRun           // the executor did an instruction after which all is open
)

// Executions of a block before it is compiled, and a count that is never
// reached.
const (
	hot  = 64
	cold = 1<<31 - 1
)

// Bits of crossing.missWhat, above an offset of code.
const (
	missWrites   = 1 << 31 // the access is a store
	missWritable = 1 << 30 // its page is to be writable
	missLeads    = 1 << 29 // it leads a group
	missCode     = missLeads - 1
)

// maxGroups is how many groups of accesses a block may have at a time.
const maxGroups = 8

// nativePage is the page of the block that was left.
func (c *cpu) nativePage() uint64 { return uint64(c.p.cache.ops[c.native.header].imm) }

// compilerStats counts what a compiler did.
type compilerStats struct {
	blocks, entries, flushes, clones, edgeStubs, refills uint64
	size                                                 int // bytes of code
}

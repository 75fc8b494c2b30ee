package abi

import "nvlab/vmm/observe"

// A Crossing is what passes between Go and generated code.
type Crossing struct {
	Left, Limit uint64 // instructions to go; the clock when none are
	Flags       uint64 // arithmetic ones: OF in bit 0, the others from bit 8 on, as LAHF and SETO leave them
	Op, Header  uint32 // where code was left
	Why         uint32
	RIP         uint64
	Ops, Code   uint64 // addresses of the ops and of the code
	HostSP      uint64
	Spill       uint64 // an op's own: a miss of the TLB keeps it
	Scratch     uint64
	MissPage    uint64            // of the last byte of an access that missed the TLB
	MissEntry   uint32            // offset in the TLB of its first byte's entry
	MissWhat    uint32            // MissWrites and so on, and where the code is that looks it up
	Near        [MaxGroups]uint64 // what such groups found
	MXCSR       uint32            // the host's
	Vectors     uint32            // not 0: the host's registers have the vectors and MXCSR
	X87         uint32            // not 0: the host's x87 FPU is empty, without flags, and has the guest's control word
	Stream      Stream
}

// A Stream is what code needs to note non-temporal stores of 8 bytes to a page of
// observed memory, as observe.Streamed has them, until it is left. Addresses are the
// host's. In the zero Stream there is room for none.
type Stream struct {
	Page      uint64 // guest-virtual
	Offset    uint64 // of guest-virtual address 0 in the region
	Host      uint64 // address of offset 0 of the region
	Next, End uint64 // addresses of the note to come, and of what is behind the last
	Seq       uint64 // of the instruction after which nothing is left
	Group     uint64 // what it is ahead of Seq
}

// Why generated code was left.
const (
	LeftOp     = iota // Op is to be interpreted
	LeftTaken         // Op's branch is taken, and not linked
	LeftHeader        // the block of Header is to be entered
	LeftJump          // RIP is to be looked for
	LeftMissed        // as LeftOp, for an access that the TLB did not answer
	LeftRun           // the executor did an instruction after which all is open
)

// Bits of Crossing.MissWhat, above an offset of code.
const (
	MissWrites   = 1 << 31 // the access is a store
	MissWritable = 1 << 30 // its page is to be writable
	MissLeads    = 1 << 29 // it leads a group
	MissCode     = MissLeads - 1
)

// MaxGroups is how many groups of accesses a block may have at a time.
const MaxGroups = 8

// OrderLock is what the fast path notes of an instruction with LOCK.
const OrderLock = observe.Lock

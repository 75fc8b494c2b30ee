package ir

import "nvlab/vmm/soft/x86"

// An Op is one pre-decoded operation: an instruction, a part of one, or a compare
// fused with the branch after it. It holds no pointer. Link and Gen change while
// code runs, nothing else.
type Op struct {
	Code  Opcode
	N     uint8 // instructions of the block up to and with this one
	Dst   uint8 // slots
	Src   uint8
	Base  uint8
	Index uint8
	Scale uint8
	Disp  int32
	PC    uint16 // offset in the page of the instruction's first byte
	Sel   uint8  // of branches: the generation that guards Link; of stores: their observe.Kind
	More  uint8  // instructions that it stands for beyond the first
	Imm   int64  // of branches: the target's distance from the page in the upper half
	Link  uint32 // of branches: the header of the target's block; of others: where compiled code goes on after them, or 0
	Gen   uint32 // of branches: Link is good while the generation that Sel names has this value; of plain stores: offset in the page of what follows the instruction
}

// A Header comes before the first op of a block. Branches lead to it: whoever
// enters the block counts its instructions there, and its executions.
type Header struct {
	Page   uint64 // virtual, 0 in ModeRelative
	Code   uint32 // where its compiled code is, or 0
	Heat   int32  // executions before it is compiled
	PC     uint16 // offset in the page of its first byte
	N      uint8  // instructions
	Mode   uint8
	Guards uint8 // of accesses that failed: see jit
}

// Opcode selects a case of the fast path.
type Opcode uint16

// NoPC is never the offset of an instruction.
const NoPC = ^uint16(0)

// NoGen is what links have that lead nowhere: never the value of a generation.
const NoGen = ^uint32(0)

// The generations that guard links, of which a processor has GenCount: none within a
// page, else that of the mappings of the lower or the upper half of the address
// space, or from GenPages on that of one page of the lower half, by the low bits of
// its number. What is mapped there changes with every task, and comes back: the
// generation of a page is a number for what it holds and where it is, or of what
// it holds alone if its blocks are for any address (ModeRelative). From such a
// block the place depends on where the block is: the link is good if the target's
// page is the one that has the place, with this generation.
const (
	GenNone  = 0 // of an empty entry of a jump cache: never valid
	GenSame  = 1 // always is
	GenLower = 2
	GenUpper = 3
	GenPage  = 4 // of links from ModeRelative: that of the target's page
	GenNever = 5 // of branches without a link: the target is looked up by its address
	GenPages = 128
	GenCount = 256
)

// GuardOf is the generation that guards links to an address in another page, from
// blocks that are not ModeRelative.
func GuardOf(target uint64) uint8 {
	switch {
	case target>>63 != 0:
		return GenUpper
	case straddles(target):
		return GenLower
	}
	return PlaceOf(target)
}

// PlaceOf is the place of the generation of an address' page.
func PlaceOf(va uint64) uint8 {
	return uint8(GenPages | va>>x86.PageShift&(GenCount-GenPages-1))
}

// straddles says that an instruction at an address may reach into the next
// page, and so depends on that one as well.
func straddles(va uint64) bool { return va&x86.PageMask > x86.PageSize-x86.MaxLength }

// Slots beyond those of package x86.
const (
	SlotTmp  = 19 // an address in the making
	SlotKept = 20 // and the next: what compiled code needs for the flags
	SlotPage = 22 // the page of the block at hand, if that is ModeRelative
)

// MaxBlock bounds the instructions of a block.
const MaxBlock = 64

// How many ops and instructions an arena is for. A boot makes 55,000 blocks of 13
// ops each, and making a file system 20,000 more. In an arena that is too small,
// the kernel's code is translated again and again.
const (
	MaxOps   = 1 << 21
	MaxInsts = 1 << 19
)

// An Arena is where the ops of blocks are, a header before each block's first,
// and the instructions that have no op. Index 0 of both is unused.
type Arena struct {
	Ops   []Op
	Insts []x86.Inst // of generic ops
}

// Executions of a block before it is compiled, and a count that is never
// reached.
const (
	Hot  = 64
	Cold = 1<<31 - 1
)

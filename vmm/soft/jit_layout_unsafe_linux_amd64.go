package soft

import "unsafe"

// Where generated code finds what, from the start of the processor.
const (
	offR          = unsafe.Offsetof(cpu{}.r)
	offFlags      = unsafe.Offsetof(cpu{}.flags)
	offOrdered    = unsafe.Offsetof(cpu{}.ordered)
	offGens       = unsafe.Offsetof(cpu{}.gens)
	offTSC        = unsafe.Offsetof(cpu{}.tscOffset)
	offXMM        = unsafe.Offsetof(cpu{}.fpu) + unsafe.Offsetof(fpuState{}.xmm)
	offMXCSR      = unsafe.Offsetof(cpu{}.fpu) + unsafe.Offsetof(fpuState{}.mxcsr)
	offIRR        = unsafe.Offsetof(cpu{}.apic) + unsafe.Offsetof(lapic{}.irr)
	offTLBs       = unsafe.Offsetof(cpu{}.tlbs) + unsafe.Offsetof(tlbSet{}.fast)
	offReadTag    = offTLBs + unsafe.Offsetof(tlbEntry{}.native)
	offWriteTag   = offTLBs + unsafe.Offsetof(tlbEntry{}.wtag)
	offAddend     = offTLBs + unsafe.Offsetof(tlbEntry{}.addend)
	tlbSetSize    = unsafe.Sizeof(tlbSet{})
	offJumps      = unsafe.Offsetof(cpu{}.jcs)
	jumpsSize     = unsafe.Sizeof([jcSize]jumpEntry{})
	offLandings   = unsafe.Offsetof(cpu{}.landings)
	offFilled     = unsafe.Offsetof(landings{}.filled)
	landingsSize  = unsafe.Sizeof(landings{})
	offNative     = unsafe.Offsetof(cpu{}.native)
	offLeft       = offNative + unsafe.Offsetof(crossing{}.left)
	offHostSP     = offNative + unsafe.Offsetof(crossing{}.hostSP)
	offLimit      = offNative + unsafe.Offsetof(crossing{}.limit)
	offFlagWord   = offNative + unsafe.Offsetof(crossing{}.flags)
	offExitOp     = offNative + unsafe.Offsetof(crossing{}.op)
	offExitHeader = offNative + unsafe.Offsetof(crossing{}.header)
	offExitWhy    = offNative + unsafe.Offsetof(crossing{}.why)
	offExitRIP    = offNative + unsafe.Offsetof(crossing{}.rip)
	offOps        = offNative + unsafe.Offsetof(crossing{}.ops)
	offCode       = offNative + unsafe.Offsetof(crossing{}.code)
	offHostMXCSR  = offNative + unsafe.Offsetof(crossing{}.mxcsr)
	offVectors    = offNative + unsafe.Offsetof(crossing{}.vectors)
	offSpill      = offNative + unsafe.Offsetof(crossing{}.spill)
	offScratch    = offNative + unsafe.Offsetof(crossing{}.scratch)
	offMissPage   = offNative + unsafe.Offsetof(crossing{}.missPage)
	offMissEntry  = offNative + unsafe.Offsetof(crossing{}.missEntry)
	offMissWhat   = offNative + unsafe.Offsetof(crossing{}.missWhat)
	offNear       = offNative + unsafe.Offsetof(crossing{}.near)

	offOpGen  = int32(unsafe.Offsetof(op{}.gen))
	offOpLink = int32(unsafe.Offsetof(op{}.link))
	offOpN    = int32(unsafe.Offsetof(op{}.n))
	opShift   = 5

	offJumpRIP  = unsafe.Offsetof(jumpEntry{}.rip)
	offJumpGen  = unsafe.Offsetof(jumpEntry{}.gen)
	offJumpLink = unsafe.Offsetof(jumpEntry{}.link)
	jumpShift   = 4

	offLandingRIP  = unsafe.Offsetof(landing{}.rip)
	offLandingCode = unsafe.Offsetof(landing{}.code)
)

// Sizes that shifts stand for.
var (
	_ [0]struct{} = [opSize - 1<<opShift]struct{}{}
	_ [0]struct{} = [unsafe.Sizeof(jumpEntry{}) - 1<<jumpShift]struct{}{}
	_ [0]struct{} = [unsafe.Sizeof(landing{}) - 16]struct{}{}
	_ [0]struct{} = [unsafe.Sizeof(tlbEntry{}) - 1<<tlbShift]struct{}{}
)

// enterCode calls thunk, generated code, with the processor and a target.
//
//go:noescape
func enterCode(c unsafe.Pointer, thunk, target uintptr)

// Code has left less maxBlock: a branch to a block, whatever its length, need
// but look at the sign.
func (c *cpu) enterCode(thunk, target uintptr) {
	c.native.left -= maxBlock
	enterCode(unsafe.Pointer(c), thunk, target)
	c.native.left += maxBlock
}

func (b *blockCache) opsAddr() uintptr { return uintptr(unsafe.Pointer(unsafe.SliceData(b.ops))) }

// addrOf is the address of a mapping.
func addrOf(b []byte) uintptr { return uintptr(unsafe.Pointer(unsafe.SliceData(b))) }

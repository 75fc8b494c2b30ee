package jit

import (
	"unsafe"

	"nvlab/vmm/observe"
	"nvlab/vmm/soft/abi"
	"nvlab/vmm/soft/ir"
)

// Offsets of fields in what layout says the places of.
const (
	offLeft       = unsafe.Offsetof(abi.Crossing{}.Left)
	offHostSP     = unsafe.Offsetof(abi.Crossing{}.HostSP)
	offLimit      = unsafe.Offsetof(abi.Crossing{}.Limit)
	offFlagWord   = unsafe.Offsetof(abi.Crossing{}.Flags)
	offExitOp     = unsafe.Offsetof(abi.Crossing{}.Op)
	offExitHeader = unsafe.Offsetof(abi.Crossing{}.Header)
	offExitWhy    = unsafe.Offsetof(abi.Crossing{}.Why)
	offExitRIP    = unsafe.Offsetof(abi.Crossing{}.RIP)
	offOps        = unsafe.Offsetof(abi.Crossing{}.Ops)
	offCode       = unsafe.Offsetof(abi.Crossing{}.Code)
	offHostMXCSR  = unsafe.Offsetof(abi.Crossing{}.MXCSR)
	offVectors    = unsafe.Offsetof(abi.Crossing{}.Vectors)
	offX87        = unsafe.Offsetof(abi.Crossing{}.X87)
	offSpill      = unsafe.Offsetof(abi.Crossing{}.Spill)
	offScratch    = unsafe.Offsetof(abi.Crossing{}.Scratch)
	offMissPage   = unsafe.Offsetof(abi.Crossing{}.MissPage)
	offMissEntry  = unsafe.Offsetof(abi.Crossing{}.MissEntry)
	offMissWhat   = unsafe.Offsetof(abi.Crossing{}.MissWhat)
	offNear       = unsafe.Offsetof(abi.Crossing{}.Near)

	offStreamPage   = unsafe.Offsetof(abi.Crossing{}.Stream) + unsafe.Offsetof(abi.Stream{}.Page)
	offStreamOffset = unsafe.Offsetof(abi.Crossing{}.Stream) + unsafe.Offsetof(abi.Stream{}.Offset)
	offStreamHost   = unsafe.Offsetof(abi.Crossing{}.Stream) + unsafe.Offsetof(abi.Stream{}.Host)
	offStreamNext   = unsafe.Offsetof(abi.Crossing{}.Stream) + unsafe.Offsetof(abi.Stream{}.Next)
	offStreamEnd    = unsafe.Offsetof(abi.Crossing{}.Stream) + unsafe.Offsetof(abi.Stream{}.End)
	offStreamSeq    = unsafe.Offsetof(abi.Crossing{}.Stream) + unsafe.Offsetof(abi.Stream{}.Seq)
	offStreamGroup  = unsafe.Offsetof(abi.Crossing{}.Stream) + unsafe.Offsetof(abi.Stream{}.Group)

	sizeStreamed   = unsafe.Sizeof(observe.Streamed{})
	offNotedSeq    = unsafe.Offsetof(observe.Streamed{}.Seq)
	offNotedPC     = unsafe.Offsetof(observe.Streamed{}.PC)
	offNotedOffset = unsafe.Offsetof(observe.Streamed{}.Offset)
	offNotedValue  = unsafe.Offsetof(observe.Streamed{}.Value)
	offNotedOld    = unsafe.Offsetof(observe.Streamed{}.Old)
	offNotedGroup  = unsafe.Offsetof(observe.Streamed{}.Group)

	offReadTag  = unsafe.Offsetof(abi.TLBEntry{}.Native)
	offWriteTag = unsafe.Offsetof(abi.TLBEntry{}.WTag)
	offAddend   = unsafe.Offsetof(abi.TLBEntry{}.Addend)

	offJumpRIP  = unsafe.Offsetof(abi.JumpEntry{}.RIP)
	offJumpGen  = unsafe.Offsetof(abi.JumpEntry{}.Gen)
	offJumpLink = unsafe.Offsetof(abi.JumpEntry{}.Link)

	offLandingRIP  = unsafe.Offsetof(abi.Landing{}.RIP)
	offLandingCode = unsafe.Offsetof(abi.Landing{}.Code)
	offFilled      = unsafe.Offsetof(abi.Landings{}.Filled)

	offHeaderCode = int32(unsafe.Offsetof(ir.Header{}.Code))
	offOpN        = int32(unsafe.Offsetof(ir.Op{}.N))
)

// enter calls thunk, generated code, with the processor and a target.
//
//go:noescape
func enter(c unsafe.Pointer, thunk, target uintptr)

// Run enters the code at an offset, and returns when it is left. The processor
// at c is of the compiler's layout.
func (n *Compiler) Run(c unsafe.Pointer, at uint32) {
	enter(c, n.Base()+uintptr(n.way()), n.Base()+uintptr(at))
}

// addrOf is the address of a mapping.
func addrOf(b []byte) uintptr { return uintptr(unsafe.Pointer(unsafe.SliceData(b))) }

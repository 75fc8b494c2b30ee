package soft

import (
	"unsafe"

	"nvlab/vmm/soft/abi"
	"nvlab/vmm/soft/apic"
	"nvlab/vmm/soft/ir"
	"nvlab/vmm/soft/jit"
)

// codeLayout is where compiled code finds what of a processor.
var codeLayout = abi.Layout{
	R:        unsafe.Offsetof(cpu{}.r),
	Flags:    unsafe.Offsetof(cpu{}.flags),
	Ordered:  unsafe.Offsetof(cpu{}.ordered),
	Gens:     unsafe.Offsetof(cpu{}.gens),
	TSC:      unsafe.Offsetof(cpu{}.tscOffset),
	XMM:      unsafe.Offsetof(cpu{}.fpu) + unsafe.Offsetof(fpuState{}.xmm),
	MXCSR:    unsafe.Offsetof(cpu{}.fpu) + unsafe.Offsetof(fpuState{}.mxcsr),
	KernelGS: unsafe.Offsetof(cpu{}.msr) + unsafe.Offsetof(msrs{}.kernelGS),
	Users:    unsafe.Offsetof(cpu{}.tlbs) + unsafe.Offsetof(tlbSet{}.users) + unsafe.Sizeof(uintptr(0)), // the length
	IRR:      unsafe.Offsetof(cpu{}.apic) + unsafe.Offsetof(apic.APIC{}.IRR),

	TLB:            unsafe.Offsetof(cpu{}.tlbs) + unsafe.Offsetof(tlbSet{}.fast),
	TLBStride:      unsafe.Sizeof(tlbSet{}),
	Jumps:          unsafe.Offsetof(cpu{}.jcs),
	JumpsStride:    unsafe.Sizeof([abi.JumpCacheSize]abi.JumpEntry{}),
	Landings:       unsafe.Offsetof(cpu{}.landings),
	LandingsStride: unsafe.Sizeof(abi.Landings{}),
	Crossing:       unsafe.Offsetof(cpu{}.native),
}

// runCode enters compiled code at an offset, and returns when it is left. Code has
// left less ir.MaxBlock: a branch to a block, whatever its length, need but look at
// the sign.
func (c *cpu) runCode(n *jit.Compiler, at uint32) {
	c.native.Left -= ir.MaxBlock
	n.Run(unsafe.Pointer(c), at)
	c.native.Left += ir.MaxBlock
}

func (b *blockCache) opsAddr() uintptr { return uintptr(unsafe.Pointer(unsafe.SliceData(b.Ops))) }

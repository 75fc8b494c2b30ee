package soft

import (
	"unsafe"

	"nvlab/vmm/soft/abi"
	"nvlab/vmm/soft/apic"
	"nvlab/vmm/soft/fp"
	"nvlab/vmm/soft/ir"
	"nvlab/vmm/soft/jit"
)

// codeLayout is where compiled code finds what of a processor.
var codeLayout = abi.Layout{
	R:       unsafe.Offsetof(cpu{}.r),
	Flags:   unsafe.Offsetof(cpu{}.flags),
	Ordered: unsafe.Offsetof(cpu{}.ordered),
	Gens:    unsafe.Offsetof(cpu{}.gens),
	Pages:   unsafe.Offsetof(cpu{}.pages),
	TSC:     unsafe.Offsetof(cpu{}.tscOffset),
	XMM:     unsafe.Offsetof(cpu{}.fpu) + unsafe.Offsetof(fpuState{}.xmm),
	MXCSR:   unsafe.Offsetof(cpu{}.fpu) + unsafe.Offsetof(fpuState{}.mxcsr),
	X87: abi.X87Layout{
		R:   offX87 + unsafe.Offsetof(fp.X87{}.R),
		CW:  offX87 + unsafe.Offsetof(fp.X87{}.CW),
		SW:  offX87 + unsafe.Offsetof(fp.X87{}.SW),
		Tag: offX87 + unsafe.Offsetof(fp.X87{}.Tag),
		FOP: offX87 + unsafe.Offsetof(fp.X87{}.FOP),
		FIP: offX87 + unsafe.Offsetof(fp.X87{}.FIP),
		FDP: offX87 + unsafe.Offsetof(fp.X87{}.FDP),
	},
	KernelGS: unsafe.Offsetof(cpu{}.msr) + unsafe.Offsetof(msrs{}.kernelGS),
	Users:    unsafe.Offsetof(cpu{}.tlbs) + unsafe.Offsetof(tlbSet{}.users) + unsafe.Sizeof(uintptr(0)), // the length
	IRR:      unsafe.Offsetof(cpu{}.apic) + unsafe.Offsetof(apic.APIC{}.IRR),

	Selectors:       unsafe.Offsetof(cpu{}.seg) + unsafe.Offsetof(segment{}.sel),
	SelectorsStride: unsafe.Sizeof(segment{}),

	TLB:            unsafe.Offsetof(cpu{}.tlbs) + unsafe.Offsetof(tlbSet{}.fast),
	TLBStride:      unsafe.Sizeof(tlbSet{}),
	Jumps:          unsafe.Offsetof(cpu{}.jcs),
	JumpsStride:    unsafe.Sizeof([abi.JumpCacheSize]abi.JumpEntry{}),
	Landings:       unsafe.Offsetof(cpu{}.landings),
	LandingsStride: unsafe.Sizeof(abi.Landings{}),
	Crossing:       unsafe.Offsetof(cpu{}.native),
}

const offX87 = unsafe.Offsetof(cpu{}.fpu) + unsafe.Offsetof(fpuState{}.x87)

// Compiled code takes a register of the x87 FPU for 16 bytes, the first ten of
// which are a number as the host has it in memory.
var (
	_ [0]struct{} = [unsafe.Sizeof(fp.F80{}) - 16]struct{}{}
	_ [0]struct{} = [unsafe.Offsetof(fp.F80{}.Sig)]struct{}{}
	_ [0]struct{} = [unsafe.Offsetof(fp.F80{}.SE) - 8]struct{}{}
)

// runCode enters compiled code at an offset, and returns when it is left. Code has
// left less ir.MaxBlock: a branch to a block, whatever its length, need but look at
// the sign.
func (c *cpu) runCode(n *jit.Compiler, at uint32) {
	c.native.Left -= ir.MaxBlock
	c.native.X87 = 0 // the thread may be another, and the control word
	n.Run(unsafe.Pointer(c), at)
	c.native.Left += ir.MaxBlock
}

func (b *blockCache) opsAddr() uintptr { return uintptr(unsafe.Pointer(unsafe.SliceData(b.Ops))) }

package jit

import "nvlab/vmm/soft/jit/asm"

// Operands that are fields of the processor.

// inCPU is a field of the processor, at an offset.
func inCPU(off uintptr) asm.Arg { return asm.Mem(hCPU, int32(off)) }

// memorySlot is a guest register that lives in memory.
func (t *translator) memorySlot(slot uint8) asm.Arg { return inCPU(t.cpu.R + 8*uintptr(slot)) }

// crossing is a field of what passes between Go and code.
func (t *translator) crossing(off uintptr) asm.Arg { return inCPU(t.cpu.Crossing + off) }

// tlb is where the field at an offset of the TLB's first entry is.
func (t *translator) tlb(off uintptr) uintptr {
	return t.cpu.TLB + uintptr(t.set)*t.cpu.TLBStride + off
}

// landings is where those of the privilege are.
func (t *translator) landings() uintptr { return t.cpu.Landings + uintptr(t.set)*t.cpu.LandingsStride }

package jit

import "nvlab/vmm/soft/jit/asm"

// What host registers are for. Guest x86.RAX to r10 live in the registers of the
// same number but for x86.RSP, which lives in hSP; guest r11 to r15 live in memory
// but for one at a time, in hCached.
const (
	hAX     = 0
	hCX     = 1
	hDX     = 2
	hCPU    = 4 // the processor: code uses no stack
	hLeft   = 11
	hSP     = 12 // guest x86.RSP
	hCached = 13 // see cachedSlot
	hA      = 14 // scratch
	hB      = 15

	ownRegister = 11 // guest registers below have one
)

// assemble writes code from an offset on.
func assemble(code []byte, pos int) asm.Assembler {
	return asm.Assembler{Code: code, Pos: pos, OK: true, Watched: hB}
}

#include "textflag.h"

// func enter(c unsafe.Pointer, thunk, target uintptr)
//
// The thunk takes the processor in R13 and where to go in R14. BP is restored
// by the frame; the ABI wrapper restores R14 and X15.
TEXT ·enter(SB), NOSPLIT, $128-24
	MOVQ c+0(FP), R13
	MOVQ thunk+8(FP), AX
	MOVQ target+16(FP), R14
	CALL AX
	RET

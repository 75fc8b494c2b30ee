#include "textflag.h"

// func flushLines(p *byte, n uintptr)
//
// CLFLUSH is of SSE2, so that every amd64 CPU has it. On AMD's processors only
// MFENCE completes it, and it may miss a store that is still in the store
// buffer (AMD64 APM volume 3, CLFLUSH).
TEXT ·flushLines(SB), NOSPLIT, $0-16
	MOVQ p+0(FP), AX
	MOVQ n+8(FP), CX
	ADDQ AX, CX
	ANDQ $~63, AX
	MFENCE

line:
	CMPQ    AX, CX
	JAE     done
	CLFLUSH (AX)
	ADDQ    $64, AX
	JMP     line

done:
	MFENCE
	RET

#include "textflag.h"

// func call(code uintptr)
TEXT ·call(SB), NOSPLIT, $8-8
	MOVQ code+0(FP), AX
	CALL AX
	RET

package abi

import "unsafe"

// Sizes that shifts stand for.
var (
	_ [0]struct{} = [unsafe.Sizeof(JumpEntry{}) - 1<<JumpShift]struct{}{}
	_ [0]struct{} = [unsafe.Sizeof(Landing{}) - 16]struct{}{}
	_ [0]struct{} = [unsafe.Sizeof(TLBEntry{}) - 1<<TLBShift]struct{}{}
)

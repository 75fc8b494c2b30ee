// Package jit compiles blocks of ops to host code, on linux/amd64. It knows
// nothing of the processor but where its fields are.
//
// Its parts, a file each:
//
//	jit         the memory that holds code, and what blocks are in it
//	translate   a block, from its ops; these are in binary, unary, misc, stack
//	            and vector, and instructions that have no op in direct
//	registers   which host register holds what
//	flags       where the arithmetic flags are, and how to compute them again
//	cached      the register that r11 to r15 share
//	values      what registers hold, as far as it is known, for
//	groups      memory accesses that share one look into the TLB
//	miss        what the TLB does not answer
//	edgestub    branches within a page, with flags that need not be saved
//	jumps       branches to other pages, and to addresses in registers
package jit

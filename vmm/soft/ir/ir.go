// Package ir is the intermediate language between guest instructions and what
// runs them: ops, the table of what is known of each, and the lowering of a block
// of instructions into ops. The interpreter and the compiler read the same ops.
package ir

// Package abi is the memory that compiled code, the interpreter and the rest of
// the processor share: entries of the TLB and of jump caches, and what passes
// when compiled code is entered and left. Compiled code finds it at offsets.
package abi

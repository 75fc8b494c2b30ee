// Package native runs instructions on the host's processor, for tests that
// compare with it.
package native

// State is what an instruction reads and writes besides memory.
type State struct {
	R     [16]uint64 // RSP is the host's, whatever is here
	Flags uint64
	XMM   [16][2]uint64
	MXCSR uint32
}

package ir

import "unsafe"

// OpSize is the size of an op in bytes, and OpShift its binary logarithm.
const (
	OpSize  = unsafe.Sizeof(Op{})
	OpShift = 5
)

var (
	_ [0]struct{} = [OpSize - 1<<OpShift]struct{}{}
	_ [0]struct{} = [OpSize - unsafe.Sizeof(headerSlot{})]struct{}{}
)

// headerSlot is a header with the room of an op.
type headerSlot struct {
	Header
	_ [8]byte
}

// Header is the header at an index of Ops.
func (a *Arena) Header(i uint32) *Header { return (*Header)(unsafe.Pointer(&a.Ops[i])) }

package abi

// TLBSize is the number of entries of a privilege, TLBShift the binary
// logarithm of an entry's size, and TLBIndex what of a page's number, shifted
// that far, is the offset of its entry.
const (
	TLBSize  = 1 << 12
	TLBShift = 5
	TLBIndex = (TLBSize - 1) << TLBShift
)

// TLBEntry is what the fast path looks at. A tag is the virtual page, or
// NoTag. Adding Addend to a virtual address gives the host's.
type TLBEntry struct {
	RTag, WTag uint64
	Addend     uint64
	Native     uint64 // RTag, but for memory that can go away, at which compiled code must not look
}

// NoTag is no page's address, nor that of a page with any of the four lowest bits set,
// which compiled code compares where an access has to be aligned.
const NoTag = 1 << 4

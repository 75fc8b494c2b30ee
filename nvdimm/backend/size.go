package backend

import (
	"fmt"
	"math/bits"
	"nvlab/internal/units"
)

// PageSize is the unit of backends, mappings and alignments, in bytes: that of
// the guest, whatever the host's.
const PageSize = 4096

// checkSize says whether a backend of a QEMU object type can have a size.
func checkSize(object string, size uint64) error {
	down := units.Down(size, PageSize)
	switch {
	case size == 0:
		return fmt.Errorf("property 'size' of %s doesn't take value '0': the smallest is 4KiB", object)
	case size < PageSize:
		return fmt.Errorf("memory size %#x must be equal to or larger than page size %#x: the nearest is 4KiB", size, PageSize)
	case size%PageSize != 0:
		return fmt.Errorf("backend '%s' memory size must be multiple of 4 KiB: size is %d, the nearest are %s and %s",
			object, size, units.Size(down), units.Size(down+PageSize))
	case size > MaxSize:
		return fmt.Errorf("memory size %#x is larger than an address space: the largest is %s", size, units.Size(MaxSize))
	}
	return nil
}

// MaxSize is the largest backend: what 48 bits of a guest's address reach.
const MaxSize = 1 << 48

// checkAlign says whether a backend can have an alignment. 0 is the default.
func checkAlign(align uint64) error {
	if align == 0 || align%PageSize == 0 && align&(align-1) == 0 {
		return nil
	}
	down := max(PageSize, uint64(1)<<(bits.Len64(align)-1))
	if align%PageSize != 0 {
		return fmt.Errorf("alignment %#x must be multiples of page size %#x: the nearest power of two is %s", align, PageSize, units.Size(down))
	}
	return fmt.Errorf("alignment %#x must be a power of two: the nearest below is %s", align, units.Size(down))
}

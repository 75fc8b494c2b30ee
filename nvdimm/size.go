package nvdimm

import (
	"fmt"
	"math/bits"
)

// PageSize is the unit of backends, mappings and alignments, in bytes: that of
// the guest, whatever the host's.
const PageSize = 4096

func alignDown(n, align uint64) uint64 { return n &^ (align - 1) }

// alignUp reports false if the result does not fit.
func alignUp(n, align uint64) (uint64, bool) {
	up := alignDown(n+align-1, align)
	return up, up >= n
}

// sizeText is a size in the largest binary unit that divides it, as "64MiB".
func sizeText(n uint64) string {
	units := []string{"", "KiB", "MiB", "GiB", "TiB"}
	i := 0
	for n != 0 && n%1024 == 0 && i < len(units)-1 {
		n /= 1024
		i++
	}
	return fmt.Sprintf("%d%s", n, units[i])
}

// checkSize says whether a backend of a QEMU object type can have a size.
func checkSize(object string, size uint64) error {
	down := alignDown(size, PageSize)
	switch {
	case size == 0:
		return fmt.Errorf("property 'size' of %s doesn't take value '0': the smallest is 4KiB", object)
	case size < PageSize:
		return fmt.Errorf("memory size %#x must be equal to or larger than page size %#x: the nearest is 4KiB", size, PageSize)
	case size%PageSize != 0:
		return fmt.Errorf("backend '%s' memory size must be multiple of 4 KiB: size is %d, the nearest are %s and %s",
			object, size, sizeText(down), sizeText(down+PageSize))
	case size > maxSize:
		return fmt.Errorf("memory size %#x is larger than an address space: the largest is %s", size, sizeText(maxSize))
	}
	return nil
}

// maxSize is the largest backend: what 48 bits of a guest's address reach.
const maxSize = 1 << 48

// checkAlign says whether a backend can have an alignment. 0 is the default.
func checkAlign(align uint64) error {
	if align == 0 || align%PageSize == 0 && align&(align-1) == 0 {
		return nil
	}
	down := max(PageSize, uint64(1)<<(bits.Len64(align)-1))
	if align%PageSize != 0 {
		return fmt.Errorf("alignment %#x must be multiples of page size %#x: the nearest power of two is %s", align, PageSize, sizeText(down))
	}
	return fmt.Errorf("alignment %#x must be a power of two: the nearest below is %s", align, sizeText(down))
}

package vmm

import (
	"fmt"
	"io"
)

// RAM is a machine's memory by guest-physical address: the part below 4 GiB
// and the part above. An access must lie in one of them entirely. It knows no
// memory device.
type RAM struct {
	backing
	low   uint64 // bytes from address 0; the rest starts at 4 GiB
	wrote func(base, size uint64)
}

// newRAM makes size bytes of zeros, low of them below 4 GiB.
func newRAM(size, low uint64) (*RAM, error) {
	b, err := allocate(size)
	if err != nil {
		return nil, err
	}
	return &RAM{backing: b, low: low}, nil
}

var (
	_ io.ReaderAt = (*RAM)(nil)
	_ io.WriterAt = (*RAM)(nil)
)

// slice is the memory at addr, or nil where not all of it is RAM.
func (r *RAM) slice(addr, size uint64) []byte {
	if addr >= highBase {
		if high := uint64(len(r.mem)) - r.low; addr-highBase <= high && size <= high-(addr-highBase) {
			at := r.low + addr - highBase
			return r.mem[at : at+size : at+size]
		}
		return nil
	}
	if addr <= r.low && size <= r.low-addr {
		return r.mem[addr : addr+size : addr+size]
	}
	return nil
}

// Touched are the parts that hold anything but the zeros of power-on, and what
// lies close to them: to read the rest would only make the host find memory
// for it.
func (r *RAM) Touched() []Range {
	var list []Range
	for from := int64(0); from < int64(len(r.mem)); {
		start, end, ok := r.data(from)
		if !ok {
			break
		}
		from = end
		if start, end := uint64(start), uint64(end); start < r.low && end > r.low {
			list = append(list, Range{start, r.low - start}, Range{highBase, end - r.low})
		} else if start >= r.low {
			list = append(list, Range{highBase + start - r.low, end - start})
		} else {
			list = append(list, Range{start, end - start})
		}
	}
	return list
}

// ReadAt fills p from guest-physical address addr.
func (r *RAM) ReadAt(p []byte, addr int64) (int, error) {
	m := r.slice(uint64(addr), uint64(len(p)))
	if addr < 0 || m == nil {
		return 0, notRAM(len(p), addr)
	}
	return copy(p, m), nil
}

// WriteAt copies p to guest-physical address addr.
func (r *RAM) WriteAt(p []byte, addr int64) (int, error) {
	m := r.slice(uint64(addr), uint64(len(p)))
	if addr < 0 || m == nil {
		return 0, notRAM(len(p), addr)
	}
	n := copy(m, p)
	if r.wrote != nil {
		r.wrote(uint64(addr), uint64(n))
	}
	return n, nil
}

func notRAM(n int, addr int64) error {
	return fmt.Errorf("%d bytes at guest-physical %#x are not all memory", n, uint64(addr))
}

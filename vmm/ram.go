package vmm

import (
	"errors"
	"fmt"
	"io"
	"slices"

	"nvlab/internal/cow"
)

// RAM is a machine's memory by guest-physical address: the part below 4 GiB,
// the part above, and what is in slots. An access must lie in one of them
// entirely. It knows no other memory device.
type RAM struct {
	parts []ramPart // those of Layout first
	wrote func(base, size uint64)
	reads func(base, size uint64) // nil if nobody wants to know
}

type ramPart struct {
	base uint64
	mem  *cow.Memory
}

// newRAM makes zeros at those ranges.
func newRAM(ranges []Range) (*RAM, error) {
	ram := &RAM{}
	for _, r := range ranges {
		mem, err := cow.NewReused(r.Size)
		if err != nil {
			return nil, errors.Join(err, ram.close())
		}
		ram.parts = append(ram.parts, ramPart{r.Base, mem})
	}
	return ram, nil
}

var (
	_ io.ReaderAt = (*RAM)(nil)
	_ io.WriterAt = (*RAM)(nil)
)

// slice is the memory at addr, or nil where not all of it is RAM, and the part
// that it is of.
func (r *RAM) slice(addr, size uint64) ([]byte, *ramPart) {
	for i := range r.parts {
		p := &r.parts[i]
		mem := p.mem.Bytes()
		if at := addr - p.base; at <= uint64(len(mem)) && size <= uint64(len(mem))-at && mem != nil {
			return mem[at : at+size : at+size], p
		}
	}
	return nil, nil
}

// part is the one at an address, nil if none begins there.
func (r *RAM) part(base uint64) *ramPart {
	if i := slices.IndexFunc(r.parts, func(p ramPart) bool { return p.base == base }); i >= 0 {
		return &r.parts[i]
	}
	return nil
}

// cut takes the part at an address out, and returns its memory.
func (r *RAM) cut(base uint64) *cow.Memory {
	i := slices.IndexFunc(r.parts, func(p ramPart) bool { return p.base == base })
	mem := r.parts[i].mem
	r.parts = slices.Delete(r.parts, i, i+1)
	return mem
}

// low is the memory from address 0, for what happens before the first Freeze.
func (r *RAM) low() []byte { return r.parts[0].mem.Bytes() }

// Touched are the parts that hold anything but the zeros of power-on, and what
// lies close to them: to read the rest would only make the host find memory
// for it.
func (r *RAM) Touched() []Range {
	var list []Range
	for _, p := range r.parts {
		for _, t := range p.mem.Touched() {
			list = append(list, Range{p.base + t.Offset, t.Size})
		}
	}
	return list
}

// ReadAt fills p from guest-physical address addr.
func (r *RAM) ReadAt(p []byte, addr int64) (int, error) {
	m, _ := r.slice(uint64(addr), uint64(len(p)))
	if addr < 0 || m == nil {
		return 0, notRAM(len(p), addr)
	}
	r.told(uint64(addr), uint64(len(p)))
	return copy(p, m), nil
}

// WriteAt copies p to guest-physical address addr.
func (r *RAM) WriteAt(p []byte, addr int64) (int, error) {
	m, part := r.slice(uint64(addr), uint64(len(p)))
	if addr < 0 || m == nil {
		return 0, notRAM(len(p), addr)
	}
	part.mem.Dirty().AddRange(uint64(addr)-part.base, uint64(len(p)))
	n := copy(m, p)
	r.tell(uint64(addr), uint64(n))
	return n, nil
}

// tell has the processors know of memory that they did not store to.
func (r *RAM) tell(base, size uint64) {
	if r.wrote != nil {
		r.wrote(base, size)
	}
}

// told has the processors know that somebody else reads memory.
func (r *RAM) told(base, size uint64) {
	if r.reads != nil {
		r.reads(base, size)
	}
}

// close gives the memory back. Closing twice does nothing.
func (r *RAM) close() error {
	var errs []error
	for _, p := range r.parts {
		errs = append(errs, p.mem.Close())
	}
	return errors.Join(errs...)
}

func notRAM(n int, addr int64) error {
	return fmt.Errorf("%d bytes at guest-physical %#x are not all memory", n, uint64(addr))
}

package nvdimm

import (
	"cmp"
	"fmt"
	"iter"
	"slices"

	"nvlab/internal/units"
	"nvlab/nvdimm/backend"
	"nvlab/nvdimm/firmware"
)

const (
	// slotRoom is the room in the window that each slot adds for alignment.
	slotRoom = 1 << 30

	// addressAlign is the least alignment that DIMMs are given. QEMU packs
	// them to their own; behind one whose size is odd, as a label area makes
	// it, Linux then finds the next one misaligned and makes no fsdax or
	// devdax namespace there (memremap_compat_align is at most 16 MiB).
	addressAlign = 16 << 20
)

// total is the size of all memory devices that maxmem has room for: NVDIMMs and
// RAM in slots. Initial RAM takes no slot, and maxmem has Memory in it.
func (r *Root) total() uint64 {
	if r.config.MaxMem == 0 {
		return 0
	}
	return r.config.MaxMem - r.config.Memory
}

// window is the guest-physical range for memory devices.
func (r *Root) window() (base, end uint64) {
	base = r.config.Base
	end = base + r.total() + uint64(r.config.Slots)*slotRoom
	if r.config.Limit > 0 {
		end = min(end, max(r.config.Limit, base))
	}
	return base, end
}

// A Span is a range of guest-physical addresses that a memory device takes, or
// an interleave set.
type Span struct {
	Addr, Size uint64
	Node       int
	id         string
	Persistent bool // else it is RAM
}

// Spans are the ranges of all memory devices, by address.
func (r *Root) Spans() []Span { return r.taken() }

// taken lists the ranges of the memory devices, except some, by address. An interleave
// set has one.
func (r *Root) taken(except ...*DIMM) []Span {
	var list []Span
	for _, d := range r.dimms {
		if slices.Contains(except, d) || d.set != nil && d.set.members[0] != d {
			continue
		}
		s := Span{d.addr, d.size, d.node, d.id, true}
		if d.set != nil {
			s.Size = d.set.size()
		}
		list = append(list, s)
	}
	for _, m := range r.memory {
		list = append(list, Span{m.Addr, m.Size, m.Node, m.ID, false})
	}
	slices.SortFunc(list, func(a, b Span) int { return cmp.Compare(a.Addr, b.Addr) })
	return list
}

// place finds an address for a new device, a multiple of least at least, or
// checks the one that is wanted (QEMU hw/mem/memory-device.c, memory_device_get_free_addr).
func (r *Root) place(size, align, least uint64, want *uint64) (uint64, error) {
	used := uint64(0)
	for _, d := range r.dimms {
		used += d.size
	}
	for _, m := range r.memory {
		used += m.Size
	}
	if total := r.total(); size > total-used {
		err := fmt.Errorf("not enough space, currently %#x in use of total space for memory devices %#x", used, total)
		if want, fits := units.Up(r.config.Memory+used+size, backend.PageSize); fits {
			err = fmt.Errorf("%w: this DIMM of %#x bytes needs maxmem of at least %s", err, size, units.Size(want))
		}
		return 0, err
	}
	if want != nil && *want != 0 {
		return *want, r.checkAddress(*want, size, align)
	}
	return r.lowest(size, max(align, least), r.taken())
}

// lowest is the first address at which a range fits between others.
func (r *Root) lowest(size, align uint64, taken []Span) (uint64, error) {
	base, end := r.window()
	addr, ok := units.Up(base, align)
	for _, s := range taken {
		if !ok || addr+size <= s.Addr {
			break
		}
		addr, ok = units.Up(max(addr, s.Addr+s.Size), align)
	}
	if !ok || addr > end || size > end-addr {
		return 0, fmt.Errorf("could not find position in guest address space for memory device - memory fragmented due to alignments: %#x bytes at a multiple of %#x within [%#x:%#x]", size, align, base, end)
	}
	return addr, nil
}

// Poisoned lists the lines that cannot be read by their addresses, of all DIMMs.
func (r *Root) Poisoned() iter.Seq[uint64] {
	return func(yield func(uint64) bool) {
		for _, d := range r.dimms {
			if d.management.Security.Locked {
				continue // nobody reads it
			}
			for _, p := range d.management.Poison {
				for offset := p.Offset; offset < p.Offset+p.Length; offset += firmware.LineSize {
					if !yield(d.address(offset)) {
						return
					}
				}
			}
		}
	}
}

// checkAddress is the case of a given address. The ranges in QEMU's texts are
// start and size.
func (r *Root) checkAddress(addr, size, align uint64) error {
	base, end := r.window()
	if addr%align != 0 {
		down := units.Down(addr, align)
		return fmt.Errorf("address must be aligned to %#x bytes: addr is %#x, the nearest are %#x and %#x", align, addr, down, down+align)
	}
	if addr < base || addr > end || size > end-addr {
		return fmt.Errorf("can't add memory device [%#x:%#x], usable range for memory devices [%#x:%#x]: addr is at least %#x and at most %#x", addr, size, base, end-base, base, units.Down(end-min(size, end-base), align))
	}
	for _, s := range r.taken() {
		if addr < s.Addr+s.Size && s.Addr < addr+size {
			return fmt.Errorf("address range conflicts with memory device id='%s': it is at [%#x:%#x]", s.id, s.Addr, s.Size)
		}
	}
	return nil
}

package nvdimm

import (
	"fmt"
	"iter"
	"slices"

	"nvlab/acpi"
	"nvlab/internal/pages"
	"nvlab/internal/units"
	"nvlab/nvdimm/backend"
)

// set is an interleave set: DIMMs that share a range of addresses, of which
// they hold a line each in turn.
type set struct {
	members []*DIMM
	line    uint64 // bytes
}

func (s *set) size() uint64 { return uint64(len(s.members)) * s.members[0].size }

// Each line of an interleave set is a piece of memory of its own to the machine,
// which KVM has 32,764 of. A DIMM may have MaxLines, and more as long as those of its
// set are MaxSetLines at most.
const (
	MaxLines    = 1024
	MaxSetLines = 1 << 14
)

// maxLines is how many lines a DIMM of a set of so many may have.
func maxLines(ways int) uint64 { return uint64(max(MaxLines, MaxSetLines/ways)) }

// DefaultLine is the line of a set of DIMMs of a size, in bytes, if none is given: 2
// MiB, less of DIMMs that it does not divide, and more of large ones, as long as
// it divides them.
func DefaultLine(size uint64) uint64 {
	line := min(2<<20, size&-size)
	for size/line > MaxLines && size%(2*line) == 0 {
		line *= 2
	}
	return line
}

// Interleave makes one range of addresses, and so one region, of DIMMs of one
// size, each of which holds every nth line. The range is where the first of
// them would be if it came last. Line is in bytes.
func (r *Root) Interleave(dimms []*DIMM, line uint64) error {
	if len(dimms) < 2 {
		return fmt.Errorf("an interleave set of %d: it has at least 2 DIMMs", len(dimms))
	}
	first := dimms[0]
	align := uint64(addressAlign)
	for i, d := range dimms {
		switch {
		case !slices.Contains(r.dimms, d):
			return fmt.Errorf("DIMM %s is not plugged into this machine", d.id)
		case slices.Contains(dimms[:i], d):
			return fmt.Errorf("DIMM %s is given twice", d.id)
		case d.set != nil:
			return fmt.Errorf("DIMM %s is in an interleave set already", d.id)
		case d.virtio:
			return fmt.Errorf("%s is a virtio-pmem device: an interleave set is of NVDIMMs", d.id)
		case d.regions > 1:
			return fmt.Errorf("DIMM %s has %d regions: one of an interleave set has 1", d.id, d.regions)
		case d.size != first.size:
			return fmt.Errorf("DIMM %s has %#x bytes of persistent memory, %s has %#x: those of an interleave set have one size", d.id, d.size, first.id, first.size)
		case d.node != first.node:
			return fmt.Errorf("DIMM %s is on node %d, %s on node %d: those of an interleave set are on one", d.id, d.node, first.id, first.node)
		}
		align = max(align, d.backend.Align())
	}
	switch {
	case line < backend.PageSize || line&(line-1) != 0 || line > 1<<31:
		return fmt.Errorf("an interleave line of %#x bytes: want a power of two from 4KiB to 2GiB", line)
	case first.size%line != 0:
		return fmt.Errorf("an interleave line of %#x bytes does not divide the %#x bytes of a DIMM: the largest that does is %s", line, first.size, units.Size(first.size&-first.size))
	case first.size/line > maxLines(len(dimms)):
		return fmt.Errorf("an interleave line of %#x bytes makes %d lines of a DIMM: at most %d in a set of %d", line, first.size/line, maxLines(len(dimms)), len(dimms))
	}
	s := &set{members: slices.Clone(dimms), line: line}
	addr, err := r.lowest(s.size(), align, r.taken(dimms...))
	if err != nil {
		return err
	}
	for _, d := range dimms {
		d.set, d.addr = s, addr
	}
	r.changed = true
	return nil
}

// Interleaved says that the DIMM is in an interleave set.
func (d *DIMM) Interleaved() bool { return d.set != nil }

// position is the DIMM's place in its set, from 0.
func (d *DIMM) position() int {
	if d.set == nil {
		return 0
	}
	return slices.Index(d.set.members, d)
}

// rangeMapped says whether the DIMM's range of addresses is there: the
// firmware maps an interleave set as a whole.
func (d *DIMM) rangeMapped() bool {
	if d.set == nil {
		return !d.state.MapFail
	}
	return !slices.ContainsFunc(d.set.members, func(o *DIMM) bool { return o.state.MapFail })
}

// A Piece is memory at a guest-physical address. Who stores to a page of Mem
// tells Dirty before, if that is not nil.
type Piece struct {
	Addr  uint64
	Mem   []byte
	Dirty *pages.Set
}

// Pieces says where a machine shows the guest what Map gave: at Addr, in one
// piece, or in lines if the DIMM is in an interleave set; nowhere if the
// firmware failed to map it.
func (d *DIMM) Pieces(mem []byte) []Piece {
	if !d.rangeMapped() {
		return nil
	}
	if d.set == nil {
		return []Piece{{d.addr, mem, d.dirty()}}
	}
	dirty := d.dirtyLines()
	var list []Piece
	line, ways := d.set.line, uint64(len(d.set.members))
	for i := range d.size / line {
		at := d.addr + (i*ways+uint64(d.position()))*line
		list = append(list, Piece{at, mem[i*line : (i+1)*line : (i+1)*line], dirty[i]})
	}
	return list
}

// Shown are the Pieces that the guest can reach: none of a DIMM that is locked.
// What is there in their place reads as ones and takes no stores.
func (d *DIMM) Shown(mem []byte) []Piece {
	if d.management.Security.Locked {
		return nil
	}
	return d.Pieces(mem)
}

// Addresses are where the guest reaches n bytes from an offset of the DIMM's memory on: the
// guest-physical address and the size of each part of them.
func (d *DIMM) Addresses(offset, n uint64) iter.Seq2[uint64, uint64] {
	return func(yield func(addr, n uint64) bool) {
		if !d.rangeMapped() || d.management.Security.Locked {
			return
		}
		for end := min(offset+n, d.size); offset < end; {
			part := min(d.run(offset), end-offset)
			if !yield(d.address(offset), part) {
				return
			}
			offset += part
		}
	}
}

// Locate finds the DIMM at a guest-physical address, and the offset in its
// backend.
func (r *Root) Locate(addr uint64) (d *DIMM, offset uint64, ok bool) {
	for _, d := range r.dimms {
		switch at := addr - d.addr; {
		case d.set == nil && at < d.size:
			return d, at, true
		case d.set != nil && at < d.set.size():
			line, ways := d.set.line, uint64(len(d.set.members))
			return d.set.members[at/line%ways], at/line/ways*line + at%line, true
		}
	}
	return nil, 0, false
}

// structure is the set's part of the NFIT, nil of a DIMM without a set.
func (s *set) structure(index uint16) acpi.NFITStructure {
	return &acpi.Interleave{Index: index, LineSize: uint32(s.line), LineOffsets: []uint32{0}}
}

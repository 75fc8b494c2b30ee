package nvdimm

import (
	"cmp"
	"slices"

	"nvlab/nvdimm/firmware"
)

// space is the persistent memory of a root's DIMMs by its address, as
// firmware.Space has it.
type space struct{ root *Root }

// part is bytes of a DIMM that follow each other in the machine's addresses as
// they do in the DIMM.
type part struct {
	dimm            *DIMM
	addr, offset, n uint64
}

// parts visits what lies at a range of addresses.
func (s space) parts(addr, n uint64, visit func(part)) {
	for end := addr + n; addr < end; {
		d, offset, ok := s.root.Locate(addr)
		if !ok {
			return
		}
		run := min(d.run(offset), end-addr)
		visit(part{d, addr, offset, run})
		addr += run
	}
}

// run is how many bytes from an offset on follow each other in the machine's
// addresses: to the end of the DIMM or, of one in a set, of the line.
func (d *DIMM) run(offset uint64) uint64 {
	if d.set == nil {
		return d.size - offset
	}
	return d.set.line - offset%d.set.line
}

// address is where a byte of the DIMM is.
func (d *DIMM) address(offset uint64) uint64 {
	if d.set == nil {
		return d.addr + offset
	}
	line, ways := d.set.line, uint64(len(d.set.members))
	return d.addr + (offset/line*ways+uint64(d.position()))*line + offset%line
}

// Persistent says that n bytes lie within one SPA range of the NFIT.
func (s space) Persistent(addr, n uint64) bool {
	if n == 0 || addr+n < addr {
		return false
	}
	d, _, ok := s.root.Locate(addr)
	if !ok || !d.rangeMapped() {
		return false
	}
	from, size := d.addr, d.size/uint64(d.regions)
	if d.set != nil {
		size = d.set.size()
	}
	from += (addr - from) / size * size
	return addr-from < size && n <= size-(addr-from)
}

func (s space) Locate(addr uint64) (handle uint32, dpa, n uint64) {
	d, offset, ok := s.root.Locate(addr)
	if !ok {
		return 0, 0, 0
	}
	return d.Handle(), offset, d.run(offset)
}

func (s space) Errors(addr, n uint64) (list []firmware.Record) {
	s.parts(addr, n, func(p part) {
		for _, r := range p.dimm.management.Poison.Within(p.offset, p.n) {
			if !r.Latent {
				list = append(list, firmware.Record{Handle: p.dimm.Handle(), Addr: p.addr + r.Offset - p.offset, Length: r.Length})
			}
		}
	})
	return joinRecords(list)
}

func (s space) Discover(addr, n uint64) {
	s.parts(addr, n, func(p part) {
		m := &p.dimm.management
		m.Poison = m.Poison.Discover(p.offset, p.n)
	})
}

// Clear repairs a range up to the first line that cannot be, and makes zeros
// of what was lost.
func (s space) Clear(addr, n uint64) (cleared uint64) {
	stopped := false
	s.parts(addr, n, func(p part) {
		m := &p.dimm.management
		run := p.n
		for _, r := range m.Poison.Within(p.offset, p.n) {
			if r.Stuck {
				run = min(run, r.Offset-p.offset)
			}
		}
		if stopped || run == 0 || p.dimm.backend.ReadOnly() {
			stopped = true
			return
		}
		for _, r := range m.Poison.Within(p.offset, run) {
			if err := s.root.zero(p.dimm, r.Offset, r.Length); err != nil {
				s.root.fail(err)
				stopped = true
				return
			}
		}
		m.Poison = m.Poison.Heal(p.offset, run)
		cleared += run
		stopped = run < p.n
	})
	return cleared
}

func (s space) Inject(addr, n uint64, latent bool) (failed error) {
	s.parts(addr, n, func(p part) {
		m := &p.dimm.management
		list, err := m.Poison.Add(firmware.PoisonedRange{Offset: p.offset, Length: p.n, Latent: latent, Injected: true})
		if err != nil {
			failed = err
			return
		}
		m.Poison = list
	})
	return failed
}

func (s space) Uninject(addr, n uint64) {
	s.parts(addr, n, func(p part) {
		m := &p.dimm.management
		m.Poison = m.Poison.Uninject(p.offset, p.n)
	})
}

func (s space) Injected() (list []firmware.Record) {
	for _, d := range s.root.dimms {
		for _, r := range d.management.Poison {
			for n := uint64(0); r.Injected && r.Length > 0; r.Offset, r.Length = r.Offset+n, r.Length-n {
				n = min(r.Length, d.run(r.Offset))
				list = append(list, firmware.Record{Handle: d.Handle(), Addr: d.address(r.Offset), Length: n})
			}
		}
	}
	slices.SortFunc(list, func(a, b firmware.Record) int { return cmp.Compare(a.Addr, b.Addr) })
	return joinRecords(list)
}

// joinRecords joins what follows each other on one DIMM.
func joinRecords(list []firmware.Record) (out []firmware.Record) {
	for _, r := range list {
		if n := len(out); n > 0 && out[n-1].Handle == r.Handle && out[n-1].Addr+out[n-1].Length == r.Addr {
			out[n-1].Length += r.Length
		} else {
			out = append(out, r)
		}
	}
	return out
}

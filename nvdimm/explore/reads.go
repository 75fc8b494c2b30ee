package explore

import (
	"maps"
	"slices"

	"nvlab/vmm/observe"
)

// Reads notes what an execution reads of a space's lines before it overwrites
// it. It is the observer of a recovery's stores and loads.
//
// It goes by bytes: a load of bytes that the recovery stored to before says
// nothing of the state, and a load of others of the same line does. What a
// store does not write stays as it was, so that a line that is overwritten in
// part, and then read where it was not, is read. A store that no Load came
// before reads nothing, unless it is undone: a power failure brings back what was
// there.
//
// A copy in ordinary memory reads nothing either: whoever loads from it reads the
// bytes that it is of, as they were at first, whatever became of these since. So a block
// that is read ahead, or of which but the stamps are looked at, tells no more than
// what is looked at.
type Reads struct {
	line   func(base, offset uint64) (int, bool)
	used   map[int]*use
	list   []Read
	copies map[uint64]*copied // by line of guest-physical memory

	follows bool
	values  values
}

// copied is what bytes of a line are copies of, or were computed of.
type copied [LineSize]origin

// use is what an execution did to a line.
type use struct{ read, stored uint64 }

// NewReads makes one for an execution. Line is the number of the line at an
// offset of an observed region, if it is one of the space's.
func NewReads(line func(base, offset uint64) (int, bool)) *Reads {
	return &Reads{line: line, used: map[int]*use{}, copies: map[uint64]*copied{}}
}

// Follow has values followed that are computed of what is read: see ValueObserver.
func (r *Reads) Follow() { r.follows = true }

// List is what was read, in the order of the first reads.
func (r *Reads) List() []Read { return r.list }

func (r *Reads) use(line int) *use {
	u := r.used[line]
	if u == nil {
		u = &use{}
		r.used[line] = u
	}
	return u
}

// Read tells of a read of bytes of a line, and Overwrite of a write, by
// whoever: a device, or a host that looks at the backend.
func (r *Reads) Read(line int, bytes uint64) (done bool) {
	u := r.use(line)
	if bytes &^= u.read | u.stored; bytes != 0 {
		u.read |= bytes
		r.list = append(r.list, Read{Line: line, Bytes: bytes})
	}
	return u.read|u.stored == AllBytes
}

// Overwrite tells of a write of bytes of a line.
func (r *Reads) Overwrite(line int, bytes uint64) { r.use(line).stored |= bytes }

// Undone tells that stores to a line may be undone: then all of it is read as it was at
// first.
func (r *Reads) Undone(line int) {
	r.use(line).stored = 0
	r.Read(line, AllBytes)
}

// Load is a load about to happen.
func (r *Reads) Load(e *observe.Load) (done bool) {
	at := e.Base + e.Offset
	if c := r.copies[at/LineSize]; c != nil {
		r.readCopy(at/LineSize, c, bytesAt(at, e.Size))
		return r.copies[at/LineSize] == nil
	}
	n, ok := r.line(e.Base, e.Offset)
	if !ok {
		return true
	}
	return r.Read(n, bytesAt(e.Offset, e.Size))
}

// Copy is a copy about to happen, from lines of the space or from copies of them.
func (r *Reads) Copy(e *observe.Copy) (lines uint64) {
	for i := uint64(0); i < e.Size; {
		from, to := e.Base+e.Offset+i, e.To+i
		n := min(e.Size-i, LineSize-from%LineSize, LineSize-to%LineSize)
		r.overwrite(to, n)
		source := r.copies[from/LineSize]
		line, ok := 0, false
		if source == nil {
			if line, ok = r.line(e.Base, e.Offset+i); ok {
				u := r.use(line)
				ok = bytesAt(from, uint8(n))&^(u.read|u.stored) != 0
			}
		}
		if source != nil || ok {
			c := r.copies[to/LineSize]
			if c == nil {
				c = &copied{}
			}
			some := false
			for b := range n {
				at := from%LineSize + b
				one := &c[to%LineSize+b]
				if source != nil {
					*one = source[at]
				} else if u := r.used[line]; (u.read|u.stored)>>at&1 == 0 {
					one.line, one.at = int32(line)+1, uint8(at)
				}
				some = some || one.line != 0
			}
			if some {
				r.copies[to/LineSize] = c
			}
		}
		i += n
	}
	return r.page(e.To)
}

// Overwritten is a store to ordinary memory in which there are copies.
func (r *Reads) Overwritten(addr, n uint64) (lines uint64) {
	for end := addr + n; addr < end; {
		size := min(end-addr, LineSize-addr%LineSize)
		r.overwrite(addr, size)
		addr += size
	}
	return r.page(addr - 1)
}

// overwrite forgets copies of n bytes within a line.
func (r *Reads) overwrite(addr, n uint64) {
	c := r.copies[addr/LineSize]
	if c == nil {
		return
	}
	clear(c[addr%LineSize:][:n])
	r.keep(addr/LineSize, c)
}

// keep forgets a line that holds no copy any more.
func (r *Reads) keep(at uint64, c *copied) {
	if *c == (copied{}) {
		delete(r.copies, at)
	}
}

// readCopy is a read of bytes of a line with copies: of the bytes that they are of,
// as these were at first.
func (r *Reads) readCopy(at uint64, c *copied, bytes uint64) {
	before := len(r.list)
	for b := range c {
		one := c[b]
		if bytes>>b&1 == 0 || one.line == 0 {
			continue
		}
		c[b] = origin{}
		if one.line < 0 {
			r.Reveal(observe.Value(-one.line))
			continue
		}
		line, bit := int(one.line)-1, uint64(1)<<one.at
		u := r.use(line)
		if u.read&bit != 0 {
			continue
		}
		u.read |= bit
		if k := len(r.list) - 1; k >= before && r.list[k].Line == line {
			r.list[k].Bytes |= bit
		} else {
			r.list = append(r.list, Read{Line: line, Bytes: bit})
		}
	}
	r.keep(at, c)
}

// ReadCopies tells that somebody may look at all copies that there are, in their
// order in memory.
func (r *Reads) ReadCopies() {
	for _, at := range slices.Sorted(maps.Keys(r.copies)) {
		r.readCopy(at, r.copies[at], AllBytes)
	}
}

// page is which lines of the page of an address hold copies.
func (r *Reads) page(addr uint64) (lines uint64) {
	const perPage = 64
	first := addr / LineSize / perPage * perPage
	for i := range uint64(perPage) {
		if r.copies[first+i] != nil {
			lines |= 1 << i
		}
	}
	return lines
}

// Store is a store about to become visible.
func (r *Reads) Store(e *observe.Store) {
	if n, ok := r.line(e.Base, e.Offset); ok {
		r.Overwrite(n, bytesAt(e.Offset, e.Size))
	}
}

// Stream is stores that became visible, of which nothing was loaded yet.
func (r *Reads) Stream(s *observe.Stream) {
	for list := s.Stores; len(list) > 0; {
		of := list[0].Offset / LineSize
		n, ok := r.line(s.Base, list[0].Offset)
		for len(list) > 0 && list[0].Offset/LineSize == of {
			if ok {
				r.Overwrite(n, bytesAt(list[0].Offset, 8))
			}
			list = list[1:]
		}
	}
}

// bytesAt are the bytes of an access within its line.
func bytesAt(offset uint64, size uint8) uint64 {
	at := offset % LineSize
	if n := LineSize - at; uint64(size) >= n {
		return AllBytes << at
	}
	return (1<<size - 1) << at
}

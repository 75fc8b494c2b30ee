package explore

import "nvlab/vmm/observe"

// Reads notes what an execution reads of a space's lines before it overwrites
// it. It is the observer of a recovery's stores and loads.
//
// It goes by bytes: a load of bytes that the recovery stored to before says
// nothing of the state, and a load of others of the same line does. What a
// store does not write stays as it was, so that a line that is overwritten in
// part, and then read where it was not, is read. A store that no Load came
// before reads nothing.
type Reads struct {
	line func(base, offset uint64) (int, bool)
	used map[int]*use
	list []Read
}

// use is what an execution did to a line.
type use struct{ read, stored uint64 }

// NewReads makes one for an execution. Line is the number of the line at an
// offset of an observed region, if it is one of the space's.
func NewReads(line func(base, offset uint64) (int, bool)) *Reads {
	return &Reads{line: line, used: map[int]*use{}}
}

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
		r.list = append(r.list, Read{line, bytes})
	}
	return u.read|u.stored == AllBytes
}

// Overwrite tells of a write of bytes of a line.
func (r *Reads) Overwrite(line int, bytes uint64) { r.use(line).stored |= bytes }

// Load is a load about to happen.
func (r *Reads) Load(e *observe.Load) (done bool) {
	n, ok := r.line(e.Base, e.Offset)
	if !ok {
		return true
	}
	return r.Read(n, bytesAt(e.Offset, e.Size))
}

// Store is a store about to become visible.
func (r *Reads) Store(e *observe.Store) {
	if n, ok := r.line(e.Base, e.Offset); ok {
		r.Overwrite(n, bytesAt(e.Offset, e.Size))
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

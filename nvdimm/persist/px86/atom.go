package px86

import "slices"

// An atom is a piece of a store that is done at once: it is within one line, and within an aligned chunk of 8 bytes unless the
// instruction promises more.
type atom struct {
	op, cpu int
	line    int
	lo, hi  int // bytes of memory, hi is the first that is not of it
	class   class
	locked  bool
}

func (a atom) overlaps(b atom) bool { return a.lo < b.hi && b.lo < a.hi }

// split returns the atoms of operation i of a program.
func split(i int, op Op, vector int) []atom {
	row := op.Kind.row()
	if row.class == none {
		return nil
	}
	var atoms []atom
	for n := range op.Count {
		lo := op.Addr + n*op.Size
		for end := lo + op.Size; lo < end; {
			unit := Chunk
			switch {
			case op.Kind == Lock:
				unit = LineSize // a locked access is whole wherever it lies within a line (SDM vol. 3, 9.1.2)
			case op.Kind == Vector && vector == 16 && op.Addr%16 == 0:
				unit = 16
			}
			hi := min(end, (lo/unit+1)*unit)
			atoms = append(atoms, atom{op: i, cpu: op.CPU, line: lo / LineSize, lo: lo, hi: hi, class: row.class, locked: op.Kind == Lock})
			lo = hi
		}
	}
	return atoms
}

// Cells returns the ranges of bytes, in order, that every store of p under r writes whole or not at all, each as its first byte. A
// byte that nothing stores to is of none. An Image has one entry for each.
func (p Program) Cells(r Rules) []int {
	var edges []int
	var atoms []atom
	for i, op := range p {
		for _, a := range split(i, op, r.Vector) {
			atoms = append(atoms, a)
			edges = append(edges, a.lo, a.hi)
		}
	}
	slices.Sort(edges)
	edges = slices.Compact(edges)
	return slices.DeleteFunc(edges, func(b int) bool {
		return !slices.ContainsFunc(atoms, func(a atom) bool { return a.lo <= b && b < a.hi })
	})
}

// An Image is the content of memory after a power failure: of each cell the value of its bytes, that is one more than the number of
// the operation that stored it, or 0.
type Image string

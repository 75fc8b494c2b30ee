package persist

// originals are the lines of a medium as they were before a journal's first
// store to them.
type originals struct {
	seen   map[uint64]*seenPage // by line number over 4096
	last   *seenPage            // that was looked at
	page   uint64               // its number
	pieces [][]original
	n      int
}

// seenPage is a bit per line.
type seenPage [64]uint64

// original is a line with its number.
type original struct {
	n     uint64
	bytes [LineSize]byte
}

const pieceLines = 1 << 10

// new says that a line is not known yet, and that it is from now on.
func (o *originals) new(n uint64) bool {
	if number := n / 4096; o.last == nil || o.page != number {
		if o.seen == nil {
			o.seen = map[uint64]*seenPage{}
		}
		p := o.seen[number]
		if p == nil {
			p = &seenPage{}
			o.seen[number] = p
		}
		o.last, o.page = p, number
	}
	word, bit := &o.last[n/64%64], uint64(1)<<(n%64)
	if *word&bit != 0 {
		return false
	}
	*word |= bit
	return true
}

// add keeps a line that is new, and returns it.
func (o *originals) add(n uint64, bytes []byte) *original {
	k := len(o.pieces) - 1
	if k < 0 || len(o.pieces[k]) == cap(o.pieces[k]) {
		o.pieces = append(o.pieces, make([]original, 0, pieceLines))
		k++
	}
	o.pieces[k] = append(o.pieces[k], original{n, [LineSize]byte(bytes)})
	o.n++
	return &o.pieces[k][len(o.pieces[k])-1]
}

// all visits the lines in the order in which they came.
func (o *originals) all(visit func(l *original)) {
	for _, p := range o.pieces {
		for i := range p {
			visit(&p[i])
		}
	}
}

// has says that a line is known.
func (o *originals) has(n uint64) bool {
	p := o.seen[n/4096]
	return p != nil && p[n/64%64]>>(n%64)&1 != 0
}

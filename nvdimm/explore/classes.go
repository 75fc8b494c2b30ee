package explore

import (
	"encoding/binary"
	"slices"
)

// classed is a line with what reads of it can tell.
type classed struct {
	*line
	known map[uint64]*reading // by the bytes that are read
}

// reading is a read of a line, by the versions that it cannot tell from each
// other.
type reading struct {
	Read
	line    *classed
	classes []int32        // for each version the first that has the same bytes
	prices  [][]classPrice // by span, if nothing else of the line was read
	on      *deciding      // nil, unless this is no read of a line but a decision
}

// classPrice is what it costs that the read finds the value of a class. Others
// of the span are not legal.
type classPrice struct {
	class int32
	price
}

// reading is what a read of some bytes tells.
func (t *tree) reading(r Read) *reading {
	if r.Decision != nil {
		return t.decisions[r.Decision]
	}
	l := &t.lines[r.Line]
	if by := l.known[r.Bytes]; by != nil {
		return by
	}
	by := &reading{Read: r, line: l, classes: make([]int32, len(l.versions))}
	first := map[Content]int32{}
	for v := range l.versions {
		seen := masked(&l.versions[v], r.Bytes)
		n, ok := first[seen]
		if !ok {
			n = int32(v)
			first[seen] = n
		}
		by.classes[v] = n
	}
	for i := range l.spans {
		by.prices = append(by.prices, by.pricesOf(&l.spans[i], nil))
	}
	if l.known == nil {
		l.known = map[uint64]*reading{}
	}
	l.known[r.Bytes] = by
	return by
}

// pricesOf lists the values that the read may find in a span after others of
// its line.
func (by *reading) pricesOf(at *span, before []step) []classPrice {
	var list []classPrice
	for i, v := range at.legal {
		if !agrees(v, before) {
			continue
		}
		class := by.classes[v]
		k := slices.IndexFunc(list, func(p classPrice) bool { return p.class == class })
		if k < 0 {
			k = len(list)
			list = append(list, classPrice{class, price{illegal, illegal}})
		}
		for b := range list[k].price {
			list[k].price[b] = min(list[k].price[b], at.price(i, b != 0))
		}
	}
	return list
}

// masked is a content with zeros where the bytes are not read.
func masked(c *Content, bytes uint64) Content {
	if bytes == AllBytes {
		return *c
	}
	var m Content
	for at := 0; at < LineSize; at += 8 {
		keep := uint64(0)
		for b := range 8 {
			if bytes>>(at+b)&1 != 0 {
				keep |= 0xff << (8 * b)
			}
		}
		binary.LittleEndian.PutUint64(m[at:], binary.LittleEndian.Uint64(c[at:])&keep)
	}
	return m
}

// tells says that the read tells versions apart.
func (by *reading) tells() bool {
	return by.Bytes != 0 && slices.ContainsFunc(by.classes, func(c int32) bool { return c != 0 })
}

// everything is a read of all lines that have several versions.
func (t *tree) everything() []Read {
	var list []Read
	for i := range t.lines {
		if r := (Read{Line: i, Bytes: AllBytes}); t.reading(r).tells() {
			list = append(list, r)
		}
	}
	return list
}

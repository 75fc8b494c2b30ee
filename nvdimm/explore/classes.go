package explore

import (
	"encoding/binary"
	"slices"
)

// classed is a line with the classes of its versions: those that a read
// cannot tell from each other.
type classed struct {
	*line
	known map[uint64][]int32 // by the bytes that are read
}

// classesOf is for each version the first that has the same bytes.
func (l *classed) classesOf(bytes uint64) []int32 {
	if c, ok := l.known[bytes]; ok {
		return c
	}
	list := make([]int32, len(l.versions))
	first := map[Content]int32{}
	for v := range l.versions {
		seen := masked(&l.versions[v], bytes)
		n, ok := first[seen]
		if !ok {
			n = int32(v)
			first[seen] = n
		}
		list[v] = n
	}
	if l.known == nil {
		l.known = map[uint64][]int32{}
	}
	l.known[bytes] = list
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

// tells says that the bytes tell versions apart.
func (l *classed) tells(bytes uint64) bool {
	return bytes != 0 && slices.ContainsFunc(l.classesOf(bytes), func(c int32) bool { return c != 0 })
}

// everything is a read of all lines that have several versions.
func (t *tree) everything() []Read {
	var list []Read
	for i := range t.lines {
		if t.lines[i].tells(AllBytes) {
			list = append(list, Read{i, AllBytes})
		}
	}
	return list
}

package lab

import (
	"bytes"
	"fmt"
	"io"
	"slices"
	"strings"

	"nvlab/internal/units"
	"nvlab/nvdimm/backend"
	"nvlab/nvdimm/persist"
)

// Explain says in a sentence what a crash state lost that would otherwise have
// been there: which structure it is of, who stored it, and what it needed.
func (t *Trace) Explain(s *persist.State) string {
	when := t.When(s)
	if s.Torn >= 0 {
		return fmt.Sprintf("The power fails within a label write, after %d bytes.", s.Torn)
	}
	if len(s.Lost) == 0 {
		return "Nothing has to be lost for it: the power fails " + when + ", and all that was stored until then survives."
	}
	type group struct {
		what, by, why string
	}
	namers := map[*persist.Medium]*backend.Namer{}
	all := s.Everything()
	var order []group
	count := map[group]int{}
	for _, o := range s.Lost {
		if namers[o.Medium] == nil {
			namers[o.Medium] = t.namer(all, o.Medium)
		}
		g := group{namers[o.Medium].At(o.Offset), t.place(o.PC, o.Process), o.Why()}
		at := t.Place(o.PC, o.Process)
		if name, _, ok := strings.Cut(at, "+"); ok && !strings.Contains(at, "(") { // stores of a function are alike, wherever in it
			g.by = strings.Replace(g.by, at, name, 1)
		}
		if g.what == "data" {
			g.what = fmt.Sprintf("%s at %#x", t.id(o.Medium), o.Offset/persist.LineSize*persist.LineSize)
		}
		if count[g] == 0 {
			order = append(order, g)
		}
		count[g]++
	}
	slices.SortStableFunc(order, func(a, b group) int { return count[b] - count[a] })
	const most = 3
	var parts []string
	for i, g := range order {
		if i == most {
			parts = append(parts, fmt.Sprintf("and %s more", units.Count(len(order)-i, "kind")))
			break
		}
		parts = append(parts, fmt.Sprintf("%s to %s%s (%s)", units.Count(count[g], "store"), g.what, g.by, g.why))
	}
	return fmt.Sprintf("It is enough to lose %s, when the power fails %s.", strings.Join(parts, "; "), when)
}

// Difference lists what a state leaves otherwise than it was before the command: a
// line of text for each 64 bytes of an NVDIMM, with its id, the offset and the
// bytes, and one for each label area.
func (t *Trace) Difference(s *persist.State) []byte {
	var b bytes.Buffer
	lines, labels := s.Image()
	for _, l := range lines {
		var was [persist.LineSize]byte
		off := l.N * persist.LineSize
		if d := t.names[l.Medium]; d != nil {
			if _, err := t.snapshots[d.backend].ReadAt(was[:], int64(off)); err != nil || was != l.Bytes {
				fmt.Fprintf(&b, "%s %#x %x\n", d.ID(), off, l.Bytes)
			}
		}
	}
	for i, area := range labels {
		d := t.areas[i]
		was := make([]byte, len(area))
		at := d.backend.Size() - d.LabelSize()
		if _, err := t.snapshots[d.backend].ReadAt(was, int64(at)); err != nil || !bytes.Equal(was, area) {
			fmt.Fprintf(&b, "%s %#x %x\n", d.ID(), at, area)
		}
	}
	return b.Bytes()
}

func (t *Trace) id(m *persist.Medium) string {
	if d := t.DIMM(m); d != nil {
		return d.ID()
	}
	return "an NVDIMM"
}

// namer names the structures of an NVDIMM as it would be in a state.
func (t *Trace) namer(s *persist.State, m *persist.Medium) *backend.Namer {
	d := t.names[m]
	lines, _ := s.Image()
	over := &overlay{under: t.snapshots[d.backend], lines: map[uint64]*[persist.LineSize]byte{}}
	for i := range lines {
		if lines[i].Medium == m {
			over.lines[lines[i].N] = &lines[i].Bytes
		}
	}
	return backend.NewNamer(over, d.backend.Size(), d.LabelSize())
}

// overlay is contents with other lines.
type overlay struct {
	under io.ReaderAt
	lines map[uint64]*[persist.LineSize]byte
}

func (o *overlay) ReadAt(p []byte, off int64) (int, error) {
	n, err := o.under.ReadAt(p, off)
	if off < 0 {
		return n, err
	}
	for at := uint64(off); at < uint64(off)+uint64(n); {
		next := min((at/persist.LineSize+1)*persist.LineSize, uint64(off)+uint64(n))
		if line := o.lines[at/persist.LineSize]; line != nil {
			copy(p[at-uint64(off):next-uint64(off)], line[at%persist.LineSize:])
		}
		at = next
	}
	return n, err
}

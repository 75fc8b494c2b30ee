package px86

import (
	"fmt"
	"slices"
	"strings"
)

// Shrink returns a program of which bad holds, as it does of p, and of no program that has one operation less or one that is
// smaller.
func Shrink(p Program, bad func(Program) bool) Program {
	for {
		smaller := false
		for _, q := range smallerThan(p) {
			if bad(q) {
				p, smaller = q, true
				break
			}
		}
		if !smaller {
			return p
		}
	}
}

func smallerThan(p Program) []Program {
	var all []Program
	for i := range p {
		if len(p) > 1 {
			all = append(all, slices.Delete(slices.Clone(p), i, i+1))
		}
	}
	for i, op := range p {
		change := func(f func(*Op)) {
			q := slices.Clone(p)
			f(&q[i])
			if q[i] != op {
				all = append(all, q)
			}
		}
		if op.Count > 1 {
			change(func(op *Op) { op.Count-- })
		}
		if op.CPU > 0 {
			change(func(op *Op) { op.CPU-- })
		}
		if op.Addr >= LineSize {
			change(func(op *Op) { op.Addr -= LineSize })
		}
		if op.Addr%8 != 0 && op.Kind != NTVector {
			change(func(op *Op) { op.Addr -= op.Addr % 8 })
		}
		if op.Addr%LineSize >= 16 {
			change(func(op *Op) { op.Addr -= 16 })
		}
		switch {
		case op.Kind == Vector || op.Kind == String || op.Kind == Lock:
			change(func(op *Op) { op.Kind, op.Size, op.Count = Store, min(op.Size, 8), 1 })
		case op.Kind == NTVector:
			change(func(op *Op) { op.Kind, op.Size = NT, 8 })
		case op.Kind == Store && op.Size < 8 && op.Addr%8 == 0:
			change(func(op *Op) { op.Size = 8 })
		}
	}
	return all
}

// Show returns contents as a litmus test writes them: "{} {a=1 b+8=3}".
func Show(p Program, r Rules, images []Image) string {
	cells := p.Cells(r)
	var all []string
	for _, image := range images {
		var parts []string
		for c, value := range []byte(image) {
			if value != 0 {
				parts = append(parts, fmt.Sprintf("%s=%d", place(cells[c]), value))
			}
		}
		all = append(all, "{"+strings.Join(parts, " ")+"}")
	}
	return strings.Join(all, " ")
}

package persist_test

import (
	"fmt"
	"maps"
	"slices"
)

// This file judges the model. It knows the rules and nothing of the model: it
// tries every set of stores and asks of each whether a rule forbids it.

// A step is an event of a litmus program.
type step struct {
	what  string // "store", "flush", "fence", "hint"
	cpu   int
	dimm  int
	off   int
	data  []byte // of a store, within 8 aligned bytes
	group uint64 // instruction

	nt, device, str, vec, locked, uc, wt bool // of a store

	clflush bool // else the flush is ordered by fences only

	full    bool // of a fence: flushes complete
	named   bool // of a fence: it is asked for by its name
	drain   bool // of a fence: write-combining buffers empty
	mfence  bool // of a fence: it is MFENCE
	empties bool // of a fence: its CPU's store buffer is empty
	all     bool // of a fence: WBINVD
}

const (
	adr = iota
	eadr
	hints
	nothing
	requests
)

type rules struct {
	platform int
	atomic16 bool // power failure does not tear aligned stores of 16 bytes
	intel    bool // CLFLUSH is as on Intel's processors, else as on AMD's
	explicit bool // only fences count that are asked for by name
}

func (s *step) line() [2]int { return [2]int{s.dimm, s.off / 64} }

// ordersCLFLUSH says that an earlier CLFLUSH of Intel's is done before a step
// of its CPU (R2, R3).
func (r rules) ordersCLFLUSH(s *step) bool {
	switch s.what {
	case "fence":
		return s.named && !s.all || !r.explicit && s.full
	case "store":
		return !s.device // a non-temporal one too: see Model.Store
	}
	return s.what == "flush" && s.clflush
}

// doneCLFLUSH is the first step before which a CLFLUSH of Intel's is done.
func (r rules) doneCLFLUSH(prog []step, f int) int {
	for g := f + 1; g < len(prog); g++ {
		if s := &prog[g]; s.cpu == prog[f].cpu && r.ordersCLFLUSH(s) {
			return g
		}
	}
	return len(prog)
}

// onItsWay says from which step on a store has reached the memory controller
// for sure; len(prog) if it has not.
func (r rules) onItsWay(prog []step, i int) int {
	s := &prog[i]
	first := len(prog)
	// later are the steps of a CPU after step f.
	later := func(f, cpu int, is func(g int) bool) bool {
		for g := f + 1; g < len(prog); g++ {
			if prog[g].cpu == cpu && is(g) {
				first = min(first, g)
				return true
			}
		}
		return false
	}
	if s.uc {
		return i // R18
	}
	if s.nt || s.wt {
		later(i, s.cpu, func(g int) bool { // R7, R18
			return !r.explicit && prog[g].uc || prog[g].what == "fence" && (prog[g].named || !r.explicit && (prog[g].drain || prog[g].full))
		})
		for f := i + 1; r.intel && f < len(prog); f++ {
			if prog[f].what == "flush" && prog[f].clflush && prog[f].cpu == s.cpu {
				first = min(first, r.doneCLFLUSH(prog, f)) // R2
			}
		}
	}
	if s.nt {
		return first
	}
	for f := i + 1; f < len(prog); f++ {
		if prog[f].what == "fence" && prog[f].all {
			// R17: the line is in this CPU's cache, with all up to its own store.
			owner, last := -1, 0
			for g := range f {
				if prog[g].what == "store" && prog[g].line() == s.line() && !prog[g].nt && !prog[g].uc {
					owner, last = prog[g].cpu, g
					if prog[g].device {
						owner = -1
					}
				}
			}
			if owner == prog[f].cpu && i <= last {
				first = min(first, f)
			}
		}
		if prog[f].what != "flush" || prog[f].line() != s.line() {
			continue
		}
		switch cpu := prog[f].cpu; {
		case !prog[f].clflush:
			later(f, cpu, func(g int) bool {
				return prog[g].what == "fence" && (prog[g].named && !prog[g].all || !r.explicit && prog[g].full) // R4, R5
			})
		case r.intel:
			first = min(first, r.doneCLFLUSH(prog, f))
		default: // R11
			seen := false
			for g := i + 1; g < f; g++ {
				seen = seen || prog[g].cpu == cpu && prog[g].what == "fence" && (r.explicit && prog[g].named || !r.explicit && prog[g].empties)
			}
			if seen {
				later(f, cpu, func(g int) bool { return prog[g].mfence })
			}
		}
	}
	return first
}

// guaranteed says that a store survives.
func (r rules) guaranteed(prog []step, i int) bool {
	s := &prog[i]
	arrived := r.onItsWay(prog, i)
	switch r.platform {
	case eadr:
		if s.nt {
			return arrived < len(prog)
		}
		if s.device || s.uc {
			return true // R12
		}
		// R8, R9: an instruction whose parts are in no order may be in
		// progress, until its CPU does something else.
		parts := 0
		for g := range prog {
			if prog[g].what == "store" && prog[g].group == s.group && !r.together(&prog[g], s) || g == i {
				parts++
			}
		}
		if parts == 1 {
			return true
		}
		for g := i + 1; g < len(prog); g++ {
			if p := &prog[g]; p.what != "hint" && p.cpu == s.cpu && !p.device && (p.what != "store" || p.group != s.group) {
				return true
			}
		}
		return false
	case hints:
		for h := arrived + 1; h < len(prog); h++ {
			for g := h + 1; prog[h].what == "hint" && prog[h].dimm == s.dimm && g < len(prog); g++ {
				if prog[g].what == "fence" && prog[g].cpu == prog[h].cpu && (prog[g].named && !prog[g].all || !r.explicit && prog[g].full) {
					return true // R13
				}
			}
		}
		return false
	case nothing:
		return false
	case requests: // R19: what waits in a write-combining buffer is not visible
		visible := i
		if s.nt {
			visible = arrived
		}
		for h := visible + 1; h < len(prog); h++ {
			if prog[h].what == "hint" && prog[h].dimm == s.dimm {
				return true
			}
		}
		return false
	}
	return arrived < len(prog)
}

// overlap says that two stores are to a byte in common.
func overlap(a, b *step) bool {
	return a.dimm == b.dimm && a.off < b.off+len(b.data) && b.off < a.off+len(a.data)
}

// follows says that if b survives, a does: a comes before b. late says that a
// is in a write-combining buffer.
func (r rules) follows(a, b *step, late bool) bool {
	if a.line() != b.line() {
		return false // R10
	}
	if overlap(a, b) && !(late && a.cpu != b.cpu) {
		return true // R9
	}
	if a.nt || b.nt || a.device || b.device || a.uc || b.uc {
		return false // R7, R18
	}
	return a.group != b.group // R1, R8, R9
}

// together says that power failure cannot come between two stores.
func (r rules) together(a, b *step) bool {
	if a.group != b.group || a.line() != b.line() {
		return false
	}
	return a.locked && b.locked || a.vec && b.vec && !a.nt && r.atomic16 && a.off/16 == b.off/16 && len(a.data) == 8 && len(b.data) == 8 // R9
}

// legal gives every image that a power failure after the program may leave.
// An image is the bytes of all DIMMs.
func (r rules) legal(prog []step, size int) []string {
	var open []int
	var must []int
	for i := range prog {
		if prog[i].what != "store" {
			continue
		}
		if r.guaranteed(prog, i) {
			must = append(must, i)
		} else {
			open = append(open, i)
		}
	}
	if len(open) > 20 {
		panic("a litmus program with too many stores")
	}
	images := map[string]bool{}
	for set := range 1 << len(open) {
		in := make([]bool, len(prog))
		for _, i := range must {
			in[i] = true
		}
		for n, i := range open {
			in[i] = set>>n&1 != 0
		}
		if r.allowed(prog, in) {
			var order []int
			for i := range prog {
				if in[i] {
					order = append(order, i)
				}
			}
			r.orders(prog, order, map[string]bool{}, func(order []int) { images[image(prog, order, size)] = true })
		}
	}
	return slices.Sorted(maps.Keys(images))
}

// least is the image of what is guaranteed, and of what that needs.
func (r rules) least(prog []step, size int) string {
	sure := make([]bool, len(prog))
	for i := len(prog) - 1; i >= 0; i-- {
		if prog[i].what != "store" {
			continue
		}
		late := prog[i].nt && r.onItsWay(prog, i) == len(prog)
		sure[i] = r.guaranteed(prog, i)
		for j := i + 1; j < len(prog); j++ {
			sure[i] = sure[i] || sure[j] && r.follows(&prog[i], &prog[j], late)
		}
	}
	var must []int
	for i := range prog {
		if sure[i] {
			must = append(must, i)
		}
	}
	return image(prog, must, size)
}

func (r rules) allowed(prog []step, in []bool) bool {
	for i := range prog {
		for j := range prog {
			if prog[i].what != "store" || prog[j].what != "store" {
				continue
			}
			if i < j && in[j] && !in[i] && r.follows(&prog[i], &prog[j], prog[i].nt && r.onItsWay(prog, i) == len(prog)) {
				return false
			}
			if in[i] != in[j] && r.together(&prog[i], &prog[j]) {
				return false
			}
		}
	}
	return true
}

// orders visits the orders in which stores may have become visible: those in
// write-combining buffers may come later than other CPUs' to their bytes (R7).
// It moves one at a time, and so not two of a CPU that share bytes past another's
// that only the first shares bytes with: no program here has such, and package
// px86 has them all.
func (r rules) orders(prog []step, order []int, been map[string]bool, visit func([]int)) {
	if key := fmt.Sprint(order); been[key] {
		return
	} else {
		been[key] = true
	}
	visit(order)
	for at, late := range order {
		if !prog[late].nt || r.onItsWay(prog, late) < len(prog) {
			continue
		}
		for to := at + 1; to < len(order); to++ {
			s, p := &prog[late], &prog[order[to]]
			if !overlap(s, p) {
				continue
			}
			if s.cpu == p.cpu {
				break
			}
			r.orders(prog, slices.Insert(slices.Delete(slices.Clone(order), at, at+1), to, late), been, visit)
		}
	}
}

func image(prog []step, order []int, size int) string {
	mem := [2][]byte{make([]byte, size), make([]byte, size)}
	for _, i := range order {
		copy(mem[prog[i].dimm][prog[i].off:], prog[i].data)
	}
	return string(mem[0]) + string(mem[1])
}

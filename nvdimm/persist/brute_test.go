package persist_test

import (
	"maps"
	"slices"
	"strings"
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

	nt, device, str, vec, locked bool // of a store

	clflush bool // else the flush is ordered by fences only

	full  bool // of a fence: flushes complete
	named bool // of a fence: it is asked for by its name
	drain bool // of a fence: write-combining buffers empty
	all   bool // of a fence: WBINVD
}

const (
	adr = iota
	eadr
	hints
	nothing
)

type rules struct {
	platform int
	tear     bool // power failure tears vector stores
	weak     bool // CLFLUSH is ordered by fences only
	explicit bool // only fences count that are asked for by name
}

func (s *step) line() [2]int { return [2]int{s.dimm, s.off / 64} }

// onItsWay says from which step on a store has reached the memory controller
// for sure; len(prog) if it has not.
func (r rules) onItsWay(prog []step, i int) int {
	s := &prog[i]
	first := len(prog)
	for g := i + 1; g < len(prog); g++ {
		switch {
		case prog[g].what == "fence" && prog[g].all && !s.nt:
			first = min(first, g)
		case s.nt && prog[g].what == "fence" && prog[g].cpu == s.cpu && (prog[g].named || !r.explicit && (prog[g].drain || prog[g].full)):
			first = min(first, g) // R7
		}
	}
	if s.nt {
		return first
	}
	for f := i + 1; f < len(prog); f++ {
		if prog[f].what != "flush" || prog[f].line() != s.line() {
			continue
		}
		for g := f + 1; g < len(prog); g++ {
			if prog[g].cpu != prog[f].cpu {
				continue
			}
			done := prog[g].what == "fence" && (prog[g].named || !r.explicit && prog[g].full) // R3, R4, R5, R6
			if prog[f].clflush && !r.weak {                                                   // R11
				done = done || prog[g].what == "store" && !prog[g].device || prog[g].what == "flush" && prog[g].clflush // R2
			}
			if done {
				first = min(first, g)
			}
		}
	}
	return first
}

// guaranteed says that a store survives.
// It is before step next, or at the end if that is nil.
func (r rules) guaranteed(prog []step, i int, next *step) bool {
	s := &prog[i]
	arrived := r.onItsWay(prog, i)
	switch r.platform {
	case eadr:
		if s.nt {
			return arrived < len(prog)
		}
		if !s.str {
			return true // R12
		}
		// R8: a string instruction may be in progress.
		if next == nil || next.what != "store" || next.group != s.group {
			return true
		}
		for g := i + 1; g < len(prog); g++ {
			if prog[g].cpu == s.cpu && prog[g].what != "hint" && !(prog[g].what == "store" && prog[g].group == s.group) {
				return true
			}
		}
		return false
	case hints:
		for h := arrived + 1; h < len(prog); h++ {
			if prog[h].what == "hint" && prog[h].dimm == s.dimm {
				return true // R13
			}
		}
		return false
	case nothing:
		return false
	}
	return arrived < len(prog)
}

// follows says that if b survives, a does: a comes before b.
func (r rules) follows(a, b *step) bool {
	if a.line() != b.line() {
		return false // R10
	}
	if a.nt || b.nt || a.device || b.device {
		return false // R7
	}
	return a.group != b.group // R1, R8, R9
}

// together says that power failure cannot come between two stores.
func (r rules) together(a, b *step) bool {
	return a.group == b.group && a.line() == b.line() && (a.locked && b.locked || a.vec && b.vec && !r.tear)
}

// legal gives every image that a power failure after the program may leave.
// An image is the bytes of all DIMMs.
func (r rules) legal(prog []step, next *step, size int) []string {
	var open []int
	var must []int
	for i := range prog {
		if prog[i].what != "store" {
			continue
		}
		if r.guaranteed(prog, i, next) {
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
			images[image(prog, in, size)] = true
		}
	}
	return slices.Sorted(maps.Keys(images))
}

func (r rules) allowed(prog []step, in []bool) bool {
	for i := range prog {
		for j := range prog {
			if prog[i].what != "store" || prog[j].what != "store" {
				continue
			}
			if i < j && in[j] && !in[i] && r.follows(&prog[i], &prog[j]) {
				return false
			}
			if in[i] != in[j] && r.together(&prog[i], &prog[j]) {
				return false
			}
		}
	}
	return true
}

func image(prog []step, in []bool, size int) string {
	mem := [2][]byte{make([]byte, size), make([]byte, size)}
	for i := range prog {
		if in[i] {
			copy(mem[prog[i].dimm][prog[i].off:], prog[i].data)
		}
	}
	var b strings.Builder
	b.Write(mem[0])
	b.Write(mem[1])
	return b.String()
}

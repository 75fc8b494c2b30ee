package px86

import "math/rand/v2"

// A Shape says what random programs are like.
type Shape struct {
	Ops, CPUs, Lines int    // at most, at least 1
	Kinds            []Kind // those that occur; nil for all
}

// Random returns a program that rng chooses.
func (sh Shape) Random(rng *rand.Rand) Program {
	all := sh.Kinds
	if all == nil {
		all = Kinds()
	}
	cpus, lines := 1+rng.IntN(sh.CPUs), 1+rng.IntN(sh.Lines)
	p := make(Program, 1+rng.IntN(sh.Ops))
	for i := range p {
		kind := all[rng.IntN(len(all))]
		if rng.IntN(3) == 0 {
			// What programs are made of comes more often.
			if k := [...]Kind{Store, Store, NT, CLWB, SFENCE}[rng.IntN(5)]; allowed(all, k) {
				kind = k
			}
		}
		p[i] = sh.operation(rng, kind, rng.IntN(cpus), lines)
	}
	return p
}

func allowed(all []Kind, k Kind) bool {
	for _, a := range all {
		if a == k {
			return true
		}
	}
	return false
}

// operation returns one of kind. Addresses are few, so that stores meet.
func (sh Shape) operation(rng *rand.Rand, kind Kind, cpu, lines int) Op {
	op := Op{CPU: cpu, Kind: kind, Addr: rng.IntN(lines) * LineSize}
	place := func(size, align int) {
		op.Size, op.Count = size, 1
		op.Addr += rng.IntN(3) * 8
		switch rng.IntN(8) {
		case 0:
			op.Addr += rng.IntN(8) // anywhere
		case 1:
			op.Addr += LineSize - 16 - op.Addr%LineSize + rng.IntN(16) // across the end of the line
		}
		op.Addr -= op.Addr % align
		op.Addr = min(op.Addr, lines*LineSize-size)
	}
	switch kind {
	case Store, UC:
		place(1<<rng.IntN(4), 1)
	case Lock:
		if rng.IntN(4) == 0 {
			place(16, 16)
		} else {
			place(1<<rng.IntN(4), 1)
		}
	case Vector:
		place(16, 1+15*rng.IntN(2))
	case NT:
		place(4<<rng.IntN(2), 1)
	case NTVector:
		place(16, 16)
	case String:
		size := 1 << rng.IntN(4)
		op.Count = 1 + rng.IntN(4)
		n := op.Count
		place(size*n, 1)
		op.Size, op.Count = size, n
	case DMAStore:
		op.CPU = DMA
		place(8, 8)
	}
	return op
}

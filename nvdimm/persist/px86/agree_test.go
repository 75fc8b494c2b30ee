package px86

import (
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"testing"
)

// anyRules returns rules that rng chooses.
func anyRules(rng *rand.Rand) Rules {
	return Rules{Platform: Platform(rng.IntN(3)), Vector: 8 << rng.IntN(2), CLFLUSH: Vendor(rng.IntN(2)),
		Buffers: rng.IntN(2) == 0, PostedHint: rng.IntN(2) == 0}
}

// differs returns a moment at which the axioms and the machine differ about p, and both their contents.
func differs(p Program, r Rules) (at Point, axioms, ran []Image, ok bool) {
	contents := p.Machine(r)
	for _, at := range p.Points() {
		if axioms, ran := p.Axioms(r, at), contents.At(at); !slices.Equal(axioms, ran) {
			return at, axioms, ran, true
		}
	}
	return at, nil, nil, false
}

// TestAgree holds the two forms of the oracle to each other. NVLAB_PX86 is the number of random programs.
func TestAgree(t *testing.T) {
	n := 4000
	if testing.Short() {
		n = 1000
	}
	if s := os.Getenv("NVLAB_PX86"); s != "" {
		n, _ = strconv.Atoi(s)
	}
	shape := Shape{Ops: 6, CPUs: 3, Lines: 3}
	ran := 0
	for seed := range uint64(n) {
		rng := rand.New(rand.NewPCG(seed, 0))
		p, r := shape.Random(rng), anyRules(rng)
		if p.Atoms(r) > 8 || !p.Runs(r) || !p.Fits(r) {
			continue
		}
		ran++
		if _, _, _, bad := differs(p, r); bad {
			p = Shrink(p, func(p Program) bool { _, _, _, bad := differs(p, r); return bad })
			at, axioms, ran, _ := differs(p, r)
			t.Fatalf("seed %d: %v, %v, %v:\naxioms:  %v\nmachine: %v", seed, r, p, at, Show(p, r, axioms), Show(p, r, ran))
		}
	}
	t.Logf("%d programs", ran)
}

package px86

import (
	"math/rand/v2"
	"testing"
)

func BenchmarkOracle(b *testing.B) {
	shape := Shape{Ops: 6, CPUs: 3, Lines: 3}
	var programs []Program
	var rules []Rules
	for seed := range uint64(2000) {
		rng := rand.New(rand.NewPCG(seed, 0))
		programs = append(programs, shape.Random(rng))
		r := anyRules(rng)
		r.Buffers = false
		rules = append(rules, r)
	}
	b.Run("axioms", func(b *testing.B) {
		for i := range b.N {
			p, r := programs[i%2000], rules[i%2000]
			for _, at := range p.Points() {
				p.Axioms(r, at)
			}
		}
	})
	b.Run("machine", func(b *testing.B) {
		for i := range b.N {
			programs[i%2000].Machine(rules[i%2000])
		}
	})
}

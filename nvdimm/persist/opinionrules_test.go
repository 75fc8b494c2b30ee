package persist_test

import (
	"math/rand/v2"
	"slices"

	"nvlab/nvdimm/persist"
	"nvlab/nvdimm/persist/px86"
)

// configOf is what the model calls rules.
func configOf(r px86.Rules) persist.Config {
	return persist.Config{Atomic16: r.Vector == 16, IntelCLFLUSH: r.CLFLUSH == px86.Intel}
}

func searchOf(r px86.Rules) *persist.Search {
	return &persist.Search{Reading: persist.Reading{Atomic16: r.Vector == 16, IntelCLFLUSH: r.CLFLUSH == px86.Intel}}
}

// bounds are those of the model that what it prints names: of a search, or of a program. It may leave states out then, and makes none up.
var bounds = map[string]func(px86.Program, *persist.Search) bool{
	"a non-temporal store races one of another CPU: the model keeps the order that memory shows": func(_ px86.Program, s *persist.Search) bool {
		return s.Raced > 0
	},
	"an event has more states than are listed": func(_ px86.Program, s *persist.Search) bool { return s.Sampled > 0 },
	"a non-temporal store waits longer than a later one of its CPU to its bytes, and another CPU stores to them": func(p px86.Program, _ *persist.Search) bool {
		covered := func(a px86.Op) bool {
			later := slices.ContainsFunc(p, func(b px86.Op) bool { return !nonTemporal(b) && a.CPU == b.CPU && sameBytes(a, b) })
			return later && slices.ContainsFunc(p, func(b px86.Op) bool { return a.CPU != b.CPU && sameBytes(a, b) })
		}
		return slices.ContainsFunc(p, func(a px86.Op) bool { return nonTemporal(a) && covered(a) })
	},
}

// bounded returns the name of a bound that holds, or "".
func bounded(p px86.Program, s *persist.Search) string {
	for name, holds := range bounds {
		if holds(p, s) {
			return name
		}
	}
	return ""
}

func nonTemporal(op px86.Op) bool { return op.Kind == px86.NT || op.Kind == px86.NTVector }

func sameBytes(a, b px86.Op) bool {
	return a.Kind.Stores() && b.Kind.Stores() && a.Addr < b.Addr+b.Size*b.Count && b.Addr < a.Addr+a.Size*a.Count
}

// comparedKinds are those that the model is told of: all.
func comparedKinds() []px86.Kind { return px86.Kinds() }

// comparedRules returns rules that the model has, which rng chooses. It has no store buffers: a store is visible when it retires. A flush
// hint counts once it is fenced.
func comparedRules(rng *rand.Rand) px86.Rules {
	return px86.Rules{Platform: px86.Platform(rng.IntN(3)), Vector: 8 << rng.IntN(2), CLFLUSH: px86.Vendor(rng.IntN(2)), PostedHint: true}
}

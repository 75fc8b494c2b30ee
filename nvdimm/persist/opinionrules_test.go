package persist_test

import (
	"math/rand/v2"

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

// isBounded says whether a search says that it left states out.
func isBounded(s *persist.Search) bool { return s.Raced > 0 }

// comparedKinds are those that the model is told of: all.
func comparedKinds() []px86.Kind { return px86.Kinds() }

// comparedRules returns rules that the model has, which rng chooses. It has no store buffers: a store is visible when it retires. A flush
// hint counts once it is fenced.
func comparedRules(rng *rand.Rand) px86.Rules {
	return px86.Rules{Platform: px86.Platform(rng.IntN(3)), Vector: 8 << rng.IntN(2), CLFLUSH: px86.Vendor(rng.IntN(2)), PostedHint: true}
}

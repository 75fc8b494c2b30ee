package soft

import (
	"math/rand/v2"
	"testing"
)

// tangled is random instructions with branches between them.
func tangled(r *rand.Rand, encodings []encoding, n int) (code []byte) {
	var starts, branches []int
	for len(code) < n {
		starts = append(starts, len(code))
		if r.IntN(4) == 0 {
			branches = append(branches, len(code))
			code = append(code, 0x70|byte(r.IntN(16)), 0)
			continue
		}
		b, _ := encodings[r.IntN(len(encodings))].instance(r)
		code = append(code, b...)
	}
	for _, at := range branches {
		if to := starts[r.IntN(len(starts))] - (at + 2); to == int(int8(to)) {
			code[at+1] = byte(to)
		}
	}
	return code
}

// TestCompiledBranches runs random programs of many branches interpreted and
// compiled, and checks that there were edge stubs.
func TestCompiledBranches(t *testing.T) {
	t.Parallel()
	n := 200
	if !testing.Short() {
		n = 2000
	}
	pair := interpretedAndCompiled(t)
	c := pair[1].p.cache.native
	r := rand.New(rand.NewPCG(25, 26))
	agreeOnEncodings(t, pair, r, n/2, tangled)
	// A block without vectors before one with them.
	// sub ecx, 1; jne B; hlt; B: paddq xmm0, xmm1; test ecx, ecx
	vectors := []byte{0x83, 0xe9, 0x01, 0x75, 0x01, 0xf4, 0x66, 0x0f, 0xd4, 0xc1, 0x85, 0xc9}
	for seed := range uint64(10) {
		agree(t, pair, vectors, seed)
	}
	if c.Count.EdgeStubs < uint64(n)*2/5 {
		t.Errorf("%d edge stubs in %d programs, want two in five at least", c.Count.EdgeStubs, n)
	}
}

package soft

import (
	"math/rand/v2"
	"testing"

	"nvlab/vmm/soft/x86"
)

// hostPage is where a page of the host lies in a machine's memory.
type hostPage struct{ at, size int }

func allPages(mem []byte) []hostPage { return []hostPage{{0, len(mem)}} }

// copyRAM makes one memory what the other is. Both are of newRAM and of one length,
// and so are those of ramMismatch.
func copyRAM(t testing.TB, to, from []byte) {
	t.Helper()
	clearRAM(t, to)
	for _, p := range touchedPages(from) {
		copy(to[p.at:][:p.size], from[p.at:])
	}
}

// ramMismatch is the first address at which two memories differ, or -1.
func ramMismatch(a, b []byte) int {
	for _, p := range touchedPages(a, b) {
		if i := mismatch(a[p.at:][:p.size], b[p.at:][:p.size]); i >= 0 {
			return p.at + i
		}
	}
	return -1
}

// TestRAMMismatch finds each byte that differs, wherever it is, and none after a reset.
func TestRAMMismatch(t *testing.T) {
	a, b := newTestMachine(t), newTestMachine(t)
	was := newRAM(t, testEnd)
	r := rand.New(rand.NewPCG(1, 2))
	for n := range 200 {
		if n%10 == 0 {
			a.reset(t)
			b.reset(t)
		}
		if at := ramMismatch(a.ram, b.ram); at >= 0 {
			t.Fatalf("two machines that are alike differ at %#x", at)
		}
		m, want := a, r.IntN(testEnd)
		if n%2 == 0 {
			m = b
		}
		if n < 3 {
			want = []int{0, testEnd - 1, testEnd - x86.PageSize}[n]
		}
		m.ram[want] ^= 1
		if at := ramMismatch(a.ram, b.ram); at != want {
			t.Fatalf("where only the byte at %#x differs, ramMismatch = %#x", want, at)
		}
		copyRAM(t, was, m.ram)
		m.ram[want] ^= 1
		if at := ramMismatch(was, m.ram); at != want {
			t.Fatalf("where only the byte at %#x differs from a copy, ramMismatch = %#x", want, at)
		}
	}
}

package observe

import (
	"math/rand/v2"
	"testing"
)

// TestWatch compares watches with a list of their lines, whatever was added and dropped.
func TestWatch(t *testing.T) {
	const pages = 40
	for seed := range uint64(300) {
		r := rand.New(rand.NewPCG(seed, 0))
		w, want := &Watch{}, [pages]uint64{}
		whole := [pages]bool{} // came with AddPages, and all of it is watched
		for step := range 60 {
			page := r.Uint64N(pages)
			addr := page*watchPage + r.Uint64N(watchPage/lineSize)*lineSize
			if step < 8 { // as a rule these come first
				n := min(1+r.Uint64N(4*watchPage), pages*watchPage-addr)
				w.AddPages(addr, n)
				for p := page; p <= (addr+n-1)/watchPage; p++ {
					whole[p], want[p] = true, ^uint64(0)
				}
				continue
			}
			switch r.IntN(4) {
			case 0:
				w.AddLines(addr)
				whole[page], want[page] = false, ^uint64(0)
			case 1:
				if !whole[page] {
					w.Add(addr)
					want[page] |= bitOf(addr)
				}
			case 2:
				if whole[page] {
					want[page] = 0
				}
				want[page] &^= bitOf(addr)
				whole[page] = false
				if empty := w.Drop(addr); empty != (want[page] == 0) {
					t.Fatalf("seed %d: Drop of a line of page %d says %v that none is left of %#x", seed, page, empty, want[page])
				}
			case 3:
				if !whole[page] {
					want[page] = r.Uint64() & r.Uint64() & r.Uint64() & r.Uint64()
					w.SetPage(addr, want[page])
				}
			}
			for p := range uint64(pages) {
				if got := w.Page(p * watchPage); got != want[p] {
					t.Fatalf("seed %d: of page %d the lines %#x are watched, want %#x", seed, p, got, want[p])
				}
			}
		}
	}
}

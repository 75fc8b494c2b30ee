package nvdimm

import (
	"bytes"
	"slices"
	"testing"

	"nvlab/acpi"
	"nvlab/nvdimm/backend"
)

// FuzzFIT lets DIMMs come at any moment of a guest's reading of _FIT. A byte
// is a step: below 64 a DIMM into that slot, 64 the next piece, 65 a reset,
// 66 a reader that starts again, more than that one into the lowest free slot
// that is refused half-way. What a reader has at the end is the FIT as it was
// at one moment since the reader began, and no plug changes the structures
// that were there: Linux refuses such a FIT.
func FuzzFIT(f *testing.F) {
	many := func(from, to byte) (p []byte) {
		for slot := from; slot < to; slot++ {
			p = append(p, slot)
		}
		return p
	}
	f.Add([]byte{64, 0, 64, 64, 64, 64})
	f.Add([]byte{66, 65, 5, 64, 70, 64, 64, 3, 3, 64, 64})
	f.Add(slices.Concat(many(0, 30), []byte{64, 40, 64, 64, 35, 64, 64, 64}))
	f.Add(slices.Concat(many(10, 60), []byte{64, 64, 2, 64, 65, 64, 66, 64, 64, 64, 200}))
	var backends []*backend.Backend
	for range 64 {
		b, err := backend.NewRAM(backend.RAMConfig{Size: backend.PageSize, Align: backend.PageSize})
		if err != nil {
			f.Fatal(err)
		}
		f.Cleanup(func() { b.Close() })
		backends = append(backends, b)
	}
	f.Fuzz(func(t *testing.T, script []byte) {
		r := newRoot(t, Config{Slots: 64, FlushHints: 1})
		g := newGuest(t, r)
		reader := &fitReader{guest: g}
		moments := [][]byte{r.FIT()} // the FIT since the reader began
		for _, step := range script[:min(len(script), 128)] {
			switch {
			case step < 64:
				before, slot := encoded(r), int(step)
				r.Plug(PlugConfig{Backend: backends[step], Slot: &slot, Nodes: 1})
				after := encoded(r)
				for s := range before {
					if !after[s] {
						t.Fatalf("a DIMM in slot %d changes a structure that the guest knew: % x", slot, s)
					}
				}
			case step == 64:
				if reader.got == nil {
					moments = [][]byte{r.FIT()}
				}
				done := reader.piece(t)
				if done && !slices.ContainsFunc(moments, func(fit []byte) bool { return bytes.Equal(fit, reader.got) }) {
					t.Fatalf("a reader has %d bytes of FIT, which are none that there was meanwhile", len(reader.got))
				}
				if done {
					*reader = fitReader{guest: g}
				}
			case step == 65:
				r.reset()
			case step == 66:
				*reader = fitReader{guest: g}
			default:
				if d, err := r.Plug(PlugConfig{Backend: backends[step%64], Nodes: 1}); err == nil {
					r.Withdraw(d)
				}
			}
			moments = append(moments, r.FIT())
		}
		if got := readFIT(t, g); !bytes.Equal(got, r.FIT()) {
			t.Fatalf("_FIT gives %d bytes, or others, than the %d there are", len(got), len(r.FIT()))
		}
	})
}

// encoded are the structures of the FIT, each as its bytes.
func encoded(r *Root) map[string]bool {
	set := make(map[string]bool)
	for _, s := range r.structures() {
		set[string(acpi.EncodeNFITStructures(s))] = true
	}
	return set
}

// fitReader reads as the guest's _FIT method does, a piece at a time.
type fitReader struct {
	*guest
	got []byte
}

// piece makes one call, and says whether all is there.
func (f *fitReader) piece(t *testing.T) bool {
	t.Helper()
	code, data := f.send(t, FITHandle, 1, FuncReadFIT, words(uint32(len(f.got))))
	switch {
	case code == statusFITChanged:
		f.got = nil
		return false
	case code != statusOK:
		t.Fatalf("_FIT at %#x = %#x", len(f.got), code)
	}
	f.got = append(f.got, data...)
	return len(data) == 0
}

// readFIT reads all of it. A change makes it start again once.
func readFIT(t *testing.T, g *guest) []byte {
	t.Helper()
	reader := &fitReader{guest: g}
	for range 2 + maxSlots*maxRegions {
		if reader.piece(t) {
			return reader.got
		}
	}
	t.Fatal("_FIT never ends")
	return nil
}

package nvdimm

import (
	"bytes"
	"encoding/binary"
	"path/filepath"
	"testing"
)

// FuzzSequence drives a machine as a guest and a user would at once: label
// calls, pieces of the FIT, plugs between them. Each operation is a byte and
// two 32-bit numbers.
func FuzzSequence(f *testing.F) {
	op := func(kind byte, a, b uint32) []byte { return append([]byte{kind}, words(a, b)...) }
	join := func(ops ...[]byte) []byte { return bytes.Join(ops, nil) }
	f.Add(join(op('f', 0, 0), op('p', 0, 0), op('f', 184, 0), op('f', 0, 0)))
	f.Add(join(op('w', 0, 256), op('r', 0, 256), op('w', 128*kib-4, 4), op('w', 128*kib-4, 8)))
	f.Add(join(op('p', 1, 0), op('p', 1, 0), op('f', 0, 0), op('r', 0xffffffff, 0xffffffff)))
	f.Add(join(op('s', 0x7f, 0), op('f', 0, 0), op('t', 0, 0), op('f', 0, 0), op('f', 1<<20, 0)))
	path := filepath.Join(f.TempDir(), "labels")
	labels := openFile(f, FileConfig{Path: path, Size: 4 * mib, Share: true})
	f.Fuzz(func(t *testing.T, script []byte) {
		r := newRoot(t, Config{Slots: 64, FlushHints: 1})
		plug(t, r, PlugConfig{Backend: labels, LabelSize: 128 * kib})
		g := newGuest(t, r)
		var area [128 * kib]byte
		if _, err := labels.ReadAt(area[:], 4*mib-128*kib); err != nil {
			t.Fatal(err)
		}
		for steps := 0; len(script) >= 9 && steps < 64; steps++ {
			a, b := binary.LittleEndian.Uint32(script[1:]), binary.LittleEndian.Uint32(script[5:])
			inside := uint64(a)+uint64(b) <= uint64(len(area)) && b <= maxTransfer
			switch script[0] {
			case 'f':
				if code, _ := g.send(t, fitHandle, 1, FuncReadFIT, words(a)); code != statusOK && code != statusInvalid && code != statusFITChanged {
					t.Fatalf("_FIT at %#x = %#x", a, code)
				}
			case 'p':
				slot := int(a % 64)
				backend, err := NewRAM(RAMConfig{Size: PageSize, Align: PageSize})
				if err != nil {
					t.Fatal(err)
				}
				defer backend.Close()
				r.Plug(PlugConfig{Backend: backend, Slot: &slot, Nodes: 1})
			case 's':
				r.dimms[0].SetState(State{SaveFail: a&1 != 0, NotArmed: a&2 != 0, MapFail: a&4 != 0})
			case 't':
				r.reset()
			case 'w':
				data := bytes.Repeat([]byte{byte(a) | 1}, int(b%(maxTransfer+1)))
				code, _ := g.send(t, 1, 1, FuncSetLabel, append(words(a, b), data...))
				if inside != (code == statusOK) {
					t.Fatalf("writing %#x label bytes at %#x = %#x", b, a, code)
				}
				if inside {
					copy(area[a:], data)
				}
			case 'r':
				code, got := g.send(t, 1, 1, FuncGetLabel, words(a, b))
				if inside != (code == statusOK) || inside && !bytes.Equal(got, area[a:a+b]) {
					t.Fatalf("reading %#x label bytes at %#x = %#x, or other bytes", b, a, code)
				}
			}
			script = script[9:]
		}
		if got := readFIT(t, g); !bytes.Equal(got, r.FIT()) {
			t.Fatalf("_FIT gives %d bytes, or others, than the %d there are", len(got), len(r.FIT()))
		}
		if got := readBack(t, labels, 4*mib-256*kib, 128*kib); got != string(make([]byte, 128*kib)) {
			t.Fatal("a write outside of the label area")
		}
	})
}

// readFIT reads as _FIT does.
func readFIT(t *testing.T, g *guest) (fit []byte) {
	t.Helper()
	for range 1000 {
		code, data := g.send(t, fitHandle, 1, FuncReadFIT, words(uint32(len(fit))))
		switch {
		case code == statusFITChanged:
			fit = nil
		case code != statusOK:
			t.Fatalf("_FIT at %#x = %#x", len(fit), code)
		case len(data) == 0:
			return fit
		}
		fit = append(fit, data...)
	}
	t.Fatal("_FIT never ends")
	return nil
}

package nvdimm

import (
	"bytes"
	"encoding/binary"
	"path/filepath"
	"testing"

	"nvlab/nvdimm/backend"
)

// FuzzSequence makes calls as a guest may, in order and out of order, one
// after the other. An operation is a byte and two numbers; a raw one takes its
// argument from what follows. After each the device has written to its page
// and, if it took a label write, to that part of the label area alone.
func FuzzSequence(f *testing.F) {
	op := func(kind byte, a, b uint32) []byte { return append([]byte{kind}, words(a, b)...) }
	join := func(ops ...[]byte) []byte { return bytes.Join(ops, nil) }
	f.Add(join(op('w', 0, 256), op('r', 0, 256), op('w', 128*kib-4, 4), op('w', 128*kib-4, 8)))
	f.Add(join(op('r', 0xffffffff, 0xffffffff), op('w', 128*kib, 0), op('w', 0xfffffffc, 8), op('r', 0, maxTransfer), op('r', 0, maxTransfer+1)))
	f.Add(join(op('x', 1, 1|FuncSetLabel<<8), words(16, 4, 0x55555555, 0), op('r', 0, 64)))
	f.Add(join(op('x', 1, 1|FuncGetLabel<<8), words(0, 0xffffffff, 0, 0), op('x', 2, 1|FuncSetLabel<<8), words(0, 4, 1, 0)))
	f.Add(join(op('x', FITHandle, 1|FuncReadFIT<<8), words(184, 0, 0, 0), op('x', 0, 1), words(0, 0, 0, 0), op('x', 3, 2|4<<8)))
	f.Add(join(op('w', 0, 64), op('t', 0, 0), op('r', 0, 64), op('o', 2, testPage), op('o', 4, testPage+backend.PageSize), op('o', 4, guestBase)))
	path := filepath.Join(f.TempDir(), "labels")
	const size, labelSize = 256 * kib, 128 * kib
	labels := openFile(f, backend.FileConfig{Path: path, Size: size, Share: true})
	f.Fuzz(func(t *testing.T, script []byte) {
		r := newRoot(t, Config{Slots: 4})
		d := plug(t, r, PlugConfig{Backend: labels, LabelSize: labelSize})
		bare, err := backend.NewRAM(backend.RAMConfig{Size: backend.PageSize, Align: backend.PageSize})
		if err != nil {
			t.Fatal(err)
		}
		defer bare.Close()
		plug(t, r, PlugConfig{Backend: bare})
		g := newGuest(t, r)
		mapped(t, d)
		for i := range g.ram.bytes {
			g.ram.bytes[i] = 0xa5
		}
		outside := bytes.Repeat([]byte{0xa5}, len(g.ram.bytes))
		want := make([]byte, size) // of the backend
		if _, err := labels.ReadAt(want[size-labelSize:], size-labelSize); err != nil {
			t.Fatal(err)
		}
		area, whole := want[size-labelSize:], d.mapped.Bytes()
		for steps := 0; len(script) >= 9 && steps < 64; steps++ {
			kind, a, b := script[0], binary.LittleEndian.Uint32(script[1:]), binary.LittleEndian.Uint32(script[5:])
			script = script[9:]
			inside := uint64(a)+uint64(b) <= labelSize && b <= maxTransfer
			switch kind {
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
			case 't':
				r.reset()
			case 'o': // other accesses of the port, or of the page of another
				copy(g.page(), words(1, 1, FuncSetLabel, 0, 4, 0))
				if int(a) == 4 && b == testPage {
					copy(area, words(0))
				}
				g.box.Out(MailboxPort, int(a), b)
			case 'x':
				revision, function := b&0xff, b>>8
				argument := script[:min(16, len(script))]
				script = script[len(argument):]
				code, _ := g.send(t, a, revision, function, argument)
				if a == 1 && function == FuncSetLabel && code == statusOK {
					var full [16]byte
					copy(full[:], argument)
					off, n := binary.LittleEndian.Uint32(full[:]), binary.LittleEndian.Uint32(full[4:])
					data := make([]byte, n)
					copy(data, full[8:])
					copy(area[off:], data)
				}
			}
			copy(outside[testPage-guestBase:], g.page())
			if !bytes.Equal(outside, g.ram.bytes[:]) {
				t.Fatalf("step %d (%q %#x, %#x): the device wrote outside of its page", steps, kind, a, b)
			}
			if !bytes.Equal(whole, want) {
				t.Fatalf("step %d (%q %#x, %#x): the device wrote outside of the label bytes that it was given", steps, kind, a, b)
			}
		}
	})
}

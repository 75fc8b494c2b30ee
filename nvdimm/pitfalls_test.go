package nvdimm

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"nvlab/acpi"
	"nvlab/nvdimm/backend"
)

// The tests of this file are named for bugs that QEMU had or has.
// docs/document.md lists them, with those that are elsewhere.

// QEMU d6af99c9f8.
func TestFileWithDataIsNotTruncated(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	data := bytes.Repeat([]byte("keep"), 8*mib/4)
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, size := range []uint64{backend.PageSize, 4 * mib, 16 * mib, 64 * mib} {
		for _, partial := range []bool{false, true} {
			b, err := backend.OpenFile(backend.FileConfig{Path: path, Size: size, Share: true, Partial: partial})
			if ok := partial && size < 8*mib; ok != (err == nil) {
				t.Errorf("a file of 8 MiB with size %#x, partial %v: %v", size, partial, err)
			}
			if err == nil {
				d := plugged(t, b, 0)
				mapped(t, d)
				if err := errors.Join(d.Unmap(), b.Close()); err != nil {
					t.Error(err)
				}
			}
			if got, _ := os.ReadFile(path); !bytes.Equal(got, data) {
				t.Fatalf("size %#x, partial %v: the file has %d bytes or other ones, want its %d", size, partial, len(got), len(data))
			}
		}
	}
}

// QEMU 9dc44aa582: preallocation zeroed what was there.
func TestOpeningAndMappingWriteNothing(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	data := bytes.Repeat([]byte("there"), 4*mib/4)[:4*mib]
	then := time.Date(2018, 1, 1, 0, 0, 0, 0, time.UTC)
	if err := errors.Join(os.WriteFile(path, data, 0o600), os.Chtimes(path, then, then)); err != nil {
		t.Fatal(err)
	}
	b := openFile(t, backend.FileConfig{Path: path, Size: 4 * mib, Share: true})
	d := plugged(t, b, 128*kib)
	if mem := mapped(t, d); !bytes.Equal(mem, data[:len(mem)]) {
		t.Error("the guest sees other bytes than the file's")
	}
	if err := errors.Join(d.Unmap(), b.Close()); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil || !info.ModTime().Equal(then) {
		t.Errorf("the file was modified at %v, %v, want not since %v", info.ModTime(), err, then)
	}
	if got, _ := os.ReadFile(path); !bytes.Equal(got, data) {
		t.Error("the file has other bytes")
	}
}

// QEMU 8360668e69, d2f39add.
func TestSizeNeedsOnlyThePage(t *testing.T) {
	for n, size := range []uint64{backend.PageSize, 3 * backend.PageSize, 2*mib - backend.PageSize, 2*mib + backend.PageSize, 33*mib + backend.PageSize} {
		b := openFile(t, backend.FileConfig{Path: filepath.Join(t.TempDir(), fmt.Sprint(n)), Size: size, Share: true})
		if d := plugged(t, b, 0); d.Size() != size {
			t.Errorf("a DIMM on %#x bytes has %#x", size, d.Size())
		}
	}
}

// QEMU e987c37aee, 7f3cf2d6e7: the second one aborted.
func TestSecondRefusedPlugIsAnErrorToo(t *testing.T) {
	off, err := NewRoot(Config{Memory: 256 * mib, Slots: 2, MaxMem: gib})
	if err != nil {
		t.Fatal(err)
	}
	b := newRAM(t, 4*mib)
	_, first := off.Plug(PlugConfig{Backend: b})
	_, second := off.Plug(PlugConfig{Backend: b})
	if first == nil || second == nil || first.Error() != second.Error() {
		t.Errorf("two plugs into a machine without NVDIMMs: %v, then %v", first, second)
	}
	plug(t, newRoot(t, Config{}), PlugConfig{Backend: b})
}

// QEMU ae909496e9, 53000638f2: a second error was an assertion.
func TestManyInvalidOptionsAreOneError(t *testing.T) {
	r := newRoot(t, Config{Slots: 1})
	b := newRAM(t, 4*mib)
	for _, c := range []PlugConfig{
		{Backend: b, LabelSize: 1, Slot: ptr(7), ID: "1", Node: -1, Addr: ptr[uint64](1), UUID: "x", Regions: -1},
		{Backend: b, Slot: ptr(7), ID: "1", Node: -1, Addr: ptr[uint64](1)},
		{Backend: b, ID: "1", Node: -1, Addr: ptr[uint64](1), Regions: 99},
		{Backend: b, Node: 999, Addr: ptr[uint64](1), Identity: Identity{Handle: ptr[uint32](0)}},
	} {
		_, err := r.Plug(c)
		if err == nil || strings.ContainsRune(err.Error(), '\n') {
			t.Errorf("Plug(%+v) = %v, want one error", c, err)
		}
		var list interface{ Unwrap() []error }
		if errors.As(err, &list) {
			t.Errorf("Plug(%+v) = %v, which is several", c, err)
		}
	}
	if d := plug(t, r, PlugConfig{Backend: b, LabelSize: 128 * kib}); d.Slot() != 0 {
		t.Errorf("a DIMM after the refused ones is in slot %d", d.Slot())
	}
}

// QEMU d51d1d7ede: it was counted wrongly both ways.
func TestResultLengthCountsItself(t *testing.T) {
	g, _ := labelled(t)
	for n := range uint32(40) {
		if code, data := g.send(t, 1, 1, FuncGetLabel, words(0, n)); code != statusOK || len(data) != int(n) {
			t.Errorf("a read of %d bytes = status %d with %d bytes", n, code, len(data))
		}
		if got := binary.LittleEndian.Uint32(g.page()); got != 4+4+n {
			t.Errorf("a read of %d bytes says that its reply has %d, want 4 for the length, 4 for the status and the data", n, got)
		}
	}
}

// QEMU 6ab0c4bd1d.
func TestDPAIsNotTheAddress(t *testing.T) {
	r := newRoot(t, Config{Slots: 2})
	plug(t, r, PlugConfig{Backend: newRAM(t, 4*mib)})
	plug(t, r, PlugConfig{Backend: newRAM(t, 4*mib), LabelSize: 128 * kib})
	for _, s := range r.structures() {
		if m, ok := s.(*acpi.MemoryDevice); ok && m.DPABase != 0 {
			t.Errorf("the DIMM of handle %d starts at DPA %#x, want 0", m.Handle, m.DPABase)
		}
	}
}

// QEMU 20fdef58a0: it announced block mode.
func TestFormatIsByteAddressable(t *testing.T) {
	r := newRoot(t, Config{})
	plug(t, r, PlugConfig{Backend: newRAM(t, 4*mib)})
	c, ok := r.structures()[2].(*acpi.ControlRegion)
	if !ok || c.FormatCode != 0x301 {
		t.Errorf("the control region is %+v, want one of format 0x301", c)
	}
}

// QEMU lists DIMMs in the order of a hash table.
func TestNFITIsInSlotOrder(t *testing.T) {
	r := newRoot(t, Config{Slots: 64, MaxMem: gib})
	for i := range 64 {
		plug(t, r, PlugConfig{Backend: newPage(t), Slot: ptr(i * 37 % 64)})
	}
	want := uint32(1)
	for _, s := range r.structures() {
		if m, ok := s.(*acpi.MemoryDevice); ok {
			if m.Handle != want {
				t.Fatalf("DIMM %d in the NFIT has handle %d", want, m.Handle)
			}
			want++
		}
	}
}

// QEMU dbd730e859, d0180f0acb: the error was inverted.
func TestReadOnlyNeedsUnarmed(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, make([]byte, mib), 0o444); err != nil {
		t.Fatal(err)
	}
	for _, readOnly := range []bool{false, true} {
		for _, unarmed := range []bool{false, true} {
			b := openFile(t, backend.FileConfig{Path: path, Size: mib, ReadOnly: readOnly})
			_, err := newRoot(t, Config{}).Plug(PlugConfig{Backend: b, Unarmed: unarmed})
			if refused := readOnly && !unarmed; refused != (err != nil) {
				t.Errorf("readonly=%v, unarmed=%v: %v", readOnly, unarmed, err)
			}
		}
	}
}

// QEMU 3a1258399b: it was a SIGSEGV.
func TestLabelWriteToReadOnlyMemoryFails(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, make([]byte, mib), 0o444); err != nil {
		t.Fatal(err)
	}
	r := newRoot(t, Config{})
	d := plug(t, r, PlugConfig{Backend: openFile(t, backend.FileConfig{Path: path, Size: mib, Share: true, ReadOnly: true}), LabelSize: 128 * kib, Unarmed: true})
	mapped(t, d)
	if code, _ := newGuest(t, r).send(t, 1, 1, FuncSetLabel, words(0, 4, 1)); code != statusNotSupported {
		t.Errorf("a label write to read-only memory = status %d, want 1", code)
	}
}

// QEMU 4d6b23f7e2, ca01f1b89b.
func TestReadOnlyCreatesNothing(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"file", "folder/file"} {
		if _, err := backend.OpenFile(backend.FileConfig{Path: filepath.Join(dir, name), Size: mib, ReadOnly: true}); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("readonly on an absent %s: %v", name, err)
		}
	}
	if list, err := os.ReadDir(dir); err != nil || len(list) > 0 {
		t.Errorf("readonly made %v, %v", list, err)
	}
}

// QEMU 61362b71c1.
func TestAlignThatIsNoPowerOfTwoIsAnError(t *testing.T) {
	for _, align := range []uint64{3 * mib, 1, 100, 2048, 4097, 6 * kib, 1<<63 + backend.PageSize, ^uint64(0)} {
		if _, err := backend.NewRAM(backend.RAMConfig{Size: 64 * mib, Align: align}); err == nil {
			t.Errorf("align=%#x is taken", align)
		}
	}
}

// QEMU e3213eb5ec.
func TestAddressDoesNotWrap(t *testing.T) {
	r := newRoot(t, Config{Slots: 1})
	b := newRAM(t, 4*mib)
	for _, addr := range []uint64{1<<64 - 0x40000000, 1<<64 - 2*mib, 1<<64 - 4*mib, 1 << 63} {
		if _, err := r.Plug(PlugConfig{Backend: b, Addr: &addr}); err == nil || !strings.Contains(err.Error(), "can't add memory device") {
			t.Errorf("a DIMM at %#x: %v", addr, err)
		}
	}
}

// QEMU asserts that a label read has a length.
func TestLabelCallsOfNoOrHugeLength(t *testing.T) {
	g, _ := labelled(t)
	for _, c := range []struct{ offset, length, want uint32 }{
		{0, 0, statusOK}, {128 * kib, 0, statusOK}, {128*kib + 1, 0, statusInvalid}, {0xffffffff, 0, statusInvalid},
		{0, 0xffffffff, statusInvalid}, {1, 0xffffffff, statusInvalid}, {0xfffffff0, 0x10, statusInvalid}, {0xfffffff0, 0x20, statusInvalid},
		{128 * kib, 1, statusInvalid}, {0, maxTransfer + 1, statusInvalid},
	} {
		for _, function := range []uint32{FuncGetLabel, FuncSetLabel} {
			if code, _ := g.send(t, 1, 1, function, words(c.offset, c.length)); code != c.want {
				t.Errorf("function %d of %#x bytes at %#x = status %d, want %d", function, c.length, c.offset, code, c.want)
			}
		}
	}
}

// newPage is memory of one page.
func newPage(t testing.TB) *backend.Backend {
	t.Helper()
	b, err := backend.NewRAM(backend.RAMConfig{Size: backend.PageSize, Align: backend.PageSize})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close() })
	return b
}

package nvdimm

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"nvlab/nvdimm/backend"
)

// guestRAM is 64 KiB of RAM from guestBase on.
type guestRAM struct {
	bytes  [64 * kib]byte
	onRead func() // another CPU, at work right after the device read the page
}

const (
	guestBase = 0x10000
	testPage  = guestBase + 0x2000
)

func (g *guestRAM) at(p []byte, addr int64) ([]byte, error) {
	if addr < guestBase || addr+int64(len(p)) > guestBase+int64(len(g.bytes)) {
		return nil, errors.New("not RAM")
	}
	return g.bytes[addr-guestBase:][:len(p)], nil
}

func (g *guestRAM) ReadAt(p []byte, addr int64) (int, error) {
	mem, err := g.at(p, addr)
	n := copy(p, mem)
	if g.onRead != nil {
		g.onRead()
	}
	return n, err
}

func (g *guestRAM) WriteAt(p []byte, addr int64) (int, error) {
	mem, err := g.at(p, addr)
	return copy(mem, p), err
}

// guest is a Root with its mailbox, seen from the guest.
type guest struct {
	*Root
	ram guestRAM
	box *Mailbox
}

func newGuest(t testing.TB, r *Root) *guest {
	g := &guest{Root: r}
	g.box = r.Mailbox(&g.ram, testPage)
	return g
}

func (g *guest) page() []byte { return g.ram.bytes[testPage-guestBase:][:backend.PageSize] }

// send makes a call and gives its result: the 32-bit mask or status, and what
// follows.
func (g *guest) send(t testing.TB, handle, revision, function uint32, argument []byte) (uint32, []byte) {
	t.Helper()
	page := g.page()
	for i, v := range []uint32{handle, revision, function} {
		binary.LittleEndian.PutUint32(page[4*i:], v)
	}
	clear(page[12:])
	copy(page[12:], argument)
	g.box.Out(MailboxPort, 4, testPage)
	n := binary.LittleEndian.Uint32(page)
	if n < 8 || n > backend.PageSize {
		t.Fatalf("call %d of handle %#x: reply of %d bytes", function, handle, n)
	}
	return binary.LittleEndian.Uint32(page[4:]), bytes.Clone(page[8:n])
}

func words(v ...uint32) (p []byte) {
	for _, w := range v {
		p = binary.LittleEndian.AppendUint32(p, w)
	}
	return p
}

// labelled is a guest with a label area of 128 KiB in slot 0, and none in
// slot 1.
func labelled(t testing.TB) (*guest, *backend.Backend) {
	r := newRoot(t, Config{})
	b := openFile(t, backend.FileConfig{Path: filepath.Join(t.TempDir(), "labelled"), Size: 4 * mib, Share: true})
	plug(t, r, PlugConfig{Backend: b, LabelSize: 128 * kib})
	plug(t, r, PlugConfig{Backend: newRAM(t, 4*mib)})
	return newGuest(t, r), b
}

func TestCalls(t *testing.T) {
	g, _ := labelled(t)
	long := words(0, maxTransfer+1)
	for _, c := range []struct {
		name                       string
		handle, revision, function uint32
		argument                   []byte
		want                       uint32
		result                     []byte
	}{
		{"root: query", 0, 1, 0, nil, 0, nil},
		{"root: query of revision 2", 0, 2, 0, nil, 0, nil},
		{"root: ARS capabilities", 0, 1, 1, nil, statusNotSupported, nil},
		{"labelled: query", 1, 1, 0, nil, 0x71, nil},
		{"labelled: query of revision 2", 1, 2, 0, nil, 0x71, nil},
		{"labelled: query of revision 3", 1, 3, 0, nil, 0, nil},
		{"labelled: query of revision 0", 1, 0, 0, nil, 0, nil},
		{"labelled: size", 1, 1, 4, nil, 0, words(128*kib, 0xfec)},
		{"labelled: size of revision 2", 1, 2, 4, nil, 0, words(128*kib, 0xfec)},
		{"labelled: size of revision 3", 1, 3, 4, nil, statusNotSupported, nil},
		{"labelled: SMART", 1, 1, 1, nil, statusNotSupported, nil},
		{"labelled: function 7", 1, 1, 7, nil, statusNotSupported, nil},
		{"labelled: function 2^32-1", 1, 1, 0xffffffff, nil, statusNotSupported, nil},
		{"labelled: read", 1, 1, 5, words(0, 8), 0, make([]byte, 8)},
		{"labelled: longest read", 1, 1, 5, words(0, 0xfec), 0, make([]byte, 0xfec)},
		{"labelled: read of nothing", 1, 1, 5, words(0, 0), 0, nil},
		{"labelled: read of nothing at the end", 1, 1, 5, words(128*kib, 0), 0, nil},
		{"labelled: read of nothing behind the end", 1, 1, 5, words(128*kib+1, 0), statusInvalid, nil},
		{"labelled: last byte", 1, 1, 5, words(128*kib-1, 1), 0, make([]byte, 1)},
		{"labelled: read over the end", 1, 1, 5, words(128*kib-1, 2), statusInvalid, nil},
		{"labelled: too long", 1, 1, 5, long, statusInvalid, nil},
		{"labelled: length 2^32-1", 1, 1, 5, words(0, 0xffffffff), statusInvalid, nil},
		{"labelled: sum that wraps", 1, 1, 5, words(0xfffffff0, 0x20), statusInvalid, nil},
		{"labelled: write of nothing", 1, 1, 6, words(0, 0), 0, nil},
		{"labelled: write over the end", 1, 1, 6, words(128*kib-1, 2), statusInvalid, nil},
		{"labelled: write that wraps", 1, 1, 6, words(0xffffffff, 1), statusInvalid, nil},
		{"labelled: write too long", 1, 1, 6, long, statusInvalid, nil},
		{"without label: query", 2, 1, 0, nil, 0, nil},
		{"without label: size", 2, 1, 4, nil, statusNotSupported, nil},
		{"without label: read", 2, 1, 5, words(0, 0), statusNotSupported, nil},
		{"without label: write", 2, 1, 6, words(0, 4, 1), statusNotSupported, nil},
		{"empty slot: query", 3, 1, 0, nil, 0, nil},
		{"empty slot: size", 3, 1, 4, nil, statusNoDevice, nil},
		{"no slot", 0xffffffff, 1, 4, nil, statusNoDevice, nil},
		{"FIT: query", 0x10000, 1, 0, nil, 0, nil},
		{"FIT: function 2", 0x10000, 1, 2, nil, statusNotSupported, nil},
		{"FIT: revision 2", 0x10000, 2, 1, nil, statusNotSupported, nil},
		{"FIT: end", 0x10000, 1, 1, words(2 * 184), statusFITChanged, nil},
		{"FIT: start", 0x10000, 1, 1, words(0), 0, g.FIT()},
		{"FIT: rest", 0x10000, 1, 1, words(184), 0, g.FIT()[184:]},
		{"FIT: end", 0x10000, 1, 1, words(2 * 184), 0, nil},
		{"FIT: behind the end", 0x10000, 1, 1, words(2*184 + 1), statusInvalid, nil},
	} {
		got, result := g.send(t, c.handle, c.revision, c.function, c.argument)
		if got != c.want || !bytes.Equal(result, c.result) {
			t.Errorf("%s = %#x and %d bytes, want %#x and %d bytes", c.name, got, len(result), c.want, len(c.result))
		}
	}
}

// TestLabelWrite: writes land in the last bytes of the backend, before the
// reply and whether a VM maps it or not.
func TestLabelWrite(t *testing.T) {
	g, b := labelled(t)
	for _, on := range []bool{false, true} {
		if on {
			mapped(t, g.DIMMs()[0])
		}
		data := []byte(fmt.Sprintf("on %-5v", on))
		const off = 0x1fe00
		if code, _ := g.send(t, 1, 1, 6, append(words(off, uint32(len(data))), data...)); code != 0 {
			t.Errorf("on %v: write gave status %d", on, code)
		}
		file, err := os.ReadFile(b.Path())
		if err != nil || !bytes.HasPrefix(file[4*mib-128*kib+off:], data) {
			t.Errorf("on %v: the file holds %q, %v", on, file[4*mib-128*kib+off:][:8], err)
		}
		if code, got := g.send(t, 1, 1, 5, words(off, uint32(len(data)))); code != 0 || !bytes.Equal(got, data) {
			t.Errorf("on %v: read back %q, status %d", on, got, code)
		}
		if n := bytes.Count(file, []byte{0}); n != len(file)-len(data) {
			t.Errorf("on %v: %d bytes besides the label's were written", on, len(file)-len(data)-n)
		}
	}
}

// TestPortReachesOnlyItsOwnPage: only a 4-byte write of the page's own address does anything.
func TestPortReachesOnlyItsOwnPage(t *testing.T) {
	g, _ := labelled(t)
	request := append(words(1, 1, 4), make([]byte, 100)...)
	for i := range g.ram.bytes {
		g.ram.bytes[i] = 0xaa
	}
	copy(g.page(), request)
	before := g.ram.bytes
	for _, c := range []struct {
		port  uint16
		size  int
		value uint32
	}{
		{MailboxPort, 1, testPage}, {MailboxPort, 2, testPage}, {MailboxPort, 8, testPage}, {MailboxPort + 1, 4, testPage},
		{MailboxPort, 4, 0}, {MailboxPort, 4, testPage + 4}, {MailboxPort, 4, testPage + backend.PageSize}, {MailboxPort, 4, testPage - backend.PageSize},
		{MailboxPort, 4, 0xfee00000}, {MailboxPort, 4, 0xffffffff}, {MailboxPort, 4, 0xfffff000},
	} {
		g.box.Out(c.port, c.size, c.value)
		if g.ram.bytes != before {
			t.Fatalf("Out(%#x, %d, %#x) changed the guest's memory", c.port, c.size, c.value)
		}
	}
	for _, size := range []int{1, 2, 4} {
		if got := g.box.In(MailboxPort, size); got != 0 {
			t.Errorf("In(%d bytes) = %#x, want 0", size, got)
		}
	}
	g.box.Out(MailboxPort, 4, testPage)
	if g.ram.bytes == before {
		t.Errorf("the right access did nothing")
	}
}

// TestRequestIsCopiedBeforeItIsParsed: what another CPU writes into the page after the device
// has read it has no effect.
func TestRequestIsCopiedBeforeItIsParsed(t *testing.T) {
	g, b := labelled(t)
	g.ram.onRead = func() {
		page := g.page()
		binary.LittleEndian.PutUint32(page[8:], FuncSetLabel)
		copy(page[12:], words(0, 4, 0x41414141))
	}
	if code, data := g.send(t, 1, 1, 5, words(0, 4)); code != 0 || len(data) != 4 {
		t.Errorf("read = status %d with %d bytes, want 0 with 4", code, len(data))
	}
	if got := readBack(t, b, 4*mib-128*kib, 4); got != "\x00\x00\x00\x00" {
		t.Errorf("the rewritten request wrote %q", got)
	}
}

func TestMailboxOutsideRAM(t *testing.T) {
	g, _ := labelled(t)
	var failures []error
	g.OnError = func(err error) { failures = append(failures, err) }
	g.Mailbox(&g.ram, 0x4000).Out(MailboxPort, 4, 0x4000)
	if len(failures) != 1 {
		t.Errorf("a mailbox outside of RAM gave %v, want one error", failures)
	}
}

// TestFITIsAtomicAgainstHotplug: the protocol of a reader that is interrupted by a hotplug.
func TestFITIsAtomicAgainstHotplug(t *testing.T) {
	r := newRoot(t, Config{Slots: 64, MaxMem: 8 * gib})
	g := newGuest(t, r)
	add := func() {
		b, err := backend.NewRAM(backend.RAMConfig{Size: mib, Align: 4096})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { b.Close() })
		plug(t, r, PlugConfig{Backend: b})
	}
	for range 30 { // 5520 bytes: more than one piece
		add()
	}
	code, first := g.send(t, FITHandle, 1, 1, words(0))
	if code != 0 || len(first) != 4088 {
		t.Fatalf("first piece = status %#x with %d bytes, want 0 with 4088", code, len(first))
	}
	add()
	if code, _ := g.send(t, FITHandle, 1, 1, words(4088)); code != statusFITChanged {
		t.Errorf("second piece after a hotplug = status %#x, want 0x100", code)
	}
	var fit []byte
	for {
		code, piece := g.send(t, FITHandle, 1, 1, words(uint32(len(fit))))
		if code != 0 {
			t.Fatalf("piece at %d = status %#x", len(fit), code)
		}
		if len(piece) == 0 {
			break
		}
		fit = append(fit, piece...)
	}
	if !bytes.Equal(fit, r.FIT()) || len(fit) != 31*184 {
		t.Errorf("the pieces are %d bytes, want the FIT's %d", len(fit), 31*184)
	}
	if !bytes.HasPrefix(fit, first) {
		t.Errorf("the hotplug changed structures that were there")
	}
}

func TestOnCall(t *testing.T) {
	g, b := labelled(t)
	var seen []Call
	g.OnCall = func(c *Call) {
		seen = append(seen, *c)
		if c.Function == FuncSetLabel {
			c.Status = 4
		}
	}
	if code, _ := g.send(t, 1, 1, 6, words(0x100, 4, 0x41414141)); code != 4 {
		t.Errorf("a call that the observer fails = status %d, want 4", code)
	}
	if got := readBack(t, b, 4*mib-128*kib+0x100, 4); got != "\x00\x00\x00\x00" {
		t.Errorf("a call that failed wrote %q", got)
	}
	g.send(t, 1, 1, 5, words(0x200, 0x80))
	g.send(t, 3, 1, 4, nil)
	g.send(t, FITHandle, 1, 1, words(7))
	d := g.DIMMs()[0]
	want := []Call{
		{DIMM: d, Handle: 1, Revision: 1, Function: 6, Offset: 0x100, Length: 4, Data: "AAAA"},
		{DIMM: d, Handle: 1, Revision: 1, Function: 5, Offset: 0x200, Length: 0x80},
		{Handle: 3, Revision: 1, Function: 4},
		{Handle: FITHandle, Revision: 1, Function: 1, Offset: 7},
	}
	if !slices.Equal(seen, want) {
		t.Errorf("the observer saw\n%+v, want\n%+v", seen, want)
	}
}

func TestTornLabelWrite(t *testing.T) {
	g, b := labelled(t)
	g.OnCall = func(c *Call) {
		if c.Data != "" {
			c.Status, c.Torn = 4, 3
		}
	}
	if code, _ := g.send(t, 1, 1, 6, words(0x100, 8, 0x41414141, 0x41414141)); code != 4 {
		t.Errorf("a label write that is torn = status %d, want 4", code)
	}
	if got := readBack(t, b, 4*mib-128*kib+0x100, 4); got != "AAA\x00" {
		t.Errorf("a label write torn after 3 bytes wrote %q", got)
	}
	if code, _ := g.send(t, 1, 1, 6, words(128*kib, 8, 0, 0)); code != statusInvalid {
		t.Errorf("a label write beyond the area = status %d, want 3, the observer being told of no data", code)
	}
}

// TestTruncatedLabels: the host's trouble is the guest's hardware error, and
// is reported.
func TestTruncatedLabels(t *testing.T) {
	g, b := labelled(t)
	mapped(t, g.DIMMs()[0])
	os.Truncate(b.Path(), mib)
	var failures []error
	g.OnError = func(err error) { failures = append(failures, err) }
	for _, function := range []uint32{FuncGetLabel, FuncSetLabel} {
		if code, data := g.send(t, 1, 1, function, words(0, 16)); code != StatusFailed || len(data) != 0 {
			t.Errorf("function %d of a truncated backend = status %d with %d bytes, want 4 with none", function, code, len(data))
		}
	}
	if len(failures) != 2 || !errors.Is(failures[0], backend.ErrTruncated) || !errors.Is(failures[1], backend.ErrTruncated) {
		t.Errorf("errors reported: %v, want two of truncation", failures)
	}
}

// FuzzDSM feeds the mailbox pages that a guest made up, one after the other.
func FuzzDSM(f *testing.F) {
	page := func(handle, revision, function uint32, argument ...uint32) []byte {
		return append(words(handle, revision, function), words(argument...)...)
	}
	f.Add(page(0, 1, 0), page(1, 1, 4), uint32(testPage), 4)
	f.Add(page(1, 1, 5, 0, 0), page(1, 1, 6, 0, 16, 1, 2, 3, 4), uint32(testPage), 4)
	f.Add(page(1, 1, 6, 0xfffffff0, 0x20), page(1, 2, 5, 128*kib-4, 4), uint32(testPage), 4)
	f.Add(page(FITHandle, 1, 1, 0), page(FITHandle, 1, 1, 184), uint32(testPage), 4)
	f.Add(page(2, 1, 4), page(3, 1, 5, 0, 0xffffffff), uint32(0xfffff000), 2)
	g, b := labelled(f)
	d := g.DIMMs()[0]
	mapped(f, d)
	f.Fuzz(func(t *testing.T, first, second []byte, value uint32, size int) {
		clear(g.ram.bytes[:])
		g.ram.bytes[0], g.ram.bytes[64*kib-1] = 0x55, 0x55
		for _, request := range [][]byte{first, second} {
			copy(g.page(), request)
			g.box.Out(MailboxPort, size, value)
			if size == 4 && value == testPage {
				if n := binary.LittleEndian.Uint32(g.page()); n < 8 || n > backend.PageSize {
					t.Errorf("request % x: reply of %d bytes", request, n)
				}
			}
		}
		outside := bytes.Clone(g.ram.bytes[:])
		clear(outside[testPage-guestBase:][:backend.PageSize])
		outside[0], outside[64*kib-1] = outside[0]^0x55, outside[64*kib-1]^0x55
		if !bytes.Equal(outside, make([]byte, len(outside))) {
			t.Error("the device wrote outside of its page")
		}
		if got := readBack(t, b, int64(d.Size())-4096, 4096); got != string(make([]byte, 4096)) {
			t.Error("the device wrote outside of the label area")
		}
	})
}

package vmm_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"testing"

	"nvlab/internal/pages"
	"nvlab/vmm"
	"nvlab/vmm/observe"
	"nvlab/vmm/soft"
)

// others is where tests put memory of others.
const others = 5 << 30

// addMemory adds n pages at others.
func addMemory(t *testing.T, p *pc, n int, edit func(*vmm.Region)) vmm.Region {
	t.Helper()
	r := vmm.Region{Base: others, Mem: make([]byte, n*pages.Size)}
	if edit != nil {
		edit(&r)
	}
	if err := p.AddMemory(r); err != nil {
		t.Fatal(err)
	}
	return r
}

// TestPhysical: who looks from outside sees RAM and the memory of others, and nothing
// of what is not all memory.
func TestPhysical(t *testing.T) {
	p := newPC(t, soft.Engine{}, "p")
	r := addMemory(t, p, 1, nil)
	text := []byte("what the guest has")
	copy(r.Mem[100:], text)
	if _, err := p.Memory().WriteAt(text, 1<<20); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, len(text))
	for _, at := range []int64{others + 100, 1 << 20} {
		clear(got)
		if n, err := p.Physical().ReadAt(got, at); n != len(text) || err != nil || !bytes.Equal(got, text) {
			t.Errorf("Physical().ReadAt(%#x) = %d, %v, %q, want %q", at, n, err, got, text)
		}
	}
	for _, at := range []int64{others + pages.Size - 4, 1 << 38} {
		if n, err := p.Physical().ReadAt(got, at); n != 0 || err == nil {
			t.Errorf("Physical().ReadAt(%#x) = %d, %v, want an error: not all of it is memory", at, n, err)
		}
	}
}

// TestDMA: devices reach memory of others as RAM, also where one Region ends and
// the next begins, and nothing of an access that is not all memory.
func TestDMA(t *testing.T) {
	p := newPC(t, soft.Engine{}, "p")
	dirty := pages.NewSet(2 * pages.Size)
	a := addMemory(t, p, 2, func(r *vmm.Region) { r.Dirty = dirty })
	b := addMemory(t, p, 1, func(r *vmm.Region) { r.Base += 2 * pages.Size })
	rom := addMemory(t, p, 1, func(r *vmm.Region) { r.Base += 3 * pages.Size; r.ReadOnly = true })
	mem := p.DMA()
	text := []byte("from one into the next")
	const seam = others + 2*pages.Size - 5
	if n, err := mem.WriteAt(text, seam); n != len(text) || err != nil {
		t.Fatalf("WriteAt across two regions = %d, %v, want %d", n, err, len(text))
	}
	got := make([]byte, len(text))
	if _, err := mem.ReadAt(got, seam); err != nil || !bytes.Equal(got, text) {
		t.Errorf("ReadAt across two regions = %q, %v, want %q", got, err, text)
	}
	if !bytes.HasSuffix(a.Mem, text[:5]) || !bytes.HasPrefix(b.Mem, text[5:]) {
		t.Errorf("the regions end and begin with %q and %q", a.Mem[len(a.Mem)-5:], b.Mem[:len(text)-5])
	}
	if list := slices.Collect(dirty.All()); !slices.Equal(list, []uint64{1}) {
		t.Errorf("dirty pages = %v, want the second alone", list)
	}
	if n, err := mem.WriteAt(text, others+4*pages.Size-9); err == nil || n != 0 || rom.Mem[len(rom.Mem)-1] != 0 {
		t.Errorf("WriteAt into nothing = %d, %v, want an error and no byte written", n, err)
	}
	if _, err := mem.WriteAt(text, others+3*pages.Size-5); err != nil || !bytes.HasSuffix(b.Mem, text[:5]) || rom.Mem[0] != 0 {
		t.Errorf("WriteAt into read-only memory: %v, %q, want what is writable written", err, b.Mem[len(b.Mem)-5:])
	}
	for _, addr := range []int64{others - 1, others + 4*pages.Size, -1, -1 << 63, 1<<63 - 1} {
		if n, err := mem.ReadAt(got, addr); err == nil || n != 0 {
			t.Errorf("ReadAt of %d bytes at %#x = %d, %v, want an error", len(got), addr, n, err)
		}
	}
	if _, err := mem.WriteAt(text, 0x5000); err != nil {
		t.Errorf("WriteAt to RAM: %v", err)
	}
}

// log notes what it is told, and what memory held then.
type log struct {
	mem  []byte
	told []string
}

func (l *log) note(format string, args ...any) { l.told = append(l.told, fmt.Sprintf(format, args...)) }

func (l *log) Store(e *observe.Store) {
	l.note("%v store %#x+%d %x over %x", e.Kind, e.Offset, e.Size, e.Value, l.mem[e.Offset:][:e.Size])
}
func (l *log) Flush(*observe.Flush) { l.note("flush") }
func (l *log) Fence(*observe.Fence) { l.note("fence") }
func (l *log) Load(e *observe.Load) bool {
	l.note("load %d of %#x+%d", e.Kind, e.Offset, e.Size)
	return true
}

// TestDMAIsTold: an observer is told of a device's stores, in chunks and before
// memory changes, and of its loads from watched lines.
func TestDMAIsTold(t *testing.T) {
	p := newPC(t, soft.Engine{}, "p")
	r := addMemory(t, p, 1, func(r *vmm.Region) { r.Observed = true })
	copy(r.Mem[6:], "\xa1\xa2\xa3\xa4\xa5\xa6\xa7\xa8\xa9\xaa\xab")
	l := &log{mem: r.Mem}
	if err := p.Observe(l); err != nil {
		t.Fatal(err)
	}
	mem := p.DMA()
	if _, err := mem.WriteAt([]byte{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11}, others+6); err != nil {
		t.Fatal(err)
	}
	want := []string{
		"device store 0x6+2 201 over a1a2",
		"device store 0x8+8 a09080706050403 over a3a4a5a6a7a8a9aa",
		"device store 0x10+1 b over ab",
	}
	if !slices.Equal(l.told, want) {
		t.Errorf("told:\n%s\nwant:\n%s", strings.Join(l.told, "\n"), strings.Join(want, "\n"))
	}
	watch := &observe.Watch{}
	watch.Add(others + 64)
	watch.Add(others + 192)
	if err := p.WatchLoads(watch, l); err != nil {
		t.Fatal(err)
	}
	l.told = nil
	for range 2 { // the second time nobody wants to know any more
		if _, err := mem.ReadAt(make([]byte, 140), others+60); err != nil {
			t.Fatal(err)
		}
	}
	if want := []string{fmt.Sprintf("load %d of 0x40+64", observe.DeviceLoad), fmt.Sprintf("load %d of 0xc0+8", observe.DeviceLoad)}; !slices.Equal(l.told, want) {
		t.Errorf("told of loads %q, want %q", l.told, want)
	}
}

// TestDevicePoison has the entropy device's queue in memory with a poisoned line:
// the device asks for a reset and says why, the line counts as found, and once it
// can be read the device works, after a reset.
func TestDevicePoison(t *testing.T) {
	p := newPC(t, soft.Engine{}, "p", func(c *vmm.Config, _ *vmm.Payload) { c.MachineCheck = true })
	r := addMemory(t, p, 2, nil)
	const avail, used, buffer = 0x400, 0x800, 0x1000
	le := binary.LittleEndian
	le.PutUint64(r.Mem, others+buffer) // a descriptor
	le.PutUint32(r.Mem[8:], 16)
	le.PutUint16(r.Mem[12:], 2) // to write
	le.PutUint16(r.Mem[avail+2:], 1)
	dev := p.EntropyDevice()
	start := func() {
		const acknowledge, driver, ok, features = 1, 2, 4, 8
		dev.Write(0x70, 4, 0)
		dev.Write(0x24, 4, 1)
		dev.Write(0x20, 4, 1) // VERSION_1
		dev.Write(0x70, 4, acknowledge|driver|features)
		for reg, v := range map[uint64]uint64{0x80: others, 0x90: others + avail, 0xa0: others + used} {
			dev.Write(reg, 4, v&0xffff_ffff)
			dev.Write(reg+4, 4, v>>32)
		}
		dev.Write(0x38, 4, 8)
		dev.Write(0x44, 4, 1)
		dev.Write(0x70, 4, acknowledge|driver|features|ok)
	}
	var consumed []uint64
	poison := func(addrs ...uint64) {
		var w *observe.Watch
		for _, a := range addrs {
			if w == nil {
				w = &observe.Watch{}
			}
			w.Add(a)
		}
		if err := p.Poison(w, func(addr uint64, reported bool) {
			if !reported {
				t.Errorf("the device's read of %#x could not be reported", addr)
			}
			consumed = append(consumed, addr)
		}); err != nil {
			t.Fatal(err)
		}
	}
	poison(others+avail+0x40, others+buffer) // neither is read: the buffer is only written to
	start()
	if err := p.Stopped(); err != nil || le.Uint16(r.Mem[used+2:]) != 1 || bytes.Equal(r.Mem[buffer:][:16], make([]byte, 16)) {
		t.Fatalf("beside poison: %v, %d buffers used, % x", err, le.Uint16(r.Mem[used+2:]), r.Mem[buffer:][:16])
	}
	le.PutUint32(r.Mem[used:], 0)
	poison(others) // the descriptor
	start()
	want := "the virtio entropy device stopped: memory at 0x140000000 cannot be read: it is poisoned"
	if err := p.Stopped(); err == nil || err.Error() != want {
		t.Errorf("Stopped() = %v, want %q", err, want)
	}
	if !slices.Equal(consumed, []uint64{others}) || le.Uint16(r.Mem[used+2:]) != 0 {
		t.Errorf("consumed %#x, %d buffers used, want the descriptor's line and none", consumed, le.Uint16(r.Mem[used+2:]))
	}
	poison()
	start()
	if err := p.Stopped(); err != nil || le.Uint16(r.Mem[used+2:]) != 1 {
		t.Errorf("after the line was repaired and the device reset: %v, %d buffers used, want 1", err, le.Uint16(r.Mem[used+2:]))
	}
}

// copyObserver notes what is loaded of copies.
type copyObserver struct{ loads []observe.Load }

func (o *copyObserver) Load(e *observe.Load) bool         { o.loads = append(o.loads, *e); return false }
func (o *copyObserver) Copy(*observe.Copy) uint64         { return 0 }
func (o *copyObserver) Overwritten(addr, n uint64) uint64 { return 0 }

// TestReadsOfCopiesAreTold: whoever reads RAM in which there are copies of watched
// lines is told of, a device as the host.
func TestReadsOfCopiesAreTold(t *testing.T) {
	const at = 0x5000
	for name, read := range map[string]func(p *pc, b []byte, addr int64) (int, error){
		"a device": func(p *pc, b []byte, addr int64) (int, error) { return p.DMA().ReadAt(b, addr) },
		"the host": func(p *pc, b []byte, addr int64) (int, error) { return p.Memory().ReadAt(b, addr) },
	} {
		p := newPC(t, soft.Engine{}, "p")
		o, w := &copyObserver{}, &observe.Watch{}
		w.Add(at)
		if err := p.WatchLoads(w, o); err != nil {
			t.Fatal(err)
		}
		for _, addr := range []int64{at - 64, at + 64, at + 60} {
			if _, err := read(p, make([]byte, 64), addr); err != nil {
				t.Fatal(err)
			}
		}
		if len(o.loads) != 1 || o.loads[0].Base+o.loads[0].Offset != at+60 || o.loads[0].Size != 4 || o.loads[0].Kind != observe.DeviceLoad {
			t.Errorf("%s: %+v is told of, want a load of 4 bytes at %#x", name, o.loads, at+60)
		}
	}
}

package nvdimm

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"reflect"
	"slices"
	"testing"
	"time"

	"nvlab/nvdimm/backend"
	"nvlab/nvdimm/firmware"
)

// managed is a guest with a DIMM of Intel's family in slot 0, two that are
// interleaved in slots 1 and 2, and one of two regions in slot 3. Its clock is
// now.
type managed struct {
	*guest
	now    time.Duration
	events []Event
}

func newManaged(t testing.TB, ars firmware.ARSConfig) *managed {
	r := newRoot(t, Config{Slots: 5, ARS: &ars})
	m := &managed{guest: newGuest(t, r)}
	r.Clock = func() time.Duration { return m.now }
	r.OnEvent = func(e Event) { m.events = append(m.events, e) }
	ram := func(label uint64) *backend.Backend { return newRAM(t, 4*mib+label) }
	plug(t, r, PlugConfig{Backend: ram(128 * kib), LabelSize: 128 * kib, Family: firmware.Intel})
	a := plug(t, r, PlugConfig{Backend: ram(0)})
	b := plug(t, r, PlugConfig{Backend: ram(0), Family: firmware.MSFT})
	if err := r.Interleave([]*DIMM{a, b}, 1*mib); err != nil {
		t.Fatal(err)
	}
	plug(t, r, PlugConfig{Backend: ram(0), Family: firmware.HyperV, Regions: 2})
	return m
}

// root calls the root device; numbers of 8 bytes are its input.
func (m *managed) root(t testing.TB, function uint32, in ...uint64) (uint32, []byte) {
	t.Helper()
	var argument []byte
	for _, v := range in {
		argument = binary.LittleEndian.AppendUint64(argument, v)
	}
	return m.send(t, 0, 1, function, argument)
}

var testARS = firmware.ARSConfig{Duration: time.Second, Records: 2, ClearUnit: 256}

func TestFamilies(t *testing.T) {
	m := newManaged(t, testARS)
	for _, c := range []struct {
		name             string
		handle, function uint32
		want             uint32
	}{
		{"Intel's of Intel", 1, 0, 0x7ffff47f},
		{"HPE's of Intel", 1, firmware.NumberHPE1 << 16, 0},
		{"an unknown one of Intel", 1, 0x7777 << 16, 0},
		{"an unknown one's function of Intel", 1, 0x7777<<16 | 1, statusNotSupported},
		{"Intel's of labels only, without labels", 2, 0, 0},
		{"Microsoft's of labels only", 2, firmware.NumberMSFT << 16, 0},
		{"Microsoft's of Microsoft", 3, firmware.NumberMSFT << 16, 1 | 1<<11},
		{"Intel's of Microsoft", 3, 0, 0},
		{"Intel's SMART of Microsoft", 3, 1, statusNotSupported},
		{"Hyper-V's of Hyper-V", 4, firmware.NumberHyperV << 16, 7},
		{"an empty slot", 5, 0, 0},
		{"SMART of an empty slot", 5, 1, statusNoDevice},
		{"the root device", 0, 0, 0x3bf},
		{"activation of the root device", 0, firmware.NumberActivation << 16, 7},
		{"an unknown one of the root device", 0, 2 << 16, 0},
		{"function 6 of the root device", 0, 6, statusNotSupported},
		{"function 10 of the root device", 0, 10, statusNotSupported},
	} {
		if got, rest := m.send(t, c.handle, 1, c.function, nil); got != c.want || len(rest) != 0 {
			t.Errorf("%s = %#x and %d bytes, want %#x and none", c.name, got, len(rest), c.want)
		}
	}
	for _, revision := range []uint32{0, 2} {
		if got, _ := m.send(t, 0, revision, 0, nil); got != 0 {
			t.Errorf("the root device, revision %d = %#x, want no functions", revision, got)
		}
	}
}

// TestLockedLabels: of a locked DIMM the size of the labels says so, by which
// Linux keeps its namespaces away, and the labels are there. Its memory is not.
func TestLockedLabels(t *testing.T) {
	m := newManaged(t, testARS)
	m.send(t, 1, 2, 20, append(make([]byte, 32), bytes.Repeat([]byte{7}, 32)...))
	for _, c := range []struct {
		after  func()
		locked uint32
	}{{func() {}, 0}, {func() { m.reset() }, 0}, {func() { m.PowerOn(); m.reset() }, 1 << 16}} {
		c.after()
		if got, rest := m.send(t, 1, 1, FuncLabelSize, nil); got != c.locked || !bytes.Equal(rest, words(128*kib, maxTransfer)) {
			t.Errorf("size of the labels = %#x, % x, want %#x and the size", got, rest, c.locked)
		}
		if got, _ := m.send(t, 1, 1, FuncGetLabel, words(0, 8)); got != 0 {
			t.Errorf("reading labels = %#x, want 0", got)
		}
	}
	d := m.dimms[0]
	mem, err := d.Map()
	if err != nil {
		t.Fatal(err)
	}
	for _, locked := range []bool{true, false} {
		d.management.Security.Locked = locked
		d.management.Poison = firmware.Poison{{Offset: 64, Length: 64}}
		if shown, bad := len(d.Shown(mem)), len(slices.Collect(m.Poisoned())); (shown == 0) != locked || (bad == 0) != locked || len(d.Pieces(mem)) != 1 {
			t.Errorf("locked %v: the guest reaches %d pieces of memory, and %d bad lines", locked, shown, bad)
		}
	}
}

// TestErase: a secure erase takes the data and leaves the labels, an overwrite
// takes both.
func TestErase(t *testing.T) {
	m := newManaged(t, testARS)
	d := m.dimms[0]
	mapped(t, d)
	all := d.mapped.Bytes()
	for i, what := range []struct {
		function   uint32
		data, rest int
	}{{24, 0, 128 * kib}, {25, 0, 0}} {
		for at := range all {
			all[at] = 0xa5
		}
		if got, _ := m.send(t, 1, 2, what.function, make([]byte, 32)); got != 0 {
			t.Fatalf("function %d = %#x", what.function, got)
		}
		data := bytes.Count(all[:d.size], []byte{0xa5})
		rest := bytes.Count(all[d.size:], []byte{0xa5})
		if data != what.data || rest != what.rest {
			t.Errorf("case %d: function %d leaves %d bytes of data and %d of labels, want %d and %d", i, what.function, data, rest, what.data, what.rest)
		}
	}
}

// TestScrub goes the driver's way: capabilities, a scrub that takes its time,
// an overflow, the rest.
func TestScrub(t *testing.T) {
	m := newManaged(t, testARS)
	d := m.dimms[0]
	poison := func(offset uint64, latent bool) {
		list, err := d.management.Poison.Add(firmware.PoisonedRange{Offset: offset, Length: 64, Latent: latent})
		if err != nil {
			t.Fatal(err)
		}
		d.management.Poison = list
	}
	poison(0x1000, false)
	poison(0x5400, true)
	poison(0x9000, true)

	status, rest := m.root(t, 1, d.addr, d.size)
	if want := words(48+2*24, 256, 0); status != 0x20000 || !bytes.Equal(rest, want) {
		t.Errorf("capabilities = %#x, % x, want 0x20000, % x", status, rest, want)
	}
	for _, c := range []struct{ addr, n uint64 }{{d.addr - 4096, 4096}, {d.addr, d.size + 1}, {d.addr, 0}, {d.addr + d.size - 1, 2}, {1 << 63, 1 << 63}, {0, 0xffffffffffffffff}} {
		if status, rest := m.root(t, 1, c.addr, c.n); status != 2 || len(rest) != 0 {
			t.Errorf("capabilities of %#x bytes at %#x = %#x, want 2: no range", c.n, c.addr, status)
		}
	}
	scrub := func(addr, n, kind uint64) uint32 { status, _ := m.root(t, 2, addr, n, kind); return status }
	type record struct {
		handle  uint32
		addr, n uint64
	}
	query := func() (status uint32, addr, n, restart, left uint64, list []record) {
		status, p := m.root(t, 3)
		at := binary.LittleEndian.Uint64
		if got := binary.LittleEndian.Uint32(p); int(got) != len(p)+4 {
			t.Errorf("a reply of %d bytes says %d", len(p)+4, got)
		}
		for r := p[44:]; len(r) >= 24; r = r[24:] {
			list = append(list, record{binary.LittleEndian.Uint32(r), at(r[8:]), at(r[16:])})
		}
		if got := binary.LittleEndian.Uint32(p[40:]); int(got) != len(list) {
			t.Errorf("a reply with %d records says %d", len(list), got)
		}
		return status, at(p[4:]), at(p[12:]), at(p[20:]), at(p[28:]), list
	}
	if status, _, _, _, _, list := query(); status != 0x20000 || list != nil {
		t.Errorf("before the first scrub = %#x, %v, want 0x20000 and nothing", status, list)
	}
	if s := scrub(d.addr, d.size, 1); s != 2 {
		t.Errorf("a scrub of volatile memory = %#x, want 2", s)
	}
	const short = 1 << 17
	if s := scrub(d.addr, d.size, 2|short); s != 0 {
		t.Errorf("a short scrub = %#x", s)
	}
	if status, addr, n, _, _, list := query(); status != 0 || addr != d.addr || n != d.size || fmt.Sprint(list) != fmt.Sprint([]record{{1, d.addr + 0x1000, 64}}) {
		t.Errorf("a short scrub finds %v in %#x bytes at %#x, status %#x: want what is known", list, n, addr, status)
	}
	if s := scrub(d.addr, d.size, 2); s != 0 {
		t.Errorf("a full scrub = %#x", s)
	}
	m.now = time.Second - 1
	if status, _, _, _, _, _ := query(); status != 0x10000 {
		t.Errorf("a scrub that runs = %#x, want 0x10000", status)
	}
	if s := scrub(d.addr, d.size, 2|short); s != 6 {
		t.Errorf("another scrub while one runs = %#x, want 6: busy", s)
	}
	m.now = time.Second
	status, addr, n, restart, left, list := query()
	if want := []record{{1, d.addr + 0x1000, 64}, {1, d.addr + 0x5400, 64}}; status != 0x30000 || addr != d.addr || n != 0x9000 || restart != d.addr+0x9000 || left != d.size-0x9000 || !slices.Equal(list, want) {
		t.Errorf("a scrub with too many errors = %#x, %#x bytes at %#x, restart at %#x with %#x, %v", status, n, addr, restart, left, list)
	}
	scrub(restart, left, 2)
	m.now *= 2
	if status, addr, n, _, _, list := query(); status != 0 || addr != restart || n != left || !slices.Equal(list, []record{{1, d.addr + 0x9000, 64}}) {
		t.Errorf("the rest = %#x, %#x bytes at %#x, %v", status, n, addr, list)
	}
	m.reset()
	if status, _, _, _, _, _ := query(); status != 0x20000 {
		t.Errorf("after a reset = %#x, want 0x20000: no scrub yet", status)
	}
	if len(d.management.Poison.Within(0, d.size)) != 3 {
		t.Errorf("a reset repairs the medium: %+v", d.management.Poison)
	}
}

// TestClear: what is cleared can be read, and is zeros; what is not aligned is
// refused, and what is stuck ends it.
func TestClear(t *testing.T) {
	m := newManaged(t, testARS)
	d := m.dimms[0]
	mapped(t, d)
	mem := d.mapped.Bytes()
	for i := range mem {
		mem[i] = 0xa5
	}
	for _, r := range []firmware.PoisonedRange{{Offset: 0x1000, Length: 64}, {Offset: 0x1180, Length: 64, Latent: true}, {Offset: 0x2140, Length: 64, Stuck: true}} {
		d.management.Poison, _ = d.management.Poison.Add(r)
	}
	for _, c := range []struct {
		addr, n uint64
		status  uint32
		cleared uint64
	}{
		{d.addr + 0x1000, 0x100, 0, 0x100},
		{d.addr + 0x1080, 0x100, 2, 0},
		{d.addr + 0x1000, 0x80, 2, 0},
		{d.addr + 0x1000, 0x200, 0, 0x200},
		{d.addr + 0x2000, 0x200, 0, 0x100},
		{d.addr + 0x2100, 0x100, 0, 0},
		{d.addr + d.size, 0x100, 2, 0},
	} {
		status, rest := m.root(t, 4, c.addr, c.n)
		cleared := uint64(0)
		if status == 0 {
			cleared = binary.LittleEndian.Uint64(rest[4:])
		}
		if status != c.status || cleared != c.cleared {
			t.Errorf("clearing %#x bytes at %#x = %#x, %#x cleared, want %#x, %#x", c.n, c.addr-d.addr, status, cleared, c.status, c.cleared)
		}
	}
	if want := (firmware.Poison{{Offset: 0x2140, Length: 64, Stuck: true}}); !slices.Equal(d.management.Poison, want) {
		t.Errorf("poisoned after that: %+v, want %+v", d.management.Poison, want)
	}
	if zeros := bytes.Count(mem, []byte{0}); zeros != 128 || mem[0x1000] != 0 || mem[0x11bf] != 0 {
		t.Errorf("%d bytes are zeros, want the 128 that were lost", zeros)
	}
}

// TestInterleavedErrors: addresses of a set lead to its DIMMs line by line, and
// back.
func TestInterleavedErrors(t *testing.T) {
	m := newManaged(t, testARS)
	a, b, two := m.dimms[1], m.dimms[2], m.dimms[3]
	for _, c := range []struct {
		addr, n uint64
		handle  uint32
		dpa     uint64
	}{
		{a.addr, 1 * mib, 2, 0}, {a.addr + 1*mib + 100, 1*mib - 100, 3, 100}, {a.addr + 2*mib, 1 * mib, 2, 1 * mib},
		{a.addr + 8*mib - 1, 1, 3, 4*mib - 1}, {two.addr + 3*mib, 1 * mib, 4, 3 * mib},
	} {
		status, p := m.root(t, 5, c.addr)
		handle, dpa, n := binary.LittleEndian.Uint32(p[16:]), binary.LittleEndian.Uint64(p[24:]), binary.LittleEndian.Uint64(p[4:])
		if status != 0 || handle != c.handle || dpa != c.dpa || n != c.n {
			t.Errorf("translating %#x = %#x: handle %d, dpa %#x, %#x bytes, want handle %d, dpa %#x, %#x", c.addr, status, handle, dpa, n, c.handle, c.dpa, c.n)
		}
	}
	if status, _ := m.root(t, 5, a.addr+8*mib); status != 2 {
		t.Errorf("translating what is no DIMM's = %#x, want 2", status)
	}
	// Two regions of a DIMM are two ranges.
	if status, _ := m.root(t, 1, two.addr, 4*mib); status != 2 {
		t.Errorf("capabilities across two ranges = %#x, want 2", status)
	}
	if status, _ := m.root(t, 1, two.addr+2*mib, 2*mib); status != 0x20000 {
		t.Errorf("capabilities of the second range = %#x", status)
	}

	// An error across a line is one on either DIMM.
	if status, _ := m.root(t, 7, a.addr+1*mib-256, 512, 1); status != 0 || !slices.Equal(m.events, []Event{EventErrors}) {
		t.Errorf("injecting = %#x, events %v", status, m.events)
	}
	for _, c := range []struct {
		d    *DIMM
		want firmware.Poison
	}{{a, firmware.Poison{{Offset: 1*mib - 256, Length: 256, Injected: true}}}, {b, firmware.Poison{{Offset: 0, Length: 256, Injected: true}}}} {
		if !slices.Equal(c.d.management.Poison, c.want) {
			t.Errorf("poison of %s = %+v, want %+v", c.d.id, c.d.management.Poison, c.want)
		}
	}
	if status, p := m.root(t, 9); status != 0 || !bytes.Equal(p, words(2, uint32(a.addr+1*mib-256), uint32((a.addr+1*mib-256)>>32), 256, 0, uint32(a.addr+1*mib), uint32((a.addr+1*mib)>>32), 256, 0)) {
		t.Errorf("what was injected = %#x, % x", status, p)
	}
	m.root(t, 8, a.addr, 1*mib)
	if len(a.management.Poison) != 0 || len(b.management.Poison) != 1 {
		t.Errorf("taken back in the first line, there is %+v and %+v", a.management.Poison, b.management.Poison)
	}
	m.events = nil
	m.root(t, 7, a.addr, 64, 0)
	if len(m.events) != 0 || !a.management.Poison[0].Latent {
		t.Errorf("what is injected without notice makes events %v and poison %+v", m.events, a.management.Poison)
	}
}

// TestHealthEvents: the device names each DIMM to look at once, and then none.
func TestHealthEvents(t *testing.T) {
	m := newManaged(t, testARS)
	m.NotifyHealth(m.dimms[2])
	m.NotifyHealth(m.dimms[0])
	m.NotifyHealth(m.dimms[2])
	var slots []uint32
	for {
		status, rest := m.send(t, eventHandle, 1, funcEvent, nil)
		if status != 0 {
			break
		}
		slots = append(slots, binary.LittleEndian.Uint32(rest))
	}
	if !slices.Equal(slots, []uint32{0, 2}) || len(m.events) != 3 || m.events[0] != EventHealth {
		t.Errorf("slots %v after %d events, want 0 and 2 after 3", slots, len(m.events))
	}
}

// TestLate: a late reply is announced, comes when the guest's clock says so,
// and is lost to the next call.
func TestLate(t *testing.T) {
	m := newManaged(t, testARS)
	m.OnCall = func(c *Call) {
		if c.Function == 3 {
			c.Delay, c.Short = 1500*time.Millisecond, 16
		}
	}
	page := m.page()
	ask := func() {
		copy(page, words(0, 1, 3))
		m.box.Out(MailboxPort, 4, testPage)
	}
	ask()
	if got := m.box.In(waitPort, 4); got != 1000 || !bytes.Equal(page[:12], words(0, 1, 3)) {
		t.Errorf("a reply that is 1500 ms late: %d ms to wait, want 1000; the page has % x", got, page[:12])
	}
	m.now = 1001 * time.Millisecond
	if got := m.box.In(waitPort, 4); got != 499 {
		t.Errorf("after 1001 ms: %d ms to wait, want 499", got)
	}
	m.now = 1500 * time.Millisecond
	if got := m.box.In(waitPort, 4); got != 0 || !bytes.Equal(page[:12], words(20, 0x20000, 48)) {
		t.Errorf("after 1500 ms: %d ms to wait, and the page has % x", got, page[:12])
	}
	ask()
	if status, _ := m.send(t, 1, 1, 4, nil); status != 0 || m.box.In(waitPort, 4) != 0 {
		t.Errorf("a call after a late one = %#x, and %d ms to wait", status, m.box.In(waitPort, 4))
	}
}

// TestManagementIsSaved: a root that was loaded, by way of bytes, goes on with
// all that the firmware knew: a scrub that runs, a passphrase, an update that is
// half done, a reply that is late. What happens after it was saved is not in it.
func TestManagementIsSaved(t *testing.T) {
	m := newManaged(t, testARS)
	d := m.dimms[0]
	m.send(t, 1, 2, 20, append(make([]byte, 32), 7))
	m.send(t, 1, 2, 13, nil)
	m.send(t, 1, 2, 14, words(1, 0, 100))
	m.root(t, 7, d.addr, 256)
	m.root(t, 2, d.addr, d.size, 2)
	d.FlushFails()
	m.NotifyHealth(d)
	m.late = LateReply{[]byte{1, 2, 3}, time.Second}
	saved := throughGob(t, m.Save())
	backends := map[int]*backend.Backend{}
	for _, d := range m.dimms {
		backends[d.slot] = d.backend
	}
	m.root(t, 8, d.addr, 256)
	m.send(t, 1, 2, 21, []byte{7})
	m.send(t, 1, 2, 15, words(1, 1))
	m.PowerOn()
	m.reset()
	if reflect.DeepEqual(m.Save(), saved) {
		t.Fatal("calls and a power-on change nothing that is saved")
	}
	if err := m.Load(saved, backends); err != nil {
		t.Fatal(err)
	}
	if again := m.Save(); !reflect.DeepEqual(again, saved) {
		t.Fatalf("the state that was loaded is saved as another:\n%+v\n%+v", again, saved)
	}
	m.now = time.Second
	if status, rest := m.root(t, 3); status != 0 || binary.LittleEndian.Uint32(rest[40:]) != 1 {
		t.Errorf("the scrub that ran finds %#x, % x", status, rest)
	}
	if status, _ := m.send(t, 1, 2, 14, words(1, 100, 100)); status != 0 {
		t.Errorf("the update goes on with %#x", status)
	}
	unknown := *saved
	unknown.DIMMs = slices.Clone(saved.DIMMs)
	unknown.DIMMs[0].Family = "other"
	if err := m.Load(&unknown, backends); err == nil {
		t.Errorf("a state of an unknown family is loaded")
	}
}

func TestARSRefuses(t *testing.T) {
	for _, c := range []struct {
		ars  firmware.ARSConfig
		want string
	}{
		{firmware.ARSConfig{Records: 0, ClearUnit: 256}, "ars: records=0: a reply has 1 to 168"},
		{firmware.ARSConfig{Records: 169, ClearUnit: 256}, "ars: records=169: a reply has 1 to 168"},
		{firmware.ARSConfig{Records: 1, ClearUnit: 100}, "ars: clear_unit=100: it is a power of two from 64 to 2097152"},
		{firmware.ARSConfig{Records: 1, ClearUnit: 32}, "ars: clear_unit=32: it is a power of two from 64 to 2097152"},
		{firmware.ARSConfig{Records: 1, ClearUnit: 64, Duration: -1}, "ars: a scrub of -1ns: it takes 0 s at least"},
	} {
		if _, err := NewRoot(Config{Enabled: true, ARS: &c.ars}); fmt.Sprint(err) != c.want {
			t.Errorf("NewRoot(%+v) = %v, want %s", c.ars, err, c.want)
		}
	}
}

// FuzzManagement makes calls as a guest may, of every device and family, in and
// out of order, while time passes and the power comes and goes. No call ends
// the device, hangs it, or writes outside of its page; every reply has a
// status, what it says that it holds, it holds, and no state goes beyond what
// it is of.
func FuzzManagement(f *testing.F) {
	op := func(handle, function uint32, argument ...byte) []byte {
		return append([]byte{'c', byte(handle), byte(function >> 16), byte(function), 1, byte(len(argument))}, argument...)
	}
	number := func(v ...uint64) (p []byte) {
		for _, n := range v {
			p = binary.LittleEndian.AppendUint64(p, n)
		}
		return p
	}
	key := bytes.Repeat([]byte{3}, 32)
	const base = 4 * gib
	f.Add(slices.Concat(op(1, 20, append(make([]byte, 32), key...)...), []byte("p"), op(1, 22, key...), op(1, 23), op(1, 24, key...), []byte("p"), op(1, 22, key...), op(1, 25, key...), op(1, 26), []byte("w\xff"), op(1, 26)))
	f.Add(slices.Concat(op(1, 13), op(1, 14, words(1, 0, 4, 0)...), op(1, 15, words(0, 1)...), []byte("w\xff"), op(1, 16, words(1)...), op(1, 30, 1), op(0, 1<<16|1), op(0, 1<<16|2, 1), []byte("w\xff"), op(1, 29), op(1, 12), []byte("p"), op(1, 12)))
	f.Add(slices.Concat(op(0, 1, number(base, 4096)...), op(0, 7, append(number(base+64, 128), 1)...), op(0, 9), op(0, 2, number(base, 4096, 2)...), []byte("w\xff"), op(0, 3), op(0, 5, number(base+64)...), op(0, 4, number(base, 256)...), op(0, 8, number(base, 4096)...), op(0, 3)))
	f.Add(slices.Concat(op(1, 17, 7, 0, 50, 0, 1, 0, 1), op(1, 18, append(number(15), 1, 0, 1, 1, 1, 1, 1)...), op(1, 1), op(1, 2), op(1, 10, 1), []byte("up"), op(1, 1), op(3, 3<<16|11), op(4, 4<<16|1)))
	f.Fuzz(func(t *testing.T, script []byte) {
		m := newManaged(t, testARS)
		for i := range m.ram.bytes {
			m.ram.bytes[i] = 0x5a
		}
		outside := bytes.Repeat([]byte{0x5a}, len(m.ram.bytes))
		for steps := 0; len(script) > 0 && steps < 200; steps++ {
			kind := script[0]
			script = script[1:]
			switch kind {
			case 'p':
				m.now = 0
				m.PowerOn()
				m.reset()
			case 'r':
				m.now = 0
				m.reset()
			case 'u':
				m.dimms[0].FlushFails()
			case 'w':
				if len(script) > 0 {
					m.now += time.Duration(script[0]) * 40 * time.Millisecond
					script = script[1:]
				}
			case 'c':
				if len(script) < 5 {
					return
				}
				handle, function, revision := uint32(script[0]), uint32(script[1])<<16|uint32(script[2]), uint32(script[3])
				argument := script[5:][:min(int(script[4]), len(script)-5)]
				script = script[5+len(argument):]
				if handle == 0xff {
					handle = eventHandle
				}
				status, rest := m.send(t, handle, revision, function, argument)
				if handle == RootHandle && status&0xffff == 0 {
					switch at := binary.LittleEndian.Uint32; {
					case function == 3 && (len(rest) < 44 || int(at(rest)) != len(rest)+4 || int(at(rest[40:]))*24+44 != len(rest)):
						t.Fatalf("ARS status of %d bytes, % x", len(rest)+4, rest)
					case function == 9 && int(at(rest))*16+4 != len(rest):
						t.Fatalf("injected errors in %d bytes, % x", len(rest)+4, rest)
					}
				}
			}
			copy(outside[testPage-guestBase:], m.page())
			if !bytes.Equal(outside, m.ram.bytes[:]) {
				t.Fatalf("step %d (%c): the device wrote outside of its page", steps, kind)
			}
			for i, d := range m.dimms {
				s := &d.management
				if s.SMART.Spares > 100 || s.Thresholds.Spares > 100 || s.Update.Received > 1<<20 || len(s.Poison) > 4096 || s.Security.Locked && !s.Security.Enabled {
					t.Fatalf("step %d (%c): DIMM %d is in %+v", steps, kind, i, *s)
				}
			}
		}
	})
}

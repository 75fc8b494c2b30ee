package nvdimm

import (
	"fmt"
	"path/filepath"
	"testing"

	"nvlab/internal/expect"
	"nvlab/nvdimm/backend"
)

// newRoot makes a root that has room, where c leaves it open.
func newRoot(t testing.TB, c Config) *Root {
	t.Helper()
	c.Enabled = true
	if c.Memory == 0 {
		c.Memory = 256 * mib
	}
	if c.Slots == 0 {
		c.Slots = 4
	}
	if c.MaxMem == 0 {
		c.MaxMem = 4 * gib
	}
	c.Base = 4 * gib
	r, err := NewRoot(c)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func plug(t testing.TB, r *Root, c PlugConfig) *DIMM {
	t.Helper()
	d, err := r.Plug(c)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestNewRootRefuses(t *testing.T) {
	bits := func(v int64) *int64 { return &v }
	for _, c := range []struct {
		config Config
		want   string
	}{
		{Config{Memory: 256 * mib, Slots: 2}, "slots specified but no max-size: slots=2 needs maxmem, at least memory and all memory devices together"},
		{Config{Memory: 256 * mib, Slots: 257, MaxMem: gib}, "unsupported amount of memory slots: 257: slots is 0 to 256"},
		{Config{Memory: 256 * mib, Slots: -1, MaxMem: gib}, "unsupported amount of memory slots: -1: slots is 0 to 256"},
		{Config{Memory: 256 * mib, Slots: 1, MaxMem: 128 * mib}, "invalid value of maxmem: maximum memory size (0x8000000) must be at least the initial memory size (0x10000000)"},
		{Config{Memory: 256 * mib, Slots: 1, MaxMem: 256 * mib}, "invalid value of maxmem: memory slots were specified but maximum memory size (0x10000000) is equal to the initial memory size (0x10000000)"},
		{Config{Memory: 256 * mib, Slots: 1, MaxMem: gib + 1}, "maximum memory size must by aligned to multiple of 4096 bytes: maxmem is 1073741825, the nearest are 1GiB and 1048580KiB"},
		{Config{Memory: 256 * mib, Slots: 1, MaxMem: 1 << 60}, "unsupported amount of maximum memory: maxmem is 1152921504606846976, the largest is 256TiB"},
		{Config{Persistence: "disk"}, `-machine nvdimm-persistence=disk: unsupported option: it is "cpu" or "mem-ctrl"`},
		{Config{Persistence: "cpu", Cap: bits(3)}, `nvdimm_cap=3 and nvdimm_persistence="cpu" set the same value: give one of them`},
		{Config{Strict: true, Cap: bits(1)}, "nvdimm_cap=1: if bit 0 is set to 1 then bit 1 shall be set to 1 as well: give 3"},
		{Config{Strict: true, Cap: bits(5)}, "nvdimm_cap=5: if bit 0 is set to 1 then bit 1 shall be set to 1 as well: give 7"},
		{Config{Strict: true, Cap: bits(10)}, "nvdimm_cap=10 has undefined bits 0x8: ACPI 6.2A table 5-137 defines bits 0 to 2"},
		{Config{Cap: bits(-1)}, "nvdimm_cap=-1 does not fit 32 bits: it is 0 to 0x7"},
		{Config{Cap: bits(1 << 32)}, "nvdimm_cap=4294967296 does not fit 32 bits: it is 0 to 0x7"},
	} {
		_, err := NewRoot(c.config)
		expect.Error(t, fmt.Sprintf("NewRoot(%+v)", c.config), err, "", c.want)
	}
}

func TestCapabilities(t *testing.T) {
	bits := func(v int64) *int64 { return &v }
	for _, c := range []struct {
		config Config
		want   uint32
	}{
		{Config{}, 0},
		{Config{Strict: true, Cap: bits(0)}, 0},
		{Config{Strict: true, Cap: bits(2)}, 2},
		{Config{Strict: true, Cap: bits(7)}, 7},
		{Config{Cap: bits(1)}, 1},
		{Config{Cap: bits(0xffffffff)}, 0xffffffff},
		{Config{Strict: true, Persistence: "cpu"}, 3},
		{Config{Strict: true, Persistence: "mem-ctrl"}, 2},
	} {
		if got := newRoot(t, c.config).Capabilities(); got != c.want {
			t.Errorf("capabilities of %+v = %#x, want %#x", c.config, got, c.want)
		}
	}
}

// TestPlugRefuses also holds that a refused DIMM leaves no trace: one that
// fits goes to the same place after it.
func TestPlugRefuses(t *testing.T) {
	dir := t.TempDir()
	file := func(name string, size, align uint64) *backend.Backend {
		return openFile(t, backend.FileConfig{Path: filepath.Join(dir, name), Size: size, Align: align, Share: true})
	}
	small, busy := file("small", 64*mib, 0), file("busy", 64*mib, 0)
	slot := func(n int) *int { return &n }
	for _, c := range []struct {
		name   string
		config PlugConfig
		want   string
	}{
		{"no backend", PlugConfig{}, "'memdev' property must be set: give a backend"},
		{"a backend twice", PlugConfig{Backend: busy}, "can't use already busy memdev: {dir}/busy: it is plugged as first; a DIMM needs a backend of its own"},
		{"a small label", PlugConfig{Backend: small, LabelSize: 64 * kib}, "label_size=65536: Property 'nvdimm.label-size' (0x10000) is required at least 0x20000: the nearest is 128KiB"},
		{"a label of 1 byte", PlugConfig{Backend: small, LabelSize: 1}, "label_size=1: Property 'nvdimm.label-size' (0x1) is required at least 0x20000: the nearest is 128KiB"},
		{"a label as large as the backend", PlugConfig{Backend: small, LabelSize: 64 * mib}, "the size of memdev {dir}/small (0x4000000) is too small to contain nvdimm label (0x4000000) and aligned PMEM (0x1000): label_size is at most 65532KiB"},
		{"a label larger than the backend", PlugConfig{Backend: small, LabelSize: 1 << 60}, "the size of memdev {dir}/small (0x4000000) is too small to contain nvdimm label (0x1000000000000000) and aligned PMEM (0x1000): label_size is at most 65532KiB"},
		{"a label that leaves less than a page", PlugConfig{Backend: small, LabelSize: 64*mib - 4095}, "the size of memdev {dir}/small (0x4000000) is too small to contain nvdimm label (0x3fff001) and aligned PMEM (0x1000): label_size is at most 65532KiB"},
		{"a backend below its alignment", PlugConfig{Backend: file("align", mib, 2*mib)}, "the size of memdev {dir}/align (0x100000) is too small to contain nvdimm label (0x0) and aligned PMEM (0x200000)"},
		{"slot -1", PlugConfig{Backend: small, Slot: slot(-1)}, "invalid slot number -1, valid range is [0-1]: the lowest free one is 0"},
		{"slot 2 of 2", PlugConfig{Backend: small, Slot: slot(2)}, "invalid slot number 2, valid range is [0-1]: the lowest free one is 0"},
		{"a busy slot", PlugConfig{Backend: small, Slot: slot(1)}, "slot 1 is busy: the lowest free one is 0"},
		{"an id twice", PlugConfig{Backend: small, ID: "first"}, "id=\"first\": Duplicate device ID 'first': another DIMM of this machine has it"},
		{"a malformed id", PlugConfig{Backend: small, ID: "1st"}, `id="1st": Parameter 'id' expects an identifier: letters, digits, '-', '.', '_', starting with a letter`},
		{"over maxmem", PlugConfig{Backend: file("large", gib, 0)}, "not enough space, currently 0x4000000 in use of total space for memory devices 0x30000000: this DIMM of 0x40000000 bytes needs maxmem of at least 1344MiB"},
	} {
		r := newRoot(t, Config{Slots: 2, MaxMem: gib})
		plug(t, r, PlugConfig{Backend: busy, ID: "first", Slot: slot(1)})
		for range 2 {
			_, err := r.Plug(c.config)
			expect.Error(t, "Plug with "+c.name, err, dir, c.want)
		}
		d := plug(t, r, PlugConfig{Backend: small})
		if d.Slot() != 0 || d.ID() != "nvdimm0" || d.Addr() != 4*gib+64*mib || len(r.DIMMs()) != 2 {
			t.Errorf("after Plug with %s the next DIMM is %s in slot %d at %#x, of %d", c.name, d.ID(), d.Slot(), d.Addr(), len(r.DIMMs()))
		}
		_, err := r.Plug(PlugConfig{Backend: file("third", 4096, 0)})
		expect.Error(t, "Plug with all slots taken", err, "", "no free slots available: all 2 are taken; make the machine with more slots")
	}

	off, err := NewRoot(Config{Memory: 256 * mib, Slots: 2, MaxMem: gib})
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		_, err = off.Plug(PlugConfig{Backend: small})
		expect.Error(t, "Plug into a machine with nvdimm=off", err, "", "nvdimm is not enabled: missing 'nvdimm' in '-M'")
	}
	none, err := NewRoot(Config{Enabled: true, Memory: 256 * mib, MaxMem: gib})
	if err != nil {
		t.Fatal(err)
	}
	_, err = none.Plug(PlugConfig{Backend: small})
	expect.Error(t, "Plug into a machine without slots", err, "", "no slots where allocated, please specify the 'slots' option: slots is 0")
}

// TestPlugBackendOnce: a refused plug does not change what is known of the
// label area of a backend.
func TestPlugBackendOnce(t *testing.T) {
	r := newRoot(t, Config{})
	b := newRAM(t, 16*mib)
	plug(t, r, PlugConfig{Backend: b, LabelSize: 128 * kib})
	if _, err := r.Plug(PlugConfig{Backend: b}); err == nil {
		t.Fatal("a backend was plugged twice")
	}
	if size, ok := b.LabelSize(); size != 128*kib || !ok {
		t.Errorf("label size after a refused plug = %d, %v, want 128 KiB", size, ok)
	}
}

func TestSizes(t *testing.T) {
	dir := t.TempDir()
	for i, c := range []struct {
		size, align, label, want uint64
	}{
		{64 * mib, 0, 0, 64 * mib},
		{64*mib + 4096, 0, 0, 64*mib + 4096}, // QEMU 2.7 took only multiples of 2 MiB
		{4096, 0, 0, 4096},
		{160 * mib, 0, 128 * kib, 0x9fe0000},
		{160 * mib, 0, 131073, 0x9fdf000},
		{64 * mib, 2 * mib, 128 * kib, 62 * mib},
		{64 * mib, 0, 64*mib - 4096, 4096},
	} {
		b := openFile(t, backend.FileConfig{Path: filepath.Join(dir, fmt.Sprint(i)), Size: c.size, Align: c.align})
		if d := plugged(t, b, c.label); d.Size() != c.want {
			t.Errorf("size of a DIMM of %#x with align %#x and label %#x = %#x, want %#x", c.size, c.align, c.label, d.Size(), c.want)
		}
	}
	if d := plugged(t, newRAM(t, 64*mib), 128*kib); d.Size() != 62*mib {
		t.Errorf("size of a RAM DIMM of 64 MiB with a label = %#x, want 62 MiB", d.Size())
	}
}

func TestAddresses(t *testing.T) {
	dir := t.TempDir()
	r := newRoot(t, Config{Slots: 8, MaxMem: 8 * gib})
	for i, c := range []struct {
		size, align, label, want uint64
	}{
		{64 * mib, 0, 0, 0x100000000},
		{64 * mib, 0, 0, 0x104000000},
		{64 * mib, 0, 128 * kib, 0x108000000},
		{64 * mib, 0, 0, 0x10c000000}, // behind one of an odd size
		{64 * mib, gib, 64 * kib * 2, 0},
		{gib, gib, 0, 0x140000000},
		{16 * mib, 0, 0, 0x110000000}, // before it
	} {
		b := openFile(t, backend.FileConfig{Path: filepath.Join(dir, fmt.Sprint(i)), Size: c.size, Align: c.align})
		d, err := r.Plug(PlugConfig{Backend: b, LabelSize: c.label})
		if c.want == 0 {
			if err == nil {
				t.Errorf("DIMM %d: want an error", i)
			}
			continue
		}
		if err != nil || d.Addr() != c.want {
			t.Errorf("address of DIMM %d = %#x, %v, want %#x", i, d.Addr(), err, c.want)
		}
	}
	huge := newRoot(t, Config{Slots: 1, MaxMem: gib})
	b := openFile(t, backend.FileConfig{Path: dir + "/huge", Size: 512 * mib, Align: 512 * mib})
	huge.config.Base = 1<<64 - 600*mib
	_, err := huge.Plug(PlugConfig{Backend: b})
	if err == nil {
		t.Errorf("a DIMM was put at the end of 64 bits")
	}
}

// TestTablesOf256Slots: as many DIMMs as there can be, in any order of slots.
func TestTablesOf256Slots(t *testing.T) {
	r := newRoot(t, Config{Slots: 256, MaxMem: 16 * gib})
	for i := range 256 {
		slot := i * 37 % 256
		b, err := backend.NewRAM(backend.RAMConfig{Size: 4096, Align: 4096})
		if err != nil {
			t.Fatal(err)
		}
		defer b.Close()
		plug(t, r, PlugConfig{Backend: b, Slot: &slot})
	}
	for i, d := range r.DIMMs() {
		if d.Slot() != i || d.Handle() != uint32(i)+1 || d.Serial() != 0x123456+uint32(i) {
			t.Errorf("DIMM %d has slot %d, handle %d, serial %#x", i, d.Slot(), d.Handle(), d.Serial())
		}
	}
	ssdt, err := r.SSDT(0x1000)
	if err != nil || len(ssdt) > 64*kib {
		t.Errorf("SSDT of 256 slots has %d bytes, %v", len(ssdt), err)
	}
}

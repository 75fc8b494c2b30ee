package nvdimm

import (
	"bytes"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"nvlab/acpi"
	"nvlab/internal/expect"
	"nvlab/nvdimm/backend"
	"nvlab/nvdimm/label"
)

func ptr[T any](v T) *T { return &v }

// TestPlugAt: addresses that the user chooses, in QEMU's words where refused.
func TestPlugAt(t *testing.T) {
	dir := t.TempDir()
	file := func(name string, size, align uint64) *backend.Backend {
		return openFile(t, backend.FileConfig{Path: filepath.Join(dir, name), Size: size, Align: align, Share: true})
	}
	small, large := file("small", 64*mib, 0), file("large", 64*mib, 2*mib)
	for _, c := range []struct {
		b    *backend.Backend
		addr uint64
		want string // "" if it is taken
	}{
		{small, 0x100000000, ""},
		{small, 0x100001000, ""},
		{small, 0x10c000000, ""},
		{small, 0x1fc000000, ""}, // the last that fits: window 4 GiB + 3 GiB + 1 GiB for the slots
		{large, 0x100200000, ""},
		{small, 0, ""}, // chosen
		{small, 0x100000800, "address must be aligned to 0x1000 bytes: addr is 0x100000800, the nearest are 0x100000000 and 0x100001000"},
		{large, 0x100001000, "address must be aligned to 0x200000 bytes: addr is 0x100001000, the nearest are 0x100000000 and 0x100200000"},
		{small, 0x1000, "can't add memory device [0x1000:0x4000000], usable range for memory devices [0x100000000:0x100000000]: addr is at least 0x100000000 and at most 0x1fc000000"},
		{small, 0x1fc001000, "can't add memory device [0x1fc001000:0x4000000], usable range for memory devices [0x100000000:0x100000000]: addr is at least 0x100000000 and at most 0x1fc000000"},
		{small, 0x200000000, "can't add memory device [0x200000000:0x4000000], usable range for memory devices [0x100000000:0x100000000]: addr is at least 0x100000000 and at most 0x1fc000000"},
		{small, ^uint64(0x3fffffff), "can't add memory device [0xffffffffc0000000:0x4000000], usable range for memory devices [0x100000000:0x100000000]: addr is at least 0x100000000 and at most 0x1fc000000"},
		{small, 0x107fff000, "address range conflicts with memory device id='there': it is at [0x108000000:0x4000000]"},
		{small, 0x10bfff000, "address range conflicts with memory device id='there': it is at [0x108000000:0x4000000]"},
		{small, 0x108000000, "address range conflicts with memory device id='there': it is at [0x108000000:0x4000000]"},
	} {
		r := newRoot(t, Config{Slots: 2, MaxMem: 256*mib + 2*gib, Memory: 256 * mib})
		r.config.Slots, r.config.MaxMem = 2, 256*mib+2*gib
		there := file(fmt.Sprintf("there%x", c.addr), 64*mib, 0)
		plug(t, r, PlugConfig{Backend: there, ID: "there", Addr: ptr[uint64](0x108000000)})
		d, err := r.Plug(PlugConfig{Backend: c.b, Addr: &c.addr})
		switch {
		case c.want != "":
			expect.Error(t, fmt.Sprintf("Plug at %#x", c.addr), err, dir, c.want)
		case err != nil:
			t.Errorf("Plug at %#x: %v", c.addr, err)
		case c.addr != 0 && d.Addr() != c.addr:
			t.Errorf("Plug at %#x put the DIMM at %#x", c.addr, d.Addr())
		}
	}
}

func TestAddressLimit(t *testing.T) {
	r := newRoot(t, Config{MaxMem: 4 << 40})
	r.config.Limit = 1 << 40
	b := openFile(t, backend.FileConfig{Path: filepath.Join(t.TempDir(), "file"), Size: 1 << 40})
	_, err := r.Plug(PlugConfig{Backend: b})
	expect.Error(t, "Plug beyond the limit", err, "", "could not find position in guest address space for memory device - memory fragmented due to alignments: 0x10000000000 bytes at a multiple of 0x1000000 within [0x100000000:0x10000000000]")
}

// TestTooFewAddressBits: what maxmem promises must have addresses.
func TestTooFewAddressBits(t *testing.T) {
	const base, limit = 5 << 30, 1 << 40
	for _, c := range []struct {
		maxmem uint64
		want   string
	}{
		{1<<30 + limit - base, ""},
		{1<<30 + limit - base + 4096, "Address space limit 0xffffffffff < 0x10000000fff phys-bits too low (40): maxmem of 1069547524KiB takes phys_bits of at least 41"},
		{46 << 40, "phys-bits too low (40): maxmem of 46TiB takes phys_bits of at least 46"},
	} {
		_, err := NewRoot(Config{Enabled: true, Memory: 1 << 30, Slots: 1, MaxMem: c.maxmem, Base: base, Limit: limit})
		if got := fmt.Sprint(err); c.want == "" && err != nil || !strings.Contains(got, c.want) && err != nil || c.want != "" && err == nil {
			t.Errorf("maxmem of %#x gives the error %q, want %q", c.maxmem, got, c.want)
		}
	}
}

func TestPlugNodes(t *testing.T) {
	r := newRoot(t, Config{})
	if r.Nodes() != 1 {
		t.Errorf("a machine without DIMMs needs %d nodes, want 1", r.Nodes())
	}
	plug(t, r, PlugConfig{Backend: newRAM(t, 4*mib), Node: 2})
	if r.Nodes() != 3 {
		t.Errorf("a machine with a DIMM on node 2 needs %d nodes, want 3", r.Nodes())
	}
	checkFields(t, "node 2", r.NFIT()[40:], []field{{"proximity", 12, 4, 2}})
	b := newRAM(t, 4*mib)
	for _, c := range []struct {
		node, nodes int
		want        string
	}{
		{1, 1, "'DIMM property node has value 1' which exceeds the number of numa nodes: 1: a running machine has the nodes it booted with"},
		{3, 3, "'DIMM property node has value 3' which exceeds the number of numa nodes: 3: a running machine has the nodes it booted with"},
		{128, 0, "'DIMM property node has value 128' which exceeds the number of numa nodes: at most 128"},
		{-1, 0, "'DIMM property node has value -1' which exceeds the number of numa nodes: at most 128"},
	} {
		_, err := r.Plug(PlugConfig{Backend: b, Node: c.node, Nodes: c.nodes})
		expect.Error(t, fmt.Sprintf("Plug on node %d of %d", c.node, c.nodes), err, "", c.want)
	}
	plug(t, r, PlugConfig{Backend: b, Node: 2, Nodes: 3})
}

func TestPlugUUID(t *testing.T) {
	for uuid, ok := range map[string]bool{
		"":                                      true,
		"66f0d379-b4f3-4074-ac43-0d3318b78cdb":  true,
		"66F0D379-B4F3-4074-AC43-0D3318B78CDB":  true,
		"x":                                     false,
		"66f0d379b4f34074ac430d3318b78cdb":      false,
		"66f0d379-b4f3-4074-ac43-0d3318b78cd":   false,
		"66f0d379-b4f3-4074-ac43-0d3318b78cdg":  false,
		"66f0d379-b4f3-4074-ac43-0d3318b78cdb-": false,
		"----":                                  false,
	} {
		d, err := newRoot(t, Config{}).Plug(PlugConfig{Backend: newRAM(t, 4*mib), UUID: uuid})
		if ok && (err != nil || d.UUID() != uuid) {
			t.Errorf("uuid=%q: %v", uuid, err)
		}
		if !ok {
			expect.Error(t, "uuid="+uuid, err, "", fmt.Sprintf("uuid=%q: Property 'nvdimm.uuid' has invalid value: want hexadecimal digits as in 66f0d379-b4f3-4074-ac43-0d3318b78cdb", uuid))
		}
	}
}

func TestIdentity(t *testing.T) {
	r := newRoot(t, Config{})
	d := plug(t, r, PlugConfig{Backend: newRAM(t, 4*mib), LabelSize: 128 * kib, Identity: Identity{
		Vendor: ptr[uint16](0x1234), Device: ptr[uint16](2), Revision: ptr[uint16](3), Serial: ptr[uint32](0xcafe), Handle: ptr[uint32](0x1001), PhysicalID: ptr[uint16](7),
	}})
	checkFields(t, "identity", r.NFIT()[40:], []field{{"handle", 60, 4, 0x1001}, {"physical id", 64, 2, 7}, {"vendor", 110, 2, 0x1234}, {"device", 112, 2, 2}, {"revision", 114, 2, 3}, {"serial", 128, 4, 0xcafe}})
	if got, want := d.Cookie(label.V12), label.Cookie12(label.Mapping{SerialNumber: 0xcafe, VendorID: 0x1234}); got != want {
		t.Errorf("cookie = %#x, want %#x", got, want)
	}
	if code, _ := newGuest(t, r).send(t, 0x1001, 1, FuncQuery, nil); code != 0x71 {
		t.Errorf("query of handle 0x1001 = %#x, want 0x71", code)
	}
	ssdt, err := r.SSDT(0x1000)
	if err != nil || !bytes.Contains(ssdt, []byte("_ADR\x0b\x01\x10")) { // WordConst
		t.Errorf("the SSDT has no _ADR 0x1001, %v", err)
	}
	b := newRAM(t, 4*mib)
	for _, c := range []struct {
		handle uint32
		nodes  int
		want   string
	}{
		{0, 0, "handle=0x0: an NFIT device handle is 1 to 0xfffffff"},
		{1 << 28, 0, "handle=0x10000000: an NFIT device handle is 1 to 0xfffffff"},
		{0x10000, 0, "handle=0x10000 is what _FIT itself uses to talk to nvlab: take another"},
		{4, 0, "handle=0x4 is that of slot 3: a DIMM of slot 1 has 0x2, or one above 0x4"},
		{0x1001, 0, "handle=0x1001 is that of DIMM nvdimm0"},
		{0x2000, 1, "handle=0x2000: a running guest knows the handles of its slots only, 0x2 for slot 1: plug before boot"},
	} {
		_, err := r.Plug(PlugConfig{Backend: b, Identity: Identity{Handle: &c.handle}, Nodes: c.nodes})
		expect.Error(t, fmt.Sprintf("handle %#x", c.handle), err, "", c.want)
	}
	plug(t, r, PlugConfig{Backend: b, Identity: Identity{Handle: ptr[uint32](2)}, Nodes: 1})
}

// TestWithdraw: a hotplug that the machine refused leaves slot, address and
// name to the next.
func TestWithdraw(t *testing.T) {
	r := newRoot(t, Config{})
	d := plug(t, r, PlugConfig{Backend: newRAM(t, 4*mib), ID: "x"})
	r.Withdraw(d)
	again := plug(t, r, PlugConfig{Backend: newRAM(t, 4*mib), ID: "x"})
	if again.Addr() != d.Addr() || again.Slot() != 0 || len(r.DIMMs()) != 1 {
		t.Errorf("after Withdraw the next DIMM is in slot %d at %#x, of %d", again.Slot(), again.Addr(), len(r.DIMMs()))
	}
}

// TestState: flags wait for the next power-on, since Linux refuses a _FIT that
// changes what it knows.
func TestState(t *testing.T) {
	for i, c := range []struct {
		state State
		want  uint64
	}{
		{State{SaveFail: true}, 1}, {State{RestoreFail: true}, 2}, {State{FlushFail: true}, 4}, {State{NotArmed: true}, 8},
		{State{SMARTEvent: true}, 16}, {State{SMARTNotify: true}, 32}, {State{SaveFail: true, SMARTNotify: true}, 33}, {State{}, 0},
	} {
		r := newRoot(t, Config{})
		d := plug(t, r, PlugConfig{Backend: newRAM(t, 4*mib)})
		before := r.FIT()
		d.SetState(c.state)
		if !bytes.Equal(r.FIT(), before) {
			t.Errorf("%d: SetState changed the FIT of a running machine", i)
		}
		if _, err := r.Tables(0x1000); err != nil {
			t.Fatal(err)
		}
		checkFields(t, fmt.Sprintf("%+v", c.state), r.FIT(), []field{{"flags", 100, 2, c.want}})
		if d.State() != c.state {
			t.Errorf("State() = %+v, want %+v", d.State(), c.state)
		}
	}
	r := newRoot(t, Config{})
	d := plug(t, r, PlugConfig{Backend: newRAM(t, 4*mib), Unarmed: true})
	d.SetState(State{MapFail: true})
	r.Tables(0x1000)
	list, err := acpi.ParseNFITStructures(r.FIT())
	if err != nil || len(list) != 2 {
		t.Fatalf("a DIMM that is not mapped has %d structures, %v, want a mapping and a control region", len(list), err)
	}
	if m := list[0].(*acpi.MemoryDevice); m.SPAIndex != 0 || m.RegionSize != 0 || m.Flags != acpi.MapFailed|acpi.MapNotArmed {
		t.Errorf("its mapping is %+v", m)
	}
	if len(d.Pieces(make([]byte, 4*mib))) != 0 {
		t.Errorf("the guest sees memory that the firmware failed to map")
	}
}

func TestRegions(t *testing.T) {
	r := newRoot(t, Config{Slots: 256})
	last := 255
	d := plug(t, r, PlugConfig{Backend: newRAM(t, 8*mib), Regions: 4, Slot: &last, UUID: "66f0d379-b4f3-4074-ac43-0d3318b78cdb"})
	plug(t, r, PlugConfig{Backend: newRAM(t, 8*mib), Regions: 2})
	list, err := acpi.ParseNFIT(r.NFIT())
	if err != nil {
		t.Fatal(err)
	}
	ranges := make(map[uint16]*acpi.SPARange)
	controls, mappings := 0, 0
	for _, s := range list.Structures {
		switch s := s.(type) {
		case *acpi.SPARange:
			if ranges[s.Index] != nil {
				t.Errorf("two ranges have the index %d", s.Index)
			}
			ranges[s.Index] = s
		case *acpi.MemoryDevice:
			spa := ranges[s.SPAIndex]
			if s.Handle != 256 {
				continue
			}
			want := uint64(mappings) * 2 * mib
			if spa == nil || spa.Base != d.Addr()+want || spa.Length != 2*mib || s.DPABase != want || s.RegionSize != 2*mib || s.ControlIndex != d.spaIndex()+1 {
				t.Errorf("mapping %d is %+v of %+v", mappings, s, spa)
			}
			mappings++
		case *acpi.ControlRegion:
			controls++
		}
	}
	if len(ranges) != 6 || mappings != 4 || controls != 2 {
		t.Errorf("%d ranges, %d mappings, %d control regions, want 6, 4 and 2", len(ranges), mappings, controls)
	}
	for n, want := range map[int]string{
		-1: "regions=-1: a DIMM has 1 to 16",
		17: "regions=17: a DIMM has 1 to 16",
		3:  "regions=3: 0x800000 bytes of persistent memory do not divide into 3 parts of whole pages",
	} {
		_, err := r.Plug(PlugConfig{Backend: newRAM(t, 8*mib), Regions: n})
		expect.Error(t, fmt.Sprintf("Plug with %d regions", n), err, "", want)
	}
	expect.Error(t, "Interleave", r.Interleave([]*DIMM{d, r.dimms[0]}, mib), "", "DIMM nvdimm255 has 4 regions: one of an interleave set has 1")
}

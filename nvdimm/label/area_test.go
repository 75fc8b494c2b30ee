package label

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"nvlab/acpi/guid"
)

const areaSize = 128 << 10

var testUUID = UUID{0x12, 0x34, 0x56, 0x78, 0x9a, 0xbc, 0xde, 0xf0, 0x0f, 0xed, 0xcb, 0xa9, 0x87, 0x65, 0x43, 0x21}

// testLabel is the n-th label of a DIMM with 16 MiB namespaces.
func testLabel(n int) Label {
	u := testUUID
	u[15] += byte(n)
	return Label{
		UUID: u, Name: fmt.Sprintf("ns%d", n), NLabel: 1, ISetCookie: 0xba90300012b4df, LBASize: 512,
		DPA: uint64(n) << 24, RawSize: 1 << 24, TypeGUID: TypePersistentMemory,
	}
}

// newArea is an area with n labels.
func newArea(t testing.TB, v Version, n int) []byte {
	t.Helper()
	area := make([]byte, areaSize)
	if err := Init(area, v); err != nil {
		t.Fatal(err)
	}
	for i := range n {
		if _, err := Add(area, testLabel(i)); err != nil {
			t.Fatal(err)
		}
	}
	return area
}

func TestGeometry(t *testing.T) {
	for _, c := range []struct {
		size         int
		v            Version
		index, slots int
	}{
		{128 << 10, V12, 256, 510},
		{128 << 10, V11, 256, 1020},
		{2 << 20, V12, 1280, 8182},
		{2 << 20, V11, 2304, 16348},
		{1024, V12, 256, 2},
		{768, V11, 256, 2},
	} {
		g, err := GeometryOf(c.size, c.v)
		if err != nil || g.IndexSize != c.index || g.Slots != c.slots {
			t.Errorf("GeometryOf(%d, %v) = index of %d, %d slots, %v, want %d, %d", c.size, c.v, g.IndexSize, g.Slots, err, c.index, c.slots)
		}
	}
	for _, size := range []int{0, 1, 767, 512} {
		if _, err := GeometryOf(size, V11); err == nil {
			t.Errorf("GeometryOf(%d, 1.1) gave no error", size)
		}
	}
}

func TestCookies(t *testing.T) {
	if got := Cookie11(Mapping{SerialNumber: 0x123456, VendorID: 0x8086}); got != 0x2468ac00123456 {
		t.Errorf("Cookie11 of slot 0 = %#x, want 0x2468ac00123456", got)
	}
	if got := Cookie12(Mapping{SerialNumber: 0x123459, VendorID: 0x8086}); got != 0xba90300012b4df {
		t.Errorf("Cookie12 of slot 3 = %#x, want 0xba90300012b4df", got)
	}
	a, b := Mapping{RegionOffset: 0, SerialNumber: 1}, Mapping{RegionOffset: 1 << 20, SerialNumber: 2}
	if Cookie12(a, b) != Cookie12(b, a) {
		t.Errorf("Cookie12 depends on the order of the mappings")
	}
}

// TestInitLayout holds the bytes of fresh index blocks against the format's
// offsets.
func TestInitLayout(t *testing.T) {
	for _, c := range []struct {
		v              Version
		labelsize      byte
		slots          uint32
		minor          uint16
		bitmap, beyond int
	}{
		{V11, 0, 1020, 1, 127, 0x0f},
		{V12, 1, 510, 2, 63, 0x3f},
	} {
		area := newArea(t, c.v, 0)
		le := binary.LittleEndian
		for i := range 2 {
			x := area[i*256:]
			for _, f := range []struct {
				name      string
				got, want uint64
			}{
				{"labelsize", uint64(x[19]), uint64(c.labelsize)},
				{"seq", uint64(le.Uint32(x[20:])), uint64(3 - i)},
				{"myoff", le.Uint64(x[24:]), uint64(i * 256)},
				{"mysize", le.Uint64(x[32:]), 256},
				{"otheroff", le.Uint64(x[40:]), uint64((1 - i) * 256)},
				{"labeloff", le.Uint64(x[48:]), 512},
				{"nslot", uint64(le.Uint32(x[56:])), uint64(c.slots)},
				{"major", uint64(le.Uint16(x[60:])), 1},
				{"minor", uint64(le.Uint16(x[62:])), uint64(c.minor)},
				{"checksum", le.Uint64(x[64:]), ChecksumOf(x[:256], 64)},
				{"first bytes of free", uint64(x[72]), 0xff},
				{"last bits of free", uint64(x[72+c.bitmap]), uint64(c.beyond)},
			} {
				if f.got != f.want {
					t.Errorf("Init of version %v: index[%d].%s = %#x, want %#x", c.v, i, f.name, f.got, f.want)
				}
			}
			if string(x[:16]) != "NAMESPACE_INDEX\x00" {
				t.Errorf("Init of version %v: index[%d].sig = %q", c.v, i, x[:16])
			}
		}
		a := Parse(area)
		if a.Current != 0 || a.Version() != c.v || len(a.Active) != 0 || len(a.Errors) != 0 || a.Index[0].FreeSlots() != int(c.slots) {
			t.Errorf("Parse of a fresh area = current %d, version %v, %d active, %d free, errors %q", a.Current, a.Version(), len(a.Active), a.Index[0].FreeSlots(), a.Errors)
		}
	}
}

// TestLabelLayout holds the bytes of a label against the format's offsets.
func TestLabelLayout(t *testing.T) {
	l := Label{
		Slot: 3, UUID: testUUID, Name: "data", Flags: FlagUpdating, NLabel: 2, Position: 1,
		ISetCookie: 0x1122334455667788, LBASize: 4096, DPA: 0x1000000, RawSize: 0x2000000, Align: 21,
		TypeGUID: TypePersistentMemory, AbstractionGUID: AbstractionPFN,
	}
	p, err := l.Encode(V12)
	if err != nil {
		t.Fatal(err)
	}
	var want [256]byte
	copy(want[0:], testUUID[:])
	copy(want[16:], "data")
	le := binary.LittleEndian
	le.PutUint32(want[80:], 8)
	le.PutUint16(want[84:], 2)
	le.PutUint16(want[86:], 1)
	le.PutUint64(want[88:], 0x1122334455667788)
	le.PutUint64(want[96:], 4096)
	le.PutUint64(want[104:], 0x1000000)
	le.PutUint64(want[112:], 0x2000000)
	le.PutUint32(want[120:], 3)
	want[124] = 21
	copy(want[128:], []byte{0x79, 0xd3, 0xf0, 0x66, 0xf3, 0xb4, 0x74, 0x40, 0xac, 0x43, 0x0d, 0x33, 0x18, 0xb7, 0x8c, 0xdb})
	pfn := guid.MustParse("266400ba-fb9f-4677-bcb0-968f11d0d225")
	copy(want[144:], pfn[:])
	le.PutUint64(want[248:], Fletcher64(want[:]))
	if !bytes.Equal(p, want[:]) {
		t.Errorf("Encode of a 1.2 label:\n% x\nwant\n% x", p, want)
	}
	old, err := l.Encode(V11)
	if err != nil || len(old) != 128 || !bytes.Equal(old[:124], want[:124]) || !bytes.Equal(old[124:], make([]byte, 4)) {
		t.Errorf("Encode of a 1.1 label:\n% x, %v\nwant\n% x", old, err, want[:124])
	}
	if _, err := (&Label{Name: strings.Repeat("x", 64)}).Encode(V12); err == nil {
		t.Errorf("a name of 64 bytes was accepted")
	}
}

func TestSequence(t *testing.T) {
	for _, c := range []struct {
		a, b uint32
		want int
	}{
		{1, 2, 1}, {2, 1, 0}, {2, 3, 1}, {3, 2, 0}, {3, 1, 1}, {1, 3, 0}, {1, 1, 1}, {3, 3, 1}, {3 | 4, 1, 1},
	} {
		if got := newer(c.a, c.b); got != c.want {
			t.Errorf("newer(%d, %d) = %d, want %d", c.a, c.b, got, c.want)
		}
	}
	for seq, want := range map[uint32]uint32{1: 2, 2: 3, 3: 1} {
		if got := nextSeq(seq); got != want {
			t.Errorf("nextSeq(%d) = %d, want %d", seq, got, want)
		}
	}
}

func slotsOf(labels []*Label) []int {
	list := []int{}
	for _, l := range labels {
		list = append(list, l.Slot)
	}
	return list
}

// TestDamage follows what Linux makes of damaged areas, see the Parse rules.
func TestDamage(t *testing.T) {
	reseal := func(area []byte, i int) {
		x := area[i*256 : (i+1)*256]
		binary.LittleEndian.PutUint64(x[64:], ChecksumOf(x, 64))
	}
	for _, c := range []struct {
		name    string
		damage  func(area []byte)
		current int
		active  []int
		errors  []string
	}{
		{"untouched", func([]byte) {}, 1, []int{0, 1, 2}, nil},
		{"newest index with a wrong checksum", func(p []byte) { p[256+72] ^= 0x10 }, 0, []int{0, 1}, []string{"index[1]: checksum"}},
		{"older index with a wrong checksum", func(p []byte) { p[72] ^= 0x10 }, 1, []int{0, 1, 2}, []string{"index[0]: checksum"}},
		{"both indexes with wrong checksums", func(p []byte) { p[72]++; p[256+72]++ }, -1, []int{}, []string{"index[0]: checksum", "index[1]: checksum"}},
		{"a label with a wrong checksum", func(p []byte) { p[512+256+16] ^= 1 }, 1, []int{0, 2}, []string{"label[1]: marked used, but checksum"}},
		{"a label in another slot", func(p []byte) { copy(p[512+256:], p[512:512+256]) }, 1, []int{0, 2}, []string{"label[1]: marked used, but it says that it is in slot 0"}},
		{"a zeroed label", func(p []byte) { clear(p[512 : 512+256]) }, 1, []int{1, 2}, []string{"label[0]: marked used, but all bytes are zero"}},
		{"all zeros", func(p []byte) { clear(p) }, -1, []int{}, []string{"index[0]: all bytes are zero", "index[1]: all bytes are zero"}},
		{"sequence 0", func(p []byte) { p[256+20] = 4; reseal(p, 1) }, 0, []int{0, 1}, []string{"index[1]: sequence number 0x4"}},
		{"myoff", func(p []byte) { p[256+24] = 1; reseal(p, 1) }, 0, []int{0, 1}, []string{"index[1]: myoff"}},
		{"otheroff", func(p []byte) { p[256+40] = 1; reseal(p, 1) }, 0, []int{0, 1}, []string{"index[1]: otheroff"}},
		{"labeloff", func(p []byte) { p[256+48] = 1; reseal(p, 1) }, 0, []int{0, 1}, []string{"index[1]: labeloff"}},
		{"mysize", func(p []byte) { p[256+33] = 2; reseal(p, 1) }, 0, []int{0, 1}, []string{"index[1]: mysize"}},
		{"nslot", func(p []byte) { p[256+58] = 1; reseal(p, 1) }, 0, []int{0, 1}, []string{"index[1]: nslot is 66046, the area holds 510"}},
		{"labelsize", func(p []byte) { p[256+19] = 2; reseal(p, 1) }, 0, []int{0, 1}, []string{"index[1]: version 1.2 with labels of 512"}},
		{"signature", func(p []byte) { p[256] = 'M' }, 0, []int{0, 1}, []string{"index[1]: signature"}},
		{"overlapping extents", func(p []byte) {
			l := testLabel(1)
			l.Slot, l.DPA = 1, 0x800000
			b, _ := l.Encode(V12)
			copy(p[512+256:], b)
		}, 1, []int{0, 1, 2}, []string{"label[1]: extent 0x800000+0x1000000 overlaps label[0]"}},
		{"a label half written", func(p []byte) {
			l := testLabel(2)
			l.Slot, l.Flags = 2, FlagUpdating
			b, _ := l.Encode(V12)
			copy(p[512+2*256:], b)
		}, 1, []int{0, 1, 2}, nil},
	} {
		area := newArea(t, V12, 3)
		c.damage(area)
		a := Parse(area)
		if a.Current != c.current || !slices.Equal(slotsOf(a.Active), c.active) {
			t.Errorf("%s: current index %d, active labels %v, want %d, %v (errors %q)", c.name, a.Current, slotsOf(a.Active), c.current, c.active, a.Errors)
		}
		if !slices.EqualFunc(a.Errors, c.errors, strings.HasPrefix) {
			t.Errorf("%s: errors %q, want %q", c.name, a.Errors, c.errors)
		}
		if len(a.Slots) != 510 {
			t.Errorf("%s: %d slots, want 510", c.name, len(a.Slots))
		}
	}
}

// TestMixedVersions: a valid block wins over a damaged one of the version that
// is tried first.
func TestMixedVersions(t *testing.T) {
	area := newArea(t, V12, 1)
	old := newArea(t, V11, 0)
	copy(area[:256], old[:256])
	if area[256+20] == 0 {
		t.Fatal("no second block")
	}
	area[72]++ // damages the 1.1 block
	a := Parse(area)
	if a.Version() != V12 || a.Current != 1 {
		t.Errorf("Parse = version %v, current %d, want 1.2, 1", a.Version(), a.Current)
	}
}

func TestAddRemove(t *testing.T) {
	for _, v := range []Version{V11, V12} {
		area := newArea(t, v, 2)
		a := Parse(area)
		if got := slotsOf(a.Active); !slices.Equal(got, []int{0, 1}) {
			t.Fatalf("version %v: active labels %v, want [0 1]", v, got)
		}
		l := *a.Active[1]
		want := testLabel(1)
		want.Slot, want.OwnSlot, want.Valid = 1, 1, true
		want.Checksum = l.Checksum
		if v == V11 {
			want.TypeGUID = guid.GUID{}
		}
		if l != want {
			t.Errorf("version %v: label read back\n%+v, want\n%+v", v, l, want)
		}
		if err := Remove(area, 0); err != nil {
			t.Fatal(err)
		}
		if err := Remove(area, 0); err == nil {
			t.Errorf("version %v: slot 0 was removed twice", v)
		}
		slot, err := Add(area, testLabel(2))
		if err != nil || slot != 0 {
			t.Errorf("version %v: Add after Remove(0) = slot %d, %v, want 0", v, slot, err)
		}
		if got := slotsOf(Parse(area).Active); !slices.Equal(got, []int{0, 1}) {
			t.Errorf("version %v: active labels %v, want [0 1]", v, got)
		}
	}
	small := make([]byte, 1024)
	Init(small, V12)
	Add(small, testLabel(0))
	Add(small, testLabel(1))
	if _, err := Add(small, testLabel(2)); err == nil || err.Error() != "label area has no free slot: all 2 are used" {
		t.Errorf("Add to a full area gave %v", err)
	}
	if _, err := Add(make([]byte, 1024), testLabel(0)); err == nil {
		t.Errorf("Add to an area without index blocks gave no error")
	}
}

func TestDescribe(t *testing.T) {
	a := Parse(newArea(t, V12, 1))
	for _, c := range []struct {
		off         int
		what, field string
	}{
		{0, "index[0]", "sig"}, {20, "index[0]", "seq"}, {256 + 64, "index[1]", "checksum"}, {511, "index[1]", "free"},
		{512, "label[0]", "uuid"}, {512 + 3*256 + 112, "label[3]", "rawsize"}, {512 + 509*256 + 255, "label[509]", "checksum"},
		{512 + 510*256, "label area", ""}, {-1, "label area", ""},
	} {
		if what, field := a.Describe(c.off); what != c.what || field != c.field {
			t.Errorf("Describe(%#x) = %s.%s, want %s.%s", c.off, what, field, c.what, c.field)
		}
	}
	old := Parse(newArea(t, V11, 1))
	if what, field := old.Describe(512 + 128 + 88); what != "label[1]" || field != "isetcookie" {
		t.Errorf("Describe of version 1.1 = %s.%s, want label[1].isetcookie", what, field)
	}
}

func TestText(t *testing.T) {
	damaged := newArea(t, V12, 2)
	damaged[256+72]++
	removed := newArea(t, V11, 2)
	Remove(removed, 0)
	for name, area := range map[string][]byte{
		"v12.txt": newArea(t, V12, 2), "v11-removed.txt": removed, "damaged.txt": damaged, "zero.txt": make([]byte, areaSize), "tiny.txt": {1},
	} {
		got, path := Parse(area).Text(), filepath.Join("testdata", name)
		if os.Getenv("NVLAB_UPDATE") != "" {
			os.MkdirAll("testdata", 0o755)
			if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(path)
		if err != nil || got != string(want) {
			t.Errorf("Text of %s (%v):\n%swant\n%s", name, err, got, want)
		}
	}
}

// linuxArea is an area as Linux 6.1 and ndctl 76 left it after init-labels, a raw
// namespace of 16 MiB and one with a BTT of 32 MiB, cut behind its last label.
func linuxArea(t testing.TB, name string) []byte {
	t.Helper()
	p, err := os.ReadFile(filepath.Join("testdata", name+".area"))
	if err != nil {
		t.Fatal(err)
	}
	return append(p, make([]byte, areaSize-len(p))...)
}

func TestLinux(t *testing.T) {
	for _, c := range []struct {
		file   string
		v      Version
		cookie uint64
		btt    guid.GUID
	}{
		{"linux-11", V11, 0x2468ac00123456, guid.GUID{}},
		{"linux-12", V12, Cookie12(Mapping{SerialNumber: 0x123456, VendorID: 0x8086}), AbstractionBTT2},
	} {
		area := linuxArea(t, c.file)
		a := Parse(area)
		if a.Version() != c.v || len(a.Errors) != 0 || len(a.Active) != 2 {
			t.Errorf("%s: version %v, %d active labels, errors %q, want %v, 2 and none\n%s", c.file, a.Version(), len(a.Active), a.Errors, c.v, a.Text())
			continue
		}
		raw, btt := a.Active[0], a.Active[1]
		if raw.Name != "first" || raw.DPA != 0 || raw.RawSize != 16<<20 || raw.NLabel != 1 || raw.ISetCookie != c.cookie {
			t.Errorf("%s: the raw namespace's label is %+v", c.file, raw)
		}
		if btt.Name != "" || btt.DPA != 16<<20 || btt.RawSize != 32<<20 || btt.ISetCookie != c.cookie || btt.AbstractionGUID != c.btt {
			t.Errorf("%s: the BTT namespace's label is %+v", c.file, btt)
		}
		for _, l := range a.Active {
			p, err := l.Encode(c.v)
			if at := a.Geometry.LabelOffset(l.Slot); err != nil || !bytes.Equal(p, area[at:at+len(p)]) {
				t.Errorf("%s: label[%d] encodes to\n% x, %v, want Linux's\n% x", c.file, l.Slot, p, err, area[at:at+len(p)])
			}
		}
		again := bytes.Clone(area)
		x := a.CurrentIndex()
		encodeIndex(again, a.Geometry, a.Current, x.Seq, x.Free)
		if !bytes.Equal(again, area) {
			t.Errorf("%s: the current index encodes to other bytes than Linux's", c.file)
		}
	}
}

func TestUUID(t *testing.T) {
	const text = "12345678-9abc-def0-0fed-cba987654321"
	u, err := ParseUUID(text)
	if err != nil || u != testUUID || u.String() != text {
		t.Errorf("ParseUUID(%q) = %v, %v, want %v", text, u, err, testUUID)
	}
	for _, bad := range []string{"", "12345678", "12345678-9abc-def0-0fed-cba98765432g", "12345678+9abc-def0-0fed-cba987654321"} {
		if _, err := ParseUUID(bad); err == nil {
			t.Errorf("ParseUUID(%q) gave no error", bad)
		}
	}
}

func FuzzLabelArea(f *testing.F) {
	for _, v := range []Version{V11, V12} {
		f.Add(newArea(f, v, 3)[:8192])
		small := make([]byte, 1024)
		Init(small, v)
		Add(small, testLabel(0))
		f.Add(small)
	}
	f.Add(linuxArea(f, "linux-11")[:8192])
	f.Add(linuxArea(f, "linux-12")[:8192])
	f.Add([]byte{})
	f.Add(make([]byte, 767))
	f.Fuzz(func(t *testing.T, area []byte) {
		before := bytes.Clone(area)
		a := Parse(area)
		if !bytes.Equal(area, before) {
			t.Fatal("Parse changed the area")
		}
		_ = a.Text()
		for _, l := range a.Active {
			if !l.Valid || a.CurrentIndex().IsFree(l.Slot) {
				t.Errorf("label[%d] is active, valid %v, free %v", l.Slot, l.Valid, a.CurrentIndex().IsFree(l.Slot))
			}
		}
		for off := 0; off < len(area); off += 61 {
			if s := a.SpanAt(off); off < s.Off || off >= s.Off+s.Len {
				t.Fatalf("SpanAt(%d) = %+v, which does not hold it", off, s)
			}
			a.Describe(off)
		}
		if a.Current < 0 {
			return
		}
		// What can be written is read back, and takes one slot.
		if slot, err := Add(area, testLabel(7)); err == nil {
			again := Parse(area)
			if len(again.Active) != len(a.Active)+1 || again.Current == a.Current || again.Slots[slot].UUID != testLabel(7).UUID {
				t.Errorf("after Add: current %d, %d active labels, before %d, %d", again.Current, len(again.Active), a.Current, len(a.Active))
			}
		}
	})
}

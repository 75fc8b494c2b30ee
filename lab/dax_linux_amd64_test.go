package lab

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"nvlab/nvdimm"
	"nvlab/nvdimm/backend"
	"nvlab/nvdimm/infoblock"
	"nvlab/nvdimm/persist"
)

// What TestOnDeviceDAX leaves on the device.
const (
	daxLabelSize = 128 << 10
	daxHost      = "written by nvlab itself"
	daxGuest     = "stored by a guest of nvlab's"
	daxLabel     = "a label that _DSM wrote"
	daxEnd       = "the last bytes before the labels"
)

// TestRealDeviceDAX has nvlab itself in a guest, on the device-DAX device that
// the guest makes of its NVDIMM: this test's binary is the guest's pid 1, and
// runs TestOnDeviceDAX there. Then the power fails.
func TestRealDeviceDAX(t *testing.T) {
	t.Parallel()
	x := selfExperiment(t)
	const namespace, fine = 64 << 20, 16 << 20
	v, b := daxVM(t, x, namespace+fine)
	mustBoot(t, v)
	mustRun(t, v, "ndctl disable-region region0 && ndctl init-labels -V 1.2 -f nmem0 && ndctl enable-region region0")
	var made struct {
		UUID      string
		DAXRegion struct {
			Devices []struct{ Chardev string }
		}
	}
	if err := json.Unmarshal([]byte(mustRun(t, v, fmt.Sprintf("ndctl create-namespace -m devdax -r region0 -s %d", namespace))), &made); err != nil {
		t.Fatal(err)
	}
	if list := made.DAXRegion.Devices; len(list) != 1 || list[0].Chardev != "dax0.0" {
		t.Fatalf("ndctl made %+v, want one device dax0.0", list)
	}
	inGuest(t, v, "TestOnDeviceDAX", "write", "/dev/dax0.0")
	area, err := b.Labels(0)
	if err != nil || len(area.Active) != 1 {
		t.Fatalf("Labels() = %+v, %v, want one active label", area, err)
	}
	start := area.Active[0].DPA
	block, err := b.Bytes(start+4096, infoblock.Size)
	if err != nil {
		t.Fatal(err)
	}
	info, err := infoblock.ParsePFN(block)
	if err != nil || !info.DAX {
		t.Fatalf("the namespace at %#x has info block %+v, %v, want one of devdax", start, info, err)
	}
	size := namespace - info.DataOff
	check := func(when string) {
		t.Helper()
		for _, c := range daxContents(size) {
			if got, err := b.Bytes(start+info.DataOff+c.offset, uint64(len(c.want))); err != nil || string(got) != c.want {
				t.Errorf("%s the file has %q at %#x of the device, %v, want %q", when, got, c.offset, err, c.want)
			}
		}
	}
	check("while the guest runs")

	// Another device maps by 4 KiB.
	mustRun(t, v, fmt.Sprintf("ndctl create-namespace -m devdax -r region0 -s %d -a 4K", fine))
	inGuest(t, v, "TestOnDeviceDAXOfPages", "write", "/dev/dax0.1")

	// All of it had been flushed: a power cut takes none.
	if v.Engine() == "soft" {
		err = v.PowerCut(persist.KeepNone, false)
	} else {
		err = v.Kill()
	}
	if err != nil {
		t.Fatal(err)
	}
	check("after a power cut")
	mustBoot(t, v)
	inGuest(t, v, "TestOnDeviceDAX", "read", "/dev/dax0.0")
}

// daxVM is a machine whose one DIMM has room for a namespace.
func daxVM(t *testing.T, x *Experiment, namespace uint64) (*VM, *Backend) {
	t.Helper()
	b, err := x.FileBackend(FileBackendOptions{Path: "pmem0.img", Size: namespace + 2<<20, Share: true})
	if err != nil {
		t.Fatal(err)
	}
	return pluggedVM(t, x, b, 128<<10), b
}

// inGuest runs a test of this binary in a guest, with a mode and a path.
func inGuest(t *testing.T, v *VM, name, mode, path string) {
	t.Helper()
	r, err := v.Run(t.Context(), Command{
		Args:    []string{"/proc/1/exe", "-test.v", "-test.run=^" + name + "$"},
		Stdin:   []byte(mode + " " + path),
		Timeout: 5 * time.Minute,
	})
	if err != nil {
		t.Fatal(err)
	}
	if out := string(r.Stdout); r.ExitCode != 0 || !strings.Contains(out, "--- PASS: "+name) {
		t.Fatalf("%s, %s, in the guest: exit status %d\n%s%s", name, mode, r.ExitCode, out, r.Stderr)
	}
}

// innerTest is the mode and the path that inGuest gave. Where inGuest did not
// start it the test is skipped.
func innerTest(t *testing.T) (mode, path string) {
	t.Helper()
	first, err := os.Readlink("/proc/1/exe")
	if own, _ := os.Executable(); err != nil || first != own {
		t.Skip("runs in a guest, which another test starts")
	}
	text, err := io.ReadAll(os.Stdin)
	if err != nil {
		t.Fatal(err)
	}
	mode, path, ok := strings.Cut(string(text), " ")
	if !ok {
		t.Fatalf("standard input is %q, want a mode and a path", text)
	}
	return mode, path
}

type content struct {
	offset uint64
	want   string
}

// daxContents is where they lie on a device of so many bytes.
func daxContents(size uint64) []content {
	return []content{
		{100, daxHost}, {4<<20 + 60, daxGuest}, {size - daxLabelSize - uint64(len(daxEnd)), daxEnd}, {size - daxLabelSize, daxLabel},
	}
}

// TestOnDeviceDAX is what a guest runs for TestRealDeviceDAX.
func TestOnDeviceDAX(t *testing.T) {
	mode, path := innerTest(t)
	size := sysfsSize(t, path)
	open := func(c FileBackendOptions) (*Backend, error) {
		l, err := New(Options{AllowPaths: []string{filepath.Dir(path)}})
		if err != nil {
			t.Fatal(err)
		}
		x := l.Experiment(t.Name(), t.TempDir())
		t.Cleanup(func() {
			if err := x.Close(); err != nil {
				t.Errorf("Close() = %v", err)
			}
		})
		c.Path = path
		return x.FileBackend(c)
	}
	mustOpen := func(c FileBackendOptions) *Backend {
		t.Helper()
		b, err := open(c)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	const align = 2 << 20
	if mode == "write" {
		for _, c := range []struct {
			options FileBackendOptions
			want    string
		}{
			{FileBackendOptions{Size: size, Share: true}, "backing store align 0x200000 is larger than 'align' option 0x1000: give align=2MiB"},
			{FileBackendOptions{Size: size, Align: align}, "can only be shared"},
			{FileBackendOptions{Size: size - 4096, Align: align, Share: true}, "must be a multiple of the device's alignment 0x200000"},
			{FileBackendOptions{Size: size - align, Align: align, Share: true}, fmt.Sprintf("backing store size %#x does not match 'size' option", size)},
			{FileBackendOptions{Size: size + align, Align: align, Share: true}, "a device has the size it has"},
			{FileBackendOptions{Size: size - align, Offset: 4096, Align: align, Share: true}, "offset 0x1000 must be a multiple of the device's alignment"},
		} {
			if _, err := open(c.options); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("a backend with %+v: %v, want %q", c.options, err, c.want)
			}
		}
		fillDevice(t, backend.FileConfig{Path: path, Size: size, Align: align, Share: true})
	}
	b := mustOpen(FileBackendOptions{Size: size, Align: align, Share: true})
	rest := mustOpen(FileBackendOptions{Size: size - align, Offset: align, Align: align, Share: true})
	fixed := mustOpen(FileBackendOptions{Size: size, Align: align, Share: true, ReadOnly: true})
	if b.Durability() != backend.DeviceDAX || b.Warning() != "" {
		t.Errorf("durability %v, warning %q, want device-dax and none", b.Durability(), b.Warning())
	}
	for _, c := range daxContents(size) {
		for _, view := range []struct {
			name string
			*Backend
			offset uint64
		}{{"the device", b, 0}, {"the device from 2 MiB on", rest, align}, {"the device, read-only", fixed, 0}} {
			if c.offset < view.offset {
				continue
			}
			if got, err := view.Bytes(c.offset-view.offset, uint64(len(c.want))); err != nil || string(got) != c.want {
				t.Errorf("%s has %q at %#x, %v, want %q", view.name, got, c.offset, err, c.want)
			}
		}
	}
	if err := fixed.Write(0, []byte{1}); err == nil {
		t.Error("a read-only device is written")
	}
}

// TestOnDeviceDAXOfPages is what a guest runs on a device whose alignment is
// the page's: no option says so.
func TestOnDeviceDAXOfPages(t *testing.T) {
	_, path := innerTest(t)
	size := sysfsSize(t, path)
	for _, align := range []uint64{0, 4096, 2 << 20} {
		b, err := backend.OpenFile(backend.FileConfig{Path: path, Size: size, Share: true, Align: align})
		if err != nil {
			t.Fatal(err)
		}
		if want := max(align, 4096); b.Align() != want {
			t.Errorf("align is %#x, want %#x", b.Align(), want)
		}
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	}
	part, err := backend.OpenFile(backend.FileConfig{Path: path, Size: size - 3*4096, Offset: 3 * 4096, Share: true})
	if err != nil {
		t.Fatal(err)
	}
	writeLabel(t, part)
}

// sysfsSize is what the kernel says of a device's size in bytes.
func sysfsSize(t *testing.T, path string) (size uint64) {
	t.Helper()
	text, err := os.ReadFile("/sys/bus/dax/devices/" + filepath.Base(path) + "/size")
	if err == nil {
		_, err = fmt.Sscan(string(text), &size)
	}
	if err != nil || size == 0 {
		t.Fatalf("the size of %s is %q, %v", path, text, err)
	}
	return size
}

// fillDevice has a DIMM on the device, and a guest of it that nvlab's own
// memory stands for. The device stays mapped until the process ends.
func fillDevice(t *testing.T, c backend.FileConfig) {
	t.Helper()
	b, err := backend.OpenFile(c)
	if err != nil {
		t.Fatal(err)
	}
	write := func(c content) {
		t.Helper()
		if _, err := b.WriteAt([]byte(c.want), int64(c.offset)); err != nil {
			t.Fatal(err)
		}
	}
	want := daxContents(b.Size())
	write(want[0])
	root := newRoot(t)
	d, err := root.Plug(nvdimm.PlugConfig{Backend: b, LabelSize: daxLabelSize})
	if err != nil {
		t.Fatal(err)
	}
	if d.Size() != b.Size()-2<<20 || d.Addr()%(2<<20) != 0 {
		t.Errorf("the DIMM has %#x bytes at %#x, want 2 MiB less than the device at a multiple of 2 MiB", d.Size(), d.Addr())
	}
	mem, err := d.Map()
	if err != nil {
		t.Fatal(err)
	}
	copy(mem[want[1].offset:], want[1].want)
	if err := d.Unmap(); err != nil { // flushes
		t.Fatal(err)
	}
	write(want[2])
	// Nothing flushes the label but the call itself.
	root.Withdraw(d)
	writeLabel(t, b)
}

func newRoot(t *testing.T) *nvdimm.Root {
	t.Helper()
	root, err := nvdimm.NewRoot(nvdimm.Config{Enabled: true, Memory: 256 << 20, Slots: 1, MaxMem: 4 << 30, Base: 4 << 30})
	if err != nil {
		t.Fatal(err)
	}
	return root
}

// writeLabel plugs a DIMM, as at power-on, and has a guest of it write a
// label. The DIMM stays mapped.
func writeLabel(t *testing.T, b *backend.Backend) {
	t.Helper()
	root := newRoot(t)
	d, err := root.Plug(nvdimm.PlugConfig{Backend: b, LabelSize: daxLabelSize})
	if err == nil {
		_, err = d.Map()
	}
	if err != nil {
		t.Fatal(err)
	}
	var page mailboxPage
	box := root.Mailbox(&page, 0x10000)
	if status := page.setLabel(box, d.Handle(), daxLabel); status != 0 {
		t.Errorf("writing a label = status %d", status)
	}
}

// mailboxPage is a guest's memory of one page at 0x10000.
type mailboxPage [4096]byte

func (p *mailboxPage) ReadAt(q []byte, addr int64) (int, error) {
	if addr != 0x10000 || len(q) > len(p) {
		return 0, errors.New("not RAM")
	}
	return copy(q, p[:]), nil
}

func (p *mailboxPage) WriteAt(q []byte, addr int64) (int, error) {
	if addr != 0x10000 || len(q) > len(p) {
		return 0, errors.New("not RAM")
	}
	return copy(p[:], q), nil
}

// setLabel writes at offset 0 of the label area.
func (p *mailboxPage) setLabel(box *nvdimm.Mailbox, handle uint32, data string) (status uint32) {
	request := new(bytes.Buffer)
	for _, word := range []uint32{handle, 1, nvdimm.FuncSetLabel, 0, uint32(len(data))} {
		binary.Write(request, binary.LittleEndian, word)
	}
	request.WriteString(data)
	copy(p[:], request.Bytes())
	box.Out(nvdimm.MailboxPort, 4, 0x10000)
	return binary.LittleEndian.Uint32(p[4:])
}

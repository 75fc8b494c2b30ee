package qemutest

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// refusals are machines that both refuse, with words that both have.
var refusals = []struct {
	name    string
	options Options
	words   string
}{
	{"a label area of 64 KiB", machine(1, "").and(file(64*mib, 64*kib)), "Property 'nvdimm.label-size' (0x10000) is required at least 0x20000"},
	{"a label area as large as the backend", machine(1, "").and(file(64*mib, 64*mib)), "is too small to contain nvdimm label (0x4000000) and aligned PMEM (0x1000)"},
	{"a read-only backend that is not unarmed", machine(1, "").and(file(64*mib, 0).with(func(d *DIMM) { d.ReadOnly = true })), "'unarmed' property must be 'on' since memdev "},
	{"a slot that is none", machine(2, "").and(file(64*mib, 0).with(func(d *DIMM) { d.Slot = slot(2) })), "invalid slot number 2, valid range is [0-1]"},
	{"a slot that is taken", machine(2, "").and(file(64*mib, 0), file(64*mib, 0).with(func(d *DIMM) { d.Slot = slot(0) })), "slot 0 is busy"},
	{"more DIMMs than slots", machine(1, "").and(file(64*mib, 0), file(64*mib, 0)), "no free slots available"},
	{"an address that is not aligned", machine(1, "").and(file(64*mib, 0).with(func(d *DIMM) { d.Addr = 0x180000800 })), "address must be aligned to 0x1000 bytes"},
	{"an address below the window", machine(1, "").and(file(64*mib, 0).with(func(d *DIMM) { d.Addr = 0x1000 })), "can't add memory device [0x1000:0x4000000], usable range for memory devices [0x100000000:"},
	{"an address that is taken", machine(2, "").and(file(64*mib, 0).with(func(d *DIMM) { d.Addr = 0x110000000 }), file(64*mib, 0).with(func(d *DIMM) { d.Addr = 0x112000000 })), "address range conflicts with memory device id='dimm0'"},
	{"more than maxmem", Options{Memory: 256 * mib, Slots: 2, MaxMem: 320 * mib}.and(file(64*mib, 0), file(64*mib, 0)), "not enough space, currently 0x4000000 in use of total space for memory devices 0x4000000"},
	{"maxmem that leaves no room", Options{Memory: 256 * mib, Slots: 2, MaxMem: 256 * mib}, "memory slots were specified but maximum memory size"},
	{"257 slots", machine(257, ""), "unsupported amount of memory slots: 257"},
	{"an alignment of 3 MiB", machine(1, "").and(file(64*mib, 0).with(func(d *DIMM) { d.Align = 3 * mib })), "alignment 0x300000 must be a power of two"},
	{"an alignment of 1 KiB", machine(1, "").and(file(64*mib, 0).with(func(d *DIMM) { d.Align = kib })), "alignment 0x400 must be multiples of page size 0x1000"},
	{"a size of nothing", machine(1, "").and(file(0, 0)), "property 'size' of memory-backend-file doesn't take value '0'"},
	{"a uuid that is none", machine(1, "").and(file(64*mib, 0).with(func(d *DIMM) { d.UUID = "66f0d379" })), "Property 'nvdimm.uuid' has invalid value"},
	{"a capability of another name", machine(1, "disk"), "-machine nvdimm-persistence=disk: unsupported option"},
	{"a DIMM without slots", Options{Memory: 256 * mib, MaxMem: 4 << 30}.and(file(64*mib, 0)), "no slots where allocated, please specify the 'slots' option"},
}

func (o Options) and(dimms ...DIMM) Options {
	o.DIMMs = append(o.DIMMs, dimms...)
	return o
}

// TestRefusals holds what nvlab refuses to the words, and the words to QEMU,
// where it is there: it takes a second.
func TestRefusals(t *testing.T) {
	startsMachines(t)
	g := mustGuest(t)
	for _, tt := range refusals {
		t.Run(tt.name, func(t *testing.T) {
			p := pair{}
			for _, d := range tt.options.DIMMs {
				p.rows = append(p.rows, configuration{dimm: d})
			}
			qemu, nvlab := tt.options, tt.options
			qemu.DIMMs, nvlab.DIMMs = nil, nil
			dir := t.TempDir()
			for i := range p.rows {
				d := p.dimm(i)
				if d.ReadOnly {
					if err := os.WriteFile(filepath.Join(dir, d.Path), make([]byte, d.Size), 0o644); err != nil {
						t.Fatal(err)
					}
				}
				qemu.DIMMs, nvlab.DIMMs = append(qemu.DIMMs, d.in(dir)), append(nvlab.DIMMs, d)
			}
			t.Run("QEMU", func(t *testing.T) {
				needQEMU(t)
				qemu.Kernel, qemu.Initrd, qemu.Files = g.KernelPath, g.initrd, g.Kept().Open
				if got := refusalOf(t, qemu); !strings.Contains(got, tt.words) {
					t.Errorf("QEMU says %q, want %q in it", got, tt.words)
				}
			})
			s, err := startNvlab(t.Context(), nvlab, dir)
			if err == nil {
				s.Close()
				t.Fatal("nvlab takes it, and QEMU does not")
			}
			if !strings.Contains(err.Error(), tt.words) {
				t.Errorf("nvlab says %q, want QEMU's %q in it", err, tt.words)
			}
		})
	}
}

// refusalOf is what QEMU says before it ends. A machine that it makes does not
// run: -S.
func refusalOf(t *testing.T, o Options) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, Program, append(o.args(), "-S")...)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err == nil || ctx.Err() != nil {
		t.Fatalf("QEMU takes it: %v\n%s", err, out.String())
	}
	return strings.TrimSpace(out.String())
}

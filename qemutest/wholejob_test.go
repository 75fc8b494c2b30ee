package qemutest

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"nvlab/guest/rootfs"
	"nvlab/vmm"
	"nvlab/vmm/boot"
)

// rounds is how often BenchmarkWholeJob runs each in turn, at least.
const rounds = 5

// jobScript is what pid 1 runs on both.
const jobScript = "#!/bin/sh\nndctl list -DRNBi\n"

// BenchmarkWholeJob measures launch, boot of the stock kernel, ndctl list and
// power-off: QEMU's TCG and nvlab in turn, with one kernel, one initramfs and
// equal memory. QEMU runs twice a round: from the bzImage, as its users start
// it, and from the decompressed kernel, which saves its guest that work.
//
// The wall times are medians; ratio is that of nvlab's to the better of
// QEMU's. The processor times tell more where others use the machine.
func BenchmarkWholeJob(b *testing.B) {
	needQEMU(b)
	g := mustGuest(b)
	dir := b.TempDir()
	initrd := withScript(b, dir, g.initrd, jobScript)
	backend := filepath.Join(dir, "pmem0.img")
	const memory, size, labelSize = 256 << 20, 64 << 20, 128 << 10
	if err := os.WriteFile(backend, nil, 0o644); err != nil {
		b.Fatal(err)
	}
	if err := os.Truncate(backend, size); err != nil {
		b.Fatal(err)
	}

	qemu := func(kernel string) *exec.Cmd {
		o := Options{
			Kernel: kernel, Initrd: initrd, Cmdline: qemuCmdline + " nvlab.script=/script",
			Memory: memory, Slots: 1, MaxMem: 4 << 30,
			DIMMs: []DIMM{{ID: "nvdimm0", Path: backend, Size: size, Share: true, LabelSize: labelSize}},
		}
		return exec.Command(Program, append(o.args(), "-serial", "stdio")...)
	}
	nvlab := func() *exec.Cmd {
		self, err := os.Executable()
		if err != nil {
			b.Fatal(err)
		}
		text, err := json.Marshal(job{
			Kernel: cmp.Or(g.VmlinuxPath, g.KernelPath), Initrd: initrd, Cmdline: "nvlab.script=/script",
			Memory: memory, Backend: backend, Size: size, LabelSize: labelSize,
		})
		if err != nil {
			b.Fatal(err)
		}
		cmd := exec.Command(self)
		cmd.Env = append(os.Environ(), jobVariable+"="+string(text))
		return cmd
	}
	var fromImage, fromELF, ours []measure
	for b.Loop() {
		for range rounds {
			fromImage = append(fromImage, measured(b, qemu(g.KernelPath)))
			ours = append(ours, measured(b, nvlab()))
			fromELF = append(fromELF, measured(b, qemu(g.VmlinuxPath)))
			ours = append(ours, measured(b, nvlab()))
		}
	}
	image, elf, own := median(fromImage), median(fromELF), median(ours)
	best := image
	if elf.wall < best.wall {
		best = elf
	}
	b.Logf("load %s; QEMU from bzImage: %v; from vmlinux: %v; nvlab: %v", load(), image, elf, own)
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(best.wall.Seconds(), "qemu-s")
	b.ReportMetric(own.wall.Seconds(), "nvlab-s")
	b.ReportMetric(own.wall.Seconds()/best.wall.Seconds(), "ratio")
	b.ReportMetric(own.cpu.Seconds()/best.cpu.Seconds(), "cpu-ratio")
	b.ReportMetric(float64(best.resident)/1e6, "qemu-MB")
	b.ReportMetric(float64(own.resident)/1e6, "nvlab-MB")
}

// qemuCmdline is nvlab's own, without what says how fast its clock is.
var qemuCmdline = func() string {
	words := strings.Fields(boot.DefaultCmdline(vmm.TSCKHz))
	words = slices.DeleteFunc(words, func(w string) bool { return strings.HasPrefix(w, "tsc_early_khz=") })
	return strings.Join(words, " ")
}()

// withScript appends a program /script to an initramfs.
func withScript(t testing.TB, dir, initrd, script string) string {
	t.Helper()
	base, err := os.ReadFile(initrd)
	if err != nil {
		t.Fatal(err)
	}
	tree := rootfs.NewTree()
	if err := tree.AddFile("script", 0o755, []byte(script)); err != nil {
		t.Fatal(err)
	}
	out := bytes.NewBuffer(append(base, make([]byte, -len(base)&3)...))
	if err := tree.WriteCPIO(out); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "initrd.cpio")
	if err := os.WriteFile(path, out.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// A measure is what one process took.
type measure struct {
	wall, cpu time.Duration
	resident  int64 // bytes at the peak
}

func (m measure) String() string {
	return fmt.Sprintf("%.2f s, %.2f s of processor time, %d MB", m.wall.Seconds(), m.cpu.Seconds(), m.resident/1e6)
}

// measured runs a process whose guest has to list its DIMM.
func measured(b *testing.B, cmd *exec.Cmd) measure {
	b.Helper()
	var out, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &stderr
	start := time.Now()
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	resident := make(chan int64)
	ended := make(chan struct{})
	go func() { resident <- watchResident(cmd.Process.Pid, ended) }()
	err := cmd.Wait()
	m := measure{wall: time.Since(start)}
	close(ended)
	m.resident = <-resident
	if err != nil || !strings.Contains(out.String(), `"dev":"nmem0"`) || !strings.Contains(out.String(), "/script ended with status 0") {
		b.Fatalf("%s ends with %v, and its guest does not list its DIMM:\n%s\n%s", cmd.Args[0], err, stderr.String(), out.String())
	}
	m.cpu = cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
	return m
}

// watchResident samples VmHWM (proc(5)) of a process while it runs, in bytes.
// The maximum of getrusage(2) would count the parent's memory, which a process
// that Go starts shares up to its exec.
func watchResident(pid int, ended <-chan struct{}) int64 {
	var peak int64
	for {
		text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
		if _, rest, ok := strings.Cut(string(text), "VmHWM:"); ok {
			field, _, _ := strings.Cut(strings.TrimSpace(rest), " ")
			kib, _ := strconv.ParseInt(field, 10, 64)
			peak = max(peak, kib<<10)
		}
		select {
		case <-ended:
			return peak
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// median takes each value's own.
func median(list []measure) measure {
	return measure{
		wall:     middle(list, func(m measure) time.Duration { return m.wall }),
		cpu:      middle(list, func(m measure) time.Duration { return m.cpu }),
		resident: middle(list, func(m measure) int64 { return m.resident }),
	}
}

func middle[T cmp.Ordered](list []measure, of func(measure) T) T {
	var values []T
	for _, m := range list {
		values = append(values, of(m))
	}
	slices.Sort(values)
	return values[len(values)/2]
}

func load() string {
	text, _ := os.ReadFile("/proc/loadavg")
	one, _, _ := strings.Cut(string(text), " ")
	return one
}

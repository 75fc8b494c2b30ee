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
	j := newWholeJob(b)
	var fromImage, fromELF, ours []measure
	for b.Loop() {
		for range rounds {
			fromImage = append(fromImage, measured(b, j.qemu(j.KernelPath)))
			ours = append(ours, measured(b, j.nvlab()))
			fromELF = append(fromELF, measured(b, j.qemu(j.VmlinuxPath)))
			ours = append(ours, measured(b, j.nvlab()))
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

// A wholeJob is what QEMU and nvlab do in turn: launch, boot of the stock
// kernel, ndctl list and power-off, with one kernel, one initramfs, equal memory
// and one labelled DIMM.
type wholeJob struct {
	*stock
	script  string // path of the initramfs whose pid 1 runs jobScript
	backend string
	self    string
}

const (
	jobMemory    = 256 << 20
	jobSize      = 64 << 20
	jobLabelSize = 128 << 10
)

func newWholeJob(t testing.TB) *wholeJob {
	t.Helper()
	g := mustGuest(t)
	dir := t.TempDir()
	j := &wholeJob{stock: g, script: withScript(t, dir, g.initrd, jobScript), backend: filepath.Join(dir, "pmem0.img")}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	j.self = self
	if err := os.WriteFile(j.backend, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(j.backend, jobSize); err != nil {
		t.Fatal(err)
	}
	return j
}

// qemu is the job on QEMU, with the kernel's bzImage or its vmlinux.
func (j *wholeJob) qemu(kernel string) *exec.Cmd {
	o := Options{
		Kernel: kernel, Initrd: j.script, Cmdline: qemuCmdline + " nvlab.script=/script",
		Memory: jobMemory, Slots: 1, MaxMem: 4 << 30,
		DIMMs: []DIMM{{ID: "nvdimm0", Path: j.backend, Size: jobSize, Share: true, LabelSize: jobLabelSize}},
	}
	return exec.Command(Program, append(o.args(), "-serial", "stdio")...)
}

// nvlab is the job on nvlab, in a process of its own.
func (j *wholeJob) nvlab() *exec.Cmd {
	text, err := json.Marshal(job{
		Kernel: cmp.Or(j.VmlinuxPath, j.KernelPath), Initrd: j.script, Cmdline: "nvlab.script=/script",
		Memory: jobMemory, Backend: j.backend, Size: jobSize, LabelSize: jobLabelSize,
	})
	if err != nil {
		panic(err) // plain data
	}
	cmd := exec.Command(j.self)
	cmd.Env = append(os.Environ(), jobVariable+"="+string(text))
	return cmd
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
func measured(t testing.TB, cmd *exec.Cmd) measure {
	t.Helper()
	var out, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &stderr
	start := time.Now()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	resident := make(chan int64)
	ended := make(chan struct{})
	go func() { resident <- watchResident(cmd.Process.Pid, ended) }()
	err := cmd.Wait()
	m := measure{wall: time.Since(start)}
	close(ended)
	m.resident = <-resident
	if err != nil || !strings.Contains(out.String(), `"dev":"nmem0"`) || !strings.Contains(out.String(), "/script ended with status 0") {
		t.Fatalf("%s ends with %v, and its guest does not list its DIMM:\n%s\n%s", cmd.Args[0], err, stderr.String(), out.String())
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
		peak = max(peak, residentPeak(strconv.Itoa(pid)))
		select {
		case <-ended:
			return peak
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// residentPeak is VmHWM of a process, in bytes, or 0.
func residentPeak(process string) int64 {
	text, _ := os.ReadFile("/proc/" + process + "/status")
	_, rest, _ := strings.Cut(string(text), "VmHWM:")
	field, _, _ := strings.Cut(strings.TrimSpace(rest), " ")
	kib, _ := strconv.ParseInt(field, 10, 64)
	return kib << 10
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

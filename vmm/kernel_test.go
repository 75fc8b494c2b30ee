package vmm_test

import (
	"bytes"
	"context"
	"os"
	"strings"
	"testing"
	"time"

	"nvlab/vmm"
	"nvlab/vmm/boot"
	"nvlab/vmm/soft"
)

// newLinux makes a machine with the kernel that NVLAB_TEST_KERNEL names and,
// if NVLAB_TEST_INITRD names one, an initramfs.
func newLinux(t testing.TB) *pc {
	t.Helper()
	path := os.Getenv("NVLAB_TEST_KERNEL")
	if path == "" {
		t.Skip("NVLAB_TEST_KERNEL names no kernel")
	}
	k, err := boot.Load(path)
	if err != nil {
		t.Fatal(err)
	}
	defer k.Close()
	p := &pc{}
	cfg := vmm.Config{Memory: 256 << 20, Engine: soft.Engine{}, Seed: 1, Console: &p.console}
	payload := vmm.Payload{Kernel: k}
	if name := os.Getenv("NVLAB_TEST_INITRD"); name != "" {
		f, err := os.Open(name)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		info, err := f.Stat()
		if err != nil {
			t.Fatal(err)
		}
		payload.Initrd, payload.InitrdSize = f, info.Size()
	}
	if p.Machine, err = vmm.Assemble(cfg); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	if err := p.Boot(payload); err != nil {
		t.Fatal(err)
	}
	return p
}

// boot runs a kernel until it starts the first program, or finds none.
func (p *pc) boot(t testing.TB) {
	t.Helper()
	up := func() bool {
		return bytes.Contains(p.console.Bytes(), []byte("Run /init as init process")) || bytes.Contains(p.console.Bytes(), []byte("Kernel panic"))
	}
	if stop, err := p.Run(context.Background(), 10*time.Second, up); stop != vmm.StopDone || err != nil {
		t.Fatalf("Run = %v, %v, want done; console:\n%s", stop, err, &p.console)
	}
}

func TestKernel(t *testing.T) {
	if testing.Short() {
		t.Skip("boots a kernel")
	}
	p := newLinux(t)
	p.boot(t)
	for _, line := range strings.Split(p.console.String(), "\n") {
		for _, bad := range []string{"ACPI Error", "ACPI BIOS", "ACPI Warning", "ACPI: Unable", "WARNING:", "BUG:", "Oops", "unstable", "lockup", "RTC", "spurious"} {
			if strings.Contains(line, bad) {
				t.Errorf("the kernel says %q", line)
			}
		}
	}
	for _, want := range []string{"TSC deadline timer available", "1000.000 MHz processor", "is a 16550A", "ACPI: Interpreter enabled"} {
		if !strings.Contains(p.console.String(), want) {
			t.Errorf("the kernel does not say %q", want)
		}
	}
}

// TestKernelRepeats boots twice with one seed.
func TestKernelRepeats(t *testing.T) {
	if testing.Short() {
		t.Skip("boots a kernel twice")
	}
	a, b := newLinux(t), newLinux(t)
	a.boot(t)
	b.boot(t)
	if a.console.String() != b.console.String() {
		t.Error("two boots differ in what the kernel says")
	}
	if a.Clock() != b.Clock() || a.Stats() != b.Stats() {
		t.Errorf("two boots: %v, %+v and %v, %+v", a.Clock(), a.Stats(), b.Clock(), b.Stats())
	}
}

// BenchmarkBoot boots to the first program.
func BenchmarkBoot(b *testing.B) {
	var instructions uint64
	for b.Loop() {
		p := newLinux(b)
		p.boot(b)
		instructions += p.Stats().Instructions
		p.Close()
	}
	b.ReportMetric(float64(instructions)/float64(b.N)/1e6, "Minsn/op")
	b.ReportMetric(float64(instructions)/1e6/b.Elapsed().Seconds(), "MIPS")
}

// BenchmarkNew makes a machine that is ready to start.
func BenchmarkNew(b *testing.B) {
	for b.Loop() {
		newLinux(b).Close()
	}
}

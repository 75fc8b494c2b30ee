package kvm

import (
	"errors"
	"strings"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"nvlab/vmm"
)

// fake is a host whose KVM has everything and runs nothing; fail makes
// requests fail. It counts what is open.
type fake struct {
	openErr  error
	lacks    uintptr                         // a capability
	features uint32                          // for guests of KVM
	fail     map[uint32]error                // by request
	storms   int                             // EINTRs before each request succeeds
	enter    func(f *fake, a *runArea) error // KVM_RUN
	cs       uint16                          // what the processor always has
	spent    map[uint32]int
	files    int
	maps     map[*byte][]byte
	next     int
}

func (f *fake) open() (int, error) {
	if f.openErr != nil {
		return 0, f.openErr
	}
	return f.newFile(), nil
}

func (f *fake) newFile() int {
	f.files++
	f.next++
	return 1000 + f.next
}

// request is what both kinds of ioctl share.
func (f *fake) request(r uint32) error {
	if f.spent == nil {
		f.spent = map[uint32]int{}
	}
	if f.spent[r]++; f.spent[r] <= f.storms {
		return unix.EINTR
	}
	return f.fail[r]
}

func (f *fake) ioctl(_ int, r uint32, arg uintptr) (int, error) {
	if r == reqRun && f.enter != nil {
		for _, m := range f.maps {
			return 0, f.enter(f, area(m))
		}
	}
	if err := f.request(r); err != nil {
		return 0, err
	}
	switch r {
	case reqAPIVersion:
		return apiVersion, nil
	case reqCheckExtension:
		if arg == f.lacks {
			return 0, nil
		}
		return 64, nil
	case reqRunSize:
		return 4096, nil
	case reqCreateVM, reqCreateVCPU:
		return f.newFile(), nil
	case reqTSCKHz:
		return 2_000_000, nil
	}
	return 0, nil
}

func (f *fake) ioctlPointer(_ int, r uint32, arg unsafe.Pointer) (int, error) {
	if err := f.request(r); err != nil {
		return 0, err
	}
	switch r {
	case reqSetMSRs, reqGetMSRs:
		return int((*msrEntries)(arg).n), nil
	case reqSupportedCPUID:
		t := (*cpuidEntries)(arg)
		t.n, t.entries[0] = 1, cpuidEntry{leaf: leafFeatures, eax: f.features}
	case reqGetSregs:
		*(*specialRegisters)(arg) = specialRegisters{cs: segment{selector: f.cs}}
	}
	return 0, nil
}

func (f *fake) mmap(int, int) ([]byte, error) {
	m := make([]byte, 4096)
	if f.maps == nil {
		f.maps = map[*byte][]byte{}
	}
	f.maps[&m[0]] = m
	return m, nil
}

func (f *fake) munmap(m []byte) error {
	delete(f.maps, &m[0])
	return nil
}

func (f *fake) close(int) error {
	f.files--
	return nil
}

func (f *fake) signal(int) {}

// probed probes and gives all back.
func probed(h host) Report {
	r, end := probe(h)
	end()
	return r
}

// TestUnusable holds that each way a host can lack KVM is one line that says
// so, leaves nothing open, and is the same for the probe.
func TestUnusable(t *testing.T) {
	for _, c := range []struct {
		name, want string
		host       fake
	}{
		{"no device", "this host has no KVM: /dev/kvm: no such file or directory", fake{openErr: unix.ENOENT}},
		{"no module", "this host has no KVM: /dev/kvm: no such device", fake{openErr: unix.ENODEV}},
		{"no permission", "no permission to use KVM: /dev/kvm: permission denied", fake{openErr: unix.EACCES}},
		{"another device", "/dev/kvm is not KVM: inappropriate ioctl for device", fake{fail: map[uint32]error{reqAPIVersion: unix.ENOTTY}}},
		{"an old kernel", "the host's KVM lacks KVM_CAP_SPLIT_IRQCHIP", fake{lacks: capSplitIRQChip}},
		{"an older kernel", "the host's KVM lacks KVM_CAP_IMMEDIATE_EXIT", fake{lacks: capImmediateExit}},
	} {
		_, err := Engine{host: &c.host}.New(vmm.ProcessorSpec{Count: 1}, &testBus{})
		if !errors.Is(err, vmm.ErrNoEngine) || err.Error() != c.want {
			t.Errorf("%s: New = %v, want %s", c.name, err, c.want)
		}
		if r := probed(&c.host); r.OK() || r.Why() != c.want {
			t.Errorf("%s: the probe says %q, want %q", c.name, r.Why(), c.want)
		}
		if c.host.files != 0 || len(c.host.maps) != 0 {
			t.Errorf("%s: %d files and %d mappings are left", c.name, c.host.files, len(c.host.maps))
		}
	}
}

// TestOldKernels takes away each capability that the engine needs, in turn.
func TestOldKernels(t *testing.T) {
	for _, r := range required {
		f := &fake{lacks: r.cap}
		want := "the host's KVM lacks " + r.name
		if got := probed(f); got.Why() != want || got.Advice != "a newer kernel has it" || f.files != 0 {
			t.Errorf("the probe says %q, advises %q and leaves %d files, want %q and advice", got.Why(), got.Advice, f.files, want)
		}
	}
}

func TestTooManyProcessors(t *testing.T) {
	f := &fake{}
	_, err := Engine{host: f}.New(vmm.ProcessorSpec{Count: 65}, &testBus{})
	if want := "the host's KVM runs 64 processors at most, not 65"; err == nil || err.Error() != want {
		t.Errorf("New = %v, want %s", err, want)
	}
}

// TestHalfMade has every request of New fail in turn.
func TestHalfMade(t *testing.T) {
	for _, r := range []uint32{reqSupportedCPUID, reqRunSize, reqCreateVM, reqSetIdentityMap, reqSetTSSAddr, reqEnableCap, reqFilterMSRs, reqCreateVCPU, reqSetCPUID, reqSetMSRs} {
		f := &fake{features: featureClock, fail: map[uint32]error{r: unix.ENOMEM}}
		_, err := Engine{host: f}.New(vmm.ProcessorSpec{Count: 2}, &testBus{})
		if !errors.Is(err, unix.ENOMEM) || strings.Contains(err.Error(), "\n") {
			t.Errorf("New where request %#x fails = %v, want one line with %q", r, err, unix.ENOMEM)
		}
		if f.files != 0 || len(f.maps) != 0 {
			t.Errorf("New where request %#x fails leaves %d files and %d mappings", r, f.files, len(f.maps))
		}
	}
}

func newFake(t *testing.T, f *fake) vmm.Processors {
	t.Helper()
	p, err := Engine{host: f}.New(vmm.ProcessorSpec{Count: 1}, &testBus{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Close(); err != nil || f.files != 0 || len(f.maps) != 0 {
			t.Errorf("Close = %v and leaves %d files and %d mappings", err, f.files, len(f.maps))
		}
	})
	return p
}

func TestNoMemoryForSlot(t *testing.T) {
	f := &fake{}
	p := newFake(t, f)
	f.fail = map[uint32]error{reqSetMemory: unix.ENOMEM}
	mem := newMemory(t, 2<<20)
	err := p.Map(vmm.Region{Base: 1 << 32, Mem: mem})
	if want := "KVM takes no memory slot of 2 MiB: cannot allocate memory"; err == nil || err.Error() != want {
		t.Errorf("Map = %v, want %s", err, want)
	}
	f.fail = nil
	if err := p.Map(vmm.Region{Base: 1 << 32, Mem: mem}); err != nil {
		t.Errorf("Map after one that failed = %v", err)
	}
	for i := range uint64(63) {
		if err := p.Map(vmm.Region{Base: 1<<33 + i<<21, Mem: mem}); err != nil {
			t.Fatalf("Map number %d of 64 = %v", i+2, err)
		}
	}
	err = p.Map(vmm.Region{Base: 1 << 34, Mem: mem})
	if want := "the host's KVM has 64 memory slots, and all are taken"; err == nil || err.Error() != want {
		t.Errorf("Map number 65 = %v, want %s", err, want)
	}
}

// TestSignals has every request interrupted a thousand times.
func TestSignals(t *testing.T) {
	f := &fake{storms: 1000}
	runs := 0
	f.enter = func(f *fake, a *runArea) error {
		if runs++; runs < 1000 {
			return unix.EINTR
		}
		a.reason = exitShutdown
		return nil
	}
	p := newFake(t, f)
	if err := p.Start(vmm.Entry{}); err != nil {
		t.Fatal(err)
	}
	exit, err := p.Run(t.Context(), time.Hour)
	if exit != vmm.ExitTripleFault || err != nil {
		t.Errorf("Run = %v, %v, want a triple fault", exit, err)
	}
}

// TestFailures has KVM_RUN end in ways that no guest is to blame for.
func TestFailures(t *testing.T) {
	for _, c := range []struct {
		name, want string
		enter      func(f *fake, a *runArea) error
	}{
		{"memory that is not there", "KVM_RUN at rip=0x0: bad address", func(*fake, *runArea) error { return unix.EFAULT }},
		{"the hardware refuses", "the hardware refuses to enter the guest at rip=0x0: reason 0x21", func(_ *fake, a *runArea) error {
			a.reason, a.exit[0] = exitFailEntry, 0x21
			return nil
		}},
		{"no emulation", "the host's KVM cannot emulate the instruction at rip=0x0, bytes cc 90", func(_ *fake, a *runArea) error {
			a.reason = exitInternalError
			copy(a.exit[:], []byte{1, 0, 0, 0, 4, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 2, 0xcc, 0x90})
			return nil
		}},
		{"no emulation, an old kernel", "the host's KVM cannot emulate the instruction at rip=0x0", func(_ *fake, a *runArea) error {
			a.reason, a.exit[0] = exitInternalError, 1
			return nil
		}},
		{"another failure", "KVM failed at rip=0x0: internal error 3", func(_ *fake, a *runArea) error {
			a.reason, a.exit[0] = exitInternalError, 3
			return nil
		}},
		{"an exit of tomorrow", "for a reason that this program does not know: 99", func(_ *fake, a *runArea) error {
			a.reason = 99
			return nil
		}},
	} {
		f := &fake{enter: c.enter}
		p := newFake(t, f)
		if err := p.Start(vmm.Entry{}); err != nil {
			t.Fatal(err)
		}
		for range 2 { // the end stays the end
			if _, err := p.Run(t.Context(), time.Hour); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%s: Run = %v, want %s", c.name, err, c.want)
			}
		}
	}
}

// TestProbeOfEmulator replays a KVM whose loop takes long: as where kernel
// mode is emulated. Processor time is the test's own.
func TestProbeOfEmulator(t *testing.T) {
	f := &fake{enter: func(_ *fake, a *runArea) error {
		for !a.immediate() {
		}
		return unix.EINTR
	}}
	start := time.Now()
	r := probed(f)
	if want := "the host's KVM emulates a guest's kernel mode"; !strings.HasPrefix(r.Why(), want) || r.Err != nil {
		t.Errorf("the probe says %q, want %q", r.Why(), want)
	}
	if r.Advice == "" {
		t.Error("the probe advises nothing")
	}
	if d := time.Since(start); d > 2*time.Second {
		t.Errorf("the probe took %v", d)
	}
	if f.files != 0 || len(f.maps) != 0 {
		t.Errorf("the probe leaves %d files and %d mappings", f.files, len(f.maps))
	}
}

// TestProbeOfHardware replays KVMs that do all at once; one of them stays in
// user mode at a SYSCALL.
func TestProbeOfHardware(t *testing.T) {
	halt := func(_ *fake, a *runArea) error {
		a.reason = exitHLT
		return nil
	}
	if r := probed(&fake{cs: 0x08, enter: halt}); !r.OK() || r.TSCKHz != 2_000_000 {
		t.Errorf("the probe says %+v, want no complaint and 2 GHz", r)
	}
	if r, want := probed(&fake{cs: 0x0b, enter: halt}), "SYSCALL does not enter kernel mode on the host's KVM"; r.Why() != want {
		t.Errorf("the probe says %q, want %q", r.Why(), want)
	}
}

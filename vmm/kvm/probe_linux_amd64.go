package kvm

import (
	"fmt"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"nvlab/vmm"
)

// Probe tries the host's KVM, once a process: it takes 10 ms at most where a
// guest's kernel runs in hardware, and 30 ms where it is emulated.
//
// A device that opens may yet be of no use: there are KVMs that run a guest's
// user mode only, and emulate its kernel one instruction at a time.
var Probe = sync.OnceValue(func() Report {
	r, end := probe(linux{})
	go end() // KVM waits for its readers: that can take longer than all else
	return r
})

// probe says what it found out; end gives back what that took.
func probe(h host) (r Report, end func()) {
	dev, err := openDevice(h)
	if err != nil {
		return refusal(err), func() {}
	}
	t, err := newTrial(dev)
	end = func() {
		t.close()
		h.close(dev.fd)
	}
	if err != nil {
		return refusal(&unusable{"the host's KVM makes no machine", "", err}), end
	}
	return t.report(), end
}

func (t *trial) report() (r Report) {
	if n, err := t.cpu.do(reqTSCKHz, 0); err == nil {
		r.TSCKHz = uint64(n)
	}
	slow, err := t.slow()
	if err != nil {
		return refusal(&unusable{"the host's KVM runs no guest", "", err})
	}
	if slow {
		// No figure: the line is the first of a run, and runs repeat.
		r.Slow = "the host's KVM emulates a guest's kernel mode"
	}
	if r.Broken, err = t.systemCall(); err != nil {
		return refusal(&unusable{"the host's KVM runs no program in a guest", "", err})
	}
	switch {
	case !r.OK():
		r.Advice = "this host runs its KVM without hardware virtualisation: take a host that has it"
	case r.TSCKHz == 0:
		return refusal(&unusable{why: "the host's KVM does not know its time-stamp counter's frequency"})
	}
	return r
}

func refusal(err error) Report {
	r := Report{Err: err}
	if u, ok := err.(*unusable); ok {
		r.Advice = u.advice
	}
	return r
}

// trial is a machine of four pages and one processor without an interrupt
// controller, where HLT leaves the guest.
type trial struct {
	vm  *virtualMachine
	cpu *vcpu
	mem []byte
}

// The trial's memory: code, and tables that map the first 2 MiB to themselves
// for kernel and user mode alike.
const (
	trialLoop    = 0x000
	trialUser    = 0x100
	trialHandler = 0x200
	trialPML4    = 0x1000
	trialPDPT    = 0x2000
	trialPD      = 0x3000
	trialSize    = 0x4000
)

// trialInstructions is how many the loop has.
const trialInstructions = 2_500

// newTrial makes one, which is to be closed even if it is but half made.
func newTrial(dev file) (t *trial, err error) {
	t = &trial{}
	if t.mem, err = unix.Mmap(-1, 0, trialSize, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS); err != nil {
		return t, err
	}
	copy(t.mem[trialLoop:], []byte{
		0xb9, 0xe2, 0x04, 0x00, 0x00, // mov $1250, %ecx
		0xff, 0xc9, // 1: dec %ecx
		0x75, 0xfc, // jnz 1b
		0xf4, // hlt
	})
	copy(t.mem[trialUser:], []byte{0x0f, 0x05}) // syscall
	copy(t.mem[trialHandler:], []byte{0xf4})    // hlt, which user mode may not
	const table, large = 0x7, 0x87              // present, writable, user; 2 MiB
	t.mem[trialPML4], t.mem[trialPML4+1] = table, trialPDPT>>8
	t.mem[trialPDPT], t.mem[trialPDPT+1] = table, trialPD>>8
	t.mem[trialPD] = large

	runSize, err := dev.do(reqRunSize, 0)
	if err != nil {
		return t, err
	}
	host, err := supported(dev)
	if err != nil {
		return t, err
	}
	if t.vm, err = newVM(dev); err != nil {
		return t, err
	}
	if err = t.vm.add(vmm.Region{Mem: t.mem}); err != nil {
		return t, err
	}
	if t.cpu, err = newVCPU(t.vm, 0, runSize, processorModel(host, 1, vmm.DefaultPhysBits, false)); err != nil {
		return t, err
	}
	return t, t.cpu.enter(vmm.Entry{CR3: trialPML4})
}

func (t *trial) close() {
	if t.cpu != nil {
		t.cpu.close()
	}
	if t.vm != nil {
		t.vm.close()
	}
	if t.mem != nil {
		unix.Munmap(t.mem)
	}
}

// outcome is how a stretch of a trial ended.
type outcome struct {
	reason uint32        // of the exit; exitIntr if it took too long
	spent  time.Duration // of processor time, which no other program lengthens
	err    error
}

// run executes for d at most.
func (t *trial) run(d time.Duration) outcome {
	done := make(chan outcome)
	t.cpu.area.setImmediate(false)
	defer time.AfterFunc(d, t.cpu.interrupt).Stop()
	t.cpu.work <- func() {
		var before, after unix.Timespec
		unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &before)
		for {
			t.cpu.inside.Store(true)
			_, err := t.cpu.host.ioctl(t.cpu.fd, reqRun, 0)
			t.cpu.inside.Store(false)
			unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &after)
			o := outcome{t.cpu.area.reason, time.Duration(after.Nano() - before.Nano()), err}
			if err == unix.EINTR {
				if !t.cpu.area.immediate() {
					continue
				}
				o.reason, o.err = exitIntr, nil
			}
			done <- o
			return
		}
	}
	return <-done
}

// The loop takes 1 µs in hardware and 1.4 ms where it is emulated; the way into
// the guest and out takes 80 µs on the KVM of a machine that QEMU's TCG
// emulates, and less elsewhere. Other programs can take the processor from it,
// even such time as the thread is charged for where this host is a guest
// itself: it has several slices to end in, and several tries to be quick.
const (
	slice     = 40 * time.Millisecond
	maxSlices = 8
	tries     = 8
	slowAfter = 500 * time.Microsecond
)

// slow says that the kernel mode of the guest is emulated.
func (t *trial) slow() (bool, error) {
	for range tries {
		if slow, err := t.loop(); err != nil || !slow {
			return false, err
		}
	}
	return true, nil
}

// loop times one try.
func (t *trial) loop() (slow bool, err error) {
	if err := pass(t.cpu.file, reqSetRegs, &registers{rip: trialLoop, rflags: flagsFixed}); err != nil {
		return false, err
	}
	var spent time.Duration
	for range maxSlices {
		o := t.run(slice)
		spent += o.spent
		switch {
		case o.err != nil:
			return false, o.err
		case o.reason != exitHLT && o.reason != exitIntr:
			return false, fmt.Errorf("a loop ended in exit %d", o.reason)
		case o.reason == exitHLT || spent > slowAfter:
			return spent > slowAfter, nil
		}
	}
	return false, fmt.Errorf("a loop of %d instructions does not end", trialInstructions)
}

// systemCall has user mode call the kernel.
func (t *trial) systemCall() (broken string, err error) {
	const kernelCS = 0x08 // and its data segment the next
	if err := t.cpu.setMSRs(
		msrEntry{index: msrSTAR, value: kernelCS << 32},
		msrEntry{index: msrLSTAR, value: trialHandler},
		msrEntry{index: msrFMASK, value: flagIF},
	); err != nil {
		return "", err
	}
	var s specialRegisters
	if err := pass(t.cpu.file, reqGetSregs, &s); err != nil {
		return "", err
	}
	s.efer |= eferSCE
	s.cs, s.ss = codeSegment(0x23, 3), dataSegment(0x1b, 3)
	if err := pass(t.cpu.file, reqSetSregs, &s); err != nil {
		return "", err
	}
	if err := pass(t.cpu.file, reqSetRegs, &registers{rip: trialUser, rflags: flagsFixed}); err != nil {
		return "", err
	}
	o := t.run(slice)
	if o.err != nil {
		return "", o.err
	}
	if err := pass(t.cpu.file, reqGetSregs, &s); err != nil {
		return "", err
	}
	if o.reason != exitHLT || s.cs.selector&3 != 0 {
		return "SYSCALL does not enter kernel mode on the host's KVM", nil
	}
	return "", nil
}

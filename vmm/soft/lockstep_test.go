package soft

import (
	"bytes"
	"context"
	"fmt"
	"hash/maphash"
	"io"
	"os"
	"testing"
	"time"

	"nvlab/vmm"
	"nvlab/vmm/boot"
)

// A snapshot is the state of a processor that a guest can see.
type snapshot struct {
	r                  [16]uint64
	rip, rflags        uint64
	now, idle          uint64
	cpl                uint8
	halted, shadow     bool
	cr0, cr2, cr3, cr4 uint64
	efer, fs, gs       uint64
	seg                [6]segment
	xmm                [16][2]uint64
	mxcsr              uint32
	delivered          uint64
	irr, isr           [8]uint32
}

func (c *cpu) snapshot() (s snapshot) {
	copy(s.r[:], c.r[:])
	s.rip, s.rflags, s.now, s.idle, s.cpl = c.rip, c.rflags(), c.now, c.idle, c.cpl
	s.halted, s.shadow = c.halted, c.shadow
	s.cr0, s.cr2, s.cr3, s.cr4 = c.cr0, c.cr2, c.cr3, c.cr4
	s.efer, s.fs, s.gs, s.seg = c.efer, c.r[slotFS], c.r[slotGS], c.seg
	for i := range s.xmm {
		s.xmm[i] = c.fpu.xmm[i]
	}
	s.mxcsr, s.delivered = c.fpu.mxcsr, c.delivered
	s.irr, s.isr = c.apic.irr, c.apic.isr
	return s
}

// differ names the first fields in which two states differ.
func (s *snapshot) differ(o *snapshot) string {
	var b bytes.Buffer
	for i := range s.r {
		if s.r[i] != o.r[i] {
			fmt.Fprintf(&b, "register %d: %#x and %#x\n", i, s.r[i], o.r[i])
		}
	}
	if s.rflags != o.rflags {
		fmt.Fprintf(&b, "flags: %#x and %#x\n", s.rflags, o.rflags)
	}
	for i := range s.xmm {
		if s.xmm[i] != o.xmm[i] {
			fmt.Fprintf(&b, "xmm%d: %#x and %#x\n", i, s.xmm[i], o.xmm[i])
		}
	}
	if b.Len() == 0 || s.rip != o.rip || s.now != o.now {
		fmt.Fprintf(&b, "rip %#x and %#x, clock %d and %d\n", s.rip, o.rip, s.now, o.now)
	}
	if b.Len() == 0 {
		fmt.Fprintf(&b, "%+v\nand\n%+v", *s, *o)
	}
	return b.String()
}

// step is how often lockstep compares.
const step = 10_000

// watched is an engine whose processors stop every step and send their state.
type watched struct {
	Engine
	p     *processors
	state chan snapshot
	next  chan bool
	step  uint64
}

func (w *watched) New(spec vmm.ProcessorSpec, bus vmm.Bus) (vmm.Processors, error) {
	p, err := w.Engine.New(spec, bus)
	if err != nil {
		return nil, err
	}
	w.p = p.(*processors)
	if w.step == 0 {
		w.step = step
	}
	return watchedProcessors{w.p, w}, nil
}

type watchedProcessors struct {
	*processors
	w *watched
}

func (p watchedProcessors) Run(ctx context.Context, deadline time.Duration) (vmm.Exit, error) {
	for {
		at := (p.cpu.now/p.w.step + 1) * p.w.step
		exit, err := p.processors.Run(ctx, min(deadline, time.Duration(at)))
		if err != nil || exit != vmm.ExitDeadline || time.Duration(p.cpu.now) >= deadline {
			return exit, err
		}
		p.w.state <- p.cpu.snapshot()
		if !<-p.w.next {
			return vmm.ExitStopped, context.Canceled
		}
	}
}

// side is one of two machines that run the same.
type side struct {
	w       *watched
	m       *vmm.Machine
	console bytes.Buffer
	stop    vmm.Stop
	err     error
	done    chan bool
}

func newSide(t *testing.T, e Engine, k *boot.Kernel, initrd io.ReaderAt, size int64, cmdline string) *side {
	s := &side{w: &watched{Engine: e, state: make(chan snapshot), next: make(chan bool)}, done: make(chan bool)}
	m, err := vmm.New(vmm.Config{Memory: 256 << 20, Engine: s.w, Seed: 7, Kernel: k,
		Initrd: initrd, InitrdSize: size, Cmdline: cmdline, Console: &s.console})
	if err != nil {
		t.Fatal(err)
	}
	s.m = m
	t.Cleanup(func() { m.Close() })
	return s
}

func (s *side) run(until time.Duration) {
	s.stop, s.err = s.m.Run(context.Background(), until, nil)
	close(s.done)
}

// memory hashes all of the memory.
func (s *side) memory() (sums []uint64) {
	for _, r := range s.w.p.mem.regions {
		sums = append(sums, maphash.Bytes(seed, r.mem))
	}
	return sums
}

var seed = maphash.MakeSeed()

// inStep runs two machines until both end, comparing every step, and memory
// now and then.
func inStep(t *testing.T, a, b *side, until time.Duration) {
	go a.run(until)
	go b.run(until)
	var last snapshot
	for n := 1; ; n++ {
		var x, y snapshot
		var endA, endB bool
		select {
		case x = <-a.w.state:
		case <-a.done:
			endA = true
		}
		select {
		case y = <-b.w.state:
		case <-b.done:
			endB = true
		}
		differ := ""
		switch {
		case endA && endB:
			if a.stop != b.stop || a.err != nil || b.err != nil {
				t.Fatalf("they ended with %v, %v and %v, %v", a.stop, a.err, b.stop, b.err)
			}
			x, y = a.w.p.cpu.snapshot(), b.w.p.cpu.snapshot()
			if x != y {
				t.Fatalf("at the end they differ:\n%s", x.differ(&y))
			}
			for i, sum := range a.memory() {
				if sum != b.memory()[i] {
					t.Fatalf("at the end memory differs: %s", a.firstByte(b))
				}
			}
			if !bytes.Equal(a.console.Bytes(), b.console.Bytes()) {
				t.Fatalf("consoles differ")
			}
			t.Logf("%d comparisons, %v of guest time, ended with %v", n, a.m.Clock(), a.stop)
			return
		case endA != endB:
			differ = fmt.Sprintf("one ended: %v %v, %v %v", a.stop, a.err, b.stop, b.err)
		case x != y:
			differ = x.differ(&y)
		case n%5000 == 0:
			for i, sum := range a.memory() {
				if sum != b.memory()[i] {
					differ = "memory: " + a.firstByte(b)
				}
			}
		}
		if differ != "" {
			t.Errorf("between clock %d, rip %#x and clock %d they part:\n%s\nconsole:\n%s", last.now, last.rip, x.now, differ, tail(a.console.Bytes()))
			if !endA {
				a.w.next <- false
				<-a.done
			}
			if !endB {
				b.w.next <- false
				<-b.done
			}
			return
		}
		last = x
		a.w.next <- true
		b.w.next <- true
	}
}

func tail(b []byte) []byte { return b[max(0, len(b)-500):] }

func (s *side) firstByte(o *side) string {
	for i, r := range s.w.p.mem.regions {
		if j := mismatch(r.mem, o.w.p.mem.regions[i].mem); j >= 0 {
			return fmt.Sprintf("first at %#x: %#x and %#x", r.base+uint64(j), r.mem[j], o.w.p.mem.regions[i].mem[j])
		}
	}
	return "nowhere"
}

// TestLockstepBoot boots the kernel that NVLAB_TEST_KERNEL names, with the
// initramfs that NVLAB_TEST_INITRD names, by the interpreter and compiled.
func TestLockstepBoot(t *testing.T) {
	path, initrd := os.Getenv("NVLAB_TEST_KERNEL"), os.Getenv("NVLAB_TEST_INITRD")
	if path == "" {
		t.Skip("NVLAB_TEST_KERNEL names no kernel")
	}
	k, err := boot.Load(path)
	if err != nil {
		t.Fatal(err)
	}
	defer k.Close()
	var rd io.ReaderAt
	var size int64
	if initrd != "" {
		f, err := os.Open(initrd)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		st, err := f.Stat()
		if err != nil {
			t.Fatal(err)
		}
		rd, size = f, st.Size()
	}
	cmdline := os.Getenv("NVLAB_TEST_CMDLINE")
	a := newSide(t, Engine{Interpreter: true}, k, rd, size, cmdline)
	b := newSide(t, Engine{}, k, rd, size, cmdline)
	until := 60 * time.Second
	if s := os.Getenv("NVLAB_TEST_UNTIL"); s != "" {
		if until, err = time.ParseDuration(s); err != nil {
			t.Fatal(err)
		}
	}
	start := time.Now()
	inStep(t, a, b, until)
	t.Logf("took %v", time.Since(start))
	if n := b.w.p.cache.native; n != nil {
		s := n.stats()
		t.Logf("%d blocks compiled to %d KiB, entered %d times, %d flushes", s.blocks, s.size>>10, s.entries, s.flushes)
	}
	if testing.Verbose() {
		t.Logf("%s", tail(b.console.Bytes()))
	}
}

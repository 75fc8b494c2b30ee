package kvm

import (
	"context"
	"encoding/binary"
	"errors"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"nvlab/vmm"
)

// guest is a machine of bare processors: 2 MiB of memory, mapped to itself,
// with code at codeAddr.
type guest struct {
	*processors
	mem []byte
	testBus
}

const (
	codeAddr   = 0x1000
	tableAddr  = 0x10000
	guestSize  = 2 << 20
	attachment = 0x4000_0000 // where tests put further memory; mapped, too
)

// testBus gives ports and addresses to functions of a test.
type testBus struct {
	in    func(port uint16, size int) uint32
	out   func(port uint16, size int, v uint32)
	read  func(addr uint64, size int) uint64
	write func(addr uint64, size int, v uint64)
	eoi   func(vector uint8)
}

func (b *testBus) PortIn(port uint16, size int) uint32 {
	if b.in == nil {
		return ^uint32(0)
	}
	return b.in(port, size)
}

func (b *testBus) PortOut(port uint16, size int, v uint32) {
	if b.out != nil {
		b.out(port, size, v)
	}
}

func (b *testBus) MMIORead(addr uint64, size int) uint64 {
	if b.read == nil {
		return ^uint64(0)
	}
	return b.read(addr, size)
}

func (b *testBus) MMIOWrite(addr uint64, size int, v uint64) {
	if b.write != nil {
		b.write(addr, size, v)
	}
}

func (b *testBus) EndOfInterrupt(vector uint8) {
	if b.eoi != nil {
		b.eoi(vector)
	}
}

// newMemory is what a host's file would be.
func newMemory(t testing.TB, size int) []byte {
	t.Helper()
	mem, err := unix.Mmap(-1, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Munmap(mem) })
	return mem
}

// newGuest makes one that is started. It skips where there is no KVM.
func newGuest(t testing.TB, cpus int, code []byte) *guest {
	t.Helper()
	g := &guest{mem: newMemory(t, guestSize)}
	copy(g.mem[codeAddr:], code)
	put := func(addr int, v uint64) { binary.LittleEndian.PutUint64(g.mem[addr:], v) }
	const table, large = 0x7, 0x87 // present, writable, user; 2 MiB
	put(tableAddr, (tableAddr+0x1000)|table)
	for i := range 4 {
		put(tableAddr+0x1000+8*i, uint64(tableAddr+0x2000+i*0x1000|table))
	}
	for i := range 4 * 512 {
		put(tableAddr+0x2000+8*i, uint64(i)<<21|large)
	}
	p, err := Engine{}.New(vmm.ProcessorSpec{Count: cpus}, g)
	if errors.Is(err, vmm.ErrNoEngine) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	g.processors = p.(*processors)
	t.Cleanup(func() {
		if err := g.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	if err := g.Map(vmm.Region{Mem: g.mem}); err != nil {
		t.Fatal(err)
	}
	if err := g.Start(vmm.Entry{RIP: codeAddr, RSP: 0x8000, CR3: tableAddr}); err != nil {
		t.Fatal(err)
	}
	return g
}

// run lets the guest run for 20 s at most.
func (g *guest) run(t testing.TB, want vmm.Exit) {
	t.Helper()
	got, err := g.Run(context.Background(), g.Clock()+20*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	if got != want {
		t.Fatalf("Run = %v, want %v", got, want)
	}
}

// BenchmarkExit is a store to a port and back.
func BenchmarkExit(b *testing.B) {
	g := newGuest(b, 1, []byte{0xe6, 0x80, 0xeb, 0xfc}) // 1: out %al, $0x80; jmp 1b
	n := 0
	g.out = func(uint16, int, uint32) {
		if n++; n == b.N {
			g.Stop()
		}
	}
	b.ResetTimer()
	g.run(b, vmm.ExitStopped)
}

// BenchmarkRun is the end of a Run and the next one.
func BenchmarkRun(b *testing.B) {
	g := newGuest(b, 1, []byte{0xe6, 0x80, 0xeb, 0xfc})
	g.out = func(uint16, int, uint32) { g.Stop() }
	for b.Loop() {
		g.run(b, vmm.ExitStopped)
	}
}

// BenchmarkInKernel is an exit that KVM handles itself.
func BenchmarkInKernel(b *testing.B) {
	g := newGuest(b, 1, []byte{0x31, 0xc0, 0x0f, 0xa2, 0xff, 0xce, 0x75, 0xf8, 0xe6, 0x80})
	g.out = func(uint16, int, uint32) { g.Stop() }
	var r registers
	pass(g.cpus[0].file, reqGetRegs, &r)
	r.rsi = uint64(b.N)
	pass(g.cpus[0].file, reqSetRegs, &r)
	b.ResetTimer()
	g.run(b, vmm.ExitStopped)
}

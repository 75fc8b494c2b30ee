package persist_test

import (
	"context"
	"encoding/binary"
	"testing"
	"time"

	"nvlab/nvdimm/persist"
	"nvlab/vmm"
	"nvlab/vmm/observe"
	"nvlab/vmm/soft"
)

// The machine of litmus programs: a little memory, two DIMMs of a page each,
// and a flush hint for each of them. rdi is DIMM 0; rsi is other memory.
const (
	codeAt   = 0x10000
	otherAt  = 0x20000
	idtAt    = 0x30000
	handler  = 0x31000
	gdtAt    = 0x32000
	pagesAt  = 0x40000
	dimmAt   = 0x200000
	dimm1At  = 0x210000 // rdi + P
	dimmSize = 4096
	hintAt   = 0x300000 // of DIMM 1: 8 bytes on
)

// Offsets from rdi: three lines of DIMM 0, one of DIMM 1, the hints.
const (
	A  = 0
	B  = 64
	C  = 128
	P  = dimm1At - dimmAt
	H0 = hintAt - dimmAt
	H1 = H0 + 8

	UC = 0x800000 // added to A, B or C: through an uncached mapping
	WT = 0xa00000 // through a write-through one
)

func code(parts ...[]byte) (b []byte) {
	for _, p := range parts {
		b = append(b, p...)
	}
	return b
}

// at is ModRM and displacement of [rdi+off] with a register field.
func at(reg byte, off int) []byte {
	return binary.LittleEndian.AppendUint32([]byte{0x87 | reg<<3}, uint32(off))
}

func mov(off, v int) []byte { // mov qword [rdi+off], v
	return binary.LittleEndian.AppendUint32(code([]byte{0x48, 0xc7}, at(0, off)), uint32(v))
}

func movb(off, v int) []byte { return append(code([]byte{0xc6}, at(0, off)), byte(v)) }

func nt(off, v int) []byte { // mov eax, v; movnti [rdi+off], rax
	return code(binary.LittleEndian.AppendUint32([]byte{0xb8}, uint32(v)), []byte{0x48, 0x0f, 0xc3}, at(0, off))
}

func ntd(off, v int) []byte { // mov eax, v; movnti [rdi+off], eax
	return code(binary.LittleEndian.AppendUint32([]byte{0xb8}, uint32(v)), []byte{0x0f, 0xc3}, at(0, off))
}

// xmm loads xmm0 with lo and hi, by the other memory.
func xmm(lo, hi byte) []byte {
	return []byte{0x48, 0xc7, 0x06, lo, 0, 0, 0, 0x48, 0xc7, 0x46, 8, hi, 0, 0, 0, 0xf3, 0x0f, 0x6f, 0x06}
}

func movntdq(off int) []byte    { return code([]byte{0x66, 0x0f, 0xe7}, at(0, off)) }
func movdqu(off int) []byte     { return code([]byte{0xf3, 0x0f, 0x7f}, at(0, off)) }
func clwb(off int) []byte       { return code([]byte{0x66, 0x0f, 0xae}, at(6, off)) }
func clflushopt(off int) []byte { return code([]byte{0x66, 0x0f, 0xae}, at(7, off)) }
func clflush(off int) []byte    { return code([]byte{0x0f, 0xae}, at(7, off)) }
func lockInc(off int) []byte    { return code([]byte{0xf0, 0x48, 0xff}, at(0, off)) }
func xchg(off, v int) []byte {
	return code(binary.LittleEndian.AppendUint32([]byte{0xb8}, uint32(v)), []byte{0x48, 0x87}, at(0, off))
}

// cmpxchg16b swaps zeros at off for lo and hi.
func cmpxchg16b(off int, lo, hi byte) []byte {
	return code([]byte{0x31, 0xc0, 0x31, 0xd2, 0xbb, lo, 0, 0, 0, 0xb9, hi, 0, 0, 0, 0xf0, 0x48, 0x0f, 0xc7}, at(1, off))
}

// stos fills n bytes, words or quadwords at off: al, then rep stosb or stosq.
func stos(off, v, n int, quad bool) []byte {
	op := []byte{0xf3, 0xaa}
	if quad {
		op = []byte{0xf3, 0x48, 0xab}
	}
	le := binary.LittleEndian
	return code([]byte{0x57, 0x48, 0x8d}, at(7, off), // push rdi; lea rdi, [rdi+off]
		le.AppendUint32([]byte{0xb8}, uint32(v)), le.AppendUint32([]byte{0xb9}, uint32(n)), op, []byte{0x5f})
}

var (
	sfence    = []byte{0x0f, 0xae, 0xf8}
	mfence    = []byte{0x0f, 0xae, 0xf0}
	lfence    = []byte{0x0f, 0xae, 0xe8}
	wbinvd    = []byte{0x0f, 0x09}
	cpuid     = []byte{0x31, 0xc0, 0x0f, 0xa2}
	out       = []byte{0xe6, 0x80}
	lockOther = []byte{0xf0, 0xff, 0x06}       // lock inc dword [rsi]
	storeRAM  = []byte{0xc7, 0x06, 1, 0, 0, 0} // mov dword [rsi], 1
	interrupt = []byte{0xcd, 0x20}             // int 0x20, whose handler is hlt
	movToCR3  = []byte{0x0f, 0x20, 0xd8, 0x0f, 0x22, 0xd8}
	apicRead  = []byte{0x8b, 0x04, 0x25, 0, 0, 0x30, 0} // mov eax, [hintAt]
)

// collector is the observer and the bus of a litmus machine: it turns what
// the machine does into steps, in this test's own terms.
type collector struct {
	steps  []step
	events []any // the same, for the model
}

func (c *collector) Store(e *observe.Store) {
	s := step{what: "store", cpu: int(e.VCPU), dimm: int(e.Base-dimmAt) >> 16, off: int(e.Offset), group: e.Group}
	s.data = binary.LittleEndian.AppendUint64(nil, e.Value)[:e.Size]
	s.nt = e.Kind&observe.NonTemporal != 0
	s.device = e.Kind&observe.Device != 0
	s.str = e.Kind&observe.String != 0
	s.vec = e.Kind&observe.Vector != 0
	s.locked = e.Kind&observe.Locked != 0
	s.uc = e.Kind&observe.ToUncached != 0
	s.wt = e.Kind&observe.ToWriteThrough != 0
	c.steps = append(c.steps, s)
	c.events = append(c.events, *e)
}

func (c *collector) Flush(e *observe.Flush) {
	c.steps = append(c.steps, step{what: "flush", cpu: int(e.VCPU), dimm: int(e.Base-dimmAt) >> 16, off: int(e.Offset), clflush: e.Op == observe.CLFLUSH})
	c.events = append(c.events, *e)
}

func (c *collector) Fence(e *observe.Fence) {
	is := func(o observe.Order) bool { return e.Order&o != 0 }
	c.steps = append(c.steps, step{
		what: "fence", cpu: int(e.VCPU), drain: is(^observe.Exception),
		full:    is(observe.SFENCE | observe.MFENCE | observe.Lock),
		mfence:  is(observe.MFENCE),
		empties: is(observe.Interrupt | observe.Exception | observe.SFENCE | observe.MFENCE | observe.WBINVD | observe.Lock | observe.Serializing | observe.PortIO),
		all:     is(observe.WBINVD),
		named:   is(observe.Explicit),
	})
	c.events = append(c.events, *e)
}

func (c *collector) hint(dimm int) {
	c.steps = append(c.steps, step{what: "hint", dimm: dimm})
	c.events = append(c.events, dimm)
}

func (c *collector) MMIOWrite(addr uint64, size int, v uint64) {
	switch addr {
	case hintAt:
		c.hint(0)
	case hintAt + 8:
		c.hint(1)
	}
}
func (c *collector) MMIORead(uint64, int) uint64 { return 0 }
func (c *collector) PortIn(uint16, int) uint32   { return 0 }
func (c *collector) PortOut(uint16, int, uint32) {}
func (c *collector) EndOfInterrupt(vector uint8) {}

// run executes a program up to its HLT and gives what an observer was told.
func run(t *testing.T, program []byte) *collector { return runOn(t, soft.Engine{}, program) }

func runOn(t *testing.T, engine soft.Engine, program []byte) *collector {
	t.Helper()
	c := &collector{}
	procs, err := engine.New(vmm.ProcessorSpec{Count: 1}, c)
	if err != nil {
		t.Fatal(err)
	}
	defer procs.Close()
	ram := make([]byte, 1<<20)
	le := binary.LittleEndian
	le.PutUint64(ram[pagesAt:], pagesAt+0x1000|7)
	le.PutUint64(ram[pagesAt+0x1000:], pagesAt+0x2000|7)
	for i := range 4 {
		le.PutUint64(ram[pagesAt+0x2000+8*i:], uint64(i)<<21|0x87) // pages of 2 MiB
	}
	le.PutUint64(ram[pagesAt+0x2000+(UC+dimmAt)>>21*8:], dimmAt|0x9f) // PCD, PWT
	le.PutUint64(ram[pagesAt+0x2000+(WT+dimmAt)>>21*8:], dimmAt|0x8f) // PWT
	for i, d := range []uint64{0, 0, 0x00af9b000000ffff, 0x00cf93000000ffff} {
		le.PutUint64(ram[gdtAt+8*i:], d)
	}
	// Vector 0x20: an interrupt gate to handler.
	le.PutUint64(ram[idtAt+16*0x20:], handler&0xffff|0x10<<16|0x8e00<<32|handler>>16<<48)
	ram[handler] = 0xf4
	le.PutUint16(ram[idtAt+0xff0:], 0xfff)
	le.PutUint64(ram[idtAt+0xff2:], idtAt)
	prologue := code(
		[]byte{0x0f, 0x01, 0x1c, 0x25}, le.AppendUint32(nil, idtAt+0xff0), // lidt
		[]byte{0x0f, 0x20, 0xe0, 0x80, 0xcc, 0x06, 0x0f, 0x22, 0xe0}, // cr4 |= OSFXSR, OSXMMEXCPT
		le.AppendUint32([]byte{0xbf}, dimmAt), le.AppendUint32([]byte{0xbe}, otherAt))
	copy(ram[codeAt:], code(prologue, program, []byte{0xf4}))
	regions := []vmm.Region{
		{Base: 0, Mem: ram},
		{Base: dimmAt, Mem: make([]byte, dimmSize), Observed: true},
		{Base: dimm1At, Mem: make([]byte, dimmSize), Observed: true},
	}
	for _, r := range regions {
		if err := procs.Map(r); err != nil {
			t.Fatal(err)
		}
	}
	procs.(vmm.Observable).Observe(c)
	err = procs.Start(vmm.Entry{RIP: codeAt, RSP: 0xf0000, CR3: pagesAt, GDT: gdtAt, GDTLimit: 31})
	if err != nil {
		t.Fatal(err)
	}
	exit, err := procs.Run(context.Background(), time.Millisecond)
	if err != nil || exit != vmm.ExitDead {
		t.Fatalf("Run() = %v, %v; want the program's HLT", exit, err)
	}
	return c
}

// feed gives the model the first n events, and memory the stores.
func feed(events []any, n int, platform persist.Platform, config persist.Config, record bool) (*persist.Model, *persist.Journal, []*persist.Medium, [2][]byte) {
	m := persist.NewModel(config)
	mem := [2][]byte{make([]byte, dimmSize), make([]byte, dimmSize)}
	var media []*persist.Medium
	for i := range mem {
		d := persist.NewMedium("nvdimm", platform, persist.Bytes(mem[i]))
		m.Map(uint64(dimmAt+i<<16), d, 0)
		media = append(media, d)
	}
	j, _ := m.Record(nil)
	for _, e := range events[:n] {
		switch e := e.(type) {
		case observe.Store:
			j.Store(&e)
			m.Store(&e)
			p := mem[(e.Base-dimmAt)>>16][e.Offset:]
			copy(p[:e.Size], binary.LittleEndian.AppendUint64(nil, e.Value))
		case observe.Flush:
			j.Flush(&e)
			m.Flush(&e)
		case observe.Fence:
			j.Fence(&e)
			m.Fence(&e)
		case int:
			j.Hint(media[e], observe.At{})
			m.Hint(media[e])
		}
	}
	return m, j, media, mem
}

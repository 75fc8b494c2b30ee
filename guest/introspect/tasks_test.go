package introspect

import (
	"encoding/binary"
	"errors"
	"testing"
)

// kernelMemory is physical memory with page tables, per-CPU data and tasks as
// a kernel has them.
type kernelMemory []byte

func (m kernelMemory) ReadAt(p []byte, at int64) (int, error) {
	if at < 0 || at+int64(len(p)) > int64(len(m)) {
		return 0, errors.New("no memory")
	}
	return copy(p, m[at:]), nil
}

func (m kernelMemory) put(at int, v uint64) { binary.LittleEndian.PutUint64(m[at:], v) }

const (
	kernelTables = 0x2000 // of every process, and above them those of programs
	directMap    = 0xffff888000000000
	cpuArray     = 0x8000 // __per_cpu_offset
	cpuData      = 0x9000 // of CPU 0; CPU 1's is one page on
	currentAt    = 0x40
	nameAt       = 0x700
	pidAt        = 0x4d0
)

// newKernelMemory maps the first 2 MiB at directMap, in small pages for the
// first half of them and a large one 2 MiB above.
func newKernelMemory() kernelMemory {
	m := make(kernelMemory, 1<<20)
	i := func(shift int) int { return 8 * int(uint64(directMap)>>shift&511) }
	m.put(kernelTables+i(39), 0x4000|1)
	m.put(0x4000+i(30), 0x5000|1)
	m.put(0x5000+i(21), 0x6000|1)
	m.put(0x5000+i(21)+8, 1<<7|1) // the same memory again
	for page := range 256 {
		m.put(0x6000+8*page, uint64(page)<<12|1|1<<63)
	}
	for cpu := range 2 {
		m.put(cpuArray+8*cpu, directMap+cpuData+uint64(cpu)<<12)
	}
	return m
}

func (m kernelMemory) task(at int, name string, pid uint32) {
	clear(m[at+nameAt : at+nameAt+taskNameSize])
	copy(m[at+nameAt:], name)
	binary.LittleEndian.PutUint32(m[at+pidAt:], pid)
}

func (m kernelMemory) run(cpu, task int) { m.put(cpuData+cpu<<12+currentAt, directMap+uint64(task)) }

func TestTasks(t *testing.T) {
	m := newKernelMemory()
	s := ParseSymbols([]byte("0000000000000040 A current_task\nffff888000008000 d __per_cpu_offset\n"))
	p := NewTasks(m, &Layout{Name: nameAt, PID: pidAt}, s)
	if p == nil {
		t.Fatal("a kernel with symbols and type information does not say where its tasks are")
	}
	m.task(0x20000, "sh", 100)
	m.task(0x30000, "jbd2/pmem0-8", 55)
	m.task(0x40000, "dd", 101)
	seq := uint64(0)
	look := func(cpu int, cr3 uint64, later uint64, want string) {
		t.Helper()
		seq += later
		n := p.At(cpu, seq, cr3)
		if got := p.Processes()[n].String(); got != want {
			t.Errorf("at %d with tables %#x, CPU %d runs %q, want %q", seq, cr3, cpu, got, want)
		}
	}
	m.run(0, 0x20000)
	m.run(1, 0x40000)
	look(0, kernelTables, 1000, "sh[100]")
	look(1, kernelTables|7, 1, "dd[101]") // with a PCID
	look(0, kernelTables, 1, "sh[100]")
	look(0, kernelTables+0x1000, 1, "sh[100]") // in the program
	m.task(0x20000, "cp", 100)                 // execve: the same task and other tables
	for i := range 512 {
		m.put(0x7000+8*i, binary.LittleEndian.Uint64(m[kernelTables+8*i:]))
	}
	look(0, 0x7000, 10, "cp[100]")
	m.task(0x20000, "mkdir", 100) // its name comes later than the tables
	look(0, 0x7000, 500, "mkdir[100]")
	m.run(0, 0x30000) // a kernel thread borrows the tables
	look(0, 0x7000, 500, "jbd2/pmem0-8[55]")
	m.run(0, 0x200000+0x40000) // by the large page
	look(0, 0x7000, 500, "dd[101]")
	m.task(0x40000, "mv", 102) // another process in the same memory
	look(0, 0x7000, 500, "mv[102]")
	m.run(0, 1<<30) // nothing there
	look(0, 0x7000, 500, "")
	look(0, 0xff000, 500, "") // no tables
	m.task(0x20000, "", 7)
	m.run(0, 0x20000)
	look(0, 0x7000, 500, "")

	for what, none := range map[string]*Tasks{
		"type information": NewTasks(m, nil, s),
		"symbols":          NewTasks(m, &Layout{}, nil),
		"current_task":     NewTasks(m, &Layout{}, ParseSymbols([]byte("ffff888000008000 d __per_cpu_offset\n"))),
	} {
		if none != nil {
			t.Errorf("without %s the processes are known", what)
		}
	}
}

package lab

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"fmt"
	"sync"

	"nvlab/guest/btf"
	"nvlab/vmm/observe"
)

// A Process is one of the guest's, or a thread of its kernel. The zero
// Process is one that is not known.
type Process struct {
	Name string // the kernel's, of at most 15 bytes
	PID  int    // 0 of a CPU that is idle
}

func (p Process) String() string {
	if p == (Process{}) {
		return ""
	}
	return fmt.Sprintf("%s[%d]", p.Name, p.PID)
}

// taskLayout is where a kernel keeps what describes a process, in bytes within
// its structure of it.
type taskLayout struct{ name, pid uint64 }

// taskNameSize is TASK_COMM_LEN.
const taskNameSize = 16

// readTaskLayout finds it in the type information of a vmlinux.
func readTaskLayout(path string) (*taskLayout, error) {
	f, err := elf.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	s := f.Section(".BTF")
	if s == nil {
		return nil, fmt.Errorf("%s has no type information", path)
	}
	data, err := s.Data()
	if err != nil {
		return nil, err
	}
	at, err := btf.Offsets(data, "task_struct", "comm", "tgid")
	if err != nil {
		return nil, err
	}
	return &taskLayout{at[0], at[1]}, nil
}

// tasks is the layout of an image's kernel, nil if it is not known.
func (i *image) tasks() *taskLayout {
	i.tasksOnce.Do(func() { i.taskLayout, _ = readTaskLayout(i.path) })
	return i.taskLayout
}

// onceTasks is in an image.
type onceTasks struct {
	tasksOnce  sync.Once
	taskLayout *taskLayout
}

// physical is a guest's memory, by physical address.
type physical interface {
	ReadAt(p []byte, addr int64) (int, error)
}

// processes tells what process a CPU runs, from what the guest's kernel has in
// memory: its pointer to the current task, of each CPU.
type processes struct {
	memory  physical
	layout  taskLayout
	offsets uint64 // guest-virtual, of the CPUs' offsets of their own data
	current uint64 // of the pointer, within that data
	list    []Process
	numbers map[Process]uint32
	cpus    []running
	buf     [taskNameSize]byte
}

// running is what a CPU ran when it was last looked at.
type running struct {
	seq, cr3 uint64
	pointer  uint64 // guest-physical, of the current task's address; 0 if not known yet
	task     uint64 // guest-virtual
	pid      uint64 // guest-physical, of its number; 0 if not known
	name     uint64 // and of its name
	lastPID  uint32
	lastName [taskNameSize]byte
	process  uint32
	looked   bool
}

// newProcesses is nil if this guest's kernel does not say where what is.
func newProcesses(memory physical, layout *taskLayout, s *symbols) *processes {
	if layout == nil || s == nil || s.cpuOffsets == 0 || !s.hasCurrent {
		return nil
	}
	return &processes{memory: memory, layout: *layout, offsets: s.cpuOffsets, current: s.current, list: make([]Process, 1), numbers: map[Process]uint32{{}: 0}}
}

// closeBy says that so few instructions are no switch to another process.
const closeBy = 64

// at is the number of the process that an event is of, 0 if it is not known.
func (p *processes) at(e *observe.At) uint32 {
	for int(e.VCPU) >= len(p.cpus) {
		p.cpus = append(p.cpus, running{})
	}
	c := &p.cpus[e.VCPU]
	if c.looked && e.CR3 == c.cr3 && e.Seq-c.seq < closeBy {
		c.seq = e.Seq
		return c.process
	}
	if e.CR3 != c.cr3 {
		c.task = 0
	}
	c.seq, c.cr3, c.looked = e.Seq, e.CR3, true
	c.process = p.look(c, e)
	return c.process
}

// look reads the guest's memory.
func (p *processes) look(c *running, e *observe.At) uint32 {
	if c.pointer == 0 {
		slot, ok := p.translate(e.CR3, p.offsets+8*uint64(e.VCPU))
		if !ok {
			return 0
		}
		own, _ := p.word(slot)
		if c.pointer, ok = p.translate(e.CR3, own+p.current); !ok {
			c.pointer = 0
			return 0
		}
	}
	task, ok := p.word(c.pointer)
	if !ok {
		return 0
	}
	if task == c.task && c.pid != 0 {
		// The number and the name: a program becomes another some time after
		// it has other page tables.
		if pid, ok := p.half(c.pid); ok && pid == c.lastPID && p.read(p.buf[:], c.name) && p.buf == c.lastName {
			return c.process
		}
	}
	c.task, c.pid = task, 0
	name, ok := p.translate(e.CR3, task+p.layout.name)
	if !ok || !p.read(p.buf[:], name) {
		return 0
	}
	c.name, c.lastName = name, p.buf
	text, _, _ := bytes.Cut(p.buf[:], []byte{0})
	process := Process{Name: string(bytes.ToValidUTF8(text, []byte("?")))}
	at, ok := p.translate(e.CR3, task+p.layout.pid)
	if !ok {
		return 0
	}
	pid, ok := p.half(at)
	if !ok || process.Name == "" {
		return 0
	}
	c.pid, c.lastPID, process.PID = at, pid, int(int32(pid))
	n, ok := p.numbers[process]
	if !ok {
		n = uint32(len(p.list))
		p.list, p.numbers[process] = append(p.list, process), n
	}
	return n
}

func (p *processes) read(b []byte, addr uint64) bool {
	n, err := p.memory.ReadAt(b, int64(addr))
	return err == nil && n == len(b)
}

func (p *processes) word(addr uint64) (uint64, bool) {
	ok := p.read(p.buf[:8], addr)
	return binary.LittleEndian.Uint64(p.buf[:8]), ok
}

func (p *processes) half(addr uint64) (uint32, bool) {
	ok := p.read(p.buf[:4], addr)
	return binary.LittleEndian.Uint32(p.buf[:4]), ok
}

// translate finds a kernel address. While a program runs, its own page tables
// may lack most of the kernel's: those for the kernel are 4 KiB below (Linux
// Documentation/x86/pti.rst).
func (p *processes) translate(cr3, addr uint64) (uint64, bool) {
	if at, ok := p.walk(cr3, addr); ok {
		return at, true
	}
	return p.walk(cr3&^0x1000, addr)
}

func (p *processes) walk(cr3, addr uint64) (uint64, bool) { return walk(p.word, cr3, addr) }

// walk goes through page tables of four levels (SDM 3A, 4.5), whose entries
// word reads.
func walk(word func(addr uint64) (uint64, bool), cr3, addr uint64) (uint64, bool) {
	const present, large, frame = 1, 1 << 7, 0x000f_ffff_ffff_f000
	table := cr3 & frame
	for shift := 39; ; shift -= 9 {
		entry, ok := word(table + addr>>shift&511*8)
		if !ok || entry&present == 0 {
			return 0, false
		}
		if size := uint64(1) << shift; shift == 12 || shift < 39 && entry&large != 0 {
			return entry&frame&^(size-1) | addr&(size-1), true
		}
		table = entry & frame
	}
}

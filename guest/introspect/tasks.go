package introspect

import (
	"bytes"
	"encoding/binary"
)

// Tasks tells which process a CPU runs: the kernel has a pointer to the current
// task of each CPU. A machine that runs must not be asked.
type Tasks struct {
	memory  Memory
	layout  Layout
	offsets uint64 // guest-virtual, of the CPUs' offsets of their own data
	current uint64 // of the pointer, within that data
	list    []Process
	numbers map[Process]uint32
	cpus    []cpu
	code    *Programs // nil if they are not known
	buf     [taskNameSize]byte
}

// cpu is what a CPU ran when it was last looked at.
type cpu struct {
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

// NewTasks is nil if this guest's kernel does not say where what is.
func NewTasks(memory Memory, layout *Layout, s *Symbols) *Tasks {
	if layout == nil || s == nil || s.cpuOffsets == 0 || !s.hasCurrent {
		return nil
	}
	t := &Tasks{memory: memory, layout: *layout, offsets: s.cpuOffsets, current: s.current, list: make([]Process, 1), numbers: map[Process]uint32{{}: 0}}
	t.code = newPrograms(t)
	return t
}

// Programs are what the processes execute; nil if the kernel does not say where
// that is.
func (t *Tasks) Programs() *Programs { return t.code }

// Processes are those that At has told of, by number. The caller must not
// change them.
func (t *Tasks) Processes() []Process { return t.list }

// closeBy says that so few instructions are no switch to another process.
const closeBy = 64

// At is the number of the process that a CPU runs at its instruction seq, with
// the page tables at cr3; 0 if it is not known. Calls come with seq ascending.
func (t *Tasks) At(number int, seq, cr3 uint64) uint32 {
	for number >= len(t.cpus) {
		t.cpus = append(t.cpus, cpu{})
	}
	c := &t.cpus[number]
	if c.looked && cr3 == c.cr3 && seq-c.seq < closeBy {
		c.seq = seq
		return c.process
	}
	if cr3 != c.cr3 {
		c.task = 0
	}
	c.seq, c.cr3, c.looked = seq, cr3, true
	c.process = t.look(c, number)
	return c.process
}

// look reads the guest's memory.
func (t *Tasks) look(c *cpu, number int) uint32 {
	if c.pointer == 0 {
		slot, ok := t.translate(c.cr3, t.offsets+8*uint64(number))
		if !ok {
			return 0
		}
		own, _ := t.word(slot)
		if c.pointer, ok = t.translate(c.cr3, own+t.current); !ok {
			c.pointer = 0
			return 0
		}
	}
	task, ok := t.word(c.pointer)
	if !ok {
		return 0
	}
	if task == c.task && c.pid != 0 {
		// The number and the name: a program becomes another some time after
		// it has other page tables.
		if pid, ok := t.half(c.pid); ok && pid == c.lastPID && t.read(t.buf[:], c.name) && t.buf == c.lastName {
			return c.process
		}
	}
	c.task, c.pid = task, 0
	name, ok := t.translate(c.cr3, task+t.layout.Name)
	if !ok || !t.read(t.buf[:], name) {
		return 0
	}
	c.name, c.lastName = name, t.buf
	text, _, _ := bytes.Cut(t.buf[:], []byte{0})
	process := Process{Name: string(bytes.ToValidUTF8(text, []byte("?")))}
	at, ok := t.translate(c.cr3, task+t.layout.PID)
	if !ok {
		return 0
	}
	pid, ok := t.half(at)
	if !ok || process.Name == "" {
		return 0
	}
	c.pid, c.lastPID, process.PID = at, pid, int(int32(pid))
	n, ok := t.numbers[process]
	if !ok {
		n = uint32(len(t.list))
		t.list, t.numbers[process] = append(t.list, process), n
	}
	return n
}

func (t *Tasks) read(b []byte, addr uint64) bool {
	n, err := t.memory.ReadAt(b, int64(addr))
	return err == nil && n == len(b)
}

func (t *Tasks) word(addr uint64) (uint64, bool) {
	ok := t.read(t.buf[:8], addr)
	return binary.LittleEndian.Uint64(t.buf[:8]), ok
}

func (t *Tasks) half(addr uint64) (uint32, bool) {
	ok := t.read(t.buf[:4], addr)
	return binary.LittleEndian.Uint32(t.buf[:4]), ok
}

// translate finds a kernel address.
func (t *Tasks) translate(cr3, addr uint64) (uint64, bool) {
	return translateKernel(t.word, cr3, addr)
}

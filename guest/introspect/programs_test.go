package introspect

import (
	"encoding/binary"
	"strings"
	"testing"
)

const (
	memoryAt  = 0x20 // of a task's memory
	mapsAt    = 0x10000
	areaAt    = 0x11000
	fileAt    = 0x12000
	entriesAt = 0x13000
	nodesAt   = 0x14000
	mountsAt  = 0x15000
	programPC = 0x401234
)

// layoutOf is a kernel's of a list or of a tree.
func layoutOf(tree bool) *Layout {
	return &Layout{Name: nameAt, PID: pidAt, Mappings: &MappingLayout{
		Memory: memoryAt, Areas: 8, Next: 24, Tree: tree, Start: 0, End: 8, Page: 16, File: 32, Entry: 16, Name: 8, Parent: 24,
	}}
}

func (m kernelMemory) area(at int, start, end, page, file uint64) {
	m.put(at, start)
	m.put(at+8, end)
	m.put(at+16, page)
	m.put(at+32, file)
}

func (m kernelMemory) entry(at int, name string, parent int) {
	m.put(at+8, directMap+uint64(at)+0x40)
	m.put(at+24, directMap+uint64(parent))
	copy(m[at+0x40:], name+"\x00")
}

// newProgram is a task whose memory is areas of /opt/prog and one of no file.
func newProgram(tree bool) kernelMemory {
	m := newKernelMemory()
	m.task(0x20000, "prog", 7)
	m.run(0, 0x20000)
	m.put(0x20000+memoryAt, directMap+mapsAt)
	m.entry(entriesAt, "/", entriesAt)
	m.entry(entriesAt+0x100, "opt", entriesAt)
	m.entry(entriesAt+0x200, "prog", entriesAt+0x100)
	m.put(fileAt+16, directMap+entriesAt+0x200)
	m.area(areaAt, 0x400000, 0x401000, 0, directMap+fileAt)
	m.area(areaAt+0x40, 0x401000, 0x403000, 1, directMap+fileAt)
	m.area(areaAt+0x80, 0x7fff0000, 0x7fff9000, 0, 0)
	m.put(areaAt+24, directMap+areaAt+0x40)
	m.put(areaAt+0x40+24, directMap+areaAt+0x80)
	m.put(mapsAt+8, directMap+areaAt)
	if tree {
		// The root has two leaves, of which the first has the program.
		node := func(at, kind int) uint64 { return directMap + uint64(at) | uint64(kind)<<3 | 4 }
		m.put(mapsAt+8, node(nodesAt, mapleARange)|mapleRoot)
		m.put(nodesAt+8, 0x500000)
		m.put(nodesAt+80, node(nodesAt+0x100, mapleLeaf))
		m.put(nodesAt+88, node(nodesAt+0x200, mapleLeaf))
		for i, last := range []uint64{0x3fffff, 0x400fff, 0x402fff} { // the slot after them ends with the node
			m.put(nodesAt+0x108+8*i, last)
		}
		m.put(nodesAt+0x100+128+8, directMap+areaAt)
		m.put(nodesAt+0x100+128+16, directMap+areaAt+0x40)
		m.put(nodesAt+0x208, 0x7ffeffff)
		m.put(nodesAt+0x210, 0x7fff8fff)
		m.put(nodesAt+0x200+128+8, directMap+areaAt+0x80)
	}
	return m
}

// mount is of a file system's root, on an entry of another mount.
func (m kernelMemory) mount(at, root, parent, point int) {
	m.put(at+16, directMap+uint64(parent))
	m.put(at+24, directMap+uint64(point))
	m.put(at+32, directMap+uint64(root))
}

// TestProgramsOfMounts: a file's path goes on above the root of its file system.
func TestProgramsOfMounts(t *testing.T) {
	s := ParseSymbols([]byte("0000000000000040 A current_task\nffff888000008000 d __per_cpu_offset\n"))
	for _, tt := range []struct {
		name, want string
		mount      func(m kernelMemory)
	}{
		{"of the root", "/opt/prog", func(m kernelMemory) { m.mount(mountsAt, entriesAt, mountsAt, entriesAt) }},
		{"of /opt, a file system of its own", "/srv/prog", func(m kernelMemory) {
			m.entry(entriesAt+0x300, "/", entriesAt+0x300)
			m.entry(entriesAt+0x400, "srv", entriesAt+0x300)
			m.mount(mountsAt, entriesAt+0x100, mountsAt+0x100, entriesAt+0x400)
			m.mount(mountsAt+0x100, entriesAt+0x300, mountsAt+0x100, entriesAt+0x300)
		}},
		{"mounted on itself without end", "/prog", func(m kernelMemory) { // it is told as far as it is known
			m.mount(mountsAt, entriesAt+0x100, mountsAt+0x100, entriesAt+0x100)
			m.mount(mountsAt+0x100, entriesAt+0x100, mountsAt, entriesAt+0x100)
		}},
	} {
		m, l := newProgram(false), layoutOf(false)
		l.Mappings.Mounts = &MountLayout{Mount: 40, Root: 0, Within: 32, Parent: 16, Point: 24}
		m.put(fileAt+40, directMap+mountsAt+32)
		tt.mount(m)
		tasks := NewTasks(m, l, s)
		p, n := tasks.Programs(), tasks.At(0, 1000, kernelTables)
		p.See(0, kernelTables, n, programPC)
		if at, _ := p.At(n, programPC); at.Path != tt.want {
			t.Errorf("a program %s is at %q, want %q", tt.name, at.Path, tt.want)
		}
	}
}

func TestPrograms(t *testing.T) {
	s := ParseSymbols([]byte("0000000000000040 A current_task\nffff888000008000 d __per_cpu_offset\n"))
	for _, tree := range []bool{false, true} {
		m := newProgram(tree)
		tasks := NewTasks(m, layoutOf(tree), s)
		p, n := tasks.Programs(), tasks.At(0, 1000, kernelTables)
		for _, tt := range []struct {
			pc   uint64
			want string
		}{
			{programPC, "/opt/prog prog+0x1234"},
			{0x400010, "/opt/prog prog+0x10"},
			{0x402fff, "/opt/prog prog+0x2fff"},
			{0x403000, ""},      // nothing there
			{0x7fff0010, ""},    // no file
			{0x1000, ""},        // before all
			{0x7ffff0000, ""},   // after all
			{directMap + 8, ""}, // the kernel's
		} {
			p.See(0, kernelTables, n, tt.pc)
			got := ""
			if at, ok := p.At(n, tt.pc); ok {
				got = at.Path + " " + at.Place(tt.pc)
			}
			if got != tt.want {
				t.Errorf("with a tree: %v, %#x is at %q, want %q", tree, tt.pc, got, tt.want)
			}
		}
		m.area(areaAt+0x40, 0, 0, 0, 0) // it ended
		if at, ok := p.At(n, programPC+8); !ok || !strings.HasSuffix(at.Place(programPC+8), "prog+0x123c") {
			t.Errorf("what was seen is forgotten: %v, %v", at, ok)
		}
	}
	if tasks := NewTasks(newProgram(false), &Layout{Name: nameAt, PID: pidAt}, s); tasks.Programs() != nil {
		t.Error("a kernel that does not say what is mapped knows its programs")
	}
}

// FuzzPrograms has kernels that wrote over their own memory.
func FuzzPrograms(f *testing.F) {
	f.Add(true, uint32(nodesAt), []byte{1, 2, 3})
	f.Add(false, uint32(areaAt+24), binary.LittleEndian.AppendUint64(nil, directMap+areaAt)) // a list without end
	f.Add(true, uint32(entriesAt+24), binary.LittleEndian.AppendUint64(nil, directMap+entriesAt+0x100))
	s := ParseSymbols([]byte("0000000000000040 A current_task\nffff888000008000 d __per_cpu_offset\n"))
	f.Fuzz(func(t *testing.T, tree bool, at uint32, damage []byte) {
		m := newProgram(tree)
		copy(m[int(at)%len(m):], damage)
		l := layoutOf(tree)
		l.Mappings.Mounts = &MountLayout{Mount: 40, Root: 0, Within: 32, Parent: 16, Point: 24}
		tasks := NewTasks(m, l, s)
		n := tasks.At(0, 1000, kernelTables)
		tasks.Programs().See(0, kernelTables, n, programPC)
		tasks.Programs().At(n, programPC)
	})
}

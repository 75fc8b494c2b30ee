package introspect

import (
	"encoding/binary"
	"fmt"
	"path"
	"slices"
	"strings"
)

// Programs tells which file, and where in it, a program's instruction is. What
// is executed is mapped, so that it is known once it was seen; what else a
// process maps at the same page later is taken for the same.
type Programs struct {
	tasks   *Tasks
	layout  MappingLayout
	latest  []codePage // that See looked at, by CPU
	seen    map[codePage]int
	list    []Mapping // the first is that of pages of which nothing is known
	numbers map[Mapping]int
}

// codePage is a page of a process's instructions.
type codePage struct {
	process uint32
	number  uint64
}

// A Mapping is part of a file in a process's memory.
type Mapping struct {
	Path   string // from the root, or of its file system if the kernel does not say where that is mounted
	Start  uint64 // virtual
	Offset uint64 // of Start in the file, bytes
}

func newPrograms(t *Tasks) *Programs {
	if t.layout.Mappings == nil {
		return nil
	}
	return &Programs{tasks: t, layout: *t.layout.Mappings, seen: map[codePage]int{}, list: make([]Mapping, 1), numbers: map[Mapping]int{{}: 0}}
}

// See looks at what the process that a CPU runs now, of which Tasks.At just
// told, has at an instruction. A nil p sees nothing.
func (p *Programs) See(cpu int, cr3 uint64, process uint32, pc uint64) {
	if p == nil || process == 0 || pc>>63 != 0 {
		return
	}
	for cpu >= len(p.latest) {
		p.latest = append(p.latest, codePage{})
	}
	page := codePage{process, pc >> 12}
	if page == p.latest[cpu] {
		return
	}
	p.latest[cpu] = page
	if _, ok := p.seen[page]; ok {
		return
	}
	m := p.mapping(p.tasks.cpus[cpu].task, cr3, pc)
	n, ok := p.numbers[m]
	if !ok {
		n = len(p.list)
		p.list, p.numbers[m] = append(p.list, m), n
	}
	p.seen[page] = n
}

// At is what a process has at an instruction that See saw; ok is false if that
// is not known.
func (p *Programs) At(process uint32, pc uint64) (m Mapping, ok bool) {
	if p == nil {
		return m, false
	}
	n := p.seen[codePage{process, pc >> 12}]
	return p.list[n], n > 0
}

// Place is the file's name and the offset in it of an instruction in a mapping,
// such as prog+0x11d6.
func (m Mapping) Place(pc uint64) string {
	return fmt.Sprintf("%s+%#x", path.Base(m.Path), m.InFile(pc))
}

// InFile is the offset in the file of an instruction.
func (m Mapping) InFile(pc uint64) uint64 { return pc - m.Start + m.Offset }

// reader reads a kernel's memory by its own addresses; once something is not
// there, all is zero.
type reader struct {
	tasks  *Tasks
	cr3    uint64
	failed bool
}

func (r *reader) word(addr uint64) uint64 {
	at, ok := r.tasks.translate(r.cr3, addr)
	if ok && !r.failed {
		if v, ok := r.tasks.word(at); ok {
			return v
		}
	}
	r.failed = true
	return 0
}

// maxFileName is NAME_MAX of Linux.
const maxFileName = 255

func (r *reader) text(addr uint64) string {
	var b []byte
	for len(b) <= maxFileName {
		v := r.word((addr + uint64(len(b))) &^ 7) // which crosses no page
		word := binary.LittleEndian.AppendUint64(nil, v)
		for _, c := range word[(addr+uint64(len(b)))&7:] {
			if c == 0 {
				return string(b)
			}
			b = append(b, c)
		}
		if r.failed {
			break
		}
	}
	r.failed = true
	return ""
}

// maxDepth bounds the folders that a file is in.
const maxDepth = 64

// mapping reads what a task has at an address; the zero Mapping if it has no
// file there.
func (p *Programs) mapping(task, cr3, pc uint64) Mapping {
	l, r := &p.layout, &reader{tasks: p.tasks, cr3: cr3}
	memory := r.word(task + l.Memory)
	if memory == 0 {
		return Mapping{}
	}
	root := r.word(memory + l.Areas)
	area := uint64(0)
	if l.Tree {
		area = r.find(root, pc)
	} else {
		area = r.follow(root, l, pc)
	}
	if area == 0 {
		return Mapping{}
	}
	m := Mapping{Start: r.word(area + l.Start), Offset: r.word(area+l.Page) << 12}
	file := r.word(area + l.File)
	if r.failed || pc < m.Start || pc >= r.word(area+l.End) || file == 0 {
		return Mapping{}
	}
	if m.Path = r.path(l, file); r.failed || m.Path == "/" {
		return Mapping{}
	}
	return m
}

// path is that of an open file: names up to the root of its file system, then
// those of where that is mounted, and so on, as d_path (Linux, fs/d_path.c).
func (r *reader) path(l *MappingLayout, file uint64) string {
	var names []string
	entry, mount := r.word(file+l.Entry), uint64(0)
	if l.Mounts != nil {
		mount = r.word(file + l.Mounts.Mount)
	}
	for range 2 * maxDepth {
		if mount != 0 && entry == r.word(mount+l.Mounts.Root) {
			of := mount - l.Mounts.Within
			parent := r.word(of + l.Mounts.Parent)
			if parent == of || r.failed { // the root of all
				break
			}
			entry, mount = r.word(of+l.Mounts.Point), parent+l.Mounts.Within
			continue
		}
		name, parent := r.text(r.word(entry+l.Name)), r.word(entry+l.Parent)
		if parent == entry || r.failed || len(names) == maxDepth {
			break
		}
		names = append(names, strings.ToValidUTF8(name, "?"))
		entry = parent
	}
	slices.Reverse(names)
	return "/" + strings.Join(names, "/")
}

// maxAreas bounds a list of areas: vm.max_map_count is 65,530.
const maxAreas = 1 << 17

// follow goes through a list of areas, which is by address.
func (r *reader) follow(area uint64, l *MappingLayout, pc uint64) uint64 {
	for range maxAreas {
		if area == 0 || r.failed || pc < r.word(area+l.End) {
			return area
		}
		area = r.word(area + l.Next)
	}
	return 0
}

// A tree of areas is a maple tree (Linux, include/linux/maple_tree.h). A
// pointer to a node is a multiple of 256, with the node's type in bits 3 to 6,
// and of the root bit 1. A node has its parent, then pivots, the last index of
// each slot but the last, then slots.
const (
	mapleNode  = 255
	mapleRoot  = 2
	mapleTypes = 3

	mapleLeaf    = 1
	mapleRange   = 2
	mapleARange  = 3
	maxMapleTree = 16 // levels
)

// maplePivots is the number of pivots, by type.
var maplePivots = [mapleTypes + 1]int{mapleLeaf: 15, mapleRange: 15, mapleARange: 9}

// find is the area in a tree that has an index, or that would come after it.
func (r *reader) find(node, index uint64) uint64 {
	if node&mapleRoot == 0 {
		return 0 // no node: there is no area, or it is at 0 only
	}
	for range maxMapleTree {
		kind, at := node>>3&15, node&^mapleNode
		if kind < mapleLeaf || kind > mapleTypes || r.failed {
			return 0
		}
		pivots := maplePivots[kind]
		slot := 0
		for ; slot < pivots; slot++ {
			last := r.word(at + 8 + 8*uint64(slot))
			if index <= last || last == 0 && slot > 0 { // 0 is that of a slot that ends where the node does
				break
			}
		}
		next := r.word(at + 8 + 8*uint64(pivots) + 8*uint64(slot))
		if kind == mapleLeaf || r.failed {
			return next
		}
		node = next
	}
	return 0
}

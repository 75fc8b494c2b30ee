package rootfs

import (
	"encoding/binary"
	"slices"
	"strings"
)

// KmodIndex encodes an index as depmod writes it and libkmod reads it (kmod,
// libkmod/libkmod-index.h): a magic number, a version, the offset of the root,
// and nodes of a trie. All numbers are big-endian; the top bits of an offset
// say what a node has.
func KmodIndex(entries []IndexEntry) []byte {
	root := &trie{}
	for i, e := range entries {
		root.insert(e.Key, trieValue{uint32(i), e.Value})
	}
	b := binary.BigEndian.AppendUint32(nil, 0xB007F457)
	b = binary.BigEndian.AppendUint32(b, 0x00020001)
	b = append(b, 0, 0, 0, 0)
	b, at := root.append(b)
	binary.BigEndian.PutUint32(b[8:], at)
	return b
}

// IndexEntry is a key of an index and its value; those that come first win.
type IndexEntry struct{ Key, Value string }

const (
	nodePrefix = 0x80000000
	nodeValues = 0x40000000
	nodeChilds = 0x20000000
)

type trie struct {
	prefix   string
	children map[byte]*trie
	values   []trieValue
}

type trieValue struct {
	priority uint32
	text     string
}

func (t *trie) insert(key string, v trieValue) {
	n := 0
	for n < len(key) && n < len(t.prefix) && key[n] == t.prefix[n] {
		n++
	}
	if len(t.children) == 0 && len(t.values) == 0 && t.prefix == "" {
		t.prefix, t.values = key, []trieValue{v}
		return
	}
	if n < len(t.prefix) { // split
		below := *t
		below.prefix = t.prefix[n+1:]
		*t = trie{prefix: t.prefix[:n], children: map[byte]*trie{t.prefix[n]: &below}}
	}
	if n == len(key) {
		t.values = append(t.values, v)
		return
	}
	if t.children == nil {
		t.children = map[byte]*trie{}
	}
	child := t.children[key[n]]
	if child == nil {
		t.children[key[n]] = &trie{prefix: key[n+1:], values: []trieValue{v}}
		return
	}
	if rest := key[n+1:]; rest == "" && child.prefix == "" {
		child.values = append(child.values, v)
	} else {
		child.insert(rest, v)
	}
}

// append writes the children, then the node, and returns the node's offset.
func (t *trie) append(b []byte) ([]byte, uint32) {
	var first, last byte
	var offsets []uint32
	if len(t.children) > 0 {
		first, last = 255, 0
		for c := range t.children {
			first, last = min(first, c), max(last, c)
		}
		offsets = make([]uint32, int(last)-int(first)+1)
		for i := range offsets {
			if child := t.children[first+byte(i)]; child != nil {
				b, offsets[i] = child.append(b)
			}
		}
	}
	at := uint32(len(b))
	if t.prefix != "" {
		b = append(append(b, t.prefix...), 0)
		at |= nodePrefix
	}
	if len(offsets) > 0 {
		b = append(b, first, last)
		for _, o := range offsets {
			b = binary.BigEndian.AppendUint32(b, o)
		}
		at |= nodeChilds
	}
	if len(t.values) > 0 {
		b = binary.BigEndian.AppendUint32(b, uint32(len(t.values)))
		for _, v := range t.values {
			b = binary.BigEndian.AppendUint32(b, v.priority)
			b = append(append(b, v.text...), 0)
		}
		at |= nodeValues
	}
	return b, at
}

// normalAlias is an alias as kmod looks it up: with _ for -, but within
// brackets (kmod, shared/util.c, alias_normalize).
func normalAlias(s string) string {
	var b strings.Builder
	in := false
	for _, c := range []byte(s) {
		switch {
		case c == '[':
			in = true
		case c == ']':
			in = false
		case c == '-' && !in:
			c = '_'
		}
		b.WriteByte(c)
	}
	return b.String()
}

// IndexFiles are what a folder of modules has beside them, as depmod makes it.
var IndexFiles = []string{"modules.alias", "modules.alias.bin", "modules.builtin", "modules.builtin.bin", "modules.dep", "modules.dep.bin", "modules.softdep"}

// A ModuleIndex is what is known of a kernel's modules.
type ModuleIndex struct {
	Files map[string][]byte // IndexFiles
	Sizes map[string]int64  // of modules, uncompressed, by path below /lib/modules/RELEASE
}

// Index reads every module.
func (m *Modules) Index() (*ModuleIndex, error) {
	var names []string
	for name := range m.files {
		names = append(names, name)
	}
	slices.Sort(names)
	x := &ModuleIndex{Files: map[string][]byte{}, Sizes: map[string]int64{}}
	var dep, alias, softdep, builtin strings.Builder
	var deps, aliases, builtins []IndexEntry
	for _, name := range names {
		k, err := m.load(name)
		if err != nil {
			return nil, err
		}
		x.Sizes[k.path] = k.size
		line := k.path + ":"
		if order, err := m.Order([]string{name}, true); err == nil { // else it can never be loaded
			for i := len(order) - 2; i >= 0; i-- { // nearest first, itself left out
				line += " " + m.loaded[order[i]].path
			}
		}
		dep.WriteString(line + "\n")
		deps = append(deps, IndexEntry{name, line})
		for _, a := range k.info.Aliases {
			alias.WriteString("alias " + a + " " + name + "\n")
			aliases = append(aliases, IndexEntry{normalAlias(a), name})
		}
		if k.info.Softdep != "" {
			softdep.WriteString("softdep " + name + " " + k.info.Softdep + "\n")
		}
	}
	for _, p := range m.builtinPaths {
		builtin.WriteString(p + "\n")
		builtins = append(builtins, IndexEntry{moduleName(p), ""})
	}
	for name, b := range map[string][]byte{
		"modules.dep": []byte(dep.String()), "modules.dep.bin": KmodIndex(deps),
		"modules.alias": []byte(alias.String()), "modules.alias.bin": KmodIndex(aliases),
		"modules.builtin": []byte(builtin.String()), "modules.builtin.bin": KmodIndex(builtins),
		"modules.softdep": []byte(softdep.String()),
	} {
		x.Files[name] = b
	}
	return x, nil
}

// All lists the modules as they came, for the archive.
func (m *Modules) All() []ModuleFile {
	var list []ModuleFile
	for _, f := range m.files {
		list = append(list, f)
	}
	slices.SortFunc(list, func(a, b ModuleFile) int { return strings.Compare(a.Path, b.Path) })
	return list
}

// BuiltinText is modules.builtin.
func (m *Modules) BuiltinText() string { return strings.Join(m.builtinPaths, "\n") + "\n" }

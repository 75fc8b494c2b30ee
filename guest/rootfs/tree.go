// Package rootfs composes the file tree of a guest and writes it as an
// initramfs.
package rootfs

import (
	"bytes"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"
)

// File types in Node.Mode, as in inode(7).
const (
	ModeType    = 0o170000
	ModeRegular = 0o100000
	ModeDir     = 0o040000
	ModeSymlink = 0o120000
)

// Content is what a regular file holds.
type Content interface {
	Open() (io.ReadCloser, error)
}

// Bytes is content in memory.
type Bytes []byte

func (b Bytes) Open() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(b)), nil }

// Node is a file, a folder or a symbolic link.
type Node struct {
	Mode    uint32 // type and permissions
	Size    int64  // of a regular file, bytes
	Content Content
	Link    string // target of a symbolic link
	// Deferred: the content is not in the initramfs, but comes when somebody
	// opens the file.
	Deferred bool
}

// Tree is a file tree with /usr merged: whatever is put below bin, sbin, lib
// or lib64 goes below usr, and sbin is bin. Its paths have no leading slash.
type Tree struct {
	nodes map[string]*Node
	kept  map[string]*Node // see Keep
}

// merged are the links that make a merged tree, and where they lead.
var merged = []struct{ from, to string }{
	{"bin", "usr/bin"},
	{"sbin", "usr/bin"},
	{"lib", "usr/lib"},
	{"lib64", "usr/lib64"},
	{"usr/sbin", "bin"},
}

// NewTree returns a tree with nothing but its merged folders.
func NewTree() *Tree {
	t := &Tree{nodes: map[string]*Node{}}
	for _, dir := range []string{"usr/bin", "usr/lib", "usr/lib64"} {
		t.dir(dir)
	}
	for _, m := range merged {
		t.nodes[m.from] = &Node{Mode: ModeSymlink | 0o777, Link: m.to}
	}
	return t
}

// Clean is the path that name has in a merged tree, without a leading slash.
func Clean(name string) string {
	p := path.Clean("/" + name)[1:]
	for _, m := range merged {
		to := m.to
		if m.from == "usr/sbin" {
			to = "usr/bin"
		}
		if p == m.from {
			return to
		}
		if strings.HasPrefix(p, m.from+"/") {
			return to + p[len(m.from):]
		}
	}
	return p
}

func (t *Tree) dir(p string) {
	for ; p != "." && p != "" && t.nodes[p] == nil; p = path.Dir(p) {
		t.nodes[p] = &Node{Mode: ModeDir | 0o755}
	}
}

// Add puts a node at a path, with the folders above it. A node that is there
// is replaced; a folder stays when a folder or a link to one comes.
func (t *Tree) Add(name string, n Node) error {
	p := Clean(name)
	if p == "" {
		return nil
	}
	old := t.nodes[p]
	if old != nil && old.Mode&ModeType == ModeDir {
		if n.Mode&ModeType == ModeRegular {
			return fmt.Errorf("guest tree: file /%s where a folder is", p)
		}
		return nil
	}
	for d := path.Dir(p); d != "."; d = path.Dir(d) {
		if up := t.nodes[d]; up != nil && up.Mode&ModeType != ModeDir {
			return fmt.Errorf("guest tree: /%s lies below /%s, which is no folder", p, d)
		}
	}
	t.dir(path.Dir(p))
	t.nodes[p] = &n
	return nil
}

// AddFile adds a regular file from memory.
func (t *Tree) AddFile(name string, perm uint32, data []byte) error {
	return t.Add(name, Node{Mode: ModeRegular | perm, Size: int64(len(data)), Content: Bytes(data)})
}

// AddLink adds a symbolic link.
func (t *Tree) AddLink(name, target string) error {
	return t.Add(name, Node{Mode: ModeSymlink | 0o777, Link: target})
}

// AddDir adds a folder.
func (t *Tree) AddDir(name string, perm uint32) error {
	return t.Add(name, Node{Mode: ModeDir | perm})
}

// Get returns the node at a path, or nil. It follows no link but the merged
// ones.
func (t *Tree) Get(name string) *Node { return t.nodes[Clean(name)] }

// Remove takes a node away that is no folder.
func (t *Tree) Remove(name string) {
	if n := t.Get(name); n != nil && n.Mode&ModeType != ModeDir {
		delete(t.nodes, Clean(name))
	}
}

// Resolve follows symbolic links from a path to the node they end at, and
// returns its path; "" if they end nowhere.
func (t *Tree) Resolve(name string) string {
	p := Clean(name)
	for range 40 {
		n := t.nodes[p]
		if n == nil {
			return ""
		}
		if n.Mode&ModeType != ModeSymlink {
			return p
		}
		if path.IsAbs(n.Link) {
			p = Clean(n.Link)
		} else {
			p = Clean(path.Join(path.Dir(p), n.Link))
		}
	}
	return ""
}

// Paths lists every path, sorted, so that a folder comes before what is in it.
func (t *Tree) Paths() []string {
	list := make([]string, 0, len(t.nodes))
	for p := range t.nodes {
		list = append(list, p)
	}
	slices.Sort(list)
	return list
}

// Size is the content of all files, in bytes.
func (t *Tree) Size() (total int64) {
	for _, n := range t.nodes {
		total += n.Size
	}
	return total
}

// ReadAll returns a file's content.
func (n *Node) ReadAll() ([]byte, error) {
	r, err := n.Content.Open()
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return io.ReadAll(r)
}

package rootfs

import (
	"fmt"
	"slices"
	"strings"
)

// DeferredSize is the size of a file that is worth deferring, in bytes: a
// smaller one costs a boot less than the wait for it.
const DeferredSize = 16 << 10

// DeferredList is the file in which the agent finds the deferred files.
const DeferredList = "etc/nvlab/deferred"

// Keep sets a file aside that no boot needs: the tree's archive has it, the
// initramfs does not.
func (t *Tree) Keep(name string, n Node) {
	if t.kept == nil {
		t.kept = map[string]*Node{}
	}
	t.kept[Clean(name)] = &n
}

// Kept lists what the archive has: files set aside and those deferred.
func (t *Tree) Kept() []string {
	var list []string
	for p := range t.kept {
		list = append(list, p)
	}
	for p, n := range t.nodes {
		if n.Deferred {
			list = append(list, p)
		}
	}
	slices.Sort(list)
	return slices.Compact(list)
}

// IsKept reports whether a file was set aside.
func (t *Tree) IsKept(name string) bool { return t.kept[name] != nil }

// KeptNode is a node of Kept.
func (t *Tree) KeptNode(name string) *Node {
	if n := t.kept[name]; n != nil {
		return n
	}
	return t.nodes[name]
}

// Defer makes a file one whose content comes when somebody opens it, and
// reports whether it is worth it.
func (n *Node) Defer(name string) bool {
	n.Deferred = n.Mode&ModeType == ModeRegular && n.Size >= DeferredSize && !strings.ContainsAny(name, "\n")
	return n.Deferred
}

// AddDeferredList adds the list of deferred files, lines of size and path, if
// there are any.
func (t *Tree) AddDeferredList() error {
	var text strings.Builder
	for _, p := range t.Paths() {
		if n := t.nodes[p]; n.Deferred {
			fmt.Fprintf(&text, "%d /%s\n", n.Size, p)
		}
	}
	if text.Len() == 0 {
		return nil
	}
	return t.AddFile(DeferredList, 0o644, []byte(text.String()))
}

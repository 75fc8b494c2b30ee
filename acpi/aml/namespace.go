package aml

import (
	"errors"
	"strings"
)

// nameString is a name as byte code holds it: segments have four characters.
type nameString struct {
	root    bool
	parents int
	segs    []string
}

// String gives the ASL text, without the padding of segments.
func (n nameString) String() string {
	var b strings.Builder
	if n.root {
		b.WriteByte('\\')
	}
	b.WriteString(strings.Repeat("^", n.parents))
	for i, s := range n.segs {
		if i > 0 {
			b.WriteByte('.')
		}
		if s = strings.TrimRight(s, "_"); s == "" {
			s = "_"
		}
		b.WriteString(s)
	}
	return b.String()
}

// maxNamespaceDepth bounds the nesting of objects, and so the cost of the
// upward search for a name.
const maxNamespaceDepth = 255

var errNamespaceDepth = errors.New("objects are nested more than 255 deep")

// node is an object of the namespace.
type node struct {
	parent   *node
	children map[string]*node
	depth    int
	defined  bool // not only passed through on the way to another
	method   bool
	argc     int
}

func (n *node) child(seg string) *node {
	c := n.children[seg]
	if c == nil {
		c = &node{parent: n, depth: n.depth + 1}
		if n.children == nil {
			n.children = make(map[string]*node)
		}
		n.children[seg] = c
	}
	return c
}

// start is the node from which the segments of a name count.
func (n *node) start(name nameString) *node {
	if name.root {
		for n.parent != nil {
			n = n.parent
		}
	}
	for i := 0; i < name.parents && n.parent != nil; i++ {
		n = n.parent
	}
	return n
}

// create is the node of a name that an object declares in scope n.
func (n *node) create(name nameString) (*node, error) {
	n = n.start(name)
	if n.depth+len(name.segs) > maxNamespaceDepth {
		return nil, errNamespaceDepth
	}
	for _, s := range name.segs {
		n = n.child(s)
	}
	return n, nil
}

// lookup finds a name from scope n, upwards if it is a single segment
// (section 5.3); nil if it is not defined here.
func (n *node) lookup(name nameString) *node {
	if !name.root && name.parents == 0 && len(name.segs) == 1 {
		for ; n != nil; n = n.parent {
			if c := n.children[name.segs[0]]; c != nil && c.defined {
				return c
			}
		}
		return nil
	}
	n = n.start(name)
	for _, s := range name.segs {
		if n = n.children[s]; n == nil {
			return nil
		}
	}
	if !n.defined {
		return nil
	}
	return n
}

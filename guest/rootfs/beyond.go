package rootfs

import (
	"bytes"
	"io"
	"strings"

	"github.com/cavaliergopher/cpio"
)

// Beyond is the tree of what t has and the first segment of an archive has not,
// or has otherwise: written behind that segment it makes t of it, since the
// kernel unpacks one after the other (Linux, init/initramfs.c). It is nil if no
// segment can: one takes nothing away, and puts nothing in place of a folder.
func (t *Tree) Beyond(archive io.Reader) (*Tree, error) {
	own := &Tree{nodes: map[string]*Node{}}
	for p, n := range t.nodes {
		own.nodes[p] = n
	}
	for r := cpio.NewReader(archive); ; {
		h, err := r.Next()
		if err == io.EOF {
			return own, nil
		}
		if err != nil {
			return nil, err
		}
		p := strings.TrimPrefix(h.Name, "./")
		n := t.nodes[p]
		if n == nil {
			return nil, nil
		}
		if uint32(h.Mode) != n.Mode {
			if uint32(h.Mode)&ModeType == ModeDir {
				return nil, nil
			}
			continue
		}
		same, err := n.holds(h, r)
		if err != nil {
			return nil, err
		}
		if same {
			delete(own.nodes, p)
		}
	}
}

// holds compares what an archive has of a node of the same mode.
func (n *Node) holds(h *cpio.Header, r io.Reader) (bool, error) {
	switch {
	case n.Mode&ModeType == ModeSymlink:
		return h.Linkname == n.Link, nil
	case n.Mode&ModeType != ModeRegular:
		return true, nil
	case n.Deferred:
		return h.Size == 0, nil
	case h.Size != n.Size:
		return false, nil
	}
	want, err := n.ReadAll()
	if err != nil {
		return false, err
	}
	got, err := io.ReadAll(r)
	return bytes.Equal(got, want), err
}

package rootfs

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/cavaliergopher/cpio"
)

// WriteCPIO writes the tree as an uncompressed newc archive, the same bytes
// for the same tree: sorted, owned by root, dated 1970 (Linux,
// Documentation/driver-api/early-userspace/buffer-format.rst).
func (t *Tree) WriteCPIO(w io.Writer) error {
	return writeCPIO(w, t)
}

func writeCPIO(w io.Writer, t *Tree) error {
	count := &countingWriter{w: w}
	out := cpio.NewWriter(count)
	for i, p := range t.Paths() {
		n := t.nodes[p]
		if err := writeNode(out, p, int64(i+1), n); err != nil {
			return fmt.Errorf("initramfs: /%s: %w", p, err)
		}
	}
	if err := count.close(out); err != nil {
		return err
	}
	// A segment that follows must begin at a multiple of 4.
	if pad := -count.n & 3; pad != 0 {
		if _, err := w.Write(make([]byte, pad)); err != nil {
			return fmt.Errorf("initramfs: %w", err)
		}
	}
	return nil
}

func writeNode(out *cpio.Writer, p string, inode int64, n *Node) error {
	h := &cpio.Header{Name: p, Mode: cpio.FileMode(n.Mode), Inode: inode, Links: 1, Size: n.Size, ModTime: time.Unix(0, 0)}
	if n.Deferred {
		h.Size = 0
		return out.WriteHeader(h)
	}
	switch n.Mode & ModeType {
	case ModeDir:
		h.Size, h.Links = 0, 2
		return out.WriteHeader(h)
	case ModeSymlink:
		h.Size = int64(len(n.Link))
		if err := out.WriteHeader(h); err != nil {
			return err
		}
		_, err := io.WriteString(out, n.Link)
		return err
	}
	if n.Size > 1<<32-1 {
		return fmt.Errorf("file of %d bytes; the format holds 4 GiB", n.Size)
	}
	if err := out.WriteHeader(h); err != nil {
		return err
	}
	r, err := n.Content.Open()
	if err != nil {
		return err
	}
	defer r.Close()
	got, err := io.Copy(out, r)
	if err == nil && got != n.Size {
		err = fmt.Errorf("%d bytes where %d were announced", got, n.Size)
	}
	return err
}

// countingWriter counts, and keeps the first error: cpio.Writer loses one that
// comes while it writes the trailer.
type countingWriter struct {
	w   io.Writer
	n   int64
	err error
}

func (c *countingWriter) Write(p []byte) (int, error) {
	if c.err != nil {
		return 0, c.err
	}
	n, err := c.w.Write(p)
	c.n += int64(n)
	c.err = err
	return n, err
}

func (c *countingWriter) close(out *cpio.Writer) error {
	err := out.Close()
	if err == nil {
		err = c.err
	}
	if err != nil {
		return fmt.Errorf("initramfs: %w", err)
	}
	return nil
}

// Entry is one line of ListCPIO.
type Entry struct {
	Path string
	Mode uint32
	Size int64
	Link string
}

// ListCPIO reads an initramfs of one or more uncompressed segments.
func ListCPIO(r io.Reader) ([]Entry, error) {
	var list []Entry
	in := &alignedReader{r: r}
	for {
		more, err := in.skipZeros()
		if err != nil || !more {
			return list, err
		}
		c := cpio.NewReader(in)
		for {
			h, err := c.Next()
			if err == io.EOF {
				break
			}
			if err != nil {
				return list, fmt.Errorf("initramfs, near offset %d: %w", in.n, err)
			}
			if h.Size < 0 {
				return list, fmt.Errorf("initramfs, near offset %d: size %d", in.n, h.Size)
			}
			e := Entry{Path: strings.TrimPrefix(h.Name, "./"), Mode: uint32(h.Mode), Size: h.Size, Link: h.Linkname}
			list = append(list, e)
		}
	}
}

// alignedReader skips the zeros between segments.
type alignedReader struct {
	r    io.Reader
	n    int64
	next []byte
}

func (a *alignedReader) Read(p []byte) (int, error) {
	if len(a.next) > 0 {
		n := copy(p, a.next)
		a.next = a.next[n:]
		a.n += int64(n)
		return n, nil
	}
	n, err := a.r.Read(p)
	a.n += int64(n)
	return n, err
}

func (a *alignedReader) skipZeros() (bool, error) {
	var b [1]byte
	for {
		_, err := io.ReadFull(a, b[:])
		if err == io.EOF {
			return false, nil
		}
		if err != nil {
			return false, err
		}
		if b[0] != 0 {
			a.next, a.n = b[:1:1], a.n-1
			return true, nil
		}
	}
}

// WriteInit writes a segment that holds nothing but a program as /init.
func WriteInit(w io.Writer, program []byte) error {
	count := &countingWriter{w: w}
	out := cpio.NewWriter(count)
	n := &Node{Mode: ModeRegular | 0o755, Size: int64(len(program)), Content: Bytes(program)}
	if err := writeNode(out, "init", 1, n); err != nil {
		return fmt.Errorf("initramfs: /init: %w", err)
	}
	return count.close(out)
}

package guest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"
	"syscall"

	"nvlab/guest/pid1"
	"nvlab/guest/rootfs"
)

// Agent returns the path of the program that is pid 1 of guests, and builds it
// if it is not there.
func (s *Store) Agent(ctx context.Context, progress Progress) (string, error) {
	if progress == nil {
		progress = Quiet
	}
	defer progress.Done()
	agent, err := pid1.Find(ctx, s.inside("agents"), func() { progress.Phase("building the guests' agent", 0) })
	if err != nil && readOnly(err) {
		err = fmt.Errorf("the store of guests %s cannot be written and has no agent of this nvlab (%w): where it can be written, one run of this nvlab puts it there; "+
			"or CGO_ENABLED=0 GOOS=linux GOARCH=amd64 go build ./cmd/nvlab-agent makes one, to put beside nvlab or to name with --agent", s.dir, err)
	}
	return agent, err
}

// readOnly says whether a store cannot be written, as opposed to one that is
// full or broken.
func readOnly(err error) bool {
	return errors.Is(err, os.ErrPermission) || errors.Is(err, syscall.EROFS)
}

// An Initramfs is a guest's file tree with an agent as its /init. It can be read
// even when the guest is replaced or removed meanwhile.
type Initramfs struct {
	parts []part // the guest's own tree, in one or two segments
	agent []byte
}

// A part is a file, as long as it was when it was made.
type part struct {
	f    *os.File
	size int64
}

func (p part) ReadAt(b []byte, off int64) (int, error) {
	n, err := p.f.ReadAt(b, off)
	if err == io.EOF && off+int64(n) < p.size {
		err = fmt.Errorf("%s was truncated: %w", p.f.Name(), io.ErrUnexpectedEOF)
	}
	return n, err
}

// Initramfs returns the guest's initramfs with a program as its /init, one that
// calls agent.Main (see Store.Agent). It must be a static x86-64 Linux program.
// What the kernel does not load of it is left out.
func (im *Image) Initramfs(agent string) (*Initramfs, error) {
	program, err := os.ReadFile(agent)
	if err != nil {
		return nil, fmt.Errorf("cannot read the guest's agent: %w", err)
	}
	stripped, err := rootfs.StripStatic(program)
	if err != nil {
		return nil, fmt.Errorf("%s cannot be the guest's agent: %w", agent, err)
	}
	var b bytes.Buffer
	if err := rootfs.WriteInit(&b, stripped); err != nil {
		return nil, fmt.Errorf("%s cannot be the guest's agent: %w", agent, err)
	}
	i := &Initramfs{agent: b.Bytes()}
	for _, s := range im.segments() {
		f, err := os.Open(s.file)
		if err != nil {
			i.Close()
			return nil, err
		}
		i.parts = append(i.parts, part{f, s.size})
	}
	return i, nil
}

// Size is in bytes.
func (i *Initramfs) Size() int64 {
	n := int64(len(i.agent))
	for _, p := range i.parts {
		n += p.size
	}
	return n
}

// ReadAt is io.ReaderAt's. Several goroutines may use it.
func (i *Initramfs) ReadAt(b []byte, off int64) (n int, err error) {
	if off < 0 {
		return 0, errors.New("negative offset")
	}
	start := int64(0)
	for _, p := range i.parts {
		if at := off + int64(n) - start; at < p.size && n < len(b) {
			m, err := p.ReadAt(b[n:n+int(min(int64(len(b)-n), p.size-at))], at)
			n += m
			if err != nil && err != io.EOF {
				return n, err
			}
		}
		start += p.size
	}
	if at := off + int64(n) - start; n < len(b) && at < int64(len(i.agent)) {
		n += copy(b[n:], i.agent[at:])
	}
	if n < len(b) {
		return n, io.EOF
	}
	return n, nil
}

// Open reads a regular file of the guest's own file tree, by a path without
// symbolic links. The error of one that is not there is fs.ErrNotExist.
func (i *Initramfs) Open(path string) (r *io.SectionReader, err error) {
	for _, p := range slices.Backward(i.parts) { // a later segment replaces files of an earlier one
		if r, err = rootfs.OpenCPIO(p, p.size, strings.TrimPrefix(path, "/")); !errors.Is(err, fs.ErrNotExist) {
			break
		}
	}
	return r, err
}

// Agent is the SHA-256 of what the initramfs has besides the guest's own file
// tree.
func (i *Initramfs) Agent() [sha256.Size]byte { return sha256.Sum256(i.agent) }

// WriteFile makes a file of it, for who cannot read it from here.
func (i *Initramfs) WriteFile(name string) error {
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	defer f.Close()
	if _, err := io.Copy(f, io.NewSectionReader(i, 0, i.Size())); err != nil {
		return err
	}
	return f.Close()
}

// Close ends it.
func (i *Initramfs) Close() (err error) {
	for _, p := range i.parts {
		err = errors.Join(err, p.f.Close())
	}
	return err
}

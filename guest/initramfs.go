package guest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
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
	base  *os.File
	size  int64 // of base
	agent []byte
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
	base, err := os.Open(im.BaseInitrd)
	if err != nil {
		return nil, err
	}
	return &Initramfs{base: base, size: im.Manifest.Initrd.Size, agent: b.Bytes()}, nil
}

// Size is in bytes.
func (i *Initramfs) Size() int64 { return i.size + int64(len(i.agent)) }

// ReadAt is io.ReaderAt's. Several goroutines may use it.
func (i *Initramfs) ReadAt(p []byte, off int64) (n int, err error) {
	if off < 0 {
		return 0, errors.New("negative offset")
	}
	if off < i.size {
		n, err = i.base.ReadAt(p[:min(int64(len(p)), i.size-off)], off)
		if err == io.EOF && off+int64(n) < i.size {
			err = fmt.Errorf("%s was truncated: %w", i.base.Name(), io.ErrUnexpectedEOF)
		}
		if err != nil && err != io.EOF || n == len(p) {
			return n, err
		}
	}
	if at := off + int64(n) - i.size; at < int64(len(i.agent)) {
		n += copy(p[n:], i.agent[at:])
	}
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// Open reads a regular file of the guest's own file tree, by a path without
// symbolic links. The error of one that is not there is fs.ErrNotExist.
func (i *Initramfs) Open(path string) (*io.SectionReader, error) {
	return rootfs.OpenCPIO(i.base, i.size, strings.TrimPrefix(path, "/"))
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
func (i *Initramfs) Close() error { return i.base.Close() }

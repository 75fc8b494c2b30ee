package lab

import (
	"errors"
	"fmt"
	"io/fs"
	"nvlab/internal/option"
	"nvlab/nvdimm/backend"
	"os"
	"path/filepath"
	"strings"
)

// An Experiment is one test's machines and backends.
type Experiment struct {
	lab      *Lab
	name     string
	dir      string
	vms      []*VM
	backends []*Backend
	saved    []*VMSnapshot
	releases []func() // of claims of files
	reserved int64    // bytes of the memory gate
	closed   bool
	inputs   *Inputs // nil: nobody wants to know
}

// Dir is the folder that relative paths start from.
func (x *Experiment) Dir() string { return x.dir }

// VMs are the machines made so far.
func (x *Experiment) VMs() []*VM { return x.vms }

// Backends are the backends made so far.
func (x *Experiment) Backends() []*Backend { return x.backends }

// FileBackend makes a backend on a file.
func (x *Experiment) FileBackend(o FileBackendOptions) (*Backend, error) {
	if x.closed {
		return nil, ErrClosed
	}
	path, err := x.path(o.Path)
	if err != nil {
		return nil, err
	}
	b, err := backend.OpenFile(backend.FileConfig{
		Path: path, Size: o.Size, Share: o.Share, Align: o.Align,
		ReadOnly: o.ReadOnly, Offset: o.Offset, PMem: o.PMem, Partial: o.Partial,
	})
	var host *fs.PathError
	switch {
	case errors.As(err, &host) && errors.Is(err, fs.ErrNotExist) && o.ReadOnly:
		return nil, &option.Error{Err: fmt.Errorf("path=%q: there is no such file", o.Path), Option: "readonly", Want: true}
	case errors.As(err, &host) && errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("path=%q: there is no folder %s", o.Path, filepath.Dir(path))
	case errors.As(err, &host):
		return nil, fmt.Errorf("path=%q, size=%d: %w", o.Path, o.Size, host.Err)
	case err != nil:
		return nil, err
	}
	real, err := realPath(path)
	if err != nil {
		b.Close()
		return nil, err
	}
	handle := &Backend{x: x, b: b, real: real, offset: o.Offset}
	if err := errors.Join(x.claim(handle, o), x.shareCopies(handle)); err != nil {
		b.Close()
		return nil, err
	}
	x.inputs.opened(handle)
	return x.add(handle), nil
}

// RAMBackend makes a backend without a file.
func (x *Experiment) RAMBackend(o RAMBackendOptions) (*Backend, error) {
	if x.closed {
		return nil, ErrClosed
	}
	b, err := backend.NewRAM(backend.RAMConfig{Size: o.Size, Share: o.Share, Align: o.Align})
	if err != nil {
		return nil, err
	}
	return x.add(&Backend{x: x, b: b}), nil
}

func (x *Experiment) add(b *Backend) *Backend {
	x.backends = append(x.backends, b)
	return b
}

// path resolves a scenario's path and keeps it within the experiment's folder
// and those that the run allows.
func (x *Experiment) path(p string) (string, error) {
	abs, outside, err := x.resolve(p)
	if err == nil && outside {
		x.inputs.file(abs)
		x.inputs.use(abs, false)
	}
	return abs, err
}

// source resolves the path of what is pushed, as path does, but for what the Lab
// carries.
func (x *Experiment) source(p string) (string, error) {
	if at, ok := x.lab.opts.Carried[filepath.Clean(p)]; ok {
		x.inputs.file(at)
		return at, nil
	}
	abs, outside, err := x.resolve(p)
	if err == nil && outside {
		x.inputs.file(abs)
		x.inputs.use(abs, filepath.IsAbs(p)) // another run has a folder of another name
	}
	return abs, err
}

// resolve is path, and says whether it is outside the experiment's folder.
func (x *Experiment) resolve(p string) (abs string, outside bool, err error) {
	if p == "" {
		return "", false, errors.New(`path="": want the name of a file`)
	}
	if strings.ContainsRune(p, 0) {
		return "", false, fmt.Errorf("path=%q: a path cannot hold the byte 0", p)
	}
	abs = filepath.Clean(p)
	if !filepath.IsAbs(abs) {
		abs = filepath.Join(x.dir, abs)
	}
	real, err := realPath(abs)
	if err != nil {
		return "", false, fmt.Errorf("path=%q: %w", p, err)
	}
	for i, dir := range append([]string{x.dir}, x.lab.opts.AllowPaths...) {
		if root, err := realPath(dir); err == nil && within(root, real) {
			return abs, i > 0, nil
		}
	}
	allow := filepath.Dir(abs)
	switch {
	case !filepath.IsAbs(p):
		return "", false, fmt.Errorf("path=%q lies outside the test's folder, %s: want a name in it, or an absolute path that nvlab run --allow-path allows", p, x.dir)
	case allow == "/":
		allow = abs
	}
	return "", false, fmt.Errorf("path=%q lies outside the test's folder: allow it with nvlab run --allow-path=%s", p, allow)
}

// realPath resolves symbolic links in the part of p that exists.
func realPath(p string) (string, error) {
	p, err := filepath.Abs(p)
	if err != nil {
		return "", err
	}
	rest := ""
	for {
		real, err := filepath.EvalSymlinks(p)
		if err == nil {
			return filepath.Join(real, rest), nil
		}
		if !errors.Is(err, os.ErrNotExist) || p == filepath.Dir(p) {
			return "", err
		}
		if _, err := os.Lstat(p); err == nil {
			return "", fmt.Errorf("%s is a symbolic link to nowhere", p)
		}
		p, rest = filepath.Dir(p), filepath.Join(filepath.Base(p), rest)
	}
}

// within reports whether p is dir or lies below it. Both are clean.
func within(dir, p string) bool {
	rel, err := filepath.Rel(dir, p)
	return err == nil && rel != ".." && !strings.HasPrefix(rel, "../")
}

// GuestFault is an oops or a panic that a machine with oops="fail" had, even
// if every check passed; nil if there was none.
func (x *Experiment) GuestFault() error {
	for _, v := range x.vms {
		if err := v.oops(); err != nil {
			return err
		}
	}
	return nil
}

// Close ends what the experiment made. It may be called again.
func (x *Experiment) Close() error {
	if x.closed {
		return nil
	}
	x.closed = true
	var errs []error
	for _, v := range x.vms {
		v.end()
	}
	for _, s := range x.saved {
		errs = append(errs, s.close())
	}
	for _, b := range x.backends {
		errs = append(errs, b.b.Close())
	}
	for _, release := range x.releases {
		release()
	}
	return errors.Join(errs...)
}

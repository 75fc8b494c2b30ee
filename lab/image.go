package lab

import (
	"context"
	"errors"
	"os"
	"sync"

	"nvlab/guest"
	"nvlab/vmm/boot"
)

// An image is a guest that is ready to boot.
type image struct {
	*guest.Image
	kernel *boot.Kernel
	initrd string
	path   string // of the kernel
	onceTasks
}

// open returns the initramfs and its size in bytes.
func (i *image) open() (*os.File, int64, error) {
	f, err := os.Open(i.initrd)
	if err != nil {
		return nil, 0, &Error{Class: ClassHost, Err: err}
	}
	info, err := f.Stat()
	if err != nil {
		f.Close()
		return nil, 0, &Error{Class: ClassHost, Err: err}
	}
	return f, info.Size(), nil
}

// images are those that a run has used, so that the thousandth boot costs no
// more than its own work. Kernels are kept parsed: they are read only.
type images struct {
	mu          sync.Mutex
	made        map[string]*image
	unreachable map[string]error // is not tried again: apt takes its time to give up
}

// image returns a guest with nvlab's agent in it, and builds what is missing.
func (l *Lab) image(ctx context.Context, kernel string, packages []string) (*image, error) {
	if kernel == "" {
		kernel = l.opts.Kernel
	}
	spec := guest.Spec{Kernel: kernel, Packages: packages}
	l.images.mu.Lock()
	defer l.images.mu.Unlock()
	if i := l.images.made[spec.String()]; i != nil {
		return i, nil
	}
	if err := l.images.unreachable[spec.String()]; err != nil {
		return nil, err
	}
	i, err := l.build(ctx, spec)
	if err != nil {
		if ctx.Err() != nil {
			return nil, err
		}
		var classed *Error
		if !errors.As(err, &classed) {
			err = &Error{Class: ClassHost, Err: err}
		}
		if guest.Unreachable(err) {
			if l.images.unreachable == nil {
				l.images.unreachable = map[string]error{}
			}
			l.images.unreachable[spec.String()] = err
		}
		return nil, err
	}
	if l.images.made == nil {
		l.images.made = map[string]*image{}
	}
	l.images.made[spec.String()] = i
	return i, nil
}

func (l *Lab) build(ctx context.Context, spec guest.Spec) (*image, error) {
	store, err := guest.Open(l.opts.Cache)
	if err != nil {
		return nil, err
	}
	store.Vmlinux = boot.Decompress
	progress := l.opts.Progress
	if progress == nil {
		progress = guest.Quiet
	}
	made, err := store.Ensure(ctx, spec, progress)
	if err != nil {
		return nil, err
	}
	i := &image{Image: made}
	if i.initrd, err = made.Initramfs(l.opts.Agent); err != nil {
		return nil, err
	}
	path := made.VmlinuxPath
	if path == "" {
		path = made.KernelPath
	}
	i.path = path
	i.kernel, err = boot.Load(path)
	return i, err
}

// KernelVersion is the version of the run's default guest's kernel: that of
// its package, such as 6.1.192-2, or upstream's where it has no package.
func (l *Lab) KernelVersion(ctx context.Context) (string, error) {
	i, err := l.image(ctx, "", nil)
	if err != nil {
		return "", err
	}
	if v := i.Manifest.Kernel.Debian; v != "" {
		return v, nil
	}
	return i.KernelVersion, nil
}

// HasKernel makes the guest of a kernel's package unless it is there. Where the
// package cannot be had why says so; err is any other failure.
func (l *Lab) HasKernel(ctx context.Context, kernel string) (why, err error) {
	_, err = l.image(ctx, kernel, nil)
	if guest.Unreachable(err) {
		return err, nil
	}
	return nil, err
}

package lab

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"nvlab/guest"
	"nvlab/guest/introspect"
	"nvlab/vmm/boot"
)

// An image is a guest that is ready to boot.
type image struct {
	*guest.Image
	kernel *boot.Kernel
	initrd *guest.Initramfs
	note   atomic.Uint64 // where its last boot had the description of its log
	kept   *guest.Kept
	layout func() *introspect.Layout // of its tasks, nil if that is not known
	agent  func() [32]byte           // hash of its pid 1

	programs *binaries // of its packages
}

// Guest names the guest of the latest boot, "" before it.
func (v *VM) Guest() string {
	if v.image == nil {
		return ""
	}
	return v.image.Name
}

// images are those that a run has used, so that the thousandth boot costs no
// more than its own work. Kernels are kept parsed: they are read only.
type images struct {
	mu    sync.Mutex
	tries map[string]*imageTry // by spec
}

// imageTry is an image that is there, cannot be had, or is being built.
type imageTry struct {
	done  chan struct{} // closed when the rest is known
	image *image
	err   error
}

// image returns a guest with nvlab's agent in it, and builds what is missing.
// Who asks for one that is being built waits for it, as long as ctx lasts.
func (l *Lab) image(ctx context.Context, spec guest.Spec) (*image, error) {
	if spec.Release == "" || spec.Release == l.opts.Release {
		// A run's kernel is of the run's release.
		spec.Release = l.opts.Release
		spec.Kernel = cmp.Or(spec.Kernel, l.opts.Kernel)
	}
	for {
		l.images.mu.Lock()
		try := l.images.tries[spec.String()]
		if try == nil {
			try = &imageTry{done: make(chan struct{})}
			if l.images.tries == nil {
				l.images.tries = map[string]*imageTry{}
			}
			l.images.tries[spec.String()] = try
			l.images.mu.Unlock()
			return l.tryImage(ctx, spec, try)
		}
		l.images.mu.Unlock()
		select {
		case <-try.done:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
		if try.image != nil || guest.Unreachable(try.err) {
			return try.image, try.err
		}
		// It failed for who began it, perhaps because that was cancelled.
	}
}

// tryImage builds an image. A failure is forgotten, so that the next one tries
// again, unless a package cannot be reached: that takes its time.
func (l *Lab) tryImage(ctx context.Context, spec guest.Spec, try *imageTry) (*image, error) {
	defer close(try.done)
	try.image, try.err = l.build(ctx, spec)
	var classed *Error
	if try.err != nil && ctx.Err() == nil && !errors.As(try.err, &classed) {
		class := ClassHost
		if guest.Mistaken(try.err) {
			class = ClassScenario
		}
		try.err = &Error{Class: class, Err: try.err}
	}
	if try.err != nil && (ctx.Err() != nil || !guest.Unreachable(try.err)) {
		l.images.mu.Lock()
		delete(l.images.tries, spec.String())
		l.images.mu.Unlock()
	}
	return try.image, try.err
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
	i := &image{Image: made, kept: made.Kept(), programs: newBinaries()}
	agent := l.opts.Agent
	if agent == "" {
		if agent, err = store.Agent(ctx, progress); err != nil {
			return nil, err
		}
	}
	if i.initrd, err = made.Initramfs(agent); err != nil {
		return nil, err
	}
	path := made.VmlinuxPath
	if path == "" {
		path = made.KernelPath
	}
	i.layout = sync.OnceValue(func() *introspect.Layout {
		layout, _ := introspect.ReadLayout(path)
		return layout
	})
	i.agent = sync.OnceValue(i.initrd.Agent)
	i.kernel, err = boot.Load(path)
	return i, err
}

// GuestIdentity names all that the run's default guest is made of.
func (l *Lab) GuestIdentity(ctx context.Context) (string, error) {
	i, err := l.image(ctx, guest.Spec{})
	if err != nil {
		return "", err
	}
	name, ok := i.identity()
	if !ok {
		return "", fmt.Errorf("the guest %s does not say what it is made of", i.Name)
	}
	return name, nil
}

// KernelVersion is the version of the run's default guest's kernel: that of
// its package, such as 6.1.192-2, or upstream's where it has no package.
func (l *Lab) KernelVersion(ctx context.Context) (string, error) {
	i, err := l.image(ctx, guest.Spec{})
	if err != nil {
		return "", err
	}
	if v := i.Manifest.Kernel.Debian; v != "" {
		return v, nil
	}
	return i.KernelVersion, nil
}

// HasGuest makes a guest unless it is there. Where its packages cannot be had
// why says so; err is any other failure.
func (l *Lab) HasGuest(ctx context.Context, spec guest.Spec) (why, err error) {
	_, err = l.image(ctx, spec)
	if guest.Unreachable(err) {
		return err, nil
	}
	return nil, err
}

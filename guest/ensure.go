package guest

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"nvlab/guest/debian"
	"nvlab/guest/rootfs"
)

// Ensure returns the guest of a spec, and builds it first if the store does
// not have it. One process builds at a time; others wait and then use what it
// made. What a build leaves is a whole guest or nothing.
func (s *Store) Ensure(ctx context.Context, spec Spec, progress Progress) (*Image, error) {
	if progress == nil {
		progress = Quiet
	}
	defer progress.Done()
	asked := spec
	spec, err := spec.localize()
	if err != nil {
		return nil, fmt.Errorf("cannot build the guest %s: %w", asked, err)
	}
	var damaged *DamagedError
	if !spec.Rebuild {
		im, err := s.ready(spec)
		if !errors.Is(err, ErrNoGuest) {
			return im, err
		}
		errors.As(err, &damaged)
	}
	lock, err := s.lock(ctx, progress)
	switch {
	case err != nil && damaged != nil && ctx.Err() == nil:
		return nil, fmt.Errorf("%w, and it cannot be made again: %w", damaged, err)
	case err != nil:
		return nil, fmt.Errorf("cannot build the guest %s: %w", spec, err)
	}
	defer lock.Close()
	if !spec.Rebuild {
		im, err := s.ready(spec)
		if !errors.Is(err, ErrNoGuest) {
			return im, err
		}
		if errors.As(err, &damaged) {
			progress.Note(damaged.Error() + "; making it again")
		}
	}
	im, err := s.build(ctx, spec, progress)
	if err == nil {
		err = im.hold()
	}
	if err != nil && damaged != nil && ctx.Err() == nil {
		return nil, fmt.Errorf("%w, and it cannot be made again: %w", damaged, err)
	}
	if err != nil {
		return nil, fmt.Errorf("cannot build the guest %s: %w%s", spec, err, s.instead(spec))
	}
	if err := s.bound(im.Name); err != nil {
		progress.Note("cannot keep the store small: " + err.Error())
	}
	return im, nil
}

// ready returns the guest of a spec if the store has it, whole and unchanged.
func (s *Store) ready(spec Spec) (*Image, error) {
	im, err := s.Lookup(spec)
	if err != nil {
		return nil, err
	}
	return s.sound(im)
}

// instead names the latest of the guests that are there without packages, for
// somebody who asked for another.
func (s *Store) instead(spec Spec) string {
	var names []string
	if list, err := s.List(); err == nil && spec.Kernel != "" {
		for _, im := range list {
			if name, _, more := strings.Cut(im.Name, "+"); !more {
				names = append(names, name)
			}
		}
	}
	if names == nil {
		return ""
	}
	const most = 6
	more := ""
	if len(names) > most {
		more = fmt.Sprintf(" and %d more, see nvlab guest list", len(names)-most)
		names = names[len(names)-most:]
	}
	return "; built are " + strings.Join(names, ", ") + more
}

// lock waits for other builds.
func (s *Store) lock(ctx context.Context, progress Progress) (*os.File, error) {
	told := false
	for {
		f, err := lockFile(s.inside("lock"), false)
		if !errors.Is(err, errLocked) {
			return f, err
		}
		if !told {
			progress.Note("another nvlab is building a guest in " + s.dir + "; waiting for it")
			told = true
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// build makes a guest. The caller holds the lock, so whatever lies in tmp was
// left by a build that died.
func (s *Store) build(ctx context.Context, spec Spec, progress Progress) (*Image, error) {
	if err := spec.Check(); err != nil {
		return nil, err
	}
	if err := os.RemoveAll(s.tmp()); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(s.tmp(), 0o755); err != nil {
		return nil, err
	}
	defer os.RemoveAll(s.tmp())
	work, err := os.MkdirTemp(s.tmp(), "build-")
	if err != nil {
		return nil, err
	}
	b := newBuilder(s, work, spec, freshLists, progress)
	defer func() { b.close() }()
	tree, m, image, err := b.compose(ctx, spec)
	if err != nil && ctx.Err() == nil && b.stale() {
		// The lists may name what the archive has replaced meanwhile.
		b.close()
		b = newBuilder(s, work, spec, 0, progress)
		tree, m, image, err = b.compose(ctx, spec)
	}
	if err != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, err
	}
	m.Base, m.Name = namesFor(spec, m, image)
	if err := s.less(spec, m); err != nil {
		return nil, err
	}
	im, err := s.publish(ctx, filepath.Join(work, "guest"), tree, m, image, progress)
	if err == nil && spec.Kernel == "" && spec.Release == "" && len(m.Extra) == 0 {
		im.Default = true
		err = s.SetDefault(m.Name)
	}
	return im, err
}

// compose gathers a kernel and tools from packages, and from the host what
// packages cannot give because no mirror is reached.
func (b *builder) compose(ctx context.Context, spec Spec) (*rootfs.Tree, *Manifest, []byte, error) {
	_, unreached := b.archive(ctx, b.release)
	if unreached != nil && !b.instead(unreached, spec) {
		return nil, nil, nil, unreached
	}
	if unreached == nil && len(b.extra) > 0 {
		// It comes before anything is unpacked, for the names are the user's.
		err := b.keepLocal()
		if err != nil {
			return nil, nil, nil, err
		}
		names, sources := splitSources(b.extra)
		if b.closure, err = b.archives[b.release].Closure(names, b.ownPackages()...); err == nil {
			b.sources, err = b.findSources(ctx, sources)
		}
		if err != nil {
			return nil, nil, nil, fmt.Errorf("cannot resolve packages %s: %w", strings.Join(b.extra, ", "), err)
		}
	}
	k, err := b.kernel(ctx, spec, unreached)
	if err != nil {
		return nil, nil, nil, err
	}
	if unreached == nil {
		tree, m, err := b.tree(ctx, k, false)
		if err == nil || ctx.Err() != nil || !b.instead(err, spec) {
			return tree, m, k.image, err
		}
		unreached = err
	}
	b.packages = nil
	if k.pkg.Name != "" {
		b.packages = []debian.Package{k.pkg}
	}
	tree, m, err := b.tree(ctx, k, true)
	if err != nil {
		return nil, nil, nil, b.unavailable(unreached, err)
	}
	b.progress.Note(fmt.Sprintf("no tools from packages (%v): taking the host's own", unreached))
	return tree, m, k.image, nil
}

// instead reports whether the host's own programs may stand in for packages:
// where those are out of reach, and no particular ones were asked for.
func (b *builder) instead(err error, spec Spec) bool {
	return outOfReach(err) && len(b.extra) == 0 && spec.Release == ""
}

// kernel finds the kernel of a spec. Only the default one may be the host's
// instead.
func (b *builder) kernel(ctx context.Context, spec Spec, unreached error) (*kernelSource, error) {
	if strings.Contains(spec.Kernel, "/") {
		local, err := readLocalKernel(spec.Kernel)
		if err != nil {
			return nil, err
		}
		return local.source()
	}
	if unreached == nil {
		k, err := b.namedKernel(ctx, spec.Kernel)
		if err == nil || ctx.Err() != nil || spec.Kernel != "" || !b.instead(err, spec) {
			return k, err
		}
		unreached = err
	} else if spec.Kernel != "" {
		return nil, unreached
	}
	k, err := hostKernel()
	if err != nil {
		return nil, b.unavailable(unreached, err)
	}
	b.progress.Note(fmt.Sprintf("no kernel from packages (%v): taking the host's own, %s", unreached, k.release))
	return k, nil
}

// Unreachable reports whether a guest could not be made because its packages
// cannot be had: the archive does not offer them, or is not reached.
func Unreachable(err error) bool {
	var unknown *debian.UnknownError
	return outOfReach(err) || errors.As(err, &unknown)
}

// Mistaken reports whether a guest could not be made because of what it was to
// be made of: a package or kernel that the archive does not have, or a file that is
// none.
func Mistaken(err error) bool {
	var unknown *debian.UnknownError
	var no *noKernelError
	var local *localError
	return errors.As(err, &unknown) || errors.As(err, &no) || errors.As(err, &local)
}

// outOfReach reports whether packages cannot be had, as opposed to one that
// came broken or a disk that is full.
func outOfReach(err error) bool {
	var fetch *debian.FetchError
	return errors.As(err, &fetch)
}

// unavailable says what is missing and how to get it.
func (b *builder) unavailable(archive, host error) error {
	return fmt.Errorf("%w; and %w. Either make Debian's archive reachable (%s names a mirror, http_proxy a proxy), "+
		"or install what is missing (apt-get install linux-image-cloud-amd64 busybox ndctl daxctl e2fsprogs), "+
		"or copy the folder of guests, %s, from a machine that has one", archive, host, debian.MirrorVariable, b.store.dir)
}

// hostKernelGlob finds the host's own kernels; tests set another.
var hostKernelGlob = "/boot/vmlinuz-*"

// hostKernel is the newest of the host's own kernels that can be a guest's.
func hostKernel() (*kernelSource, error) {
	files, err := filepath.Glob(hostKernelGlob)
	if err != nil || len(files) == 0 {
		return nil, fmt.Errorf("the host has no kernel of its own (%s)", hostKernelGlob)
	}
	var why error
	for i := len(files) - 1; i >= 0; i-- {
		local, err := readLocalKernel(files[i])
		if err == nil {
			var k *kernelSource
			if k, err = local.source(); err == nil {
				if _, err = k.modules.Order(requiredModules, true); err == nil {
					return k, nil
				}
			}
		}
		if why == nil {
			why = err
		}
	}
	return nil, fmt.Errorf("no kernel of the host will do: %w", why)
}

// namesFor names a guest for its kernel, and for its extra packages. Where a
// kernel's release does not tell what release of Debian the tools are of, the
// name does.
func namesFor(spec Spec, m *Manifest, image []byte) (base, name string) {
	k := &m.Kernel
	base = k.Release
	if strings.Contains(spec.Kernel, "=") {
		// Another version of the same release is another guest.
		base += "=" + k.Debian
	}
	if k.Source == "host" {
		sum := sha256.Sum256(image)
		base += "@" + hex.EncodeToString(sum[:4])
	}
	if m.Debian != "" && (m.Debian != k.Archive || m.Debian == "sid") {
		base += "@" + m.Debian
	}
	if len(m.Extra) == 0 {
		return base, base
	}
	list := strings.Join(m.Extra, "+")
	if len(list) > 80 {
		sum := sha256.Sum256([]byte(list))
		list = hex.EncodeToString(sum[:8])
	}
	return base, base + "+" + list
}

// publish writes a guest to dir and moves it to its place.
func (s *Store) publish(ctx context.Context, dir string, tree *rootfs.Tree, m *Manifest, image []byte, progress Progress) (*Image, error) {
	progress.Phase("writing the guest", tree.Size()+int64(len(image)))
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	m.Archives = map[string]FileSum{}
	err := s.writeTree(dir, tree, m, func(w io.Writer) io.Writer { return progressWriter{ctx, w, progress} })
	if err != nil {
		return nil, err
	}
	if !s.shareKernel(dir, m, image) {
		m.Image, err = writeHashed(filepath.Join(dir, kernelFile), func(w io.Writer) error {
			_, err := progressWriter{ctx, w, progress}.Write(image)
			return err
		})
		if err != nil {
			return nil, err
		}
		if m.Vmlinux, err = s.writeVmlinux(dir, image); err != nil {
			return nil, err
		}
	}
	if err := s.writeKept(dir, tree, m, func(w io.Writer) io.Writer { return progressWriter{ctx, w, Quiet} }); err != nil {
		return nil, err
	}
	sum := sha256.Sum256([]byte(m.Image.SHA256 + m.Initrd.SHA256 + m.Archives[modulesArchive].SHA256 + m.Archives[filesArchive].SHA256 + m.Archives[ownArchive].SHA256))
	m.Content = hex.EncodeToString(sum[:])
	m.Built = time.Now().UTC().Truncate(time.Second)
	if err := writeManifest(dir, m); err != nil {
		return nil, err
	}
	if err := syncDir(dir); err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if err := s.move(dir, m.Name); err != nil {
		return nil, err
	}
	return s.load(m.Name)
}

// writeManifest makes or replaces a guest's manifest.
func writeManifest(dir string, m *Manifest) error {
	text, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return err
	}
	return writeFileAtomic(filepath.Join(dir, manifestFile), func(f *os.File) error {
		_, err := f.Write(append(text, '\n'))
		return err
	})
}

// less refuses a guest that would take the place of a better one: with the
// host's programs, where that has those of packages.
func (s *Store) less(spec Spec, m *Manifest) error {
	if m.Tools != "host" {
		return nil
	}
	// What the default guest is made of counts even if its files are damaged.
	for _, name := range []string{m.Name, s.defaultName()} {
		had, err := s.manifest(name)
		if err == nil && had.Tools == "package" && had.Recipe == recipe && (name == m.Name || spec.Kernel == "") {
			return fmt.Errorf("packages are out of reach, and the host's own programs do not take the place of those that %s has from packages", name)
		}
	}
	return nil
}

// shareKernel links the kernel of another guest, if that is the same.
func (s *Store) shareKernel(dir string, m *Manifest, image []byte) bool {
	sum := sha256.Sum256(image)
	want := FileSum{Size: int64(len(image)), SHA256: hex.EncodeToString(sum[:])}
	list, err := s.List()
	if err != nil {
		return false
	}
	for _, im := range list {
		if im.Manifest.Image != want || im.Manifest.Vmlinux == (FileSum{}) && !isELF(image) || s.verify(im) != nil {
			continue
		}
		if im.VmlinuxPath == "" && !isELF(image) || os.Link(im.KernelPath, filepath.Join(dir, kernelFile)) != nil {
			continue
		}
		if im.VmlinuxPath == "" || os.Link(im.VmlinuxPath, filepath.Join(dir, vmlinuxFile)) == nil {
			m.Image, m.Vmlinux = want, im.Manifest.Vmlinux
			return true
		}
		os.Remove(filepath.Join(dir, kernelFile))
	}
	return false
}

// move puts a whole guest where readers look for it. One of that name goes away
// in the same moment, or where the host cannot do that, just before.
func (s *Store) move(dir, name string) error {
	if err := os.MkdirAll(s.guests(), 0o755); err != nil {
		return err
	}
	to := s.guest(name)
	if _, err := os.Lstat(to); err == nil && exchange(dir, to) != nil {
		if err := os.Rename(to, filepath.Join(s.tmp(), "replaced")); err != nil {
			return err
		}
	} else if err == nil {
		return syncDir(s.guests())
	}
	if err := os.Rename(dir, to); err != nil {
		return err
	}
	return syncDir(s.guests())
}

// writeVmlinux stores the decompressed kernel, if the store knows how to.
func (s *Store) writeVmlinux(dir string, image []byte) (sum FileSum, err error) {
	if s.Vmlinux == nil || isELF(image) {
		return sum, nil
	}
	elf, err := s.Vmlinux(image)
	if err != nil {
		return sum, fmt.Errorf("cannot decompress the kernel: %w", err)
	}
	digest := sha256.Sum256(elf)
	return FileSum{Size: int64(len(elf)), SHA256: hex.EncodeToString(digest[:])}, writeFileAtomic(filepath.Join(dir, vmlinuxFile), func(f *os.File) error {
		_, err := f.Write(elf)
		return err
	})
}

func isELF(image []byte) bool { return bytes.HasPrefix(image, []byte("\x7fELF")) }

// complete adds a vmlinux to a guest that has none, or a damaged one. A store
// that cannot be written does without.
func (s *Store) complete(im *Image) (*Image, error) {
	if s.Vmlinux == nil || im.VmlinuxPath != "" {
		return im, nil
	}
	image, err := os.ReadFile(im.KernelPath)
	if err != nil || isELF(image) {
		return im, err
	}
	m := im.Manifest
	if m.Vmlinux, err = s.writeVmlinux(im.dir, image); err == nil && m.Vmlinux != im.Manifest.Vmlinux {
		err = writeManifest(im.dir, &m)
	}
	if readOnly(err) {
		return im, nil
	}
	if err != nil {
		return nil, err
	}
	im.Manifest, im.VmlinuxPath = m, filepath.Join(im.dir, vmlinuxFile)
	return im, nil
}

// writeHashed makes a file and puts it on disk.
func writeHashed(name string, write func(io.Writer) error) (FileSum, error) {
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return FileSum{}, err
	}
	defer f.Close()
	h := sha256.New()
	w := bufio.NewWriterSize(io.MultiWriter(h, f), 1<<18)
	if err := write(w); err != nil {
		return FileSum{}, err
	}
	if err := w.Flush(); err != nil {
		return FileSum{}, err
	}
	if err := f.Sync(); err != nil {
		return FileSum{}, err
	}
	st, err := f.Stat()
	if err != nil {
		return FileSum{}, err
	}
	return FileSum{Size: st.Size(), SHA256: hex.EncodeToString(h.Sum(nil))}, f.Close()
}

type progressWriter struct {
	ctx context.Context
	w   io.Writer
	p   Progress
}

func (w progressWriter) Write(b []byte) (int, error) {
	if err := w.ctx.Err(); err != nil {
		return 0, err
	}
	n, err := w.w.Write(b)
	w.p.Add(int64(n))
	return n, err
}

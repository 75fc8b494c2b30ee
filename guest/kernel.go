package guest

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"nvlab/guest/debian"
	"nvlab/guest/rootfs"
	"nvlab/internal/hostfile"
)

// maxKernel bounds a kernel's file, in bytes.
const maxKernel = 1 << 30

// kernelBanner returns what a kernel says of itself, such as
// "6.1.0-56-cloud-amd64 (debian-kernel@lists.debian.org) #1 SMP ... Debian 6.1.192-2 (2026-11-16)".
func kernelBanner(image []byte) (string, error) {
	// Linux, Documentation/arch/x86/boot.rst: magic "HdrS" at 0x202,
	// kernel_version at 0x20e, an offset less 0x200.
	if len(image) > 0x210 && string(image[0x202:0x206]) == "HdrS" {
		at := 0x200 + int(binary.LittleEndian.Uint16(image[0x20e:]))
		if at > 0x200 && at < len(image) {
			text, _, ok := bytes.Cut(image[at:min(len(image), at+512)], []byte{0})
			if ok && len(text) > 0 {
				return string(text), nil
			}
		}
		return "", errors.New("a bzImage without a version")
	}
	if bytes.HasPrefix(image, []byte("\x7fELF")) {
		// init/version-timestamp.c, linux_banner; the first hit is a format.
		for rest := image; ; {
			_, after, ok := bytes.Cut(rest, []byte("Linux version "))
			if !ok {
				return "", errors.New("an ELF file that is no vmlinux: no \"Linux version\" in it")
			}
			rest = after
			if text, _, ok := bytes.Cut(after[:min(len(after), 512)], []byte("\n")); ok && len(text) > 0 && '0' <= text[0] && text[0] <= '9' {
				return string(text), nil
			}
		}
	}
	return "", errors.New("no kernel: neither a bzImage (\"HdrS\" at 0x202) nor an ELF vmlinux")
}

var (
	debianVersion   = regexp.MustCompile(`\bDebian ([0-9][0-9.]*)[^ ]*`)
	upstreamVersion = regexp.MustCompile(`^[0-9]+(\.[0-9]+)*`)
)

// kernelVersion is the upstream version that a banner tells: Debian's release
// names the ABI only (6.1.0-56), its banner the source too (6.1.192-2).
func kernelVersion(banner string) string {
	if m := debianVersion.FindStringSubmatch(banner); m != nil {
		return strings.TrimRight(m[1], ".")
	}
	return upstreamVersion.FindString(banner)
}

// kernelSource is a kernel with its modules, before it goes into a guest.
type kernelSource struct {
	image   []byte
	release string
	version string
	pkg     debian.Package // zero for a kernel of the host
	archive string         // the release of Debian that it is of
	aliases []string       // packages that lead to it: metapackages
	modules *rootfs.Modules
}

// localKernel is a kernel given as a path.
type localKernel struct {
	path   string
	image  []byte
	banner string
}

// readLocalKernel reads a kernel from a path; an error says what a path that leads to none leads to.
func readLocalKernel(path string) (*localKernel, error) {
	image, err := hostfile.Read(path, maxKernel)
	if err != nil {
		return nil, &localError{fmt.Errorf("kernel %s is to be a bzImage or vmlinux: %w", path, err)}
	}
	banner, err := kernelBanner(image)
	if err != nil {
		return nil, &localError{fmt.Errorf("kernel %s is to be a bzImage or vmlinux, and is %w", path, err)}
	}
	return &localKernel{path: path, image: image, banner: banner}, nil
}

func (k *localKernel) release() string { r, _, _ := strings.Cut(k.banner, " "); return r }

// name is the guest's name: a release that is built again gives another guest.
func (k *localKernel) name() string {
	sum := sha256.Sum256(k.image)
	return k.release() + "@" + hex.EncodeToString(sum[:4])
}

// modulesRoot is where the host has modules; tests set another.
var modulesRoot = "/lib/modules"

// modulesDir is where the modules of a release are: the nearest lib/modules of
// the folders that the kernel is in, as a package that was unpacked and a
// kernel's "make modules_install INSTALL_MOD_PATH=" have it, or the host's.
func (k *localKernel) modulesDir(release string) string {
	if path, err := filepath.Abs(k.path); err == nil {
		for dir := filepath.Dir(path); dir != filepath.Dir(dir); dir = filepath.Dir(dir) {
			root := filepath.Join(dir, "lib/modules", release)
			if st, err := os.Stat(root); err == nil && st.IsDir() {
				return root
			}
		}
	}
	return filepath.Join(modulesRoot, release)
}

// source finds the kernel's modules.
func (k *localKernel) source() (*kernelSource, error) {
	release := k.release()
	if release == "" || strings.ContainsAny(release, "/\x00") || release[0] == '.' {
		return nil, fmt.Errorf("kernel %s calls itself %q, which is no release", k.path, release)
	}
	root := k.modulesDir(release)
	var files []rootfs.ModuleFile
	err := filepath.WalkDir(filepath.Join(root, "kernel"), func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.Type().IsRegular() && isModule(p) {
			rel, err := filepath.Rel(root, p)
			if err != nil {
				return err
			}
			files = append(files, rootfs.ModuleFile{Path: rel, Open: func() (io.ReadCloser, error) { return os.Open(p) }})
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("kernel %s is release %s, whose modules are neither installed nor in lib/modules of a folder above it: %w", k.path, release, err)
	}
	builtin, err := os.ReadFile(filepath.Join(root, "modules.builtin"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	m := rootfs.NewModules(release, files, string(builtin))
	m.Decompress = debian.Decompressor
	return &kernelSource{image: k.image, release: release, version: kernelVersion(k.banner), modules: m}, nil
}

func isModule(p string) bool {
	for _, ext := range []string{".ko", ".ko.xz", ".ko.zst", ".ko.gz"} {
		if strings.HasSuffix(p, ext) {
			return true
		}
	}
	return false
}

// foundKernel is a kernel in unpacked packages.
type foundKernel struct {
	release  string
	image    *debian.File
	modules  []rootfs.ModuleFile
	builtin  *debian.File // modules.builtin; nil if there is none
	packages map[string]bool
}

// A noKernelError says that packages hold no kernel.
type noKernelError struct{ text string }

func (e *noKernelError) Error() string { return e.text }

// imageOf returns the release whose kernel a file is, "" if it is none. Where
// it lies, without usr, differs between releases of Debian.
func imageOf(path string) string {
	for _, prefix := range []string{"boot/vmlinuz-", "lib/linux/vmlinuz-"} {
		if release, ok := strings.CutPrefix(path, prefix); ok {
			return release
		}
	}
	if rest, ok := strings.CutPrefix(path, "lib/modules/"); ok {
		if release, file, _ := strings.Cut(rest, "/"); file == "vmlinuz" {
			return release
		}
	}
	return ""
}

// findKernel finds the kernel that packages hold, by what is in them. root is
// the package that led to them.
func findKernel(root debian.Package, list []debian.Package, unpacked [][]*debian.File) (*foundKernel, error) {
	kernels := map[string]*foundKernel{}
	each := func(do func(p debian.Package, f *debian.File, path string)) {
		for i, files := range unpacked {
			for _, f := range files {
				if f.Mode&debian.ModeType == debian.ModeRegular {
					do(list[i], f, strings.TrimPrefix(f.Path, "usr/"))
				}
			}
		}
	}
	each(func(p debian.Package, f *debian.File, path string) {
		if release := imageOf(path); release != "" {
			kernels[release] = &foundKernel{release: release, image: f, packages: map[string]bool{p.Name: true}}
		}
	})
	if len(kernels) == 0 {
		return nil, &noKernelError{fmt.Sprintf("neither package %s nor what it depends on holds a kernel (boot/vmlinuz-RELEASE or usr/lib/modules/RELEASE/vmlinuz)", root)}
	}
	if len(kernels) > 1 {
		return nil, &noKernelError{fmt.Sprintf("package %s leads to several kernels: name one of %s", root, strings.Join(sortedKeys(kernels), ", "))}
	}
	k := kernels[sortedKeys(kernels)[0]]
	each(func(p debian.Package, f *debian.File, path string) {
		rest, ok := strings.CutPrefix(path, "lib/modules/"+k.release+"/")
		switch {
		case !ok:
			return
		case rest == "modules.builtin":
			k.builtin = f
		case isModule(rest):
			k.modules = append(k.modules, rootfs.ModuleFile{Path: rest, Open: f.Open})
		default:
			return
		}
		k.packages[p.Name] = true
	})
	return k, nil
}

// source reads the kernel.
func (f *foundKernel) source() (*kernelSource, error) {
	if f.image.Size > maxKernel {
		return nil, fmt.Errorf("%s is larger than %d MiB", f.image.Path, maxKernel>>20)
	}
	k := &kernelSource{}
	var err error
	if k.image, err = readFile(f.image); err != nil {
		return nil, err
	}
	banner, err := kernelBanner(k.image)
	if err != nil {
		return nil, &noKernelError{fmt.Sprintf("%s is %v", f.image.Path, err)}
	}
	k.release, _, _ = strings.Cut(banner, " ")
	k.version = kernelVersion(banner)
	var builtin []byte
	if f.builtin != nil {
		if builtin, err = readFile(f.builtin); err != nil {
			return nil, err
		}
	}
	k.modules = rootfs.NewModules(k.release, f.modules, string(builtin))
	k.modules.Decompress = debian.Decompressor
	return k, nil
}

func readFile(f *debian.File) ([]byte, error) {
	r, err := f.Open()
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return io.ReadAll(r)
}

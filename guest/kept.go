package guest

import (
	"archive/zip"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/klauspost/compress/zstd"

	"nvlab/guest/debian"
	"nvlab/guest/rootfs"
)

// What a guest does not need at boot lies in two archives beside its
// initramfs, zip files whose members are compressed with zstd: the kernel's
// modules, which guests of one kernel share, and the larger files of extra
// packages. The agent asks for them by name.
const (
	modulesArchive = "modules.zip"
	filesArchive   = "files.zip"
	indexArchive   = "modules.index.zip" // made when somebody first asks for modules
)

// modulesDir is where a guest has the modules of a release.
func modulesDir(release string) string { return "usr/lib/modules/" + release }

// keepModules sets all of a kernel's modules aside.
func keepModules(t *rootfs.Tree, m *rootfs.Modules) {
	for _, f := range m.All() {
		t.Keep(modulesDir(m.Release)+"/"+f.Path, rootfs.Node{Mode: rootfs.ModeRegular | 0o644, Content: moduleContent(f.Open)})
	}
	t.Keep(modulesDir(m.Release)+"/modules.builtin", rootfs.Node{Mode: rootfs.ModeRegular | 0o644, Content: rootfs.Bytes(m.BuiltinText())})
}

type moduleContent func() (io.ReadCloser, error)

func (open moduleContent) Open() (io.ReadCloser, error) { return open() }

// writeKept writes the archives of a tree into a guest's folder.
func (s *Store) writeKept(dir string, t *rootfs.Tree, m *Manifest, through func(io.Writer) io.Writer) error {
	prefix := modulesDir(m.Kernel.Release) + "/"
	for file, want := range map[string]func(string) bool{
		modulesArchive: func(p string) bool { return strings.HasPrefix(p, prefix) && t.IsKept(p) && !m.extraModule(p) },
		filesArchive: func(p string) bool {
			n := t.Get(p)
			return n != nil && n.Deferred || m.extraModule(p)
		},
	} {
		list := slices.DeleteFunc(t.Kept(), func(p string) bool { return !want(p) })
		if len(list) == 0 {
			continue
		}
		sum, err := writeHashed(filepath.Join(dir, file), func(w io.Writer) error { return writeZip(through(w), t, list) })
		if err != nil {
			return err
		}
		m.Archives[file] = sum
		s.share(filepath.Join(dir, file), sum)
	}
	return nil
}

// share makes a file one with the same file of another guest, if that one is
// still what its manifest says.
func (s *Store) share(file string, sum FileSum) {
	list, err := s.List()
	if err != nil {
		return
	}
	for _, im := range list {
		if im.Manifest.Archives[filepath.Base(file)] == sum && newVerifier(im).check(filepath.Base(file), sum) == nil {
			link := file + ".link"
			if os.Link(filepath.Join(im.dir, filepath.Base(file)), link) == nil {
				os.Rename(link, file)
				return
			}
		}
	}
}

func writeZip(w io.Writer, t *rootfs.Tree, list []string) error {
	z := zip.NewWriter(w)
	z.RegisterCompressor(zstd.ZipMethodWinZip, zstd.ZipCompressor(zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1)))
	for _, p := range list {
		method := uint16(zstd.ZipMethodWinZip)
		if ext := path.Ext(p); ext == ".xz" || ext == ".zst" || ext == ".gz" {
			method = zip.Store
		}
		out, err := z.CreateHeader(&zip.FileHeader{Name: p, Method: method})
		if err != nil {
			return err
		}
		in, err := t.KeptNode(p).Content.Open()
		if err != nil {
			return err
		}
		_, err = io.Copy(out, in)
		in.Close()
		if err != nil {
			return fmt.Errorf("/%s: %w", p, err)
		}
	}
	return z.Close()
}

// Kept gives out what a guest's archives hold. It may be used by several
// goroutines.
type Kept struct {
	im    *Image
	mu    sync.Mutex
	index map[string][]byte // of the modules, once somebody asked
}

// Kept opens the guest's archives.
func (im *Image) Kept() *Kept { return &Kept{im: im} }

// maxKept bounds a file that is given out, in bytes.
const maxKept = 1 << 30

// Open returns a file by its absolute path in the guest. The folder of the
// kernel's modules is the list of all of them and their indices, lines of size
// and path.
func (k *Kept) Open(name string) (io.Reader, error) {
	dir := "/" + modulesDir(k.im.KernelRelease)
	if name == dir || path.Dir(name) == dir {
		index, err := k.modules()
		if err != nil {
			return nil, err
		}
		if b, ok := index[strings.TrimPrefix(strings.TrimPrefix(name, dir), "/")]; ok {
			return bytes.NewReader(b), nil
		}
	}
	b, err := k.find(strings.TrimPrefix(name, "/"))
	if err != nil {
		return nil, err
	}
	return bytes.NewReader(b), nil
}

func (k *Kept) find(name string) ([]byte, error) {
	for _, file := range []string{filesArchive, modulesArchive} {
		z, err := openZip(filepath.Join(k.im.dir, file))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		b, err := readMember(&z.Reader, name)
		z.Close()
		if !errors.Is(err, fs.ErrNotExist) {
			return b, err
		}
	}
	return nil, fmt.Errorf("guest %s has no /%s", k.im.Name, name)
}

func openZip(file string) (*zip.ReadCloser, error) {
	z, err := zip.OpenReader(file)
	if err != nil {
		return nil, err
	}
	z.RegisterDecompressor(zstd.ZipMethodWinZip, zstd.ZipDecompressor(zstd.WithDecoderConcurrency(1)))
	return z, nil
}

// readMember reads a member, decompressed: a module may be there under its
// compressed name.
func readMember(z *zip.Reader, name string) ([]byte, error) {
	for _, ext := range []string{"", ".xz", ".zst", ".gz"} {
		f, err := z.Open(name + ext)
		if err != nil {
			continue
		}
		defer f.Close()
		r, err := debian.Decompressor(name+ext, f)
		if ext == "" {
			r, err = f, nil
		}
		if err != nil {
			return nil, fmt.Errorf("/%s: %w", name, err)
		}
		b, err := io.ReadAll(io.LimitReader(r, maxKept+1))
		if err == nil && len(b) > maxKept {
			err = errors.New("too large")
		}
		if err != nil {
			return nil, fmt.Errorf("/%s: %w", name, err)
		}
		return b, nil
	}
	return nil, fs.ErrNotExist
}

// modules are the indices by name, and under "" the list of all.
func (k *Kept) modules() (map[string][]byte, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.index != nil {
		return k.index, nil
	}
	cache := filepath.Join(k.im.dir, indexArchive)
	index, err := readIndex(cache)
	if err != nil {
		if index, err = k.makeIndex(); err != nil {
			return nil, err
		}
		// A store that cannot be written makes it again next time.
		_ = writeFileAtomic(cache, func(f *os.File) error {
			t := rootfs.NewTree()
			for name, b := range index {
				if name == "" {
					name = "list"
				}
				t.Keep("index/"+name, rootfs.Node{Mode: rootfs.ModeRegular, Content: rootfs.Bytes(b)})
			}
			return writeZip(f, t, t.Kept())
		})
	}
	k.index = index
	return index, nil
}

func readIndex(file string) (map[string][]byte, error) {
	z, err := openZip(file)
	if err != nil {
		return nil, err
	}
	defer z.Close()
	index := map[string][]byte{}
	for _, f := range z.File {
		b, err := readMember(&z.Reader, f.Name)
		if err != nil {
			return nil, err
		}
		name := strings.TrimPrefix(f.Name, "index/")
		if name == "list" {
			name = ""
		}
		index[name] = b
	}
	for _, name := range append([]string{""}, rootfs.IndexFiles...) {
		if _, ok := index[name]; !ok {
			return nil, fmt.Errorf("broken index of modules: it has no %q", name)
		}
	}
	return index, nil
}

// makeIndex reads all modules.
func (k *Kept) makeIndex() (map[string][]byte, error) {
	var files []rootfs.ModuleFile
	builtin := ""
	prefix := modulesDir(k.im.KernelRelease) + "/"
	for _, file := range []string{modulesArchive, filesArchive} {
		z, err := openZip(filepath.Join(k.im.dir, file))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		defer z.Close()
		for _, f := range z.File {
			rel, ok := strings.CutPrefix(f.Name, prefix)
			switch {
			case !ok:
			case rel == "modules.builtin":
				b, err := readMember(&z.Reader, f.Name)
				if err != nil {
					return nil, err
				}
				builtin = string(b)
			case isModule(rel):
				files = append(files, rootfs.ModuleFile{Path: rel, Open: f.Open})
			}
		}
	}
	m := rootfs.NewModules(k.im.KernelRelease, files, builtin)
	m.Decompress = debian.Decompressor
	x, err := m.Index()
	if err != nil {
		return nil, err
	}
	var list strings.Builder
	index := map[string][]byte{}
	for _, name := range rootfs.IndexFiles {
		index[name] = x.Files[name]
		fmt.Fprintf(&list, "%d %s\n", len(x.Files[name]), name)
	}
	for _, p := range sortedKeys(x.Sizes) {
		fmt.Fprintf(&list, "%d %s\n", x.Sizes[p], p)
	}
	index[""] = []byte(list.String())
	return index, nil
}

package lab

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"nvlab/guest/proto"
)

// Bounds of a tree that is pushed or pulled.
const (
	maxTreeEntries = 1 << 20
	maxTreeBytes   = 64 << 30 // of content, holes left out
)

// Push brings a file or a tree of the host into the guest, with modes, links
// and holes. The host's path is resolved as that of a backend; a guest path
// that ends in / is the folder that it goes to. Devices, sockets and pipes in
// a tree are left out.
func (v *VM) Push(ctx context.Context, host, guest string, timeout time.Duration) error {
	abs, err := v.x.source(host)
	if err != nil {
		return err
	}
	if abs, err = filepath.EvalSymlinks(abs); err != nil {
		return hostError(host, err)
	}
	if strings.HasSuffix(guest, "/") {
		guest += filepath.Base(filepath.Clean(host))
	}
	tree, err := openTree(abs)
	if err != nil {
		return hostError(host, err)
	}
	defer tree.close()
	answer, err := v.call(ctx, proto.Push{Path: path.Clean(guest), Tree: tree}, fmt.Sprintf("pushing %s to %s", host, guest), timeout)
	if err != nil {
		return err
	}
	if answer.Err == nil {
		v.pushed = append(v.pushed, newPushed(path.Clean(guest), abs))
	}
	return answer.Err
}

// Pull brings a file or a tree of the guest to the host, with modes, links and
// holes; a block device comes as a file of its size. Whatever the guest says,
// nothing is written outside the host's path, and set-user-ID bits are dropped.
func (v *VM) Pull(ctx context.Context, guest, host string, timeout time.Duration) error {
	into := strings.HasSuffix(host, "/")
	if into {
		host += path.Base(path.Clean(guest))
	}
	abs, err := v.x.path(host)
	if err != nil {
		return err
	}
	if into {
		if err := os.MkdirAll(filepath.Dir(abs), 0o755); err != nil {
			return hostError(host, err)
		}
	}
	tree, err := makeTree(abs)
	if err != nil {
		return hostError(host, err)
	}
	answer, err := v.call(ctx, proto.Pull{Path: guest, Tree: tree}, fmt.Sprintf("pulling %s to %s", guest, host), timeout)
	if err == nil {
		err = answer.Err
	}
	return errors.Join(err, hostError(host, tree.close()))
}

// hostError names the path that a scenario gave, not the one that it became.
func hostError(given string, err error) error {
	var failed *fs.PathError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &failed):
		return fmt.Errorf("path=%q: %w", given, failed.Err)
	}
	return fmt.Errorf("path=%q: %w", given, err)
}

// A hostTree is the source of a push.
type hostTree struct {
	root    *os.Root
	base    string // of a single file in root; "" for a tree
	entries []proto.Entry

	file     *os.File // whose content is on its way
	at, size int64
	hole     int64 // where the data at `at` ends
	total    int64
	buf      []byte
	frame    []byte
}

// openTree lists what is to be pushed. Links are kept, not followed.
func openTree(abs string) (*hostTree, error) {
	info, err := os.Stat(abs)
	if err != nil {
		return nil, err
	}
	t := &hostTree{buf: make([]byte, proto.ChunkSize-16)}
	if !info.IsDir() {
		if !info.Mode().IsRegular() {
			return nil, errors.New("neither a file nor a folder")
		}
		t.base = filepath.Base(abs)
		t.entries = []proto.Entry{{Mode: proto.ModeRegular | mode(info), Size: uint64(info.Size())}}
		t.root, err = os.OpenRoot(filepath.Dir(abs))
		return t, err
	}
	if t.root, err = os.OpenRoot(abs); err != nil {
		return nil, err
	}
	err = fs.WalkDir(t.root.FS(), ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		e := proto.Entry{Path: name, Mode: mode(info)}
		if name == "." {
			e.Path = ""
		}
		switch {
		case info.IsDir():
			e.Mode |= proto.ModeDir
		case info.Mode()&os.ModeSymlink != 0:
			e.Mode |= proto.ModeSymlink
			if e.Link, err = t.root.Readlink(name); err != nil {
				return err
			}
		case info.Mode().IsRegular():
			e.Mode |= proto.ModeRegular
			e.Size = uint64(info.Size())
		default:
			return nil
		}
		if t.entries = append(t.entries, e); len(t.entries) > maxTreeEntries {
			return fmt.Errorf("a tree of more than %d files", maxTreeEntries)
		}
		return nil
	})
	if err != nil {
		t.root.Close()
		return nil, err
	}
	return t, nil
}

// mode is what a guest gets of a file's permissions, as in st_mode.
func mode(info fs.FileInfo) uint32 {
	m := uint32(info.Mode().Perm())
	for bit, is := range map[uint32]fs.FileMode{0o4000: fs.ModeSetuid, 0o2000: fs.ModeSetgid, 0o1000: fs.ModeSticky} {
		if info.Mode()&is != 0 {
			m |= bit
		}
	}
	return m
}

func (t *hostTree) close() {
	if t.file != nil {
		t.file.Close()
	}
	t.root.Close()
}

// Next is the next frame.
func (t *hostTree) Next() (proto.Kind, []byte, error) {
	for t.file != nil {
		if t.at >= t.size {
			t.file.Close()
			t.file = nil
			break
		}
		if t.at >= t.hole {
			data, hole, err := nextData(t.file, t.at, t.size)
			if err != nil {
				return 0, nil, err
			}
			t.at, t.hole = data, hole
			continue
		}
		n, err := t.file.ReadAt(t.buf[:min(int64(len(t.buf)), t.hole-t.at)], t.at)
		if n == 0 && (err == io.EOF || err == nil) {
			t.at = t.size // it got shorter
			continue
		}
		if n == 0 {
			return 0, nil, err
		}
		if t.total += int64(n); t.total > maxTreeBytes {
			return 0, nil, fmt.Errorf("a tree of more than %d GiB", maxTreeBytes>>30)
		}
		t.frame = proto.AppendExtent(t.frame[:0], uint64(t.at), t.buf[:n])
		t.at += int64(n)
		return proto.KindExtent, t.frame, nil
	}
	if len(t.entries) == 0 {
		return 0, nil, io.EOF
	}
	e := t.entries[0]
	t.entries = t.entries[1:]
	if e.Mode&proto.ModeType == proto.ModeRegular {
		name := e.Path
		if t.base != "" {
			name = t.base
		}
		var err error
		if t.file, err = t.root.Open(name); err != nil {
			return 0, nil, err
		}
		t.at, t.hole, t.size = 0, 0, int64(e.Size)
	}
	return proto.KindEntry, e.Encode(), nil
}

// A pulledTree is the sink of a pull. What it writes goes through os.Root: no
// link that the guest made leads out of it.
type pulledTree struct {
	abs     string
	parent  *os.Root // of abs
	root    *os.Root // abs, once it is a folder
	file    *os.File
	entries int
	total   int64
	modes   []func() error // of folders, once all is in them
}

func makeTree(abs string) (*pulledTree, error) {
	parent, err := os.OpenRoot(filepath.Dir(abs))
	if err != nil {
		return nil, err
	}
	return &pulledTree{abs: abs, parent: parent}, nil
}

// Entry begins a file, or makes a folder or a link.
func (t *pulledTree) Entry(e proto.Entry) error {
	if err := t.endFile(); err != nil {
		return err
	}
	if t.entries++; t.entries > maxTreeEntries {
		return fmt.Errorf("the guest sends more than %d files", maxTreeEntries)
	}
	perm := fs.FileMode(e.Mode & 0o777)
	if e.Path == "" {
		return t.begin(e, perm)
	}
	if t.root == nil {
		return fmt.Errorf("the guest sends %q of no folder", e.Path)
	}
	name := filepath.FromSlash(e.Path)
	switch e.Mode & proto.ModeType {
	case proto.ModeDir:
		if err := t.root.Mkdir(name, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
		root := t.root
		t.modes = append(t.modes, func() error { return root.Chmod(name, perm) })
		return nil
	case proto.ModeSymlink:
		if err := t.replace(t.root, name); err != nil {
			return err
		}
		return t.root.Symlink(e.Link, name)
	}
	return t.open(t.root, name, perm, e.Size)
}

// begin is the root of what is pulled.
func (t *pulledTree) begin(e proto.Entry, perm fs.FileMode) error {
	if t.entries > 1 {
		return errors.New("the guest sends two roots")
	}
	base := filepath.Base(t.abs)
	if e.Mode&proto.ModeType != proto.ModeDir {
		if info, err := t.parent.Stat(base); err == nil && info.IsDir() {
			return errors.New("it is a folder: name the file, or end the path in /")
		}
		return t.open(t.parent, base, perm, e.Size)
	}
	if err := t.parent.Mkdir(base, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	var err error
	if t.root, err = t.parent.OpenRoot(base); err != nil {
		return err
	}
	root := t.root
	t.modes = append(t.modes, func() error { return root.Chmod(".", perm) })
	return nil
}

func (t *pulledTree) replace(in *os.Root, name string) error {
	if info, err := in.Lstat(name); err == nil && !info.IsDir() {
		return in.Remove(name)
	}
	return nil
}

func (t *pulledTree) open(in *os.Root, name string, perm fs.FileMode, size uint64) error {
	if err := t.replace(in, name); err != nil {
		return err
	}
	f, err := in.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	t.file = f
	if err := f.Chmod(perm); err != nil {
		return err
	}
	return f.Truncate(int64(size))
}

// Extent is content of the latest file.
func (t *pulledTree) Extent(offset uint64, data []byte) error {
	if t.file == nil {
		return errors.New("the guest sends content of no file")
	}
	if t.total += int64(len(data)); t.total > maxTreeBytes {
		return fmt.Errorf("the guest sends more than %d GiB", maxTreeBytes>>30)
	}
	_, err := t.file.WriteAt(data, int64(offset))
	return err
}

func (t *pulledTree) endFile() error {
	if t.file == nil {
		return nil
	}
	err := t.file.Close()
	t.file = nil
	return err
}

func (t *pulledTree) close() error {
	err := t.endFile()
	for _, set := range slices.Backward(t.modes) {
		err = errors.Join(err, set())
	}
	if t.root != nil {
		t.root.Close()
	}
	t.parent.Close()
	return err
}

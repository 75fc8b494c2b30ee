package agent

import (
	"fmt"
	"io"
	"os"
	"path/filepath"

	"nvlab/guest/proto"
)

// push makes the tree that comes through in at a path. Folders above it are
// made; what is at a file's place is replaced, unless it is a device.
func push(in *inbox, root string) error {
	if err := os.MkdirAll(filepath.Dir(root), 0o755); err != nil {
		return err
	}
	w := treeWriter{root: root}
	for {
		p, err := in.take()
		if err == io.EOF {
			return w.end()
		}
		if err == nil {
			err = w.take(p)
		}
		if err != nil {
			w.drop()
			return err
		}
	}
}

// A treeWriter makes one file after the other.
type treeWriter struct {
	root string
	file *memoryFile    // under way
	mode uint32         // of it
	made bool           // it was made here, and is no device
	dirs []func() error // what makes folders as they are to be, once all is in them
}

func (w *treeWriter) take(p part) error {
	switch p.kind {
	case proto.KindEntry:
		e, err := proto.DecodeEntry(p.data)
		if err != nil {
			return err
		}
		return w.entry(e)
	case proto.KindExtent:
		offset, data, err := proto.DecodeExtent(p.data)
		if err != nil {
			return err
		}
		if w.file == nil {
			return fmt.Errorf("an extent before its file")
		}
		_, err = w.file.WriteAt(data, int64(offset))
		return err
	}
	return fmt.Errorf("a %v frame within a tree", p.kind)
}

func (w *treeWriter) entry(e proto.Entry) error {
	if err := w.endFile(); err != nil {
		return err
	}
	name := filepath.Join(w.root, e.Path)
	perm := os.FileMode(e.Mode & 0o777)
	switch e.Mode & proto.ModeType {
	case proto.ModeDir:
		if err := os.MkdirAll(name, 0o755); err != nil {
			return err
		}
		w.dirs = append(w.dirs, func() error { return chmod(name, e.Mode) })
		return nil
	case proto.ModeSymlink:
		if err := replace(name); err != nil {
			return err
		}
		return os.Symlink(e.Link, name)
	}
	if info, err := os.Stat(name); err == nil && info.IsDir() {
		return fmt.Errorf("%s is a folder: name the file, or end the path in /", name)
	} else if err == nil && !info.Mode().IsRegular() {
		f, err := os.OpenFile(name, os.O_WRONLY, 0)
		if err != nil {
			return err
		}
		w.file, w.made = newMemoryFile(f), false
		return nil
	}
	if err := replace(name); err != nil {
		return err
	}
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, perm)
	if err != nil {
		return err
	}
	w.file, w.mode, w.made = newMemoryFile(f), e.Mode, true
	return f.Truncate(int64(e.Size))
}

// replace takes away what is at a file's place.
func replace(name string) error {
	info, err := os.Lstat(name)
	if err != nil || info.IsDir() {
		return nil // what follows says so
	}
	return os.Remove(name)
}

func (w *treeWriter) endFile() error {
	if w.file == nil {
		return nil
	}
	f := w.file
	w.file = nil
	if w.made {
		if err := chmod(f.Name(), w.mode); err != nil {
			f.Close()
			return err
		}
	}
	return f.Close()
}

func (w *treeWriter) end() error {
	if err := w.endFile(); err != nil {
		return err
	}
	for i := len(w.dirs) - 1; i >= 0; i-- {
		if err := w.dirs[i](); err != nil {
			return err
		}
	}
	return nil
}

// drop takes away the file that did not become whole.
func (w *treeWriter) drop() {
	if w.file != nil {
		w.file.Close()
		if w.made {
			os.Remove(w.file.Name())
		}
	}
}

// chmod takes permissions as st_mode has them; os.FileMode has other bits.
func chmod(name string, mode uint32) error {
	m := os.FileMode(mode & 0o777)
	for bit, is := range map[uint32]os.FileMode{0o4000: os.ModeSetuid, 0o2000: os.ModeSetgid, 0o1000: os.ModeSticky} {
		if mode&bit != 0 {
			m |= is
		}
	}
	return os.Chmod(name, m)
}

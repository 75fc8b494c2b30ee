package agent

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"nvlab/guest/proto"
)

// errCancelled says that nobody wants the rest.
var errCancelled = errors.New("cancelled")

// pull sends the file or tree at a path. What is no file, folder or link is
// left out of a tree; a block device by itself is a file of its size.
func pull(r *request, root string) error {
	root = path.Clean(root)
	if err := r.s.deferred.ensure(root); err != nil {
		return err
	}
	info, err := os.Stat(root)
	if err != nil {
		return err
	}
	if real, err := filepath.EvalSymlinks(root); err == nil {
		root = real
	}
	switch {
	case info.IsDir():
		return pullTree(r, root)
	case info.Mode()&os.ModeDevice != 0 && info.Mode()&os.ModeCharDevice == 0, info.Mode().IsRegular():
		return pullFile(r, root, "", info)
	}
	return fmt.Errorf("%s is neither a file nor a folder nor a block device", root)
}

func pullTree(r *request, root string) error {
	return filepath.WalkDir(root, func(name string, d os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			if errors.Is(err, os.ErrNotExist) {
				return nil // gone meanwhile
			}
			return err
		}
		rel := strings.TrimPrefix(strings.TrimPrefix(name, root), "/")
		e := proto.Entry{Path: rel, Mode: uint32(info.Mode().Perm()) | setBits(info.Mode())}
		switch {
		case info.IsDir():
			e.Mode |= proto.ModeDir
		case info.Mode()&os.ModeSymlink != 0:
			e.Mode |= proto.ModeSymlink
			if e.Link, err = os.Readlink(name); err != nil {
				return err
			}
		case info.Mode().IsRegular():
			return pullFile(r, name, rel, info)
		default:
			return nil
		}
		return sendEntry(r, e)
	})
}

func setBits(m os.FileMode) (bits uint32) {
	for bit, is := range map[uint32]os.FileMode{unix.S_ISUID: os.ModeSetuid, unix.S_ISGID: os.ModeSetgid, unix.S_ISVTX: os.ModeSticky} {
		if m&is != 0 {
			bits |= bit
		}
	}
	return bits
}

func sendEntry(r *request, e proto.Entry) error {
	if !r.send(proto.KindEntry, e.Encode()) {
		return errCancelled
	}
	return nil
}

// maxMade bounds a file of the kernel's making, whose size nobody knows before
// it is read, in bytes.
const maxMade = 16 << 20

func pullFile(r *request, name, rel string, info os.FileInfo) error {
	if err := r.s.deferred.ensure(name); err != nil {
		return err
	}
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	e := proto.Entry{Path: rel, Mode: proto.ModeRegular | uint32(info.Mode().Perm()) | setBits(info.Mode()), Size: uint64(info.Size())}
	var in io.ReaderAt = f
	if !info.Mode().IsRegular() {
		n, err := f.Seek(0, io.SeekEnd)
		if err != nil {
			return err
		}
		e.Size = uint64(n)
	} else if made, err := kernelMade(f); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	} else if made != nil {
		e.Size, in = uint64(len(*made)), strings.NewReader(*made)
		f = nil
	}
	if err := sendEntry(r, e); err != nil {
		return err
	}
	if err := sendExtents(r, f, in, int64(e.Size)); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}

// kernelMade reads a file of proc, sysfs and the like, else it returns nil.
func kernelMade(f *os.File) (*string, error) {
	var st unix.Statfs_t
	if err := unix.Fstatfs(int(f.Fd()), &st); err != nil {
		return nil, err
	}
	switch st.Type {
	case unix.PROC_SUPER_MAGIC, unix.SYSFS_MAGIC, unix.DEBUGFS_MAGIC, unix.TRACEFS_MAGIC:
	default:
		return nil, nil
	}
	b, err := io.ReadAll(io.LimitReader(f, maxMade+1))
	if err == nil && len(b) > maxMade {
		err = fmt.Errorf("more than %d bytes of the kernel's making", maxMade)
	}
	s := string(b)
	return &s, err
}

// sendExtents sends what is no hole. f tells where data is, if it can.
func sendExtents(r *request, f *os.File, in io.ReaderAt, size int64) error {
	buf := make([]byte, proto.ChunkSize-16)
	var frame []byte
	for at := int64(0); at < size; {
		end := size
		if f != nil {
			if data, err := unix.Seek(int(f.Fd()), at, unix.SEEK_DATA); err == nil {
				hole, err := unix.Seek(int(f.Fd()), data, unix.SEEK_HOLE)
				if err != nil {
					return err
				}
				at, end = data, min(hole, size)
			} else if err == unix.ENXIO {
				return nil // holes only, to the end
			}
		}
		for at < end {
			n, err := in.ReadAt(buf[:min(int64(len(buf)), end-at)], at)
			if n > 0 {
				frame = proto.AppendExtent(frame[:0], uint64(at), buf[:n])
				if !r.send(proto.KindExtent, frame) {
					return errCancelled
				}
				at += int64(n)
			}
			if err == io.EOF || n == 0 && err == nil {
				return nil // it got shorter
			}
			if err != nil {
				return err
			}
		}
	}
	return nil
}

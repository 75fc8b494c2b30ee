package backend

import (
	"encoding/binary"
	"errors"
	"io"
	"io/fs"
	"os"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"
)

const (
	mapNoReserve = unix.MAP_NORESERVE
	mapSync      = unix.MAP_SHARED_VALIDATE | unix.MAP_SYNC
)

// deviceNumber is that of a device's file.
func deviceNumber(info fs.FileInfo) (major, minor uint32, ok bool) {
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok || runtime.GOARCH != "amd64" {
		return 0, 0, false
	}
	return unix.Major(uint64(stat.Rdev)), unix.Minor(uint64(stat.Rdev)), true
}

// hugePage is the size of the pages of a file on hugetlbfs, 0 of any other.
func hugePage(f *os.File) uint64 {
	var s unix.Statfs_t
	if err := unix.Fstatfs(int(f.Fd()), &s); err != nil || s.Type != unix.HUGETLBFS_MAGIC {
		return 0
	}
	return uint64(s.Bsize)
}

// freeSpace is what a user may still write to a file's file system, in bytes.
func freeSpace(f *os.File) (free uint64, ok bool) {
	var s unix.Statfs_t
	if err := unix.Fstatfs(int(f.Fd()), &s); err != nil {
		return 0, false
	}
	return s.Bavail * uint64(s.Bsize), true
}

func dataSync(f *os.File) error { return unix.Fdatasync(int(f.Fd())) }

// fileData lists the parts of [from, to) of a file that are no holes.
func fileData(f *os.File, from, to int64) ([]extent, error) {
	var list []extent
	for at := from; at < to; {
		start, err := unix.Seek(int(f.Fd()), at, unix.SEEK_DATA)
		if errors.Is(err, unix.ENXIO) {
			break // a hole up to the end
		}
		if errors.Is(err, unix.EINVAL) {
			return []extent{{from, to}}, nil // a file system without holes
		}
		if err != nil {
			return nil, os.NewSyscallError("lseek", err)
		}
		if start >= to {
			break
		}
		end, err := unix.Seek(int(f.Fd()), start, unix.SEEK_HOLE)
		if err != nil {
			return nil, os.NewSyscallError("lseek", err)
		}
		list = append(list, extent{start, min(end, to)})
		at = end
	}
	return list, nil
}

// Bits of an entry of /proc/self/pagemap (Linux
// Documentation/admin-guide/mm/pagemap.rst).
const (
	pagePresent = 1 << 63
	pageSwapped = 1 << 62
	pageOfFile  = 1 << 61
)

// privatePages lists the parts of [from, to) of a private mapping that are no
// longer the file's own pages.
func privatePages(mem []byte, from, to int64) ([]extent, error) {
	f, err := os.Open("/proc/self/pagemap")
	if err != nil {
		return []extent{{from, to}}, nil // slower, and as right
	}
	defer f.Close()
	host := int64(os.Getpagesize())
	var list []extent
	entries := make([]byte, 64<<10)
	for at := from &^ (host - 1); at < to; {
		n := min((to-at+host-1)/host*8, int64(len(entries)))
		if _, err := f.ReadAt(entries[:n], int64(addressOf(mem)+uintptr(at))/host*8); err != nil && !errors.Is(err, io.EOF) {
			return []extent{{from, to}}, nil
		}
		for i := int64(0); i < n; i += 8 {
			entry := binary.LittleEndian.Uint64(entries[i:])
			if entry&(pagePresent|pageSwapped) != 0 && entry&pageOfFile == 0 {
				list = appendExtent(list, extent{max(at, from), min(at+host, to)})
			}
			at += host
		}
	}
	return list, nil
}

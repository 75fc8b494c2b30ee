package gdb

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
)

// files serves gdb the files that it gets symbols from (GDB manual, "Host I/O
// Packets").
type files struct {
	list []Library
	open map[uint64]Library // by descriptor
	last uint64             // descriptor
}

// Errors of Host I/O.
const (
	noEntry = "F-1,2"
	badFile = "F-1,9"
	invalid = "F-1,16"
	tooMany = "F-1,18"
)

// maxOpen is how many files may be open at a time.
const maxOpen = 64

// answer is the answer to a request without its vFile:.
func (f *files) answer(request string) string {
	name, args, _ := strings.Cut(request, ":")
	if name == "setfs" { // of which process: there is but one file system
		return "F0"
	}
	if name == "open" {
		path, _, _ := strings.Cut(args, ",")
		b, err := hex.DecodeString(path)
		i := slices.IndexFunc(f.list, func(l Library) bool { return l.Name == string(b) })
		switch {
		case err != nil || i < 0:
			return noEntry
		case len(f.open) == maxOpen:
			return tooMany
		case f.open == nil:
			f.open = map[uint64]Library{}
		}
		f.last++
		f.open[f.last] = f.list[i]
		return fmt.Sprintf("F%x", f.last)
	}
	w := &words{args}
	if name != "pread" && name != "close" && name != "fstat" {
		return unsupported
	}
	fd, _ := w.hex()
	file, ok := f.open[fd]
	if !ok {
		return badFile
	}
	switch name {
	case "close":
		delete(f.open, fd)
		return "F0"
	case "fstat":
		b := file.stat()
		return fmt.Sprintf("F%x;%s", len(b), b)
	}
	if !w.skip(",") {
		return invalid
	}
	n, offset, ok := w.span()
	if !ok {
		return invalid
	}
	offset = min(offset, uint64(len(file.Content)))
	b := file.Content[offset:]
	b = b[:min(n, maxRead, uint64(len(b)))]
	return fmt.Sprintf("F%x;%s", len(b), b)
}

// stat is the file's struct stat of Host I/O: dev, ino, mode, nlink, uid, gid,
// rdev of 4 bytes, size, blksize, blocks of 8, three times of 4, big-endian.
func (l *Library) stat() []byte {
	b := make([]byte, 64)
	binary.BigEndian.PutUint32(b[8:], 0o100444)
	binary.BigEndian.PutUint32(b[12:], 1)
	binary.BigEndian.PutUint64(b[28:], uint64(len(l.Content)))
	binary.BigEndian.PutUint64(b[36:], 4096)
	binary.BigEndian.PutUint64(b[44:], (uint64(len(l.Content))+511)/512)
	return b
}

package lab

import (
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"nvlab/guest/introspect"
)

// pushed is a file or tree of the host that a guest was given: what its own
// programs there say of themselves is read on the host, when it is asked for.
type pushed struct {
	guest, host string
	at          time.Time
	binaries    *binaries
}

// binaries are programs that were read, by path; nil is one that says nothing.
type binaries struct {
	mu   sync.Mutex
	read map[string]*introspect.Binary
}

func newPushed(guest, host string) pushed {
	return pushed{guest: guest, host: host, at: time.Now(), binaries: newBinaries()}
}

func newBinaries() *binaries { return &binaries{read: map[string]*introspect.Binary{}} }

// origin is where on the host a guest's file came from.
type origin struct {
	from *pushed
	path string
}

// originOf is where the file at a guest's path came from last; the zero origin
// is none.
func originOf(list []pushed, guest string) origin {
	for _, p := range slices.Backward(list) {
		if rest, ok := strings.CutPrefix(guest, strings.TrimSuffix(p.guest, "/")); ok && (rest == "" || rest[0] == '/') {
			return origin{&p, filepath.Join(p.host, filepath.FromSlash(rest))}
		}
	}
	return origin{}
}

// at is what the program there says of an offset in it.
func (o origin) at(offset uint64) string {
	if o.from == nil {
		return ""
	}
	return o.from.binaries.at(o.path, offset, o.read)
}

// at is what the program of a path says of an offset in it; it is read once.
func (all *binaries) at(path string, offset uint64, read func() *introspect.Binary) string {
	all.mu.Lock()
	defer all.mu.Unlock()
	b, known := all.read[path]
	if !known {
		b = read()
		all.read[path] = b
	}
	if b == nil {
		return ""
	}
	return b.At(offset)
}

// read is nil unless the file is what was pushed.
func (o origin) read() *introspect.Binary {
	info, err := os.Stat(o.path)
	if err != nil || !info.Mode().IsRegular() || info.ModTime().After(o.from.at) {
		return nil
	}
	f, err := os.Open(o.path)
	if err != nil {
		return nil
	}
	defer f.Close()
	b, err := introspect.ReadBinary(f)
	if err != nil {
		return nil
	}
	return b
}

// programAt is what a program or library of the guest's packages says of an
// offset in it.
func (i *image) programAt(path string, offset uint64) string {
	return i.programs.at(path, offset, func() *introspect.Binary {
		file, err := i.open(path)
		if err != nil {
			return nil
		}
		b, err := introspect.ReadBinary(file)
		if err != nil {
			return nil
		}
		return b
	})
}

// open reads a file of the guest's packages: guests get large ones when
// somebody looks at them.
func (i *image) open(path string) (io.ReaderAt, error) {
	if kept, err := i.kept.Open(path); err == nil {
		if r, ok := kept.(io.ReaderAt); ok {
			return r, nil
		}
	}
	return i.initrd.Open(path)
}

package debian

import (
	"bufio"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"strconv"
	"strings"

	"github.com/klauspost/compress/zstd"
	"github.com/mikelolasagasti/xz"
)

// MaxUnpacked bounds the size of a package's unpacked content, in bytes.
const MaxUnpacked = 8 << 30

// File is one entry of a package's content.
type File struct {
	Path string // clean, relative to the root, such as usr/bin/ndctl
	Mode uint32 // st_mode: type and permissions
	Link string // target of a symbolic link
	Size int64  // of a regular file

	tar    io.ReaderAt
	offset int64
}

// Open returns the content of a regular file.
func (f *File) Open() (io.ReadCloser, error) {
	return io.NopCloser(io.NewSectionReader(f.tar, f.offset, f.Size)), nil
}

// File types in Mode, as in inode(7).
const (
	ModeType    = 0o170000
	ModeRegular = 0o100000
	ModeDir     = 0o040000
	ModeSymlink = 0o120000
)

// Unpack decompresses the content of a .deb into spool, which must be empty,
// and returns its entries, which read from spool. progress, if not nil, is
// called with the number of bytes of the .deb that were taken in.
// deb(5): an ar archive of debian-binary, control.tar, data.tar.
func Unpack(deb io.Reader, spool *os.File, progress func(int)) ([]*File, error) {
	if err := spoolData(deb, spool, MaxUnpacked, progress); err != nil {
		return nil, err
	}
	return listTar(spool)
}

func spoolData(deb io.Reader, w io.Writer, limit int64, progress func(int)) error {
	return spoolMember(deb, "data.tar", w, limit, progress)
}

// spoolMember finds the member whose name begins so and writes it,
// decompressed, to w.
func spoolMember(deb io.Reader, prefix string, w io.Writer, limit int64, progress func(int)) error {
	r := bufio.NewReaderSize(countingReader{deb, progress}, 1<<20)
	var magic [8]byte
	if _, err := io.ReadFull(r, magic[:]); err != nil || string(magic[:]) != "!<arch>\n" {
		return errors.New("not a Debian package: no ar archive")
	}
	for first := true; ; first = false {
		name, size, err := nextMember(r)
		if err == io.EOF {
			return fmt.Errorf("not a Debian package: no %s in it", prefix)
		}
		if err != nil {
			return err
		}
		if first && name != "debian-binary" {
			return fmt.Errorf("not a Debian package: it begins with %q, not debian-binary", name)
		}
		member := io.LimitReader(r, size)
		if strings.HasPrefix(name, prefix) {
			return decompress(name, member, w, limit)
		}
		if n, err := io.Copy(io.Discard, member); err != nil || n < size {
			return fmt.Errorf("package is cut off in %s", name)
		}
		if size%2 == 1 {
			if _, err := r.Discard(1); err != nil {
				return fmt.Errorf("package is cut off after %s", name)
			}
		}
	}
}

// nextMember reads a 60-byte ar header: name[16], mtime[12], uid[6], gid[6],
// mode[8], size[10], magic[2]. ar(5).
func nextMember(r io.Reader) (name string, size int64, err error) {
	var h [60]byte
	if n, err := io.ReadFull(r, h[:]); err != nil {
		if n == 0 {
			return "", 0, io.EOF
		}
		return "", 0, errors.New("package is cut off in an ar header")
	}
	if h[58] != '`' || h[59] != '\n' {
		return "", 0, errors.New("not a Debian package: bad ar header")
	}
	size, err = strconv.ParseInt(strings.TrimRight(string(h[48:58]), " "), 10, 64)
	if err != nil || size < 0 {
		return "", 0, fmt.Errorf("not a Debian package: ar member of size %q", h[48:58])
	}
	return strings.TrimRight(string(h[:16]), " /"), size, nil
}

// Decompressor returns a reader for the compression that a file's name tells
// by its suffix (.xz, .zst, .gz, or none of them).
func Decompressor(name string, r io.Reader) (io.ReadCloser, error) {
	switch path.Ext(name) {
	case ".xz":
		z, err := xz.NewReader(r, 256<<20)
		if err != nil {
			return nil, err
		}
		return io.NopCloser(z), nil
	case ".zst":
		z, err := zstd.NewReader(r, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(256<<20))
		if err != nil {
			return nil, err
		}
		return z.IOReadCloser(), nil
	case ".gz":
		return gzip.NewReader(r)
	}
	return io.NopCloser(r), nil
}

func decompress(name string, r io.Reader, w io.Writer, limit int64) error {
	z, err := Decompressor(name, r)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	defer z.Close()
	n, err := io.Copy(w, io.LimitReader(z, limit+1))
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	if n > limit {
		return fmt.Errorf("%s unpacks to more than %d bytes", name, limit)
	}
	return nil
}

type countingReader struct {
	r    io.Reader
	seen func(int)
}

func (c countingReader) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	if c.seen != nil && n > 0 {
		c.seen(n)
	}
	return n, err
}

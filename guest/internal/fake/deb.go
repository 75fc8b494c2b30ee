// Package fake makes small Debian packages, kernels, modules and programs for
// tests.
package fake

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"fmt"
	"strings"

	"github.com/klauspost/compress/zstd"
)

// File is an entry of a package. What ends in / is a folder.
type File struct {
	Name string
	Data []byte
	Link string // symbolic link
	Hard string // hard link
	Mode int64  // 0 is 0755
}

// Deb makes a package whose data.tar is compressed as ext says: "", ".gz" or
// ".zst". Files in DEBIAN/ are its control files.
func Deb(ext string, files ...File) []byte {
	var control, data []File
	for _, f := range files {
		if name, ok := strings.CutPrefix(f.Name, "DEBIAN/"); ok {
			f.Name = name
			control = append(control, f)
		} else {
			data = append(data, f)
		}
	}
	return Ar(
		"debian-binary", []byte("2.0\n"),
		"control.tar", Tar(control...),
		"data.tar"+ext, Compress(ext, Tar(data...)),
	)
}

// Ar makes an archive of pairs of name and content.
func Ar(members ...any) []byte {
	b := []byte("!<arch>\n")
	for i := 0; i < len(members); i += 2 {
		data := members[i+1].([]byte)
		b = fmt.Appendf(b, "%-16s%-12d%-6d%-6d%-8o%-10d`\n", members[i], 0, 0, 0, 0o100644, len(data))
		b = append(b, data...)
		if len(data)%2 == 1 {
			b = append(b, '\n')
		}
	}
	return b
}

// Tar makes a tar file in GNU's format, as dpkg-deb does.
func Tar(files ...File) []byte {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, f := range files {
		h := &tar.Header{Name: "./" + f.Name, Mode: f.Mode, Size: int64(len(f.Data)), Typeflag: tar.TypeReg, Format: tar.FormatGNU}
		switch {
		case f.Link != "":
			h.Typeflag, h.Linkname = tar.TypeSymlink, f.Link
		case f.Hard != "":
			h.Typeflag, h.Linkname = tar.TypeLink, "./"+f.Hard
		case f.Name[len(f.Name)-1] == '/':
			h.Typeflag = tar.TypeDir
		}
		if h.Mode == 0 {
			h.Mode = 0o755
		}
		must(w.WriteHeader(h))
		_, err := w.Write(f.Data)
		must(err)
	}
	must(w.Close())
	return b.Bytes()
}

// Compress compresses as a file's suffix says.
func Compress(ext string, data []byte) []byte {
	var b bytes.Buffer
	switch ext {
	case ".gz":
		w := gzip.NewWriter(&b)
		_, err := w.Write(data)
		must(err)
		must(w.Close())
	case ".zst":
		w, err := zstd.NewWriter(&b)
		must(err)
		_, err = w.Write(data)
		must(err)
		must(w.Close())
	default:
		return data
	}
	return b.Bytes()
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}

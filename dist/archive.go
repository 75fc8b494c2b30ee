package main

import (
	"archive/tar"
	"bytes"
	"cmp"
	"path"
	"slices"
	"strings"
	"time"
)

// A file of an archive.
type file struct {
	name    string // with slashes, relative
	data    []byte
	program bool
}

// under puts files into a folder.
func under(folder string, files []file) (list []file) {
	for _, f := range files {
		f.name = path.Join(folder, f.name)
		list = append(list, f)
	}
	return list
}

// tarGz is an archive of files, with the folders that they are in: in the order
// of their names, of nobody, and all of one date.
func tarGz(files []file, at time.Time) ([]byte, error) {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	header := func(name string, kind byte, mode int64, size int) error {
		return w.WriteHeader(&tar.Header{
			Name: name, Typeflag: kind, Mode: mode, Size: int64(size),
			Uname: "root", Gname: "root", ModTime: at, Format: tar.FormatGNU,
		})
	}
	folders := map[string]bool{".": true, "/": true}
	var folder func(name string) error
	folder = func(name string) error {
		if folders[name] {
			return nil
		}
		if err := folder(path.Dir(name)); err != nil {
			return err
		}
		folders[name] = true
		return header(strings.TrimSuffix(name, "/")+"/", tar.TypeDir, 0o755, 0)
	}
	for _, f := range slices.SortedFunc(slices.Values(files), func(a, b file) int { return cmp.Compare(a.name, b.name) }) {
		if err := folder(path.Dir(f.name)); err != nil {
			return nil, err
		}
		mode := int64(0o644)
		if f.program {
			mode = 0o755
		}
		if err := header(f.name, tar.TypeReg, mode, len(f.data)); err != nil {
			return nil, err
		}
		if _, err := w.Write(f.data); err != nil {
			return nil, err
		}
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return compress(b.Bytes())
}

//go:build !linux

package backend

import (
	"io/fs"
	"os"
)

const (
	mapNoReserve = 0
	mapSync      = 0
)

func deviceNumber(fs.FileInfo) (major, minor uint32, ok bool) { return 0, 0, false }

func hugePage(*os.File) uint64 { return 0 }

func dataSync(f *os.File) error { return f.Sync() }

// anonymousFile is a file without a name.
func anonymousFile(size int64) (*os.File, error) {
	f, err := os.CreateTemp("", "nvdimm")
	if err != nil {
		return nil, err
	}
	os.Remove(f.Name())
	if err := f.Truncate(size); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

func discard(f *os.File, size int64) error {
	if err := f.Truncate(0); err != nil {
		return err
	}
	return f.Truncate(size)
}

func fileData(_ *os.File, from, to int64) ([]extent, error) { return []extent{{from, to}}, nil }

func privatePages(_ []byte, from, to int64) ([]extent, error) { return []extent{{from, to}}, nil }

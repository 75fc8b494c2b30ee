package lab

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// nextData finds the next data of a file from an offset on, and where a hole
// follows it; both are size if there is none (lseek(2), SEEK_DATA).
func nextData(f *os.File, at, size int64) (data, hole int64, err error) {
	data, err = f.Seek(at, unix.SEEK_DATA)
	switch {
	case errors.Is(err, unix.ENXIO):
		return size, size, nil
	case errors.Is(err, unix.EINVAL):
		return at, size, nil // the file system knows no holes
	case err != nil:
		return 0, 0, err
	}
	hole, err = f.Seek(data, unix.SEEK_HOLE)
	return min(data, size), min(hole, size), err
}

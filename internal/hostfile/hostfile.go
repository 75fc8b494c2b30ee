// Package hostfile reads whole files whose names came from outside: they may be
// anything that a name can lead to.
package hostfile

import (
	"fmt"
	"io"
	"os"
	"syscall"
)

// Read reads a regular file of at most limit bytes. What is none, such as a
// device without end or a pipe that nobody writes to, is an error at once.
func Read(path string, limit int64) ([]byte, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0) // a pipe's open waits for its writer
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	switch {
	case err != nil:
		return nil, err
	case info.IsDir():
		return nil, fmt.Errorf("%s is a folder", path)
	case !info.Mode().IsRegular():
		return nil, fmt.Errorf("%s is no regular file", path)
	case info.Size() > limit:
		return nil, tooLong(path, limit)
	}
	data, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err == nil && int64(len(data)) > limit { // it grew, or its file system does not know
		err = tooLong(path, limit)
	}
	return data, err
}

func tooLong(path string, limit int64) error {
	return fmt.Errorf("%s has more than %d bytes", path, limit)
}

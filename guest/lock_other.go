//go:build !unix

package guest

import (
	"errors"
	"os"
)

var errLocked = errors.New("locked by another process")

func lockFile(name string, wait bool) (*os.File, error) {
	return nil, errors.New("guests can be built and removed on Unix hosts only")
}

func shareLock(*os.File) error { return nil }

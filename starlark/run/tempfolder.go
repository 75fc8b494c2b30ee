package run

import (
	"cmp"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// tempPrefix begins the names of folders that end with their run.
const tempPrefix = "nvlab-run-"

// newTempFolder makes the folder of the tests' directories, as an absolute path.
// done removes it, unless it is to be kept. A run that was killed leaves its
// folder, and the next one removes it.
func newTempFolder(keep bool) (dir string, done func(), err error) {
	parent, err := filepath.Abs(cmp.Or(os.Getenv("TEST_TMPDIR"), os.TempDir()))
	if err != nil {
		return "", nil, err
	}
	removeDead(parent)
	if keep {
		dir, err = os.MkdirTemp(parent, "nvlab-")
		return dir, func() {}, err
	}
	if dir, err = os.MkdirTemp(parent, tempPrefix); err != nil {
		return "", nil, err
	}
	lock, err := lockFolder(dir) // which ends with the process, however that ends
	if err != nil {
		lock = nil // a file system without locks: the folder stays if this run is killed
	}
	return dir, func() {
		os.RemoveAll(dir)
		if lock != nil {
			lock.Close()
		}
	}, nil
}

// young folders may not be locked yet.
const young = time.Minute

// removeDead removes the folders of runs that were killed. What cannot be
// removed stays.
func removeDead(parent string) {
	list, err := filepath.Glob(filepath.Join(parent, tempPrefix+"*"))
	if err != nil {
		return
	}
	for _, dir := range list {
		info, err := os.Lstat(dir)
		if err != nil || !info.IsDir() || !own(info) || time.Since(info.ModTime()) < young {
			continue
		}
		if lock, err := lockFolder(dir); err == nil {
			os.RemoveAll(dir)
			lock.Close()
		}
	}
}

// own says that a file is this user's.
func own(info os.FileInfo) bool {
	stat, ok := info.Sys().(*syscall.Stat_t)
	return ok && int(stat.Uid) == os.Geteuid()
}

// lockFolder locks a folder (flock(2)) until the file is closed. One that
// another process has locked is an error.
func lockFolder(dir string) (*os.File, error) {
	f, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

package lab

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"syscall"
	"time"

	"nvlab/internal/option"
)

// A process claims the files that its backends write, so that two processes do
// not write one unnoticed. Within a process a file may have any number of
// backends.
var claims = struct {
	sync.Mutex
	files map[fileID]*claim
}{files: make(map[fileID]*claim)}

type fileID struct{ dev, ino uint64 }

// A claim is a lock of flock(2), which ends with the process at the latest.
type claim struct {
	f     *os.File
	users int
}

// errClaimed says that another process writes a file.
var errClaimed = errors.New("another process writes the file as well")

// claimFile claims a file for writing, or says that another process has. What
// cannot be locked is not claimed. The function takes the claim back.
func claimFile(path string) (release func(), err error) {
	f, err := os.Open(path)
	if err != nil {
		return func() {}, nil
	}
	info, err := f.Stat()
	if err != nil || !info.Mode().IsRegular() {
		f.Close()
		return func() {}, nil
	}
	stat := info.Sys().(*syscall.Stat_t)
	id := fileID{uint64(stat.Dev), stat.Ino}
	claims.Lock()
	defer claims.Unlock()
	c := claims.files[id]
	if c == nil {
		if err := tryLock(f); errors.Is(err, syscall.EWOULDBLOCK) {
			f.Close()
			return nil, errClaimed
		}
		c = &claim{f: f}
		claims.files[id] = c
	} else {
		f.Close()
	}
	c.users++
	return func() {
		claims.Lock()
		defer claims.Unlock()
		if c.users--; c.users == 0 {
			delete(claims.files, id)
			c.f.Close()
		}
	}, nil
}

// tryLock tries again for a moment: another process may just be looking.
func tryLock(f *os.File) (err error) {
	for range 5 {
		if err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err == nil {
			return nil
		}
		time.Sleep(10 * time.Millisecond)
	}
	return err
}

// claim claims a backend's file if it is one that is written.
func (x *Experiment) claim(b *Backend, o FileBackendOptions) error {
	if !o.Share || o.ReadOnly {
		release, err := claimFile(b.Path())
		if err == nil {
			release() // it was only asked
		}
		b.contended = err != nil
		return nil
	}
	release, err := claimFile(b.Path())
	switch {
	case err != nil && !o.Unlocked:
		return &option.Error{Err: fmt.Errorf("path=%q: %w", o.Path, err), Option: "lock", Want: false}
	case err != nil:
		b.contended = true
		return nil
	}
	x.releases = append(x.releases, release)
	return nil
}

// Contended says that another process writes the backend's file as well.
func (b *Backend) Contended() bool { return b.contended }

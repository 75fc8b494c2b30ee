// Package tmpfs has file systems of a size, for tests of what a full disk does.
package tmpfs

import (
	"runtime"
	"testing"

	"golang.org/x/sys/unix"

	"nvlab/internal/require"
)

// On calls f with a file system of size bytes ("4m") on a folder, which only
// this thread sees.
func On(t *testing.T, dir, size string, f func()) {
	t.Helper()
	var err error
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // and the thread ends with the goroutine
		if err = unix.Unshare(unix.CLONE_NEWNS); err != nil {
			return
		}
		if err = unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
			return
		}
		if err = unix.Mount("nvlab", dir, "tmpfs", 0, "size="+size); err == nil {
			f()
		}
	}()
	<-done
	if err != nil {
		require.Missing(t, "ROOTS", "no mounts of one's own here: %v", err)
	}
}

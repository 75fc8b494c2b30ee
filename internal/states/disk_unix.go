//go:build unix

package states

import (
	"io/fs"
	"os"
	"syscall"
)

// tryLock locks a file until it is closed, or fails if another has it locked.
func tryLock(f *os.File) error {
	for {
		if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != syscall.EINTR {
			return err
		}
	}
}

// onDisk is what a file takes of its disk, in bytes.
func onDisk(info fs.FileInfo) int64 {
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		return int64(st.Blocks) * 512
	}
	return info.Size()
}

package guest

import (
	"context"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"nvlab/internal/require"
)

// TestReadOnlyStore uses a store that the file system does not let anybody
// write, for which it is mounted in a namespace of this thread's.
func TestReadOnlyStore(t *testing.T) {
	newRepo(t)
	s := withVmlinux(t, t.TempDir())
	im := ensure(t, s, Spec{})
	random := rand.New(rand.NewPCG(1, 1))
	if err := damages[0].do(im.VmlinuxPath, random); err != nil {
		t.Fatal(err)
	}
	agent := staticProgram(t)
	mount := func(flags uintptr) error { return unix.Mount(s.dir, s.dir, "", flags, "") }
	var unmounted error
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // and the thread ends with the goroutine
		err := unix.Unshare(unix.CLONE_NEWNS)
		if err == nil {
			err = unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, "")
		}
		if err == nil {
			err = mount(unix.MS_BIND)
		}
		if err == nil {
			err = mount(unix.MS_BIND | unix.MS_REMOUNT | unix.MS_RDONLY)
		}
		if err != nil {
			unmounted = err
			return
		}
		if err := os.WriteFile(filepath.Join(s.dir, "x"), nil, 0o644); err == nil {
			t.Error("the store can be written: this tests nothing")
		}
		im, err := s.Ensure(context.Background(), Spec{}, nil)
		if err != nil || im.VmlinuxPath != "" {
			t.Errorf("Ensure in a read-only store with a damaged vmlinux = %+v, %v; want the guest without it", im, err)
			return
		}
		// An agent that this store has not seen.
		initramfs, err := im.Initramfs(agent)
		if err != nil {
			t.Errorf("Initramfs in a read-only store = %v", err)
			return
		}
		initramfs.Close()
		if _, err := s.Ensure(context.Background(), Spec{Packages: []string{"fio"}}, nil); err == nil || !strings.Contains(err.Error(), "read-only file system") {
			t.Errorf("a build in a read-only store = %v, want that it is read-only", err)
		}
		if err := mount(unix.MS_BIND | unix.MS_REMOUNT); err != nil {
			t.Error(err)
			return
		}
		if err := damages[0].do(im.BaseInitrd, random); err != nil {
			t.Error(err)
		}
		if err := mount(unix.MS_BIND | unix.MS_REMOUNT | unix.MS_RDONLY); err != nil {
			t.Error(err)
			return
		}
		_, err = s.Ensure(context.Background(), Spec{}, nil)
		if err == nil || !strings.Contains(err.Error(), "is damaged: its initrd.cpio has the SHA-256") || !strings.Contains(err.Error(), "read-only file system") {
			t.Errorf("a damaged guest in a read-only store = %v, want what is damaged and why it stays so", err)
		}
	}()
	<-done
	if unmounted != nil {
		require.Missing(t, "ROOTS", "no mounts of one's own here: %v", unmounted)
	}
}

package lab

import (
	"errors"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"nvlab/internal/tmpfs"
	"nvlab/nvdimm/backend"
	"nvlab/vmm"
)

// TestFullFileSystem: a guest stores to an NVDIMM for whose file the host has no
// more room. With share=false as well: tmpfs has a page for what is read.
func TestFullFileSystem(t *testing.T) {
	for _, share := range []bool{true, false} {
		x := vmExperiment(t)
		tmpfs.On(t, x.Dir(), "4m", func() {
			b, err := x.FileBackend(FileBackendOptions{Path: "pmem0.img", Size: 16 << 20, Share: share})
			if err != nil {
				t.Error(err)
				return
			}
			v, err := x.VM(VMOptions{Slots: 1, MaxMem: 1 << 30})
			if err == nil {
				_, err = v.Plug(PlugOptions{Backend: b, ID: "nvdimm1"})
			}
			if err == nil {
				err = v.Boot(t.Context(), DefaultTimeout)
			}
			if err != nil {
				t.Error(err)
				return
			}
			_, err = v.Run(t.Context(), Command{Shell: "dd if=/dev/zero of=/dev/pmem0 bs=1M oflag=direct", Timeout: DefaultTimeout})
			var lost *vmm.LostMemoryError
			if !errors.As(err, &lost) || ClassOf(err) != ClassHost || !errors.Is(err, backend.ErrUnreachable) || errors.Is(err, backend.ErrTruncated) {
				t.Errorf("share=%v: writing to a backend on a full file system = %v, class %v; want lost memory, unreachable, class host", share, err, ClassOf(err))
				return
			}
			if text := err.Error(); !strings.HasPrefix(text, `nvdimm "nvdimm1": `+b.Path()+": ") || !strings.Contains(text, "its file system is full: 0 bytes are free") {
				t.Errorf("a full file system is told as %q", text)
			}
			if v.State() != Crashed {
				t.Errorf("the state is %q, want %q", v.State(), Crashed)
			}
			if err := v.Kill(); err != nil {
				t.Error(err)
			}
			if !share {
				return
			}
			// The host has no more room than the guest.
			if err := b.Write(12<<20, []byte("x")); !errors.Is(err, unix.ENOSPC) || ClassOf(err) != ClassHost {
				t.Errorf("the host's own write = %v, class %v; want that no space is left, class host", err, ClassOf(err))
			}
		})
	}
}

package vmm_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"nvlab/internal/pages"
	"nvlab/vmm"
	"nvlab/vmm/soft"
)

// TestDMALost: memory that went away below a device is its error, and Run's.
func TestDMALost(t *testing.T) {
	name := filepath.Join(t.TempDir(), "mem")
	if err := os.WriteFile(name, make([]byte, pages.Size), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	mem, err := syscall.Mmap(int(f.Fd()), 0, pages.Size, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_SHARED)
	if err != nil {
		t.Fatal(err)
	}
	p := newPC(t, soft.Engine{}, "p")
	t.Cleanup(func() { syscall.Munmap(mem) })
	addMemory(t, p, 1, func(r *vmm.Region) { r.Mem, r.Revocable = mem, true })
	if err := f.Truncate(0); err != nil {
		t.Fatal(err)
	}
	var lost *vmm.LostMemoryError
	if _, err := p.Physical().ReadAt(make([]byte, 1), others+64); !errors.As(err, &lost) || lost.Base != others || lost.Offset != 64 {
		t.Errorf("Physical().ReadAt of a file that was cut = %v, want a LostMemoryError at offset 64", err)
	}
	if _, err := p.Run(context.Background(), p.Clock()+1, nil); err != nil {
		t.Errorf("Run after that = %v, want nil: who looks from outside is no device", err)
	}
	if _, err := p.DMA().WriteAt([]byte{1}, others+64); !errors.As(err, &lost) || lost.Base != others || lost.Offset != 64 {
		t.Errorf("WriteAt to a file that was cut = %v, want a LostMemoryError at offset 64", err)
	}
	if _, err := p.Run(context.Background(), p.Clock()+1, nil); !errors.As(err, &lost) {
		t.Errorf("Run after that = %v, want a LostMemoryError", err)
	}
}

package soft

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"nvlab/vmm"
	"nvlab/vmm/soft/x86"
)

// TestLostMemory truncates the file below memory that the guest uses.
func TestLostMemory(t *testing.T) {
	for _, tt := range []struct {
		name string
		code []byte
	}{
		{"load", []byte{0x48, 0x8b, 0x9f, 0x08, 0x10, 0, 0}},
		{"store", []byte{0x48, 0x89, 0x9f, 0x08, 0x10, 0, 0}},
		{"rep stosb", []byte{0x48, 0x81, 0xc7, 0x08, 0x10, 0, 0, 0xf3, 0xaa}},
		{"movups", []byte{0x0f, 0x10, 0x87, 0x08, 0x10, 0, 0}},
		{"jump", []byte{0x48, 0x81, 0xc7, 0x08, 0x10, 0, 0, 0xff, 0xe7}},
	} {
		for _, observed := range []bool{false, true} {
			path := filepath.Join(t.TempDir(), "memory")
			if err := os.WriteFile(path, make([]byte, 2*x86.PageSize), 0o600); err != nil {
				t.Fatal(err)
			}
			f, err := os.OpenFile(path, os.O_RDWR, 0)
			if err != nil {
				t.Fatal(err)
			}
			mem, err := unix.Mmap(int(f.Fd()), 0, 2*x86.PageSize, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
			if err != nil {
				t.Fatal(err)
			}
			m := withRegion(t, vmm.Region{Mem: mem, Revocable: true, Observed: observed})
			m.put(testCode, tt.code...)
			if err := f.Truncate(x86.PageSize); err != nil {
				t.Fatal(err)
			}
			_, err = m.p.Run(context.Background(), time.Millisecond)
			var lost *vmm.LostMemoryError
			if !errors.As(err, &lost) || lost.Base != extraPhys || lost.Offset&^7 != x86.PageSize+8 {
				t.Errorf("%s, observed=%v: Run() = %v, want lost memory at %#x, offset %#x", tt.name, observed, err, extraPhys, x86.PageSize+8)
			}
			f.Close()
			unix.Munmap(mem)
		}
	}
}

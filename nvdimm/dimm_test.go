package nvdimm

import (
	"testing"

	"nvlab/internal/expect"
	"nvlab/nvdimm/backend"
)

const (
	kib = 1 << 10
	mib = 1 << 20
	gib = 1 << 30
)

func openFile(t testing.TB, c backend.FileConfig) *backend.Backend {
	t.Helper()
	return expect.Opened[*backend.Backend](t)(backend.OpenFile(c))
}

func newRAM(t testing.TB, size uint64) *backend.Backend {
	t.Helper()
	return expect.Opened[*backend.Backend](t)(backend.NewRAM(backend.RAMConfig{Size: size}))
}

// plugged is a DIMM of its own machine on b.
func plugged(t testing.TB, b *backend.Backend, labelSize uint64) *DIMM {
	t.Helper()
	d, err := newRoot(t, Config{}).Plug(PlugConfig{Backend: b, LabelSize: labelSize})
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func mapped(t testing.TB, d *DIMM) []byte {
	t.Helper()
	mem, err := d.Map()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Unmap() })
	return mem
}

func readBack(t testing.TB, b *backend.Backend, off int64, n int) string {
	t.Helper()
	p := make([]byte, n)
	if _, err := b.ReadAt(p, off); err != nil {
		t.Fatal(err)
	}
	return string(p)
}

// TestMapAgain: a reset keeps the memory, a power-off ends it.
func TestMapAgain(t *testing.T) {
	b := newRAM(t, 4*mib)
	d := plugged(t, b, 0)
	copy(mapped(t, d)[5000:], "guest")
	if again := mapped(t, d); string(again[5000:5005]) != "guest" {
		t.Errorf("after a reset the memory has %q, want what the guest wrote", again[5000:5005])
	}
	if _, err := plugged(t, b, 0).Map(); err == nil {
		t.Error("anonymous memory was mapped for two machines")
	}
	if err := d.Unmap(); err != nil || b.Mapped() {
		t.Errorf("after Unmap = %v the backend is mapped: %v", err, b.Mapped())
	}
	if again := mapped(t, d); again[5000] != 0 {
		t.Errorf("after a power-off the memory has %q, want zeros", again[5000:5005])
	}
}

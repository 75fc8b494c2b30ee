package vmm_test

import (
	"encoding/binary"
	"fmt"
	"strings"
	"testing"

	"nvlab/acpi/aml"
	"nvlab/vmm"
	"nvlab/vmm/soft"
)

// TestPlugPMEM: as many virtio-pmem devices as a machine may have can come while
// it runs, each with a table that names a device of its own; and why one is
// refused.
func TestPlugPMEM(t *testing.T) {
	plain := newPC(t, soft.Engine{}, "p")
	if err := plain.PlugPMEM(vmm.Range{Base: others, Size: 4096}); err == nil || !strings.Contains(err.Error(), "made without a way") {
		t.Errorf("PlugPMEM of a machine without it = %v", err)
	}
	p := newPC(t, soft.Engine{}, "p", func(c *vmm.Config, _ *vmm.Payload) {
		c.PlugPMEM, c.FlushPMEM = true, func(int) bool { return true }
		c.PMEM = []vmm.Range{{Base: others, Size: 4096}}
	})
	acpi := p.Layout().ACPI
	page := acpi.End() - (1+vmm.MaxPMEM)*512
	for i := 1; i < vmm.MaxPMEM; i++ {
		if err := p.PlugPMEM(vmm.Range{Base: others + uint64(i)*4096, Size: 4096}); err != nil {
			t.Fatal(err)
		}
		b := make([]byte, 512)
		p.Memory().ReadAt(b, int64(page))
		if got := binary.LittleEndian.Uint32(b); got != uint32(i) {
			t.Errorf("after %d devices %d tables are there", i, got)
		}
		p.Memory().ReadAt(b, int64(page)+int64(i)*512)
		table := b[:binary.LittleEndian.Uint32(b[4:])]
		text, err := aml.Disassemble(table[36:])
		if want := fmt.Sprintf("Device (VIO%X)", 2+i); err != nil || !strings.Contains(text, want) {
			t.Errorf("table %d, %v:\n%s\nwant %q in it", i, err, text, want)
		}
	}
	if err := p.PlugPMEM(vmm.Range{Base: others + 64<<12, Size: 4096}); err == nil || !strings.Contains(err.Error(), "8 of at most 8") {
		t.Errorf("PlugPMEM of a ninth = %v", err)
	}
	if got := len(p.PMEM()); got != vmm.MaxPMEM {
		t.Errorf("the machine has %d virtio-pmem devices, want %d", got, vmm.MaxPMEM)
	}
}

package vmm

import (
	"errors"
	"io"

	"nvlab/vmm/boot"
)

// Payload is what a machine boots: what firmware finds on a disk, and hands to
// the kernel.
type Payload struct {
	Kernel     *boot.Kernel
	Initrd     io.ReaderAt // the initramfs, InitrdSize bytes of it
	InitrdSize int64
	Cmdline    string   // of the kernel; "" means boot.DefaultCmdline
	Tables     [][]byte // ACPI tables beside the machine's own, complete with their headers
}

// Boot does what firmware does at power-on: it places ACPI tables, kernel and
// initramfs in memory, and leaves the first processor before the kernel's first
// instruction. A machine boots once.
func (m *Machine) Boot(p Payload) error {
	switch {
	case m.state != Assembled:
		return errors.New("a machine boots once")
	case p.Kernel == nil:
		return errors.New("a machine boots a kernel: there is none")
	}
	rsdp, err := m.placeTables(p.Tables)
	if err != nil {
		return err
	}
	if p.Cmdline == "" {
		p.Cmdline = boot.DefaultCmdline(TSCFrequency(m.engine))
	}
	entry, err := p.Kernel.Place(m.ram.low(), boot.Params{
		Map:        m.layout.e820(),
		Top:        m.layout.ACPI.Base,
		Cmdline:    p.Cmdline,
		RSDP:       rsdp,
		Seed:       derive(m.seed, "kernel"),
		Initrd:     p.Initrd,
		InitrdSize: p.InitrdSize,
	})
	if err != nil {
		return err
	}
	m.placeParking()
	if err := m.procs.Start(Entry(entry)); err != nil {
		return err
	}
	m.state = Running
	return nil
}

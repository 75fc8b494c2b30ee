package lab

import (
	"cmp"
	"errors"
	"fmt"
	"strings"

	"nvlab/guest"
	"nvlab/internal/option"
	"nvlab/nvdimm/firmware"
	"nvlab/vmm"
)

// FileBackendOptions describe a backend on a file: memory-backend-file.
type FileBackendOptions struct {
	Path     string // relative to the experiment's folder
	Size     uint64 // bytes
	Share    bool
	Align    uint64 // bytes; 0 is the page size
	ReadOnly bool
	Offset   uint64 // bytes
	PMem     bool
	Partial  bool // a file larger than Offset+Size is not an error
	Unlocked bool // another process may write the file as well
}

// RAMBackendOptions describe a backend without a file: memory-backend-ram.
type RAMBackendOptions struct {
	Size  uint64 // bytes
	Share bool
	Align uint64 // bytes; 0 is the page size
}

// VMOptions describe a machine. The zero value is t.vm(): 256 MiB, one CPU, no
// slots.
type VMOptions struct {
	Memory       uint64 // bytes of RAM, a multiple of 1 MiB; 0 is 256 MiB
	Slots        int    // for NVDIMMs
	MaxMem       uint64 // bytes of RAM and NVDIMMs; 0 if not given
	CPUs         int    // 0 is 1
	NoNVDIMM     bool   // refuses every plug
	Cap          *int64 // platform capability bits; nil if not given
	Persistence  string // "cpu", "mem-ctrl" or "" if not given
	FlushHints   int    // addresses per DIMM
	Kernel       string // name of the guest; "" is the run's
	Release      string // of Debian, that the guest is made of; "" is the run's
	Cmdline      string // added to the kernel's command line
	Packages     []string
	Engine       string // "soft", "kvm" or "" for the run's
	Seed         uint64
	AllowOops    bool                // calls go on after the guest's kernel failed
	Malformed    bool                // takes malformed firmware, for tests of what a guest makes of it
	ARS          *firmware.ARSConfig // errors of the media and their scrub; nil for none
	MachineCheck bool                // the processors report poison that is consumed
	NUMA         []NUMANode          // what is on each node; nil: all on one
	PhysBits     int                 // of the processors' physical addresses, 36 to 52; 0 is 40
	PCIe         *bool               // a PCI Express root complex; nil: if the command line needs one
}

// Bounds of VMOptions.PhysBits.
const (
	MinPhysBits = vmm.MinPhysBits
	MaxPhysBits = vmm.MaxPhysBits
)

// defaultMemory is that of a machine whose options name none.
const defaultMemory = 256 << 20

// complete fills in what was not given.
func (o *VMOptions) complete() {
	o.Memory = cmp.Or(o.Memory, defaultMemory)
	o.CPUs = cmp.Or(o.CPUs, 1)
}

// maxCPUs is more than what tests of persistent memory have a use for.
const maxCPUs = 8

// check refuses what no machine can have and what is not there yet.
func (o *VMOptions) check() error {
	switch {
	case o.CPUs < 1:
		return fmt.Errorf("cpus=%d: a machine has at least 1", o.CPUs)
	case o.CPUs > maxCPUs:
		return fmt.Errorf("cpus=%d: a machine has at most %d", o.CPUs, maxCPUs)
	case o.MachineCheck && o.ARS == nil:
		return &option.Error{Err: errors.New("for machine checks: no DIMM can have poison without the root device's functions for errors of the media"), Option: "ars", Want: true}
	case strings.ContainsAny(o.Cmdline, "\n\x00"):
		return fmt.Errorf("cmdline=%q: a kernel command line is one line", o.Cmdline)
	}
	if err := o.checkNUMA(); err != nil {
		return err
	}
	return o.guest().Check()
}

// guest is the guest that a machine is to have.
func (o *VMOptions) guest() guest.Spec {
	return guest.Spec{Kernel: o.Kernel, Release: o.Release, Packages: o.Packages}
}

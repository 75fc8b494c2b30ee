package lab

import (
	"fmt"
	"strings"

	"nvlab/guest"
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
}

// RAMBackendOptions describe a backend without a file: memory-backend-ram.
type RAMBackendOptions struct {
	Size  uint64 // bytes
	Share bool
	Align uint64 // bytes; 0 is the page size
}

// VMOptions describe a machine.
type VMOptions struct {
	Memory      uint64 // bytes of RAM, a multiple of 1 MiB
	Slots       int    // for NVDIMMs
	MaxMem      uint64 // bytes of RAM and NVDIMMs; 0 if not given
	CPUs        int
	NVDIMM      bool   // false refuses every plug
	Cap         *int64 // platform capability bits; nil if not given
	Persistence string // "cpu", "mem-ctrl" or "" if not given
	FlushHints  int    // addresses per DIMM
	Kernel      string // name of the guest; "" is the run's
	Cmdline     string // added to the kernel's command line
	Packages    []string
	Engine      string // "soft", "kvm" or "" for the run's
	Seed        uint64
	Oops        string // "fail" or "allow"
	Strict      bool   // refuse malformed firmware
}

// DefaultVMOptions are those of t.vm().
func DefaultVMOptions() VMOptions {
	return VMOptions{Memory: 256 << 20, CPUs: 1, NVDIMM: true, Oops: "fail", Strict: true}
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
	case o.Oops != "fail" && o.Oops != "allow":
		return fmt.Errorf(`oops=%q: want "fail" or "allow"`, o.Oops)
	case strings.ContainsAny(o.Cmdline, "\n\x00"):
		return fmt.Errorf("cmdline=%q: a kernel command line is one line", o.Cmdline)
	}
	return guest.Spec{Kernel: o.Kernel, Packages: o.Packages}.Check()
}

package lab

import (
	"slices"
	"strings"
	"time"

	"nvlab/vmm"
	"nvlab/vmm/boot"
)

// Epoch is the guest's wall clock at power-on, on every engine: a run must not
// depend on the host's.
var Epoch = time.Date(2026, time.January, 1, 0, 0, 0, 0, time.UTC)

// cmdline is the kernel's command line: the machine's words, the run's and the
// scenario's own, which come last, so that they win.
func (v *VM) cmdline() string {
	words := strings.Fields(boot.DefaultCmdline(vmm.TSCFrequency(v.engine)))
	if modules := v.modulesNeeded(); len(modules) > 0 {
		words = append(words, "nvlab.modules="+strings.Join(modules, ","))
	}
	for _, more := range v.given() {
		if more != "" {
			words = append(words, more)
		}
	}
	return strings.Join(words, " ")
}

// given are the run's and the scenario's own words.
func (v *VM) given() []string { return []string{v.x.lab.opts.Cmdline, v.opts.Cmdline} }

// hasPCIe says whether the machine has a PCI bus. If nothing was said it has one
// where the command line turns RAM into something else (memmap=256M!384M):
// Linux leaves such ranges for its PCI code to register, as they might be a
// device's (arch/x86/kernel/e820.c, e820__reserve_resources_late, which
// pcibios_resource_survey calls), and finds no device in them without a bus.
func (v *VM) hasPCIe() bool {
	if v.opts.PCIe != nil {
		return *v.opts.PCIe
	}
	return slices.ContainsFunc(strings.Fields(strings.Join(v.given(), " ")), func(word string) bool {
		return strings.HasPrefix(word, "memmap=")
	})
}

// modulesNeeded are the guest's drivers of what only some machines have: of
// memory that the command line or the firmware set aside.
func (v *VM) modulesNeeded() (list []string) {
	if v.hasPCIe() {
		list = append(list, "nd_e820", "dax_hmem")
	}
	if len(v.root.PMEM()) > 0 {
		list = append(list, "virtio_pmem")
	}
	return list
}

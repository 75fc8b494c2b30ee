package lab

import (
	"errors"
	"fmt"
	"strings"

	"nvlab/internal/option"
	"nvlab/nvdimm/firmware"
	"nvlab/vmm/observe"
)

// Poison that bites: the processors of a VM with MachineCheck report a load from
// a line that cannot be read.

// handlers are what a kernel says that has a handler of machine checks, and one
// that takes a page with an error from its users (Linux, arch/x86/kernel/cpu/mce/core.c
// and mm/memory-failure.c). Without either the guest panics.
var handlers = []struct{ text, option string }{
	{"Machine check events logged", "CONFIG_X86_MCE"},
	{"recovery action for", "CONFIG_MEMORY_FAILURE"},
}

// canHandle refuses a kernel that would shut the machine down at the first
// machine check.
func (i *image) canHandle() error {
	for _, h := range handlers {
		if has, err := i.kernel.Has(h.text); err != nil || !has {
			return errors.Join(err, &option.Error{
				Err:    fmt.Errorf("the kernel %s was built without %s: it has no handler for machine checks (linux-image-amd64 has one)", i.KernelVersion, h.option),
				Option: "machine_check", Want: false,
			})
		}
	}
	return nil
}

// bites refuses an engine that cannot raise a machine check right at the load.
// KVM queues one for the next entry of the guest, wherever it is then.
func (o *VMOptions) bites(engine string) error {
	if !o.MachineCheck || engine == "soft" {
		return nil
	}
	return &option.Error{Err: fmt.Errorf("the %s engine cannot raise a machine check right at the load: KVM_X86_SET_MCE takes effect at the next entry of the guest", engine), Option: "engine", Want: "soft"}
}

// armPoison tells the processors of what cannot be read, unless they know.
func (v *VM) armPoison() error {
	if v.m == nil || !v.opts.MachineCheck || v.poisonKnown() {
		return nil
	}
	var w *observe.Watch
	v.poison = map[int]firmware.Poison{}
	for _, d := range v.root.DIMMs() {
		v.poison[d.Slot()] = d.Management().Poison
	}
	for addr := range v.root.Poisoned() {
		if w == nil {
			w = &observe.Watch{}
		}
		w.Add(addr)
	}
	return v.m.Poison(w, v.consumed)
}

// poisonKnown says that no DIMM's list changed: who changes one makes another.
func (v *VM) poisonKnown() bool {
	dimms := v.root.DIMMs()
	if v.poison == nil || len(dimms) != len(v.poison) {
		return false
	}
	for _, d := range dimms {
		now := d.Management().Poison
		was, ok := v.poison[d.Slot()]
		if !ok || len(was) != len(now) || len(now) > 0 && &was[0] != &now[0] {
			return false
		}
	}
	return true
}

// consumed is a load of a byte that cannot be read. From then on the error is
// known.
func (v *VM) consumed(addr uint64, reported bool) {
	d, offset, ok := v.root.Locate(addr)
	if !ok {
		return
	}
	v.note(KindError, fmt.Sprintf("a load reads poison of %s", d.ID()))
	if s := d.Management(); len(s.Poison) > 0 {
		s.Poison = s.Poison.Discover(offset/firmware.LineSize*firmware.LineSize, firmware.LineSize)
	}
	if !reported && v.missed == "" {
		v.missed = fmt.Sprintf("it read poison at %#x, %#x in nvdimm %q, and its processor could not report it: machine checks are off, or one was being handled", addr, offset, d.ID())
	}
}

// endedBy adds to what a machine ended in that poison was the cause.
func (v *VM) endedBy(stop string) string {
	if v.missed == "" {
		return stop
	}
	return strings.Join([]string{stop, v.missed}, ": ")
}

package kvm

import (
	"errors"
	"fmt"
	"slices"

	"golang.org/x/sys/unix"

	"nvlab/vmm"
)

// pins is the number of I/O APIC pins whose ends of interrupt KVM reports.
const pins = 24

// Where KVM keeps what Intel processors without unrestricted guests need in
// real mode: four pages near the end of 4 GiB, where no machine has anything.
const (
	identityMapAddr = 0xfffb_c000
	tssAddr         = 0xfffb_d000
)

// required are the capabilities without which there is no engine.
var required = []struct {
	cap  uintptr
	name string
}{
	{capUserMemory, "KVM_CAP_USER_MEMORY"},
	{capExtCPUID, "KVM_CAP_EXT_CPUID"},
	{capMPState, "KVM_CAP_MP_STATE"},
	{capIRQRouting, "KVM_CAP_IRQ_ROUTING"},
	{capGetTSCKHz, "KVM_CAP_GET_TSC_KHZ"},
	{capTSCDeadline, "KVM_CAP_TSC_DEADLINE_TIMER"},
	{capSignalMSI, "KVM_CAP_SIGNAL_MSI"},
	{capReadOnlyMem, "KVM_CAP_READONLY_MEM"},
	{capEnableCapVM, "KVM_CAP_ENABLE_CAP_VM"},
	{capSplitIRQChip, "KVM_CAP_SPLIT_IRQCHIP"},
	{capImmediateExit, "KVM_CAP_IMMEDIATE_EXIT"},
}

// openDevice opens /dev/kvm and holds it to what the engine needs.
func openDevice(h host) (file, error) {
	fd, err := h.open()
	switch {
	case errors.Is(err, unix.ENOENT), errors.Is(err, unix.ENODEV), errors.Is(err, unix.ENXIO):
		return file{}, &unusable{"this host has no KVM: " + device, "load the module kvm_amd or kvm_intel; where this host is a virtual machine, it needs nested virtualisation", err}
	case errors.Is(err, unix.EACCES), errors.Is(err, unix.EPERM):
		return file{}, &unusable{"no permission to use KVM: " + device, "join the group that owns " + device + ", which is kvm as a rule, or be root", err}
	case err != nil:
		return file{}, &unusable{"KVM does not open: " + device, "", err}
	}
	f := file{h, fd}
	version, err := f.do(reqAPIVersion, 0)
	if err == nil && version != apiVersion {
		err = fmt.Errorf("interface version %d, want %d", version, apiVersion)
	}
	if err != nil {
		h.close(fd)
		return file{}, &unusable{device + " is not KVM", "", err}
	}
	for _, r := range required {
		if n, err := f.do(reqCheckExtension, r.cap); err != nil || n <= 0 {
			h.close(fd)
			return file{}, &unusable{"the host's KVM lacks " + r.name, "a newer kernel has it", err}
		}
	}
	return f, nil
}

// virtualMachine is KVM's: memory slots and interrupt routes, no processors.
type virtualMachine struct {
	file
	slots  []slot // by number; one that is free has no memory
	limit  int
	routes routes
	log    dirtyLogging
}

type slot struct {
	vmm.Region
	flags uint32
}

// newVM makes a machine without memory.
func newVM(dev file) (*virtualMachine, error) {
	fd, err := dev.do(reqCreateVM, 0)
	if err != nil {
		return nil, fmt.Errorf("KVM_CREATE_VM: %w", err)
	}
	m := &virtualMachine{file: file{dev.host, fd}, limit: 32}
	if n, err := dev.do(reqCheckExtension, capNrMemslots); err == nil && n > 0 {
		m.limit = n
	}
	m.log.clears = pass(m.file, reqEnableCap, &enableCap{cap: capClearDirtyLog, args: [4]uint64{1}}) == nil
	identity := uint64(identityMapAddr)
	if err := pass(m.file, reqSetIdentityMap, &identity); err != nil {
		err = fmt.Errorf("KVM_SET_IDENTITY_MAP_ADDR: %w", err)
		return nil, errors.Join(err, m.close())
	}
	if _, err := m.do(reqSetTSSAddr, tssAddr); err != nil {
		err = fmt.Errorf("KVM_SET_TSS_ADDR: %w", err)
		return nil, errors.Join(err, m.close())
	}
	return m, nil
}

// splitChip gives processors local APICs and leaves the I/O APIC to the
// machine. It comes before the first processor.
func (m *virtualMachine) splitChip() error {
	if err := pass(m.file, reqEnableCap, &enableCap{cap: capSplitIRQChip, args: [4]uint64{pins}}); err != nil {
		return fmt.Errorf("KVM_CAP_SPLIT_IRQCHIP: %w", err)
	}
	return nil
}

func (m *virtualMachine) close() error { return m.host.close(m.fd) }

// add puts memory into the lowest free slot.
func (m *virtualMachine) add(r vmm.Region) error {
	if at := address(r.Mem); at%4096 != 0 || len(r.Mem) == 0 || len(r.Mem)%4096 != 0 || r.Base%4096 != 0 {
		return fmt.Errorf("KVM maps whole pages of 4096 bytes: got %d bytes at %#x for guest-physical %#x", len(r.Mem), at, r.Base)
	}
	n := slices.IndexFunc(m.slots, func(s slot) bool { return s.Mem == nil })
	if n < 0 {
		n = len(m.slots)
	}
	if n >= m.limit {
		return fmt.Errorf("the host's KVM has %d memory slots, and all are taken", m.limit)
	}
	s := slot{Region: r, flags: m.flags(r)}
	if err := m.set(n, s); err != nil {
		return fmt.Errorf("KVM takes no memory slot of %d MiB: %w", len(r.Mem)>>20, err)
	}
	if n == len(m.slots) {
		m.slots = append(m.slots, s)
	} else {
		m.slots[n] = s
	}
	return nil
}

// flags are those of a slot for a region.
func (m *virtualMachine) flags(r vmm.Region) uint32 {
	switch {
	case r.ReadOnly, r.Observed:
		return memReadOnly
	case r.Dirty != nil && (m.log.all || !r.DirtyLater):
		return memLogDirty
	}
	return 0
}

// set makes a slot what s says; one without memory takes it away.
func (m *virtualMachine) set(n int, s slot) error {
	r := memoryRegion{slot: uint32(n), flags: s.flags, guest: s.Base, size: uint64(len(s.Mem))}
	if len(s.Mem) > 0 {
		r.mem = address(s.Mem)
	}
	return pass(m.file, reqSetMemory, &r)
}

// at is the number of the slot that starts at base, or -1.
func (m *virtualMachine) at(base uint64) int {
	return slices.IndexFunc(m.slots, func(s slot) bool { return s.Mem != nil && s.Base == base })
}

// remove takes away the memory that starts at base.
func (m *virtualMachine) remove(base uint64) error {
	n := m.at(base)
	if n < 0 {
		return fmt.Errorf("no memory starts at %#x", base)
	}
	if err := m.set(n, slot{Region: vmm.Region{Base: base}}); err != nil {
		return fmt.Errorf("KVM keeps its memory slot: %w", err)
	}
	m.slots[n] = slot{}
	return nil
}

// find is the memory that holds an address.
func (m *virtualMachine) find(addr uint64) (slot, bool) {
	for _, s := range m.slots {
		if addr >= s.Base && addr-s.Base < uint64(len(s.Mem)) {
			return s, true
		}
	}
	return slot{}, false
}

// write stores to a slot's memory in KVM's stead.
func (s slot) write(addr uint64, data []byte) {
	if s.Dirty != nil {
		s.Dirty.AddRange(addr-s.Base, uint64(min(len(data), len(s.Mem)-int(addr-s.Base))))
	}
	copy(s.Mem[addr-s.Base:], data)
}

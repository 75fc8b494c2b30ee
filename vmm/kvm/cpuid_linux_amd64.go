package kvm

import (
	"fmt"

	"nvlab/vmm"
)

// supported asks what processors KVM can present here.
func supported(dev file) (*cpuidEntries, error) {
	t := &cpuidEntries{n: maxCPUIDEntries}
	if err := pass(dev, reqSupportedCPUID, t); err != nil {
		return nil, fmt.Errorf("KVM_GET_SUPPORTED_CPUID: %w", err)
	}
	return t, nil
}

func (t *cpuidEntries) lookup(leaf, subleaf uint32) (e cpuidEntry) {
	for _, e := range t.entries[:min(t.n, maxCPUIDEntries)] {
		if e.leaf == leaf && (e.subleaf == subleaf || e.flags&cpuidSignificant == 0) {
			return e
		}
	}
	return e
}

// Features that KVM makes itself, whether or not it lists them: that there is
// a hypervisor, and the local APIC with its TSC deadline.
const (
	ownECX = 1<<31 | 1<<24
	ownEDX = 1 << 9
)

// processorModel is the machine's processor as this host can present it.
func processorModel(host *cpuidEntries, id int) *cpuidEntries {
	model := &cpuidEntries{}
	for _, e := range vmm.CPUIDModel() {
		h := host.lookup(e.Leaf, e.Subleaf)
		out := cpuidEntry{leaf: e.Leaf, subleaf: e.Subleaf, eax: e.EAX, ebx: e.EBX, ecx: e.ECX, edx: e.EDX}
		switch e.Leaf {
		case 1:
			out.ebx |= uint32(id) << 24
			out.ecx &= h.ecx | ownECX
			out.edx &= h.edx | ownEDX
		case 7:
			out.flags = cpuidSignificant
			out.ebx &= h.ebx
			out.ecx &= h.ecx
			out.edx &= h.edx
		case 0x8000_0001:
			out.ecx &= h.ecx
			out.edx &= h.edx | ownEDX
		}
		model.entries[model.n] = out
		model.n++
	}
	return model
}

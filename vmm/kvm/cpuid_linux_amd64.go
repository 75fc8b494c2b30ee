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
// a hypervisor, and the local APIC with its TSC deadline. That a package has
// several cores is nothing that KVM does.
const (
	ownECX         = 1<<31 | 1<<24
	ownEDX         = 1<<28 | 1<<9
	ownExtendedECX = 1 << 1
	ownExtendedEDX = 1 << 9
)

// Leaves that tell a guest of KVM (Documentation/virt/kvm/x86/cpuid.rst).
const (
	leafSignature = 0x4000_0000
	leafFeatures  = 0x4000_0001

	featureClock       = 1 << 3  // MSRs of the paravirtual clock
	featureStableClock = 1 << 24 // which is one for all processors
)

// processorModel is the machine's processor as this host can present it, with
// KVM's clock or without, in a package of n cores.
func processorModel(host *cpuidEntries, n, physBits int, clock bool) *cpuidEntries {
	model := &cpuidEntries{}
	add := func(e cpuidEntry) {
		model.entries[model.n] = e
		model.n++
	}
	for _, e := range vmm.CPUIDModel().WithCores(n).WithPhysBits(physBits) {
		h := host.lookup(e.Leaf, e.Subleaf)
		out := cpuidEntry{leaf: e.Leaf, subleaf: e.Subleaf, eax: e.EAX, ebx: e.EBX, ecx: e.ECX, edx: e.EDX}
		switch e.Leaf {
		case 1:
			out.ecx &= h.ecx | ownECX
			out.edx &= h.edx | ownEDX
		case 7:
			out.flags = cpuidSignificant
			out.ebx &= h.ebx
			out.ecx &= h.ecx
			out.edx &= h.edx
		case 0x8000_0001:
			out.ecx &= h.ecx | ownExtendedECX
			out.edx &= h.edx | ownExtendedEDX
		}
		add(out)
	}
	if clock {
		features := host.lookup(leafFeatures, 0).eax & (featureClock | featureStableClock)
		add(cpuidEntry{leaf: leafSignature, eax: leafFeatures, ebx: 0x4b4d564b, ecx: 0x564b4d56, edx: 0x4d}) // KVMKVMKVM
		add(cpuidEntry{leaf: leafFeatures, eax: features})
	}
	return model
}

// of is the model with the APIC id of one processor.
func (t cpuidEntries) of(id int) *cpuidEntries {
	for i := range t.entries[:t.n] {
		if t.entries[i].leaf == 1 {
			t.entries[i].ebx |= uint32(id) << 24
		}
	}
	return &t
}

package vmm

import (
	"math/bits"
	"slices"
)

// CPUIDEntry is what CPUID returns for one leaf and subleaf.
type CPUIDEntry struct {
	Leaf, Subleaf      uint32
	EAX, EBX, ECX, EDX uint32
}

// CPUIDTable is a processor model, in the order of leaves and subleaves.
type CPUIDTable []CPUIDEntry

// Lookup returns the entry of a leaf: a leaf above the highest of its range
// reads as the highest basic leaf does, one that is absent as zeros.
func (t CPUIDTable) Lookup(leaf, subleaf uint32) CPUIDEntry {
	const (
		hypervisor = 0x40000000
		extended   = 0x80000000
	)
	if leaf>>28 == hypervisor>>28 {
		return CPUIDEntry{Leaf: leaf, Subleaf: subleaf} // no interface of one
	}
	if leaf&extended == 0 && leaf > cpuidMaxBasic || leaf&extended != 0 && leaf > cpuidMaxExtended {
		leaf, subleaf = cpuidMaxBasic, 0
	}
	for _, e := range t {
		if e.Leaf == leaf && (e.Subleaf == subleaf || !cpuidSubleaves(leaf)) {
			return e
		}
	}
	return CPUIDEntry{Leaf: leaf, Subleaf: subleaf}
}

// cpuidSubleaves says which leaves take a subleaf in ECX.
func cpuidSubleaves(leaf uint32) bool { return leaf == 7 }

const (
	cpuidMaxBasic    = 7
	cpuidMaxExtended = 0x80000008
)

// Features of leaf 1 (Intel SDM 2, "CPUID", tables 3-10 and 3-11).
const (
	cpuidCX16        = 1 << 13 // ECX
	cpuidTSCDeadline = 1 << 24
	cpuidRDRAND      = 1 << 30
	cpuidHypervisor  = 1 << 31

	cpuidFPU     = 1 << 0 // EDX
	cpuidDE      = 1 << 2
	cpuidPSE     = 1 << 3
	cpuidTSC     = 1 << 4
	cpuidMSR     = 1 << 5
	cpuidPAE     = 1 << 6
	cpuidMCE     = 1 << 7
	cpuidCX8     = 1 << 8
	cpuidAPIC    = 1 << 9
	cpuidMTRR    = 1 << 12
	cpuidPGE     = 1 << 13
	cpuidMCA     = 1 << 14
	cpuidCMOV    = 1 << 15
	cpuidPAT     = 1 << 16
	cpuidPSE36   = 1 << 17
	cpuidCLFLUSH = 1 << 19
	cpuidMMX     = 1 << 23
	cpuidFXSR    = 1 << 24
	cpuidSSE     = 1 << 25
	cpuidSSE2    = 1 << 26
	cpuidHTT     = 1 << 28
)

// Features of leaf 7.
const (
	cpuidSMEP       = 1 << 7 // EBX
	cpuidSMAP       = 1 << 20
	cpuidERMS       = 1 << 9
	cpuidCLFLUSHOPT = 1 << 23
	cpuidCLWB       = 1 << 24

	cpuidUMIP = 1 << 2 // ECX

	cpuidFSRM = 1 << 4 // EDX
)

// Features of leaf 80000001h (AMD64 Architecture Programmer's Manual 3,
// appendix E.4).
const (
	cpuidLAHF      = 1 << 0 // ECX
	cpuidCmpLegacy = 1 << 1

	cpuidSyscall = 1 << 11 // EDX
	cpuidNX      = 1 << 20
	cpuidPage1GB = 1 << 26
	cpuidRDTSCP  = 1 << 27
	cpuidLM      = 1 << 29
)

// cpuidSUCCOR is EBX of leaf 80000007h: software can contain uncorrected errors
// and recover from them (AMD64 APM 3, appendix E.4).
const cpuidSUCCOR = 1 << 1

// CPUIDModel is the processor that every engine presents: the x86-64
// baseline, and little more. The vendor and family are those of the first
// 64-bit processors, for which kernels have the fewest workarounds. What stores
// and flushes promise goes by them: see rules R9 and R11 of nvdimm/persist.
//
// Leaf 1's EBX lacks the APIC id in bits 31:24, which the engine adds.
func CPUIDModel() CPUIDTable {
	const features = cpuidFPU | cpuidDE | cpuidPSE | cpuidTSC | cpuidMSR | cpuidPAE | cpuidCX8 |
		cpuidAPIC | cpuidMTRR | cpuidPGE | cpuidCMOV | cpuidPAT | cpuidPSE36 | cpuidCLFLUSH |
		cpuidMMX | cpuidFXSR | cpuidSSE | cpuidSSE2
	// EDX of leaf 80000001h repeats these bits of leaf 1.
	const repeated = 0x0183f3ff
	name := cpuidString("nvlab processor", 48)
	return CPUIDTable{
		{Leaf: 0, EAX: cpuidMaxBasic, EBX: 0x68747541, EDX: 0x69746e65, ECX: 0x444d4163}, // AuthenticAMD
		{
			Leaf: 1,
			EAX:  0x00020f10,   // family 15, model 33, stepping 0
			EBX:  8<<8 | 1<<16, // CLFLUSH lines of 8*8 bytes, 1 logical processor
			ECX:  cpuidCX16 | cpuidTSCDeadline | cpuidRDRAND | cpuidHypervisor,
			EDX:  features,
		},
		{Leaf: 6, EAX: 1 << 2}, // the APIC timer always runs
		{Leaf: 7, Subleaf: 0, EBX: cpuidSMEP | cpuidSMAP | cpuidERMS | cpuidCLFLUSHOPT | cpuidCLWB, ECX: cpuidUMIP, EDX: cpuidFSRM},
		{Leaf: 0x80000000, EAX: cpuidMaxExtended, EBX: 0x68747541, EDX: 0x69746e65, ECX: 0x444d4163},
		{
			Leaf: 0x80000001, EAX: 0x00020f10, ECX: cpuidLAHF,
			EDX: features&repeated | cpuidSyscall | cpuidNX | cpuidPage1GB | cpuidRDTSCP | cpuidLM,
		},
		{Leaf: 0x80000002, EAX: name[0], EBX: name[1], ECX: name[2], EDX: name[3]},
		{Leaf: 0x80000003, EAX: name[4], EBX: name[5], ECX: name[6], EDX: name[7]},
		{Leaf: 0x80000004, EAX: name[8], EBX: name[9], ECX: name[10], EDX: name[11]},
		// L1 64 KiB, 2 ways, 64-byte lines; L2 1 MiB, 16 ways.
		{Leaf: 0x80000005, EAX: 0xff08ff08, EBX: 0xff20ff20, ECX: 0x40020140, EDX: 0x40020140},
		{Leaf: 0x80000006, EBX: 0x42004200, ECX: 0x04008140},
		{Leaf: 0x80000007, EDX: 1 << 8},                  // invariant TSC
		{Leaf: 0x80000008, EAX: 48<<8 | DefaultPhysBits}, // linear and physical address bits
	}
}

// WithMachineCheck is the model with the machine-check architecture.
func (t CPUIDTable) WithMachineCheck() CPUIDTable {
	t = slices.Clone(t)
	for i := range t {
		switch e := &t[i]; e.Leaf {
		case 1, 0x80000001:
			e.EDX |= cpuidMCE | cpuidMCA
		case 0x80000007:
			e.EBX |= cpuidSUCCOR
		}
	}
	return t
}

// WithCores is the model in packages of n cores each, the first with APIC ids from
// 0 on. Of more than one package n is a power of two: the APIC id divided by it
// is the package.
func (t CPUIDTable) WithCores(n int) CPUIDTable {
	if n == 1 {
		return t
	}
	t = slices.Clone(t)
	for i := range t {
		switch e := &t[i]; e.Leaf {
		case 1:
			e.EBX = e.EBX&^0xff0000 | uint32(n)<<16
			e.EDX |= cpuidHTT
		case 0x80000001:
			e.ECX |= cpuidCmpLegacy
		case 0x80000008:
			e.ECX = uint32(bits.Len(uint(n-1)))<<12 | uint32(n-1)
		}
	}
	return t
}

// WithPhysBits is the model with that many physical address bits.
func (t CPUIDTable) WithPhysBits(n int) CPUIDTable {
	t = slices.Clone(t)
	for i := range t {
		if t[i].Leaf == 0x80000008 {
			t[i].EAX = t[i].EAX&^0xff | uint32(n)
		}
	}
	return t
}

// cpuidString packs text, padded with zeros, into registers.
func cpuidString(s string, n int) []uint32 {
	words := make([]uint32, n/4)
	for i := range s {
		words[i/4] |= uint32(s[i]) << (8 * (i % 4))
	}
	return words
}

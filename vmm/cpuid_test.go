package vmm

import "testing"

func TestCPUIDLookup(t *testing.T) {
	table := CPUIDModel()
	for _, tt := range []struct {
		name          string
		leaf, subleaf uint32
		like          uint32 // the leaf whose answer it is; ^0 for zeros
	}{
		{"a basic leaf", 1, 0, 1},
		{"a leaf without subleaves, at any", 1, 9, 1},
		{"above the basic leaves", 0x20, 0, 7},
		{"above the extended leaves", 0x80000020, 0, 7},
		{"an absent leaf", 4, 0, ^uint32(0)},
		{"an absent subleaf", 7, 1, ^uint32(0)},
		{"the hypervisor's leaves", 0x40000000, 0, ^uint32(0)},
	} {
		got := table.Lookup(tt.leaf, tt.subleaf)
		var want CPUIDEntry
		for _, e := range table {
			if e.Leaf == tt.like {
				want = e
			}
		}
		if got.EAX != want.EAX || got.EBX != want.EBX || got.ECX != want.ECX || got.EDX != want.EDX {
			t.Errorf("Lookup(%#x, %d), %s = %x, want %x", tt.leaf, tt.subleaf, tt.name, got, want)
		}
	}
}

// TestCPUIDCores: the package of a CPU is its APIC id without as many bits as leaf
// 80000008h says (AMD64 APM 3, E.4.7).
func TestCPUIDCores(t *testing.T) {
	for _, tt := range []struct{ cores, bits uint32 }{{1, 0}, {2, 1}, {3, 2}, {4, 2}, {8, 3}} {
		table := CPUIDModel().WithCores(int(tt.cores))
		size, features := table.Lookup(0x80000008, 0).ECX, table.Lookup(1, 0)
		if size>>12&15 != tt.bits || size&0xff != tt.cores-1 || features.EBX>>16&0xff != tt.cores || features.EDX&cpuidHTT != 0 != (tt.cores > 1) {
			t.Errorf("packages of %d cores: leaf 80000008h has ECX %#x, leaf 1 EBX %#x and EDX %#x", tt.cores, size, features.EBX, features.EDX)
		}
	}
}

// TestCPUIDBaseline checks for what x86-64-v1 takes (x86-64 psABI, table 3.1).
func TestCPUIDBaseline(t *testing.T) {
	e := CPUIDModel().Lookup(1, 0)
	const need = cpuidFPU | cpuidCX8 | cpuidCMOV | cpuidMMX | cpuidFXSR | cpuidSSE | cpuidSSE2
	if e.EDX&need != need {
		t.Errorf("leaf 1 has EDX %#x, which lacks %#x of the baseline", e.EDX, need&^e.EDX)
	}
	if x := CPUIDModel().Lookup(0x80000001, 0); x.EDX&(cpuidSyscall|cpuidLM) != cpuidSyscall|cpuidLM {
		t.Errorf("leaf 80000001h has EDX %#x, without SYSCALL or long mode", x.EDX)
	}
}

package kvm

import "unsafe"

// A constant that is negative does not fit its type, so a structure of another
// size than KVM's does not compile.
const (
	_ = -uint(unsafe.Sizeof(memoryRegion{}) ^ 32)
	_ = -uint(unsafe.Sizeof(dirtyLog{}) ^ 16)
	_ = -uint(unsafe.Sizeof(clearDirtyLog{}) ^ 24)
	_ = -uint(unsafe.Offsetof(msrIndexList{}.index) ^ 4)
	_ = -uint(unsafe.Sizeof(enableCap{}) ^ 104)
	_ = -uint(unsafe.Sizeof(msi{}) ^ 32)
	_ = -uint(unsafe.Sizeof(routingEntry{}) ^ 48)
	_ = -uint(unsafe.Offsetof(routes{}.entries) ^ 8)
	_ = -uint(unsafe.Sizeof(cpuidEntry{}) ^ 40)
	_ = -uint(unsafe.Offsetof(cpuidEntries{}.entries) ^ 8)
	_ = -uint(unsafe.Sizeof(msrEntry{}) ^ 16)
	_ = -uint(unsafe.Offsetof(msrEntries{}.entries) ^ 8)
	_ = -uint(unsafe.Sizeof(clockData{}) ^ 48)
	_ = -uint(unsafe.Sizeof(msrFilter{}) ^ 392)
	_ = -uint(unsafe.Sizeof(registers{}) ^ 144)
	_ = -uint(unsafe.Sizeof(segment{}) ^ 24)
	_ = -uint(unsafe.Sizeof(table{}) ^ 16)
	_ = -uint(unsafe.Sizeof(specialRegisters{}) ^ 312)
	_ = -uint(unsafe.Sizeof(deviceAttr{}) ^ 24)
	_ = -uint(unsafe.Offsetof(runArea{}.reason) ^ 8)
	_ = -uint(unsafe.Offsetof(runArea{}.exit) ^ 32)
	_ = -uint(unsafe.Sizeof(runArea{}) ^ 288)
)

package vmm

import (
	"cmp"
	"fmt"

	"nvlab/vmm/boot"
)

// The guest-physical address map.
//
//	0         ... LowEnd      RAM, at most 3 GiB; its top holds the two areas below
//	LowEnd-1 MiB-64 KiB       ACPI tables
//	LowEnd-64 KiB             reserved RAM, for mailboxes between AML and devices
//	LowEnd-32 KiB             reserved RAM, for CPUs that wait for their start
//	3 GiB     ... 4 GiB       devices: of a PCI bus the first 256 MiB, see pci.go
//	4 GiB     ... HighEnd     RAM that is left
//	DeviceMemory ...          NVDIMMs and other memory devices
const (
	lowLimit     = 3 << 30
	highBase     = 4 << 30
	acpiSize     = 1 << 20
	reservedSize = 64 << 10

	virtioBase = 0xd000_0000 // a page per device
	virtioStep = 0x1000
	othersBase = 0xd800_0000
	othersSize = 64 << 20
	ioapicBase = 0xfec0_0000 // Intel 82093AA
	lapicBase  = 0xfee0_0000 // Intel SDM 3A, 11.4.1; inside the engine

	minMemory = 32 << 20 // of Config.Memory
)

// Bounds of Config.PhysBits, MAXPHYADDR that CPUID tells: what the first 64-bit
// processors had, what Linux with four levels of page tables uses being 46, and
// what page tables have room for (SDM 3A, 4.1.4).
const (
	MinPhysBits     = 36
	DefaultPhysBits = 40
	MaxPhysBits     = 52
)

// I/O ports. All others read as all ones.
const (
	portSleepControl = 0x600 // ACPI 6.5, 4.8.3.7, 1 byte
	portSleepStatus  = 0x601 // 1 byte
	portReset        = 0x602 // 1 byte
	portEvents       = 0x604 // pending events, 4 bytes, cleared by a read
	portSerial       = 0x3f8 // COM1
	portRTC          = 0x070

	resetValue = 0x01
)

// Interrupt pins of the I/O APIC.
const (
	pinSerial = 4
	pinEvents = 9
	pinVirtio = 16 // and the next for the next device, see virtioPin
)

// A Range is a part of the guest-physical address space.
type Range struct{ Base, Size uint64 }

// End is the first address behind r.
func (r Range) End() uint64 { return r.Base + r.Size }

func (r Range) String() string { return fmt.Sprintf("%#x-%#x", r.Base, r.End()-1) }

// Layout is where a machine has its memory.
type Layout struct {
	Low      Range // RAM from 0
	High     Range // RAM from 4 GiB; empty up to 3 GiB of memory
	ACPI     Range // within Low: the ACPI tables
	Reserved Range // within Low: kept from the kernel, for mailboxes
	Parking  Range // within Low: kept from the kernel, see placeParking
	Devices  Range // below 4 GiB: for devices of others, see AddMMIO

	// DeviceMemory is the first address for memory devices: the end of RAM,
	// at least 4 GiB, rounded up to 1 GiB.
	DeviceMemory uint64
	AddressLimit uint64 // the end of what a CPU can address
}

// NewLayout lays out a machine with that many bytes of RAM, and of physical
// address bits; 0 is DefaultPhysBits.
func NewLayout(memory uint64, physBits int) Layout {
	low := min(memory, lowLimit)
	high := memory - low
	return Layout{
		Low:          Range{0, low},
		High:         Range{highBase, high},
		ACPI:         Range{low - reservedSize - acpiSize, acpiSize},
		Reserved:     Range{low - reservedSize, reservedSize - parkingSize},
		Parking:      Range{low - parkingSize, parkingSize},
		Devices:      Range{othersBase, othersSize},
		AddressLimit: 1 << cmp.Or(physBits, DefaultPhysBits),
		DeviceMemory: (highBase + high + 1<<30 - 1) &^ (1<<30 - 1),
	}
}

// memory is the size of RAM, without what is in slots.
func (l Layout) memory() uint64 { return l.Low.Size + l.High.Size }

// ram is where there is RAM, without what is in slots.
func (l Layout) ram() []Range {
	if l.High.Size == 0 {
		return []Range{l.Low}
	}
	return []Range{l.Low, l.High}
}

// e820 is the memory map as the kernel is given it. The 384 KiB below 1 MiB
// that hold video memory and ROMs on a PC are left out.
func (l Layout) e820() []boot.Range {
	m := []boot.Range{
		{Base: 0, Size: 0xa0000, Type: boot.Usable},
		{Base: 1 << 20, Size: l.ACPI.Base - 1<<20, Type: boot.Usable},
		{Base: l.ACPI.Base, Size: l.ACPI.Size, Type: boot.ACPIData},
		{Base: l.Reserved.Base, Size: l.Reserved.Size + l.Parking.Size, Type: boot.Reserved},
	}
	if l.High.Size > 0 {
		m = append(m, boot.Range{Base: l.High.Base, Size: l.High.Size, Type: boot.Usable})
	}
	return m
}

// CheckMemory refuses sizes of RAM, and numbers of physical address bits, that
// no machine has. What of RAM lies above 4 GiB ends within the addresses.
func CheckMemory(n uint64, physBits int) error {
	if physBits != 0 && (physBits < MinPhysBits || physBits > MaxPhysBits) {
		return fmt.Errorf("%d physical address bits: want %d to %d", physBits, MinPhysBits, MaxPhysBits)
	}
	maxMemory := NewLayout(0, physBits).AddressLimit - (highBase - lowLimit)
	if n < minMemory || n > maxMemory || n%(1<<20) != 0 {
		nearest := min(max(n>>20, minMemory>>20), maxMemory>>20)
		return fmt.Errorf("memory of %d bytes: want a multiple of 1 MiB from %d MiB to %d GiB: the nearest is %d MiB", n, minMemory>>20, maxMemory>>30, nearest)
	}
	return nil
}

// virtioDevices is the number of virtio-mmio devices that every machine has:
// channel and entropy.
const virtioDevices = 2

// MaxPMEM is how many virtio-pmem devices a machine has at most.
const MaxPMEM = 8

// virtioPin is the pin of a virtio-mmio device: up to 19, where those of PCI
// begin, and then those that ISA devices have elsewhere.
func virtioPin(i int) int {
	if i < pinPCI-pinVirtio {
		return pinVirtio + i
	}
	return pinEvents + 1 + i - (pinPCI - pinVirtio)
}

package vmm

import (
	"encoding/binary"

	"nvlab/vmm/boot"
)

// Where Layout.Parking has what: the mailbox of ACPI's multiprocessor wakeup
// structure, whose second half is for firmware and holds the GDT and the code
// at the reset vector; and the page tables of the CPUs that wait.
const (
	parkingSize   = 32 << 10
	parkingGDT    = 0x800
	parkingReset  = 0x900
	parkingTables = 0x1000
)

// parkAgain is the code at the reset vector: an INIT to itself parks a CPU.
func parkAgain(cr3 uint32) []byte {
	code := binary.LittleEndian.AppendUint32([]byte{0xb8}, cr3) // mov eax, cr3
	return append(code,
		0x0f, 0x22, 0xd8, // mov cr3, rax
		0xb8, 0x20, 0x00, 0xe0, 0xfe, // mov eax, 0xfee00020: APIC id
		0x8b, 0x08, // mov ecx, [rax]
		0x89, 0x88, 0xf0, 0x02, 0x00, 0x00, // mov [rax+0x2f0], ecx: ICR, destination
		0xc7, 0x80, 0xe0, 0x02, 0x00, 0x00, 0x00, 0x45, 0x00, 0x00, // mov dword [rax+0x2e0], 0x4500: ICR, INIT
		0xf4) // hlt
}

// startsByMailbox says whether an engine's CPUs start by a mailbox, for want of
// the real mode in which INIT and SIPI start them.
func startsByMailbox(e Engine) bool {
	s, ok := e.(interface{ StartsByMailbox() bool })
	return ok && s.StartsByMailbox()
}

// parking is where CPUs beyond the first wait; the zero value if they start by
// INIT and SIPI.
func (m *Machine) parking() Parking {
	if !m.mail {
		return Parking{}
	}
	at := m.layout.Parking.Base
	return Parking{Mailbox: at, CR3: at + parkingTables, GDT: at + parkingGDT, GDTLimit: boot.GDTLimit}
}

// placeParking writes what those CPUs need while they wait.
func (m *Machine) placeParking() {
	if !m.mail {
		return
	}
	at := m.layout.Parking.Base
	low := m.ram.low()
	boot.PlacePageTables(low, at+parkingTables)
	boot.PlaceGDT(low, at+parkingGDT)
	copy(low[at+parkingReset:], parkAgain(uint32(at+parkingTables)))
}

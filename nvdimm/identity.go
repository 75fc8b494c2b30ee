package nvdimm

import (
	"errors"
	"fmt"
	"strings"
)

// Identity is what the NFIT says of a DIMM's make and place. A nil field is
// what QEMU gives the DIMM of that slot (hw/acpi/nvdimm.c).
type Identity struct {
	Vendor     *uint16 // JEDEC code, 0x8086
	Device     *uint16 // 1
	Revision   *uint16 // 1
	Serial     *uint32 // 0x123456 + slot
	Handle     *uint32 // slot + 1; only of a machine that is off
	PhysicalID *uint16 // SMBIOS handle, 0
}

const (
	vendorID   = 0x8086
	deviceID   = 1
	revisionID = 1
	serialBase = 0x123456
)

// maxHandle: bits 31 to 28 of a handle are reserved (ACPI 6.5 section
// 9.20.3.1).
const maxHandle = 1<<28 - 1

// identity is an Identity with nothing left open.
type identity struct {
	Vendor, Device, Revision uint16
	Serial, Handle           uint32
	PhysicalID               uint16
}

// of completes the identity of a DIMM in a slot.
func (id Identity) of(slot int) identity {
	return identity{
		Vendor: or(id.Vendor, vendorID), Device: or(id.Device, deviceID), Revision: or(id.Revision, revisionID),
		Serial: or(id.Serial, serialBase+uint32(slot)), Handle: or(id.Handle, uint32(slot)+1), PhysicalID: or(id.PhysicalID, 0),
	}
}

func or[T any](p *T, value T) T {
	if p != nil {
		return *p
	}
	return value
}

// checkIdentity says whether a DIMM of that slot can have that identity. The
// handle is the _ADR of an ACPI device, and a running guest knows those of
// the slots only.
func (r *Root) checkIdentity(id Identity, slot int, running bool) error {
	if id.Handle == nil {
		return nil
	}
	handle := *id.Handle
	switch {
	case handle == uint32(slot)+1:
		return nil
	case handle == RootHandle || handle > maxHandle:
		return fmt.Errorf("handle=%#x: an NFIT device handle is 1 to %#x", handle, maxHandle)
	case handle == FITHandle:
		return fmt.Errorf("handle=%#x is what _FIT itself uses to talk to nvlab: take another", handle)
	case int(handle) <= r.config.Slots:
		return fmt.Errorf("handle=%#x is that of slot %d: a DIMM of slot %d has %#x, or one above %#x", handle, handle-1, slot, slot+1, r.config.Slots)
	case running:
		return fmt.Errorf("handle=%#x: a running guest knows the handles of its slots only, %#x for slot %d: plug before boot", handle, slot+1, slot)
	}
	for _, d := range r.dimms {
		if d.Handle() == handle {
			return fmt.Errorf("handle=%#x is that of DIMM %s", handle, d.id)
		}
	}
	return nil
}

// handle is the NFIT handle of a slot, plugged or not.
func (r *Root) handle(slot int) uint32 {
	for _, d := range r.dimms {
		if d.slot == slot {
			return d.Handle()
		}
	}
	return uint32(slot) + 1
}

// checkUUID takes what QEMU's property takes: 8-4-4-4-12 hexadecimal digits.
func checkUUID(uuid string) error {
	if uuid == "" {
		return nil
	}
	invalid := fmt.Errorf("uuid=%q: Property 'nvdimm.uuid' has invalid value: %w", uuid, errUUID)
	for i, group := range strings.Split(uuid, "-") {
		if i >= len(uuidGroups) || len(group) != uuidGroups[i] || strings.Trim(group, "0123456789abcdefABCDEF") != "" {
			return invalid
		}
	}
	if strings.Count(uuid, "-") != len(uuidGroups)-1 {
		return invalid
	}
	return nil
}

var (
	uuidGroups = [...]int{8, 4, 4, 4, 12}
	errUUID    = errors.New("want hexadecimal digits as in 66f0d379-b4f3-4074-ac43-0d3318b78cdb")
)

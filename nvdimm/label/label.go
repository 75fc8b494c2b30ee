package label

import (
	"bytes"
	"encoding/binary"
	"fmt"

	"nvlab/acpi/guid"
)

// Label is one slot (UEFI 2.10 section 13.19.2, EFI_NVDIMM_LABEL; Linux
// drivers/nvdimm/label.h for version 1.1). Fields marked 1.2 are zero in
// version 1.1, which does not have them.
type Label struct {
	Slot            int       // where it stands
	UUID            UUID      // at 0
	Name            string    // 64 bytes at 16, up to the first NUL
	Flags           uint32    // at 80, see Flag
	NLabel          uint16    // at 84: labels of the namespace, over all DIMMs
	Position        uint16    // at 86: of this one among them
	ISetCookie      uint64    // at 88
	LBASize         uint64    // at 96: 512 or 4096 of a sector namespace, else 0
	DPA             uint64    // at 104: where the extent starts on the DIMM
	RawSize         uint64    // at 112: of the extent
	OwnSlot         uint32    // at 120: the slot that the label says it is in
	Align           uint8     // at 124, 1.2: as a power of two
	TypeGUID        guid.GUID // at 128, 1.2
	AbstractionGUID guid.GUID // at 144, 1.2
	Checksum        uint64    // at 248, 1.2

	Valid bool
	Why   string // why not
}

// Flags of a label.
const (
	FlagReadOnly uint32 = 1 << iota
	FlagLocal           // not interleaved
	FlagBTT             // 1.1 only
	FlagUpdating        // a namespace half written
)

var flagNames = []string{"read-only", "local", "btt", "updating"}

const nameSize = 64

// parseLabel reads a slot and judges it as Linux does (label.c, slot_valid),
// but for one: Linux takes zeros in slot 0 for a label, and then fails to
// probe the DIMM.
func parseLabel(area []byte, g Geometry, slot int) Label {
	at := g.LabelOffset(slot)
	p := area[at : at+g.Version.LabelSize()]
	le := binary.LittleEndian
	l := Label{
		Slot:       slot,
		UUID:       UUID(p[:16]),
		Flags:      le.Uint32(p[80:]),
		NLabel:     le.Uint16(p[84:]),
		Position:   le.Uint16(p[86:]),
		ISetCookie: le.Uint64(p[88:]),
		LBASize:    le.Uint64(p[96:]),
		DPA:        le.Uint64(p[104:]),
		RawSize:    le.Uint64(p[112:]),
		OwnSlot:    le.Uint32(p[120:]),
	}
	name, _, _ := bytes.Cut(p[16:16+nameSize], []byte{0})
	l.Name = string(name)
	if g.Version == V12 {
		l.Align = p[124]
		l.TypeGUID = guid.GUID(p[128:144])
		l.AbstractionGUID = guid.GUID(p[144:160])
		l.Checksum = le.Uint64(p[248:])
	}
	switch {
	case allZero(p):
		l.Why = "all bytes are zero"
	case l.OwnSlot != uint32(slot):
		l.Why = fmt.Sprintf("it says that it is in slot %d", l.OwnSlot)
	case g.Version == V12:
		if sum := ChecksumOf(p, 248); sum != l.Checksum {
			l.Why = fmt.Sprintf("checksum is %#016x, the label sums to %#016x", l.Checksum, sum)
		}
	}
	l.Valid = l.Why == ""
	return l
}

// Encode gives the bytes of a label for slot l.Slot, with its slot field and
// checksum computed. An error says that a field does not fit.
func (l *Label) Encode(v Version) ([]byte, error) {
	if len(l.Name) > nameSize-1 {
		return nil, fmt.Errorf("namespace name %q has %d bytes: at most %d fit", l.Name, len(l.Name), nameSize-1)
	}
	if l.Slot < 0 {
		return nil, fmt.Errorf("label slot %d is negative", l.Slot)
	}
	p := make([]byte, v.LabelSize())
	copy(p, l.UUID[:])
	copy(p[16:], l.Name)
	le := binary.LittleEndian
	le.PutUint32(p[80:], l.Flags)
	le.PutUint16(p[84:], l.NLabel)
	le.PutUint16(p[86:], l.Position)
	le.PutUint64(p[88:], l.ISetCookie)
	le.PutUint64(p[96:], l.LBASize)
	le.PutUint64(p[104:], l.DPA)
	le.PutUint64(p[112:], l.RawSize)
	le.PutUint32(p[120:], uint32(l.Slot))
	if v == V12 {
		p[124] = l.Align
		copy(p[128:], l.TypeGUID[:])
		copy(p[144:], l.AbstractionGUID[:])
		le.PutUint64(p[248:], Fletcher64(p))
	}
	return p, nil
}

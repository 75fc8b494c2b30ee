package acpi

// SRAT is the system resource affinity table, revision 3 (section 5.2.16).
type SRAT struct {
	Header
	Entries []SRATEntry // offset 48
}

// SRATEntry is an affinity structure: *ProcessorAffinity, *MemoryAffinity,
// *X2APICAffinity or *UnknownEntry.
type SRATEntry interface {
	entry
	srat()
}

// Encode gives the finished table.
func (t SRAT) Encode() []byte { return encodeTable(t.Header, "SRAT", 3, (*sratBody)(&t)) }

// ParseSRAT decodes a SRAT.
func ParseSRAT(b []byte) (SRAT, error) {
	var t SRAT
	err := parseTable(b, "SRAT", &t.Header, (*sratBody)(&t))
	return t, err
}

type sratBody SRAT

func (t *sratBody) visit(c *codec) {
	one := uint32(1) // offset 36: reserved, 1 for backward compatibility
	num(c, "Table Revision", &one)
	c.reserved(8)
	visitEntries(c, sratKinds, &t.Entries)
}

var sratKinds = entryKinds{width: 1, make: func(kind uint16) (entry, string) {
	switch kind {
	case 0:
		return &ProcessorAffinity{}, "Processor Local APIC Affinity"
	case 1:
		return &MemoryAffinity{}, "Memory Affinity"
	case 2:
		return &X2APICAffinity{}, "Processor Local x2APIC Affinity"
	}
	return unknownEntry(kind)
}}

// AffinityEnabled is the flag of every affinity structure that is to be used.
const AffinityEnabled = 1 << 0

// ProcessorAffinity is the node of a processor, type 0, 16 bytes (table 5.57).
type ProcessorAffinity struct {
	Proximity   uint32 // bits 7:0 at offset 2, bits 31:8 at offset 9
	APICID      uint8  // offset 3
	Flags       uint32 // offset 4, AffinityEnabled
	SAPICEID    uint8  // offset 8
	ClockDomain uint32 // offset 12
}

func (*ProcessorAffinity) kind() uint16 { return 0 }
func (*ProcessorAffinity) srat()        {}
func (e *ProcessorAffinity) visit(c *codec) {
	p := [4]uint8{uint8(e.Proximity), uint8(e.Proximity >> 8), uint8(e.Proximity >> 16), uint8(e.Proximity >> 24)}
	num(c, "Proximity Domain 7:0", &p[0])
	num(c, "APIC ID", &e.APICID)
	num(c, "Flags", &e.Flags, flagNames("Enabled"))
	num(c, "Local SAPIC EID", &e.SAPICEID)
	num(c, "Proximity Domain 15:8", &p[1])
	num(c, "Proximity Domain 23:16", &p[2])
	num(c, "Proximity Domain 31:24", &p[3])
	num(c, "Clock Domain", &e.ClockDomain)
	e.Proximity = uint32(p[0]) | uint32(p[1])<<8 | uint32(p[2])<<16 | uint32(p[3])<<24
}

// Flags of MemoryAffinity besides AffinityEnabled (table 5.59).
const (
	MemoryHotPluggable = 1 << 1
	MemoryNonVolatile  = 1 << 2
)

// MemoryAffinity is the node of a range of memory, type 1, 40 bytes
// (table 5.58).
type MemoryAffinity struct {
	Proximity uint32 // offset 2
	Base      uint64 // offset 8
	Length    uint64 // offset 16
	Flags     uint32 // offset 28
}

func (*MemoryAffinity) kind() uint16 { return 1 }
func (*MemoryAffinity) srat()        {}
func (e *MemoryAffinity) visit(c *codec) {
	num(c, "Proximity Domain", &e.Proximity)
	c.reserved(2)
	num(c, "Base Address", &e.Base)
	num(c, "Length", &e.Length)
	c.reserved(4)
	num(c, "Flags", &e.Flags, flagNames("Enabled", "Hot Pluggable", "Non-Volatile"))
	c.reserved(8)
}

// X2APICAffinity is the node of a processor, type 2, 24 bytes (table 5.60).
type X2APICAffinity struct {
	Proximity   uint32 // offset 4
	APICID      uint32 // offset 8
	Flags       uint32 // offset 12, AffinityEnabled
	ClockDomain uint32 // offset 16
}

func (*X2APICAffinity) kind() uint16 { return 2 }
func (*X2APICAffinity) srat()        {}
func (e *X2APICAffinity) visit(c *codec) {
	c.reserved(2)
	num(c, "Proximity Domain", &e.Proximity)
	num(c, "x2APIC ID", &e.APICID)
	num(c, "Flags", &e.Flags, flagNames("Enabled"))
	num(c, "Clock Domain", &e.ClockDomain)
	c.reserved(4)
}

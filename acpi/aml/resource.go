package aml

import "encoding/binary"

// Resource is a descriptor of a resource template (section 6.4).
type Resource interface {
	descriptor() []byte
	asl() string // the ASL macro
}

// ResourceTemplate is the buffer of a list of descriptors and the end tag, the
// value of _CRS and _PRS. The end tag's checksum is zero, which means none
// (section 6.4.2.9).
func ResourceTemplate(list ...Resource) Term {
	var b []byte
	for _, r := range list {
		b = append(b, r.descriptor()...)
	}
	return Buffer(append(b, 0x79, 0))
}

var le = binary.LittleEndian

func flag(set bool, bit uint) byte {
	if set {
		return 1 << bit
	}
	return 0
}

// large prepends the tag and length of a large descriptor (section 6.4.3).
func large(tag byte, body []byte) []byte {
	return append(le.AppendUint16([]byte{tag}, uint16(len(body))), body...)
}

// Memory32Fixed is a fixed range of memory below 4 GiB (section 6.4.3.4).
type Memory32Fixed struct {
	ReadWrite    bool
	Base, Length uint32
}

func (r Memory32Fixed) descriptor() []byte {
	b := le.AppendUint32([]byte{flag(r.ReadWrite, 0)}, r.Base)
	return large(0x86, le.AppendUint32(b, r.Length))
}

// IO is a range of I/O ports that begins in [Min, Max] (section 6.4.2.5).
type IO struct {
	Decode16      bool // the device decodes 16 bits of the address, not 10
	Min, Max      uint16
	Align, Length uint8
}

func (r IO) descriptor() []byte {
	b := le.AppendUint16([]byte{0x47, flag(r.Decode16, 0)}, r.Min)
	return append(le.AppendUint16(b, r.Max), r.Align, r.Length)
}

// FixedIO is a range of ports below 0x400 (section 6.4.2.6).
type FixedIO struct {
	Base   uint16
	Length uint8
}

func (r FixedIO) descriptor() []byte {
	return append(le.AppendUint16([]byte{0x4B}, r.Base), r.Length)
}

// Interrupt is a list of global system interrupts (section 6.4.3.6). The zero
// flags mean a producer's, level triggered, active high and exclusive.
type Interrupt struct {
	Consumer  bool
	Edge      bool
	ActiveLow bool
	Shared    bool
	Wake      bool
	Numbers   []uint32 // up to 255
}

func (r Interrupt) descriptor() []byte {
	n := min(len(r.Numbers), 0xFF)
	b := []byte{
		flag(r.Consumer, 0) | flag(r.Edge, 1) | flag(r.ActiveLow, 2) | flag(r.Shared, 3) | flag(r.Wake, 4),
		byte(n),
	}
	for _, v := range r.Numbers[:n] {
		b = le.AppendUint32(b, v)
	}
	return large(0x89, b)
}

// IRQ is a set of ISA interrupts, bit n of Mask for IRQ n (section 6.4.2.1,
// three-byte form).
type IRQ struct {
	Edge      bool
	ActiveLow bool
	Shared    bool
	Wake      bool
	Mask      uint16
}

func (r IRQ) descriptor() []byte {
	return append(le.AppendUint16([]byte{0x23}, r.Mask),
		flag(r.Edge, 0)|flag(r.ActiveLow, 3)|flag(r.Shared, 4)|flag(r.Wake, 5))
}

// IRQNoFlags is a set of ISA interrupts that are edge triggered, active high
// and exclusive (section 6.4.2.1, two-byte form).
type IRQNoFlags struct {
	Mask uint16
}

func (r IRQNoFlags) descriptor() []byte { return le.AppendUint16([]byte{0x22}, r.Mask) }

// AddressKind is the resource that an address descriptor describes.
type AddressKind uint8

// Kinds of address ranges (table 6.51).
const (
	MemoryRange AddressKind = iota
	IORange
	BusNumberRange
)

// AddressSpace holds what the address descriptors have in common
// (section 6.4.3.5).
type AddressSpace struct {
	Kind        AddressKind
	Consumer    bool  // general flags bit 0
	Subtractive bool  // bit 1
	MinFixed    bool  // bit 2
	MaxFixed    bool  // bit 3
	TypeFlags   uint8 // type specific: tables 6.52 to 6.54
}

// Type specific flags of a memory range (table 6.52).
const (
	MemReadWrite    = 1 << 0
	MemCacheable    = 1 << 1
	MemWriteCombine = 2 << 1
	MemPrefetch     = 3 << 1
)

func (a AddressSpace) head() []byte {
	return []byte{byte(a.Kind),
		flag(a.Consumer, 0) | flag(a.Subtractive, 1) | flag(a.MinFixed, 2) | flag(a.MaxFixed, 3),
		a.TypeFlags}
}

// QWordSpace is an address range of 64-bit fields (section 6.4.3.5.1).
type QWordSpace struct {
	AddressSpace
	Granularity, Min, Max, Translation, Length uint64
}

func (r QWordSpace) descriptor() []byte {
	b := r.head()
	for _, v := range []uint64{r.Granularity, r.Min, r.Max, r.Translation, r.Length} {
		b = le.AppendUint64(b, v)
	}
	return large(0x8A, b)
}

// DWordSpace is an address range of 32-bit fields (section 6.4.3.5.2).
type DWordSpace struct {
	AddressSpace
	Granularity, Min, Max, Translation, Length uint32
}

func (r DWordSpace) descriptor() []byte {
	b := r.head()
	for _, v := range []uint32{r.Granularity, r.Min, r.Max, r.Translation, r.Length} {
		b = le.AppendUint32(b, v)
	}
	return large(0x87, b)
}

// WordSpace is an address range of 16-bit fields (section 6.4.3.5.3).
type WordSpace struct {
	AddressSpace
	Granularity, Min, Max, Translation, Length uint16
}

func (r WordSpace) descriptor() []byte {
	b := r.head()
	for _, v := range []uint16{r.Granularity, r.Min, r.Max, r.Translation, r.Length} {
		b = le.AppendUint16(b, v)
	}
	return large(0x88, b)
}

// QWordMemory is a fixed range of cacheable read-write memory.
func QWordMemory(base, length uint64) QWordSpace {
	return QWordSpace{
		AddressSpace: AddressSpace{Kind: MemoryRange, Consumer: true, MinFixed: true, MaxFixed: true,
			TypeFlags: MemReadWrite | MemCacheable},
		Min: base, Max: base + length - 1, Length: length,
	}
}

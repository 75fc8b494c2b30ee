package aml

import (
	"bytes"
	"fmt"
	"strings"
)

// parseResources reads a resource template of descriptors that have a type
// here, one at least. It is false for anything that would not encode to the same bytes.
func parseResources(b []byte) ([]Resource, bool) {
	var list []Resource
	for rest := b; ; {
		if bytes.Equal(rest, []byte{0x79, 0}) {
			return list, len(list) > 0
		}
		r := parseResource(rest)
		if r == nil {
			return nil, false
		}
		d := r.descriptor()
		if !bytes.HasPrefix(rest, d) {
			return nil, false
		}
		list = append(list, r)
		rest = rest[len(d):]
	}
}

// parseResource reads the descriptor at the start of b; nil if it has no type
// here. The caller checks that it encodes to the same bytes.
func parseResource(b []byte) Resource {
	switch {
	case len(b) >= 3 && b[0] == 0x22:
		return IRQNoFlags{Mask: le.Uint16(b[1:])}
	case len(b) >= 4 && b[0] == 0x23:
		f := b[3]
		return IRQ{Edge: f&1 != 0, ActiveLow: f&8 != 0, Shared: f&0x10 != 0, Wake: f&0x20 != 0, Mask: le.Uint16(b[1:])}
	case len(b) >= 8 && b[0] == 0x47:
		return IO{Decode16: b[1]&1 != 0, Min: le.Uint16(b[2:]), Max: le.Uint16(b[4:]), Align: b[6], Length: b[7]}
	case len(b) >= 4 && b[0] == 0x4B:
		return FixedIO{Base: le.Uint16(b[1:]), Length: b[3]}
	}
	if len(b) < 3 || int(le.Uint16(b[1:])) > len(b)-3 {
		return nil
	}
	tag, b := b[0], b[3:3+le.Uint16(b[1:])]
	switch {
	case tag == 0x86 && len(b) == 9:
		return Memory32Fixed{ReadWrite: b[0]&1 != 0, Base: le.Uint32(b[1:]), Length: le.Uint32(b[5:])}
	case tag == 0x89 && len(b) >= 2 && len(b) == 2+4*int(b[1]):
		f := b[0]
		r := Interrupt{Consumer: f&1 != 0, Edge: f&2 != 0, ActiveLow: f&4 != 0, Shared: f&8 != 0, Wake: f&0x10 != 0}
		for b = b[2:]; len(b) > 0; b = b[4:] {
			r.Numbers = append(r.Numbers, le.Uint32(b))
		}
		return r
	case tag == 0x8A && len(b) == 43:
		f := func(i int) uint64 { return le.Uint64(b[3+8*i:]) }
		return QWordSpace{addressSpace(b), f(0), f(1), f(2), f(3), f(4)}
	case tag == 0x87 && len(b) == 23:
		f := func(i int) uint32 { return le.Uint32(b[3+4*i:]) }
		return DWordSpace{addressSpace(b), f(0), f(1), f(2), f(3), f(4)}
	case tag == 0x88 && len(b) == 13:
		f := func(i int) uint16 { return le.Uint16(b[3+2*i:]) }
		return WordSpace{addressSpace(b), f(0), f(1), f(2), f(3), f(4)}
	}
	return nil
}

func addressSpace(b []byte) AddressSpace {
	return AddressSpace{Kind: AddressKind(b[0]), Consumer: b[1]&1 != 0, Subtractive: b[1]&2 != 0,
		MinFixed: b[1]&4 != 0, MaxFixed: b[1]&8 != 0, TypeFlags: b[2]}
}

// pick is the word for a flag.
func pick(set bool, yes, no string) string {
	if set {
		return yes
	}
	return no
}

func sharing(shared, wake bool) string {
	return pick(shared, "Shared", "Exclusive") + pick(wake, "AndWake", "")
}

func (r Memory32Fixed) asl() string {
	return fmt.Sprintf("Memory32Fixed (%s, 0x%08X, 0x%08X)", pick(r.ReadWrite, "ReadWrite", "ReadOnly"), r.Base, r.Length)
}

func (r IO) asl() string {
	return fmt.Sprintf("IO (%s, 0x%04X, 0x%04X, 0x%02X, 0x%02X)", pick(r.Decode16, "Decode16", "Decode10"),
		r.Min, r.Max, r.Align, r.Length)
}

func (r FixedIO) asl() string { return fmt.Sprintf("FixedIO (0x%04X, 0x%02X)", r.Base, r.Length) }

func (r Interrupt) asl() string {
	var numbers []string
	for _, n := range r.Numbers {
		numbers = append(numbers, fmt.Sprintf("0x%08X", n))
	}
	return fmt.Sprintf("Interrupt (%s, %s, %s, %s) { %s }", pick(r.Consumer, "ResourceConsumer", "ResourceProducer"),
		pick(r.Edge, "Edge", "Level"), pick(r.ActiveLow, "ActiveLow", "ActiveHigh"),
		sharing(r.Shared, r.Wake), strings.Join(numbers, ", "))
}

func (r IRQ) asl() string {
	return fmt.Sprintf("IRQ (%s, %s, %s) %s", pick(r.Edge, "Edge", "Level"),
		pick(r.ActiveLow, "ActiveLow", "ActiveHigh"), sharing(r.Shared, r.Wake), irqList(r.Mask))
}

func (r IRQNoFlags) asl() string { return "IRQNoFlags () " + irqList(r.Mask) }

func irqList(mask uint16) string {
	var list []string
	for i := range 16 {
		if mask>>i&1 != 0 {
			list = append(list, fmt.Sprint(i))
		}
	}
	return "{" + strings.Join(list, ", ") + "}"
}

func (r QWordSpace) asl() string {
	return r.macro("QWord", fmt.Sprintf("0x%016X, 0x%016X, 0x%016X, 0x%016X, 0x%016X",
		r.Granularity, r.Min, r.Max, r.Translation, r.Length))
}

func (r DWordSpace) asl() string {
	return r.macro("DWord", fmt.Sprintf("0x%08X, 0x%08X, 0x%08X, 0x%08X, 0x%08X",
		r.Granularity, r.Min, r.Max, r.Translation, r.Length))
}

func (r WordSpace) asl() string {
	return r.macro("Word", fmt.Sprintf("0x%04X, 0x%04X, 0x%04X, 0x%04X, 0x%04X",
		r.Granularity, r.Min, r.Max, r.Translation, r.Length))
}

// macro gives the macro of an address range for its width, with the type
// specific flags that the memory and I/O forms have words for.
func (a AddressSpace) macro(width, numbers string) string {
	usage := pick(a.Consumer, "ResourceConsumer", "ResourceProducer")
	decode := pick(a.Subtractive, "SubDecode", "PosDecode")
	fixed := pick(a.MinFixed, "MinFixed", "MinNotFixed") + ", " + pick(a.MaxFixed, "MaxFixed", "MaxNotFixed")
	switch a.Kind {
	case MemoryRange:
		cache := [...]string{"NonCacheable", "Cacheable", "WriteCombining", "Prefetchable"}[a.TypeFlags>>1&3]
		return fmt.Sprintf("%sMemory (%s, %s, %s, %s, %s, %s)", width, usage, decode, fixed, cache,
			pick(a.TypeFlags&MemReadWrite != 0, "ReadWrite", "ReadOnly"), numbers)
	case IORange:
		ranges := [...]string{"", "NonISAOnlyRanges", "ISAOnlyRanges", "EntireRange"}[a.TypeFlags&3]
		return fmt.Sprintf("%sIO (%s, %s, %s, %s, %s)", width, usage, fixed, decode, ranges, numbers)
	case BusNumberRange:
		return fmt.Sprintf("%sBusNumber (%s, %s, %s, %s)", width, usage, fixed, decode, numbers)
	}
	return fmt.Sprintf("%sSpace (0x%02X, %s, %s, %s, 0x%02X, %s)", width, uint8(a.Kind), usage, decode, fixed, a.TypeFlags, numbers)
}

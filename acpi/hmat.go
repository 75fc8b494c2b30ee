package acpi

// HMAT is the heterogeneous memory attribute table, revision 2 (section
// 5.2.28).
type HMAT struct {
	Header
	Structures []HMATStructure // offset 40
}

// HMATStructure is *ProximityAttributes, *LocalityInfo or *UnknownHMAT.
type HMATStructure interface {
	visitor
	hmatKind() uint16
}

// Encode gives the finished table.
func (t HMAT) Encode() []byte { return encodeTable(t.Header, "HMAT", 2, (*hmatBody)(&t)) }

// ParseHMAT decodes an HMAT.
func ParseHMAT(b []byte) (HMAT, error) {
	var t HMAT
	err := parseTable(b, "HMAT", &t.Header, (*hmatBody)(&t))
	return t, err
}

type hmatBody HMAT

// hmatHead is what begins every structure: type, two reserved bytes, length.
const hmatHead = 8

func (t *hmatBody) visit(c *codec) {
	c.reserved(4)
	if c.encoding {
		for _, s := range t.Structures {
			encodeHMAT(c, s)
		}
		return
	}
	t.Structures = nil
	for c.err == nil && c.left() > 0 {
		if s := decodeHMAT(c); s != nil {
			t.Structures = append(t.Structures, s)
		}
	}
}

func encodeHMAT(c *codec, s HMATStructure) {
	body := codec{encoding: true}
	s.visit(&body)
	kind, length := s.hmatKind(), uint32(hmatHead+len(body.buf))
	num(c, "Type", &kind)
	c.reserved(2)
	num(c, "Length", &length, decimal)
	c.buf = append(c.buf, body.buf...)
}

func decodeHMAT(c *codec) HMATStructure {
	at := c.pos
	var kind uint16
	var length uint32
	head := codec{buf: c.buf, pos: at, base: c.base}
	num(&head, "Type", &kind)
	head.reserved(2)
	num(&head, "Length", &length)
	if head.err != nil {
		c.err = head.err
		return nil
	}
	if length < hmatHead || uint64(length) > uint64(c.left()) {
		c.fail("the structure of type %d at offset 0x%X states a length of %d: valid are %d to %d", kind, c.base+at, length, hmatHead, c.left())
		return nil
	}
	s, name := makeHMAT(kind)
	c.heading("%s at offset 0x%X", name, c.base+at)
	one := codec{buf: c.buf[at : at+int(length)], base: c.base + at, text: c.text}
	num(&one, "Type", &kind, func(uint64) string { return name })
	one.reserved(2)
	num(&one, "Length", &length, decimal)
	s.visit(&one)
	if one.err == nil && one.left() > 0 {
		var extra []byte
		one.rest("Unknown Data", &extra)
	}
	if one.err != nil {
		c.fail("%s at offset 0x%X: %w", name, c.base+at, one.err)
	}
	c.pos = at + int(length)
	return s
}

func makeHMAT(kind uint16) (HMATStructure, string) {
	switch kind {
	case 0:
		return &ProximityAttributes{}, "Memory Proximity Domain Attributes"
	case 1:
		return &LocalityInfo{}, "System Locality Latency and Bandwidth Information"
	}
	return &UnknownHMAT{Kind: kind}, "Unknown structure"
}

// InitiatorValid is the flag of ProximityAttributes whose Initiator counts.
const InitiatorValid = 1 << 0

// ProximityAttributes says which processors are nearest to a node's memory,
// type 0, 40 bytes (table 5.146).
type ProximityAttributes struct {
	Flags     uint16 // offset 8
	Initiator uint32 // offset 12: proximity domain of the processors
	Memory    uint32 // offset 16: proximity domain
}

func (*ProximityAttributes) hmatKind() uint16 { return 0 }
func (s *ProximityAttributes) visit(c *codec) {
	num(c, "Flags", &s.Flags, flagNames("Initiator Valid"))
	c.reserved(2)
	num(c, "Attached Initiator", &s.Initiator, decimal)
	num(c, "Memory", &s.Memory, decimal)
	c.reserved(20)
}

// HMATData is what entries of a LocalityInfo are.
type HMATData uint8

// Data types (table 5.147).
const (
	AccessLatency HMATData = iota
	ReadLatency
	WriteLatency
	AccessBandwidth
	ReadBandwidth
	WriteBandwidth
)

var hmatDataNames = valueNames(map[uint64]string{
	0: "access latency", 1: "read latency", 2: "write latency", 3: "access bandwidth", 4: "read bandwidth", 5: "write bandwidth",
})

// LocalityInfo has a latency or a bandwidth for each pair of an initiator and a
// target, type 1 (table 5.147).
type LocalityInfo struct {
	Flags      uint8    // offset 8: 0 for memory itself, not a cache of it
	Data       HMATData // offset 9
	Base       uint64   // offset 24: unit of the entries: picoseconds, or MB/s
	Initiators []uint32 // offset 32: proximity domains
	Targets    []uint32
	Entries    []uint16 // by initiator, then target; 0 for unknown, 0xFFFF for unreachable
}

func (*LocalityInfo) hmatKind() uint16 { return 1 }
func (s *LocalityInfo) visit(c *codec) {
	initiators, targets := uint32(len(s.Initiators)), uint32(len(s.Targets))
	var transfer uint8
	num(c, "Flags", &s.Flags)
	num(c, "Data Type", &s.Data, func(v uint64) string { return hmatDataNames(v) })
	num(c, "Minimum Transfer Size", &transfer)
	c.reserved(1)
	num(c, "Initiators", &initiators, decimal)
	num(c, "Targets", &targets, decimal)
	c.reserved(4)
	num(c, "Entry Base Unit", &s.Base, decimal)
	if !c.encoding && c.err == nil {
		need := 4*uint64(initiators) + 4*uint64(targets)
		if pairs := uint64(initiators) * uint64(targets); pairs > 1<<20 || need+2*pairs > uint64(c.left()) {
			c.fail("%d initiators and %d targets do not fit in %d bytes", initiators, targets, c.left())
			return
		}
	}
	array(c, "Initiator", &s.Initiators, int(initiators))
	array(c, "Target", &s.Targets, int(targets))
	array(c, "Entry", &s.Entries, int(initiators)*int(targets))
}

// UnknownHMAT is a structure that has no Go type here.
type UnknownHMAT struct {
	Kind uint16
	Data []byte // what follows the length
}

func (s *UnknownHMAT) hmatKind() uint16 { return s.Kind }
func (s *UnknownHMAT) visit(c *codec)   { c.rest("Data", &s.Data) }

package acpi

// MCFG is the table of PCI Express configuration spaces that lie in memory,
// revision 1 (PCI Firmware Specification 3.3, 4.1.2).
type MCFG struct {
	Header
	Segments []ConfigSpace // offset 44
}

// ConfigSpace is the configuration space of a range of buses, 16 bytes: 1 MiB
// for each bus.
type ConfigSpace struct {
	Base     uint64 // offset 0: of bus 0, also where StartBus is higher
	Segment  uint16 // offset 8: PCI segment group
	StartBus uint8  // offset 10
	EndBus   uint8  // offset 11
}

// Encode gives the finished table.
func (t MCFG) Encode() []byte { return encodeTable(t.Header, "MCFG", 1, (*mcfgBody)(&t)) }

// ParseMCFG decodes an MCFG.
func ParseMCFG(b []byte) (MCFG, error) {
	var t MCFG
	err := parseTable(b, "MCFG", &t.Header, (*mcfgBody)(&t))
	return t, err
}

type mcfgBody MCFG

func (t *mcfgBody) visit(c *codec) {
	c.reserved(8)
	n := len(t.Segments)
	if !c.encoding {
		n = c.left() / 16
		t.Segments = nil
	}
	for i := range n {
		var s ConfigSpace
		if c.encoding {
			s = t.Segments[i]
		}
		c.heading("Configuration Space %d", i)
		num(c, "Base Address", &s.Base)
		num(c, "Segment Group", &s.Segment)
		num(c, "Start Bus", &s.StartBus, decimal)
		num(c, "End Bus", &s.EndBus, decimal)
		c.reserved(4)
		if !c.encoding && c.err == nil {
			t.Segments = append(t.Segments, s)
		}
	}
}

package acpi

// MADT is the multiple APIC description table, signature APIC, revision 5
// (section 5.2.12, table 5.19).
type MADT struct {
	Header
	LocalAPICAddress uint32      // offset 36
	Flags            uint32      // offset 40; bit 0 PCAT_COMPAT: there is a pair of 8259s
	Entries          []MADTEntry // offset 44
}

// MADTPCATCompat says that there is a pair of 8259s besides the APICs.
const MADTPCATCompat = 1 << 0

// MADTEntry is an interrupt controller structure: *LocalAPIC, *IOAPIC,
// *InterruptOverride, *NMISource, *LocalAPICNMI, *LocalAPICAddress, *X2APIC,
// *X2APICNMI, *MultiprocessorWakeup or *UnknownEntry.
type MADTEntry interface {
	entry
	madt()
}

// Encode gives the finished table.
func (t MADT) Encode() []byte { return encodeTable(t.Header, "APIC", 5, (*madtBody)(&t)) }

// ParseMADT decodes a MADT.
func ParseMADT(b []byte) (MADT, error) {
	var t MADT
	err := parseTable(b, "APIC", &t.Header, (*madtBody)(&t))
	return t, err
}

type madtBody MADT

func (t *madtBody) visit(c *codec) {
	num(c, "Local APIC Address", &t.LocalAPICAddress)
	num(c, "Flags", &t.Flags, flagNames("PCAT_COMPAT"))
	visitEntries(c, madtKinds, &t.Entries)
}

var madtKinds = entryKinds{width: 1, make: func(kind uint16) (entry, string) {
	switch kind {
	case 0:
		return &LocalAPIC{}, "Processor Local APIC"
	case 1:
		return &IOAPIC{}, "I/O APIC"
	case 2:
		return &InterruptOverride{}, "Interrupt Source Override"
	case 3:
		return &NMISource{}, "NMI Source"
	case 4:
		return &LocalAPICNMI{}, "Local APIC NMI"
	case 5:
		return &LocalAPICAddress{}, "Local APIC Address Override"
	case 9:
		return &X2APIC{}, "Processor Local x2APIC"
	case 10:
		return &X2APICNMI{}, "Local x2APIC NMI"
	case 16:
		return &MultiprocessorWakeup{}, "Multiprocessor Wakeup"
	}
	return unknownEntry(kind)
}}

// Flags of LocalAPIC and X2APIC (table 5.23).
const (
	APICEnabled       = 1 << 0
	APICOnlineCapable = 1 << 1
)

var apicFlags = flagNames("Enabled", "Online Capable")

// Flags of interrupts, MPS INTI (table 5.26); zero means as the bus does.
const (
	MPSActiveHigh = 1
	MPSActiveLow  = 3
	MPSEdge       = 1 << 2
	MPSLevel      = 3 << 2
)

func mpsFlags(v uint64) string {
	polarity := [4]string{"", "Active High", "Reserved polarity", "Active Low"}[v&3]
	trigger := [4]string{"", "Edge", "Reserved trigger", "Level"}[v>>2&3]
	if polarity != "" && trigger != "" {
		return polarity + ", " + trigger
	}
	return polarity + trigger
}

// LocalAPIC is a processor, type 0, 8 bytes (table 5.22).
type LocalAPIC struct {
	ProcessorUID uint8  // offset 2, _UID of the processor device
	APICID       uint8  // offset 3
	Flags        uint32 // offset 4, APIC...
}

func (*LocalAPIC) kind() uint16 { return 0 }
func (*LocalAPIC) madt()        {}
func (e *LocalAPIC) visit(c *codec) {
	num(c, "Processor UID", &e.ProcessorUID)
	num(c, "APIC ID", &e.APICID)
	num(c, "Flags", &e.Flags, apicFlags)
}

// IOAPIC is an I/O APIC, type 1, 12 bytes (table 5.24).
type IOAPIC struct {
	ID      uint8  // offset 2
	Address uint32 // offset 4
	GSIBase uint32 // offset 8, number of its first interrupt
}

func (*IOAPIC) kind() uint16 { return 1 }
func (*IOAPIC) madt()        {}
func (e *IOAPIC) visit(c *codec) {
	num(c, "I/O APIC ID", &e.ID)
	c.reserved(1)
	num(c, "Address", &e.Address)
	num(c, "GSI Base", &e.GSIBase)
}

// InterruptOverride maps an ISA interrupt, type 2, 10 bytes (table 5.25).
type InterruptOverride struct {
	Bus    uint8  // offset 2; 0 for ISA
	Source uint8  // offset 3, the ISA interrupt
	GSI    uint32 // offset 4
	Flags  uint16 // offset 8, MPS...
}

func (*InterruptOverride) kind() uint16 { return 2 }
func (*InterruptOverride) madt()        {}
func (e *InterruptOverride) visit(c *codec) {
	num(c, "Bus", &e.Bus)
	num(c, "Source", &e.Source)
	num(c, "GSI", &e.GSI)
	num(c, "Flags", &e.Flags, mpsFlags)
}

// NMISource is an interrupt that is an NMI, type 3, 8 bytes (table 5.27).
type NMISource struct {
	Flags uint16 // offset 2, MPS...
	GSI   uint32 // offset 4
}

func (*NMISource) kind() uint16 { return 3 }
func (*NMISource) madt()        {}
func (e *NMISource) visit(c *codec) {
	num(c, "Flags", &e.Flags, mpsFlags)
	num(c, "GSI", &e.GSI)
}

// LocalAPICNMI is the NMI input of processors, type 4, 6 bytes (table 5.28).
type LocalAPICNMI struct {
	ProcessorUID uint8  // offset 2; 0xFF for all
	Flags        uint16 // offset 3, MPS...
	LINT         uint8  // offset 5
}

func (*LocalAPICNMI) kind() uint16 { return 4 }
func (*LocalAPICNMI) madt()        {}
func (e *LocalAPICNMI) visit(c *codec) {
	num(c, "Processor UID", &e.ProcessorUID)
	num(c, "Flags", &e.Flags, mpsFlags)
	num(c, "LINT Input", &e.LINT)
}

// LocalAPICAddress is the 64-bit address of the local APICs, type 5, 12 bytes
// (table 5.29).
type LocalAPICAddress struct {
	Address uint64 // offset 4
}

func (*LocalAPICAddress) kind() uint16 { return 5 }
func (*LocalAPICAddress) madt()        {}
func (e *LocalAPICAddress) visit(c *codec) {
	c.reserved(2)
	num(c, "Address", &e.Address)
}

// X2APIC is a processor, type 9, 16 bytes (table 5.34).
type X2APIC struct {
	APICID       uint32 // offset 4
	Flags        uint32 // offset 8, APIC...
	ProcessorUID uint32 // offset 12
}

func (*X2APIC) kind() uint16 { return 9 }
func (*X2APIC) madt()        {}
func (e *X2APIC) visit(c *codec) {
	c.reserved(2)
	num(c, "x2APIC ID", &e.APICID)
	num(c, "Flags", &e.Flags, apicFlags)
	num(c, "Processor UID", &e.ProcessorUID)
}

// X2APICNMI is the NMI input of processors, type 10, 12 bytes (table 5.35).
type X2APICNMI struct {
	Flags        uint16 // offset 2, MPS...
	ProcessorUID uint32 // offset 4; 0xFFFFFFFF for all
	LINT         uint8  // offset 8
}

func (*X2APICNMI) kind() uint16 { return 10 }
func (*X2APICNMI) madt()        {}
func (e *X2APICNMI) visit(c *codec) {
	num(c, "Flags", &e.Flags, mpsFlags)
	num(c, "Processor UID", &e.ProcessorUID)
	num(c, "LINT Input", &e.LINT)
	c.reserved(3)
}

// MultiprocessorWakeup says how processors are started without INIT and SIPI,
// type 16, 16 bytes, from mailbox version 1 on 24 (section 5.2.12.19).
type MultiprocessorWakeup struct {
	Version     uint16 // offset 2, of the mailbox
	Mailbox     uint64 // offset 8, address of its page
	ResetVector uint64 // offset 16, from version 1 on: where a processor jumps to be parked again
}

func (*MultiprocessorWakeup) kind() uint16 { return 16 }
func (*MultiprocessorWakeup) madt()        {}
func (e *MultiprocessorWakeup) visit(c *codec) {
	num(c, "Mailbox Version", &e.Version)
	c.reserved(4)
	num(c, "Mailbox Address", &e.Mailbox)
	if c.encoding && e.Version == 0 || c.done() {
		return
	}
	num(c, "Reset Vector", &e.ResetVector)
}

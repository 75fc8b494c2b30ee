package apic

// Addressed says whether a message's destination is this APIC (SDM 3A,
// 11.6.2).
func (a *APIC) Addressed(dest uint8, logical bool) bool {
	if dest == 0xff {
		return true
	}
	if !logical {
		return dest == a.ID
	}
	ldr := uint8(a.LDR >> 24)
	if a.DFR>>28 == 0 { // cluster model
		return dest>>4 == ldr>>4 && dest&ldr&15 != 0
	}
	return dest&ldr != 0
}

// Delivery modes (SDM 3A, 11.6.1).
const (
	modeFixed  = 0
	ModeLowest = 1
	modeNMI    = 4
	modeINIT   = 5
)

// send sends the interrupt that the ICR describes (SDM 3A, 11.6.1).
func (a *APIC) send() {
	m := Message{Mode: uint8(a.ICR >> 8 & 7), Vector: uint8(a.ICR), Dest: 0xff}
	if m.Mode == modeINIT && a.ICR>>14&3 == 2 {
		return // level-triggered and deasserted: for processors of old
	}
	switch a.ICR >> 18 & 3 {
	case 0:
		m.Dest, m.Logical = uint8(a.ICR>>56), a.ICR>>11&1 != 0
	case 1:
		m.only = a
	case 3:
		m.but = a
	}
	a.processor.Send(&m)
}

// Message is an interrupt on its way to local APICs.
type Message struct {
	Mode, Vector uint8
	Dest         uint8
	Logical      bool
	Level        bool
	only, but    *APIC // where a shorthand says so
}

// Wants says whether a message is for this APIC.
func (a *APIC) Wants(m *Message) bool {
	return (m.only == nil || m.only == a) && m.but != a && a.Addressed(m.Dest, m.Logical)
}

// Receive does what a message says. INIT parks a processor: firmware that
// starts processors by a mailbox has no use for SIPI, which is ignored like
// SMI.
func (a *APIC) Receive(m *Message) {
	switch m.Mode {
	case modeFixed, ModeLowest:
		if a.On() {
			a.Accept(m.Vector, m.Level)
		}
	case modeNMI:
		a.processor.NMI()
	case modeINIT:
		if !a.first {
			a.processor.Init()
		}
	}
}

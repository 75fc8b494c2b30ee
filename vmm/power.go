package vmm

// State is the power state of a machine.
type State int

const (
	Assembled State = iota // before Boot
	Running
	PoweredOff  // the guest entered S5
	WasReset    // the guest wrote the reset register
	Halted      // every CPU halts with interrupts off
	TripleFault // a CPU could not deliver a double fault
)

func (s State) String() string {
	switch s {
	case Assembled:
		return "assembled"
	case PoweredOff:
		return "powered off"
	case WasReset:
		return "reset"
	case Halted:
		return "halted with interrupts off"
	case TripleFault:
		return "triple fault"
	}
	return "running"
}

// Bits of the sleep control register (ACPI 6.5, 4.8.3.7).
const (
	sleepTypeShift = 2
	sleepTypeMask  = 7
	sleepEnable    = 1 << 5

	sleepTypeS5 = 5 // as _S5 names it
)

// powerPorts are the sleep and reset registers of hardware-reduced ACPI.
type powerPorts struct{ set func(State) }

func (powerPorts) In(uint16, int) uint32 { return 0 }

func (p powerPorts) Out(port uint16, _ int, v uint32) {
	switch port {
	case portSleepControl:
		if v&sleepEnable != 0 && v>>sleepTypeShift&sleepTypeMask == sleepTypeS5 {
			p.set(PoweredOff)
		}
	case portReset:
		if v&0xff == resetValue {
			p.set(WasReset)
		}
	}
}

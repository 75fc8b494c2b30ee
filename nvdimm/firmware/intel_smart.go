package firmware

// smartReply is the reply of function 1 (DSM, table 3-B; ndctl intel.h, struct
// nd_intel_smart), 132 bytes.
type smartReply struct {
	Status                Status
	Valid                 uint32 // at 4: which of the fields are
	_                     [4]byte
	Health                Health // at 12
	Spares                uint8  // at 13, percent
	LifeUsed              uint8  // at 14, percent
	Alarms                Alarms // at 15
	MediaTemperature      uint16 // at 16
	ControllerTemperature uint16 // at 18
	ShutdownCount         uint32 // at 20
	AITStatus             uint8  // at 24
	PMICTemperature       uint16 // at 25
	_                     [8]byte
	ShutdownState         uint8  // at 35: 0 clean
	VendorSize            uint32 // at 36
	Vendor                [92]byte
}

// Bits of smartReply.Valid (DSM, table 3-B, offset 4).
const (
	validHealth        = 1 << 0
	validSpares        = 1 << 1
	validLifeUsed      = 1 << 2
	validMedia         = 1 << 3
	validController    = 1 << 4
	validShutdownCount = 1 << 5
	validAlarms        = 1 << 9
	validShutdownState = 1 << 10
)

func intelSMART(x *exchange) any {
	r := x.s.Reported()
	return smartReply{
		Valid: validHealth | validSpares | validLifeUsed | validMedia | validController | validShutdownCount |
			validAlarms | validShutdownState,
		Health:                r.Health,
		Spares:                r.Spares,
		LifeUsed:              r.LifeUsed,
		Alarms:                x.s.takeAlarms(),
		MediaTemperature:      r.MediaTemperature.word(),
		ControllerTemperature: r.ControllerTemperature.word(),
		ShutdownCount:         r.ShutdownCount,
		ShutdownState:         bit(r.Dirty),
	}
}

// thresholds are a part of the reply of function 2 (DSM, table 3-C) and the
// input of function 17 (DSM, table 3-Q), 7 bytes.
type thresholds struct {
	Enabled               uint16
	Spares                uint8  // at 2, percent
	MediaTemperature      uint16 // at 3
	ControllerTemperature uint16 // at 5
}

type thresholdsReply struct {
	Status     Status
	Thresholds thresholds // at 4
	_          byte
}

func intelThresholds(x *exchange) any {
	t := x.s.Thresholds
	return thresholdsReply{Thresholds: thresholds{uint16(t.Enabled), t.Spares, t.MediaTemperature.word(), t.ControllerTemperature.word()}}
}

func intelSetThresholds(x *exchange) any {
	in := decode[thresholds](x.in)
	if in.Enabled&^uint16(allAlarms) != 0 || in.Spares > 100 {
		return Invalid
	}
	x.s.Thresholds = Thresholds{
		Enabled:               Alarms(in.Enabled),
		Spares:                in.Spares,
		MediaTemperature:      temperatureOf(in.MediaTemperature),
		ControllerTemperature: temperatureOf(in.ControllerTemperature),
	}
	x.effect.Notify = x.s.Watch()
	return OK
}

// injection is the input of function 18 (DSM, table 3-R; ndctl intel.h, struct
// nd_intel_smart_inject), 15 bytes.
type injection struct {
	Fields            uint64 // which of the following are meant
	SetMedia          uint8  // at 8: 1 replaces, 0 restores
	MediaTemperature  uint16 // at 9
	SetSpares         uint8  // at 11
	Spares            uint8  // at 12, percent
	SetFatal          uint8  // at 13
	SetUnsafeShutdown uint8  // at 14
}

// Bits of injection.Fields.
const (
	injectMedia = 1 << iota
	injectSpares
	injectFatal
	injectShutdown
)

func intelInject(x *exchange) any {
	in, s := decode[injection](x.in), x.s
	if in.Fields&^(injectMedia|injectSpares|injectFatal|injectShutdown) != 0 || in.SetMedia > 1 || in.SetSpares > 1 ||
		in.SetFatal > 1 || in.SetUnsafeShutdown > 1 || in.Fields&injectSpares != 0 && in.Spares > 100 {
		return Invalid
	}
	before := s.Reported()
	if in.Fields&injectMedia != 0 {
		s.Injected.MediaTemperature = Injected[Temperature]{in.SetMedia == 1, temperatureOf(in.MediaTemperature)}
	}
	if in.Fields&injectSpares != 0 {
		s.Injected.Spares = Injected[uint8]{in.SetSpares == 1, in.Spares}
	}
	if in.Fields&injectFatal != 0 {
		s.Injected.Fatal = in.SetFatal == 1
	}
	if in.Fields&injectShutdown != 0 {
		s.SMART.Dirty = in.SetUnsafeShutdown == 1
		if s.SMART.Dirty {
			s.SMART.ShutdownCount++ // what was counted stays counted
		}
	}
	x.effect.Notify = s.Watch() || s.Reported() != before
	return OK
}

type flagsReply struct {
	Status Status
	Flags  uint32
}

// intelFlags answers what NFIT's flags say as well (DSM, function 3): none is
// set after the hand-over to the operating system.
func intelFlags(*exchange) any { return flagsReply{} }

// intelLatch enables the counting of an unsafe shutdown (DSM, function 10).
func intelLatch(x *exchange) any {
	switch enable := decode[uint8](x.in); enable {
	case 0, 1:
		x.s.Latched = enable == 1
		return OK
	}
	return Invalid
}

func bit(v bool) uint8 {
	if v {
		return 1
	}
	return 0
}

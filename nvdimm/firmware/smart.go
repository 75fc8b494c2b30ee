package firmware

// SMART is a DIMM's health.
type SMART struct {
	Health                Health
	MediaTemperature      Temperature
	ControllerTemperature Temperature
	Spares, LifeUsed      uint8 // percent
	ShutdownCount         uint32
	Dirty                 bool // the latest shutdown was unsafe
}

// Health is how well a DIMM is: bits, of which the highest counts (DSM, table
// 3-B, offset 12).
type Health uint8

const (
	Healthy     Health = 0
	NonCritical Health = 1
	Critical    Health = 2
	Fatal       Health = 4
)

// Temperature is in 1/16 °C.
type Temperature int16

const degree Temperature = 16

// Celsius is a temperature of whole degrees.
func Celsius(n int16) Temperature { return Temperature(n) * degree }

// Degrees is the temperature in whole degrees, rounded towards 0.
func (t Temperature) Degrees() int { return int(t / degree) }

// MaxCelsius is the most degrees that a temperature has, above 0 or below.
const MaxCelsius = 2047

// word is a temperature as DIMMs report it: bit 15 is the sign (DSM, table
// 3-B, offset 16).
func (t Temperature) word() uint16 {
	if t < 0 {
		return uint16(-max(t, -0x7fff)) | 1<<15
	}
	return uint16(t)
}

// temperatureOf is the opposite.
func temperatureOf(word uint16) Temperature {
	t := Temperature(word & 0x7fff)
	if word&(1<<15) != 0 {
		return -t
	}
	return t
}

// Alarms are thresholds that were crossed, or that are watched (DSM, tables
// 3-B, offset 15, and 3-C, offset 4).
type Alarms uint8

const (
	AlarmSpares                Alarms = 1 << 0
	AlarmMediaTemperature      Alarms = 1 << 1
	AlarmControllerTemperature Alarms = 1 << 2

	allAlarms = AlarmSpares | AlarmMediaTemperature | AlarmControllerTemperature
)

// Thresholds are when an alarm goes off.
type Thresholds struct {
	Enabled               Alarms
	Spares                uint8 // percent: at most
	MediaTemperature      Temperature
	ControllerTemperature Temperature
}

// Injection is what of SMART a guest replaced (DSM, function 18).
type Injection struct {
	MediaTemperature Injected[Temperature]
	Spares           Injected[uint8]
	Fatal            bool
}

// Injected is a value that stands for the true one while it is on.
type Injected[T any] struct {
	On    bool
	Value T
}

func (i Injected[T]) or(value T) T {
	if i.On {
		return i.Value
	}
	return value
}

// Reported is the health that the DIMM tells of: with what was injected.
func (s *State) Reported() SMART {
	r := s.SMART
	r.MediaTemperature = s.Injected.MediaTemperature.or(r.MediaTemperature)
	r.Spares = s.Injected.Spares.or(r.Spares)
	if s.Injected.Fatal {
		r.Health = Fatal
	}
	return r
}

// crossed are the alarms that go off by what the DIMM reports now.
func (s *State) crossed() (a Alarms) {
	r, t := s.Reported(), s.Thresholds
	if r.Spares <= t.Spares {
		a |= AlarmSpares
	}
	if r.MediaTemperature >= t.MediaTemperature {
		a |= AlarmMediaTemperature
	}
	if r.ControllerTemperature >= t.ControllerTemperature {
		a |= AlarmControllerTemperature
	}
	return a & t.Enabled
}

// Alarms are those that SMART tells of: an alarm stays until it is read, even
// if what set it off has passed, as a guest that was notified reads later.
func (s *State) Alarms() Alarms { return s.Held | s.Tripped | s.crossed() }

// Watch notes the alarms that go off by now. It says whether the guest is to
// be told: a threshold is crossed, or the DIMM is otherwise ill.
func (s *State) Watch() bool {
	s.Tripped |= s.crossed()
	r := s.Reported()
	return s.Tripped != 0 || s.Held != 0 || r.Health != Healthy || r.Dirty
}

// takeAlarms is Alarms, which are read by that.
func (s *State) takeAlarms() Alarms {
	a := s.Alarms()
	s.Tripped = 0
	return a
}

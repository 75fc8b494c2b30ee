package firmware

import "time"

// State is what a DIMM's management knows. It is plain data: a copy is a
// saved one, as whoever changes its Poison makes a new list. It outlives every
// power-off.
type State struct {
	SMART      SMART
	Injected   Injection
	Thresholds Thresholds
	Tripped    Alarms // thresholds that were crossed, until SMART is read
	Held       Alarms // that the scenario set
	Latched    bool   // an unsafe shutdown is going to be counted
	Unsafe     bool   // the power that failed last was not saved
	Poison     Poison
	Security   Security
	Update     Update
}

// NewState is that of a DIMM as it is bought.
func NewState() State {
	return State{
		SMART:      SMART{MediaTemperature: 30 * degree, ControllerTemperature: 35 * degree, Spares: 100},
		Thresholds: Thresholds{Spares: 10, MediaTemperature: 80 * degree, ControllerTemperature: 90 * degree},
		Security:   Security{Master: true},
		Update:     Update{Running: 0x0001_0000},
	}
}

// Reset is a reset of the machine, and with power a power-on, whose clock
// starts from 0.
func (s *State) Reset(power bool) {
	s.Security.reset(power)
	s.Update.reset(power)
	if !power {
		return
	}
	s.SMART.Dirty = s.Unsafe
	if s.Unsafe && s.Latched {
		s.SMART.ShutdownCount++
	}
	s.Unsafe, s.Latched = false, false
}

// advance does what was to happen by now.
func (s *State) advance(now time.Duration) {
	s.Security.advance(now)
	s.Update.advance(now)
}

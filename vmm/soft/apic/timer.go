package apic

// The timer counts the clock, 1 GHz, divided as the divide configuration
// register says (SDM 3A, 11.5.4).

// divider is the timer's divisor.
func (a *APIC) divider() uint64 {
	n := a.TimerDiv&3 | a.TimerDiv>>1&4
	return 1 << ((n + 1) & 7)
}

func (a *APIC) mode() uint32 { return a.LVT[LVTTimer] & timerModeMask }

// StartTimer counts from the initial count, but for a deadline.
func (a *APIC) StartTimer() {
	if a.mode() == TimerDeadline {
		return
	}
	now := a.processor.Clock()
	a.TimerStart, a.TimerEnd = now, Never
	if a.TimerInit != 0 {
		a.TimerEnd = now + uint64(a.TimerInit)*a.divider()
	}
}

func (a *APIC) timerCount() uint32 {
	now := a.processor.Clock()
	if a.mode() == TimerDeadline || a.TimerEnd == Never || now >= a.TimerEnd {
		return 0
	}
	return uint32((a.TimerEnd - now + a.divider() - 1) / a.divider())
}

// SetDeadline writes IA32_TSC_DEADLINE.
func (a *APIC) SetDeadline(v uint64) {
	if a.mode() != TimerDeadline {
		return
	}
	a.Deadline = v
	a.Rearm()
}

// Rearm turns the deadline, in TSC time, into one of the clock.
func (a *APIC) Rearm() {
	if a.mode() != TimerDeadline {
		return
	}
	a.TimerEnd = Never
	if a.Deadline != 0 {
		left := int64(a.Deadline - a.processor.TSC())
		a.TimerEnd = a.processor.Clock() + uint64(max(left, 0))
	}
}

// Tick makes the timer's interrupt pending if it is due.
func (a *APIC) Tick(now uint64) {
	if now < a.TimerEnd {
		return
	}
	switch a.mode() {
	case TimerPeriodic:
		period := uint64(a.TimerInit) * a.divider()
		if period == 0 {
			a.TimerEnd = Never
			return
		}
		a.TimerEnd += period
		if a.TimerEnd <= now { // never behind by more than one
			a.TimerEnd = now + period
		}
	default:
		a.Deadline = 0
		a.TimerEnd = Never
	}
	if lvt := a.LVT[LVTTimer]; lvt&lvtMasked == 0 && a.On() {
		a.Accept(uint8(lvt), false)
	}
}

package soft

// The timer counts the clock, 1 GHz, divided as the divide configuration
// register says (SDM 3A, 11.5.4).

// divider is the timer's divisor.
func (a *lapic) divider() uint64 {
	n := a.timerDiv&3 | a.timerDiv>>1&4
	return 1 << ((n + 1) & 7)
}

func (a *lapic) mode() uint32 { return a.lvt[lvtTimer] & timerModeMask }

func (a *lapic) startTimer() {
	if a.mode() == timerDeadline {
		return
	}
	a.timerStart = a.cpu.now
	a.timerEnd = never
	if a.timerInit != 0 {
		a.timerEnd = a.cpu.now + uint64(a.timerInit)*a.divider()
	}
}

func (a *lapic) timerCount() uint32 {
	if a.mode() == timerDeadline || a.timerEnd == never || a.cpu.now >= a.timerEnd {
		return 0
	}
	return uint32((a.timerEnd - a.cpu.now + a.divider() - 1) / a.divider())
}

// setDeadline writes IA32_TSC_DEADLINE.
func (a *lapic) setDeadline(v uint64) {
	if a.mode() != timerDeadline {
		return
	}
	a.deadline = v
	a.rearm()
}

// rearm turns the deadline, in TSC time, into one of the clock.
func (a *lapic) rearm() {
	if a.mode() != timerDeadline {
		return
	}
	a.timerEnd = never
	if a.deadline != 0 {
		left := int64(a.deadline - (a.cpu.now + a.cpu.tscOffset))
		a.timerEnd = a.cpu.now + uint64(max(left, 0))
	}
}

// tick makes the timer's interrupt pending if it is due.
func (a *lapic) tick() {
	if a.cpu.now < a.timerEnd {
		return
	}
	switch a.mode() {
	case timerPeriodic:
		period := uint64(a.timerInit) * a.divider()
		if period == 0 {
			a.timerEnd = never
			return
		}
		a.timerEnd += period
		if a.timerEnd <= a.cpu.now { // never behind by more than one
			a.timerEnd = a.cpu.now + period
		}
	default:
		a.deadline = 0
		a.timerEnd = never
	}
	if lvt := a.lvt[lvtTimer]; lvt&lvtMasked == 0 && a.on() {
		a.accept(uint8(lvt), false)
	}
}

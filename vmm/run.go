package vmm

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Stop is why Run returned.
type Stop int

const (
	StopDone        Stop = iota // done held
	StopDeadline                // the guest's clock reached the deadline
	StopPowerOff                // the guest powered off
	StopReset                   // the guest reset the machine
	StopDead                    // every CPU halts with interrupts off
	StopTripleFault             // a CPU could not deliver a double fault
)

func (s Stop) String() string {
	switch s {
	case StopDone:
		return "done"
	case StopDeadline:
		return "deadline"
	case StopPowerOff:
		return "power-off"
	case StopReset:
		return "reset"
	case StopDead:
		return "halted with interrupts off"
	case StopTripleFault:
		return "triple fault"
	}
	return fmt.Sprintf("Stop(%d)", int(s))
}

// Run lets the guest run until done holds, its clock reaches until, or its
// power state changes. A nil done never holds; another is called at the start
// and whenever a device asked for attention: data came through the channel,
// it was found, opened or closed, or a line was written to the console.
//
// The error is ctx's, a *LostMemoryError, a failure to write the console, or
// a defect of the engine.
func (m *Machine) Run(ctx context.Context, until time.Duration, done func() bool) (Stop, error) {
	for {
		if err := m.debug(ctx); err != nil {
			m.flushConsole()
			return 0, err
		}
		m.mu.Lock()
		state := m.state
		if state != Running {
			m.console.flush()
		}
		err, incomplete := m.console.err, m.complete()
		m.mu.Unlock()
		switch {
		case state == Assembled:
			return 0, errors.New("run before boot")
		case m.failed != nil:
			return 0, m.failed
		case incomplete != nil:
			return 0, incomplete
		case err != nil:
			return 0, fmt.Errorf("writing the console: %w", err)
		case done != nil && done():
			return StopDone, nil
		case state != Running:
			return state.stop(), nil
		}
		if err := ctx.Err(); err != nil {
			return 0, err
		}
		if m.procs.Clock() >= until {
			m.flushConsole()
			return StopDeadline, nil
		}
		exit, err := m.procs.Run(ctx, until)
		if err == nil {
			err = m.takeOut()
		}
		if failed := m.doLater(); err == nil {
			err = failed
		}
		if err != nil {
			m.flushConsole()
			return 0, err
		}
		switch exit {
		case ExitDead:
			m.stateIfRunning(Halted)
		case ExitTripleFault:
			m.stateIfRunning(TripleFault)
		}
	}
}

// stop is what Run returns in that state.
func (s State) stop() Stop {
	switch s {
	case PoweredOff:
		return StopPowerOff
	case WasReset:
		return StopReset
	case Halted:
		return StopDead
	}
	return StopTripleFault
}

// Attention makes Run look at its conditions after the current instruction.
func (m *Machine) Attention() { m.procs.Stop() }

// Later has f done after the current instruction, between two Runs of the
// processors: within one the memory map cannot change. It is for devices, which
// hold the lock.
func (m *Machine) Later(f func() error) {
	m.later = append(m.later, f)
	m.Attention()
}

func (m *Machine) doLater() error {
	m.mu.Lock()
	list := m.later
	m.later = nil
	m.mu.Unlock()
	for _, f := range list {
		if err := f(); err != nil {
			return err
		}
	}
	return nil
}

// setState is for devices, which hold the lock.
func (m *Machine) setState(s State) {
	if m.state == Running {
		m.state = s
		m.Attention()
	}
}

func (m *Machine) stateIfRunning(s State) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.state == Running {
		m.state = s
	}
}

func (m *Machine) flushConsole() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.console.flush()
}

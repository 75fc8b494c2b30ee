package kvm

import (
	"sync"
	"time"
)

// stopwatch is wall time while the guest ran.
type stopwatch struct {
	mu    sync.Mutex
	ran   time.Duration
	since time.Time // zero while it stands
}

func (s *stopwatch) start() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.since = time.Now()
}

func (s *stopwatch) stop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ran += time.Since(s.since)
	s.since = time.Time{}
}

// set has a stopwatch that stands show d.
func (s *stopwatch) set(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ran, s.since = d, time.Time{}
}

func (s *stopwatch) read() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.since.IsZero() {
		return s.ran
	}
	return s.ran + time.Since(s.since)
}

// counters are the processors' time-stamp counters while they stand still.
type counters struct {
	at        uint64   // the furthest that any guest saw
	deadlines []uint64 // of the local APICs' timers, 0 for none
	free      bool     // KVM cannot set them (before Linux 5.16): they go on
}

// stopTSC notes the counters and holds back the timers that they drive.
func (p *processors) stopTSC() error {
	if p.tsc.free {
		return nil
	}
	p.tsc.deadlines = p.tsc.deadlines[:0]
	for _, v := range p.cpus {
		at, err := v.msr(msrTSC)
		if err != nil {
			return err
		}
		p.tsc.at = max(p.tsc.at, at)
		deadline, err := v.msr(msrTSCDeadline)
		if err != nil {
			return err
		}
		if deadline != 0 {
			if err := v.setMSRs(msrEntry{index: msrTSCDeadline}); err != nil {
				return err
			}
		}
		p.tsc.deadlines = append(p.tsc.deadlines, deadline)
	}
	return nil
}

// startTSC turns the counters back to where stopTSC found them: all by the
// same amount, for they are one to the guest.
func (p *processors) startTSC() error {
	if p.tsc.free {
		return nil
	}
	now, err := p.cpus[0].msr(msrTSC)
	if err != nil {
		return err
	}
	for i, v := range p.cpus {
		offset, err := v.tscOffset()
		if err == nil {
			err = v.setTSCOffset(offset - (now - p.tsc.at))
		}
		if err != nil {
			p.tsc.free = true
			return nil
		}
		if i < len(p.tsc.deadlines) && p.tsc.deadlines[i] != 0 {
			if err := v.setMSRs(msrEntry{index: msrTSCDeadline, value: p.tsc.deadlines[i]}); err != nil {
				return err
			}
		}
	}
	return nil
}

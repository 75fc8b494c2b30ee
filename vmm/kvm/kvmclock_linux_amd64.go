package kvm

import (
	"encoding/binary"
	"fmt"
	"time"
)

// guestClock is KVM's paravirtual clock: nanoseconds since the start, of which
// KVM keeps each processor's memory up to date, and the date at the start
// (Documentation/virt/kvm/x86/msr.rst). Guests whose time-stamp counter is not
// to be trusted go by it.
type guestClock struct {
	offered bool
	date    time.Time // at the start
	at      uint64    // ns, while it stands still
}

// offersClock says whether the host's KVM has the clock and lets this program
// answer for the date, of which KVM would tell the host's (Linux 5.10).
func offersClock(dev file, host *cpuidEntries) bool {
	for _, c := range []uintptr{capAdjustClock, capUserSpaceMSR, capFilterMSRs} {
		if n, err := dev.do(reqCheckExtension, c); err != nil || n <= 0 {
			return false
		}
	}
	return host.lookup(leafFeatures, 0).eax&featureClock != 0
}

// watchWallClock has KVM exit where a guest asks for the date.
func (m *virtualMachine) watchWallClock() error {
	if err := pass(m.file, reqEnableCap, &enableCap{cap: capUserSpaceMSR, args: [4]uint64{filteredMSRs}}); err != nil {
		return fmt.Errorf("KVM_CAP_X86_USER_SPACE_MSR: %w", err)
	}
	if err := m.denyWrites(msrWallClock); err != nil {
		return fmt.Errorf("KVM_X86_SET_MSR_FILTER: %w", err)
	}
	return nil
}

// tellDate puts the date at the start where a guest wants it: struct
// pvclock_wall_clock, whose version is even while its contents are whole.
func (p *processors) tellDate(addr uint64) bool {
	var b [12]byte
	binary.LittleEndian.PutUint32(b[0:], 2)
	binary.LittleEndian.PutUint32(b[4:], uint32(p.clock.date.Unix()))
	binary.LittleEndian.PutUint32(b[8:], uint32(p.clock.date.Nanosecond()))
	p.busy.Lock()
	defer p.busy.Unlock()
	r, ok := p.vm.find(addr)
	if !ok || r.ReadOnly || uint64(len(r.Mem))-(addr-r.Base) < uint64(len(b)) {
		return false
	}
	r.write(addr, b[:])
	return true
}

// stopClock notes what the clock shows.
func (p *processors) stopClock() error {
	if !p.clock.offered {
		return nil
	}
	var d clockData
	if err := pass(p.vm.file, reqGetClock, &d); err != nil {
		return fmt.Errorf("KVM_GET_CLOCK: %w", err)
	}
	p.clock.at = d.clock
	return nil
}

// startClock turns the clock back to where stopClock found it.
func (p *processors) startClock() error {
	if !p.clock.offered {
		return nil
	}
	if err := pass(p.vm.file, reqSetClock, &clockData{clock: p.clock.at}); err != nil {
		return fmt.Errorf("KVM_SET_CLOCK: %w", err)
	}
	return nil
}

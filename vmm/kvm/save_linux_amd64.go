package kvm

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"nvlab/vmm"
)

var _ vmm.Saver = (*processors)(nil)

// saved is what processors are between Runs.
type saved struct {
	Clock     time.Duration
	TSC       uint64
	Deadlines []uint64 // TSC deadlines of the processors
	Wall      uint64   // KVM's paravirtual clock, in ns
	Triple    bool
	Routes    []savedRoute // level-triggered messages whose ends KVM reports
	CPUs      []savedCPU
}

// savedCPU is a processor: structures as KVM gives them.
type savedCPU struct {
	Parts [][]byte // by number in parts
	MSRs  []savedMSR
}

type savedMSR struct {
	Index uint32
	Value uint64
}

// savedRoute is a message's address and data.
type savedRoute struct{ Addr, Data uint32 }

// part is a structure of a processor's state, which one request reads and
// another writes. Its size is in the number of both.
type part struct {
	name     string
	get, set uint32
	needs    uintptr // a capability, or 0
}

// parts are in the order in which they are written: the state of activity
// before what wakes a processor, the local APIC after the segment registers'
// structure, which says whether it is on. MSRs follow the local APIC, and
// what is about to be delivered is last.
var parts = []part{
	{"MP_STATE", reqGetMPState, reqSetMPState, 0},
	{"REGS", reqGetRegs, reqSetRegs, 0},
	{"SREGS", reqGetSregs, reqSetSregs, 0},
	{"XSAVE", reqGetXSAVE, reqSetXSAVE, capXSAVE},
	{"XCRS", reqGetXCRs, reqSetXCRs, capXCRs},
	{"DEBUGREGS", reqGetDebugRegs, reqSetDebugRegs, capDebugRegs},
	{"LAPIC", reqGetLAPIC, reqSetLAPIC, 0},
	{"VCPU_EVENTS", reqGetEvents, reqSetEvents, capVCPUEvents},
}

const (
	lapicPart  = 6
	eventsPart = 7
)

// size is that of the structure of a request.
func size(request uint32) int { return int(request >> 16 & 0x3fff) }

// ownMSRs are those that are no state of a processor: counters and timers
// that stopTSC keeps, and stores to which make KVM write the date.
var ownMSRs = []uint32{msrTSC, msrTSCDeadline, msrOldClock, msrWallClock}

// Save returns what the processors are. A Run leaves no instruction half done.
func (p *processors) Save() ([]byte, error) {
	if p.ended != nil {
		return nil, p.ended
	}
	s := saved{Clock: p.watch.read(), TSC: p.tsc.at, Deadlines: p.tsc.deadlines, Wall: p.clock.at, Triple: p.triple,
		Routes: p.vm.messages()}
	msrs, err := savedMSRs(p.dev)
	if err != nil {
		return nil, err
	}
	for _, v := range p.cpus {
		c, err := v.save(msrs)
		if err != nil {
			return nil, fmt.Errorf("processor %d: %w", v.id, err)
		}
		s.CPUs = append(s.CPUs, c)
	}
	return json.Marshal(s)
}

func (v *vcpu) save(msrs []uint32) (savedCPU, error) {
	var c savedCPU
	for _, part := range parts {
		b := make([]byte, size(part.get))
		if err := v.block(part.get, b); err != nil {
			return c, fmt.Errorf("KVM_GET_%s: %w", part.name, err)
		}
		c.Parts = append(c.Parts, b)
	}
	for _, index := range msrs {
		if value, err := v.msr(index); err == nil { // else this processor has none
			c.MSRs = append(c.MSRs, savedMSR{index, value})
		}
	}
	return c, nil
}

// Load makes the processors what others were.
func (p *processors) Load(state []byte) error {
	var s saved
	if err := json.Unmarshal(state, &s); err != nil {
		return fmt.Errorf("state of processors: %w", err)
	}
	if len(s.CPUs) != len(p.cpus) {
		return fmt.Errorf("state of %d processors: want %d", len(s.CPUs), len(p.cpus))
	}
	if err := p.vm.setMessages(s.Routes); err != nil {
		return err
	}
	for i, v := range p.cpus {
		if err := v.load(s.CPUs[i]); err != nil {
			return fmt.Errorf("processor %d: %w", v.id, err)
		}
		if p.tsc.free {
			if err := v.setMSRs(msrEntry{index: msrTSC, value: s.TSC}); err != nil {
				return err
			}
		}
	}
	p.watch.set(s.Clock)
	p.tsc.at, p.tsc.deadlines = s.TSC, s.Deadlines
	p.clock.at = s.Wall
	p.started, p.ended, p.triple = true, nil, s.Triple
	p.endLost(s)
	return nil
}

func (v *vcpu) load(c savedCPU) error {
	if len(c.Parts) != len(parts) {
		return fmt.Errorf("a state of %d parts: want %d", len(c.Parts), len(parts))
	}
	for i, part := range parts {
		if i == eventsPart {
			if err := v.loadMSRs(c.MSRs); err != nil {
				return err
			}
		}
		if len(c.Parts[i]) != size(part.set) {
			return fmt.Errorf("KVM_SET_%s: %d bytes, want %d", part.name, len(c.Parts[i]), size(part.set))
		}
		if err := v.block(part.set, c.Parts[i]); err != nil {
			return fmt.Errorf("KVM_SET_%s: %w", part.name, err)
		}
	}
	return nil
}

// loadMSRs writes those that differ: some that can be read take no other value
// than they have.
func (v *vcpu) loadMSRs(msrs []savedMSR) error {
	for _, m := range msrs {
		if now, err := v.msr(m.Index); err == nil && now == m.Value {
			continue
		}
		if err := v.setMSRs(msrEntry{index: m.Index, value: m.Value}); err != nil {
			return err
		}
	}
	return nil
}

// endLost reports the ends of level-triggered interrupts that KVM had yet to
// report when the state was saved: no structure has them. Such a vector is in
// no local APIC any more; to report the end of one that never was does no harm.
func (p *processors) endLost(s saved) {
	const inService, requested = 0x100, 0x200 // 8 registers each, 16 bytes apart
	for _, m := range s.Routes {
		vector := uint8(m.Data)
		at := int(vector>>5)<<4 + int(vector>>3&3)
		held := slices.ContainsFunc(s.CPUs, func(c savedCPU) bool {
			apic := c.Parts[lapicPart]
			return (apic[inService+at]|apic[requested+at])>>(vector&7)&1 != 0
		})
		if !held {
			p.busy.Lock()
			p.bus.EndOfInterrupt(vector)
			p.busy.Unlock()
		}
	}
}

// Cleaned begins the log of stores anew.
func (p *processors) Cleaned() {
	if err := p.vm.clearDirty(); err != nil && p.ended == nil {
		p.ended = err
	}
}

// Reseed has nothing to do: what RDRAND gives is the host's.
func (p *processors) Reseed(uint64) {}

// savedMSRs lists the MSRs that are state of a processor. The error says what
// KVM lacks to save one.
func savedMSRs(dev file) ([]uint32, error) {
	for _, part := range parts {
		if part.needs == 0 {
			continue
		}
		if n, err := dev.do(reqCheckExtension, part.needs); err != nil || n <= 0 {
			return nil, fmt.Errorf("the host's KVM has no KVM_GET_%s", part.name)
		}
	}
	list := &msrIndexList{n: maxMSRs}
	if err := pass(dev, reqMSRIndexList, list); err != nil {
		if errors.Is(err, unix.E2BIG) {
			return nil, fmt.Errorf("the host's KVM lists %d MSRs, more than %d", list.n, maxMSRs)
		}
		return nil, fmt.Errorf("KVM_GET_MSR_INDEX_LIST: %w", err)
	}
	msrs := slices.Clone(list.index[:list.n])
	return slices.DeleteFunc(msrs, func(i uint32) bool { return slices.Contains(ownMSRs, i) }), nil
}

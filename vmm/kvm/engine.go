// Package kvm runs a machine's processors on Linux's KVM: in hardware, with
// KVM's own local APICs and the machine's I/O APIC (KVM_CAP_SPLIT_IRQCHIP).
//
// The processor is the model of package vmm, cut to what the host has. Time is
// wall time while the guest runs: between two runs it stands still, and so do
// the time-stamp counter and KVM's paravirtual clock. That clock's date is the
// machine's, not the host's.
//
// Processors are not to be trusted with a host that other programs use hard:
// what a guest does in a time depends on it.
package kvm

import (
	"fmt"

	"nvlab/vmm"
)

// Engine makes processors that KVM runs. Its zero value is ready.
type Engine struct {
	host host // nil is this host
}

var _ vmm.Engine = Engine{}

// Name returns "kvm".
func (Engine) Name() string { return "kvm" }

// A Report is what Probe found out. Each text is one line.
type Report struct {
	// Err is why no guest runs here; it wraps vmm.ErrNoEngine.
	Err error
	// Broken is why no stock guest gets far here, though small ones run, or "".
	Broken string
	// Slow is why a guest runs here slower than in software, or "".
	Slow string
	// Advice is what to do about it; "" if there is nothing.
	Advice string
	// TSCKHz is the frequency of a guest's time-stamp counter, 0 if unknown.
	TSCKHz uint64
}

// OK says that the engine runs a stock guest at full speed.
func (r Report) OK() bool { return r.Why() == "" }

// Why is what speaks most against the engine, or "".
func (r Report) Why() string {
	switch {
	case r.Err != nil:
		return r.Err.Error()
	case r.Slow != "":
		return r.Slow
	}
	return r.Broken
}

// unusable is why there are no processors.
type unusable struct {
	why    string
	advice string
	cause  error // nil for none
}

func (e *unusable) Error() string {
	if e.cause == nil {
		return e.why
	}
	return e.why + ": " + e.cause.Error()
}

func (e *unusable) Unwrap() []error { return []error{vmm.ErrNoEngine, e.cause} }

// An EmulationError says that KVM met an instruction that the hardware does
// not run for it and that it cannot emulate.
type EmulationError struct {
	RIP  uint64
	Code []byte // at RIP; empty where KVM does not say
}

func (e *EmulationError) Error() string {
	if len(e.Code) == 0 {
		return fmt.Sprintf("the host's KVM cannot emulate the instruction at rip=%#x", e.RIP)
	}
	return fmt.Sprintf("the host's KVM cannot emulate the instruction at rip=%#x, bytes % x", e.RIP, e.Code)
}

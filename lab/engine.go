package lab

import (
	"fmt"

	"nvlab/vmm"
	"nvlab/vmm/soft"
)

// An EngineProbe is what nvlab found out about an engine on this host.
type EngineProbe struct {
	Engine string
	OK     bool
	Detail string // what was found
	Advice string // what to do about it; "" if there is nothing
}

// Probe looks at each engine.
func Probe() []EngineProbe {
	return []EngineProbe{
		{Engine: "soft", OK: true, Detail: "x86-64 CPU in software: runs anywhere, repeats exactly"},
		{Engine: "kvm", Detail: noKVM},
	}
}

const noKVM = "the KVM engine is not available in this version of nvlab"

// newEngine returns the engine of that name.
func newEngine(name string) (vmm.Engine, error) {
	switch name {
	case "auto", "soft":
		return soft.Engine{}, nil
	case "kvm":
		return nil, &Error{Class: ClassHost, Err: &NotYetError{"engine=\"kvm\": the KVM engine"}}
	}
	return nil, fmt.Errorf(`engine=%q: want "auto", "soft" or "kvm"`, name)
}

// engineReason is why newEngine takes what it takes.
func engineReason(name string) string {
	if name == "soft" {
		return "asked for"
	}
	return noKVM
}

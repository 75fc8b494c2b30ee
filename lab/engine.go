package lab

import (
	"cmp"
	"fmt"

	"nvlab/vmm"
	"nvlab/vmm/kvm"
	"nvlab/vmm/soft"
)

// An EngineProbe is what nvlab found out about an engine on this host.
type EngineProbe struct {
	Engine string
	OK     bool
	Detail string // what was found
	Advice string // what to do about it; "" if there is nothing
}

// Probe looks at each engine. The look at KVM is one for the whole process.
func Probe() []EngineProbe {
	return []EngineProbe{
		{Engine: "soft", OK: true, Detail: "x86-64 CPU in software: runs anywhere, repeats exactly; " + speed()},
		ofKVM(kvm.Probe()),
	}
}

func ofKVM(r kvm.Report) EngineProbe {
	k := EngineProbe{Engine: "kvm", OK: r.OK(), Detail: r.Why(), Advice: r.Advice}
	if r.Slow != "" && r.Broken != "" {
		k.Detail += "; " + r.Broken
	}
	if k.OK {
		k.Detail = "the host's KVM runs a guest's kernel and programs in hardware"
	}
	return k
}

// speed says how the software engine executes on this host.
func speed() string {
	if err := soft.Compiles(); err != nil {
		return "interpreted: " + err.Error()
	}
	return "hot code is compiled"
}

// newEngine returns the engine of that name. Machines of the software engine share
// translations, which may be nil. A host that is merely slow on KVM
// does not keep one from asking for it.
func newEngine(name string, shared *soft.Translations) (vmm.Engine, error) {
	switch name {
	case "auto":
		if kvm.Probe().OK() {
			return kvm.Engine{}, nil
		}
		return soft.Engine{Translations: shared}, nil
	case "soft":
		return soft.Engine{Translations: shared}, nil
	case "kvm":
		r := kvm.Probe()
		err := r.Err
		if err == nil && r.Broken != "" {
			err = fmt.Errorf("%w: %s", vmm.ErrNoEngine, r.Broken)
		}
		if err != nil {
			return nil, &Error{Class: ClassHost, Err: fmt.Errorf("engine=\"kvm\": %w", err)}
		}
		return kvm.Engine{}, nil
	}
	return nil, fmt.Errorf(`engine=%q: want "auto", "soft" or "kvm"`, name)
}

// engineReason is why newEngine took what it took, for the name and the reason
// that it was given, and that the software engine is slower than it could be,
// where it is.
func engineReason(name, given string, taken vmm.Engine) string {
	why := cmp.Or(given, "asked for")
	if name == "auto" {
		why = cmp.Or(kvm.Probe().Why(), "hardware virtualisation")
	}
	if err := soft.Compiles(); err != nil && taken.Name() == "soft" {
		why += "; interpreted: " + err.Error()
	}
	return why
}

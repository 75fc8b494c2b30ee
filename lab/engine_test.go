package lab

import (
	"errors"
	"strings"
	"testing"

	"nvlab/vmm/kvm"
)

// TestProbeOfKVM is what the doctor shows of each outcome.
func TestProbeOfKVM(t *testing.T) {
	const advice = "take another host"
	for _, c := range []struct {
		name   string
		report kvm.Report
		want   EngineProbe
	}{
		{"hardware", kvm.Report{TSCKHz: 1}, EngineProbe{OK: true, Detail: "the host's KVM runs a guest's kernel and programs in hardware"}},
		{"none", kvm.Report{Err: errors.New("no KVM"), Advice: advice}, EngineProbe{Detail: "no KVM", Advice: advice}},
		{"slow", kvm.Report{Slow: "slow", Advice: advice}, EngineProbe{Detail: "slow", Advice: advice}},
		{"broken", kvm.Report{Broken: "broken", Advice: advice}, EngineProbe{Detail: "broken", Advice: advice}},
		{"both", kvm.Report{Slow: "slow", Broken: "broken", Advice: advice}, EngineProbe{Detail: "slow; broken", Advice: advice}},
	} {
		c.want.Engine = "kvm"
		if got := ofKVM(c.report); got != c.want {
			t.Errorf("%s: the doctor says %+v, want %+v", c.name, got, c.want)
		}
	}
}

// TestEngineReason: nobody is said to have asked for what a command decided.
func TestEngineReason(t *testing.T) {
	for given, want := range map[string]string{"": "asked for", "it has to be": "it has to be"} {
		l, err := New(Options{Engine: "soft", EngineReason: given})
		if err != nil {
			t.Fatal(err)
		}
		if name, why := l.Engine(); name != "soft" || !strings.HasPrefix(why, want) {
			t.Errorf("with the reason %q the engine is %s (%s), want %s", given, name, why, want)
		}
	}
}

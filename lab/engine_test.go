package lab

import (
	"errors"
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

package lab

import (
	"strings"
	"testing"

	"nvlab/nvdimm/persist"
)

func TestPowerOfAMachineThatIsOff(t *testing.T) {
	x := newExperiment(t)
	var o VMOptions
	o.Slots, o.MaxMem, o.Engine = 1, 1<<30, "soft"
	v, err := x.VM(o)
	if err != nil {
		t.Fatal(err)
	}
	if err := v.PowerCut(persist.KeepNone, false); err == nil || !strings.Contains(err.Error(), "the VM is off") {
		t.Errorf("cutting the power of a VM that is off = %v", err)
	}
	if err := v.PowerCutOn(PowerCut{Event: EventStore, Nth: 1}); err != nil {
		t.Errorf("arming a power cut before power-on = %v", err)
	}
	v.off()
	if v.power.Armed() == nil {
		t.Error("what was armed before power-on is forgotten")
	}
	if err := v.WaitOff(t.Context(), DefaultTimeout); err != nil {
		t.Errorf("waiting for a VM that is off = %v", err)
	}
	if !v.AssumesADR() {
		t.Error("a platform without capabilities and flush hints promises something")
	}
}

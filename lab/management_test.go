package lab

import (
	"testing"
	"time"

	"nvlab/nvdimm/firmware"
)

// TestForksKnowTheirFirmware: a fork in the middle of a scrub finds what the
// scrub finds, hears of its own DIMM's errors, and what it repairs is broken in
// the VM that it was forked from, which can go back to before.
func TestForksKnowTheirFirmware(t *testing.T) {
	x := vmExperiment(t)
	b, err := x.FileBackend(FileBackendOptions{Path: "pmem0.img", Size: 64 << 20, Share: true})
	if err != nil {
		t.Fatal(err)
	}
	v, err := x.VM(VMOptions{Slots: 1, MaxMem: 4 << 30, Engine: "soft", ARS: &firmware.ARSConfig{Duration: 5 * time.Second, Records: 10, ClearUnit: 512}})
	if err != nil {
		t.Fatal(err)
	}
	d, err := v.Plug(PlugOptions{Backend: b, Family: "intel"})
	if err != nil {
		t.Fatal(err)
	}
	poison := func(d *NVDIMM, offset uint64, latent bool) {
		t.Helper()
		if err := d.Poison(firmware.PoisonedRange{Offset: offset, Length: 512, Latent: latent}); err != nil {
			t.Fatal(err)
		}
	}
	bad := func(v *VM) string {
		return mustRun(t, v, "ndctl wait-scrub >/dev/null; cat /sys/block/pmem0/badblocks")
	}
	poison(d, 0x1000, true)
	mustBoot(t, v) // which starts a scrub
	s, err := v.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	f, err := s.Fork(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if got := bad(f); got != "8 1\n" {
		t.Errorf("the scrub of the fork finds %q, want block 8", got)
	}
	own := f.NVDIMMs()[0]
	poison(own, 0x2000, false)
	if err := f.NotifyErrors(); err != nil {
		t.Fatal(err)
	}
	f.Wait(t.Context(), 3*time.Second)
	if got := bad(f); got != "8 1\n16 1\n" {
		t.Errorf("after the notification the fork knows %q, want blocks 8 and 16", got)
	}
	mustRun(t, f, "ndctl clear-errors namespace0.0")
	if len(own.Poisoned()) != 0 || len(d.Poisoned()) != 1 || !d.Poisoned()[0].Latent {
		t.Errorf("cleared in the fork, it has %+v and the VM that it is of %+v", own.Poisoned(), d.Poisoned())
	}
	if got := bad(v); got != "8 1\n" {
		t.Errorf("the scrub of the VM finds %q, want block 8", got)
	}
	if err := v.Restore(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	if d := v.NVDIMMs()[0]; !d.Poisoned()[0].Latent {
		t.Errorf("restored, what the scrub found is known: %+v", d.Poisoned())
	}
	if got := bad(v); got != "8 1\n" {
		t.Errorf("the scrub that is restored finds %q, want block 8", got)
	}
}

func TestMachineCheckIsRefused(t *testing.T) {
	x := newExperiment(t)
	_, err := x.VM(VMOptions{MachineCheck: true})
	if want := "the processors of neither engine report poison that is consumed yet"; err == nil || err.Error() != want {
		t.Errorf("VM(MachineCheck) = %v, want %s", err, want)
	}
}

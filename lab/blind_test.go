package lab

import (
	"strings"
	"testing"

	"nvlab/nvdimm/persist"
	"nvlab/vmm"
	"nvlab/vmm/soft"
)

// blindEngine runs guests on the software engine and shows as little of them
// as KVM does: no store, flush or fence.
type blindEngine struct{ soft.Engine }

func (blindEngine) Name() string { return "kvm" }

func (e blindEngine) New(spec vmm.ProcessorSpec, bus vmm.Bus) (vmm.Processors, error) {
	p, err := e.Engine.New(spec, bus)
	return blindProcessors{p}, err
}

type blindProcessors struct{ vmm.Processors }

func (p blindProcessors) Wrote(base, size uint64) {
	p.Processors.(interface{ Wrote(base, size uint64) }).Wrote(base, size)
}

// Save, Load and Cleaned pass on what a machine's snapshot needs.
func (p blindProcessors) Save() ([]byte, error) { return p.Processors.(vmm.Saver).Save() }
func (p blindProcessors) Load(b []byte) error   { return p.Processors.(vmm.Saver).Load(b) }
func (p blindProcessors) Cleaned()              { p.Processors.(vmm.Saver).Cleaned() }

func (p blindProcessors) Map(r vmm.Region) error {
	if r.Observed {
		panic("memory is to be observed that cannot be")
	}
	return p.Processors.Map(r)
}

// blindVM is off, and has one DIMM without or with labels.
func blindVM(t *testing.T, x *Experiment, name string, hints int, labelSize uint64) (*VM, *Backend) {
	t.Helper()
	b, err := x.FileBackend(FileBackendOptions{Path: name, Size: 32 << 20, Share: true})
	if err != nil {
		t.Fatal(err)
	}
	var o VMOptions
	o.Slots, o.MaxMem, o.FlushHints = 1, 4<<30, hints
	v, err := x.VM(o)
	if err != nil {
		t.Fatal(err)
	}
	v.engine = blindEngine{}
	if _, err := v.Plug(PlugOptions{Backend: b, ID: "nvdimm1", LabelSize: labelSize}); err != nil {
		t.Fatal(err)
	}
	return v, b
}

// TestBlindEngineRefuses: what cannot be exact without seeing stores is
// refused, with the reason and the way out; nothing is done by halves.
func TestBlindEngineRefuses(t *testing.T) {
	x := newExperiment(t)
	hints, _ := blindVM(t, x, "hints.img", 1, 0)
	none, _ := blindVM(t, x, "none.img", 0, 0)
	for _, v := range []*VM{hints, none} {
		for _, event := range []string{EventStore, EventFlush, EventFence} {
			for _, keep := range []persist.Keep{persist.KeepNone, persist.KeepAll, persist.KeepRandom} {
				refused(t, "power_cut_on "+event, v.PowerCutOn(PowerCut{Event: event, Nth: 1, Keep: keep}))
			}
		}
		refused(t, "a random state", v.PowerCutOn(PowerCut{Event: EventLabelWrite, Nth: 1, Keep: persist.KeepRandom}))
		if err := v.PowerCutOn(PowerCut{Event: EventLabelWrite, Nth: 1, Keep: persist.KeepAll}); err != nil {
			t.Errorf("power_cut_on label_write, keep all = %v", err)
		}
		v.state = Running
		_, err := v.Trace(t.Context(), Command{Shell: "true"})
		refused(t, "a trace", err)
		refused(t, "a random power cut", v.PowerCut(persist.KeepRandom, false))
		v.state = Off
	}
	refused(t, "keep none without hints", none.PowerCutOn(PowerCut{Event: EventLabelWrite, Nth: 1}))
	none.state = Running
	refused(t, "a power cut without hints", none.PowerCut(persist.KeepNone, false))
	none.state = Off
	if why, ok := none.FallsBack(persist.KeepNone); ok {
		t.Errorf("without flush hints there is something to fall back to: %s", why)
	}
	if err := hints.PowerCutOn(PowerCut{Event: EventFlushHint, Nth: 1}); err != nil {
		t.Errorf("power_cut_on flush_hint = %v", err)
	}
	if why, ok := hints.FallsBack(persist.KeepNone); !ok || !strings.Contains(why, "latest store to one of its flush hints") {
		t.Errorf("with flush hints, what keep=none falls back to is told as %q", why)
	}
}

func refused(t *testing.T, what string, err error) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), "single stores") || !strings.Contains(err.Error(), `engine="soft" sees them`) {
		t.Errorf("%s on an engine that shows no stores = %v; want a refusal that says so", what, err)
	}
}

// TestBlindPowerCut: with flush hints a cut goes back to the latest; label
// writes stay, and power can fail before one.
func TestBlindPowerCut(t *testing.T) {
	t.Parallel()
	x := bootExperiment(t)
	v, b := blindVM(t, x, "pmem0.img", 1, 128<<10)
	mustBoot(t, v)
	_, labels := mustFork(t, v)
	if err := v.power.Blind(); err == nil || !strings.HasPrefix(err.Error(), "the kvm engine runs") {
		t.Errorf("the engine is blind because %v, want its name and the reason", err)
	}
	mustRun(t, v, "echo durable | dd of=/dev/pmem0 bs=4096 seek=1 conv=sync,fsync oflag=direct")
	mustRun(t, v, "echo visible | dd of=/dev/pmem0 bs=4096 seek=2 conv=sync oflag=direct") // without a flush
	if got := word(t, b, 2*4096); got != "visible" {
		t.Errorf("the guest's write reads %q before the power cut", got)
	}
	if err := v.PowerCut(persist.KeepNone, false); err != nil {
		t.Fatal(err)
	}
	if flushed, not := word(t, b, 4096), word(t, b, 2*4096); flushed != "durable" || not != "\x00\x00\x00\x00\x00\x00\x00" {
		t.Errorf("after the power cut the flushed write reads %q, the other %q; want it, and zeros", flushed, not)
	}
	mustBoot(t, v)
	if err := v.PowerCutOn(PowerCut{Event: EventFlushHint, Nth: 1}); err != nil {
		t.Fatal(err)
	}
	mustRun(t, v, "echo visible | dd of=/dev/pmem0 bs=4096 seek=2 conv=sync oflag=direct")
	r, err := v.Run(t.Context(), Command{Shell: "sync /dev/pmem0", Timeout: DefaultTimeout})
	if err != nil || r.Ended || v.State() != Off {
		t.Errorf("a flush whose hint the power fails before: %+v, %v, VM %s", r, err, v.State())
	}
	if flushed, not := word(t, b, 4096), word(t, b, 2*4096); flushed != "durable" || not == "visible" {
		t.Errorf("after a cut before a flush hint the earlier write reads %q, the later %q", flushed, not)
	}

	v, b = labels, labels.NVDIMMs()[0].Backend()
	mustRun(t, v, "ndctl disable-region region0 && ndctl init-labels -f nmem0 && ndctl enable-region region0 && ndctl create-namespace -m raw -r region0 -s 16M")
	before, err := b.Labels(0)
	if err != nil || len(before.Active) != 1 {
		t.Fatalf("labels: %v, %v, want one", before.Active, err)
	}
	if err := v.PowerCutOn(PowerCut{Event: EventLabelWrite, Nth: 1}); err != nil {
		t.Fatal(err)
	}
	r, err = v.Run(t.Context(), Command{Shell: "ndctl destroy-namespace -f namespace0.0", Timeout: DefaultTimeout})
	if err != nil || r.Ended || v.State() != Off {
		t.Errorf("the command that a power cut ends: %+v, %v, VM %s", r, err, v.State())
	}
	if after, err := b.Labels(0); err != nil || len(after.Active) != 1 || after.Active[0].UUID != before.Active[0].UUID {
		t.Errorf("after a cut before the first label write the labels are %v, %v", after.Active, err)
	}
}

func word(t *testing.T, b *Backend, at uint64) string {
	t.Helper()
	p, err := b.Bytes(at, 7)
	if err != nil {
		t.Fatal(err)
	}
	return string(p)
}

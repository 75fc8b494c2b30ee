package power

import (
	"slices"
	"strings"
	"testing"

	"nvlab/nvdimm"
	"nvlab/nvdimm/persist"
	"nvlab/vmm/observe"
)

func ptr[T any](v T) *T { return &v }

func TestCutMatches(t *testing.T) {
	const page = 4096
	for _, tt := range []struct {
		name   string
		cut    *Cut
		slot   int
		offset uint64
		want   bool
	}{
		{"none is armed", nil, 0, 0, false},
		{"any store", &Cut{Event: Store, Slot: Any}, 0, 99, true},
		{"any store, to no DIMM that is known", &Cut{Event: Store, Slot: Any}, noSlot, 99, true},
		{"another event", &Cut{Event: Flush, Slot: Any}, 0, 99, false},
		{"its DIMM", &Cut{Event: Store, Slot: 0}, 0, 99, true},
		{"another DIMM", &Cut{Event: Store, Slot: 0}, 1, 99, false},
		{"no DIMM", &Cut{Event: Store, Slot: 0}, noSlot, 99, false},
		{"from an offset", &Cut{Event: Store, Slot: Any, Offset: page}, 0, page, true},
		{"across it", &Cut{Event: Store, Slot: Any, Offset: page}, 0, page - 1, true},
		{"below it", &Cut{Event: Store, Slot: Any, Offset: page}, 0, page - 8, false},
		{"within a length", &Cut{Event: Store, Slot: Any, Offset: page, Length: page}, 0, 2*page - 1, true},
		{"beyond it", &Cut{Event: Store, Slot: Any, Offset: page, Length: page}, 0, 2 * page, false},
	} {
		if got := tt.cut.matches(Store, tt.slot, tt.offset, 8); got != tt.want {
			t.Errorf("%s: matches() = %v, want %v", tt.name, got, tt.want)
		}
	}
}

// TestArmedCut arms a cut before each kind of event and makes two of each.
func TestArmedCut(t *testing.T) {
	for _, event := range []Event{Store, Flush, Fence, FlushHint, LabelWrite} {
		for nth := 1; nth <= 3; nth++ {
			m := newMachine(t, nvdimm.Config{FlushHints: 1, HintBase: 1 << 31, Cap: ptr[int64](2)})
			d := m.plugNew()
			m.tracker.Arm(Cut{Event: event, Slot: Any, Nth: nth, Keep: persist.KeepNone}) // counts from power-on
			m.powerOn()
			for i := range uint64(2) {
				m.store(d, i*64, 1)
				m.tracker.Flush(&observe.Flush{Base: d.Addr(), Offset: i * 64, Op: observe.CLWB})
				m.tracker.Fence(&observe.Fence{Order: observe.SFENCE})
				m.hint(d)
				m.writeLabel(d, uint32(i)*8, "label...")
			}
			failed := nth <= 2
			if m.tracker.Failed() != failed || m.stopped != map[bool]int{true: 1}[failed] {
				t.Errorf("%s %d of 2: failed %v, and the machine was stopped %d times", event, nth, m.tracker.Failed(), m.stopped)
			}
			if err := m.tracker.Missed(); (err == nil) != failed || err != nil && err.Error() != string(event)+" 3 did not strike: such events came 2 times" {
				t.Errorf("%s %d of 2: Missed() = %v", event, nth, err)
			}
			m.powerOff()
			// What was durable before the event of each kind in the first and second pass.
			durable := map[Event][2]int{Store: {0, 1}, Flush: {0, 1}, Fence: {0, 1}, FlushHint: {1, 2}, LabelWrite: {1, 2}}
			labels := map[Event][2]int{Store: {0, 1}, Flush: {0, 1}, Fence: {0, 1}, FlushHint: {0, 1}, LabelWrite: {0, 1}}
			want, wantLabels := 2, 2
			if failed {
				want, wantLabels = durable[event][nth-1], labels[event][nth-1]
			}
			file := contents(t, d)
			got, gotLabels := 0, 0
			for i := range 2 {
				got += int(file[i*64])
				if file[labelAt(d)+uint64(i)*8] != 0 {
					gotLabels++
				}
			}
			if got != want || gotLabels != wantLabels {
				t.Errorf("%s %d of 2: %d stores and %d label writes survived, want %d and %d", event, nth, got, gotLabels, want, wantLabels)
			}
			if m.tracker.Armed() != nil || m.tracker.On() || m.tracker.Failed() {
				t.Errorf("%s %d of 2: after power-off a cut is armed, or there is power", event, nth)
			}
		}
	}
}

// TestTornLabelWrite: a random cut before a label write leaves any number of its
// pieces of 8 bytes, and the rest as it was.
func TestTornLabelWrite(t *testing.T) {
	m := newMachine(t, nvdimm.Config{})
	d := m.plugNew()
	m.tracker.Arm(Cut{Event: LabelWrite, Slot: Any, Nth: 1, Keep: persist.KeepRandom})
	m.powerOn()
	if s := m.writeLabel(d, 0, strings.Repeat("x", 80)); s != nvdimm.StatusFailed {
		t.Errorf("the label write in which the power fails ends with %d, want %d", s, nvdimm.StatusFailed)
	}
	m.powerOff()
	area := contents(t, d)[labelAt(d):][:88]
	if n := slices.Index(area, 0); n%8 != 0 || n != 56 {
		t.Errorf("the torn label write left %d bytes, want the 56 of the seed", n)
	}
}

// TestResetKeepsWhatIsUndecided: a reset makes nothing durable.
func TestResetKeepsWhatIsUndecided(t *testing.T) {
	m := newMachine(t, nvdimm.Config{})
	d := m.plugNew()
	m.powerOn()
	m.store(d, 0, 1)
	m.powerOn()
	m.tracker.Fail(persist.KeepNone, false)
	m.powerOff()
	if got := contents(t, d)[0]; got != 0 {
		t.Errorf("a store before a reset, which nobody flushed, left %d after a power failure, want 0", got)
	}
	m.powerOn()
	m.store(d, 0, 1)
	m.powerOff()
	if got := contents(t, d)[0]; got != 1 {
		t.Errorf("a clean power-off left %d of a store, want 1", got)
	}
}

// TestEpochs: where single stores are not seen a power failure goes back to the
// latest flush hint of each DIMM, and leaves label areas.
func TestEpochs(t *testing.T) {
	m := newMachine(t, nvdimm.Config{FlushHints: 1, HintBase: 1 << 31})
	m.blind = errBlind
	a, b := m.plugNew(), m.plugNew()
	m.powerOn()
	m.store(a, 0, 1)
	m.store(b, 0, 1)
	m.hint(a)
	m.store(a, 1, 2)
	m.writeLabel(a, 0, "label...")
	m.tracker.Fail(persist.KeepNone, false)
	m.powerOff()
	fileA, fileB := contents(t, a), contents(t, b)
	if fileA[0] != 1 || fileA[1] != 0 || fileB[0] != 0 || fileA[labelAt(a)] != 'l' {
		t.Errorf("after the power failed: %d before the hint, %d after it, %d without one, label %q; want 1, 0, 0, \"l\"", fileA[0], fileA[1], fileB[0], fileA[labelAt(a)])
	}
	if m.tracker.Blind() != nil {
		t.Error("a machine that is off is said to show no stores")
	}
}

package lab

import (
	"slices"
	"strings"
	"testing"
	"time"

	"nvlab/nvdimm"
)

// TestPlugBetweenTwoPiecesOfFIT plugs a DIMM when the guest has read one piece
// of _FIT and not the next: it starts again, and sees it.
func TestPlugBetweenTwoPiecesOfFIT(t *testing.T) {
	x := vmExperiment(t)
	var o VMOptions
	o.Slots, o.MaxMem = 40, 4<<30
	v, err := x.VM(o)
	if err != nil {
		t.Fatal(err)
	}
	add := func() {
		t.Helper()
		b, err := x.RAMBackend(RAMBackendOptions{Size: 4 << 20, Align: 4096})
		if err == nil {
			_, err = v.Plug(PlugOptions{Backend: b})
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if v.Engine() != "soft" {
		t.Skip("only the software engine stops after a microsecond")
	}
	const pieces = 24 // DIMMs that take two
	for range pieces {
		add()
	}
	mustBoot(t, v)
	var offsets []uint32
	old := v.root.OnCall
	v.root.OnCall = func(c *nvdimm.Call) {
		if c.Handle == nvdimm.FITHandle && c.Function == nvdimm.FuncReadFIT {
			offsets = append(offsets, c.Offset)
		}
		old(c)
	}
	add()
	const size = 184 // of the structures of a DIMM
	for i := 0; len(offsets) == 0; i++ {
		if i == 100_000 {
			t.Fatal("the guest does not read _FIT")
		}
		if err := v.Wait(t.Context(), time.Microsecond); err != nil {
			t.Fatal(err)
		}
	}
	if len(offsets) != 1 || offsets[0] != 0 {
		t.Fatalf("in a microsecond the guest read _FIT at %d", offsets)
	}
	add()
	if err := v.Wait(t.Context(), 500*time.Millisecond); err != nil {
		t.Fatal(err)
	}
	want := []uint32{0, 4088, 0, 4088, (pieces + 2) * size}
	if len(offsets) < len(want) || !slices.Equal(offsets[:len(want)], want) {
		t.Errorf("the guest read _FIT at %d, want %d to begin with", offsets, want)
	}
	if got := strings.Count(mustRun(t, v, "ndctl list -R"), `"dev"`); got != pieces+2 {
		t.Errorf("the guest has %d regions, want %d", got, pieces+2)
	}
}

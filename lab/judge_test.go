package lab

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"nvlab/nvdimm/backend"
	"nvlab/nvdimm/btt"
	"nvlab/nvdimm/persist"
	"nvlab/vmm/observe"
)

// sectorVM runs, with a namespace in sector mode whose first sectors were
// written.
func sectorVM(t testing.TB, x *Experiment) (*VM, *Backend) {
	t.Helper()
	v, b := labelledVM(t, x)
	mustBoot(t, v)
	mustRun(t, v, "ndctl disable-region region0 && ndctl init-labels -f nmem0 && ndctl enable-region region0 && "+
		"ndctl create-namespace -m sector -r region0 -s 32M && dd if=/dev/urandom of=/tmp/data bs=4096 count=16 && "+
		"dd if=/tmp/data of=/dev/pmem0s bs=4096 count=16 oflag=direct && dd if=/dev/urandom of=/tmp/data bs=4096 count=16")
	return v, b
}

// firstSectors is how many sectors the tests write.
const firstSectors = 16

// hostSectors is the host's verdict on the namespace, and a hash of its first
// sectors.
func hostSectors(t *testing.T, b *Backend) (string, error) {
	t.Helper()
	area, err := b.Labels(0)
	if err != nil || len(area.Active) != 1 {
		t.Fatalf("%d namespaces, %v", len(area.Active), err)
	}
	ns, err := b.Bytes(area.Active[0].DPA, area.Active[0].RawSize)
	if err != nil {
		t.Fatal(err)
	}
	table, err := btt.Open(ns)
	if err != nil {
		t.Fatal(err)
	}
	if err := table.Check(); err != nil {
		return "", err
	}
	h := sha256.New()
	for sector := range firstSectors {
		at, ok := table.Block(sector)
		if !ok {
			t.Fatalf("sector %d has no block", sector)
		}
		h.Write(ns[at : at+table.SectorSize()])
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// guestSectors is the guest's.
func guestSectors(t *testing.T, v *VM) (hash string, sound bool) {
	t.Helper()
	mustBoot(t, v)
	out := mustRun(t, v, "test -b /dev/pmem0s && dd if=/dev/pmem0s bs=4096 count=16 iflag=direct 2>/dev/null | sha256sum; "+
		"ndctl disable-namespace namespace0.0 >/dev/null 2>&1; ndctl check-namespace namespace0.0 >&2 && echo sound; true")
	if err := v.Kill(); err != nil {
		t.Fatal(err)
	}
	hash, _, _ = strings.Cut(out, " ")
	return hash, strings.Contains(out, "sound")
}

// TestJudgeBTT: a guest's sector writes are judged by the thousands on the
// host, and by the guest for a sample: every verdict is the same.
func TestJudgeBTT(t *testing.T) {
	t.Parallel()
	x := vmExperiment(t)
	v, b := sectorVM(t, x)
	trace, err := v.Trace(t.Context(), Command{Shell: "dd if=/tmp/data of=/dev/pmem0s bs=4096 count=8 oflag=direct && dd if=/tmp/data of=/dev/pmem0s bs=4096 skip=8 count=4 oflag=direct", Timeout: DefaultTimeout, Check: true})
	if err != nil {
		t.Fatal(err)
	}
	if err := v.Kill(); err != nil {
		t.Fatal(err)
	}
	search := persist.Search{At: persist.AtFence}
	start := time.Now()
	failed, findings, err := trace.JudgeBTT(&search)
	t.Logf("%.0f states/s", float64(search.Visited)/time.Since(start).Seconds())
	if err != nil {
		t.Fatal(err)
	}
	// Linux copies a map entry at 4 modulo 8 with REP MOVSB, whose stores may
	// become visible in any order (R8): the entry can be torn.
	for _, f := range findings {
		if !tornEntry(trace, f.State) {
			t.Errorf("%s\n%s", f.Why, trace.Describe(f.State))
		}
	}
	if failed != len(findings) {
		t.Errorf("%d states are bad, and %d findings are told", failed, len(findings))
	}
	if search.Visited < 1000 {
		t.Errorf("%d states were judged, want thousands", search.Visited)
	}
	t.Log(search.Coverage(false))

	// The judge can find: where nothing is durable before it is flushed, what
	// the map says may survive without the block.
	none := persist.Nothing
	bad := persist.Search{At: persist.AtFence, Limit: 2000, Reading: persist.Reading{Platform: &none}}
	failed, findings, err = trace.JudgeBTT(&bad)
	if err != nil || failed == 0 || len(findings) == 0 || !strings.Contains(findings[0].Why, "sector") {
		t.Errorf("where no flush counts, of %d states %d are bad (%v): %s", bad.Visited, failed, err, firstFinding(findings))
	}

	samples := 2
	if os.Getenv("NVLAB_SOAK") != "" {
		samples = 50
	}
	var states []*persist.State
	every := max(search.Visited/samples, 1)
	n := 0
	for view := range search.Views(trace.Journal) {
		if n++; n%every == every/2 {
			states = append(states, view.State())
		}
	}
	for _, f := range findings[:min(len(findings), samples/2)] {
		states = append(states, f.State)
	}
	for _, s := range states {
		if err := trace.Apply(context.Background(), s); err != nil {
			t.Fatal(err)
		}
		want, err := hostSectors(t, b)
		got, sound := guestSectors(t, v)
		if sound != (err == nil) || sound && got != want {
			t.Errorf("state %s: the host judges it %q, %v; the guest %q, sound: %v\n%s", s.ID, want, err, got, sound, v.Console())
		}
	}
}

// TestGuestAgreesOnDamagedBTT damages a table: host and guest see it.
func TestGuestAgreesOnDamagedBTT(t *testing.T) {
	t.Parallel()
	x := vmExperiment(t)
	v, b := sectorVM(t, x)
	if err := v.PowerOff(t.Context()); err != nil {
		t.Fatal(err)
	}
	before, err := b.Snapshot(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	log, table := uint64(0), uint64(0)
	namer := backend.NewNamer(b, b.Size(), 128<<10) // reads the labels once
	for at := uint64(0); at < b.Size()-128<<10; at += 4096 {
		switch what := namer.At(at); {
		case what == "btt.log" && log == 0:
			log = at
		case what == "btt.map" && table == 0:
			table = at
		}
	}
	entry, err := b.Bytes(table, 4)
	if err != nil {
		t.Fatal(err)
	}
	for name, damage := range map[string]struct {
		at   uint64
		data []byte
	}{
		"two sectors with one block": {table + 4, entry},
		"equal sequence numbers":     {log, slices.Repeat([]byte{0, 0, 0, 0, 9, 0, 0, 0, 9, 0, 0, 0, 2, 0, 0, 0}, 2)},
	} {
		if err := b.Restore(context.Background(), before); err != nil {
			t.Fatal(err)
		}
		if err := b.Write(damage.at, damage.data); err != nil {
			t.Fatal(err)
		}
		_, err := hostSectors(t, b)
		if _, sound := guestSectors(t, v); err == nil || sound {
			t.Errorf("%s: the host says %v; the guest that it is sound: %v", name, err, sound)
		}
	}
}

// tornEntry says that a state parts only bytes of one map entry, which one
// string instruction copied.
func tornEntry(t *Trace, s *persist.State) bool {
	for _, o := range append(slices.Clone(s.Kept), s.Lost...) {
		if o.Kind&observe.String == 0 || o.Offset/4 != s.Lost[0].Offset/4 || !strings.HasPrefix(t.Place(o.PC, o.Process), "memcpy") {
			return false
		}
	}
	return len(s.Kept) > 0 && len(s.Lost) > 0
}

func firstFinding(findings []Finding) string {
	if len(findings) == 0 {
		return "no finding"
	}
	return findings[0].State.ID + ": " + findings[0].Why
}

// BenchmarkJudgeBTT judges the crash states of sector writes.
func BenchmarkJudgeBTT(b *testing.B) {
	x := bootExperiment(b)
	v, _ := sectorVM(b, x)
	trace, err := v.Trace(b.Context(), Command{Shell: "dd if=/tmp/data of=/dev/pmem0s bs=4096 count=16 oflag=direct", Timeout: DefaultTimeout, Check: true})
	if err != nil {
		b.Fatal(err)
	}
	states := 0
	for b.Loop() {
		search := persist.Search{At: persist.AtFence}
		if _, _, err := trace.JudgeBTT(&search); err != nil {
			b.Fatal(err)
		}
		states += search.Visited
	}
	b.ReportMetric(float64(states)/b.Elapsed().Seconds(), "states/s")
}

// TestJudgeInfo: while a namespace is made, its info block is not there, or
// whole.
func TestJudgeInfo(t *testing.T) {
	t.Parallel()
	x := vmExperiment(t)
	v, _ := labelledVM(t, x)
	mustBoot(t, v)
	mustRun(t, v, "ndctl disable-region region0 && ndctl init-labels -f nmem0 && ndctl enable-region region0")
	for _, mode := range []string{"fsdax", "devdax --align=4K"} {
		trace, err := v.Trace(t.Context(), Command{Shell: "ndctl create-namespace -r region0 -s 16M -m " + mode, Timeout: DefaultTimeout, Check: true})
		if err != nil {
			t.Fatal(err)
		}
		search := persist.Search{At: persist.AtFence, Limit: 3000}
		failed, findings, err := trace.JudgeInfo(&search)
		if err != nil || failed != 0 || search.Visited < 50 {
			t.Errorf("%s: of %d states %d are bad (%v): %s", mode, search.Visited, failed, err, firstFinding(findings))
		}
	}
	trace, err := v.Trace(t.Context(), Command{Shell: "true", Timeout: DefaultTimeout, Check: true})
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := trace.JudgeInfo(&persist.Search{}); err == nil {
		t.Error("a command that writes no info block is judged")
	}
}

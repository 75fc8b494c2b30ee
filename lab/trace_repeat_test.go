package lab

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"os"
	"strings"
	"testing"

	"nvlab/nvdimm/persist"
)

// told is all that a trace has to tell: events, findings, and crash states in
// their order.
func told(t *testing.T, trace *Trace) string {
	t.Helper()
	var b strings.Builder
	for _, e := range trace.Entries(0) {
		fmt.Fprintln(&b, e.Seq, e.What, e.Kind, e.Offset, e.Length, e.PC, trace.Place(e.PC, e.Process), trace.Process(e.Process))
	}
	for _, m := range trace.Missing() {
		fmt.Fprintln(&b, trace.DescribeStore(m.Op), m.Stores, m.Bytes, m.Lint)
	}
	search := persist.Search{At: persist.AtFence, Limit: 300, Seed: 7}
	for s := range search.States(trace.Journal) {
		fmt.Fprintln(&b, trace.Describe(s))
	}
	fmt.Fprintln(&b, search.Coverage(false))
	return b.String()
}

// TestTracesRepeat traces one command ten times from power-on.
func TestTracesRepeat(t *testing.T) {
	t.Parallel()
	first := ""
	for n := range repeats(t, 10) {
		x := bootExperiment(t)
		b, err := x.FileBackend(FileBackendOptions{Path: "pmem0.img", Size: 16 << 20, Share: true})
		if err != nil {
			t.Fatal(err)
		}
		var o VMOptions
		o.Slots, o.MaxMem, o.Engine = 1, 1<<30, "soft"
		v, err := x.VM(o)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := v.Plug(PlugOptions{Backend: b, ID: "nvdimm1"}); err != nil {
			t.Fatal(err)
		}
		mustBoot(t, v)
		trace, err := v.Trace(t.Context(), Command{Shell: "dd if=/dev/urandom of=/dev/pmem0 bs=512 count=3 oflag=direct", Timeout: DefaultTimeout, Check: true})
		if err != nil {
			t.Fatal(err)
		}
		switch got := told(t, trace); {
		case n == 0:
			first = got
			for _, want := range []string{"store", "dd[", "memcpy_flushcache", "crash state", "distinct of"} {
				if !strings.Contains(got, want) {
					t.Errorf("the trace does not tell of %q:\n%.2000s", want, got)
				}
			}
		case got != first:
			t.Fatalf("trace %d tells something else than the first:\n%s", n+1, firstDifference(first, got))
		}
		if err := x.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func firstDifference(x, y string) string {
	a, b := strings.Split(x, "\n"), strings.Split(y, "\n")
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			return fmt.Sprintf("line %d: %s\nwant %s", i+1, b[i], a[i])
		}
	}
	return fmt.Sprintf("%d lines, want %d", len(b), len(a))
}

// TestRecordJournal records what package persist looks at again, with
// NVLAB_UPDATE=1: a namespace made, and sectors written.
func TestRecordJournal(t *testing.T) {
	if os.Getenv("NVLAB_UPDATE") == "" {
		t.Skip("NVLAB_UPDATE is not set")
	}
	x := bootExperiment(t)
	v, _ := labelledVM(t, x)
	mustBoot(t, v)
	mustRun(t, v, "ndctl disable-region region0 && ndctl init-labels -f nmem0 && ndctl enable-region region0")
	trace, err := v.Trace(t.Context(), Command{Shell: "ndctl create-namespace -m sector -r region0 -s 32M && dd if=/dev/urandom of=/dev/pmem0s bs=4096 count=3 oflag=direct", Timeout: DefaultTimeout, Check: true})
	if err != nil {
		t.Fatal(err)
	}
	saved, err := trace.Save()
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	z, _ := gzip.NewWriterLevel(&b, gzip.BestCompression)
	z.Write(saved)
	z.Close()
	if err := os.WriteFile("../nvdimm/persist/testdata/sector.journal.gz", b.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
}

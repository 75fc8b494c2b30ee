package lab

import (
	"os"
	"testing"
	"time"

	"nvlab/vmm/observe"
)

// wantTraceRatio is the most that a traced command may take of what it takes
// with no observer.
const wantTraceRatio = 1.5

// copying is a guest with an ext4 that is mounted with DAX, and a tree to copy
// onto it: 192 files of 1 to 8 KiB in 16 folders.
type copying struct {
	v              *VM
	from           *VMSnapshot
	traced, silent []time.Duration
	events         int
}

func newCopying(t testing.TB) *copying {
	x := vmExperiment(t)
	b, err := x.RAMBackend(RAMBackendOptions{Size: 64 << 20})
	if err != nil {
		t.Fatal(err)
	}
	v := pluggedVM(t, x, b, 0)
	mustBoot(t, v)
	mustRun(t, v, `set -e
ndctl create-namespace -f -e namespace0.0 -m fsdax -M mem >/dev/null
mkfs.ext4 -q -b 4096 /dev/pmem0
mkdir -p /mnt/pmem /tmp/tree
mount -t ext4 -o dax /dev/pmem0 /mnt/pmem
for d in $(seq 16); do
	mkdir /tmp/tree/$d
	for f in $(seq 12); do
		dd if=/dev/urandom of=/tmp/tree/$d/$f bs=1k count=$((1 + (d * 5 + f * 3) % 8)) 2>/dev/null
	done
done`)
	if _, err := v.Trace(t.Context(), Command{Shell: "true"}); err != nil { // which reads the symbols
		t.Fatal(err)
	}
	from, err := v.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	return &copying{v: v, from: from}
}

// measure copies the tree with the observer off, and traced, each time to the same file
// system.
func (c *copying) measure(t testing.TB) {
	t.Helper()
	command := Command{Shell: "cp -r /tmp/tree /mnt/pmem/tree && sync", Timeout: 10 * time.Minute, Check: true}
	c.silent = append(c.silent, c.time(t, nil, func() error {
		_, err := c.v.Run(t.Context(), command)
		return err
	}))
	c.traced = append(c.traced, c.time(t, c.v.power, func() error {
		trace, err := c.v.Trace(t.Context(), command)
		if err == nil {
			c.events = trace.Events()
		}
		return err
	}))
}

// time is what f takes once its code is compiled.
func (c *copying) time(t testing.TB, o observe.Observer, f func() error) time.Duration {
	t.Helper()
	c.restore(t)
	if err := c.v.m.Observe(o); err != nil {
		t.Fatal(err)
	}
	mustRun(t, c.v, "for i in 1 2 3; do cp -r /tmp/tree /mnt/pmem/warm && rm -r /mnt/pmem/warm; done; sync")
	c.restore(t) // the observer stays
	before := processTime(t)
	if err := f(); err != nil {
		t.Fatal(err)
	}
	return processTime(t) - before
}

func (c *copying) restore(t testing.TB) {
	t.Helper()
	if err := c.v.Restore(t.Context(), c.from); err != nil {
		t.Fatal(err)
	}
}

// BenchmarkTrace reports the processor time of cp -r onto ext4 with DAX, traced
// and with no observer.
func BenchmarkTrace(b *testing.B) {
	c := newCopying(b)
	for b.Loop() {
		c.measure(b)
	}
	silent, traced := median(c.silent), median(c.traced)
	b.ReportMetric(silent.Seconds(), "silent-s")
	b.ReportMetric(traced.Seconds(), "traced-s")
	b.ReportMetric(traced.Seconds()/silent.Seconds(), "ratio")
	b.ReportMetric(float64(c.events), "events")
}

// TestTraceCost fails if a trace costs more than it is meant to.
func TestTraceCost(t *testing.T) {
	if os.Getenv("NVLAB_PERF") == "" {
		t.Skip("NVLAB_PERF=1 asks for it: it fails on a machine that is busy")
	}
	c := newCopying(t)
	for range 5 {
		c.measure(t)
	}
	silent, traced := median(c.silent), median(c.traced)
	ratio := traced.Seconds() / silent.Seconds()
	t.Logf("cp -r takes %v with no observer, %v traced (%d events): %.2f times as long", silent, traced, c.events, ratio)
	if ratio > wantTraceRatio {
		t.Errorf("a trace makes cp -r take %.2f times as long, want at most %v", ratio, wantTraceRatio)
	}
}

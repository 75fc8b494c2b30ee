package lab

import (
	"fmt"
	"os"
	"testing"
	"time"
)

// wantTraceRatio is the most that a traced command may take of what it takes
// with no observer.
const wantTraceRatio = 2

// copying is a guest with an ext4 that is mounted with DAX, and a tree to copy
// onto it: 192 files of 1 to 8 KiB in 16 folders.
type copying struct {
	v              *VM
	n              int
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
	return &copying{v: v}
}

// measure copies the tree with the observer off, and traced.
func (c *copying) measure(t testing.TB) {
	t.Helper()
	c.n++
	command := func(how string) Command {
		return Command{Shell: fmt.Sprintf("cp -r /tmp/tree /mnt/pmem/%s%d && sync", how, c.n), Timeout: 10 * time.Minute, Check: true}
	}
	const warm = "for i in 1 2 3; do cp -r /tmp/tree /mnt/pmem/warm && rm -r /mnt/pmem/warm; done; sync"
	if err := c.v.m.Observe(nil); err != nil {
		t.Fatal(err)
	}
	mustRun(t, c.v, warm) // what follows is compiled
	c.silent = append(c.silent, c.time(t, func() error {
		_, err := c.v.Run(t.Context(), command("silent"))
		return err
	}))
	if err := c.v.m.Observe(c.v.power); err != nil {
		t.Fatal(err)
	}
	mustRun(t, c.v, warm)
	c.traced = append(c.traced, c.time(t, func() error {
		trace, err := c.v.Trace(t.Context(), command("traced"))
		if err == nil {
			c.events = trace.Events()
		}
		return err
	}))
}

func (c *copying) time(t testing.TB, f func() error) time.Duration {
	t.Helper()
	before := processTime(t)
	if err := f(); err != nil {
		t.Fatal(err)
	}
	d := processTime(t) - before
	mustRun(t, c.v, "rm -r /mnt/pmem/*[0-9]")
	return d
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
		t.Errorf("a trace makes cp -r take %.2f times as long, want at most %d", ratio, wantTraceRatio)
	}
}

package lab

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"nvlab/internal/held"
	"nvlab/nvdimm/persist"
)

// everything is what a VM is, for comparison.
type everything struct {
	clock   time.Duration
	console string
	id      string
	disk    string
}

func everythingOf(t testing.TB, v *VM) everything {
	t.Helper()
	s, err := v.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	id, err := s.ID()
	if err != nil {
		t.Fatal(err)
	}
	e := everything{clock: v.Clock(), console: v.Console(), id: id}
	for _, d := range v.NVDIMMs() {
		sum, err := d.Backend().SHA256(context.Background(), 0, nil)
		if err != nil {
			t.Fatal(err)
		}
		e.disk += sum
	}
	return e
}

func (e everything) differ(o everything) string {
	switch {
	case e.clock != o.clock:
		return fmt.Sprintf("clocks %v and %v", e.clock, o.clock)
	case e.console != o.console:
		return fmt.Sprintf("consoles that end in %q and %q", tailOf(e.console), tailOf(o.console))
	case e.disk != o.disk:
		return "NVDIMMs that hold different bytes"
	case e.id != o.id:
		return fmt.Sprintf("snapshot ids %s and %s", e.id, o.id)
	}
	return ""
}

func tailOf(s string) string { return s[max(0, len(s)-300):] }

// work changes RAM, label area and data of a VM, and leaves undecided stores.
const work = `ndctl list -DR >/tmp/list; cat /tmp/list
test -e /dev/pmem0 && { echo work; date +%N; dd if=/dev/urandom of=/dev/pmem0 bs=4k count=64 conv=notrunc 2>&1 | head -1; mkfs.ext4 -q -F /dev/pmem0 && mount -o dax /dev/pmem0 /mnt && echo hello >/mnt/file && sync && umount /mnt; }
echo 'told to the console' >/dev/console; true`

// TestForks boots a VM, takes it somewhere, and compares what follows: in the
// VM that was snapshotted, in forks, restored in place, and in a VM of another
// experiment that was never snapshotted.
func TestForks(t *testing.T) {
	do := func(v *VM) string { return mustRun(t, v, work) }
	plain := vmExperiment(t)
	p, _ := labelledVM(t, plain)
	mustBoot(t, p)
	mustRun(t, p, makeNamespace)
	wantOut := do(p)
	want := everythingOf(t, p)

	x := vmExperiment(t)
	v, disk := labelledVM(t, x)
	mustBoot(t, v)
	mustRun(t, v, makeNamespace)
	s, err := v.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	check := func(what string, v *VM) {
		t.Helper()
		if out := do(v); out != wantOut {
			t.Errorf("%s prints %q, want %q as without snapshots", what, out, wantOut)
		}
		if diff := want.differ(everythingOf(t, v)); diff != "" {
			t.Errorf("without snapshots and %s: %s", what, diff)
		}
	}
	fork := func(seed *uint64) *VM {
		t.Helper()
		f, err := s.Fork(t.Context(), seed)
		if err != nil {
			t.Fatal(err)
		}
		return f
	}
	first := fork(nil)
	check("a fork", first)
	file, err := os.ReadFile(disk.Path())
	if err != nil {
		t.Fatal(err)
	}
	check("the VM that was snapshotted", v)
	if now, _ := os.ReadFile(disk.Path()); bytes.Equal(now, file) {
		t.Error("the VM that was snapshotted did not write its file")
	}
	check("a fork that was made later", fork(nil))
	file, _ = os.ReadFile(disk.Path())
	for _, again := range []struct {
		what string
		v    *VM
	}{{"the VM, restored", v}, {"the VM, restored again", v}, {"a fork, restored", first}} {
		if err := again.v.Restore(t.Context(), s); err != nil {
			t.Fatal(err)
		}
		check(again.what, again.v)
	}
	if now, _ := os.ReadFile(disk.Path()); !bytes.Equal(now, file) {
		t.Error("a VM that was restored, or a fork, wrote the file")
	}

	// The guest has fetched its first random numbers already.
	seed := uint64(7)
	other := fork(&seed)
	if out := mustRun(t, other, "head -c 256 /dev/hwrng | od -An -tx1"); out == mustRun(t, fork(nil), "head -c 256 /dev/hwrng | od -An -tx1") {
		t.Errorf("a fork with another seed has the random numbers of one with the same, %s", out)
	}

	// The power fails: what was undecided at the snapshot is so in a fork.
	for _, f := range []*VM{fork(nil), first} {
		if err := f.Restore(t.Context(), s); err != nil {
			t.Fatal(err)
		}
		if err := f.PowerCut(persist.KeepNone, false); err != nil {
			t.Fatal(err)
		}
	}
	// A fork boots again, as the VM would.
	mustBoot(t, first)
	if err := first.PowerOff(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// TestSnapshotRefuses has one clear line for each thing that cannot be done.
func TestSnapshotRefuses(t *testing.T) {
	x := vmExperiment(t)
	v, _ := labelledVM(t, x)
	off, err := v.Snapshot()
	if err != nil {
		t.Fatalf("a snapshot of a VM that is off: %v", err)
	}
	mustBoot(t, v)
	s, err := v.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	if err := v.Restore(t.Context(), off); err != nil || v.State() != Off {
		t.Errorf("Restore to a VM that was off = %v, and it is %s", err, v.State())
	}
	if err := v.Restore(t.Context(), s); err != nil || v.State() != Running {
		t.Errorf("Restore of a VM that is off to one that runs = %v, and it is %s", err, v.State())
	}
	mustRun(t, v, "true")

	o := VMOptions{Slots: 1, MaxMem: 4 << 30}
	stranger, err := x.VM(o)
	if err != nil {
		t.Fatal(err)
	}
	if err := stranger.Restore(t.Context(), s); !errors.Is(err, ErrStranger) {
		t.Errorf("Restore to a stranger's snapshot = %v, want %v", err, ErrStranger)
	}
	x.Close()
	if _, err := v.Snapshot(); !errors.Is(err, ErrClosed) {
		t.Errorf("Snapshot after the experiment = %v, want %v", err, ErrClosed)
	}
	if _, err := s.Fork(t.Context(), nil); !errors.Is(err, ErrClosed) {
		t.Errorf("Fork after the experiment = %v, want %v", err, ErrClosed)
	}
	if err := v.Restore(t.Context(), s); !errors.Is(err, ErrClosed) {
		t.Errorf("Restore after the experiment = %v, want %v", err, ErrClosed)
	}
	if _, err := s.ID(); !errors.Is(err, ErrClosed) {
		t.Errorf("ID after the experiment = %v, want %v", err, ErrClosed)
	}
}

// TestForksAreNotLost forks and resets many times, and looks at what is left
// when the experiment is over.
func TestForksAreNotLost(t *testing.T) {
	forks := func(n int) {
		x := bootExperiment(t)
		v, _ := labelledVM(t, x)
		mustBoot(t, v)
		s, err := v.Snapshot()
		if err != nil {
			t.Fatal(err)
		}
		for range n {
			f, err := s.Fork(t.Context(), nil)
			if err != nil {
				t.Fatal(err)
			}
			if err := f.Kill(); err != nil {
				t.Fatal(err)
			}
			if err := v.Restore(t.Context(), s); err != nil {
				t.Fatal(err)
			}
		}
		if err := x.Close(); err != nil {
			t.Fatal(err)
		}
	}
	forks(10)
	before := held.Now(t)
	forks(1000)
	before.NoMore(t, "1,000 forks and 1,000 resets")
}

func BenchmarkFork(b *testing.B) {
	x := bootExperiment(b)
	v, _ := labelledVM(b, x)
	mustBoot(b, v)
	start := time.Now()
	s, err := v.Snapshot()
	if err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(float64(time.Since(start).Microseconds())/1e3, "ms-first-snapshot")
	var took []time.Duration
	for b.Loop() {
		start := time.Now()
		f, err := s.Fork(b.Context(), nil)
		if err != nil {
			b.Fatal(err)
		}
		took = append(took, time.Since(start))
		b.StopTimer()
		f.Kill()
		b.StartTimer()
	}
	slices.Sort(took)
	for name, k := range map[string]int{"ms-median": len(took) / 2, "ms-99th": len(took) * 99 / 100} {
		b.ReportMetric(float64(took[k].Microseconds())/1e3, name)
	}
}

func BenchmarkReset(b *testing.B) {
	x := bootExperiment(b)
	v, _ := labelledVM(b, x)
	mustBoot(b, v)
	s, err := v.Snapshot()
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if err := v.Restore(b.Context(), s); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkMountInForks has a fork mount, list and unmount ext4 with DAX, and go
// back.
func BenchmarkMountInForks(b *testing.B) {
	_, v := exploredVM(b)
	mustRun(b, v, "umount /mnt")
	s, f := mustFork(b, v)
	cpu := processTime(b)
	for b.Loop() {
		if out := mustRun(b, f, "mount -t ext4 -o dax /dev/pmem0 /mnt && ls /mnt && umount /mnt"); !strings.Contains(out, "a") {
			b.Fatalf("ls says %q", out)
		}
		if err := f.Restore(b.Context(), s); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "executions/s")
	b.ReportMetric(float64((processTime(b)-cpu).Microseconds())/1e3/float64(b.N), "cpu-ms/op") // on a busy machine, the one to compare
}

// BenchmarkForkMemory has forks alive, each of which ran ndctl, and reports what
// each costs the host: most of it is translated code.
func BenchmarkForkMemory(b *testing.B) {
	x := bootExperiment(b)
	v, _ := labelledVM(b, x)
	mustBoot(b, v)
	mustRun(b, v, "ndctl list -DR") // brings ndctl into the guest
	s, err := v.Snapshot()
	if err != nil {
		b.Fatal(err)
	}
	before := proportional(b)
	for range b.N {
		f, err := s.Fork(b.Context(), nil)
		if err != nil {
			b.Fatal(err)
		}
		mustRun(b, f, "ndctl list -DR")
	}
	b.ReportMetric(float64(proportional(b)-before)/float64(b.N)/(1<<20), "MiB/fork")
}

// proportional is the process's share of the memory that it maps, in bytes (Pss
// of proc(5), /proc/pid/smaps_rollup), after what Go can give back is given back.
func proportional(t testing.TB) int64 {
	t.Helper()
	debug.FreeOSMemory()
	text, err := os.ReadFile("/proc/self/smaps_rollup")
	if err != nil {
		t.Skip(err)
	}
	for line := range strings.Lines(string(text)) {
		if f := strings.Fields(line); len(f) > 1 && f[0] == "Pss:" {
			n, err := strconv.ParseInt(f[1], 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			return n << 10
		}
	}
	t.Skip("the kernel tells no Pss")
	return 0
}

package lab

import (
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"nvlab/vmm"
	"nvlab/vmm/soft"
)

// BenchmarkBoot measures power-on to an agent that answers, with one labelled
// DIMM: in a process that has booted nothing, and in one that has.
func BenchmarkBoot(b *testing.B) {
	for _, bench := range []struct {
		name   string
		engine func() vmm.Engine
	}{
		{"first", func() vmm.Engine { return soft.Engine{} }},
		{"again", func() func() vmm.Engine {
			e := soft.Engine{Translations: soft.NewTranslations()}
			return func() vmm.Engine { return e }
		}()},
	} {
		b.Run(bench.name, func(b *testing.B) {
			var instructions uint64
			var running, cpu time.Duration
			boot := func() {
				x := bootExperiment(b)
				v, _ := labelledVM(b, x)
				v.engine = bench.engine()
				start, had := time.Now(), processTime(b)
				mustBoot(b, v)
				running += time.Since(start)
				cpu += processTime(b) - had
				instructions += v.Stats().Instructions
				if err := x.Close(); err != nil {
					b.Fatal(err)
				}
			}
			if bench.name == "again" {
				boot()
				running, cpu, instructions = 0, 0, 0
			}
			for b.Loop() {
				boot()
			}
			b.ReportMetric(float64(instructions)/float64(b.N)/1e6, "Minsn/boot")
			b.ReportMetric(float64(instructions)/running.Seconds()/1e6, "MIPS")
			b.ReportMetric(float64(instructions)/cpu.Seconds()/1e6, "MIPS-of-cpu-time") // on a busy machine, the one to compare
			b.ReportMetric(float64(peakResident())/1e6, "MB-peak-resident")
		})
	}
}

// BenchmarkQuickstart measures what the quickstart does, from power-on to the
// second power-off, without the language around it, on each engine.
func BenchmarkQuickstart(b *testing.B) {
	for _, engine := range engineNames {
		b.Run(engine, func(b *testing.B) {
			for b.Loop() {
				x, v, _ := engineVM(b, engine)
				mustBoot(b, v)
				mustRun(b, v, makeNamespace)
				if err := v.PowerOff(b.Context()); err != nil {
					b.Fatal(err)
				}
				mustBoot(b, v)
				mustRun(b, v, "head -c 7 /dev/pmem0")
				if err := v.PowerOff(b.Context()); err != nil {
					b.Fatal(err)
				}
				x.Close()
			}
		})
	}
}

// engineNames are those that are compared.
var engineNames = []string{"soft", "kvm"}

// engineVM is a machine with one labelled DIMM on that engine. It skips where
// there is none.
func engineVM(b *testing.B, engine string) (*Experiment, *VM, *Backend) {
	b.Helper()
	return engineVMOf(b, bootExperiment(b), engine)
}

func engineVMOf(b *testing.B, x *Experiment, engine string) (*Experiment, *VM, *Backend) {
	b.Helper()
	if _, err := newEngine(engine, nil); err != nil {
		b.Skip(err)
	}
	v, backend := labelledVM(b, x)
	var err error
	if v.engine, err = newEngine(engine, nil); err != nil {
		b.Fatal(err)
	}
	return x, v, backend
}

// peakResident is VmHWM of /proc/self/status (proc(5)), in bytes.
func peakResident() int64 {
	text, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0
	}
	_, rest, _ := strings.Cut(string(text), "VmHWM:")
	field, _, _ := strings.Cut(strings.TrimSpace(rest), " kB")
	kib, _ := strconv.ParseInt(field, 10, 64)
	return kib << 10
}

// BenchmarkReuse measures boots in turn: one that is computed, and as ratios to it one that is
// kept as well, one with a second NFIT, which keeps the stages of its prefix, one with a third,
// which goes on from them, and one from the states. The times are medians.
func BenchmarkReuse(b *testing.B) {
	const rounds = 5
	never, err := shared()
	if err != nil {
		b.Fatal(err)
	}
	boot := func(l *Lab, size uint64) time.Duration {
		x := l.Experiment(b.Name(), b.TempDir())
		defer x.Close()
		disk, err := x.FileBackend(FileBackendOptions{Path: "pmem0.img", Size: size, Share: true})
		if err != nil {
			b.Fatal(err)
		}
		v := pluggedVM(b, x, disk, 128<<10)
		start := time.Now()
		mustBoot(b, v)
		return time.Since(start)
	}
	var computed, kept, staged, other, again []time.Duration
	for b.Loop() {
		for range rounds {
			l := reusing(b)
			computed = append(computed, boot(never, 64<<20))
			kept = append(kept, boot(l, 64<<20))
			staged = append(staged, boot(l, 80<<20))
			other = append(other, boot(l, 96<<20))
			again = append(again, boot(l, 64<<20))
		}
	}
	median := func(list []time.Duration) float64 {
		slices.Sort(list)
		return list[len(list)/2].Seconds()
	}
	whole := median(computed)
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(whole*1e3, "computed-ms")
	b.ReportMetric(median(kept)/whole, "kept-ratio")
	b.ReportMetric(median(staged)/whole, "staged-ratio")
	b.ReportMetric(median(other)/whole, "other-ratio")
	b.ReportMetric(median(again)/whole, "ratio")
}

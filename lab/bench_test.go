package lab

import (
	"os"
	"strconv"
	"strings"
	"testing"
	"time"
)

// BenchmarkBoot measures power-on to an agent that answers, with one labelled
// DIMM.
func BenchmarkBoot(b *testing.B) {
	var instructions uint64
	var running time.Duration
	for b.Loop() {
		x := vmExperiment(b)
		v, _ := labelledVM(b, x)
		start := time.Now()
		mustBoot(b, v)
		running += time.Since(start)
		instructions += v.Stats().Instructions
		if err := x.Close(); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(instructions)/float64(b.N)/1e6, "Minsn/boot")
	b.ReportMetric(float64(instructions)/running.Seconds()/1e6, "MIPS")
	b.ReportMetric(float64(peakResident())/1e6, "MB-peak-resident")
}

// BenchmarkQuickstart measures what the quickstart does, from power-on to the
// second power-off, without the language around it.
func BenchmarkQuickstart(b *testing.B) {
	for b.Loop() {
		x := vmExperiment(b)
		v, _ := labelledVM(b, x)
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

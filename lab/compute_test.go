package lab

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"nvlab/internal/programs"
)

// Compute-bound work in a guest: the share of the host's own speed that the
// software engine keeps.
const (
	wantComputeMedian = 0.4 // of sha256sum to matmul.c
	wantComputeLeast  = 0.3 // of each
)

// BenchmarkCompute runs programs on the host and in a guest, in turn, and
// reports the host's processor time over the guest's: 0.4 is a guest that
// takes 2.5 times as long.
func BenchmarkCompute(b *testing.B) {
	c := newComputing(b)
	for _, w := range c.work {
		b.Run(w.name, func(b *testing.B) {
			for b.Loop() {
				c.measure(b, w)
			}
			w.report(b)
		})
	}
}

// TestCompute fails if the guest is slower than it is meant to be.
func TestCompute(t *testing.T) {
	if os.Getenv("NVLAB_PERF") == "" {
		t.Skip("NVLAB_PERF=1 asks for it: it fails on a machine that is busy")
	}
	c := newComputing(t)
	var all []float64
	for _, w := range c.work {
		for range 3 {
			c.measure(t, w)
		}
		native, guest := w.medians()
		ratio := native.Seconds() / guest.Seconds()
		t.Logf("%-10s native %v, guest %v: %.2f of native", w.name, native, guest, ratio)
		if ratio < wantComputeLeast {
			t.Errorf("%s runs at %.2f of native, want at least %.2f", w.name, ratio, wantComputeLeast)
		}
		if !w.more {
			all = append(all, ratio)
		}
	}
	if m := median(all); m < wantComputeMedian {
		t.Errorf("the median is %.2f of native, want at least %.2f", m, wantComputeMedian)
	}
}

// computing is a guest, and a folder of the host with the same files.
type computing struct {
	v    *VM
	work []*computation
}

// A computation is a command that both can run.
type computation struct {
	name          string
	host, inGuest []string
	more          bool // than the median is of
	native, guest []time.Duration
}

func newComputing(t testing.TB) *computing {
	if runtime.GOOS != "linux" || runtime.GOARCH != "amd64" {
		t.Skip("the programs are for linux/amd64")
	}
	x := bootExperiment(t)
	v, _ := labelledVM(t, x)
	mustBoot(t, v)
	c := &computing{v: v}
	dir := t.TempDir()

	// The guest's own busybox, on the same bytes.
	busybox, err := v.ReadFile(t.Context(), "/usr/bin/busybox")
	if err != nil {
		t.Fatal(err)
	}
	tool := filepath.Join(dir, "busybox")
	if err := os.WriteFile(tool, busybox, 0o700); err != nil {
		t.Fatal(err)
	}
	data := filepath.Join(dir, "data")
	text := prose(4 << 20)
	if err := os.WriteFile(data, text, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := v.WriteFile(t.Context(), "/tmp/data", text); err != nil {
		t.Fatal(err)
	}
	stock := func(name string, times int, args ...string) {
		host, inGuest := append([]string{tool}, args...), append([]string{"/usr/bin/busybox"}, args...)
		for range times {
			host, inGuest = append(host, data), append(inGuest, "/tmp/data")
		}
		c.work = append(c.work, &computation{name: name, host: host, inGuest: inGuest})
	}
	stock("sha256sum", 20, "sha256sum")
	stock("gzip", 3, "gzip", "-c")

	for _, name := range []string{"sort.go", "matmul.c", "matmul.go", "mix.go", "mix.c"} {
		p := programs.Find(t, name)
		if !p.Compiles() {
			t.Logf("without %s: its compiler is missing", name)
			continue
		}
		path := p.Build(t)
		binary, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := v.WriteFile(t.Context(), "/tmp/"+name, binary); err != nil {
			t.Fatal(err)
		}
		mustRun(t, v, "chmod +x /tmp/"+name)
		c.work = append(c.work, &computation{name: name, host: []string{path, p.Rounds}, inGuest: []string{"/tmp/" + name, p.Rounds},
			more: name != "sort.go" && name != "matmul.c"})
	}
	return c
}

// measure runs w on both, and compares what it prints.
func (c *computing) measure(t testing.TB, w *computation) {
	t.Helper()
	host := exec.Command(w.host[0], w.host[1:]...)
	want, err := host.Output()
	if err != nil {
		t.Fatalf("%s: %v", w.name, err)
	}
	w.native = append(w.native, host.ProcessState.UserTime()+host.ProcessState.SystemTime())

	before := processTime(t)
	r, err := c.v.Run(t.Context(), Command{Args: w.inGuest, Timeout: 10 * time.Minute, Check: true})
	if err != nil {
		t.Fatal(err)
	}
	w.guest = append(w.guest, processTime(t)-before)
	want = []byte(strings.ReplaceAll(string(want), w.host[len(w.host)-1], w.inGuest[len(w.inGuest)-1]))
	if !bytes.Equal(r.Stdout, want) {
		t.Errorf("%s prints %.80q in the guest, want %.80q", w.name, r.Stdout, want)
	}
}

func (w *computation) medians() (native, guest time.Duration) {
	return median(w.native), median(w.guest)
}

func (w *computation) report(b *testing.B) {
	native, guest := w.medians()
	b.ReportMetric(native.Seconds(), "native-s")
	b.ReportMetric(guest.Seconds(), "guest-s")
	b.ReportMetric(native.Seconds()/guest.Seconds(), "of-native")
}

func median[T time.Duration | float64](v []T) T {
	v = slices.Clone(v)
	slices.Sort(v)
	return (v[(len(v)-1)/2] + v[len(v)/2]) / 2
}

// prose is text that compresses about as well as people's.
func prose(n int) []byte {
	r := rand.New(rand.NewPCG(1, 2))
	var words []string
	for range 2000 {
		word := make([]byte, 2+r.IntN(9))
		for i := range word {
			word[i] = "etaoinshrdlucmfwypvbgkjqxz"[min(r.IntN(26), r.IntN(26))]
		}
		words = append(words, string(word))
	}
	var b bytes.Buffer
	for b.Len() < n {
		fmt.Fprintf(&b, "%s ", words[min(r.IntN(len(words)), r.IntN(len(words)))])
	}
	return b.Bytes()[:n]
}

package lab

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"nvlab/vmm"
)

func newExperiment(t *testing.T) *Experiment {
	t.Helper()
	l, err := New(Options{})
	if err != nil {
		t.Fatal(err)
	}
	x := l.Experiment(t.Name(), t.TempDir())
	t.Cleanup(func() {
		if err := x.Close(); err != nil {
			t.Errorf("Close() = %v", err)
		}
	})
	return x
}

// TestMemoryLimits: what a VM is given to have is what a machine may have.
func TestMemoryLimits(t *testing.T) {
	x := newExperiment(t)
	for _, o := range []VMOptions{
		{Memory: 31 << 20}, {Memory: 32 << 20}, {Memory: 1023 << 30}, {Memory: 1<<40 - 1<<20}, {Memory: 1 << 40}, {Memory: 1 << 63},
		{Memory: 63 << 30, PhysBits: 36}, {Memory: 64 << 30, PhysBits: 36}, {Memory: 1 << 40, PhysBits: 46}, {Memory: 1 << 46, PhysBits: 46},
	} {
		_, err := x.VM(o)
		want := vmm.CheckMemory(o.Memory, o.PhysBits)
		if (err == nil) != (want == nil) || err != nil && err.Error() != want.Error() {
			t.Errorf("a VM with memory=%d, phys_bits=%d: error %v, want that of the machine, %v", o.Memory, o.PhysBits, err, want)
		}
	}
	if _, err := x.VM(VMOptions{Memory: 1 << 40}); err == nil || !strings.Contains(err.Error(), "to 1023 GiB: the nearest is 1047552 MiB") {
		t.Errorf("a VM with memory=1TiB: error %v, want the limit and the nearest", err)
	}
}

func TestPathsStayInTheExperiment(t *testing.T) {
	x := newExperiment(t)
	outside := t.TempDir()
	if err := os.Symlink(outside, filepath.Join(x.dir, "link")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(filepath.Join(outside, "none"), filepath.Join(x.dir, "dangling")); err != nil {
		t.Fatal(err)
	}
	tests := []struct{ path, err string }{
		{"pmem0.img", ""},
		{"a/../pmem0.img", ""},
		{filepath.Join(x.dir, "pmem0.img"), ""},
		{"", "want the name of a file"},
		{"../pmem0.img", "lies outside the test's folder"},
		{"/etc/passwd", "--allow-path=/etc"},
		{"link/pmem0.img", "lies outside the test's folder"},
		{"dangling", "symbolic link to nowhere"},
		{filepath.Join(outside, "pmem0.img"), "--allow-path=" + outside},
	}
	for _, test := range tests {
		_, err := x.path(test.path)
		if test.err == "" && err != nil || test.err != "" && (err == nil || !strings.Contains(err.Error(), test.err)) {
			t.Errorf("path(%q) = %v, want %q", test.path, err, test.err)
		}
	}
	x.lab.opts.AllowPaths = []string{outside}
	if _, err := x.path("link/pmem0.img"); err != nil {
		t.Errorf("path(link/pmem0.img) with its target allowed = %v, want none", err)
	}
}

// TestSource: what a Lab carries is pushed in the place of what has its name, and
// nothing else comes from there.
func TestSource(t *testing.T) {
	x := newExperiment(t)
	in := &Inputs{}
	x.Record(in)
	here, carried := t.TempDir(), filepath.Join(t.TempDir(), "0")
	x.lab.opts.AllowPaths, x.lab.opts.Carried = []string{here}, map[string]string{"/home/a/store": carried}
	if at, err := x.source("/home/a/../a/store"); at != carried || err != nil {
		t.Errorf("what is carried is pushed from %q, %v; want %q", at, err, carried)
	}
	if at, err := x.path("/home/a/store"); err == nil {
		t.Errorf("a backend lies in what is carried: %q", at)
	}
	own, both, disk := filepath.Join(here, "own"), filepath.Join(here, "both"), filepath.Join(here, "disk")
	for _, resolve := range []func() (string, error){
		func() (string, error) { return x.source("made.txt") },
		func() (string, error) { return x.source(own) },
		func() (string, error) { return x.source(both) },
		func() (string, error) { return x.path(both) },
		func() (string, error) { return x.path(disk) },
	} {
		if _, err := resolve(); err != nil {
			t.Error(err)
		}
	}
	if pushed, others := in.Used(); !slices.Equal(pushed, []string{own}) || !slices.Equal(others, []string{both, disk}) {
		t.Errorf("only pushed are %q, and used otherwise %q", pushed, others)
	}
}

func TestSeedsDiffer(t *testing.T) {
	seen := map[uint64]string{}
	for run := range uint64(3) {
		for vm := range uint64(3) {
			for number := 1; number < 4; number++ {
				for boot := 1; boot < 4; boot++ {
					name := fmt.Sprint(run, vm, number, boot)
					seed := bootSeed(run, vm, number, boot)
					if other, ok := seen[seed]; ok {
						t.Errorf("boots %s and %s have one seed", name, other)
					}
					if again := bootSeed(run, vm, number, boot); again != seed {
						t.Errorf("boot %s has two seeds", name)
					}
					seen[seed] = name
				}
			}
		}
	}
}

func TestHandlesEndWithTheirTest(t *testing.T) {
	x := newExperiment(t)
	b, err := x.RAMBackend(RAMBackendOptions{Size: 4 << 20})
	if err != nil {
		t.Fatal(err)
	}
	var o VMOptions
	o.Slots, o.MaxMem = 1, 1<<30
	v, err := x.VM(o)
	if err != nil {
		t.Fatal(err)
	}
	x.Close()
	calls := map[string]func() error{
		"bytes":     func() error { _, err := b.Bytes(0, 1); return err },
		"write":     func() error { return b.Write(0, []byte{1}) },
		"sha256":    func() error { _, err := b.SHA256(context.Background(), 0, nil); return err },
		"snapshot":  func() error { _, err := b.Snapshot(context.Background()); return err },
		"labels":    func() error { _, err := b.Labels(128 << 10); return err },
		"plug":      func() error { _, err := v.Plug(PlugOptions{Backend: b}); return err },
		"boot":      func() error { return v.Boot(t.Context(), time.Second) },
		"run":       func() error { _, err := v.Run(t.Context(), Command{Shell: "true"}); return err },
		"kill":      v.Kill,
		"a backend": func() error { _, err := x.RAMBackend(RAMBackendOptions{Size: 4096}); return err },
		"a vm":      func() error { _, err := x.VM(o); return err },
	}
	for name, call := range calls {
		if err := call(); !errors.Is(err, ErrClosed) {
			t.Errorf("%s after the test = %v, want %q", name, err, ErrClosed)
		}
	}
}

func TestMemoryGate(t *testing.T) {
	g := &memoryGate{free: 100, change: make(chan struct{})}
	take := func(n, held int64) error {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		defer cancel()
		return g.acquire(ctx, n, held)
	}
	if err := take(500, 0); err != nil {
		t.Fatalf("the first of all has to wait: %v", err)
	}
	if err := take(1, 0); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("another gets memory that is not there: %v", err)
	}
	if err := take(50, 500); err != nil {
		t.Errorf("one that holds memory has to wait: %v", err)
	}
	done := make(chan error)
	go func() { done <- g.acquire(t.Context(), 60, 0) }()
	g.release(550, 0)
	if err := <-done; err != nil {
		t.Errorf("the next in line did not get what was released: %v", err)
	}
	if g.free != 40 || g.inUse != 1 {
		t.Errorf("free %d with %d users, want 40 with 1", g.free, g.inUse)
	}
}

func TestEscapes(t *testing.T) {
	tests := []struct {
		name  string
		typed []string
		guest string
		leave bool
	}{
		{"plain", []string{"ls\r"}, "ls\r", false},
		{"leave", []string{"a\x01xb"}, "a", true},
		{"leave in two reads", []string{"a\x01", "Xb"}, "a", true},
		{"twice is itself", []string{"\x01\x01x"}, "\x01x", false},
		{"another key after it", []string{"\x01c"}, "\x01c", false},
	}
	for _, test := range tests {
		var e escapes
		guest, leave := "", false
		for _, p := range test.typed {
			var g []byte
			g, leave = e.filter([]byte(p))
			guest += string(g)
		}
		if guest != test.guest || leave != test.leave {
			t.Errorf("%s: guest gets %q, leave %v; want %q, %v", test.name, guest, leave, test.guest, test.leave)
		}
	}
}

func TestCommandErrorShowsBothStreams(t *testing.T) {
	err := &CommandError{Command: "ndctl list", Result: &Result{Ended: true, ExitCode: 2, Stdout: []byte("out\nput\n"), Stderr: []byte(strings.Repeat("é", 4000))}}
	text := err.Error()
	for _, want := range []string{"ndctl list: exit status 2", "\nstdout:\n    out\n    put", "\nstderr: (its last 4096 of 8000 bytes)\n    é"} {
		if !strings.Contains(text, want) {
			t.Errorf("CommandError has no %q:\n%.300s", want, text)
		}
	}
	err.Result.Stdout = []byte("first\n" + strings.Repeat("y\n", 500))
	text = err.Error()
	if n := strings.Count(text, "    y\n"); n != streamLines || !strings.Contains(text, "stdout: (its last 199 of 1006 bytes)") {
		t.Errorf("CommandError shows %d of 500 lines, want the last %d:\n%.300s", n, streamLines, text)
	}
}

func TestSetTable(t *testing.T) {
	x := newExperiment(t)
	strict, err := x.VM(VMOptions{})
	if err != nil {
		t.Fatal(err)
	}
	var o VMOptions
	o.Malformed = true
	v, err := x.VM(o)
	if err != nil {
		t.Fatal(err)
	}
	table := make([]byte, 50)
	table[4] = 60
	for _, c := range []struct {
		v         *VM
		signature string
		data      []byte
		seal      bool
		want      string
		size      int
	}{
		{strict, "NFIT", table, true, "lets no malformed firmware through", 0},
		{v, "NFI", table, true, "it has 4 characters", 0},
		{v, "DSDT", table, true, "holds the machine together", 0},
		{v, "NFIT", table[:35], true, "it has a header of 36 bytes", 0},
		{v, "NFIT", make([]byte, 50), false, "the table says that it has 0 bytes", 0},
		{v, "NFIT", make([]byte, maxTable+1), false, "there is room for", 0},
		{v, "NFIT", table, true, "", 50},
		{v, "NFIT", table, false, "", 60}, // what is stated is there: zeros
		{v, "NFIT", append([]byte("xxxx\x28"), make([]byte, 60)...), false, "", 40},
		{v, "NFIT", nil, false, "", 0},
	} {
		err := c.v.SetTable(c.signature, c.data, c.seal)
		if c.want != "" {
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("SetTable(%q, %d bytes) = %v, want %q", c.signature, len(c.data), err, c.want)
			}
			continue
		}
		got := v.replaced[c.signature]
		if err != nil || len(got) != c.size || c.size > 0 && string(got[:4]) != "NFIT" {
			t.Errorf("SetTable(%q, %d bytes) = %v and a table of %d bytes, want %d", c.signature, len(c.data), err, len(got), c.size)
		}
	}
}

package introspect_test

import (
	"encoding/json"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"nvlab/guest/introspect"
)

// A recording is what a kernel had in memory at some moments: what was read of
// it, and the process that the CPU ran. TestRecordTasks of package lab writes
// them.
type recording struct {
	Symbols string
	Layout  introspect.Layout
	Moments []moment
}

type moment struct {
	CPU      int
	Seq, CR3 uint64
	Process  string
	Reads    replay
}

// replay is the memory of a moment, by physical address.
type replay map[int64][]byte

func (r replay) ReadAt(p []byte, addr int64) (int, error) {
	b, ok := r[addr]
	if !ok || len(b) < len(p) {
		return 0, errors.New("not recorded")
	}
	return copy(p, b), nil
}

// now lets the memory of one moment follow another.
type now struct{ introspect.Memory }

func recordings(t testing.TB) map[string]*recording {
	files, err := filepath.Glob("testdata/*.json")
	if err != nil || len(files) < 4 {
		t.Fatalf("recordings: %v, %v, want one of each of Debian's releases", files, err)
	}
	all := map[string]*recording{}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		r := &recording{}
		if err := json.Unmarshal(text, r); err != nil {
			t.Fatal(err)
		}
		all[filepath.Base(file)] = r
	}
	return all
}

func TestRecordings(t *testing.T) {
	for name, r := range recordings(t) {
		t.Run(name, func(t *testing.T) {
			memory := &now{}
			tasks := introspect.NewTasks(memory, &r.Layout, introspect.ParseSymbols([]byte(r.Symbols)))
			if tasks == nil {
				t.Fatal("the kernel does not say where its tasks are")
			}
			for _, m := range r.Moments {
				memory.Memory = m.Reads
				n := tasks.At(m.CPU, m.Seq, m.CR3)
				if got := tasks.Processes()[n].String(); got != m.Process {
					t.Errorf("at instruction %d, CPU %d runs %q, want %q", m.Seq, m.CPU, got, m.Process)
				}
			}
		})
	}
}

// FuzzTasks has kernels that wrote over their own memory.
func FuzzTasks(f *testing.F) {
	all := recordings(f)
	for name := range all {
		f.Add(name, uint(3), []byte{1, 2, 3, 4, 5, 6, 7, 0xff}, []byte("ffffffff82a960e0 D __per_cpu_offset"))
	}
	f.Fuzz(func(t *testing.T, name string, which uint, damage, symbols []byte) {
		r := all[name]
		if r == nil {
			return
		}
		memory := &now{}
		tasks := introspect.NewTasks(memory, &r.Layout, introspect.ParseSymbols(append([]byte(r.Symbols), symbols...)))
		if tasks == nil {
			return
		}
		for _, m := range r.Moments {
			damaged := maps.Clone(m.Reads)
			for i, addr := range slices.Sorted(maps.Keys(damaged)) {
				if which%16 == uint(i)%16 {
					damaged[addr] = slices.Concat(damage, damaged[addr])[:len(damaged[addr])]
				}
			}
			memory.Memory = damaged
			if n := tasks.At(m.CPU, m.Seq, m.CR3); int(n) >= len(tasks.Processes()) {
				t.Errorf("process %d of %d", n, len(tasks.Processes()))
			}
		}
	})
}

package lab

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"nvlab/nvdimm/backend"
	"nvlab/nvdimm/persist"
	"nvlab/vmm/observe"
)

// storedTrace is the trace of a command that stored two words to the DIMM of
// a machine that is off now, the second of them not flushed.
func storedTrace(t *testing.T, x *Experiment, b *Backend) *Trace {
	t.Helper()
	var o VMOptions
	o.Slots, o.MaxMem = 1, 1<<30
	v, err := x.VM(o)
	if err != nil {
		t.Fatal(err)
	}
	d, err := v.Plug(PlugOptions{Backend: b})
	if err != nil {
		t.Fatal(err)
	}
	s, err := b.Snapshot(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	mem, err := b.Bytes(0, b.Size())
	if err != nil {
		t.Fatal(err)
	}
	medium := persist.NewMedium(d.ID(), persist.ADR, persist.Bytes(mem))
	model := persist.NewModel(persist.Config{})
	model.Map(0, medium, 0)
	j, err := model.Record(nil)
	if err != nil {
		t.Fatal(err)
	}
	for i, e := range []any{
		&observe.Store{At: observe.At{Seq: 10}, Offset: 0, Value: 1, Size: 8, Group: 1},
		&observe.Flush{At: observe.At{Seq: 11}, Offset: 0, Op: observe.CLWB},
		&observe.Fence{At: observe.At{Seq: 12}, Order: observe.SFENCE},
		&observe.Store{At: observe.At{Seq: 13}, Offset: 64, Value: 2, Size: 8, Group: 2},
	} {
		switch e := e.(type) {
		case *observe.Store:
			j.Store(e)
			model.Store(e)
			mem[e.Offset] = byte(e.Value)
		case *observe.Flush:
			j.Flush(e)
			model.Flush(e)
		case *observe.Fence:
			j.Fence(e)
			model.Fence(e)
		default:
			t.Fatalf("event %d is none", i)
		}
	}
	return &Trace{Journal: j, vm: v, dimms: v.dimms, snapshots: map[*Backend]*backend.Snapshot{b: s}, names: map[*persist.Medium]*NVDIMM{medium: d}}
}

// TestApplyLeavesTheFile: crash states come and go, and what others see of
// the file is what it was.
func TestApplyLeavesTheFile(t *testing.T) {
	for _, share := range []bool{true, false} {
		x := newExperiment(t)
		path := filepath.Join(x.dir, "pmem0.img")
		file := bytes.Repeat([]byte{0xee}, 3*backend.PageSize)
		if err := os.WriteFile(path, file, 0o644); err != nil {
			t.Fatal(err)
		}
		options := FileBackendOptions{Path: "pmem0.img", Size: backend.PageSize, Offset: backend.PageSize, Share: share, Partial: true}
		open := func() *Backend {
			b, err := x.FileBackend(options)
			if err != nil {
				t.Fatal(err)
			}
			return b
		}
		b, before := open(), open()
		trace := storedTrace(t, x, b)
		var states []string
		search := persist.Search{At: persist.AtEnd}
		for s := range search.States(trace.Journal) {
			if err := trace.Apply(context.Background(), s); err != nil {
				t.Fatal(err)
			}
			after := open()
			var got string
			for _, b := range []*Backend{b, before, after} {
				p, err := b.Bytes(0, 72)
				if err != nil {
					t.Fatal(err)
				}
				got += string('0'+p[0]&15) + string('0'+p[64]&15)
			}
			states = append(states, got)
			if now, err := os.ReadFile(path); err != nil || !bytes.Equal(now, file) {
				t.Fatalf("share=%v: state %s changed the file (%v)", share, s.ID, err)
			}
		}
		if got := strings.Join(states, " "); got != "1>1>1> 121212" {
			t.Errorf("share=%v: words of the states, as three backends see them: %s, want 1>1>1> 121212", share, got)
		}
		options.Size *= 2
		if _, err := x.FileBackend(options); err == nil || !strings.Contains(err.Error(), "a crash state is applied") {
			t.Errorf("share=%v: a backend on a larger part of the file = %v, want an error about the crash state", share, err)
		}
		if err := x.Close(); err != nil {
			t.Fatal(err)
		}
		if now, err := os.ReadFile(path); err != nil || !bytes.Equal(now, file) {
			t.Errorf("share=%v: after the test the file is another (%v)", share, err)
		}
	}
}

// TestApplyRefuses: what would not see the crash state, or would lose its
// memory to it.
func TestApplyRefuses(t *testing.T) {
	x := newExperiment(t)
	path := filepath.Join(x.dir, "pmem0.img")
	if err := os.WriteFile(path, make([]byte, 3*backend.PageSize), 0o644); err != nil {
		t.Fatal(err)
	}
	options := FileBackendOptions{Path: "pmem0.img", Size: backend.PageSize, Offset: backend.PageSize, Share: true, Partial: true}
	b, err := x.FileBackend(options)
	if err != nil {
		t.Fatal(err)
	}
	trace := storedTrace(t, x, b)
	search := persist.Search{At: persist.AtEnd}
	for s := range search.States(trace.Journal) {
		trace.vm.state = Running
		if err := trace.Apply(context.Background(), s); err == nil || !strings.Contains(err.Error(), "the VM is on") {
			t.Errorf("applying a state to a VM that runs = %v", err)
		}
		trace.vm.state = Off
		options.Size *= 2
		if _, err := x.FileBackend(options); err != nil {
			t.Fatal(err)
		}
		if err := trace.Apply(context.Background(), s); err == nil || !strings.Contains(err.Error(), "would not see the crash state") {
			t.Errorf("applying a state below another backend = %v", err)
		}
		break
	}
}

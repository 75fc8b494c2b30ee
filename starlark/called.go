package nvstar

import (
	"fmt"
	"time"

	"go.starlark.net/starlark"

	"nvlab/lab"
)

// A Called is a call that has to do with a VM, as a report tells of it.
type Called struct {
	Test     string          // that made the call
	Owner    string          // the test whose VM it is
	VM       int             // the VM's number there
	Guest    string          // "" before it was switched on
	What     string          // "vm.run(command = "ls")"
	At       string          // "x.star:7"
	From, To time.Duration   // the VM's clock before and after; it starts anew with each boot
	Took     time.Duration   // of wall time
	Printed  string          // on the VM's console meanwhile
	Lines    []time.Duration // when its lines ended, as far as that is known, by the VM's clock
	Happened []lab.Happening
	Err      string        // "" if the call succeeded
	Labels   []LabelChange // what it made of label areas
}

// machineOf is the VM that a handle has to do with, nil for none.
func machineOf(h handle) *vm {
	switch h := h.(type) {
	case *vm:
		return h
	case *dimm:
		return h.vm
	case *memoryDevice:
		return h.vm
	case *vmSnapshot:
		return h.vm
	case *trace:
		return h.vm
	case *state:
		return h.x.vm
	}
	return nil
}

// telling notes a call of a handle, for who wants to know of calls. What it
// returns is to be called when the call is over.
func telling(c *call, h handle) func(error) {
	a := activityOf(c.thread)
	m := machineOf(h)
	if a.t == nil || a.recovers || m == nil {
		return func(error) {}
	}
	return a.t.telling(m, callSite(c.thread), c.written)
}

// telling is for something that is done to a VM of this test's or another's.
func (t *T) telling(m *vm, at string, what func() string) func(error) {
	if t.env.Called == nil {
		return func(error) {}
	}
	v := m.v
	k := Called{Test: t.name, Owner: m.t.name, VM: v.Number(), What: what(), At: at, From: v.Clock()}
	printed, happened, areas, began := v.Printed(), v.Happened(), labelAreas(v), time.Now()
	return func(err error) {
		k.To, k.Took, k.Guest = v.Clock(), time.Since(began), v.Guest()
		k.Printed, k.Lines = v.PrintedSince(printed)
		k.Happened, k.Labels = v.HappenedSince(happened, printed), labelChanges(v, areas)
		if err != nil {
			k.Err = err.Error()
		}
		t.env.Called(k)
	}
}

// calledText bounds a call's text, in bytes.
const calledText = 200

// written is the call as it might have been written, in brief.
func (c *call) written() string {
	return shorten(c.write(c.name, func(i int, v starlark.Value) string {
		if i < c.sig.places && c.rest == nil {
			return brief(v)
		}
		return c.sig.params[i].name + " = " + brief(v)
	}), calledText)
}

// callSite is where the scenario makes the call that is under way.
func callSite(thread *starlark.Thread) string {
	if thread.CallStackDepth() < 2 {
		return ""
	}
	pos := thread.CallFrame(1).Pos
	return fmt.Sprintf("%s:%d", pos.Filename(), pos.Line)
}

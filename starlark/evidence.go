package nvstar

import (
	"slices"

	"nvlab/lab"
)

// An Evidence is what a test had in its hands when it ended: its own machines
// and backends, and those of tests around it that it used.
type Evidence struct {
	VMs      []UsedVM
	Backends []*lab.Backend
}

// A UsedVM is a machine and the test that made it, which may be another.
type UsedVM struct {
	*lab.VM
	Test string
}

// used is what a test used of the tests around it.
type used struct {
	vms      []*vm
	backends []*backend
}

// use notes that a test uses a handle. What is its own belongs to it anyway.
func (t *T) use(h handle) {
	if t == nil {
		return
	}
	switch h := h.(type) {
	case checkModule:
		t.judge()
	case *vm:
		if h.t != t && !slices.Contains(t.used.vms, h) {
			t.used.vms = append(t.used.vms, h)
		}
	case *backend:
		if h.t != t && !slices.Contains(t.used.backends, h) {
			t.used.backends = append(t.used.backends, h)
		}
	case *dimm:
		t.use(h.vm)
	case *vmSnapshot:
		t.use(h.vm)
	case *trace:
		t.use(h.vm)
	case *state:
		t.use(h.x.vm)
	}
}

// judge notes that a test looked at something: a check, or a command that must
// end well.
func (t *T) judge() {
	for ; t != nil; t = t.parent {
		t.judged = true
	}
}

// evidence is what there is when the test ends. What a subtest has of a test
// around it is part of that test's own.
func (t *T) evidence() (e Evidence) {
	if t.x == nil {
		return e
	}
	for _, v := range t.x.VMs() {
		e.VMs = append(e.VMs, UsedVM{v, t.name})
	}
	e.Backends = slices.Clone(t.x.Backends())
	add := func(b *lab.Backend) {
		if !slices.Contains(e.Backends, b) {
			e.Backends = append(e.Backends, b)
		}
	}
	for _, v := range t.used.vms {
		e.VMs = append(e.VMs, UsedVM{v.v, v.t.name})
		for _, d := range v.v.NVDIMMs() {
			add(d.Backend())
		}
	}
	for _, b := range t.used.backends {
		add(b.b)
	}
	return e
}

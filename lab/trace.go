package lab

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"slices"
	"strings"
	"sync"

	"nvlab/guest/introspect"
	"nvlab/nvdimm/backend"
	"nvlab/nvdimm/persist"
	"nvlab/vmm/observe"
)

// A Trace is what a command did to the NVDIMMs of its VM, store by store.
type Trace struct {
	*persist.Journal
	Result *Result

	vm        *VM
	command   string
	dimms     []*NVDIMM
	snapshots map[*Backend]*backend.Snapshot // of the beginning
	areas     []*NVDIMM                      // with label areas, by number
	names     map[*persist.Medium]*NVDIMM
	symbols   *introspect.Symbols
	processes []Process // by number
	programs  *introspect.Programs
	pushed    []pushed
	image     *image
}

// Trace runs a command and records every store, flush, fence and label write.
func (v *VM) Trace(ctx context.Context, c Command) (*Trace, error) {
	if err := v.on(); err != nil {
		return nil, err
	}
	if err := v.unseen(); err != nil {
		return nil, err
	}
	if v.symbols == nil { // else those of the last trace will do until the end of this
		if err := v.readSymbols(ctx); err != nil {
			return nil, err
		}
	}
	t := &Trace{vm: v, command: shorten(c.String()), dimms: slices.Clone(v.dimms), snapshots: map[*Backend]*backend.Snapshot{}, names: map[*persist.Medium]*NVDIMM{}}
	for _, d := range v.dimms {
		s, err := d.backend.Snapshot(ctx)
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		if err != nil {
			return nil, &Error{Class: ClassHost, Err: err}
		}
		t.snapshots[d.backend] = s
	}
	r, err := v.power.Record()
	if err != nil {
		return nil, &Error{Class: ClassHost, Err: err}
	}
	defer r.End()
	j := r.Journal
	for m, d := range r.Media {
		t.names[m] = v.handle(d)
	}
	for _, d := range r.Areas {
		t.areas = append(t.areas, v.handle(d))
	}
	if tasks := v.tasks; tasks != nil {
		programs := tasks.Programs()
		j.Process = func(e *observe.At) uint32 {
			n := tasks.At(int(e.VCPU), e.Seq, e.CR3)
			programs.See(int(e.VCPU), e.CR3, n, e.PC)
			return n
		}
		defer func() { t.processes, t.programs = tasks.Processes(), programs }()
	}
	t.Journal = j
	t.Result, err = v.Run(ctx, c)
	if err != nil {
		return nil, err
	}
	r.End()
	if v.state != Off {
		if err := v.readSymbols(ctx); err != nil {
			return nil, err
		}
	}
	t.symbols, t.pushed, t.image = v.symbols, slices.Clip(v.pushed), v.image
	if j.Dropped > 0 {
		return nil, fmt.Errorf("%v made more events than a trace holds: %d were left out", c, j.Dropped)
	}
	return t, nil
}

// readSymbols gets them from the running guest, unless they are those that
// were read before.
func (v *VM) readSymbols(ctx context.Context) error {
	modules, err := v.ReadFile(ctx, "/proc/modules")
	if err != nil {
		return err
	}
	loaded := addresses(modules)
	if v.symbols != nil && loaded == v.modules {
		return nil
	}
	text, err := v.ReadFile(ctx, "/proc/kallsyms")
	if err != nil {
		return err
	}
	v.symbols, v.modules = v.x.lab.symbols.of(text), loaded
	if v.tasks == nil {
		v.tasks = introspect.NewTasks(v.m.Physical(), v.image.layout(), v.symbols)
	}
	return nil
}

// parsedSymbols are the latest of a lab: VMs that run one kernel, as forks do, have
// the same.
type parsedSymbols struct {
	mu      sync.Mutex
	sum     [sha256.Size]byte
	symbols *introspect.Symbols
}

// of are those of a text of /proc/kallsyms.
func (p *parsedSymbols) of(text []byte) *introspect.Symbols {
	sum := sha256.Sum256(text)
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.symbols == nil || sum != p.sum {
		p.sum, p.symbols = sum, introspect.ParseSymbols(text)
	}
	return p.symbols
}

// addresses are the modules' names and where they are (proc(5),
// /proc/modules).
func addresses(modules []byte) string {
	var b strings.Builder
	for line := range bytes.Lines(modules) {
		if f := bytes.Fields(line); len(f) >= 6 {
			fmt.Fprintf(&b, "%s %s\n", f[0], f[5])
		}
	}
	return b.String()
}

// DIMM is the NVDIMM of a medium of the trace.
func (t *Trace) DIMM(m *persist.Medium) *NVDIMM { return t.names[m] }

// Place is what a process executes at an address: a function of the guest's
// kernel, such as memcpy+0x10, or where in its file a program is, such as
// prog+0x11d6, with function and line if the file came by Push or with a package
// and has them: "prog+0x11d6 (main+0x16, prog.c:12)". It is "" if that is not
// known.
func (t *Trace) Place(pc uint64, process uint32) string {
	if at := t.symbols.At(pc); at != "" {
		return at
	}
	m, ok := t.programs.At(process, pc)
	if !ok {
		return ""
	}
	what := ""
	if from := originOf(t.pushed, m.Path); from.from != nil {
		what = from.at(m.InFile(pc))
	} else if t.image != nil {
		what = t.image.programAt(m.Path, m.InFile(pc))
	}
	if what == "" {
		return m.Place(pc)
	}
	return fmt.Sprintf("%s (%s)", m.Place(pc), what)
}

// A Process is one of the guest's.
type Process = introspect.Process

// Process is the process of that number, the zero one if it is not known.
func (t *Trace) Process(n uint32) Process {
	if uint64(n) >= uint64(len(t.processes)) {
		return Process{}
	}
	return t.processes[n]
}

// Area is the NVDIMM of a label area of the trace.
func (t *Trace) Area(i int) *NVDIMM { return t.areas[i] }

// Apply makes a crash state the contents of the backends, for the rest of the
// experiment: files stay as they are, as they may be needed after it. If ctx ends
// before, the contents are neither.
func (t *Trace) Apply(ctx context.Context, s *persist.State) error {
	v := t.vm
	switch {
	case v.x.closed:
		return ErrClosed
	case v.state != Off:
		return errOn
	}
	for _, d := range t.dimms {
		if err := v.x.useCopy(ctx, d.backend); err != nil {
			return err
		}
	}
	for _, d := range t.dimms {
		if err := d.backend.Restore(ctx, t.snapshots[d.backend]); ctx.Err() != nil {
			return context.Cause(ctx)
		} else if err != nil {
			return &Error{Class: ClassHost, Err: err}
		}
	}
	lines, labels := s.Image()
	for _, l := range lines {
		if err := t.names[l.Medium].backend.Write(l.N*persist.LineSize, l.Bytes[:]); err != nil {
			return err
		}
	}
	for i, area := range labels {
		d := t.areas[i]
		if d.backend.ReadOnly() {
			continue
		}
		if err := d.backend.Write(d.backend.Size()-d.LabelSize(), area); err != nil {
			return err
		}
	}
	return nil
}

// shorten keeps a command's beginning.
func shorten(s string) string {
	const most = 60
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + "..."
}

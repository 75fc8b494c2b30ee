package nvstar

import (
	"errors"
	"fmt"
	"math"
	"regexp"
	"strings"

	"go.starlark.net/starlark"

	"nvlab/lab"
)

// A vmSnapshot is all that a VM was at a moment.
type vmSnapshot struct {
	vm *vm // that it is of
	s  *lab.VMSnapshot
	made
}

func (s *vmSnapshot) alive() error                             { return s.vm.alive() }
func (s *vmSnapshot) Type() string                             { return "vm.snapshot" }
func (s *vmSnapshot) Attr(name string) (starlark.Value, error) { return snapshotClass.attr(s, name) }
func (s *vmSnapshot) AttrNames() []string                      { return snapshotClass.attrNames() }

var snapshotClass = newClass("snapshot", "All that a VM was at a moment, after vm.snapshot. It ends with its test.", []member[*vmSnapshot]{
	{name: "id", doc: "Names the state: equal states have equal ids, in another run too.",
		get: func(s *vmSnapshot) (starlark.Value, error) {
			id, err := s.s.ID()
			if err != nil {
				return nil, err
			}
			return text(id), nil
		}},
	{name: "fork", sig: `(*, seed=None)`,
		doc:  `Another VM → vm, which goes on from the snapshot: the same calls give the same bytes as in the VM that was snapshotted. With a seed its randomness differs from here on. Forks share the memory that none of them changed, and see nothing of each other. What they write to their NVDIMMs goes to copies in memory.`,
		call: func(c *call, s *vmSnapshot) (starlark.Value, error) { return fork(c, s.vm, s.s, "snapshot.fork") }},
})

// takeSnapshot is vm.snapshot.
func takeSnapshot(c *call, v *vm) (starlark.Value, error) {
	s, err := v.v.Snapshot()
	if err != nil {
		return nil, err
	}
	if a := activityOf(c.thread); a.t.env.Snapshot != "" && !a.recovers {
		id, err := s.ID()
		if err != nil {
			return nil, err
		}
		if id == a.t.env.Snapshot {
			if err := a.t.env.AtSnapshot(c.ctx(), v.v); err != nil {
				return nil, err
			}
			return nil, &skipError{"the snapshot was reached"}
		}
	}
	return &vmSnapshot{v, s, c.paste("vm.snapshot")}, nil
}

var snapshotID = regexp.MustCompile("^[0-9a-f]{32}$")

// CheckSnapshot says why a text is no id of a snapshot.
func CheckSnapshot(id string) error {
	if !snapshotID.MatchString(id) {
		return fmt.Errorf("%q is no id of a snapshot: want the 32 digits that vm.snapshot().id is", id)
	}
	return nil
}

// fork makes a VM of a snapshot.
func fork(c *call, of *vm, s *lab.VMSnapshot, name string) (starlark.Value, error) {
	var seed *uint64
	if n := c.optional("seed", 0, math.MaxInt64); n != nil {
		u := uint64(*n)
		seed = &u
	}
	if c.err != nil {
		return nil, c.err
	}
	v, err := s.Fork(c.ctx(), seed)
	if err != nil {
		return nil, err
	}
	return &vm{t: of.t, v: v, made: c.paste(name)}, nil
}

// forkVM is vm.fork.
func forkVM(c *call, v *vm) (starlark.Value, error) {
	s, err := v.v.Snapshot()
	if err != nil {
		return nil, err
	}
	return fork(c, v, s, "vm.fork")
}

// restoreVM is vm.restore.
func restoreVM(c *call, v *vm) (starlark.Value, error) {
	s := handleArg[*vmSnapshot](c, "snapshot", "snapshot of a VM")
	if c.err != nil {
		return nil, c.err
	}
	err := v.v.Restore(c.ctx(), s.s)
	if errors.Is(err, lab.ErrStranger) {
		return nil, fmt.Errorf("%w; snapshot.fork() makes a VM of any", err)
	}
	v.latest = nil
	return nil, err
}

// handleOf is the handle of an NVDIMM of this VM, always the same.
func (v *vm) handleOf(d *lab.NVDIMM) *dimm {
	for _, h := range v.dimms {
		if h.d == d {
			return h
		}
	}
	by := made(fmt.Sprintf("vm.nvdimm(%q)", d.ID()))
	h := &dimm{v, d, &backend{v.t, d.Backend(), by + ".backend"}, by}
	v.dimms = append(v.dimms, h)
	return h
}

func listNVDIMMs(v *vm) (starlark.Value, error) {
	var list []starlark.Value
	for _, d := range v.v.NVDIMMs() {
		list = append(list, v.handleOf(d))
	}
	return starlark.NewList(list), nil
}

// findNVDIMM is vm.nvdimm.
func findNVDIMM(c *call, v *vm) (starlark.Value, error) {
	id := c.text("id")
	if c.err != nil {
		return nil, c.err
	}
	var ids []string
	for _, d := range v.v.NVDIMMs() {
		if d.ID() == id {
			return v.handleOf(d), nil
		}
		ids = append(ids, fmt.Sprintf("%q", d.ID()))
	}
	have := "none is plugged into this VM"
	if len(ids) > 0 {
		have = "this VM has " + strings.Join(ids, ", ")
	}
	return nil, fmt.Errorf("no NVDIMM has the id %q: %s", id, have)
}

package nvstar

import (
	"go.starlark.net/starlark"

	"nvlab/lab"
	"nvlab/nvdimm/persist"
)

// CheckState says why a text is no name of a crash state, of whatever trace.
func CheckState(id string) error { return persist.CheckID(id) }

// A state is a crash state.
type state struct {
	x *trace
	s *persist.State
}

func (s *state) alive() error                             { return s.x.alive() }
func (s *state) String() string                           { return "state " + s.s.ID }
func (s *state) Type() string                             { return "state" }
func (s *state) Freeze()                                  {}
func (s *state) Truth() starlark.Bool                     { return true }
func (s *state) Hash() (uint32, error)                    { return hashText(s.s.ID), nil }
func (s *state) Attr(name string) (starlark.Value, error) { return stateClass.attr(s, name) }
func (s *state) AttrNames() []string                      { return stateClass.attrNames() }

func (s *state) ops(list []persist.Op) starlark.Value {
	return listOf(list, func(o persist.Op) starlark.Value { return record(s.x.op(o)) })
}

var stateClass = newClass("state", "What a power failure may leave, after trace.crash_states.", []member[*state]{
	{name: "id", doc: "Names it: trace.crash_state(id) is the same state in another run.",
		get: func(s *state) (starlark.Value, error) { return text(s.s.ID), nil }},
	{name: "at", doc: `The operation before which power failed → struct(op, seq, pc, symbol, process), None where not known; op is "end" at the command's end, and a label write has no pc.`,
		get: func(s *state) (starlark.Value, error) {
			return record(starlark.StringDict{
				"op": text(s.s.At.String()), "seq": unsigned(s.s.Seq), "pc": pcOrNone(s.s.PC), "symbol": textOrNone(s.x.t.Place(s.s.PC, s.s.Process)),
				"process": s.x.process(s.s.Process),
			}), nil
		}},
	{name: "kept", doc: "Stores that could have been lost and survived: structs of nvdimm, offset, length, kind, pc, symbol, process.",
		get: func(s *state) (starlark.Value, error) { return s.ops(s.s.Kept), nil }},
	{name: "lost", doc: "Stores that did not survive.",
		get: func(s *state) (starlark.Value, error) { return s.ops(s.s.Lost), nil }},
	{name: "torn", doc: "Bytes of a label write that were done when power failed; None without one.",
		get: func(s *state) (starlark.Value, error) {
			if s.s.Torn < 0 {
				return starlark.None, nil
			}
			return starlark.MakeInt(s.s.Torn), nil
		}},
	{name: "command", doc: "What shows it again: nvlab run --state=ID and all that the run was given.",
		get: func(s *state) (starlark.Value, error) {
			t := s.x.vm.t
			if t.env.Repeat == nil {
				return starlark.None, nil
			}
			return text(t.env.Repeat(t.name, s.s.ID)), nil
		}},
	{name: "apply", sig: "()", doc: "With the VM off, makes it the backends' contents, for the rest of the test, so that vm.boot() recovers from it. Files stay as they are, however the run ends: what host and guests write from then on goes to a copy. If the test fails, its report tells of the state, the copy is kept beside the file as FILE.crash, and nvlab run --state=ID comes back to it.",
		call: func(c *call, s *state) (starlark.Value, error) {
			if err := s.x.t.Apply(c.ctx(), s.s); err != nil {
				return nil, err
			}
			s.looked(c)
			return nil, nil
		}},
})

// looked notes that the test looks at the state, which it reports if it fails.
func (s *state) looked(c *call) {
	for t := activityOf(c.thread).t; t != nil; t = t.parent {
		t.applied = s
	}
}

// reached does what the run wants at the state. The error that it returns ends the
// test.
func (s *state) reached(t *T) error {
	if v := s.x.vm.v; v.State() != lab.Off {
		if err := v.Kill(); err != nil {
			return err
		}
	}
	if err := s.x.t.Apply(t.ctx, s.s); err != nil {
		return err
	}
	if err := t.env.Reached(t.ctx, &Reached{t.name, s.x.vm.v, s.x.t, s.s}); err != nil {
		return err
	}
	return &skipError{"the crash state was reached"}
}

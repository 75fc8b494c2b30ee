package nvstar

import (
	"go.starlark.net/starlark"

	"nvlab/lab"
	"nvlab/nvdimm"
)

// A dimm is a plugged NVDIMM.
type dimm struct {
	vm   *vm
	d    *lab.NVDIMM
	of   *backend
	made string
}

func (d *dimm) alive() error                             { return d.vm.alive() }
func (d *dimm) String() string                           { return d.made }
func (d *dimm) Type() string                             { return "nvdimm" }
func (d *dimm) Freeze()                                  {}
func (d *dimm) Truth() starlark.Bool                     { return true }
func (d *dimm) Hash() (uint32, error)                    { return hashText(d.made), nil }
func (d *dimm) Attr(name string) (starlark.Value, error) { return dimmClass.attr(d, name) }
func (d *dimm) AttrNames() []string                      { return dimmClass.attrNames() }

var dimmClass = newClass("nvdimm", "A plugged NVDIMM.", []member[*dimm]{
	{name: "id", doc: `Its name.`,
		get: func(d *dimm) (starlark.Value, error) { return text(d.d.ID()), nil }},
	{name: "slot", doc: `Its memory slot, from 0.`,
		get: func(d *dimm) (starlark.Value, error) { return starlark.MakeInt(d.d.Slot()), nil }},
	{name: "addr", doc: `Its guest-physical address; that of the set if it is interleaved.`,
		get: func(d *dimm) (starlark.Value, error) { return unsigned(d.d.Addr()), nil }},
	{name: "size", doc: `Bytes of persistent memory, without the label area.`,
		get: func(d *dimm) (starlark.Value, error) { return unsigned(d.d.Size()), nil }},
	{name: "label_size", doc: `Bytes of its label area; 0 if it has none.`,
		get: func(d *dimm) (starlark.Value, error) { return unsigned(d.d.LabelSize()), nil }},
	{name: "unarmed", doc: `Whether the guest is told that writes do not persist.`,
		get: func(d *dimm) (starlark.Value, error) { return starlark.Bool(d.d.Unarmed()), nil }},
	{name: "node", doc: `Its NUMA node.`,
		get: func(d *dimm) (starlark.Value, error) { return starlark.MakeInt(d.d.Node()), nil }},
	{name: "uuid", doc: `The UUID it was plugged with; None if none was given.`,
		get: func(d *dimm) (starlark.Value, error) { return textOrNone(d.d.UUID()), nil }},
	{name: "handle", doc: `Its NFIT device handle.`,
		get: func(d *dimm) (starlark.Value, error) { return unsigned(uint64(d.d.Handle())), nil }},
	{name: "serial", doc: `Its serial number in the NFIT.`,
		get: func(d *dimm) (starlark.Value, error) { return unsigned(uint64(d.d.Serial())), nil }},
	{name: "flush_hint_writes", doc: `How often the guest wrote one of its flush hints since it booted.`,
		get: func(d *dimm) (starlark.Value, error) { return unsigned(d.d.FlushHintWrites()), nil }},
	{name: "backend", doc: `What stores its bytes.`,
		get: func(d *dimm) (starlark.Value, error) { return d.of, nil }},
	{name: "fail", sig: `(function, *, status=4, nth=1, times=1)`,
		doc:  `The nth matching _DSM call from now on ("label_size", "get_label", "set_label", "fit", or a function number) fails with that status, and those after it until times have failed. "fit" is the reading of _FIT, of all NVDIMMs.`,
		call: dsmFail},
	{name: "tear", sig: `(bytes, *, nth=1)`,
		doc:  `The nth label write from now on stops after that many bytes and fails with status 4.`,
		call: dsmTear},
	{name: "flags", sig: `(*, save_fail=False, restore_fail=False, flush_fail=False, not_armed=False, smart_event=False, smart_notify=False, map_fail=False)`,
		doc: `The NFIT's state flags of this NVDIMM from the next boot on. With map_fail the firmware maps no memory.`,
		call: func(c *call, d *dimm) (starlark.Value, error) {
			state := nvdimm.State{
				SaveFail:    c.truth("save_fail"),
				RestoreFail: c.truth("restore_fail"),
				FlushFail:   c.truth("flush_fail"),
				NotArmed:    c.truth("not_armed"),
				SMARTEvent:  c.truth("smart_event"),
				SMARTNotify: c.truth("smart_notify"),
				MapFail:     c.truth("map_fail"),
			}
			if c.err != nil {
				return nil, c.err
			}
			d.d.SetState(state)
			return nil, nil
		}},
})

package nvstar

import (
	"math"

	"go.starlark.net/starlark"

	"nvlab/lab"
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
	{name: "slot", doc: `Its memory slot; its handle is one more.`,
		get: func(d *dimm) (starlark.Value, error) { return starlark.MakeInt(d.d.Slot()), nil }},
	{name: "addr", doc: `Its guest-physical address.`,
		get: func(d *dimm) (starlark.Value, error) { return unsigned(d.d.Addr()), nil }},
	{name: "size", doc: `Bytes of persistent memory, without the label area.`,
		get: func(d *dimm) (starlark.Value, error) { return unsigned(d.d.Size()), nil }},
	{name: "label_size", doc: `Bytes of its label area; 0 if it has none.`,
		get: func(d *dimm) (starlark.Value, error) { return unsigned(d.d.LabelSize()), nil }},
	{name: "unarmed", doc: `Whether the guest is told that writes do not persist.`,
		get: func(d *dimm) (starlark.Value, error) { return starlark.Bool(d.d.Unarmed()), nil }},
	{name: "backend", doc: `What stores its bytes.`,
		get: func(d *dimm) (starlark.Value, error) { return d.of, nil }},
	{name: "fail", sig: `(function, *, status=4, nth=1, times=1)`,
		doc: `The nth matching _DSM call ("label_size", "get_label", "set_label", "fit", or a function number) fails with that status. ` + notYet,
		call: func(c *call, d *dimm) (starlark.Value, error) {
			if _, isText := c.value("function").(starlark.String); isText {
				c.oneOf("function", "label_size", "get_label", "set_label", "fit")
			} else {
				c.number("function", 0, math.MaxInt32)
			}
			c.number("status", 0, math.MaxUint32)
			c.number("nth", 1, math.MaxInt32)
			c.number("times", 1, math.MaxInt32)
			return nil, c.later()
		}},
	{name: "tear", sig: `(bytes, *, nth=1)`,
		doc: `The nth label write stops after that many bytes. ` + notYet,
		call: func(c *call, d *dimm) (starlark.Value, error) {
			c.size("bytes")
			c.number("nth", 1, math.MaxInt32)
			return nil, c.later()
		}},
	{name: "flags", sig: `(*, save_fail=False, restore_fail=False, flush_fail=False, not_armed=False, smart_event=False, smart_notify=False, map_fail=False)`,
		doc: `NFIT memory-device state flags from the next boot on. ` + notYet,
		call: func(c *call, d *dimm) (starlark.Value, error) {
			for _, p := range c.sig.params {
				c.truth(p.name)
			}
			return nil, c.later()
		}},
})

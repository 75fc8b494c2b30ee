package nvstar

import (
	"math"

	"go.starlark.net/starlark"

	"nvlab/lab"
	"nvlab/nvdimm"
)

// A memoryDevice is RAM in a slot, as it was plugged.
type memoryDevice struct {
	vm *vm
	m  nvdimm.Memory
	made
}

func (d *memoryDevice) alive() error                             { return d.vm.alive() }
func (d *memoryDevice) Type() string                             { return "memory_device" }
func (d *memoryDevice) Attr(name string) (starlark.Value, error) { return memoryClass.attr(d, name) }
func (d *memoryDevice) AttrNames() []string                      { return memoryClass.attrNames() }

var memoryClass = newClass("memory_device", "RAM in a slot.", []member[*memoryDevice]{
	{name: "id", doc: `Its name.`,
		get: func(d *memoryDevice) (starlark.Value, error) { return text(d.m.ID), nil }},
	{name: "slot", doc: `Its memory slot, from 0.`,
		get: func(d *memoryDevice) (starlark.Value, error) { return starlark.MakeInt(d.m.Slot), nil }},
	{name: "addr", doc: `Its guest-physical address.`,
		get: func(d *memoryDevice) (starlark.Value, error) { return unsigned(d.m.Addr), nil }},
	{name: "size", doc: `Its bytes.`,
		get: func(d *memoryDevice) (starlark.Value, error) { return unsigned(d.m.Size), nil }},
	{name: "node", doc: `Its NUMA node.`,
		get: func(d *memoryDevice) (starlark.Value, error) { return starlark.MakeInt(d.m.Node), nil }},
})

// plugMemory is vm.plug_memory.
func plugMemory(c *call, v *vm) (starlark.Value, error) {
	o := lab.MemoryOptions{
		Size: c.size("size"),
		ID:   c.text("id"),
		Node: int(c.number("node", 0, math.MaxInt32)),
		Addr: c.optionalSize("addr"),
	}
	if slot := c.optional("slot", 0, math.MaxInt32); slot != nil {
		n := int(*slot)
		o.Slot = &n
	}
	if c.err != nil {
		return nil, c.err
	}
	m, err := v.v.PlugMemory(o)
	if err != nil {
		return nil, err
	}
	return &memoryDevice{v, m, c.paste("vm.plug_memory")}, nil
}

// plugVirtio is vm.plug_virtio_pmem.
func plugVirtio(c *call, v *vm) (starlark.Value, error) {
	b := handleArg[*backend](c, "backend", "backend")
	o := lab.PlugOptions{ID: c.text("id"), Addr: c.optionalSize("addr"), Virtio: true}
	if c.err != nil {
		return nil, c.err
	}
	o.Backend = b.b
	d, err := v.v.Plug(o)
	if err != nil {
		return nil, err
	}
	h := &dimm{v, d, b, c.paste("vm.plug_virtio_pmem")}
	v.dimms = append(v.dimms, h)
	return h, nil
}

// memoryArg is the id of the memory device that an argument is, or names.
func memoryArg(c *call, name string) (id string, ok bool) {
	switch v := c.value(name).(type) {
	case *memoryDevice:
		if err := v.alive(); err != nil && c.err == nil {
			c.err = err
		}
		return v.m.ID, true
	case starlark.String:
		return string(v), true
	}
	return "", false
}

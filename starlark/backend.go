package nvstar

import (
	"fmt"

	"go.starlark.net/starlark"

	"nvlab/lab"
	"nvlab/nvdimm/label"
)

// A backend is what stores an NVDIMM's bytes.
type backend struct {
	t *T
	b *lab.Backend
	made
}

func (b *backend) alive() error                             { return b.t.alive() }
func (b *backend) Type() string                             { return "backend" }
func (b *backend) Attr(name string) (starlark.Value, error) { return backendClass.attr(b, name) }
func (b *backend) AttrNames() []string                      { return backendClass.attrNames() }

var backendClass = newClass("backend", "What stores an NVDIMM's bytes: a file or memory. Offsets are in bytes from its start. While a VM runs, its bytes are what the guest sees, otherwise the file's content.", []member[*backend]{
	{name: "path", doc: `The file's path; None of memory.`,
		get: func(b *backend) (starlark.Value, error) { return textOrNone(b.b.Path()), nil }},
	{name: "size", doc: `Bytes, the label area included.`,
		get: func(b *backend) (starlark.Value, error) { return unsigned(uint64(b.b.Size())), nil }},
	{name: "share", doc: `Whether guest writes reach the file.`,
		get: func(b *backend) (starlark.Value, error) { return starlark.Bool(b.b.Share()), nil }},
	{name: "readonly", doc: `Whether it was opened read-only.`,
		get: func(b *backend) (starlark.Value, error) { return starlark.Bool(b.b.ReadOnly()), nil }},
	{name: "durability", doc: `What it can guarantee for guest writes: "device-dax" (a device-DAX device: they survive a crash of the host), "map-sync" (a file on a file system with DAX, pmem=True: the same), "page-cache" (any other file: they survive the VM, and the host once it wrote them back; label writes are written back at once) or "volatile" (memory, or share=False: they end with the VM's power; in a fork and after a restore: a copy in memory, which ends with the test). For the last two the document suggests unarmed=True.`,
		get: func(b *backend) (starlark.Value, error) { return text(b.b.Durability().String()), nil }},
	{name: "bytes", sig: `(offset, length)`,
		doc: `The bytes at an offset → bytes.`,
		call: func(c *call, b *backend) (starlark.Value, error) {
			offset, length := c.size("offset"), c.size("length")
			if c.err != nil {
				return nil, c.err
			}
			data, err := b.b.Bytes(offset, length)
			if err != nil {
				return nil, err
			}
			return starlark.Bytes(data), nil
		}},
	{name: "write", sig: `(offset, data)`,
		doc: `Writes bytes (or a string) at an offset. An error while a running VM maps the backend.`,
		call: func(c *call, b *backend) (starlark.Value, error) {
			offset, data := c.size("offset"), c.data("data")
			if c.err != nil {
				return nil, c.err
			}
			return nil, b.b.Write(offset, data)
		}},
	{name: "sha256", sig: `(*, offset=0, length=None)`,
		doc: `The SHA-256 of a range, to the end unless length is given, as hexadecimal text.`,
		call: func(c *call, b *backend) (starlark.Value, error) {
			offset, length := c.size("offset"), c.optionalSize("length")
			if c.err != nil {
				return nil, c.err
			}
			sum, err := b.b.SHA256(c.ctx(), offset, length)
			if err != nil {
				return nil, err
			}
			return text(sum), nil
		}},
	{name: "snapshot", sig: `()`,
		doc: `The bytes as they are now, for diff.`,
		call: func(c *call, b *backend) (starlark.Value, error) {
			s, err := b.b.Snapshot(c.ctx())
			if err != nil {
				return nil, err
			}
			return &snapshot{b, s}, nil
		}},
	{name: "diff", sig: `(snapshot)`,
		doc: `What changed since a snapshot → list of struct(offset, length, before, after, what), where what names the structure hit: "label[3]", "index[1]", "btt.map", "data".`,
		call: func(c *call, b *backend) (starlark.Value, error) {
			s := handleArg[*snapshot](c, "snapshot", "snapshot")
			if c.err == nil && s.of != b {
				c.err = fmt.Errorf("the snapshot is of another backend: %s", s.of)
			}
			if c.err != nil {
				return nil, c.err
			}
			changes, err := b.b.Diff(c.ctx(), s.s)
			if err != nil {
				return nil, err
			}
			return listOf(changes, func(c lab.Change) starlark.Value { return record(fieldsOf(c)) }), nil
		}},
	{name: "labels", sig: `(*, label_size=None)`,
		doc: `The label area at the backend's end, read on the host → struct(version, current, index, active, slots, errors).

label_size is known once the backend is plugged. version is "1.1" or "1.2", None if no index block is valid; current is the number of the index block in force, or None. index has both blocks: seq, nslot, labelsize, valid, why, free (the number of free slots). active has the labels that the current index marks used, slots every slot. A label has slot, uuid, name, flags, nlabel, position, isetcookie, lbasize, dpa, rawsize, type_guid, abstraction_guid and valid; what version 1.1 lacks is None. errors says what is wrong.`,
		call: func(c *call, b *backend) (starlark.Value, error) {
			size := c.size("label_size")
			if c.err != nil {
				return nil, c.err
			}
			area, err := b.b.Labels(size)
			if err != nil {
				return nil, err
			}
			return labelArea(area), nil
		}},
})

// A snapshot is a backend's bytes at some moment.
type snapshot struct {
	of *backend
	s  *lab.Snapshot
}

func (s *snapshot) alive() error          { return s.of.alive() }
func (s *snapshot) String() string        { return s.of.String() + ".snapshot()" }
func (s *snapshot) Type() string          { return "snapshot" }
func (s *snapshot) Freeze()               {}
func (s *snapshot) Truth() starlark.Bool  { return true }
func (s *snapshot) Hash() (uint32, error) { return hashText(s.String()), nil }

func labelArea(a *label.Area) starlark.Value {
	current := starlark.Value(starlark.None)
	if a.Current >= 0 {
		current = starlark.MakeInt(a.Current)
	}
	return record(starlark.StringDict{
		"version": textOrNone(a.Version().String()),
		"current": current,
		"index":   listOf(a.Index[:], indexBlock),
		"active":  listOf(a.Active, func(l *label.Label) starlark.Value { return labelSlot(a, l) }),
		"slots":   listOf(a.Slots, func(l label.Label) starlark.Value { return labelSlot(a, &l) }),
		"errors":  listOf(a.Errors, text),
	})
}

func indexBlock(x label.Index) starlark.Value {
	return record(starlark.StringDict{
		"seq":       unsigned(uint64(x.Seq)),
		"nslot":     unsigned(uint64(x.NSlot)),
		"labelsize": starlark.MakeInt(x.LabelSize),
		"valid":     starlark.Bool(x.Valid),
		"why":       textOrNone(x.Why),
		"free":      starlark.MakeInt(x.FreeSlots()),
	})
}

func labelSlot(a *label.Area, l *label.Label) starlark.Value {
	fields := starlark.StringDict{
		"slot":             starlark.MakeInt(l.Slot),
		"uuid":             text(l.UUID.String()),
		"name":             text(l.Name),
		"flags":            unsigned(uint64(l.Flags)),
		"nlabel":           unsigned(uint64(l.NLabel)),
		"position":         unsigned(uint64(l.Position)),
		"isetcookie":       unsigned(l.ISetCookie),
		"lbasize":          unsigned(l.LBASize),
		"dpa":              unsigned(l.DPA),
		"rawsize":          unsigned(l.RawSize),
		"type_guid":        starlark.None,
		"abstraction_guid": starlark.None,
		"valid":            starlark.Bool(l.Valid),
	}
	if a.Geometry.Version == label.V12 {
		fields["type_guid"] = text(l.TypeGUID.String())
		fields["abstraction_guid"] = text(l.AbstractionGUID.String())
	}
	return record(fields)
}

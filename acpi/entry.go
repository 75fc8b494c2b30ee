package acpi

import (
	"errors"
	"fmt"
)

// entry is a structure of a table that begins with its type and length.
type entry interface {
	visitor
	kind() uint16
}

// entryKinds says how a table's structures begin and what types there are.
type entryKinds struct {
	width int // bytes of the type field, and of the length field: 1 or 2
	make  func(kind uint16) (e entry, name string)
}

// encode appends an entry with its head. One that is longer than its length
// field can say is cut.
func (k entryKinds) encode(c *codec, e entry) {
	at := len(c.buf)
	kind := e.kind()
	var length uint16
	k.head(c, &kind, &length, nil)
	e.visit(c)
	n := min(len(c.buf)-at, 1<<(8*k.width)-1)
	c.buf = c.buf[:at+n]
	c.buf[at+k.width] = byte(n)
	if k.width == 2 {
		c.buf[at+3] = byte(n >> 8)
	}
}

func (k entryKinds) head(c *codec, kind, length *uint16, name describe) {
	if k.width == 2 {
		num(c, "Type", kind, name)
		num(c, "Length", length, decimal)
		return
	}
	kind8, length8 := uint8(*kind), uint8(*length)
	num(c, "Type", &kind8, name)
	num(c, "Length", &length8, decimal)
	*kind, *length = uint16(kind8), uint16(length8)
}

// decode reads the entries that are left. It keeps going after an entry that
// is too short for its type, and stops at one that has no valid length.
func (k entryKinds) decode(c *codec, add func(e entry, at int, err error)) {
	for c.err == nil && c.left() > 0 {
		at := c.pos
		var kind, length uint16
		peek := codec{buf: c.buf, pos: at, base: c.base}
		k.head(&peek, &kind, &length, nil)
		if peek.err != nil {
			c.err = peek.err
			return
		}
		if int(length) < 2*k.width || int(length) > c.left() {
			c.fail("the structure of type %d at offset 0x%X states a length of %d: valid are %d to %d",
				kind, c.base+at, length, 2*k.width, c.left())
			return
		}
		e, name := k.make(kind)
		c.heading("%s at offset 0x%X", name, c.base+at)
		one := codec{buf: c.buf[at : at+int(length)], base: c.base + at, text: c.text}
		k.head(&one, &kind, &length, func(uint64) string { return name })
		e.visit(&one)
		if one.err == nil && one.left() > 0 {
			var extra []byte
			one.rest("Unknown Data", &extra)
		}
		if one.err != nil {
			one.err = fmt.Errorf("%s at offset 0x%X: %w", name, c.base+at, one.err)
		}
		add(e, c.base+at, one.err)
		c.pos = at + int(length)
	}
}

// visitEntries encodes list, or decodes what is left into it.
func visitEntries[E entry](c *codec, k entryKinds, list *[]E) {
	if c.encoding {
		for _, e := range *list {
			k.encode(c, e)
		}
		return
	}
	*list = nil
	var first error
	k.decode(c, func(e entry, _ int, err error) {
		if err != nil && first == nil {
			first = err
		}
		*list = append(*list, e.(E))
	})
	if first != nil {
		c.err = errors.Join(first, c.err)
	}
}

// UnknownEntry is a structure of a type that has no Go type here, or one whose
// bytes are given as they are.
type UnknownEntry struct {
	Type uint16
	Data []byte // what follows type and length
}

func (e *UnknownEntry) kind() uint16   { return e.Type }
func (e *UnknownEntry) madt()          {}
func (e *UnknownEntry) srat()          {}
func (e *UnknownEntry) nfit()          {}
func (e *UnknownEntry) visit(c *codec) { c.rest("Data", &e.Data) }

func unknownEntry(kind uint16) (entry, string) {
	return &UnknownEntry{Type: kind}, fmt.Sprintf("Unknown structure of type %d", kind)
}

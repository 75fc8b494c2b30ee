package label

import (
	"cmp"
	"fmt"
	"strings"

	"nvlab/acpi/guid"
	"nvlab/internal/units"
)

// Text is the area for people: index blocks, active labels, other labels
// that hold something, errors.
func (a *Area) Text() string {
	var b strings.Builder
	version := "no valid index block"
	if v := a.Version(); v != 0 {
		version = "version " + v.String()
	}
	fmt.Fprintf(&b, "label area: %d bytes, %s\n", a.Geometry.Size, version)
	if a.Geometry.IndexSize > 0 {
		for i := range a.Index {
			a.indexText(&b, i)
		}
	}
	active := make(map[int]bool)
	for _, l := range a.Active {
		active[l.Slot] = true
	}
	for i := range a.Slots {
		l := &a.Slots[i]
		if active[i] {
			a.labelText(&b, l, "active")
		}
	}
	for i := range a.Slots {
		if l := &a.Slots[i]; l.Valid && !active[i] {
			a.labelText(&b, l, "free, holds an old label")
		}
	}
	for _, e := range a.Errors {
		fmt.Fprintf(&b, "error: %s\n", e)
	}
	return b.String()
}

func (a *Area) indexText(b *strings.Builder, i int) {
	x := &a.Index[i]
	state := "older"
	switch {
	case !x.Valid:
		state = "invalid: " + x.Why
	case i == a.Current:
		state = "current"
	}
	fmt.Fprintf(b, "index[%d] at %#x: %s\n", i, i*a.Geometry.IndexSize, state)
	if x.Signature != signature {
		return
	}
	fmt.Fprintf(b, "  version     %d.%d, labels of %d bytes\n", x.Major, x.Minor, x.LabelSize)
	fmt.Fprintf(b, "  seq         %d\n", x.Seq)
	fmt.Fprintf(b, "  slots       %d, %d free\n", x.NSlot, x.FreeSlots())
	fmt.Fprintf(b, "  checksum    %#016x\n", x.Checksum)
}

func (a *Area) labelText(b *strings.Builder, l *Label, state string) {
	fmt.Fprintf(b, "label[%d] at %#x: %s\n", l.Slot, a.Geometry.LabelOffset(l.Slot), state)
	fmt.Fprintf(b, "  uuid        %s\n", l.UUID)
	fmt.Fprintf(b, "  name        %q\n", l.Name)
	fmt.Fprintf(b, "  flags       %s\n", FlagsText(l.Flags))
	fmt.Fprintf(b, "  position    %d of %d\n", l.Position, l.NLabel)
	fmt.Fprintf(b, "  isetcookie  %#016x\n", l.ISetCookie)
	fmt.Fprintf(b, "  lbasize     %d\n", l.LBASize)
	fmt.Fprintf(b, "  dpa         %#x\n", l.DPA)
	fmt.Fprintf(b, "  rawsize     %#x (%s)\n", l.RawSize, sizeText(l.RawSize))
	if a.Geometry.Version == V12 {
		fmt.Fprintf(b, "  type        %s\n", guidText(l.TypeGUID))
		fmt.Fprintf(b, "  abstraction %s\n", guidText(l.AbstractionGUID))
		fmt.Fprintf(b, "  checksum    %#016x\n", l.Checksum)
	}
}

// FlagsText names the flags of a label, as "0x8 (updating)".
func FlagsText(flags uint32) string {
	var names []string
	for i, name := range flagNames {
		if flags>>i&1 == 1 {
			names = append(names, name)
		}
	}
	if names == nil {
		return fmt.Sprintf("%#x", flags)
	}
	return fmt.Sprintf("%#x (%s)", flags, strings.Join(names, ", "))
}

func guidText(g guid.GUID) string {
	if name := GUIDName(g); name != "" {
		return fmt.Sprintf("%s (%s)", g, name)
	}
	return g.String()
}

// sizeText is a size in the largest binary unit that divides it.
func sizeText(n uint64) string {
	count, unit := units.Binary(n)
	return fmt.Sprintf("%d %s", count, cmp.Or(unit, "bytes"))
}

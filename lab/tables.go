package lab

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"nvlab/acpi"
	"nvlab/internal/option"
)

// ACPI is the table of that signature as the guest got it at its latest
// power-on. A second table of one signature is named "SSDT#2".
func (v *VM) ACPI(signature string) ([]byte, error) {
	if v.tables == nil {
		return nil, &StateError{State: Off, Fresh: true}
	}
	seen := map[string]int{}
	var have []string
	for _, t := range v.tables {
		name := string(t[:4])
		if seen[name]++; seen[name] > 1 {
			name = fmt.Sprintf("%s#%d", name, seen[name])
		}
		if name == signature {
			return t, nil
		}
		have = append(have, name)
	}
	return nil, fmt.Errorf("no ACPI table %q: the guest has %s", signature, strings.Join(have, ", "))
}

// SetTable gives the guest another table than nvlab's from the next boot on, or
// one more; nil takes that back. With seal, length and checksum are made
// right. It is for machines that let malformed firmware through.
func (v *VM) SetTable(signature string, data []byte, seal bool) error {
	switch {
	case v.x.closed:
		return ErrClosed
	case !v.opts.Malformed:
		return &option.Error{Err: errors.New("the machine lets no malformed firmware through"), Option: "strict", Want: false}
	case len(signature) != 4:
		return fmt.Errorf("signature=%q: it has 4 characters, such as \"NFIT\"", signature)
	case slices.Contains([]string{"RSDT", "XSDT", "FACS", "DSDT", "FACP", "APIC"}, signature):
		return fmt.Errorf("signature=%q: that table holds the machine together and stays as it is", signature)
	case data == nil:
		delete(v.replaced, signature)
		return nil
	case len(data) < tableHeader:
		return fmt.Errorf("a table of %d bytes: it has a header of %d bytes", len(data), tableHeader)
	case len(data) > maxTable:
		return fmt.Errorf("a table of %d bytes: there is room for %d", len(data), maxTable)
	}
	data = bytes.Clone(data)
	copy(data, signature)
	if seal {
		binary.LittleEndian.PutUint32(data[4:], uint32(len(data)))
		acpi.Seal(data)
	}
	// What a table says beyond its bytes is zeros to the guest.
	stated := binary.LittleEndian.Uint32(data[4:])
	if stated < tableHeader || stated > maxTable {
		return fmt.Errorf("the table says that it has %d bytes: want %d to %d", stated, tableHeader, maxTable)
	}
	if v.replaced == nil {
		v.replaced = make(map[string][]byte)
	}
	v.replaced[signature] = append(data, make([]byte, max(int(stated)-len(data), 0))...)[:stated]
	return nil
}

// Sizes of headers (ACPI 6.5 tables 5.4 and 5.110).
const (
	tableHeader = 36
	nfitHeader  = 40
)

// maxTable is the largest table that SetTable takes, in bytes.
const maxTable = 256 << 10

// replaceTables puts the tables of SetTable in the place of nvlab's, and what
// they say of the NVDIMMs in the place of _FIT.
func (v *VM) replaceTables(tables [][]byte) [][]byte {
	var fit []byte
	if nfit := v.replaced["NFIT"]; nfit != nil {
		fit = nfit[min(len(nfit), nfitHeader):]
	}
	v.root.ReplaceFIT(fit)
	for _, signature := range slices.Sorted(maps.Keys(v.replaced)) {
		tables = slices.DeleteFunc(tables, func(t []byte) bool { return string(t[:4]) == signature })
		tables = append(tables, v.replaced[signature])
	}
	return tables
}

// NFIT is the content of the guest's NFIT, empty if it has none.
func (v *VM) NFIT() ([]acpi.NFITStructure, error) {
	for _, t := range v.tables {
		if string(t[:4]) == "NFIT" {
			nfit, err := acpi.ParseNFIT(t)
			return nfit.Structures, err
		}
	}
	if v.tables == nil {
		return nil, &StateError{State: Off, Fresh: true}
	}
	return nil, nil
}

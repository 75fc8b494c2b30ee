package lab

import (
	"errors"
	"fmt"
	"strings"

	"nvlab/acpi"
)

// ACPI is the table of that signature as the guest got it at its latest
// power-on. A second table of one signature is named "SSDT#2".
func (v *VM) ACPI(signature string) ([]byte, error) {
	if v.tables == nil {
		return nil, errors.New("the VM has not been switched on yet: boot() it first")
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

// NFIT is the content of the guest's NFIT, empty if it has none.
func (v *VM) NFIT() ([]acpi.NFITStructure, error) {
	for _, t := range v.tables {
		if string(t[:4]) == "NFIT" {
			nfit, err := acpi.ParseNFIT(t)
			return nfit.Structures, err
		}
	}
	if v.tables == nil {
		return nil, errors.New("the VM has not been switched on yet: boot() it first")
	}
	return nil, nil
}

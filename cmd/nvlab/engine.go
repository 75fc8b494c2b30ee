package main

import (
	"fmt"

	"nvlab/guest"
	"nvlab/starlark/spell"
)

// checkMachine looks at the values of machineFlags that need no host for it.
func checkMachine(engine, kernel, release string) error {
	if err := checkEngine(engine); err != nil {
		return err
	}
	return guest.Spec{Kernel: kernel, Release: release}.Check()
}

func checkEngine(name string) error {
	engines := []string{"auto", "soft", "kvm"}
	for _, e := range engines {
		if e == name {
			return nil
		}
	}
	meant := ""
	if near := spell.Nearest(name, engines); near != "" {
		meant = fmt.Sprintf(" (did you mean %s?)", near)
	}
	return fmt.Errorf("--engine %s: want auto, soft or kvm%s", name, meant)
}

package main

import (
	"fmt"

	"nvlab/starlark/spell"
)

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

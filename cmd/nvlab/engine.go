package main

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"nvlab/guest"
	"nvlab/internal/spell"
)

// checkMachine looks at the values of machineFlags that need no host for it.
func checkMachine(engine, kernel, release string) error {
	if err := checkEngine(engine); err != nil {
		return err
	}
	return checkSpec(guest.Spec{Kernel: kernel, Release: release})
}

// checkSpec looks at what a guest is to be made of. A kernel that is a pipe or
// a device would be waited for, or read without end.
func checkSpec(s guest.Spec) error {
	if strings.Contains(s.Kernel, "/") {
		if info, err := os.Stat(s.Kernel); err == nil && !info.Mode().IsRegular() {
			return fmt.Errorf("--kernel %s: it is no regular file", s.Kernel)
		}
	}
	if err := checkFiles(s.Packages); err != nil {
		return err
	}
	return s.Check()
}

// checkFiles looks at the packages that are files.
func checkFiles(packages []string) error {
	for _, p := range packages {
		if !strings.Contains(p, "/") {
			continue
		}
		info, err := os.Stat(p)
		if err == nil && !info.Mode().IsRegular() {
			err = errors.New("it is no regular file")
		}
		if err != nil {
			return fmt.Errorf("--package %s: %w", p, err)
		}
	}
	return nil
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

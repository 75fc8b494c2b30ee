package nvstar

import (
	"cmp"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"go.starlark.net/starlark"

	"nvlab/guest"
)

func needs(c *call, t *T) (starlark.Value, error) {
	kernel, engine := c.text("kernel"), c.oneOf("engine", "soft", "kvm")
	spec := guest.Spec{Kernel: kernel, Release: c.text("release")}
	var wanted []bound
	packaged := strings.HasPrefix(kernel, "linux-image-")
	if c.err == nil && c.given("kernel") && !packaged {
		wanted, c.err = parseBounds(kernel)
	}
	if c.err == nil && spec.Release != "" {
		if wanted != nil {
			c.err = fmt.Errorf("kernel = %q: with release, want a package: linux-image-amd64", kernel)
		} else {
			c.err = spec.Check()
		}
	}
	if c.err != nil {
		return nil, c.err
	}
	if have, _ := t.env.Lab.Engine(); engine != "" && have != engine {
		return nil, &skipError{fmt.Sprintf("needs engine %s, this run has %s", engine, have)}
	}
	if packaged || spec.Release != "" {
		t.env.Inputs.Other("whether a guest can be had")
		why, err := t.env.Lab.HasGuest(c.ctx(), spec)
		if why != nil {
			what := "kernel " + kernel
			if kernel == "" {
				what = "release " + spec.Release
			}
			err = &skipError{fmt.Sprintf("needs %s: %v", what, why)}
		}
		return nil, err
	}
	if wanted == nil {
		return nil, nil
	}
	version, err := t.env.Lab.KernelVersion(c.ctx())
	if err != nil {
		return nil, err
	}
	for _, b := range wanted {
		if !b.holds(version) {
			return nil, &skipError{fmt.Sprintf("needs kernel %s, the guest's is %s", kernel, version)}
		}
	}
	return nil, nil
}

// A bound is a condition on a version, such as >=6.1.178.
type bound struct {
	op      string
	numbers []int
}

var boundSyntax = regexp.MustCompile(`^\s*(>=|<=|==|!=|=|>|<|)\s*(\d+(?:[.-]\d+)*)\s*$`)

// parseBounds reads conditions joined by commas, all of which must hold. One
// without an operator means ==.
func parseBounds(text string) ([]bound, error) {
	var bounds []bound
	for part := range strings.SplitSeq(text, ",") {
		m := boundSyntax.FindStringSubmatch(part)
		if m == nil {
			return nil, fmt.Errorf(`kernel = %q: want a version with >=, >, <=, <, == or != in front, such as ">=6.1.178", or a package, such as "linux-image-6.1.0-53-cloud-amd64"`, text)
		}
		bounds = append(bounds, bound{m[1], numbers(m[2])})
	}
	return bounds, nil
}

// numbers are those a version begins with: 6.1.192-2 gives 6, 1, 192, 2.
func numbers(version string) []int {
	var list []int
	for _, part := range strings.FieldsFunc(version, func(r rune) bool { return strings.ContainsRune(".-+~", r) }) {
		n, err := strconv.Atoi(part)
		if err != nil {
			break
		}
		list = append(list, n)
	}
	return list
}

// holds compares as many numbers as the bound has: 6.1.192 is ==6.1.
func (b bound) holds(version string) bool {
	have, order := numbers(version), 0
	for i, want := range b.numbers {
		n := 0
		if i < len(have) {
			n = have[i]
		}
		if order = cmp.Compare(n, want); order != 0 {
			break
		}
	}
	switch b.op {
	case ">=":
		return order >= 0
	case ">":
		return order > 0
	case "<=":
		return order <= 0
	case "<":
		return order < 0
	case "!=":
		return order != 0
	}
	return order == 0
}

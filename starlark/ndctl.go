package nvstar

import (
	"cmp"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"go.starlark.net/starlark"

	"nvlab/lab"
)

// runJSON runs a tool that may print JSON.
func runJSON(c *call, v *vm, tool string) (starlark.Value, error) {
	args := []string{tool}
	for _, a := range c.rest {
		switch a := a.(type) {
		case starlark.String:
			args = append(args, string(a))
		case starlark.Int:
			args = append(args, a.String())
		default:
			return nil, fmt.Errorf("argument %s: got %s, want string or int", brief(a), a.Type())
		}
	}
	check := c.truth("check")
	if c.err != nil {
		return nil, c.err
	}
	return v.json(c, args, check)
}

// json runs a command and decodes the JSON that it prints; None if there is
// none.
func (v *vm) json(c *call, args []string, check bool) (starlark.Value, error) {
	r, err := v.command(c, lab.Command{Args: args, Timeout: lab.DefaultTimeout, Check: check})
	if err != nil {
		return nil, err
	}
	out := strings.TrimSpace(string(r.r.Stdout))
	if !strings.HasPrefix(out, "{") && !strings.HasPrefix(out, "[") {
		return starlark.None, nil
	}
	value, err := decodeJSON(c.thread, out)
	if err != nil {
		return nil, fmt.Errorf("%s printed what is not JSON: %w\n%s", r.command, err, shorten(out, 2000))
	}
	activityOf(c.thread).gave(value, r.command)
	return value, nil
}

func listRegions(c *call, v *vm) (starlark.Value, error) {
	args := v.filter(c, []string{"-R"}, "-r", "region")
	args = v.dimmFilter(c, args)
	return v.list(c, args, "region")
}

func listNamespaces(c *call, v *vm) (starlark.Value, error) {
	args := v.filter(c, []string{"-N"}, "-n", "namespace", "-r", "region")
	if mode := c.oneOf("mode", "fsdax", "devdax", "sector", "raw"); mode != "" {
		args = append(args, "-m", mode)
	}
	args = v.dimmFilter(c, args)
	return v.list(c, args, "namespace")
}

func listDIMMs(c *call, v *vm) (starlark.Value, error) {
	args := v.filter(c, []string{"-D"}, "-r", "region")
	if c.truth("health") {
		args = append(args, "-H")
	}
	if c.truth("firmware") {
		args = append(args, "-F")
	}
	args = v.dimmFilter(c, args)
	return v.list(c, args, "nmem")
}

// filter adds the names that narrow a list down.
func (v *vm) filter(c *call, args []string, flagsAndNames ...string) []string {
	for i := 0; i < len(flagsAndNames); i += 2 {
		if name := c.text(flagsAndNames[i+1]); name != "" {
			args = append(args, flagsAndNames[i], name)
		}
	}
	return args
}

// dimmFilter adds the DIMM that narrows a list down.
func (v *vm) dimmFilter(c *call, args []string) []string {
	if c.err != nil || !c.given("dimm") {
		return args
	}
	name, err := v.guestName(c, c.value("dimm"))
	if errors.As(err, new(*noDIMMError)) {
		name, err = "none", nil // nor has anything else that is asked for it
	}
	if err != nil {
		c.err = fmt.Errorf("dimm = %s: %w", brief(c.value("dimm")), err)
	}
	return append(args, "-d", name)
}

// list runs ndctl list and gives the entries whose names begin with a
// prefix.
func (v *vm) list(c *call, args []string, prefix string) (starlark.Value, error) {
	if c.truth("idle") {
		args = append(args, "-i")
	}
	if n := c.number("verbose", 0, 3); n > 0 {
		args = append(args, "-"+strings.Repeat("v", int(n)))
	}
	if c.err != nil {
		return nil, c.err
	}
	entries, err := v.listed(c, append([]string{"ndctl", "list"}, args...), prefix)
	if err != nil {
		return nil, err
	}
	list := starlark.NewList(entries)
	activityOf(c.thread).gave(list, c.name)
	return list, nil
}

func (v *vm) listed(c *call, args []string, prefix string) ([]starlark.Value, error) {
	value, err := v.json(c, args, true)
	if err != nil {
		return nil, err
	}
	entries := entriesOf(value, prefix)
	slices.SortStableFunc(entries, func(a, b starlark.Value) int { return compareNumbers(entry(a, "dev"), entry(b, "dev")) })
	return entries, nil
}

// entriesOf collects the entries whose names begin with a prefix, "region" for
// example. Of one kind ndctl prints a list, or in old versions one entry alone;
// of several kinds, dicts of lists, which hang below what they belong to.
func entriesOf(value starlark.Value, prefix string) []starlark.Value {
	var all []starlark.Value
	switch value := value.(type) {
	case *starlark.List:
		for e := range value.Elements() {
			all = append(all, entriesOf(e, prefix)...)
		}
	case *starlark.Dict:
		if strings.HasPrefix(entry(value, "dev"), prefix) {
			return []starlark.Value{value}
		}
		for _, inner := range []string{"buses", "dimms", "regions", "namespaces"} {
			if list, ok, _ := value.Get(starlark.String(inner)); ok {
				all = append(all, entriesOf(list, prefix)...)
			}
		}
	}
	return all
}

// entry is a text in a dict, "" if there is none.
func entry(value starlark.Value, key string) string {
	if d, ok := value.(*starlark.Dict); ok {
		v, _, _ := d.Get(starlark.String(key))
		s, _ := starlark.AsString(v)
		return s
	}
	return ""
}

// compareNumbers orders names such as namespace10.2 by their numbers.
func compareNumbers(a, b string) int {
	in := func(s string) (list []int) {
		for _, digits := range digits.FindAllString(s, -1) {
			n, _ := strconv.Atoi(digits)
			list = append(list, n)
		}
		return list
	}
	return cmp.Or(slices.Compare(in(a), in(b)), cmp.Compare(a, b))
}

var digits = regexp.MustCompile(`\d+`)

// guestDIMM is the name that a guest's kernel gives a DIMM.
var guestDIMM = regexp.MustCompile(`^nmem\d+$`)

// guestName is the name in the guest of a DIMM that is given as a handle, by
// its id, or by that name. A guest that does not have it is an error that names
// those it has: ndctl itself says nothing of a name that it does not know.
func (v *vm) guestName(c *call, given starlark.Value) (string, error) {
	var d *lab.NVDIMM
	switch given := given.(type) {
	case *dimm:
		if err := given.alive(); err != nil {
			return "", err
		}
		if given.vm != v {
			return "", errors.New("the NVDIMM is plugged into another VM")
		}
		d = given.d
	case starlark.String:
		for _, plugged := range v.v.NVDIMMs() {
			if plugged.ID() == string(given) {
				d = plugged
			}
		}
		if d == nil && !guestDIMM.MatchString(string(given)) {
			return "", fmt.Errorf("no NVDIMM has this id: want an nvdimm, its id, or its name in the guest, such as \"nmem0\"")
		}
	default:
		return "", fmt.Errorf("got %s, want an nvdimm, its id, or its name in the guest, such as \"nmem0\"", given.Type())
	}
	entries, err := v.listed(c, []string{"ndctl", "list", "-D", "-i"}, "nmem")
	if err != nil {
		return "", err
	}
	var names []string
	for _, e := range entries {
		name := entry(e, "dev")
		if d == nil && starlark.String(name) == given || d != nil && hasHandle(e, d.Handle()) {
			return name, nil
		}
		names = append(names, name)
	}
	return "", &noDIMMError{names}
}

// A noDIMMError says that a guest does not have a DIMM.
type noDIMMError struct{ names []string }

func (e *noDIMMError) Error() string {
	if len(e.names) == 0 {
		return "the guest has no DIMMs"
	}
	return "the guest does not have it, but " + strings.Join(e.names, ", ")
}

func hasHandle(entry starlark.Value, handle uint32) bool {
	v, _, _ := entry.(*starlark.Dict).Get(starlark.String("handle"))
	n, ok := v.(starlark.Int)
	if !ok {
		return false
	}
	u, ok := n.Uint64()
	return ok && u == uint64(handle)
}

func initLabels(c *call, v *vm) (starlark.Value, error) {
	version := c.oneOf("version", "1.1", "1.2")
	if c.err != nil {
		return nil, c.err
	}
	dimms := []starlark.Value{c.value("dimm")}
	if list, ok := dimms[0].(*starlark.List); ok {
		if dimms = slices.Collect(list.Elements()); len(dimms) == 0 {
			return nil, errors.New("dimm is an empty list")
		}
	}
	var names, regions []string
	for _, d := range dimms {
		if d, ok := d.(*dimm); ok && d.d.LabelSize() == 0 {
			return nil, fmt.Errorf(`dimm = %s: it has no label area: vm.plug(..., label_size = "128KiB") gives it one`, d.d.ID())
		}
		name, err := v.guestName(c, d)
		if err != nil {
			return nil, fmt.Errorf("dimm = %s: %w", brief(d), err)
		}
		list, err := v.listed(c, []string{"ndctl", "list", "-R", "-i", "-d", name}, "region")
		if err != nil {
			return nil, err
		}
		names = append(names, name)
		for _, r := range list {
			if dev := entry(r, "dev"); !slices.Contains(regions, dev) {
				regions = append(regions, dev)
			}
		}
	}
	run := func(args ...string) error {
		_, err := v.command(c, lab.Command{Args: append([]string{"ndctl"}, args...), Timeout: lab.DefaultTimeout, Check: true})
		return err
	}
	var err error
	var disabled []string
	for _, r := range regions { // ndctl takes one, or all
		if err = run("disable-region", r); err != nil {
			break
		}
		disabled = append(disabled, r)
	}
	if err == nil {
		err = run(append([]string{"init-labels", "-V", version, "-f"}, names...)...)
	}
	failed := v.latest
	for _, r := range disabled {
		err = cmp.Or(err, run("enable-region", r))
	}
	if err != nil {
		v.latest = failed
		return nil, err
	}
	var after []starlark.Value
	for _, r := range regions {
		list, err := v.listed(c, []string{"ndctl", "list", "-R", "-r", r}, "region")
		if err != nil {
			return nil, err
		}
		after = append(after, list...)
	}
	return starlark.NewList(after), nil
}

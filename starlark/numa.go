package nvstar

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"go.starlark.net/starlark"
	"go.starlark.net/starlarkstruct"

	"nvlab/lab"
)

// numaFields are those of a node.
var numaFields = []string{"memory", "cpus", "distances", "latency", "bandwidth"}

// numa is a list of the structs of a machine's nodes.
func (c *call) numa(name string) (nodes []lab.NUMANode) {
	v := c.value(name)
	seq, ok := v.(starlark.Sequence)
	if v != nil && !ok {
		c.wrong(name, v, "list of struct(memory, cpus, distances, latency, bandwidth)")
	}
	if v == nil || !ok {
		return nil
	}
	for e := range starlark.Elements(seq) {
		s, ok := e.(*starlarkstruct.Struct)
		if !ok {
			c.refuse(name, v, "every element must be a struct, got %s", e.Type())
			return nil
		}
		var n lab.NUMANode
		for _, field := range s.AttrNames() {
			value, _ := s.Attr(field)
			c.numaField(fmt.Sprintf("%s[%d].%s", name, len(nodes), field), field, value, &n)
		}
		nodes = append(nodes, n)
	}
	return nodes
}

func (c *call) numaField(path, field string, v starlark.Value, n *lab.NUMANode) {
	if c.err != nil || v == starlark.None {
		return
	}
	var err error
	switch field {
	case "memory":
		n.Memory, err = sizeOf(v)
	case "cpus":
		n.CPUs, err = numbersOf(v)
	case "distances":
		n.Distances, err = numbersOf(v)
	case "latency":
		n.Latency, err = eachOf(v, func(v starlark.Value) (uint64, error) {
			i, err := starlark.AsInt32(v)
			return uint64(max(i, 0)), err
		})
	case "bandwidth":
		n.Bandwidth, err = eachOf(v, sizeOf)
	default:
		err = fmt.Errorf("no such field: a node has %s%s", strings.Join(numaFields, ", "), didYouMean(field, numaFields))
	}
	if err != nil {
		c.err = fmt.Errorf("%s = %s: %w", path, brief(v), err)
	}
}

// sizeOf is a size.
func sizeOf(v starlark.Value) (uint64, error) {
	switch v := v.(type) {
	case starlark.String:
		return ParseSize(string(v))
	case starlark.Int:
		if n, ok := v.Uint64(); ok && n <= math.MaxInt64 {
			return n, nil
		}
	}
	return 0, fmt.Errorf("got %s, %s", v.Type(), sizeRule)
}

// numbersOf is a list of ints.
func numbersOf(v starlark.Value) ([]int, error) {
	if _, ok := v.(starlark.Sequence); !ok {
		return nil, fmt.Errorf("got %s, want list of int", v.Type())
	}
	return eachOf(v, func(v starlark.Value) (int, error) { return starlark.AsInt32(v) })
}

// eachOf is a list of values, or one of them.
func eachOf[V any](v starlark.Value, of func(starlark.Value) (V, error)) ([]V, error) {
	list := []starlark.Value{v}
	if _, text := v.(starlark.String); !text {
		if seq, ok := v.(starlark.Sequence); ok {
			list = slices.Collect(starlark.Elements(seq))
		}
	}
	values := make([]V, 0, len(list))
	for _, e := range list {
		one, err := of(e)
		if err != nil {
			return nil, err
		}
		values = append(values, one)
	}
	return values, nil
}

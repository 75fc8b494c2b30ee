package guard

import (
	"strings"

	"go.starlark.net/starlark"
)

// A look is what is looked at before a function of the library is called with
// its receiver, nil if it is no method, and all of its arguments.
type look func(recv starlark.Value, args starlark.Tuple) error

// methods are those of strings, lists, dicts and sets that walk values or whose
// results grow.
var methods = map[string]look{
	"format":               formatted,
	"join":                 joined,
	"replace":              replaced,
	"split":                split,
	"rsplit":               split,
	"splitlines":           splitLines,
	"extend":               extended,
	"index":                searched,
	"remove":               searched,
	"get":                  keyed,
	"pop":                  keyed,
	"setdefault":           keyed,
	"add":                  keyed,
	"discard":              keyed,
	"update":               allKeyed,
	"union":                allKeyed,
	"difference":           allKeyed,
	"intersection":         allKeyed,
	"symmetric_difference": allKeyed,
	"issubset":             allKeyed,
	"issuperset":           allKeyed,
}

// method is the function around an attribute that may be such a method.
var method = starlark.NewBuiltin(hidden("."), func(_ *starlark.Thread, _ *starlark.Builtin, args starlark.Tuple, _ []starlark.Tuple) (starlark.Value, error) {
	return guarded(args[0]), nil
})

// guarded is a method of the library's that looks first; any other value is
// itself.
func guarded(v starlark.Value) starlark.Value {
	b, ok := v.(*starlark.Builtin)
	if !ok || b.Receiver() == nil {
		return v
	}
	switch b.Receiver().(type) {
	case starlark.String, starlark.Bytes, *starlark.List, *starlark.Dict, *starlark.Set:
	default:
		return v
	}
	if first := methods[b.Name()]; first != nil {
		return behind(b, first)
	}
	return v
}

// behind is a function that looks at its arguments first.
func behind(inner *starlark.Builtin, first look) *starlark.Builtin {
	recv := inner.Receiver()
	b := starlark.NewBuiltin(inner.Name(), func(thread *starlark.Thread, _ *starlark.Builtin, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
		all := args
		if len(kwargs) > 0 {
			all = append(starlark.Tuple(nil), args...)
			for _, kw := range kwargs {
				all = append(all, kw[1])
			}
		}
		if err := first(recv, all); err != nil {
			return nil, err
		}
		return inner.CallInternal(thread, args, kwargs)
	})
	if recv != nil {
		return b.BindReceiver(recv)
	}
	return b
}

// formatted: each field of a format may show any of the arguments.
func formatted(recv starlark.Value, args starlark.Tuple) error {
	format, ok := recv.(starlark.String)
	if !ok {
		return nil
	}
	largest := 0
	for _, arg := range args {
		n, err := textSize(asText, arg)
		if err != nil {
			return err
		}
		largest = max(largest, n)
	}
	return textFits(sum(product(strings.Count(string(format), "{"), largest), len(format)))
}

func joined(recv starlark.Value, args starlark.Tuple) error {
	if len(args) != 1 {
		return nil
	}
	iter := starlark.Iterate(args[0])
	if iter == nil {
		return nil
	}
	defer iter.Done()
	n := 0
	for x := starlark.Value(nil); iter.Next(&x); {
		s, ok := starlark.AsString(x)
		if !ok {
			return nil // and so the library says
		}
		n = sum(n, len(s)+starlark.Len(recv))
		if err := textFits(n); err != nil {
			return err
		}
	}
	return nil
}

func replaced(recv starlark.Value, args starlark.Tuple) error {
	s, ok := recv.(starlark.String)
	if !ok || len(args) < 2 {
		return nil
	}
	old, okOld := starlark.AsString(args[0])
	new, okNew := starlark.AsString(args[1])
	if !okOld || !okNew || len(new) <= len(old) {
		return nil
	}
	times := strings.Count(string(s), old)
	if len(args) > 2 {
		if limit, err := starlark.AsInt32(args[2]); err == nil && limit >= 0 {
			times = min(times, limit)
		}
	}
	return textFits(sum(len(s), product(times, len(new)-len(old))))
}

func split(recv starlark.Value, args starlark.Tuple) error {
	s, ok := recv.(starlark.String)
	if !ok || len(s) <= MaxElements {
		return nil
	}
	if len(args) > 0 {
		if sep, ok := starlark.AsString(args[0]); ok && sep != "" {
			return elementsFit(strings.Count(string(s), sep) + 1)
		}
	}
	spaces := 0
	for i := range len(s) {
		if c := s[i]; c == ' ' || c >= '\t' && c <= '\r' || c >= 0x80 {
			spaces++
		}
	}
	return elementsFit(spaces + 1)
}

func splitLines(recv starlark.Value, _ starlark.Tuple) error {
	s, _ := starlark.AsString(recv)
	return elementsFit(strings.Count(s, "\n") + strings.Count(s, "\r") + 1)
}

func extended(recv starlark.Value, args starlark.Tuple) error {
	if len(args) != 1 {
		return nil
	}
	return elementsFit(sum(starlark.Len(recv), max(length(args[0]), 0)))
}

// searched: a list compares its elements with the argument; a set takes it for
// a key, and a string for text.
func searched(recv starlark.Value, args starlark.Tuple) error {
	switch recv.(type) {
	case *starlark.List:
		return check(asOperand, recv)
	case starlark.String:
		return nil
	}
	return keyed(recv, args)
}

// keyed: the first argument is a key.
func keyed(_ starlark.Value, args starlark.Tuple) error {
	if len(args) == 0 {
		return nil
	}
	return Hashable(args[0])
}

// allKeyed: the elements of each argument are keys, or pairs that begin with
// one. What is a key already was looked at when it became one.
func allKeyed(_ starlark.Value, args starlark.Tuple) error {
	for _, arg := range args {
		switch arg.(type) {
		case *starlark.Dict, *starlark.Set, starlark.String, starlark.Bytes:
			continue
		}
		if err := elementsFit(max(length(arg), 0)); err != nil {
			return err
		}
		iter := starlark.Iterate(arg)
		if iter == nil {
			continue
		}
		defer iter.Done()
		for x := starlark.Value(nil); iter.Next(&x); {
			if pair, ok := x.(*starlark.List); ok && pair.Len() > 0 {
				x = pair.Index(0)
			}
			if err := Hashable(x); err != nil {
				return err
			}
		}
	}
	return nil
}

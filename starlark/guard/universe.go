package guard

import (
	"maps"
	"sync"

	"go.starlark.net/starlark"
)

// functions are Starlark's own that walk values or whose results grow.
var functions = map[string]look{
	"all":       taken,
	"any":       taken,
	"bytes":     taken,
	"dict":      allKeyed,
	"enumerate": taken,
	"fail":      shown,
	"int":       parsed,
	"list":      taken,
	"max":       ordered,
	"min":       ordered,
	"print":     shown,
	"repr":      shown,
	"reversed":  taken,
	"set":       allKeyed,
	"sorted":    ordered,
	"str":       shown,
	"tuple":     taken,
	"zip":       taken,
}

// Universe are the functions that stand in the place of Starlark's own, and
// those that Source makes a file call.
var Universe = sync.OnceValue(func() starlark.StringDict {
	names := make(starlark.StringDict)
	for name, first := range functions {
		names[name] = behind(starlark.Universe[name].(*starlark.Builtin), first)
	}
	for _, name := range []string{"max", "min", "sorted"} {
		names[name] = byKey(names[name].(*starlark.Builtin))
	}
	attribute := starlark.Universe["getattr"].(*starlark.Builtin)
	names["getattr"] = starlark.NewBuiltin("getattr", func(thread *starlark.Thread, _ *starlark.Builtin, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
		v, err := attribute.CallInternal(thread, args, kwargs)
		if err != nil {
			return nil, err
		}
		return guarded(v), nil
	})
	for op, allowed := range guards {
		b := operate(op, allowed)
		names[b.Name()] = b
	}
	for _, op := range binary {
		b := assign(op, guards[op])
		names[b.Name()] = b
	}
	for _, b := range []*starlark.Builtin{key, spread, method} {
		names[b.Name()] = b
	}
	maps.Copy(names, starlark.StringDict{"json": jsonModule})
	return names
})

// taken: sequences are taken whole. A range costs nothing until then.
func taken(_ starlark.Value, args starlark.Tuple) error {
	for _, arg := range args {
		switch arg.(type) {
		case starlark.String, starlark.Bytes:
			continue
		}
		if n := length(arg); n > MaxElements {
			return elementsFit(n)
		}
	}
	return nil
}

// ordered: they are, and their elements are compared.
func ordered(_ starlark.Value, args starlark.Tuple) error {
	if err := taken(nil, args); err != nil {
		return err
	}
	return check(asOperand, args...)
}

// byKey is a function that compares what its key= makes of the elements, which
// is looked at as they are.
func byKey(inner *starlark.Builtin) *starlark.Builtin {
	looking := func(v starlark.Value) starlark.Value {
		fn, ok := v.(starlark.Callable)
		if !ok {
			return v
		}
		return starlark.NewBuiltin(hidden("key"), func(thread *starlark.Thread, _ *starlark.Builtin, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
			v, err := starlark.Call(thread, fn, args, kwargs)
			if err != nil {
				return nil, err
			}
			return v, check(asOperand, v)
		})
	}
	return starlark.NewBuiltin(inner.Name(), func(thread *starlark.Thread, _ *starlark.Builtin, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
		if inner.Name() == "sorted" && len(args) > 1 {
			args[1] = looking(args[1])
		}
		for _, kw := range kwargs {
			if kw[0] == starlark.String("key") {
				kw[1] = looking(kw[1])
			}
		}
		return inner.CallInternal(thread, args, kwargs)
	})
}

func shown(_ starlark.Value, args starlark.Tuple) error {
	if len(args) == 1 {
		switch arg := args[0].(type) {
		case starlark.String, starlark.Bytes: // str(x) is itself, and repr(x) four times as long at most
			return textFits(starlark.Len(arg) * 4)
		}
	}
	return check(asText, args...)
}

// parsed: a number in digits.
func parsed(_ starlark.Value, args starlark.Tuple) error {
	if len(args) > 0 {
		if s, ok := starlark.AsString(args[0]); ok && len(s) > MaxBits/3 {
			return intFits(len(s) * 3)
		}
	}
	return nil
}

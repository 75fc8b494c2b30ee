package nvstar

import (
	"errors"
	"maps"
	"sync"

	jsonlib "go.starlark.net/lib/json"
	"go.starlark.net/starlark"
	"go.starlark.net/starlarkstruct"
)

// universe is what is predeclared beside Starlark's own names.
var universe = sync.OnceValue(func() starlark.StringDict {
	names := starlark.StringDict{
		"check":  checkModule{},
		"json":   jsonlib.Module,
		"struct": starlark.NewBuiltin("struct", starlarkstruct.Make),
		"KiB":    starlark.MakeInt64(1 << 10),
		"MiB":    starlark.MakeInt64(1 << 20),
		"GiB":    starlark.MakeInt64(1 << 30),
		"TiB":    starlark.MakeInt64(1 << 40),
	}
	maps.Copy(names, bounded())
	return names
})

func decodeJSON(thread *starlark.Thread, text string) (starlark.Value, error) {
	v, err := starlark.Call(thread, jsonlib.Module.Members["decode"], starlark.Tuple{starlark.String(text)}, nil)
	var ev *starlark.EvalError
	if errors.As(err, &ev) {
		err = errors.New(message(ev)) // its position is of the scenario's call, not of this one
	}
	return v, err
}

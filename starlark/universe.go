package nvstar

import (
	"errors"
	"maps"
	"strings"
	"sync"

	"go.starlark.net/starlark"
	"go.starlark.net/starlarkstruct"

	"nvlab/starlark/guard"
)

// universe is what is predeclared beside Starlark's own names.
var universe = sync.OnceValue(func() starlark.StringDict {
	names := starlark.StringDict{
		"cases":  starlark.NewBuiltin("cases", newCases),
		"check":  checkModule{},
		"struct": starlark.NewBuiltin("struct", starlarkstruct.Make),
		"KiB":    starlark.MakeInt64(1 << 10),
		"MiB":    starlark.MakeInt64(1 << 20),
		"GiB":    starlark.MakeInt64(1 << 30),
		"TiB":    starlark.MakeInt64(1 << 40),
	}
	maps.Copy(names, guard.Universe())
	names[indexName] = indexFunction
	return names
})

func decodeJSON(thread *starlark.Thread, text string) (starlark.Value, error) {
	v, err := guard.DecodeJSON(thread, text)
	if err != nil {
		return nil, errors.New(strings.TrimPrefix(err.Error(), "json.decode: "))
	}
	return v, nil
}

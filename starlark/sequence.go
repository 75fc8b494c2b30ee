package nvstar

import (
	"fmt"

	"go.starlark.net/starlark"
)

// maxElements is how many elements of a sequence Starlark's own functions take
// at once. Some make room for all of them, and none can be interrupted.
const maxElements = 1 << 26

// bounded are Starlark's functions that walk a whole sequence. A range costs
// nothing until one of them takes it.
func bounded() starlark.StringDict {
	functions := make(starlark.StringDict)
	for _, name := range []string{"all", "any", "bytes", "dict", "enumerate", "list", "max", "min", "reversed", "set", "sorted", "tuple", "zip"} {
		inner := starlark.Universe[name].(*starlark.Builtin)
		functions[name] = starlark.NewBuiltin(name, func(thread *starlark.Thread, b *starlark.Builtin, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
			for _, arg := range args {
				if seq, ok := arg.(starlark.Sequence); ok && seq.Len() > maxElements {
					return nil, fmt.Errorf("%s of %d elements: at most %d", arg.Type(), seq.Len(), maxElements)
				}
			}
			return inner.CallInternal(thread, args, kwargs)
		})
	}
	return functions
}

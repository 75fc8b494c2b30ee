package nvstar

import (
	"fmt"
	"sync"

	"go.starlark.net/starlark"
	"go.starlark.net/syntax"

	"nvlab/internal/spell"
)

// A signature is a built-in's parameter list as its documentation shows it,
// such as `(command, *, check=True)`. It is what calls are checked against,
// so the two cannot differ.
type signature struct {
	text   string
	params []param
	rest   string // name of *args, or ""
	named  string // of **kwargs, or ""; no call of ours takes them
	places int    // how many parameters may be positional
}

type param struct {
	name     string
	fallback starlark.Value // nil if required
}

// parseSignature reads a parameter list in Starlark's own syntax. The text is
// part of this program: a malformed one is a defect of it.
func parseSignature(text string) *signature {
	globals, err := starlark.ExecFileOptions(&syntax.FileOptions{}, new(starlark.Thread), "signature", "def f"+text+": pass", nil)
	if err != nil {
		panic(fmt.Sprintf("signature %s: %v", text, err))
	}
	fn := globals["f"].(*starlark.Function)
	sig := &signature{text: text}
	n := fn.NumParams()
	if fn.HasKwargs() { // the last one
		n--
		sig.named, _ = fn.Param(n)
	}
	if fn.HasVarargs() {
		n--
		sig.rest, _ = fn.Param(n)
	}
	for i := range n {
		name, _ := fn.Param(i)
		sig.params = append(sig.params, param{name, fn.ParamDefault(i)})
	}
	sig.places = n - fn.NumKwonlyParams()
	return sig
}

// lazySignature defers the parsing to the first use.
func lazySignature(text string) func() *signature {
	return sync.OnceValue(func() *signature { return parseSignature(text) })
}

// bind puts a call's arguments to their parameters, in order. Parameters that
// got none have their fallback.
func (sig *signature) bind(name string, args starlark.Tuple, kwargs []starlark.Tuple) (values []starlark.Value, rest starlark.Tuple, err error) {
	values = make([]starlark.Value, len(sig.params))
	if len(args) > sig.places {
		if sig.rest == "" {
			return nil, nil, sig.tooMany(name, len(args))
		}
		rest = args[sig.places:]
	}
	copy(values, args[:min(len(args), sig.places)])
	for _, kw := range kwargs {
		key := string(kw[0].(starlark.String))
		i := sig.index(key)
		if i < 0 {
			return nil, nil, sig.unknown(name, key)
		}
		if values[i] != nil {
			return nil, nil, fmt.Errorf("argument %s is given twice", key)
		}
		values[i] = kw[1]
	}
	for i, p := range sig.params {
		if values[i] != nil {
			continue
		}
		if p.fallback == nil {
			return nil, nil, fmt.Errorf("argument %s is missing: %s%s", p.name, name, sig.text)
		}
		values[i] = p.fallback
	}
	return values, rest, nil
}

func (sig *signature) index(name string) int {
	for i, p := range sig.params {
		if p.name == name {
			return i
		}
	}
	return -1
}

func (sig *signature) names() []string {
	names := make([]string, len(sig.params))
	for i, p := range sig.params {
		names[i] = p.name
	}
	return names
}

func (sig *signature) tooMany(name string, got int) error {
	short := lastName(name)
	switch {
	case len(sig.params) == 0:
		return fmt.Errorf("it takes no arguments, %d given", got)
	case sig.places == 0:
		return fmt.Errorf("it takes keyword arguments only, such as %s(%s = ...): %s%s", short, sig.params[0].name, name, sig.text)
	}
	return fmt.Errorf("at most %s may go without keyword, %d given: %s%s", plural(sig.places, "argument"), got, name, sig.text)
}

func (sig *signature) unknown(name, key string) error {
	if near := spell.Nearest(key, sig.names()); near != "" {
		return fmt.Errorf("no parameter is called %s (did you mean %s?)", key, near)
	}
	return fmt.Errorf("no parameter is called %s: %s%s", key, name, sig.text)
}

func plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

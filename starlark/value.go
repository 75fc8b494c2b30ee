package nvstar

import (
	"reflect"
	"strings"
	"unicode"

	"go.starlark.net/starlark"
	"go.starlark.net/starlarkstruct"

	"nvlab/starlark/guard"
)

// made is the call that a handle came of: what it prints, and what it is as a
// key. A handle can be neither frozen nor false.
type made string

func (m made) String() string        { return string(m) }
func (made) Freeze()                 {}
func (made) Truth() starlark.Bool    { return true }
func (m made) Hash() (uint32, error) { return hashText(string(m)), nil }

// paste writes the call as a scenario would, without arguments that have their
// default: how a handle prints.
func (c *call) paste(name string) made {
	return made(c.write(name, func(i int, v starlark.Value) string {
		p, text := c.sig.params[i], v.String()
		if n, ok := v.(starlark.Int); ok && strings.Contains(sizeParams, " "+p.name+" ") {
			if bytes, ok := n.Uint64(); ok && bytes >= 1<<10 {
				text = `"` + FormatSize(bytes) + `"`
			}
		}
		return p.name + " = " + text
	}))
}

// write writes the call of a name, with show for each argument, by the number of
// its parameter, that differs from the default.
func (c *call) write(name string, show func(i int, v starlark.Value) string) string {
	var args []string
	for _, v := range c.rest {
		args = append(args, brief(v))
	}
	for i, v := range c.values {
		if d := c.sig.params[i].fallback; d != nil {
			if same, err := starlark.Equal(v, d); err == nil && same {
				continue
			}
		}
		args = append(args, show(i, v))
	}
	return name + "(" + strings.Join(args, ", ") + ")"
}

// sizeParams are the parameters that are sizes.
const sizeParams = " size memory maxmem label_size align offset "

// briefLimit is how many bytes of a value an error message shows.
const briefLimit = 120

// brief is a value as an error message shows it: its beginning.
func brief(v starlark.Value) string { return abridged(v, briefLimit) }

// abridged is a value's text, of at most limit bytes.
func abridged(v starlark.Value, limit int) string { return shorten(guard.Brief(v, limit), limit) }

func shorten(s string, limit int) string {
	if len(s) <= limit {
		return s
	}
	return strings.ToValidUTF8(s[:limit-3], "") + "..."
}

func record(fields starlark.StringDict) *starlarkstruct.Struct {
	return starlarkstruct.FromStringDict(starlarkstruct.Default, fields)
}

func listOf[E any](in []E, convert func(E) starlark.Value) *starlark.List {
	out := make([]starlark.Value, len(in))
	for i, e := range in {
		out[i] = convert(e)
	}
	return starlark.NewList(out)
}

func text(s string) starlark.Value { return starlark.String(s) }

// readable is what a guest wrote as text: bytes that are not UTF-8 become
// U+FFFD.
func readable(s string) starlark.Value {
	return starlark.String(strings.ToValidUTF8(s, "\ufffd"))
}

// textOrNone is None for "".
func textOrNone(s string) starlark.Value {
	if s == "" {
		return starlark.None
	}
	return starlark.String(s)
}

func unsigned(n uint64) starlark.Value { return starlark.MakeUint64(n) }

// fieldsOf turns a Go struct into a Starlark one: exported fields under their
// names in snake_case, values with a String method as text.
func fieldsOf(v any) starlark.StringDict {
	rv := reflect.Indirect(reflect.ValueOf(v))
	fields := make(starlark.StringDict)
	for i := range rv.NumField() {
		if f := rv.Type().Field(i); f.IsExported() {
			fields[snake(f.Name)] = plain(rv.Field(i))
		}
	}
	return fields
}

func plain(v reflect.Value) starlark.Value {
	if s, ok := v.Interface().(interface{ String() string }); ok {
		return starlark.String(s.String())
	}
	switch {
	case v.CanUint():
		return starlark.MakeUint64(v.Uint())
	case v.CanInt():
		return starlark.MakeInt64(v.Int())
	}
	switch v.Kind() {
	case reflect.Bool:
		return starlark.Bool(v.Bool())
	case reflect.String:
		return starlark.String(v.String())
	case reflect.Slice:
		if v.Type().Elem().Kind() == reflect.Uint8 {
			return starlark.Bytes(v.Bytes())
		}
		list := make([]starlark.Value, v.Len())
		for i := range list {
			list[i] = plain(v.Index(i))
		}
		return starlark.NewList(list)
	case reflect.Struct:
		return record(fieldsOf(v.Interface()))
	}
	return starlark.None
}

// snake turns SPAIndex into spa_index and DPABase into dpa_base.
func snake(name string) string {
	var b strings.Builder
	runes := []rune(name)
	for i, r := range runes {
		if unicode.IsUpper(r) && i > 0 && (unicode.IsLower(runes[i-1]) || i+1 < len(runes) && unicode.IsLower(runes[i+1])) {
			b.WriteByte('_')
		}
		b.WriteRune(unicode.ToLower(r))
	}
	return b.String()
}

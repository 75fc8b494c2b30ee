package guard

import (
	"iter"
	"strings"

	"go.starlark.net/starlark"
	"go.starlark.net/starlarkstruct"
)

// Brief is the beginning of a value's text, of about limit bytes. It takes no
// longer than these, however large the value is and however deep.
func Brief(v starlark.Value, limit int) string {
	b := brief{limit: limit}
	b.write(v, 0)
	return b.String()
}

// briefDepth is how deep Brief goes into a value.
const briefDepth = 20

type brief struct {
	strings.Builder
	limit int
}

func (b *brief) write(v starlark.Value, depth int) {
	if b.Len() > b.limit {
		return
	}
	switch v := v.(type) {
	case starlark.String:
		b.WriteString(v[:min(len(v), b.limit)].String())
	case starlark.Bytes:
		b.WriteString(v[:min(len(v), b.limit)].String())
	case starlark.Int:
		if bits(v) > MaxBits { // digits take long to make
			b.WriteString("an int of more than " + starlark.MakeInt(MaxBits).String() + " bits")
			return
		}
		b.WriteString(v.String())
	case starlark.Tuple:
		last := ")"
		if len(v) == 1 {
			last = ",)"
		}
		b.list("(", last, depth, starlark.Elements(v))
	case *starlark.List:
		b.list("[", "]", depth, starlark.Elements(v))
	case *starlark.Set:
		b.list("set([", "])", depth, starlark.Elements(v))
	case *starlark.Dict:
		b.entries("{", ": ", "}", depth, v.Entries())
	case *starlarkstruct.Struct:
		b.entries("struct(", " = ", ")", depth, func(yield func(name, v starlark.Value) bool) {
			for name, field := range v.Entries() {
				if !yield(bare(name), field) {
					return
				}
			}
		})
	default:
		b.WriteString(v.String())
	}
}

// bare is a name without quotes.
type bare string

func (b bare) String() string        { return string(b) }
func (b bare) Type() string          { return "name" }
func (b bare) Freeze()               {}
func (b bare) Truth() starlark.Bool  { return true }
func (b bare) Hash() (uint32, error) { return starlark.String(b).Hash() }

func (b *brief) list(open, end string, depth int, elements iter.Seq[starlark.Value]) {
	b.entries(open, "", end, depth, func(yield func(_, v starlark.Value) bool) {
		for v := range elements {
			if !yield(bare(""), v) {
				return
			}
		}
	})
}

func (b *brief) entries(open, is, end string, depth int, entries iter.Seq2[starlark.Value, starlark.Value]) {
	b.WriteString(open)
	sep := ""
	for name, v := range entries {
		if depth >= briefDepth {
			b.WriteString("...")
			break
		}
		if b.Len() > b.limit {
			return
		}
		b.WriteString(sep)
		b.write(name, depth+1)
		b.WriteString(is)
		b.write(v, depth+1)
		sep = ", "
	}
	b.WriteString(end)
}

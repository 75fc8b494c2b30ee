package guard

import (
	mathbits "math/bits"

	"go.starlark.net/starlark"
	"go.starlark.net/starlarkstruct"
)

// A reading is what the library does with a value that it walks.
type reading int

const (
	asText     reading = iota // str, repr, %, format
	asJSON                    // json.encode
	asKey                     // hash: only tuples and structs have values in them that it goes into
	asOperand                 // ==, <, in: no deeper than starlark.CompareLimit
	asConstant                // freeze: functions and what they refer to as well
)

// A walker goes the library's way through values ahead of it, to know how deep
// and how long that is.
type walker struct {
	how   reading
	nodes int
	bytes int              // of text, at most
	path  []starlark.Value // lists and dicts being walked, as the library notes them
	seen  map[starlark.Value]bool
}

// check walks values. An error says which bound they exceed.
func check(how reading, values ...starlark.Value) error {
	w := walker{how: how}
	return w.all(values)
}

func (w *walker) all(values []starlark.Value) error {
	for _, v := range values {
		if err := w.walk(v, 0); err != nil {
			return err
		}
	}
	if w.how == asText || w.how == asJSON {
		return textFits(w.bytes)
	}
	return nil
}

// textSize is how many bytes of text values have, at most.
func textSize(how reading, values ...starlark.Value) (int, error) {
	w := walker{how: how}
	err := w.all(values)
	return w.bytes, err
}

// walk visits v and, if it is a composite, what it holds.
func (w *walker) walk(v starlark.Value, depth int) error {
	if w.nodes++; w.nodes > MaxNodes {
		return errNodes
	}
	if depth > MaxDepth {
		return errDeep
	}
	if w.how == asOperand && depth > starlark.CompareLimit {
		return nil
	}
	switch v := v.(type) {
	case nil:
		return nil
	case starlark.String:
		return w.write(quotedSize(string(v)))
	case starlark.Bytes:
		return w.write(quotedSize(string(v)))
	case starlark.Int:
		return w.write(digits(v))
	case starlark.NoneType, starlark.Bool, starlark.Float:
		return w.write(24)
	case starlark.Tuple:
		return elements(w, v, depth)
	case *starlarkstruct.Struct:
		return w.fields(v, depth)
	case *starlark.List:
		return w.within(v, depth, func() error { return elements(w, v, depth) })
	case *starlark.Dict:
		return w.within(v, depth, func() error { return w.entries(v, depth) })
	case *starlark.Set:
		if w.how == asKey || w.again(v) {
			return nil
		}
		return w.iterate(v, depth)
	case *starlark.Function:
		if w.how == asConstant {
			return w.function(v, depth)
		}
		return w.write(64 + len(v.Name()))
	case *starlark.Builtin:
		if w.how == asConstant && v.Receiver() != nil {
			return w.walk(v.Receiver(), depth+1)
		}
		return w.write(64)
	case starlark.Sequence:
		if w.how == asJSON { // a range is as short as its bounds, and JSON has all of it
			if w.nodes += v.Len(); w.nodes > MaxNodes || v.Len() > MaxNodes {
				return errNodes
			}
			return w.write(product(v.Len(), 24))
		}
	}
	return w.write(64)
}

// write counts text. It fails early, as the count could run over.
func (w *walker) write(n int) error {
	if w.how == asText || w.how == asJSON {
		w.bytes = sum(w.bytes, n)
		return textFits(w.bytes)
	}
	return nil
}

// elementsOf is what lists and tuples have in common.
type elementsOf interface {
	Len() int
	Index(i int) starlark.Value
}

// elements walks them. One that stands beside itself, as in [x] * 1000, counts as
// often as it does, and is walked once.
func elements[S elementsOf](w *walker, seq S, depth int) error {
	n := seq.Len()
	if err := w.write(2 + 2*n); err != nil {
		return err
	}
	var last starlark.Value
	nodes, bytes := 0, 0 // of last
	for i := range n {
		v := seq.Index(i)
		if w.how != asConstant && identical(v, last) {
			if w.nodes += nodes; w.nodes > MaxNodes {
				return errNodes
			}
			if err := w.write(bytes); err != nil {
				return err
			}
			continue
		}
		nodes, bytes = w.nodes, w.bytes
		if err := w.walk(v, depth+1); err != nil {
			return err
		}
		last, nodes, bytes = v, w.nodes-nodes, w.bytes-bytes
	}
	return nil
}

// identical says that x and y are one list, dict or tuple.
func identical(x, y starlark.Value) bool {
	switch x := x.(type) {
	case *starlark.List, *starlark.Dict:
		return x == y
	case starlark.Tuple:
		y, ok := y.(starlark.Tuple)
		return ok && len(x) > 0 && len(x) == len(y) && &x[0] == &y[0]
	}
	return false
}

func (w *walker) iterate(v starlark.Iterable, depth int) error {
	iter := v.Iterate()
	defer iter.Done()
	for x := starlark.Value(nil); iter.Next(&x); {
		if err := w.write(2); err != nil {
			return err
		}
		if err := w.walk(x, depth+1); err != nil {
			return err
		}
	}
	return w.write(8)
}

func (w *walker) entries(d *starlark.Dict, depth int) error {
	for key, value := range d.Entries() {
		if err := w.write(4); err != nil {
			return err
		}
		if err := w.walk(key, depth+1); err != nil {
			return err
		}
		if err := w.walk(value, depth+1); err != nil {
			return err
		}
	}
	return w.write(2)
}

// fields walks a struct. Its String begins a path of its own, so that a value
// that holds itself by way of a struct has no end in the library.
func (w *walker) fields(s *starlarkstruct.Struct, depth int) error {
	if w.again(s) {
		return nil
	}
	defer func(outer []starlark.Value) { w.path = outer }(w.path)
	w.path = nil
	for name, value := range s.Entries() {
		if err := w.write(len(name) + 5); err != nil {
			return err
		}
		if err := w.walk(value, depth+1); err != nil {
			return err
		}
	}
	return w.write(16)
}

// function walks what a function refers to: defaults, and variables of the
// functions around it.
func (w *walker) function(fn *starlark.Function, depth int) error {
	if w.again(fn) {
		return nil
	}
	for i := range fn.NumParams() {
		if v := fn.ParamDefault(i); v != nil {
			if err := w.walk(v, depth+1); err != nil {
				return err
			}
		}
	}
	for i := range fn.NumFreeVars() {
		if _, v := fn.FreeVar(i); v != nil {
			if err := w.walk(v, depth+2); err != nil { // it stands in a cell
				return err
			}
		}
	}
	return nil
}

// within walks a list or a dict, unless that is not done again or at all.
func (w *walker) within(v starlark.Value, depth int, elements func() error) error {
	switch w.how {
	case asKey:
		return nil
	case asConstant:
		if w.again(v) {
			return nil
		}
	case asText, asJSON:
		for _, outer := range w.path {
			if outer == v {
				return w.write(5)
			}
		}
		w.nodes += len(w.path) / 16 // the library looks through it as well
		w.path = append(w.path, v)
		defer func() { w.path = w.path[:len(w.path)-1] }()
	}
	return elements()
}

// again says that a value is frozen already; the library goes into it once.
// Functions and tuples it does not remember, so that this walk may be shorter
// than the library's; a tuple counts each time.
func (w *walker) again(v starlark.Value) bool {
	if w.how != asConstant {
		return false
	}
	if w.seen == nil {
		w.seen = make(map[starlark.Value]bool)
	}
	if _, ok := v.(*starlark.Function); ok {
		return false
	}
	if w.seen[v] {
		return true
	}
	w.seen[v] = true
	return false
}

// quotedSize is how many bytes a string has in quotes, at most.
func quotedSize(s string) int {
	if len(s) < 1<<10 {
		return 6*len(s) + 3
	}
	escaped := 0
	for i := range len(s) {
		escaped += int(escapes[s[i]])
	}
	return len(s) + 5*escaped + 3
}

// escapes holds 1 for each byte that may be escaped in quotes.
var escapes = func() (e [256]uint8) {
	for c := range e {
		if c < 0x20 || c >= 0x7f || c == '"' || c == '\\' || c == '<' || c == '>' || c == '&' {
			e[c] = 1
		}
	}
	return e
}()

// digits is how many digits an int has, about.
func digits(i starlark.Int) int {
	if _, ok := i.Int64(); ok {
		return 20
	}
	return bits(i)/3 + 2
}

// bits is how many bits an int has without its sign.
func bits(i starlark.Int) int {
	if n, ok := i.Int64(); ok {
		if n < 0 {
			n = -n
		}
		return mathbits.Len64(uint64(n))
	}
	return i.BigInt().BitLen()
}

// Frozen says whether values can be frozen: it is nil, or which bound they
// exceed.
func Frozen(values starlark.StringDict) (name string, err error) {
	w := walker{how: asConstant}
	for _, name := range values.Keys() {
		if err := w.walk(values[name], 0); err != nil {
			return name, err
		}
	}
	return "", nil
}

// Printable says whether the text of values can be made.
func Printable(values ...starlark.Value) error { return check(asText, values...) }

// Comparable says whether two values can be compared: one of them at least is
// walked to its end.
func Comparable(x, y starlark.Value) error {
	if check(asOperand, x) == nil {
		return nil
	}
	return check(asOperand, y)
}

// Contains says whether x in y can be told.
func Contains(x, y starlark.Value) error { return membership(x, y) }

// Hashable says whether v, if it has a hash, is one that can be computed.
func Hashable(v starlark.Value) error { return check(asKey, v) }

package nvstar

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"time"

	"go.starlark.net/starlark"
)

// A call is one call of a built-in, its arguments bound. The methods that
// read an argument keep the first error in err and return a zero value from
// then on, so that a built-in looks at err once.
type call struct {
	thread *starlark.Thread
	name   string
	sig    *signature
	values []starlark.Value
	rest   starlark.Tuple
	err    error
}

func (c *call) ctx() context.Context { return activityOf(c.thread).ctx }

// value is an argument, nil after an error.
func (c *call) value(name string) starlark.Value {
	i := c.sig.index(name)
	if i < 0 {
		panic(fmt.Sprintf("%s%s has no parameter %s", c.name, c.sig.text, name))
	}
	if c.err != nil {
		return nil
	}
	return c.values[i]
}

// given says that an argument differs from None.
func (c *call) given(name string) bool {
	v := c.value(name)
	return v != nil && v != starlark.None
}

func (c *call) wrong(name string, v starlark.Value, want string) {
	if c.err == nil {
		c.err = fmt.Errorf("%s = %s: got %s, want %s", name, brief(v), v.Type(), want)
	}
}

func (c *call) refuse(name string, v starlark.Value, format string, args ...any) {
	if c.err == nil {
		c.err = fmt.Errorf("%s = %s: %s", name, brief(v), fmt.Sprintf(format, args...))
	}
}

// text is a string, "" for None where that is the default.
func (c *call) text(name string) string {
	switch v := c.value(name).(type) {
	case nil, starlark.NoneType:
		if v != nil && c.sig.params[c.sig.index(name)].fallback != starlark.None {
			c.wrong(name, v, "string")
		}
	case starlark.String:
		return string(v)
	default:
		c.wrong(name, v, "string")
	}
	return ""
}

// oneOf is a string out of a list, "" for None.
func (c *call) oneOf(name string, allowed ...string) string {
	s := c.text(name)
	if c.err != nil || !c.given(name) {
		return ""
	}
	for _, a := range allowed {
		if s == a {
			return s
		}
	}
	c.err = notOneOf(name, s, allowed)
	return ""
}

func (c *call) truth(name string) bool {
	switch v := c.value(name).(type) {
	case nil:
	case starlark.Bool:
		return bool(v)
	default:
		c.wrong(name, v, "bool")
	}
	return false
}

// optionalTruth is nil for None.
func (c *call) optionalTruth(name string) *bool {
	if !c.given(name) {
		return nil
	}
	b := c.truth(name)
	return &b
}

// number is an int of at least low and at most high.
func (c *call) number(name string, low, high int64) int64 {
	v := c.value(name)
	if v == nil {
		return 0
	}
	i, ok := v.(starlark.Int)
	if !ok {
		c.wrong(name, v, "int")
		return 0
	}
	n, ok := i.Int64()
	switch {
	case !ok && i.Sign() > 0, ok && n > high:
		c.refuse(name, v, "at most %d", high)
		return 0
	case !ok, n < low:
		c.refuse(name, v, "at least %d", low)
		return 0
	}
	return n
}

// optional is the number an argument holds, nil for None.
func (c *call) optional(name string, low, high int64) *int64 {
	if !c.given(name) {
		return nil
	}
	n := c.number(name, low, high)
	return &n
}

// size is a number of bytes, 0 for None where that is the default.
func (c *call) size(name string) uint64 {
	switch v := c.value(name).(type) {
	case nil:
	case starlark.Int:
		return uint64(c.number(name, 0, math.MaxInt64))
	case starlark.String:
		n, err := ParseSize(string(v))
		if err != nil && c.err == nil {
			c.err = fmt.Errorf("%s = %w", name, err)
		}
		return n
	default:
		if v != starlark.None || c.sig.params[c.sig.index(name)].fallback != starlark.None {
			c.wrong(name, v, sizeRule[len("want "):])
		}
	}
	return 0
}

func (c *call) optionalSize(name string) *uint64 {
	if !c.given(name) {
		return nil
	}
	n := c.size(name)
	return &n
}

func (c *call) duration(name string) time.Duration {
	switch v := c.value(name).(type) {
	case nil:
	case starlark.String:
		d, err := parseDuration(string(v))
		if err != nil && c.err == nil {
			c.err = fmt.Errorf("%s = %w", name, err)
		}
		return d
	default:
		c.wrong(name, v, `a duration, a string such as "250ms" or "30s"`)
	}
	return 0
}

// data is the bytes of bytes or of a string, nil for None where that is the
// default.
func (c *call) data(name string) []byte {
	switch v := c.value(name).(type) {
	case nil:
	case starlark.Bytes:
		return []byte(v)
	case starlark.String:
		return []byte(v)
	default:
		if v != starlark.None || c.sig.params[c.sig.index(name)].fallback != starlark.None {
			c.wrong(name, v, "bytes or string")
		}
	}
	return nil
}

// texts is a list or tuple of strings.
func (c *call) texts(name string) []string {
	v := c.value(name)
	if v == nil {
		return nil
	}
	switch v.(type) {
	case *starlark.List, starlark.Tuple:
	default:
		c.wrong(name, v, "list of strings")
		return nil
	}
	var texts []string
	for e := range starlark.Elements(v.(starlark.Sequence)) {
		s, ok := e.(starlark.String)
		if !ok {
			c.refuse(name, v, "every element must be a string, got %s", e.Type())
			return nil
		}
		texts = append(texts, string(s))
	}
	return texts
}

func (c *call) function(name string) starlark.Callable {
	v := c.value(name)
	if v == nil {
		return nil
	}
	fn, ok := v.(starlark.Callable)
	if !ok {
		c.wrong(name, v, "function")
		return nil
	}
	return fn
}

// functionOf is a function that can be called with so many arguments, which are said.
func (c *call) functionOf(name string, n int, arguments string) starlark.Callable {
	fn := c.function(name)
	f, ok := fn.(*starlark.Function)
	if !ok {
		return fn
	}
	named := f.NumParams() - f.NumKwonlyParams()
	if f.HasVarargs() {
		named--
	}
	if f.HasKwargs() {
		named--
	}
	fits := n <= named || f.HasVarargs()
	for i := range named + f.NumKwonlyParams() {
		fits = fits && (i < min(n, named) || f.ParamDefault(i) != nil)
	}
	if !fits {
		c.refuse(name, fn, "want a function that can be called with %s", arguments)
	}
	return fn
}

// uncalled is the error for a function where a value is judged: it counts as
// true and differs from everything else, so that the check says nothing.
func (c *call) uncalled(names ...string) error {
	for _, name := range names {
		if fn, ok := c.value(name).(starlark.Callable); ok && c.err == nil {
			c.err = fmt.Errorf("%s is the function %s, which is not called: write %[2]s%s", name, fn.Name(), cmp.Or(callable(lastName(fn.Name())), "(...)"))
		}
	}
	return c.err
}

// handleArg is an argument that is a handle of type kind, still in use.
func handleArg[H handle](c *call, name, kind string) H {
	var none H
	v := c.value(name)
	if v == nil {
		return none
	}
	h, ok := v.(H)
	if !ok {
		c.wrong(name, v, kind)
		return none
	}
	if err := h.alive(); err != nil {
		c.err = fmt.Errorf("%s: %w", name, err)
	}
	if err := activityOf(c.thread).may(h, ""); err != nil && c.err == nil {
		c.err = fmt.Errorf("%s: %w", name, err)
	}
	return h
}

func notOneOf(name, got string, allowed []string) error {
	list := ""
	for i, a := range allowed {
		if i > 0 {
			list += ", "
		}
		list += fmt.Sprintf("%q", a)
	}
	return fmt.Errorf("%s = %q: want one of %s%s", name, got, list, didYouMean(got, allowed))
}

package nvstar

import (
	"errors"
	"fmt"
	"regexp"
	"strings"

	"go.starlark.net/starlark"
	"go.starlark.net/syntax"

	"nvlab/starlark/guard"
)

// checkModule is the module of the checks. A check that fails ends its test.
type checkModule struct{}

func (checkModule) alive() error          { return nil }
func (checkModule) String() string        { return "check" }
func (checkModule) Type() string          { return "module" }
func (checkModule) Freeze()               {}
func (checkModule) Truth() starlark.Bool  { return true }
func (checkModule) Hash() (uint32, error) { return hashText("check"), nil }
func (m checkModule) Attr(name string) (starlark.Value, error) {
	return checkClass.attr(m, name)
}
func (checkModule) AttrNames() []string { return checkClass.attrNames() }

var checkClass = newClass("check", "The checks. One that fails ends its test and shows the source line, both values with their types, and for bytes a hex diff of at most 8 rows; one of result.exit_code or another attribute of a result shows what the command said as well. A test that passes without a check, and without a command that must end well, is told of.", []member[checkModule]{
	compare("eq", syntax.EQL, `got == want.`),
	compare("ne", syntax.NEQ, `got != want.`),
	{name: "true", sig: `(cond, msg="")`, doc: `cond is true, or a value that counts as true.`,
		call: func(c *call, _ checkModule) (starlark.Value, error) {
			if err := c.uncalled("cond"); err != nil {
				return nil, err
			}
			return nil, c.judge(bool(c.value("cond").Truth()), "cond")
		}},
	{name: "false", sig: `(cond, msg="")`, doc: `cond is false, or a value that counts as false.`,
		call: func(c *call, _ checkModule) (starlark.Value, error) {
			if err := c.uncalled("cond"); err != nil {
				return nil, err
			}
			return nil, c.judge(!bool(c.value("cond").Truth()), "cond")
		}},
	compare("lt", syntax.LT, `got < want.`),
	compare("le", syntax.LE, `got <= want.`),
	compare("gt", syntax.GT, `got > want.`),
	compare("ge", syntax.GE, `got >= want.`),
	{name: "contains", sig: `(container, item, msg="")`,
		doc: `item in container: a substring of a string, bytes within bytes, an element of a list, a key of a dict.`,
		call: func(c *call, _ checkModule) (starlark.Value, error) {
			in, err := c.within()
			if err != nil {
				return nil, err
			}
			return nil, c.judge(in, "container", "item")
		}},
	{name: "not_contains", sig: `(container, item, msg="")`,
		doc: `not (item in container).`,
		call: func(c *call, _ checkModule) (starlark.Value, error) {
			in, err := c.within()
			if err != nil {
				return nil, err
			}
			return nil, c.judge(!in, "container", "item")
		}},
	{name: "matches", sig: `(text, regexp, msg="")`,
		doc: `regexp, in Go's (RE2) syntax, matches somewhere in text. (?m) lets ^ and $ match at lines.`,
		call: func(c *call, _ checkModule) (starlark.Value, error) {
			data, re := c.data("text"), c.regexp("regexp")
			if c.err != nil {
				return nil, c.err
			}
			return nil, c.judge(re.Match(data), "text", "regexp")
		}},
	{name: "bytes_eq", sig: `(got, want, msg="")`,
		doc: `got and want have the same bytes; a string counts as its UTF-8.`,
		call: func(c *call, _ checkModule) (starlark.Value, error) {
			got, want := c.data("got"), c.data("want")
			if c.err != nil {
				return nil, c.err
			}
			return nil, c.judge(string(got) == string(want), "got", "want")
		}},
	{name: "fails", sig: `(fn, regexp, msg="")`,
		doc:  `fn() raises an error whose text matches regexp → that text. It never catches a skip, a cancellation or an internal error.`,
		call: checkFails},
})

// compare is a check that compares two values.
func compare(name string, op syntax.Token, doc string) member[checkModule] {
	return member[checkModule]{name: name, sig: `(got, want, msg="")`, doc: doc,
		call: func(c *call, _ checkModule) (starlark.Value, error) {
			if op == syntax.NEQ {
				if err := c.uncalled("got", "want"); err != nil {
					return nil, err
				}
			}
			if err := guard.Comparable(c.value("got"), c.value("want")); err != nil {
				return nil, err
			}
			ok, err := starlark.Compare(op, c.value("got"), c.value("want"))
			if err != nil {
				return nil, err
			}
			return nil, c.compared(ok, op)
		}}
}

// judge is nil if ok, else the failed check that shows the arguments of these
// names, and where got and want differ that should be equal.
func (c *call) judge(ok bool, shown ...string) error {
	err := c.shown(ok, shown...)
	var e *checkError
	if errors.As(err, &e) && len(shown) == 2 && shown[0] == "got" {
		for _, line := range difference(c.value("got"), c.value("want")) {
			e.detail = append(e.detail, "  "+line)
		}
	}
	return err
}

// compared is judge of two values and a relation.
func (c *call) compared(ok bool, op syntax.Token) error {
	if op == syntax.EQL {
		return c.judge(ok, "got", "want")
	}
	err := c.shown(ok, "got", "want")
	var e *checkError
	if errors.As(err, &e) {
		e.detail[1] = strings.Replace(e.detail[1], "  want  ", "  want  "+op.String()+" ", 1)
	}
	return err
}

func (c *call) shown(ok bool, shown ...string) error {
	msg := c.message()
	if ok || c.err != nil {
		return c.err
	}
	e := &checkError{head: msg}
	width := 0
	for _, name := range shown {
		width = max(width, len(name))
	}
	for _, name := range shown {
		v := c.value(name)
		limit := valueLimit
		if _, ok := v.(starlark.Bytes); ok {
			limit = bytesLimit
		}
		e.detail = append(e.detail, fmt.Sprintf("  %-*s  %s (%s)", width, name, abridged(v, limit), v.Type()))
	}
	if r, attr := judged(c.thread); r != nil {
		for line := range strings.SplitSeq(r.explain(attr), "\n") {
			e.detail = append(e.detail, "  "+line)
		}
	}
	return e
}

// A failed check shows at most so many bytes of a value's text, less if a hex
// diff follows.
const (
	valueLimit = 1000
	bytesLimit = 200
)

// message is the argument msg: any value, as text.
func (c *call) message() string {
	if s, ok := starlark.AsString(c.value("msg")); ok {
		return s
	}
	return brief(c.value("msg"))
}

func (c *call) within() (bool, error) {
	container, item := c.value("container"), c.value("item")
	if err := guard.Contains(item, container); err != nil {
		return false, err
	}
	v, err := starlark.Binary(syntax.IN, item, container)
	if err != nil {
		return false, fmt.Errorf("%s in %s: %w", item.Type(), container.Type(), err)
	}
	return bool(v.Truth()), nil
}

func (c *call) regexp(name string) *regexp.Regexp {
	pattern := c.text(name)
	if c.err != nil {
		return nil
	}
	re, err := regexp.Compile(pattern)
	if err != nil {
		c.err = fmt.Errorf("%s = %q: %s", name, pattern, strings.TrimPrefix(err.Error(), "error parsing regexp: "))
	}
	return re
}

// callBack calls a function of the scenario.
func (c *call) callBack(fn starlark.Callable, args ...starlark.Value) (starlark.Value, error) {
	if t := activityOf(c.thread).t; t != nil {
		defer t.env.Place.enter("")()
	}
	return starlark.Call(c.thread, fn, args, nil)
}

func checkFails(c *call, _ checkModule) (starlark.Value, error) {
	fn, re := c.function("fn"), c.regexp("regexp")
	if c.err != nil {
		return nil, c.err
	}
	a := activityOf(c.thread)
	a.catching++
	v, err := c.callBack(fn)
	a.catching--
	switch {
	case err == nil:
		e := &checkError{head: "no error was raised"}
		if msg := c.message(); msg != "" {
			e.head = msg + ": " + e.head
		}
		e.detail = []string{"  returned  " + abridged(v, valueLimit) + " (" + v.Type() + ")", "  regexp    " + c.value("regexp").String()}
		return nil, e
	case uncatchable(c.thread, err):
		return nil, err
	}
	raised, full := err.Error(), err.Error()
	said := raised
	var ev *starlark.EvalError
	if errors.As(err, &ev) {
		raised = message(ev)
		said = named(raiser(ev), raised)
	}
	said = classify(err).String() + ": " + said // as a report has it
	if re.MatchString(raised) || re.MatchString(full) || re.MatchString(said) {
		return text(raised), nil
	}
	e := &checkError{head: "the error does not match"}
	if msg := c.message(); msg != "" {
		e.head = msg + ": " + e.head
	}
	e.detail = []string{"  error   " + shorten(strings.TrimPrefix(said, Scenario.String()+": "), valueLimit), "  regexp  " + c.value("regexp").String()}
	return nil, e
}

package nvstar

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"

	"go.starlark.net/starlark"

	"nvlab/internal/spell"
	"nvlab/lab"
)

// A class is a type of the language, or one of its modules: a name, what it is
// for, and a table of its attributes. Values delegate Attr and AttrNames to it
// and the documentation is made from it.
type class[H handle] struct {
	name    string
	doc     string
	members []member[H]
	index   map[string]*member[H]
}

// A member is an attribute: a method if it has call, else a field.
type member[H handle] struct {
	name string
	sig  string // of a method, as in "(offset, length)"
	doc  string
	call func(c *call, h H) (starlark.Value, error)
	get  func(h H) (starlark.Value, error)

	parsed func() *signature
}

// A handle is a value of a class. It lives as long as its test.
type handle interface {
	starlark.Value
	alive() error
}

func newClass[H handle](name, doc string, members []member[H]) *class[H] {
	c := &class[H]{name, doc, members, make(map[string]*member[H])}
	for i := range members {
		m := &members[i]
		if m.call != nil {
			m.parsed = lazySignature(m.sig)
			methods[m.name] = m.parsed
		} else {
			fields[m.name] = true
		}
		c.index[m.name] = m
	}
	return c
}

func (k *class[H]) attrNames() []string {
	names := make([]string, len(k.members))
	for i, m := range k.members {
		names[i] = m.name
	}
	slices.Sort(names)
	return names
}

// attr gives a field's value, or a method bound to h.
func (k *class[H]) attr(h H, name string) (starlark.Value, error) {
	m := k.index[name]
	if m == nil {
		text := fmt.Sprintf("%s has no .%s field or method", k.name, name)
		if near := spell.Nearest(name, k.attrNames()); near != "" {
			text += fmt.Sprintf(" (did you mean .%s?)", near)
		}
		return nil, errors.New(text)
	}
	if err := h.alive(); err != nil {
		return nil, fmt.Errorf("%s.%s: %w", k.name, name, err)
	}
	if m.get != nil {
		return m.get(h)
	}
	return starlark.NewBuiltin(k.name+"."+name, func(thread *starlark.Thread, b *starlark.Builtin, args starlark.Tuple, kwargs []starlark.Tuple) (v starlark.Value, err error) {
		defer recoverBug(&err)
		if err := h.alive(); err != nil {
			return nil, err
		}
		if ctx := activityOf(thread).ctx; ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		if err := activityOf(thread).may(h, name); err != nil {
			return nil, err
		}
		activityOf(thread).t.use(h)
		sig := m.parsed()
		values, rest, err := sig.bind(b.Name(), args, kwargs)
		if err != nil {
			return nil, err
		}
		if t := activityOf(thread).t; t != nil {
			defer t.env.Place.enter(b.Name())()
		}
		c := &call{thread: thread, name: b.Name(), sig: sig, values: values, rest: rest}
		over := telling(c, h)
		v, err = m.call(c, h)
		if err == nil {
			err = c.err
		}
		if err != nil {
			err = inWords(err)
		}
		over(err)
		if err != nil {
			activityOf(thread).pause(thread, b.Name(), err)
			return nil, err
		}
		if v == nil {
			v = starlark.None
		}
		return v, nil
	}), nil
}

// A panicError is a Go panic below a built-in.
type panicError struct {
	value any
	stack []byte
}

func (e *panicError) Error() string { return fmt.Sprint(e.value) }

// recoverBug turns a panic into an error of class bug.
func recoverBug(err *error) {
	if v := recover(); v != nil {
		*err = &lab.Error{Class: lab.ClassBug, Err: &panicError{v, debug.Stack()}}
	}
}

func didYouMean(got string, allowed []string) string {
	if near := spell.Nearest(got, allowed); near != "" {
		return fmt.Sprintf(" (did you mean %q?)", near)
	}
	return ""
}

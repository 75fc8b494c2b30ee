package guard

import (
	"errors"
	"fmt"
	"strings"

	"go.starlark.net/starlark"
	"go.starlark.net/syntax"
)

// An inspection looks at an operator's operands. An error says why the operation is
// not done.
type inspection func(x, y starlark.Value) error

// guards are the operators that can walk a value without end, or make one of
// any size. The others neither walk nor grow: ints are bounded where they grow,
// and so their differences, quotients and bits are.
var guards = map[syntax.Token]inspection{
	syntax.PLUS:    addition,
	syntax.STAR:    multiplication,
	syntax.PERCENT: remainder,
	syntax.LTLT:    shift,
	syntax.EQL:     Comparable,
	syntax.NEQ:     Comparable,
	syntax.LT:      Comparable,
	syntax.GT:      Comparable,
	syntax.LE:      Comparable,
	syntax.GE:      Comparable,
	syntax.IN:      membership,
	syntax.NOT_IN:  membership,
}

// operate is the function that a guarded operator becomes.
func operate(op syntax.Token, allowed inspection) *starlark.Builtin {
	return starlark.NewBuiltin(hidden(op.String()), func(_ *starlark.Thread, _ *starlark.Builtin, args starlark.Tuple, _ []starlark.Tuple) (starlark.Value, error) {
		x, y := args[0], args[1]
		if err := allowed(x, y); err != nil {
			return nil, err
		}
		switch op {
		case syntax.EQL, syntax.NEQ, syntax.LT, syntax.GT, syntax.LE, syntax.GE:
			ok, err := starlark.Compare(op, x, y)
			return starlark.Bool(ok), err
		}
		return starlark.Binary(op, x, y)
	})
}

// assign is the function that stands for the right side of an augmented
// assignment: it gets both sides, and returns the right one.
func assign(op syntax.Token, allowed inspection) *starlark.Builtin {
	return starlark.NewBuiltin(hidden(op.String()+"="), func(_ *starlark.Thread, _ *starlark.Builtin, args starlark.Tuple, _ []starlark.Tuple) (starlark.Value, error) {
		x, y := args[0], args[1]
		if list, ok := x.(*starlark.List); ok && op == syntax.PLUS { // it takes whatever can be iterated over
			return y, elementsFit(sum(list.Len(), max(length(y), 0)))
		}
		return y, allowed(x, y)
	})
}

func addition(x, y starlark.Value) error {
	switch x := x.(type) {
	case starlark.Int:
		if y, ok := y.(starlark.Int); ok {
			return intFits(max(bits(x), bits(y)) + 1)
		}
	case starlark.String:
		if y, ok := y.(starlark.String); ok {
			return textFits(sum(len(x), len(y)))
		}
	case starlark.Bytes:
		if y, ok := y.(starlark.Bytes); ok {
			return textFits(sum(len(x), len(y)))
		}
	case *starlark.List, starlark.Tuple:
		if n := starlark.Len(y); n > 0 {
			return elementsFit(sum(starlark.Len(x), n))
		}
	}
	return nil
}

func multiplication(x, y starlark.Value) error {
	if n, ok := x.(starlark.Int); ok {
		if m, ok := y.(starlark.Int); ok {
			return intFits(bits(n) + bits(m))
		}
		x, y = y, x
	}
	times, ok := y.(starlark.Int)
	if !ok || times.Sign() <= 0 || starlark.Len(x) <= 0 {
		return nil
	}
	n, ok := times.Int64()
	if !ok {
		return errors.New("the result would have too many elements")
	}
	size := product(starlark.Len(x), int(n))
	switch x.(type) {
	case starlark.String, starlark.Bytes:
		return textFits(size)
	}
	return elementsFit(size)
}

func remainder(x, y starlark.Value) error {
	format, ok := x.(starlark.String)
	if !ok {
		return nil
	}
	return interpolated(string(format), "%", y)
}

// interpolated says whether a format's text can be made. A place of a mapping
// may be named by each verb; what is a tuple's is used once.
func interpolated(format, verb string, arg starlark.Value) error {
	n, err := textSize(asText, arg)
	if _, ok := arg.(starlark.Mapping); ok {
		n = product(n, strings.Count(format, verb))
	}
	if err != nil {
		return err
	}
	return textFits(sum(n, len(format)))
}

func shift(x, y starlark.Value) error {
	n, isInt := x.(starlark.Int)
	by, err := starlark.AsInt32(y)
	if !isInt || err != nil || by < 0 || by >= 512 { // the library has an error for each
		return nil
	}
	return intFits(bits(n) + by)
}

func membership(x, y starlark.Value) error {
	switch y.(type) {
	case starlark.String, starlark.Bytes:
		return nil
	case *starlark.List, starlark.Tuple:
		return check(asOperand, y)
	}
	return Hashable(x)
}

func intFits(bits int) error {
	if bits > MaxBits {
		return fmt.Errorf("the result would have %d bits: %w", bits, errInt)
	}
	return nil
}

// key is the function around what may be the key of a dict.
var key = starlark.NewBuiltin(hidden("[]"), func(_ *starlark.Thread, _ *starlark.Builtin, args starlark.Tuple, _ []starlark.Tuple) (starlark.Value, error) {
	return args[0], Hashable(args[0])
})

// spread is the function around what follows the * of a call.
var spread = starlark.NewBuiltin(hidden("*args"), func(_ *starlark.Thread, _ *starlark.Builtin, args starlark.Tuple, _ []starlark.Tuple) (starlark.Value, error) {
	return args[0], elementsFit(max(length(args[0]), 0))
})

// hidden is a name that no scenario can write.
func hidden(name string) string { return " " + name }

// Hidden says that a function stands for an operator, and is not of the
// scenario's making.
func Hidden(name string) bool { return strings.HasPrefix(name, " ") }

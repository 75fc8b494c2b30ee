// Package guard keeps what one step of a scenario may do within bounds.
//
// The interpreter looks at a scenario's limits between two steps. Within one,
// the Starlark library walks a value as deep as it is nested, on the Go stack,
// whose overflow ends the process; and it makes a result as large as the
// operands ask for. Guard lets a file reach such operations only through
// functions that look at the operands first; Universe holds them, and Starlark's
// own functions behind the same look.
package guard

import (
	"fmt"

	"go.starlark.net/starlark"
)

// The bounds of one step. All of them are far from what a test of persistent
// memory needs, and low enough for a step to take a second or so.
const (
	MaxDepth    = 1000    // how deep a value may be nested that is walked
	MaxNodes    = 1 << 22 // values that one walk visits, each as often as it is met
	MaxElements = 1 << 24 // of a sequence that is made or taken whole
	MaxText     = 1 << 28 // bytes of a string or of bytes that are made
	MaxBits     = 1 << 20 // of an int
	MaxSource   = 1 << 20 // bytes of a file
	MaxTree     = 10_000  // how deep the syntax tree of a file may be
)

var (
	errDeep  = fmt.Errorf("the value is nested more than %d deep", MaxDepth)
	errNodes = fmt.Errorf("the value holds more than %d values, counted as often as they are met: too many for one step", MaxNodes)
	errInt   = fmt.Errorf("an int has at most %d bits", MaxBits)
)

// textFits says whether so many bytes can be made in one step.
func textFits(n int) error {
	if n > MaxText || n < 0 {
		return fmt.Errorf("the result would have %s: at most %d (%d MiB) in one step", count(n, "byte"), MaxText, MaxText>>20)
	}
	return nil
}

// elementsFit says whether a sequence of so many elements can be made or taken
// in one step.
func elementsFit(n int) error {
	if n > MaxElements || n < 0 {
		return fmt.Errorf("%s: at most %d in one step", count(n, "element"), MaxElements)
	}
	return nil
}

// count is a number of things; one that was too large to be counted is less
// than 0.
func count(n int, noun string) string {
	if n < 0 {
		return "too many " + noun + "s"
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

// length is how many elements iterating over v gives, at most MaxElements+1;
// -1 if v cannot be iterated over.
func length(v starlark.Value) int {
	if n := starlark.Len(v); n >= 0 {
		return n
	}
	iter := starlark.Iterate(v)
	if iter == nil {
		return -1
	}
	defer iter.Done()
	n := 0
	for x := starlark.Value(nil); n <= MaxElements && iter.Next(&x); {
		n++
	}
	return n
}

// product is a*b, -1 if that is no int.
func product(a, b int) int {
	if a != 0 && (a*b/a != b || a*b < 0) {
		return -1
	}
	return a * b
}

// sum is a+b, -1 if that is no int or if one of them is less than 0.
func sum(a, b int) int {
	if a < 0 || b < 0 || a+b < 0 {
		return -1
	}
	return a + b
}

// Package aml builds and reads ACPI Machine Language, the byte code of DSDT
// and SSDT tables.
//
// A program is a tree of [Term] values. Constructors are named after the ASL
// operators, take their operands in ASL order and are free of side effects:
//
//	code, err := aml.Encode(
//		aml.Scope(`\_SB`,
//			aml.Device("COM1",
//				aml.Name("_HID", aml.EISAID("PNP0501")),
//				aml.Method("_STA", 0, aml.NotSerialized,
//					aml.Return(aml.Int(0xF))),
//			)))
//
// A mistake (a malformed name, a nil operand, an oversized package) is
// reported by [Encode], with the path of the object that holds it. The result
// is the body of a definition block; the table header is the caller's.
//
// [Disassemble] turns byte code back into ASL text.
//
// Sections and tables cited are those of the ACPI Specification, version 6.5.
package aml

import (
	"errors"
	"fmt"
	"strings"
)

// A Term is a piece of an AML program: an object, a statement, an expression
// or a constant. In operand position a nil Term stands for "no target".
type Term interface {
	emit(e *encoder)
}

// Encode gives the byte code of a list of terms, in order.
func Encode(terms ...Term) ([]byte, error) {
	var e encoder
	e.terms(terms)
	if e.err != nil {
		return nil, e.err
	}
	return e.buf, nil
}

// Raw is byte code that is taken as it is.
type Raw []byte

func (r Raw) emit(e *encoder) { e.bytes(r...) }

// encoder appends byte code and keeps the first error.
type encoder struct {
	buf  []byte
	path []string // enclosing named objects, for errors
	err  error
}

func (e *encoder) fail(format string, args ...any) {
	if e.err != nil {
		return
	}
	e.err = fmt.Errorf(format, args...)
	if len(e.path) > 0 {
		e.err = fmt.Errorf("in %s: %w", strings.Join(e.path, "/"), e.err)
	}
}

func (e *encoder) bytes(b ...byte) { e.buf = append(e.buf, b...) }

// op emits an opcode of one byte, or of two when it is an extended one
// (0x5Bxx).
func (e *encoder) op(code uint16) {
	if code > 0xFF {
		e.bytes(byte(code >> 8))
	}
	e.bytes(byte(code))
}

func (e *encoder) term(t Term) {
	if t == nil {
		e.fail("an operand is nil: only targets may be left out")
		return
	}
	t.emit(e)
}

func (e *encoder) terms(list []Term) {
	for _, t := range list {
		if e.err != nil {
			return
		}
		e.term(t)
	}
}

// target emits a SuperName that may be absent (NullName).
func (e *encoder) target(t Term) {
	if t == nil {
		e.bytes(0)
		return
	}
	t.emit(e)
}

var errPackageTooLong = errors.New("an object of more than 0xFFFFFFF bytes does not fit the package length encoding")

// pkg emits PkgLength and what body emits (section 20.2.4). The length counts
// its own bytes.
func (e *encoder) pkg(body func()) {
	outer := e.buf
	e.buf = nil
	body()
	inner := e.buf
	n := len(inner) + 1
	for size := 2; n > maxPkgLength(size-1); size++ {
		if size > 4 {
			e.fail("%w", errPackageTooLong)
			break
		}
		n = len(inner) + size
	}
	e.buf = appendPkgLength(outer, n)
	e.bytes(inner...)
}

// maxPkgLength is the largest value that a PkgLength of size bytes holds.
func maxPkgLength(size int) int {
	if size == 1 {
		return 0x3F
	}
	return 1<<(4+8*(size-1)) - 1
}

// appendPkgLength encodes the value n itself, adding nothing for its own size.
func appendPkgLength(b []byte, n int) []byte {
	if n <= maxPkgLength(1) {
		return append(b, byte(n))
	}
	size := 2
	for size < 4 && n > maxPkgLength(size) {
		size++
	}
	b = append(b, byte((size-1)<<6|n&0xF))
	for n >>= 4; size > 1; size-- {
		b = append(b, byte(n))
		n >>= 8
	}
	return b
}

// funcTerm is a Term given by the function that emits it.
type funcTerm func(e *encoder)

func (f funcTerm) emit(e *encoder) { f(e) }

// named emits an object with a package length, a name and more, and notes the
// name for errors.
func named(code uint16, path string, body func(e *encoder)) Term {
	return funcTerm(func(e *encoder) {
		e.path = append(e.path, path)
		e.op(code)
		e.pkg(func() {
			e.name(path)
			body(e)
		})
		e.path = e.path[:len(e.path)-1]
	})
}

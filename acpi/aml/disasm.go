package aml

import (
	"errors"
	"fmt"
	"strings"
)

// Disassemble gives byte code as ASL text in operator form, without the
// enclosing definition block. Calls of methods are recognized by the
// definitions and External declarations of the same code; of a method that
// neither has, only a call that is a statement shows its arguments.
//
// Where the code is malformed the text holds a comment with the bytes that
// could not be read, up to the end of the innermost enclosing block, and the
// error says what is wrong with each such place.
func Disassemble(code []byte) (string, error) { return Layout{}.Disassemble(code) }

// Layout says how a disassembly is shown.
type Layout struct {
	Offset int // of the first byte of the code, for errors and comments
	Indent int // levels of indentation
}

// Disassemble is the function of that name, laid out.
func (l Layout) Disassemble(code []byte) (string, error) {
	var root node
	names := disassembler{code: code, end: len(code), scope: &root, namesOnly: true}
	names.list(len(code))

	d := disassembler{code: code, end: len(code), scope: &root, offset: l.Offset, indent: l.Indent}
	d.list(len(code))
	if d.faults > len(d.errs) {
		d.errs = append(d.errs, fmt.Errorf("and %d more faults in the byte code", d.faults-len(d.errs)))
	}
	return string(d.out), errors.Join(d.errs...)
}

// maxDepth bounds the nesting of terms.
const maxDepth = 128

// maxErrors bounds the errors that are kept.
const maxErrors = 100

// disassembler reads terms from code[pos:end] and writes statements to out.
// Methods that give a string read a part of a statement.
type disassembler struct {
	code      []byte
	pos, end  int
	scope     *node
	namesOnly bool // collect the namespace: the bodies of methods are skipped
	offset    int  // of code[0] in errors
	indent    int
	depth     int
	out       []byte
	err       error   // of the statement that is being read
	errs      []error // of all, as many as are kept
	faults    int     // number of all
}

func (d *disassembler) fail(format string, args ...any) {
	if d.err == nil {
		d.err = fmt.Errorf("byte code at offset 0x%X: %w", d.offset+d.pos, fmt.Errorf(format, args...))
	}
}

func (d *disassembler) margin() string { return strings.Repeat("    ", d.indent) }

func (d *disassembler) write(format string, args ...any) {
	if !d.namesOnly {
		d.out = fmt.Appendf(d.out, format, args...)
	}
}

// next takes n bytes.
func (d *disassembler) next(n int) []byte {
	if d.err != nil {
		return nil
	}
	if n > d.end-d.pos {
		d.fail("%d bytes are needed, %d are left in the enclosing object", n, d.end-d.pos)
		return nil
	}
	d.pos += n
	return d.code[d.pos-n : d.pos]
}

// uint takes a little-endian number of n bytes.
func (d *disassembler) uint(n int) uint64 {
	var v uint64
	for i, b := range d.next(n) {
		v |= uint64(b) << (8 * i)
	}
	return v
}

// peek is the next byte, or -1.
func (d *disassembler) peek() int {
	if d.err != nil || d.pos >= d.end {
		return -1
	}
	return int(d.code[d.pos])
}

// opcode takes an opcode of one or two bytes.
func (d *disassembler) opcode() uint16 {
	op := uint16(d.uint(1))
	if op == opExt && d.err == nil {
		op = op<<8 | uint16(d.uint(1))
	}
	return op
}

// pkgLength takes the value of a PkgLength.
func (d *disassembler) pkgLength() int {
	lead := int(d.uint(1))
	more := lead >> 6
	if more == 0 {
		return lead
	}
	if lead&0x30 != 0 {
		d.fail("package length 0x%02X has reserved bits set", lead)
	}
	return lead&0xF | int(d.uint(more))<<4
}

// pkg reads a PkgLength and runs body within the bytes that it spans. What
// body leaves is skipped.
func (d *disassembler) pkg(body func(end int)) {
	at := d.pos
	n := d.pkgLength()
	if d.err != nil {
		return
	}
	if n < d.pos-at || n > d.end-at {
		d.pos = at
		d.fail("package length of %d bytes: valid are %d to %d", n, 1, d.end-at)
		return
	}
	outer := d.end
	d.end = at + n
	body(d.end)
	if d.err == nil {
		d.pos = d.end
	}
	d.end = outer
}

// nested guards the recursion.
func (d *disassembler) nested(f func()) {
	if d.depth >= maxDepth {
		d.fail("terms are nested more than %d deep", maxDepth)
		return
	}
	d.depth++
	f()
	d.depth--
}

// list writes the statements up to end. One that is malformed gives way to a
// comment with all the bytes from there on.
func (d *disassembler) list(end int) {
	for d.pos < end {
		at, mark := d.pos, len(d.out)
		d.write("%s", d.margin())
		d.nested(d.statement)
		if d.err == nil {
			d.write("\n")
			continue
		}
		if d.faults++; d.faults <= maxErrors {
			d.errs = append(d.errs, d.err)
		}
		d.out = d.out[:mark]
		d.write("%s// %v\n", d.margin(), d.err)
		for ; at < end; at += 16 {
			d.write("%s// %04X: % X\n", d.margin(), d.offset+at, d.code[at:min(at+16, end)])
		}
		d.err, d.pos = nil, end
	}
}

// block writes a list in braces, one level deeper.
func (d *disassembler) block(end int) {
	if d.err != nil {
		return
	}
	d.write("\n%s{\n", d.margin())
	d.indent++
	d.list(end)
	d.indent--
	d.write("%s}", d.margin())
}

// name takes a NameString.
func (d *disassembler) name() nameString {
	var n nameString
	if d.peek() == opRoot {
		d.pos++
		n.root = true
	}
	for d.peek() == opParent {
		d.pos++
		n.parents++
	}
	count := 1
	switch d.peek() {
	case 0:
		d.pos++
		count = 0
		if !n.root && n.parents == 0 {
			d.fail("a name is empty")
		}
	case opDualName:
		d.pos++
		count = 2
	case opMultiName:
		d.pos++
		count = int(d.uint(1))
	}
	for range count {
		seg := string(d.next(4))
		if d.err != nil {
			break
		}
		for i := range 4 {
			if !validNameChar(seg[i], i == 0) {
				d.pos -= 4
				d.fail("%q is no name segment", seg)
				return n
			}
		}
		n.segs = append(n.segs, seg)
	}
	return n
}

// isName says whether a byte begins a NameString.
func isName(c int) bool {
	return c == opRoot || c == opParent || c == opDualName || c == opMultiName ||
		c >= 0 && validNameChar(byte(c), true)
}

// declare takes the name of an object that is created here.
func (d *disassembler) declare(n nameString) *node {
	if d.err != nil {
		return &node{}
	}
	obj, err := d.scope.create(n)
	if err != nil {
		d.fail("%w", err)
		return &node{}
	}
	obj.defined = true
	return obj
}

// blockIn writes a block of statements of another scope.
func (d *disassembler) blockIn(scope *node, end int) {
	outer := d.scope
	d.scope = scope
	d.block(end)
	d.scope = outer
}

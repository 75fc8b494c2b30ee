package aml

import (
	"fmt"
	"strings"

	"nvlab/acpi/guid"
)

// data gives the data object of an opcode that was taken.
func (d *disassembler) data(op uint16) (string, bool) {
	switch op {
	case opByte:
		return fmt.Sprintf("0x%02X", d.uint(1)), true
	case opWord:
		return fmt.Sprintf("0x%04X", d.uint(2)), true
	case opDWord:
		return fmt.Sprintf("0x%08X", d.uint(4)), true
	case opQWord:
		return fmt.Sprintf("0x%016X", d.uint(8)), true
	case opString:
		return d.str(), true
	case opBuffer:
		return d.buffer(), true
	case opPackage:
		return d.packageOf("Package", func() string { return fmt.Sprintf("0x%02X", d.uint(1)) }), true
	case opVarPackage:
		return d.packageOf("Package", d.operand), true
	}
	return "", false
}

// str takes a string up to its NUL.
func (d *disassembler) str() string {
	var b strings.Builder
	b.WriteByte('"')
	for {
		c := byte(d.uint(1))
		switch {
		case d.err != nil:
			return ""
		case c == 0:
			b.WriteByte('"')
			return b.String()
		case c == '"' || c == '\\':
			b.WriteByte('\\')
			b.WriteByte(c)
		case c < ' ' || c > '~':
			fmt.Fprintf(&b, "\\x%02X", c)
		default:
			b.WriteByte(c)
		}
	}
}

// buffer gives a Buffer, or the macro whose result its bytes are.
func (d *disassembler) buffer() string {
	var text string
	d.pkg(func(end int) {
		at := d.pos
		constant := d.constantSize()
		d.pos = at
		size := d.operand()
		if d.err != nil {
			return
		}
		b := d.next(end - d.pos)
		if constant == len(b) {
			if text = uuidMacro(b); text != "" {
				return
			}
			if text = d.resourceMacro(b); text != "" {
				return
			}
		}
		text = "Buffer (" + size + ") {" + d.byteLines(b) + "}"
	})
	return text
}

// constantSize takes an integer constant, or gives -1.
func (d *disassembler) constantSize() int {
	switch d.peek() {
	case opZero, opOne:
		return int(d.uint(1))
	case opByte:
		d.pos++
		return int(d.uint(1))
	case opWord:
		d.pos++
		return int(d.uint(2))
	case opDWord:
		d.pos++
		return int(d.uint(4))
	}
	return -1
}

// byteLines gives a list of bytes, on lines of 16 if there are more than 8.
func (d *disassembler) byteLines(b []byte) string {
	var s strings.Builder
	for i, v := range b {
		if i > 0 {
			s.WriteByte(',')
		}
		if len(b) > 8 && i%16 == 0 {
			s.WriteString("\n" + d.margin() + "    ")
		} else {
			s.WriteByte(' ')
		}
		fmt.Fprintf(&s, "0x%02X", v)
	}
	if len(b) > 8 {
		s.WriteString("\n" + d.margin())
	} else if len(b) > 0 {
		s.WriteByte(' ')
	}
	return s.String()
}

// uuidMacro gives ToUUID for 16 bytes whose version and variant are those of a
// UUID (RFC 9562 section 4), or nothing.
func uuidMacro(b []byte) string {
	if len(b) != 16 || b[7]>>4 < 1 || b[7]>>4 > 8 || b[8]>>6 != 2 {
		return ""
	}
	return fmt.Sprintf("ToUUID (%q)", guid.GUID(b).String())
}

// resourceMacro gives ResourceTemplate for bytes that are descriptors known
// here and an end tag, or nothing.
func (d *disassembler) resourceMacro(b []byte) string {
	list, ok := parseResources(b)
	if !ok {
		return ""
	}
	var s strings.Builder
	s.WriteString("ResourceTemplate ()\n" + d.margin() + "{\n")
	for _, r := range list {
		s.WriteString(d.margin() + "    " + r.asl() + "\n")
	}
	s.WriteString(d.margin() + "}")
	return s.String()
}

// packageOf gives a Package; its names are references, not calls.
func (d *disassembler) packageOf(name string, count func() string) string {
	var text string
	d.pkg(func(end int) {
		text = name + " (" + count() + ")"
		d.indent++
		var elements []string
		length, lines := 0, false
		for d.pos < end && d.err == nil {
			var e string
			if isName(d.peek()) {
				e = d.name().String()
			} else {
				e = d.operand()
			}
			elements = append(elements, e)
			length += len(e)
			lines = lines || strings.Contains(e, "\n")
		}
		d.indent--
		switch {
		case len(elements) == 0:
			text += " {}"
		case length < 60 && !lines:
			text += " { " + strings.Join(elements, ", ") + " }"
		default:
			inner := d.margin() + "    "
			text += "\n" + d.margin() + "{\n" + inner + strings.Join(elements, ",\n"+inner) + "\n" + d.margin() + "}"
		}
	})
	return text
}

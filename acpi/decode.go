package acpi

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"

	"nvlab/acpi/aml"
)

// Decode gives a table as text. Data tables are listed a field to a line:
// offset in hexadecimal, size in bytes, name, value and its meaning. Definition
// blocks follow their header as ASL text. Tables of other signatures are shown
// as bytes.
//
// A malformed table gives an error and the text of what could be read.
func Decode(table []byte) (string, error) {
	var text strings.Builder
	if bytes.HasPrefix(table, []byte(rsdpSignature)) {
		text.WriteString("RSDP: Root System Description Pointer\n\n")
		c := codec{buf: table, text: &text}
		new(RSDP).visit(&c)
		return text.String(), within("RSDP", c.err)
	}
	whole, cutErr := cut(table)
	if len(whole) < 4 {
		return "", cutErr
	}
	signature := string(whole[:4])
	kind, known := tableKinds[signature]
	if !known {
		kind.title = "Table of a Signature Not Known Here"
	}
	fmt.Fprintf(&text, "%s: %s\n\n", printable(signature), kind.title)
	c := codec{buf: whole, text: &text}
	if kind.bare {
		var length uint32
		c.str("Signature", &signature, 4)
		num(&c, "Length", &length, decimal)
		var data []byte
		c.rest("Data", &data)
		return text.String(), cutErr
	}
	var h Header
	h.visit(&c)
	if c.err != nil {
		return text.String(), errors.Join(cutErr, within(signature, c.err))
	}
	var err error
	switch {
	case kind.aml:
		err = decodeAML(&text, h, whole[headerSize:])
	case kind.body != nil:
		kind.body().visit(&c)
		err = c.err
		if c.err = nil; c.left() > 0 {
			c.heading("Bytes without a meaning at offset 0x%X", c.pos)
			var extra []byte
			c.rest("Data", &extra)
		}
	default:
		var body []byte
		c.rest("Data", &body)
	}
	return text.String(), errors.Join(cutErr, within(signature, err))
}

func within(signature string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", printable(signature), err)
}

// printable replaces the characters of a signature that are no text.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return '?'
		}
		return r
	}, s)
}

// decodeAML lists byte code as the definition block that compiles to it.
func decodeAML(w *strings.Builder, h Header, code []byte) error {
	body, err := aml.Layout{Offset: headerSize, Indent: 1}.Disassemble(code)
	fmt.Fprintf(w, "\nDefinitionBlock (\"\", %q, %d, %q, %q, 0x%08X)\n{\n%s}\n", h.Signature, h.Revision,
		trimID(h.OEMID), trimID(h.OEMTableID), h.OEMRevision, body)
	return err
}

func trimID(s string) string { return printable(strings.TrimRight(s, "\x00")) }

// Split separates tables that follow each other, as in a dump or in the memory
// that [Install] gives: RSDP and tables, with any zero bytes between them. With
// an error, the last table is the rest that could not be separated.
func Split(data []byte) ([][]byte, error) {
	var list [][]byte
	for {
		data = bytes.TrimLeft(data, "\x00")
		if len(data) == 0 {
			return list, nil
		}
		n, err := tableSize(data)
		if err != nil {
			return append(list, data), err
		}
		list = append(list, data[:n])
		data = data[n:]
	}
}

// tableSize is the size of the table at the start of b.
func tableSize(b []byte) (int, error) {
	if !bytes.HasPrefix(b, []byte(rsdpSignature)) {
		t, err := cut(b)
		return len(t), err
	}
	if len(b) < 20 {
		return 0, fmt.Errorf("%d bytes are no RSDP: revision 0 has 20", len(b))
	}
	if b[15] < 2 {
		return 20, nil
	}
	if len(b) < 36 {
		return 0, fmt.Errorf("%d bytes are no RSDP of revision 2, which has 36", len(b))
	}
	n := binary.LittleEndian.Uint32(b[20:])
	if n < 36 || uint64(n) > uint64(len(b)) {
		return 0, fmt.Errorf("RSDP states a length of %d: valid are 36 to %d", n, len(b))
	}
	return int(n), nil
}

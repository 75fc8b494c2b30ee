package acpi

import (
	"encoding/binary"
	"fmt"
)

// headerSize is the length of the header of every table but RSDP and FACS.
const headerSize = 36

// Header is the system description table header (section 5.2.6, table 5.4).
// Length (offset 4) and checksum (offset 9) are computed by encoding. Strings
// longer than their field are cut, shorter ones padded with spaces.
type Header struct {
	Signature       string // offset 0, 4 characters; set by Encode of a table type
	Revision        uint8  // offset 8; 0 in a table type means that of the type's documentation
	OEMID           string // offset 10, 6 characters
	OEMTableID      string // offset 16, 8 characters
	OEMRevision     uint32 // offset 24
	CreatorID       string // offset 28, 4 characters
	CreatorRevision uint32 // offset 32
}

// Table gives a table of this OEM with the signature, revision and body (what
// follows the header). For DSDT and SSDT the body is byte code, and a revision
// of 2 or more makes integers 64 bits wide; that of the DSDT decides for all.
func (h Header) Table(signature string, revision uint8, body []byte) []byte {
	h.Signature, h.Revision = signature, revision
	return h.encode(body)
}

func (h Header) encode(body []byte) []byte {
	c := codec{encoding: true}
	h.visit(&c)
	c.buf = append(c.buf, body...)
	Seal(c.buf)
	return c.buf
}

// Seal sets length and checksum of a table that has a header, after its bytes
// were changed. Shorter slices are left alone.
func Seal(table []byte) {
	if len(table) < headerSize {
		return
	}
	binary.LittleEndian.PutUint32(table[4:], uint32(len(table)))
	table[9] = 0
	table[9] = -Sum(table)
}

// Sum adds all bytes; over a valid table it is zero (section 5.2.6).
func Sum(b []byte) byte {
	var sum byte
	for _, v := range b {
		sum += v
	}
	return sum
}

func (h *Header) visit(c *codec) {
	var length uint32
	var checksum uint8
	whole := c.buf
	c.str("Signature", &h.Signature, 4)
	num(c, "Length", &length, decimal)
	num(c, "Revision", &h.Revision)
	num(c, "Checksum", &checksum, func(uint64) string { return checksumNote(whole, 9) })
	c.str("OEM ID", &h.OEMID, 6)
	c.str("OEM Table ID", &h.OEMTableID, 8)
	num(c, "OEM Revision", &h.OEMRevision)
	c.str("Creator ID", &h.CreatorID, 4)
	num(c, "Creator Revision", &h.CreatorRevision)
}

// checksumNote says what the checksum at an offset should be, or nothing if it
// is right.
func checksumNote(b []byte, at int) string {
	if s := Sum(b); s != 0 {
		return fmt.Sprintf("wrong: should be 0x%02X", b[at]-s)
	}
	return ""
}

// encodeTable encodes a table type with its signature and default revision.
func encodeTable(h Header, signature string, revision uint8, body visitor) []byte {
	if h.Revision == 0 {
		h.Revision = revision
	}
	c := codec{encoding: true}
	body.visit(&c)
	return h.Table(signature, h.Revision, c.buf)
}

// parseTable decodes the header and the body of a table of one signature.
func parseTable(b []byte, signature string, h *Header, body visitor) error {
	b, err := cut(b)
	if err != nil {
		return err
	}
	c := codec{buf: b}
	h.visit(&c)
	if h.Signature != signature {
		return fmt.Errorf("table has signature %q, want %q", h.Signature, signature)
	}
	body.visit(&c)
	if c.err != nil {
		return fmt.Errorf("%s: %w", signature, c.err)
	}
	return nil
}

// cut limits b to the length that its header states.
func cut(b []byte) ([]byte, error) {
	if len(b) < headerSize {
		return b, fmt.Errorf("%d bytes are no table: the header alone has %d", len(b), headerSize)
	}
	n := binary.LittleEndian.Uint32(b[4:])
	if n < headerSize {
		return b, fmt.Errorf("table %q states a length of %d: the header alone has %d", b[:4], n, headerSize)
	}
	if uint64(n) > uint64(len(b)) {
		return b, fmt.Errorf("table %q states a length of %d, only %d bytes are there", b[:4], n, len(b))
	}
	return b[:n], nil
}

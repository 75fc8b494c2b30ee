package acpi

import "fmt"

// RSDP is the root system description pointer of revision 2, 36 bytes
// (section 5.2.5.3, table 5.3). Both checksums are computed by Encode.
type RSDP struct {
	OEMID       string // offset 9, 6 characters
	Revision    uint8  // offset 15; 0 encodes as 2
	RSDTAddress uint32 // offset 16; 0 if there is none
	XSDTAddress uint64 // offset 24
}

const rsdpSignature = "RSD PTR "

// Encode gives the 36 bytes of the pointer. They belong on a 16-byte boundary.
func (r RSDP) Encode() []byte {
	if r.Revision == 0 {
		r.Revision = 2
	}
	c := codec{encoding: true}
	r.visit(&c)
	c.buf[8] = -Sum(c.buf[:20])
	c.buf[32] = -Sum(c.buf)
	return c.buf
}

// ParseRSDP reads a pointer of revision 0 (20 bytes) or 2 (36 bytes).
func ParseRSDP(b []byte) (RSDP, error) {
	var r RSDP
	c := codec{buf: b}
	r.visit(&c)
	if c.err != nil {
		return r, fmt.Errorf("RSDP: %w", c.err)
	}
	return r, nil
}

func (r *RSDP) visit(c *codec) {
	signature := rsdpSignature
	var sum, extended uint8
	length := uint32(36)
	whole := c.buf
	c.str("Signature", &signature, 8)
	if signature != rsdpSignature {
		c.fail("signature %q, want %q", signature, rsdpSignature)
	}
	num(c, "Checksum", &sum, func(uint64) string { return checksumNote(whole[:min(20, len(whole))], 8) })
	c.str("OEM ID", &r.OEMID, 6)
	num(c, "Revision", &r.Revision)
	num(c, "RSDT Address", &r.RSDTAddress)
	if !c.encoding && r.Revision < 2 {
		return
	}
	num(c, "Length", &length, decimal)
	num(c, "XSDT Address", &r.XSDTAddress)
	num(c, "Extended Checksum", &extended, func(uint64) string {
		return checksumNote(whole[:min(36, len(whole))], 32)
	})
	c.reserved(3)
}

// XSDT lists the addresses of the other tables (section 5.2.8, revision 1).
type XSDT struct {
	Header
	Tables []uint64 // offset 36, 8 bytes each
}

// Encode gives the finished table.
func (t XSDT) Encode() []byte { return encodeTable(t.Header, "XSDT", 1, (*xsdtBody)(&t)) }

// ParseXSDT decodes an XSDT.
func ParseXSDT(b []byte) (XSDT, error) {
	var t XSDT
	err := parseTable(b, "XSDT", &t.Header, (*xsdtBody)(&t))
	return t, err
}

type xsdtBody XSDT

func (t *xsdtBody) visit(c *codec) { array(c, "Table Address", &t.Tables, -1) }

// rsdtBody is the list of a RSDT, the 32-bit form of the XSDT (section 5.2.7).
type rsdtBody struct{ tables []uint32 }

func (t *rsdtBody) visit(c *codec) { array(c, "Table Address", &t.tables, -1) }

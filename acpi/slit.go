package acpi

// SLIT is the system locality information table, revision 1 (section 5.2.17).
type SLIT struct {
	Header
	Distances [][]uint8 // offset 44: square, 10 on the diagonal, 255 for unreachable
}

// Encode gives the finished table. Missing distances are 255.
func (t SLIT) Encode() []byte {
	b := slitBody{count: uint64(len(t.Distances))}
	for _, row := range t.Distances {
		for i := range t.Distances {
			d := uint8(255)
			if i < len(row) {
				d = row[i]
			}
			b.entries = append(b.entries, d)
		}
	}
	return encodeTable(t.Header, "SLIT", 1, &b)
}

// ParseSLIT decodes a SLIT.
func ParseSLIT(b []byte) (SLIT, error) {
	var t SLIT
	var body slitBody
	if err := parseTable(b, "SLIT", &t.Header, &body); err != nil {
		return t, err
	}
	for n := int(body.count); len(body.entries) > 0; body.entries = body.entries[n:] {
		t.Distances = append(t.Distances, body.entries[:n])
	}
	return t, nil
}

type slitBody struct {
	count   uint64 // offset 36
	entries []uint8
}

func (t *slitBody) visit(c *codec) {
	num(c, "Localities", &t.count, decimal)
	if !c.encoding && c.err == nil {
		if n := uint64(c.left()); t.count > 0xFFFF || t.count*t.count > n {
			c.fail("%d localities do not fit: a square of distances is needed, %d bytes are left", t.count, n)
			return
		}
	}
	array(c, "Distance", &t.entries, int(t.count*t.count))
}

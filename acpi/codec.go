package acpi

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/bits"
	"strings"

	"nvlab/acpi/guid"
)

// visitor is a structure that names its fields in order, for every direction.
type visitor interface {
	visit(c *codec)
}

// codec walks the fields of structures. Encoding appends them to buf; decoding
// reads them from it and, if text is set, lists them too.
type codec struct {
	encoding bool
	buf      []byte
	pos      int // of the next field to decode
	base     int // offset of buf within the table, for listings and errors
	text     *strings.Builder
	err      error
}

var errShort = errors.New("the structure is too short")

func (c *codec) fail(format string, args ...any) {
	if c.err == nil {
		c.err = fmt.Errorf(format, args...)
	}
}

// done reports that decoding has come to the end, at the boundary of an older
// form of the structure.
func (c *codec) done() bool { return !c.encoding && c.pos >= len(c.buf) }

// left is the number of bytes still to decode.
func (c *codec) left() int { return len(c.buf) - c.pos }

// next takes n bytes of the input.
func (c *codec) next(name string, n int) []byte {
	if c.err != nil {
		return nil
	}
	if n > c.left() {
		c.fail("%w: %s at offset 0x%X needs %d bytes, %d are left", errShort, name, c.base+c.pos, n, c.left())
		return nil
	}
	c.pos += n
	return c.buf[c.pos-n : c.pos]
}

// list adds a line for the field of n bytes that was taken last.
func (c *codec) list(name string, n int, value string) {
	if c.text != nil {
		writeLine(c.text, c.base+c.pos-n, n, name, value)
	}
}

func writeLine(w *strings.Builder, offset, size int, name, value string) {
	fmt.Fprintf(w, "%04X %3d  %-36s %s\n", offset, size, name, value)
}

// heading adds a line of its own to the listing, after an empty one.
func (c *codec) heading(format string, args ...any) {
	if c.text != nil {
		fmt.Fprintf(c.text, "\n"+format+"\n", args...)
	}
}

// describe explains a number in listings.
type describe func(v uint64) string

type unsigned interface {
	~uint8 | ~uint16 | ~uint32 | ~uint64
}

// num is an unsigned field of its type's width.
func num[T unsigned](c *codec, name string, p *T, notes ...describe) {
	n := bits.Len64(uint64(^T(0))) / 8
	if c.encoding {
		var b [8]byte
		binary.LittleEndian.PutUint64(b[:], uint64(*p))
		c.buf = append(c.buf, b[:n]...)
		return
	}
	raw := c.next(name, n)
	if raw == nil {
		return
	}
	var b [8]byte
	copy(b[:], raw)
	v := binary.LittleEndian.Uint64(b[:])
	*p = T(v)
	if c.text == nil {
		return
	}
	text := fmt.Sprintf("0x%0*X", 2*n, v)
	for _, note := range notes {
		if s := note(v); s != "" {
			text += " (" + s + ")"
		}
	}
	c.list(name, n, text)
}

// str is a field of n characters, padded with spaces.
func (c *codec) str(name string, p *string, n int) {
	if c.encoding {
		s := *p
		if len(s) > n {
			s = s[:n]
		}
		c.buf = append(c.buf, s...)
		for range n - len(s) {
			c.buf = append(c.buf, ' ')
		}
		return
	}
	if raw := c.next(name, n); raw != nil {
		*p = string(raw)
		c.list(name, n, fmt.Sprintf("%q", *p))
	}
}

// guid is a field of 16 bytes.
func (c *codec) guid(name string, p *guid.GUID, note func(guid.GUID) string) {
	if c.encoding {
		c.buf = append(c.buf, p[:]...)
		return
	}
	if raw := c.next(name, 16); raw != nil {
		*p = guid.GUID(raw)
		text := p.String()
		if s := note(*p); s != "" {
			text += " (" + s + ")"
		}
		c.list(name, 16, text)
	}
}

// rest is a field of all the bytes that are left.
func (c *codec) rest(name string, p *[]byte) {
	if c.encoding {
		c.buf = append(c.buf, *p...)
		return
	}
	at := c.base + c.pos
	raw := c.next(name, c.left())
	*p = append([]byte(nil), raw...)
	if c.text != nil {
		hexLines(c.text, at, name, raw)
	}
}

// hexLines lists bytes, 16 to a line.
func hexLines(w *strings.Builder, offset int, name string, b []byte) {
	for len(b) > 0 {
		n := min(16, len(b))
		writeLine(w, offset, n, name, fmt.Sprintf("% X", b[:n]))
		offset, b, name = offset+n, b[n:], ""
	}
}

// reserved skips n bytes that are zero; a listing shows them if they are not.
func (c *codec) reserved(n int) {
	if c.encoding {
		c.buf = append(c.buf, make([]byte, n)...)
		return
	}
	raw := c.next("a reserved field", n)
	if strings.Trim(string(raw), "\x00") != "" {
		c.list("Reserved", n, fmt.Sprintf("% X", raw))
	}
}

// array is a list of numbers up to the end of the structure. Decoding stops at
// count if that is not negative.
func array[T unsigned](c *codec, name string, p *[]T, count int) {
	size := bits.Len64(uint64(^T(0))) / 8
	if c.encoding {
		for i := range *p {
			num(c, name, &(*p)[i])
		}
		return
	}
	*p = nil
	for i := 0; c.err == nil && (count < 0 && c.left() >= size || i < count); i++ {
		var v T
		num(c, fmt.Sprintf("%s %d", name, i), &v)
		if c.err == nil {
			*p = append(*p, v)
		}
	}
}

// flagNames describes a set of bits by their names, from bit 0 up.
func flagNames(names ...string) describe {
	return func(v uint64) string {
		var set []string
		for ; v != 0; v &= v - 1 {
			bit := bits.TrailingZeros64(v)
			if bit < len(names) && names[bit] != "" {
				set = append(set, names[bit])
			} else {
				set = append(set, fmt.Sprintf("bit %d", bit))
			}
		}
		return strings.Join(set, ", ")
	}
}

// valueNames describes numbers that have names.
func valueNames(names map[uint64]string) describe {
	return func(v uint64) string { return names[v] }
}

// decimal describes a number by its decimal text.
func decimal(v uint64) string { return fmt.Sprint(v) }

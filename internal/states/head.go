package states

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"os"

	"nvlab/internal/cow"
	"nvlab/internal/pages"
)

// A file begins with a page:
//
//	 0  magic
//	16  offset of what is described here below, behind the images' pages
//	24  bytes of the user's encoding, which comes first
//	32  bytes of the index, which follows it and ends the file
//	40  SHA-256 of what stands from 16 to 40, and of both
//
// Numbers are little-endian, 64 bits; those of the index are LEB128. An image
// that is a root lies in the file as in memory, with holes for zeros, so that it
// can be mapped. Of a difference the pages follow each other, in chunks that are
// compressed.
const (
	anyMagic = "nvlab state "
	magic    = anyMagic + "3\n\x00\x00"
	headSize = 40 + sha256.Size
)

// maxHead bounds what is read of a file before it is known to be whole, in
// bytes.
const maxHead = 256 << 20

// An index says what a file holds.
type index struct {
	label  string
	images []indexed
	sum    Sum // of the file's head: it tells the file from any other
}

// indexed is an image in a file.
type indexed struct {
	size uint64 // in bytes
	base string // the file that it is a difference to; "" of a root
	sum  Sum    // that file's: another of its name is no base
	of   uint64 // the base's image
	at   uint64 // offset of its pages in this file
	runs []run

	sums   []uint32 // of a root: CRC-32C of each page
	chunks []chunk  // of a difference
}

// pages is how many pages of the image are in the file.
func (m *indexed) pages() (n uint64) {
	for _, r := range m.runs {
		n += r.n
	}
	return n
}

// A run is pages that follow each other, by number.
type run struct{ first, n uint64 }

func (x *index) baseName() string {
	for i := range x.images {
		if b := x.images[i].base; b != "" {
			return b
		}
	}
	return ""
}

func (x *index) encode() []byte {
	b := appendText(nil, x.label)
	b = binary.AppendUvarint(b, uint64(len(x.images)))
	for i := range x.images {
		m := &x.images[i]
		b = binary.AppendUvarint(b, m.size)
		b = appendText(b, m.base)
		if m.base != "" {
			b = append(b, m.sum[:]...)
		}
		for _, n := range []uint64{m.of, m.at, uint64(len(m.runs))} {
			b = binary.AppendUvarint(b, n)
		}
		end := uint64(0)
		for _, r := range m.runs {
			b = binary.AppendUvarint(b, r.first-end)
			b = binary.AppendUvarint(b, r.n)
			end = r.first + r.n
		}
		for _, s := range m.sums {
			b = binary.LittleEndian.AppendUint32(b, s)
		}
		for _, c := range m.chunks {
			b = binary.AppendUvarint(b, c.size)
			b = binary.LittleEndian.AppendUint32(b, c.sum)
		}
	}
	return b
}

func appendText(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

// A reader takes values off bytes. Once it is short it gives zeros.
type reader struct {
	b     []byte
	short bool
}

func (r *reader) number() uint64 {
	n, k := binary.Uvarint(r.b)
	if k <= 0 {
		r.short, r.b = true, nil
		return 0
	}
	r.b = r.b[k:]
	return n
}

func (r *reader) bytes(n uint64) []byte {
	if n > uint64(len(r.b)) {
		r.short, r.b = true, nil
		return nil
	}
	p := r.b[:n]
	r.b = r.b[n:]
	return p
}

func (r *reader) uint32() uint32 {
	if b := r.bytes(4); b != nil {
		return binary.LittleEndian.Uint32(b)
	}
	return 0
}

func (r *reader) text() string { return string(r.bytes(r.number())) }

// decodeIndex reads an index of a file whose pages end at limit.
func decodeIndex(b []byte, limit uint64) (x index, err error) {
	r := &reader{b: b}
	x.label = r.text()
	for n := r.number(); n > 0 && !r.short; n-- {
		m, ok := r.image(limit)
		if !ok {
			break
		}
		x.images = append(x.images, m)
	}
	if r.short || len(r.b) > 0 {
		return index{}, fmt.Errorf("%w: its index is none", ErrDamaged)
	}
	return x, nil
}

// image reads an image, and refuses what lies outside of it or of the file.
func (r *reader) image(limit uint64) (m indexed, ok bool) {
	m.size, m.base = r.number(), r.text()
	if m.base != "" {
		copy(m.sum[:], r.bytes(uint64(len(m.sum))))
	}
	m.of, m.at = r.number(), r.number()
	count := r.number()
	fits := func(at, n, of uint64) bool { return at <= of && n <= of-at }
	root := m.base == ""
	if m.size%pages.Size != 0 || m.size > math.MaxInt64 || root && (m.at%pages.Size != 0 || !fits(m.at, m.size, limit)) {
		r.short = true
	}
	end := uint64(0)
	for ; count > 0 && !r.short; count-- {
		gap, n := r.number(), r.number()
		if !fits(end, gap, m.size/pages.Size) || n == 0 || !fits(end+gap, n, m.size/pages.Size) {
			r.short = true
			break
		}
		m.runs = append(m.runs, run{end + gap, n})
		end += gap + n
	}
	switch total := m.pages(); {
	case r.short:
	case root:
		if total > uint64(len(r.b))/4 {
			r.short = true
			break
		}
		for sums := r.bytes(total * 4); len(sums) > 0; sums = sums[4:] {
			m.sums = append(m.sums, binary.LittleEndian.Uint32(sums))
		}
	default:
		at := m.at
		for n := uint64(0); n < total && !r.short; n += chunkPages {
			c := chunk{size: r.number(), sum: r.uint32()}
			if !fits(at, c.size, limit) {
				r.short = true
			}
			m.chunks = append(m.chunks, c)
			at += c.size
		}
	}
	return m, !r.short
}

// encodeHead gives the first bytes of a file, and what ends it at an offset.
func encodeHead(at uint64, meta []byte, x *index) (head, tail []byte) {
	list := x.encode()
	head = []byte(magic)
	for _, n := range []uint64{at, uint64(len(meta)), uint64(len(list))} {
		head = binary.LittleEndian.AppendUint64(head, n)
	}
	tail = append(bytes.Clone(meta), list...)
	return append(head, headSum(head[len(magic):], tail)...), tail
}

func headSum(numbers, tail []byte) []byte {
	h := sha256.New()
	h.Write(numbers)
	h.Write(tail)
	return h.Sum(nil)
}

// sized is a file, or what stands for one.
type sized interface {
	io.ReaderAt
	Stat() (os.FileInfo, error)
}

// readHead reads all of a file but its pages.
func readHead(f sized) (meta []byte, x index, err error) {
	info, err := f.Stat()
	if err != nil {
		return nil, x, err
	}
	return decodeHead(f, info.Size())
}

// numbers are those of a file's first bytes.
type numbers struct {
	at    uint64 // of the user's encoding
	meta  uint64 // bytes of it
	index uint64 // bytes
	sum   [sha256.Size]byte
	text  [40 - len(magic)]byte // the numbers as they are in the file
}

// readNumbers reads them from a file of a size.
func readNumbers(f io.ReaderAt, size int64) (n numbers, err error) {
	var head [headSize]byte
	_, err = f.ReadAt(head[:], 0)
	switch {
	case err != nil && err != io.EOF:
		return n, err
	case err == nil && bytes.HasPrefix(head[:], []byte(magic)):
	case err == nil && bytes.HasPrefix(head[:], []byte(anyMagic)):
		return n, ErrOther
	default:
		return n, fmt.Errorf("%w: it does not begin as a state does", ErrDamaged)
	}
	number := func(at int) uint64 { return binary.LittleEndian.Uint64(head[at:]) }
	n = numbers{at: number(16), meta: number(24), index: number(32)}
	copy(n.text[:], head[len(magic):])
	copy(n.sum[:], head[40:])
	if n.meta > maxHead || n.index > maxHead || n.at > uint64(size) || n.meta+n.index != uint64(size)-n.at {
		return n, fmt.Errorf("%w: it has %d bytes, and says otherwise", ErrDamaged, size)
	}
	return n, nil
}

func decodeHead(f io.ReaderAt, size int64) (meta []byte, x index, err error) {
	n, err := readNumbers(f, size)
	if err != nil {
		return nil, x, err
	}
	tail := make([]byte, n.meta+n.index)
	if k, err := f.ReadAt(tail, int64(n.at)); k < len(tail) {
		return nil, x, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	if !bytes.Equal(n.sum[:], headSum(n.text[:], tail)) {
		return nil, x, fmt.Errorf("%w: its checksum is another", ErrDamaged)
	}
	x, err = decodeIndex(tail[n.meta:], n.at)
	x.sum = n.sum
	return tail[:n.meta:n.meta], x, err
}

// load checks the image's pages and returns it.
func (m *indexed) load(f *os.File, base *cow.Image) (*cow.Image, error) {
	if m.base != "" {
		return m.difference(f, base)
	}
	if err := m.check(f); err != nil {
		return nil, err
	}
	data := make([]cow.Range, len(m.runs))
	for i, r := range m.runs {
		data[i] = cow.Range{Offset: r.first * pages.Size, Size: r.n * pages.Size}
	}
	return cow.Open(f, int64(m.at), m.size, data)
}

func (m *indexed) difference(f *os.File, base *cow.Image) (*cow.Image, error) {
	if base.Size() != m.size {
		return nil, fmt.Errorf("%w: its base has %#x bytes instead of %#x", ErrDamaged, base.Size(), m.size)
	}
	buf, err := m.unpack(f)
	if err != nil {
		return nil, err
	}
	var list []cow.Page
	for _, r := range m.runs {
		for n := range r.n {
			list = append(list, cow.Page{Number: r.first + n, Bytes: buf[:pages.Size:pages.Size]})
			buf = buf[pages.Size:]
		}
	}
	return base.With(list)
}

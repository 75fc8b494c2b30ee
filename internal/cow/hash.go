package cow

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"hash"

	"nvlab/internal/pages"
)

// pageSum is the SHA-256 of a page that is not all zeros.
type pageSum struct {
	n   uint32
	sum [sha256.Size]byte
}

var zeros [pages.Size]byte

// pageSums hashes the pages of a frozen root.
func (r *root) pageSums() ([]pageSum, error) {
	r.summed.Do(func() {
		r.err = eachPage(r.store.read, r.touched(), func(n uint64, p []byte) error {
			r.sums = append(r.sums, pageSum{uint32(n), sha256.Sum256(p)})
			return nil
		})
	})
	return r.sums, r.err
}

// hash is the SHA-256 of the size, and of number and SHA-256 of each page that
// is not all zeros.
func (c *contents) hash() ([32]byte, error) {
	c.hashed.Do(func() {
		var sums []pageSum
		if sums, c.err = c.root.pageSums(); c.err != nil {
			return
		}
		h := sha256.New()
		h.Write(binary.LittleEndian.AppendUint64(nil, c.root.size))
		for _, p := range c.delta {
			for len(sums) > 0 && sums[0].n < p.n {
				sums[0].write(h)
				sums = sums[1:]
			}
			if len(sums) > 0 && sums[0].n == p.n {
				sums = sums[1:]
			}
			if *p.mem != zeros {
				pageSum{p.n, sha256.Sum256(p.mem[:])}.write(h)
			}
		}
		for _, s := range sums {
			s.write(h)
		}
		h.Sum(c.sum[:0])
	})
	return c.sum, c.err
}

func (s pageSum) write(h hash.Hash) {
	h.Write(binary.LittleEndian.AppendUint32(nil, s.n))
	h.Write(s.sum[:])
}

// chunk is how many bytes are read at a time.
const chunk = 1 << 20

// eachPage reads ranges and calls f with each page that is not all zeros. f
// may keep nothing of it.
func eachPage(read func([]byte, uint64) error, list []Range, f func(n uint64, p []byte) error) error {
	buf := make([]byte, chunk)
	for _, r := range list {
		for off, end := r.Offset, r.Offset+r.Size; off < end; {
			p := buf[:min(chunk, end-off)]
			if err := read(p, off); err != nil {
				return err
			}
			for at := uint64(0); at < uint64(len(p)); at += pages.Size {
				if one := p[at : at+pages.Size]; !bytes.Equal(one, zeros[:]) {
					if err := f((off+at)/pages.Size, one); err != nil {
						return err
					}
				}
			}
			off += uint64(len(p))
		}
	}
	return nil
}

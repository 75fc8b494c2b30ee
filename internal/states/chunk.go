package states

import (
	"fmt"
	"hash/crc32"
	"io"

	"github.com/klauspost/compress/s2"

	"nvlab/internal/pages"
)

// chunkPages is how many pages of a difference are compressed at a time: enough
// to find what they have in common, few enough to share among processors.
const chunkPages = 256

// A chunk is compressed pages in a file: a block of S2. Zstandard would halve
// it, and take four times as long.
type chunk struct {
	size uint64 // bytes in the file
	sum  uint32 // CRC-32C of these
}

// pack returns pages as they are kept, and what the index has to say of them. It
// uses a buffer, if that has s2.MaxEncodedLen of the pages.
func pack(buf, plain []byte) ([]byte, chunk) {
	b := s2.Encode(buf, plain)
	return b, chunk{uint64(len(b)), crc32.Checksum(b, castagnoli)}
}

// unpack reads the pages of a difference.
func (m *indexed) unpack(f io.ReaderAt) ([]byte, error) {
	plain := make([]byte, m.pages()*pages.Size)
	return plain, share(len(m.chunks), func(from, to int) error {
		at := m.at
		for _, c := range m.chunks[:from] {
			at += c.size
		}
		for i := from; i < to; i++ {
			c := m.chunks[i]
			b := make([]byte, c.size)
			if n, err := f.ReadAt(b, int64(at)); n < len(b) {
				return fmt.Errorf("%w: %w", ErrDamaged, err)
			}
			if crc32.Checksum(b, castagnoli) != c.sum {
				return fmt.Errorf("%w: the checksum of a chunk is another", ErrDamaged)
			}
			first := i * chunkPages * pages.Size
			to := plain[first:min(first+chunkPages*pages.Size, len(plain))]
			if n, err := s2.DecodedLen(b); err != nil || n != len(to) {
				return fmt.Errorf("%w: a chunk of %d bytes instead of %d", ErrDamaged, n, len(to))
			}
			if _, err := s2.Decode(to, b); err != nil {
				return fmt.Errorf("%w: %w", ErrDamaged, err)
			}
			at += c.size
		}
		return nil
	})
}

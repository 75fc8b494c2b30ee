package boot

import (
	"bytes"
	"compress/bzip2"
	"encoding/binary"
	"fmt"
	"io"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/mikelolasagasti/xz"
	"github.com/pierrec/lz4/v4"
)

// formats are the compressions of Linux's arch/x86/boot/compressed that can
// be read, by magic number.
var formats = []struct {
	name, magic string
	open        func([]byte) (io.Reader, error)
}{
	{"gzip", "\x1f\x8b", func(b []byte) (io.Reader, error) {
		r, err := gzip.NewReader(bytes.NewReader(b))
		if err == nil {
			r.Multistream(false)
		}
		return r, err
	}},
	{"xz", "\xfd7zXZ\x00", func(b []byte) (io.Reader, error) {
		r, err := xz.NewReader(bytes.NewReader(b), xz.DefaultDictMax)
		if err == nil {
			r.Multistream(false)
		}
		return r, err
	}},
	{"zstd", "\x28\xb5\x2f\xfd", func(b []byte) (io.Reader, error) {
		return zstd.NewReader(bytes.NewReader(b), zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(256<<20))
	}},
	{"lz4", "\x02\x21\x4c\x18", func(b []byte) (io.Reader, error) { return &lz4Legacy{src: b[4:]}, nil }},
	{"bzip2", "BZh", func(b []byte) (io.Reader, error) { return bzip2.NewReader(bytes.NewReader(b)), nil }},
}

// decompress unpacks the payload. The kernel's build appends the unpacked
// size, 4 bytes little-endian, to every format (gzip has it of its own).
func (h *header) decompress() ([]byte, error) {
	p := h.payload
	size := binary.LittleEndian.Uint32(p[len(p)-4:])
	for _, f := range formats {
		if !bytes.HasPrefix(p, []byte(f.magic)) {
			continue
		}
		if size > maxImage {
			return nil, fmt.Errorf("%s payload claims to unpack to %d bytes, more than 1 GiB", f.name, size)
		}
		r, err := f.open(p)
		if err != nil {
			return nil, fmt.Errorf("%s payload: %w", f.name, err)
		}
		if c, ok := r.(*zstd.Decoder); ok {
			defer c.Close()
		}
		// Grown as it is read: the claimed size may be a lie.
		var out bytes.Buffer
		out.Grow(int(min(size, uint32(64*len(p)))))
		n, err := io.Copy(&out, io.LimitReader(r, int64(size)))
		if err != nil {
			return nil, fmt.Errorf("%s payload: after %d bytes: %w", f.name, n, err)
		}
		if n < int64(size) {
			return nil, fmt.Errorf("%s payload: %d bytes, want %d", f.name, n, size)
		}
		return out.Bytes(), nil
	}
	return nil, fmt.Errorf("unknown compression: the payload starts with %q (gzip, xz, zstd, lz4 and bzip2 are read)", p[:min(len(p), 6)])
}

// lz4Legacy reads the legacy frame that Linux uses (lz4, "Legacy frame"):
// blocks of at most 8 MiB, each behind its 4-byte compressed size.
type lz4Legacy struct {
	src  []byte
	buf  []byte
	rest []byte
}

const lz4Block = 8 << 20

func (z *lz4Legacy) Read(p []byte) (int, error) {
	for len(z.rest) == 0 {
		if len(z.src) < 4 {
			return 0, io.EOF
		}
		n := binary.LittleEndian.Uint32(z.src)
		if uint64(n) > uint64(len(z.src)-4) {
			return 0, fmt.Errorf("block of %d bytes with %d left: %w", n, len(z.src)-4, io.ErrUnexpectedEOF)
		}
		if z.buf == nil {
			z.buf = make([]byte, lz4Block)
		}
		got, err := lz4.UncompressBlock(z.src[4:4+n], z.buf)
		if err != nil {
			return 0, err
		}
		z.src, z.rest = z.src[4+n:], z.buf[:got]
	}
	n := copy(p, z.rest)
	z.rest = z.rest[n:]
	return n, nil
}

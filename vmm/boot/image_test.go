package boot

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"testing"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
)

// part is a segment of a made-up vmlinux.
type part struct {
	paddr, memsz uint64
	data         []byte
}

// vmlinux makes an ELF executable.
func vmlinux(entry uint64, loads ...part) []byte {
	b := make([]byte, ehdrSize)
	copy(b, "\x7fELF\x02\x01\x01")
	le := binary.LittleEndian
	le.PutUint16(b[16:], 2)
	le.PutUint16(b[18:], 62)
	le.PutUint32(b[20:], 1)
	le.PutUint64(b[24:], entry)
	le.PutUint64(b[32:], ehdrSize)
	le.PutUint16(b[52:], ehdrSize)
	le.PutUint16(b[54:], phdrSize)
	le.PutUint16(b[56:], uint16(len(loads)))
	at := uint64(ehdrSize + len(loads)*phdrSize)
	for _, l := range loads {
		p := make([]byte, phdrSize)
		le.PutUint32(p, ptLoad)
		le.PutUint64(p[8:], at)
		le.PutUint64(p[16:], 0xffff_ffff_8000_0000+l.paddr)
		le.PutUint64(p[24:], l.paddr)
		le.PutUint64(p[32:], uint64(len(l.data)))
		le.PutUint64(p[40:], l.memsz)
		b = append(b, p...)
		at += uint64(len(l.data))
	}
	for _, l := range loads {
		b = append(b, l.data...)
	}
	return b
}

// small is a vmlinux of two segments.
func small() []byte {
	return vmlinux(0x100_0000,
		part{0x100_0000, 0x3000, bytes.Repeat([]byte("text"), 1024)},
		part{0x200_0000, 0x5000, []byte("data")})
}

// bzImage wraps a payload, behind which its unpacked size stands.
func bzImage(payload []byte, size int) []byte {
	b := make([]byte, 5*512)
	le := binary.LittleEndian
	b[offSetupSects] = 4
	le.PutUint16(b[offBootFlag:], 0xaa55)
	b[offJump] = headerEnd - offMagic
	copy(b[offMagic:], "HdrS")
	le.PutUint16(b[offVersion:], 0x20f)
	le.PutUint16(b[offKernelVersion:], 0x300)
	copy(b[0x500:], "6.1.0-test (a@b) #1\x00")
	b[offLoadFlags] = 1
	le.PutUint32(b[offInitrdMax:], 0x7fff_ffff)
	le.PutUint32(b[offCmdlineSize:], 2047)
	le.PutUint32(b[offPayload:], 0x40)
	le.PutUint32(b[offPayloadSize:], uint32(len(payload)+4))
	b = append(b, make([]byte, 0x40)...)
	b = append(b, payload...)
	return le.AppendUint32(b, uint32(size))
}

func packGzip(t testing.TB, b []byte) []byte {
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	w.Write(b)
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func packZstd(t testing.TB, b []byte) []byte {
	w, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	return w.EncodeAll(b, nil)
}

// packLZ4 makes a legacy frame of two blocks.
func packLZ4(t testing.TB, b []byte) []byte {
	out := []byte("\x02\x21\x4c\x18")
	for _, part := range [][]byte{b[:1000], b[1000:]} {
		p := make([]byte, lz4.CompressBlockBound(len(part)))
		n, err := lz4.CompressBlock(part, p, nil)
		if err != nil || n == 0 {
			t.Fatalf("lz4: %d bytes, %v", n, err)
		}
		out = binary.LittleEndian.AppendUint32(out, uint32(n))
		out = append(out, p[:n]...)
	}
	return out
}

// packed reads small() as a command of that name compressed it. Set
// NVLAB_UPDATE to write small() there to be compressed anew.
func packed(t testing.TB, ext string) []byte {
	b, err := os.ReadFile("testdata/small." + ext)
	if err != nil {
		t.Fatal(fmt.Errorf("%w (made of testdata/small by the command %s)", err, ext))
	}
	return b
}

package boot

import (
	"bytes"
	"encoding/binary"
	"fmt"
)

// Offsets in a bzImage and, from 0x1f1 on, in the zero page (boot.rst, "The
// Real-Mode Kernel Header").
const (
	offSetupSects    = 0x1f1
	offBootFlag      = 0x1fe
	offJump          = 0x201 // its operand tells the end of the header
	offMagic         = 0x202
	offVersion       = 0x206
	offKernelVersion = 0x20e
	offLoader        = 0x210
	offLoadFlags     = 0x211
	offInitrd        = 0x218
	offInitrdSize    = 0x21c
	offCmdline       = 0x228
	offInitrdMax     = 0x22c
	offCmdlineSize   = 0x238
	offPayload       = 0x248
	offPayloadSize   = 0x24c
	offSetupData     = 0x250

	headerEnd = 0x268 // of protocol 2.15
)

// header is what a bzImage says of itself.
type header struct {
	raw        []byte // from offSetupSects
	version    string
	cmdlineMax int
	initrdMax  uint64
	payload    []byte // the compressed kernel, with its size at the end
}

func parseHeader(b []byte) (*header, error) {
	if len(b) < headerEnd || binary.LittleEndian.Uint16(b[offBootFlag:]) != 0xaa55 ||
		string(b[offMagic:offMagic+4]) != "HdrS" {
		return nil, fmt.Errorf("not a kernel: %s (%w)", describe(b), errNotKernel)
	}
	if v := binary.LittleEndian.Uint16(b[offVersion:]); v < 0x208 {
		return nil, fmt.Errorf("boot protocol %d.%02d is too old: 2.08 or later is needed for the payload's place", v>>8, v&0xff)
	}
	end := min(offMagic+int(b[offJump]), headerEnd)
	h := &header{
		raw:        bytes.Clone(b[offSetupSects:max(end, offSetupData)]),
		cmdlineMax: int(min(binary.LittleEndian.Uint32(b[offCmdlineSize:]), 1<<16)),
		initrdMax:  uint64(binary.LittleEndian.Uint32(b[offInitrdMax:])),
	}
	sectors := int(b[offSetupSects])
	if sectors == 0 {
		sectors = 4
	}
	start := uint64(sectors+1)*512 + uint64(binary.LittleEndian.Uint32(b[offPayload:]))
	size := uint64(binary.LittleEndian.Uint32(b[offPayloadSize:]))
	if size < 8 || start+size > uint64(len(b)) {
		return nil, fmt.Errorf("truncated bzImage: its payload is bytes %d to %d of a file of %d", start, start+size, len(b))
	}
	h.payload = b[start : start+size]
	if p := int(binary.LittleEndian.Uint16(b[offKernelVersion:])); p != 0 && p+0x200 < len(b) {
		text := b[p+0x200 : min(p+0x200+256, len(b))]
		if n := bytes.IndexByte(text, 0); n >= 0 {
			h.version = string(text[:n])
		}
	}
	return h, nil
}

// describe says what a file that is no kernel starts with.
func describe(b []byte) string {
	switch {
	case len(b) == 0:
		return "an empty file"
	case bytes.HasPrefix(b, []byte{0x1f, 0x8b}):
		return "a gzip file"
	case bytes.HasPrefix(b, []byte("070701")), bytes.HasPrefix(b, []byte("070702")):
		return "a cpio archive"
	case bytes.HasPrefix(b, []byte("!<arch>\n")):
		return "an ar archive or a .deb package"
	}
	return fmt.Sprintf("starts with %q", b[:min(len(b), 8)])
}

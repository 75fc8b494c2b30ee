package judge

import (
	"encoding/binary"
	"testing"

	"nvlab/nvdimm/label"
)

// TestInfoBlockVerdict: a block with a valid checksum that says what cannot be
// is found; one that is no block is none.
func TestInfoBlockVerdict(t *testing.T) {
	dimm := &DIMM{Addr: 4 << 30, Size: 32 << 20, Backend: 32 << 20}
	block := func(align uint32, torn bool) *infoBlock {
		i := &infoBlock{dimm: dimm, at: 4096, others: map[uint64]*infoBlock{}}
		p := i.bytes[:]
		copy(p, "NVDIMM_PFN_INFO")
		le := binary.LittleEndian
		le.PutUint16(p[52:], 1)
		le.PutUint16(p[54:], 4)
		le.PutUint64(p[56:], 2<<20)
		le.PutUint64(p[64:], 7680)
		le.PutUint32(p[72:], 1)
		le.PutUint32(p[84:], align)
		le.PutUint64(p[4088:], label.ChecksumOf(p, 4088))
		if torn {
			p[100]++
		}
		return i
	}
	for _, tt := range []struct {
		name string
		b    *infoBlock
		ok   bool
	}{
		{"sound", block(2<<20, false), true},
		{"torn", block(2<<20, true), true},
		{"an align that cannot be, torn", block(3<<20, true), true},
		{"an align that cannot be", block(3<<20, false), false},
	} {
		if err := tt.b.check(); (err == nil) != tt.ok {
			t.Errorf("%s: check() = %v", tt.name, err)
		}
	}
}

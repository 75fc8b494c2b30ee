package label

import (
	"encoding/binary"
	"fmt"
	"math/bits"
)

// Index is one of the two index blocks (UEFI 2.10 section 13.19.2,
// EFI_NVDIMM_LABEL_INDEX_BLOCK).
type Index struct {
	Signature string // 16 bytes at 0
	Flags     uint32 // 24 bits at 16
	LabelSize int    // of a label in bytes: 128 << the byte at 19
	Seq       uint32 // at 20: 1, 2, 3, 1...; 0 is invalid
	MyOff     uint64 // at 24
	MySize    uint64 // at 32
	OtherOff  uint64 // at 40
	LabelOff  uint64 // at 48
	NSlot     uint32 // at 56
	Major     uint16 // at 60
	Minor     uint16 // at 62
	Checksum  uint64 // at 64
	Free      []byte // bitmap at 72, 1 is free; only what NSlot covers

	Valid bool
	Why   string // why not
}

const signature = "NAMESPACE_INDEX\x00"

// IsFree says what the bitmap says of a slot.
func (x *Index) IsFree(slot int) bool {
	return slot >= 0 && slot/8 < len(x.Free) && x.Free[slot/8]>>(slot%8)&1 == 1
}

// FreeSlots counts the slots that are free.
func (x *Index) FreeSlots() int {
	n := 0
	for i, b := range x.Free {
		if last := int(x.NSlot) - 8*i; last < 8 {
			b &= 1<<last - 1
		}
		n += bits.OnesCount8(b)
	}
	return n
}

// version follows Linux, which takes the size of a label as 128 below 1.2,
// whatever the field says.
func (x *Index) version() Version {
	if int(x.Major)*100+int(x.Minor) >= int(V12) {
		return V12
	}
	return V11
}

// parseIndex reads block i of an area of geometry g and judges it as Linux
// does (drivers/nvdimm/label.c, __nd_label_validate).
func parseIndex(area []byte, g Geometry, i int) Index {
	block := area[i*g.IndexSize : (i+1)*g.IndexSize]
	le := binary.LittleEndian
	x := Index{
		Signature: string(block[:16]),
		Flags:     uint32(block[16]) | uint32(block[17])<<8 | uint32(block[18])<<16,
		LabelSize: labelSizeOf(block[19]),
		Seq:       le.Uint32(block[20:]),
		MyOff:     le.Uint64(block[24:]),
		MySize:    le.Uint64(block[32:]),
		OtherOff:  le.Uint64(block[40:]),
		LabelOff:  le.Uint64(block[48:]),
		NSlot:     le.Uint32(block[56:]),
		Major:     le.Uint16(block[60:]),
		Minor:     le.Uint16(block[62:]),
		Checksum:  le.Uint64(block[64:]),
	}
	x.Why = x.flaw(block, g, i)
	x.Valid = x.Why == ""
	if x.Signature == signature {
		bitmap := block[indexHeader:]
		if n := (uint64(x.NSlot) + 7) / 8; n < uint64(len(bitmap)) {
			bitmap = bitmap[:n]
		}
		x.Free = append([]byte(nil), bitmap...)
	}
	return x
}

func labelSizeOf(field byte) int {
	if field > 16 {
		return 0
	}
	return 128 << field
}

// otherVersion says what is wrong with the version and label size of a block of
// an area of version v: it is unknown, or not that of the area.
func (x *Index) otherVersion(v Version) string {
	text := fmt.Sprintf("version %d.%d with labels of %d bytes", x.Major, x.Minor, x.LabelSize)
	if own := x.version(); (own == V11 || own == V12) && x.LabelSize == own.LabelSize() {
		return fmt.Sprintf("%s in an area of version %s with labels of %d", text, v, v.LabelSize())
	}
	return text + ": known are 1.1 with 128 and 1.2 with 256"
}

// flaw is the first rule that the block breaks, "" if none.
func (x *Index) flaw(block []byte, g Geometry, i int) string {
	size := uint64(g.IndexSize)
	switch {
	case allZero(block):
		return "all bytes are zero: never initialized"
	case x.Signature != signature:
		return fmt.Sprintf("signature is %q, not %q", x.Signature, signature)
	case x.version() != g.Version || g.Version == V12 && x.LabelSize != labelSize12:
		return x.otherVersion(g.Version)
	}
	if sum := ChecksumOf(block, 64); sum != x.Checksum {
		return fmt.Sprintf("checksum is %#016x, the block sums to %#016x", x.Checksum, sum)
	}
	switch {
	case x.Seq&3 == 0:
		return fmt.Sprintf("sequence number %#x: its low two bits must not be 0", x.Seq)
	case x.MyOff != uint64(i)*size:
		return fmt.Sprintf("myoff is %#x, the block stands at %#x", x.MyOff, uint64(i)*size)
	case x.OtherOff != uint64(1-i)*size:
		return fmt.Sprintf("otheroff is %#x, the other block stands at %#x", x.OtherOff, uint64(1-i)*size)
	case x.LabelOff != 2*size:
		return fmt.Sprintf("labeloff is %#x, labels start at %#x", x.LabelOff, 2*size)
	case x.MySize > size || x.MySize < indexHeader:
		return fmt.Sprintf("mysize is %#x, the block is %#x bytes long", x.MySize, size)
	case uint64(x.NSlot) > uint64(g.Slots):
		return fmt.Sprintf("nslot is %d, the area holds %d", x.NSlot, g.Slots)
	}
	return ""
}

func allZero(p []byte) bool {
	for _, b := range p {
		if b != 0 {
			return false
		}
	}
	return true
}

// nextSeq is the number after seq: 1, 2, 3, 1...
func nextSeq(seq uint32) uint32 { return [4]uint32{0, 2, 3, 1}[seq&3] }

// newer picks the current of two valid blocks: the one whose number follows
// the other's; the second where the numbers are equal, as Linux does.
func newer(a, b uint32) int {
	if a&3 == b&3 || nextSeq(a) == b&3 {
		return 1
	}
	return 0
}

// encodeIndex fills block i. Bits of the bitmap beyond the slots are zero.
func encodeIndex(area []byte, g Geometry, i int, seq uint32, free []byte) {
	block := area[i*g.IndexSize : (i+1)*g.IndexSize]
	clear(block)
	copy(block, signature)
	block[19] = byte(g.Version.LabelSize() >> 8)
	le := binary.LittleEndian
	le.PutUint32(block[20:], seq)
	le.PutUint64(block[24:], uint64(i*g.IndexSize))
	le.PutUint64(block[32:], uint64(g.IndexSize))
	le.PutUint64(block[40:], uint64((1-i)*g.IndexSize))
	le.PutUint64(block[48:], uint64(2*g.IndexSize))
	le.PutUint32(block[56:], uint32(g.Slots))
	le.PutUint16(block[60:], uint16(g.Version/100))
	le.PutUint16(block[62:], uint16(g.Version%100))
	copy(block[indexHeader:], free)
	le.PutUint64(block[64:], Fletcher64(block))
}

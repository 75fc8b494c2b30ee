package fp

import "math/bits"

// The packed integer instructions of MMX, on the lanes of one 64-bit word.
// SSE2 does the same on each half of a register.

// A lane is a lane width, written as the most significant bit of each lane.
type lane uint64

const (
	lane8  lane = 0x8080808080808080
	lane16 lane = 0x8000800080008000
	lane32 lane = 0x8000000080000000
)

// fill makes all ones of each lane whose most significant bit is set.
func (l lane) fill(v uint64) uint64 {
	v &= uint64(l)
	switch l {
	case lane8:
		return v >> 7 * 0xFF
	case lane16:
		return v >> 15 * 0xFFFF
	}
	return v >> 31 * 0xFFFFFFFF
}

func (l lane) add(a, b uint64) uint64 {
	h := uint64(l)
	return (a&^h + b&^h) ^ (a^b)&h
}

func (l lane) sub(a, b uint64) uint64 {
	h := uint64(l)
	return ((a | h) - b&^h) ^ ^(a^b)&h
}

// noLess gives all ones where a ≥ b, unsigned.
func (l lane) noLess(a, b uint64) uint64 {
	t := (a | uint64(l)) - b&^uint64(l)
	return l.fill(a&^b | ^(a^b)&t)
}

func (l lane) equal(a, b uint64) uint64 {
	x := a ^ b
	return l.fill(^((x&^uint64(l) + ^uint64(l)) | x))
}

// signed maps signed order to unsigned order, and back.
func (l lane) signed(v uint64) uint64 { return v ^ uint64(l) }

func (l lane) greater(a, b uint64) uint64 { return ^l.noLess(l.signed(b), l.signed(a)) }

func blend(mask, yes, no uint64) uint64 { return mask&yes | no&^mask }

func (l lane) minU(a, b uint64) uint64 { return blend(l.noLess(a, b), b, a) }
func (l lane) maxU(a, b uint64) uint64 { return blend(l.noLess(a, b), a, b) }
func (l lane) minS(a, b uint64) uint64 { return blend(l.greater(a, b), b, a) }
func (l lane) maxS(a, b uint64) uint64 { return blend(l.greater(a, b), a, b) }

// subUS and the like saturate, unsigned or signed.
func (l lane) subUS(a, b uint64) uint64 { return l.sub(a, b) & l.noLess(a, b) }
func (l lane) addUS(a, b uint64) uint64 { return ^l.subUS(^a, b) }

func (l lane) addSS(a, b uint64) uint64 {
	sum := l.add(a, b)
	return l.saturate(a, sum, ^(a^b)&(a^sum))
}

func (l lane) subSS(a, b uint64) uint64 {
	difference := l.sub(a, b)
	return l.saturate(a, difference, (a^b)&(a^difference))
}

// saturate replaces the lanes of v whose most significant bit in overflow is
// set by the limit on a's side.
func (l lane) saturate(a, v, overflow uint64) uint64 {
	return blend(l.fill(overflow), l.fill(a)^^uint64(l), v)
}

func (l lane) width() uint { return uint(bits.TrailingZeros64(uint64(l))) + 1 }

// shiftLeft and the like shift out everything if count is the width or more.
func (l lane) shiftLeft(v, count uint64) uint64 {
	if count >= uint64(l.width()) {
		return 0
	}
	ones := uint64(l) >> (l.width() - 1) // one in each lane
	return v << count &^ (ones<<count - ones)
}

func (l lane) shiftRight(v, count uint64) uint64 {
	if count >= uint64(l.width()) {
		return 0
	}
	return v >> count &^ l.high(count)
}

// shiftSigned fills with the sign.
func (l lane) shiftSigned(v, count uint64) uint64 {
	count = min(count, uint64(l.width())-1)
	return l.shiftRight(v, count) | l.fill(v)&l.high(count)
}

// high is a mask of the count most significant bits of each lane.
func (l lane) high(count uint64) uint64 {
	ones := uint64(l) >> (l.width() - 1)
	return uint64(l)<<1 - ones<<(uint64(l.width())-count)
}

func shiftLeft64(v, count uint64) uint64  { return v << min(count, 64) }
func shiftRight64(v, count uint64) uint64 { return v >> min(count, 64) }

// eachWord computes the four words of a result.
func eachWord(a, b uint64, f func(x, y uint16) uint16) (r uint64) {
	for s := 0; s < 64; s += 16 {
		r |= uint64(f(uint16(a>>s), uint16(b>>s))) << s
	}
	return r
}

func pmullw(a, b uint64) uint64 {
	return eachWord(a, b, func(x, y uint16) uint16 { return x * y })
}

func pmulhw(a, b uint64) uint64 {
	return eachWord(a, b, func(x, y uint16) uint16 { return uint16(int32(int16(x)) * int32(int16(y)) >> 16) })
}

func pmulhuw(a, b uint64) uint64 {
	return eachWord(a, b, func(x, y uint16) uint16 { return uint16(uint32(x) * uint32(y) >> 16) })
}

func pavgw(a, b uint64) uint64 {
	return eachWord(a, b, func(x, y uint16) uint16 { return uint16((uint32(x) + uint32(y) + 1) >> 1) })
}

func pmaddwd(a, b uint64) (r uint64) {
	for s := 0; s < 64; s += 32 {
		low := int32(int16(a>>s)) * int32(int16(b>>s))
		high := int32(int16(a>>(s+16))) * int32(int16(b>>(s+16)))
		r |= uint64(uint32(low+high)) << s
	}
	return r
}

func pmuludq(a, b uint64) uint64 { return lowHalf(a) * lowHalf(b) }

func pavgb(a, b uint64) (r uint64) {
	for s := 0; s < 64; s += 8 {
		r |= (a>>s&0xFF + b>>s&0xFF + 1) >> 1 << s
	}
	return r
}

func psadbw(a, b uint64) (sum uint64) {
	difference := lane8.subUS(a, b) | lane8.subUS(b, a)
	for ; difference != 0; difference >>= 8 {
		sum += difference & 0xFF
	}
	return sum
}

// packWords narrows the words of low and high to bytes, each limited to what
// a signed word has in [least, most].
func packWords(low, high uint64, least, most int16) (r uint64) {
	for s := 0; s < 64; s += 16 {
		r |= uint64(uint8(max(least, min(most, int16(low>>s))))) << (s / 2)
		r |= uint64(uint8(max(least, min(most, int16(high>>s))))) << (s/2 + 32)
	}
	return r
}

func packsswb(low, high uint64) uint64 { return packWords(low, high, -128, 127) }
func packuswb(low, high uint64) uint64 { return packWords(low, high, 0, 255) }

func packssdw(low, high uint64) (r uint64) {
	for s := 0; s < 64; s += 32 {
		r |= uint64(uint16(max(-1<<15, min(1<<15-1, int32(low>>s))))) << (s / 2)
		r |= uint64(uint16(max(-1<<15, min(1<<15-1, int32(high>>s))))) << (s/2 + 32)
	}
	return r
}

// interleave takes width bits from the low half of a, then of b, and so on.
func interleave(a, b uint64, width uint) (r uint64) {
	mask := uint64(1)<<width - 1
	for s := uint(0); s < 32; s += width {
		r |= (a>>s&mask | b>>s&mask<<width) << (2 * s)
	}
	return r
}

// shuffleWords picks four words of v by the two-bit fields of imm.
func shuffleWords(v uint64, imm uint8) (r uint64) {
	for i := 0; i < 4; i++ {
		r |= v >> (imm >> (2 * i) & 3 * 16) & 0xFFFF << (16 * i)
	}
	return r
}

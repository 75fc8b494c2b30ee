package fp

import "math/bits"

// A format is a binary floating-point format of IEEE 754, or a precision to
// which the x87 rounds.
type format struct {
	precision  uint  // bits of a significand, with the leading one
	emin, emax int32 // exponents of the smallest and largest normal numbers
	width      uint  // bits of an encoded number, if 32 or 64
}

var (
	single = &format{24, -126, 127, 32}
	double = &format{53, -1022, 1023, 64}
	// The x87 rounds to 24, 53 or 64 bits in the range of a 15-bit exponent.
	extended24 = &format{24, -16382, 16383, 80}
	extended53 = &format{53, -16382, 16383, 80}
	extended   = &format{64, -16382, 16383, 80}
)

type kind uint8

const (
	zero kind = iota
	finite
	infinite
	quietNaN
	signalingNaN
	unsupported // an encoding that only the 80-bit format has (SDM vol. 1, 8.2.2)
)

// A number is a decoded operand or a rounded result.
type number struct {
	kind     kind
	neg      bool
	denormal bool // encoded as denormal
	exp      int32
	// sig of a finite number is its significand, whose bit 63 weighs 2^exp. It
	// is set, unless the number is the denormal result of a rounding.
	// sig of a NaN is the 80-bit format's: bit 63 set, bit 62 for a quiet one.
	sig uint64
}

const quietBit = 1 << 62

// indefinite is the default NaN, "QNaN floating-point indefinite".
var indefinite = number{kind: quietNaN, neg: true, sig: 3 << 62}

func (n number) isNaN() bool { return n.kind == quietNaN || n.kind == signalingNaN }

func (n number) wide() wide { return wide{neg: n.neg, exp: n.exp, hi: n.sig} }

// quiet turns a signaling NaN into the quiet NaN with the same payload.
func (n number) quiet() number {
	n.kind = quietNaN
	n.sig |= quietBit
	return n
}

// decode reads an encoded number of a format of 32 or 64 bits.
func (f *format) decode(b uint64) number {
	fraction := b << (65 - f.precision) // left-aligned
	field := b << (64 - f.width) << 1 >> (64 - f.width + f.precision)
	n := number{neg: b>>(f.width-1)&1 != 0}
	switch field {
	case 0:
		if fraction == 0 {
			return n
		}
		shift := bits.LeadingZeros64(fraction)
		n.kind, n.denormal = finite, true
		n.exp, n.sig = f.emin-1-int32(shift), fraction<<shift
	case uint64(2*f.emax + 1):
		n.sig = 1<<63 | fraction>>1
		switch {
		case fraction == 0:
			n.kind = infinite
		case n.sig&quietBit != 0:
			n.kind = quietNaN
		default:
			n.kind = signalingNaN
		}
	default:
		n.kind = finite
		n.exp, n.sig = int32(field)+f.emin-1, 1<<63|fraction>>1
	}
	return n
}

// encode is the inverse of decode. A NaN loses the low bits of its payload.
func (f *format) encode(n number) uint64 {
	fraction := n.sig << 1 >> (65 - f.precision)
	var field uint64
	switch n.kind {
	case zero:
		fraction = 0
	case finite:
		if n.sig>>63 != 0 {
			field = uint64(n.exp - f.emin + 1)
		}
	case infinite:
		field, fraction = uint64(2*f.emax+1), 0
	default:
		field = uint64(2*f.emax + 1)
	}
	b := field<<(f.precision-1) | fraction
	if n.neg {
		b |= 1 << (f.width - 1)
	}
	return b
}

// decode reads an 80-bit number.
func (v F80) decode() number {
	n := number{neg: v.SE>>15 != 0, sig: v.Sig}
	field := int32(v.SE & 0x7FFF)
	switch {
	case field == 0 && v.Sig == 0:
	case field == 0: // denormal, or "pseudo-denormal" with the integer bit
		shift := bits.LeadingZeros64(v.Sig)
		n.kind, n.denormal = finite, true
		n.exp, n.sig = extended.emin-int32(shift), v.Sig<<shift
	case v.Sig>>63 == 0:
		n.kind = unsupported
	case field < 0x7FFF:
		n.kind = finite
		n.exp = field - 16383
	case v.Sig<<1 == 0:
		n.kind = infinite
	case v.Sig&quietBit != 0:
		n.kind = quietNaN
	default:
		n.kind = signalingNaN
	}
	return n
}

// encode80 is the inverse of F80.decode.
func (n number) encode80() F80 {
	v := F80{Sig: n.sig}
	switch n.kind {
	case zero:
		v.Sig = 0
	case finite:
		if n.sig>>63 != 0 {
			v.SE = uint16(n.exp + 16383)
		}
	case infinite:
		v.Sig, v.SE = 1<<63, 0x7FFF
	default:
		v.SE = 0x7FFF
	}
	if n.neg {
		v.SE |= 1 << 15
	}
	return v
}

// order compares two numbers that are not NaN: negative, zero or positive.
func order(a, b number) int {
	if a.kind == zero && b.kind == zero {
		return 0
	}
	if a.sign() != b.sign() {
		return a.sign() - b.sign()
	}
	return a.sign() * magnitudeOrder(a, b)
}

func (n number) sign() int {
	switch {
	case n.kind == zero:
		return 0
	case n.neg:
		return -1
	}
	return 1
}

func magnitudeOrder(a, b number) int {
	switch {
	case a.kind != b.kind:
		return int(a.kind) - int(b.kind) // zero < finite < infinite
	case a.kind != finite:
		return 0
	case a.exp != b.exp:
		return int(a.exp - b.exp)
	case a.sig < b.sig:
		return -1
	case a.sig > b.sig:
		return 1
	}
	return 0
}

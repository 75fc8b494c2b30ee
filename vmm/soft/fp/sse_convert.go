package fp

import (
	"math"
	"math/bits"
)

// convert gives an element of format from in format to.
func (e *env) convert(from, to *format, b uint64) uint64 {
	if e.quick {
		q := quickNarrow
		if from == single {
			q = quickWiden
		}
		if r, inexact, ok := q(b); ok {
			e.post |= uint8(precision(inexact))
			return r
		}
	}
	n := e.operand(from, b)
	switch n.kind {
	case signalingNaN:
		e.pre |= flagInvalid
		n = n.quiet()
	case finite:
		e.noteDenormal(n, n)
		n = e.round(to, n.wide())
	}
	return to.encode(n)
}

// toInteger gives an element as a signed integer of width 32 or 64 bits, or
// "integer indefinite", the most negative one, if it is out of range.
func (e *env) toInteger(f *format, b uint64, width uint, trunc bool) uint64 {
	if e.quick {
		x, ok := b, true
		if f == single {
			x, _, ok = quickWiden(b)
		}
		v, inexact, inRange := quickInteger(x, trunc, float64(uint64(1)<<(width-1)))
		if ok && inRange {
			e.post |= uint8(precision(inexact))
			return uint64(v) << (64 - width) >> (64 - width)
		}
	}
	mode := e.mode
	if trunc {
		mode = toZero
	}
	return e.signed(e.operand(f, b), width, mode)
}

// signed gives n as a signed integer in the low width bits.
func (e *env) signed(n number, width uint, mode uint8) uint64 {
	e.roundedUp = false
	least := uint64(1) << (width - 1)
	if n.kind == zero {
		return 0
	}
	if n.kind != finite {
		e.invalid()
		return least
	}
	magnitude, inexact, ok := e.integer(n, mode)
	if !ok || magnitude > least || magnitude == least && !n.neg {
		e.invalid()
		return least
	}
	if inexact {
		e.post |= flagPrecision
	}
	if n.neg {
		magnitude = -magnitude
	}
	return magnitude << (64 - width) >> (64 - width)
}

// integerNumber is exact.
func integerNumber(v int64) number {
	if v == 0 {
		return number{}
	}
	n := number{kind: finite, neg: v < 0, sig: uint64(v)}
	if n.neg {
		n.sig = -n.sig
	}
	shift := bits.LeadingZeros64(n.sig)
	n.exp = 63 - int32(shift)
	n.sig <<= shift
	return n
}

// fromInteger gives an integer as an element of format f.
func (e *env) fromInteger(f *format, v int64) uint64 {
	if uint64(v)+1<<24 <= 1<<25 { // exact in any format
		if f == single {
			return uint64(math.Float32bits(float32(v)))
		}
		return math.Float64bits(float64(v))
	}
	n := integerNumber(v)
	if n.kind == finite {
		n = e.round(f, n.wide())
	}
	return f.encode(n)
}

func lowHalf(v uint64) uint64            { return uint64(uint32(v)) }
func pair(low, high uint64) uint64       { return low | high<<32 }
func signedHalves(v uint64) (a, b int64) { return int64(int32(v)), int64(int32(v >> 32)) }

func cvtss2sd(dst, src *Vec, _ uint8, mxcsr *uint32) bool {
	e := newEnv(*mxcsr)
	r := e.convert(single, double, lowHalf(src[0]))
	if !e.finish(mxcsr) {
		return false
	}
	dst[0] = r
	return true
}

func cvtsd2ss(dst, src *Vec, _ uint8, mxcsr *uint32) bool {
	e := newEnv(*mxcsr)
	r := e.convert(double, single, src[0])
	if !e.finish(mxcsr) {
		return false
	}
	dst[0] = dst[0]>>32<<32 | r
	return true
}

func cvtps2pd(dst, src *Vec, _ uint8, mxcsr *uint32) bool {
	e := newEnv(*mxcsr)
	r := Vec{e.convert(single, double, lowHalf(src[0])), e.convert(single, double, src[0]>>32)}
	if !e.finish(mxcsr) {
		return false
	}
	*dst = r
	return true
}

func cvtpd2ps(dst, src *Vec, _ uint8, mxcsr *uint32) bool {
	e := newEnv(*mxcsr)
	r := pair(e.convert(double, single, src[0]), e.convert(double, single, src[1]))
	if !e.finish(mxcsr) {
		return false
	}
	*dst = Vec{r}
	return true
}

func cvtdq2ps(dst, src *Vec, _ uint8, mxcsr *uint32) bool {
	e := newEnv(*mxcsr)
	var r Vec
	for i, v := range src {
		low, high := signedHalves(v)
		r[i] = pair(e.fromInteger(single, low), e.fromInteger(single, high))
	}
	if !e.finish(mxcsr) {
		return false
	}
	*dst = r
	return true
}

// cvtdq2pd is exact.
func cvtdq2pd(dst, src *Vec, _ uint8, _ *uint32) bool {
	CvtPI2PD(dst, src[0])
	return true
}

func convertPS2DQ(dst, src *Vec, trunc bool, mxcsr *uint32) bool {
	e := newEnv(*mxcsr)
	var r Vec
	for i, v := range src {
		r[i] = pair(e.toInteger(single, lowHalf(v), 32, trunc), e.toInteger(single, v>>32, 32, trunc))
	}
	if !e.finish(mxcsr) {
		return false
	}
	*dst = r
	return true
}

func cvtps2dq(dst, src *Vec, _ uint8, mxcsr *uint32) bool {
	return convertPS2DQ(dst, src, false, mxcsr)
}

func cvttps2dq(dst, src *Vec, _ uint8, mxcsr *uint32) bool {
	return convertPS2DQ(dst, src, true, mxcsr)
}

func convertPD2DQ(dst, src *Vec, trunc bool, mxcsr *uint32) bool {
	v, ok := CvtPD2PI(trunc, src, mxcsr)
	if ok {
		*dst = Vec{v}
	}
	return ok
}

func cvtpd2dq(dst, src *Vec, _ uint8, mxcsr *uint32) bool {
	return convertPD2DQ(dst, src, false, mxcsr)
}

func cvttpd2dq(dst, src *Vec, _ uint8, mxcsr *uint32) bool {
	return convertPD2DQ(dst, src, true, mxcsr)
}

// Comi compares the low elements of a and b: UCOMISx (opcode 2E) and COMISx
// (2F), single precision without prefix and double with 0x66. OF, SF and AF
// are cleared by the instruction. ok is false for #XM: EFLAGS do not change.
func Comi(prefix, opcode byte, a, b *Vec, mxcsr *uint32) (zf, pf, cf, ok bool) {
	e := newEnv(*mxcsr)
	f, x, y := double, a[0], b[0]
	if prefix == 0 {
		f, x, y = single, lowHalf(x), lowHalf(y)
	}
	r, ok := quickCompare(f, x, y)
	if !ok {
		r = e.compare(e.operand(f, x), e.operand(f, y), opcode == 0x2F)
		ok = e.finish(mxcsr)
	}
	return r == equal || r == unordered, r == unordered, r == less || r == unordered, ok
}

// CvtToInt is CVTSS2SI (prefix 0xF3) and CVTSD2SI (0xF2), or with trunc
// CVTTSS2SI and CVTTSD2SI, to size 4 or 8 bytes. v is zero-extended.
func CvtToInt(prefix byte, trunc bool, src *Vec, size int, mxcsr *uint32) (v uint64, ok bool) {
	e := newEnv(*mxcsr)
	f, b := double, src[0]
	if prefix == 0xF3 {
		f, b = single, lowHalf(b)
	}
	v = e.toInteger(f, b, uint(size)*8, trunc)
	return v, e.finish(mxcsr)
}

// CvtFromInt is CVTSI2SS (prefix 0xF3) and CVTSI2SD (0xF2) from the low size
// bytes, 4 or 8, of v.
func CvtFromInt(prefix byte, dst *Vec, v uint64, size int, mxcsr *uint32) bool {
	e := newEnv(*mxcsr)
	i := int64(v)
	if size == 4 {
		i = int64(int32(v))
	}
	if prefix == 0xF3 {
		r := e.fromInteger(single, i)
		if !e.finish(mxcsr) {
			return false
		}
		dst[0] = dst[0]>>32<<32 | r
		return true
	}
	r := e.fromInteger(double, i)
	if !e.finish(mxcsr) {
		return false
	}
	dst[0] = r
	return true
}

// CvtPI2PS converts two signed 32-bit integers to the low half of dst.
func CvtPI2PS(dst *Vec, src uint64, mxcsr *uint32) bool {
	e := newEnv(*mxcsr)
	low, high := signedHalves(src)
	r := pair(e.fromInteger(single, low), e.fromInteger(single, high))
	if !e.finish(mxcsr) {
		return false
	}
	dst[0] = r
	return true
}

// CvtPI2PD converts two signed 32-bit integers; it raises nothing.
func CvtPI2PD(dst *Vec, src uint64) {
	var e env
	low, high := signedHalves(src)
	*dst = Vec{e.fromInteger(double, low), e.fromInteger(double, high)}
}

// CvtPS2PI is CVTPS2PI, or with trunc CVTTPS2PI, of the low half of src.
func CvtPS2PI(trunc bool, src *Vec, mxcsr *uint32) (v uint64, ok bool) {
	e := newEnv(*mxcsr)
	v = pair(e.toInteger(single, lowHalf(src[0]), 32, trunc), e.toInteger(single, src[0]>>32, 32, trunc))
	return v, e.finish(mxcsr)
}

// CvtPD2PI is CVTPD2PI, or with trunc CVTTPD2PI.
func CvtPD2PI(trunc bool, src *Vec, mxcsr *uint32) (v uint64, ok bool) {
	e := newEnv(*mxcsr)
	v = pair(e.toInteger(double, src[0], 32, trunc), e.toInteger(double, src[1], 32, trunc))
	return v, e.finish(mxcsr)
}

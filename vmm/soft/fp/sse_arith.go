package fp

// Bits of MXCSR (SDM vol. 1, 10.2.3). The flags are bits 5:0.
const (
	mxcsrDAZ   = 1 << 6
	mxcsrMasks = 0x3F << 7
	mxcsrRC    = 3 << 13
	mxcsrFTZ   = 1 << 15
)

func newEnv(mxcsr uint32) env {
	return env{
		mode:   uint8(mxcsr >> 13 & 3),
		daz:    mxcsr&mxcsrDAZ != 0,
		ftz:    mxcsr&mxcsrFTZ != 0,
		masked: uint8(mxcsr >> 7 & 0x3F),
		quick:  allowsQuick(mxcsr),
	}
}

// finish accumulates the flags, and says whether the result is to be written.
func (e *env) finish(mxcsr *uint32) bool {
	if e.pre&^e.masked != 0 {
		*mxcsr |= uint32(e.pre)
		return false
	}
	*mxcsr |= uint32(e.pre | e.post)
	return e.post&^e.masked == 0
}

// operand decodes an operand of an SSE instruction.
func (e *env) operand(f *format, b uint64) number {
	n := f.decode(b)
	if n.denormal && e.daz {
		return number{neg: n.neg}
	}
	return n
}

// An element computes one element of format f. Unary ones ignore a.
type element func(e *env, f *format, a, b uint64) uint64

// propagate gives the result of an operation on a NaN: the first operand if
// that is one, else the second, made quiet (SDM vol. 1, table 4-7).
func (e *env) propagate(f *format, a, b number) uint64 {
	if a.kind == signalingNaN || b.kind == signalingNaN {
		e.pre |= flagInvalid
	}
	if a.isNaN() {
		return f.encode(a.quiet())
	}
	return f.encode(b.quiet())
}

func (e *env) binary(op operation, f *format, a, b uint64) uint64 {
	x, y := e.operand(f, a), e.operand(f, b)
	if x.isNaN() || y.isNaN() {
		return e.propagate(f, x, y)
	}
	return f.encode(e.compute(op, f, x, y))
}

func addElement(e *env, f *format, a, b uint64) uint64 { return e.binary(opAdd, f, a, b) }
func subElement(e *env, f *format, a, b uint64) uint64 { return e.binary(opSub, f, a, b) }
func mulElement(e *env, f *format, a, b uint64) uint64 { return e.binary(opMul, f, a, b) }
func divElement(e *env, f *format, a, b uint64) uint64 { return e.binary(opDiv, f, a, b) }

func sqrtElement(e *env, f *format, _, b uint64) uint64 { return e.binary(opSqrt, f, 0, b) }

// minElement and maxElement give the second operand if either is a NaN or
// both are zeros.
func minElement(e *env, f *format, a, b uint64) uint64 { return e.choose(f, a, b, -1) }
func maxElement(e *env, f *format, a, b uint64) uint64 { return e.choose(f, a, b, +1) }

func (e *env) choose(f *format, a, b uint64, sign int) uint64 {
	x, y := e.operand(f, a), e.operand(f, b)
	chosen := y
	if x.isNaN() || y.isNaN() {
		e.pre |= flagInvalid
	} else {
		e.noteDenormal(x, y)
		if order(x, y)*sign > 0 {
			chosen, b = x, a
		}
	}
	if chosen.kind == zero { // perhaps a denormal operand, under DAZ
		return f.encode(chosen)
	}
	return b
}

// relation is the outcome of a comparison.
type relation uint8

const (
	less relation = iota
	equal
	greater
	unordered
)

// compare raises invalid for any NaN if signaling, else for a signaling NaN.
func (e *env) compare(x, y number, signaling bool) relation {
	if x.isNaN() || y.isNaN() {
		if signaling || x.kind == signalingNaN || y.kind == signalingNaN {
			e.pre |= flagInvalid
		}
		return unordered
	}
	e.noteDenormal(x, y)
	switch o := order(x, y); {
	case o < 0:
		return less
	case o > 0:
		return greater
	}
	return equal
}

// compareElement computes the predicate in bits 1:0 of an immediate, negated
// by bit 2 (SDM vol. 2, CMPPD).
func (e *env) compareElement(f *format, predicate uint8, a, b uint64) bool {
	r, ok := quickCompare(f, a, b)
	if !ok {
		signaling := predicate&3 == 1 || predicate&3 == 2
		r = e.compare(e.operand(f, a), e.operand(f, b), signaling)
	}
	var yes bool
	switch predicate & 3 {
	case 0:
		yes = r == equal
	case 1:
		yes = r == less
	case 2:
		yes = r == less || r == equal
	case 3:
		yes = r == unordered
	}
	return yes != (predicate&4 != 0)
}

// each gives the Fn that applies an element to every element of format f, or
// if scalar to the lowest.
func each(f *format, scalar bool, el element, q quickElement) Fn {
	switch {
	case f == single && scalar:
		return func(dst, src *Vec, _ uint8, mxcsr *uint32) bool {
			a, b := lowHalf(dst[0]), lowHalf(src[0])
			if allowsQuick(*mxcsr) {
				if r, inexact, ok := q(a, b); ok {
					dst[0] = dst[0]>>32<<32 | r
					*mxcsr |= precision(inexact)
					return true
				}
			}
			e := newEnv(*mxcsr)
			r := el(&e, single, a, b)
			if !e.finish(mxcsr) {
				return false
			}
			dst[0] = dst[0]>>32<<32 | r
			return true
		}
	case f == double && scalar:
		return func(dst, src *Vec, _ uint8, mxcsr *uint32) bool {
			if allowsQuick(*mxcsr) {
				if r, inexact, ok := q(dst[0], src[0]); ok {
					dst[0] = r
					*mxcsr |= precision(inexact)
					return true
				}
			}
			e := newEnv(*mxcsr)
			r := el(&e, double, dst[0], src[0])
			if !e.finish(mxcsr) {
				return false
			}
			dst[0] = r
			return true
		}
	}
	return func(dst, src *Vec, _ uint8, mxcsr *uint32) bool {
		if allowsQuick(*mxcsr) {
			if r, inexact, ok := quickEach(f, dst, src, q); ok {
				*dst = r
				*mxcsr |= precision(inexact)
				return true
			}
		}
		ones := uint64(1)<<f.width - 1 // all 64 if the width is 64
		e := newEnv(*mxcsr)            // which is allocated: el is not known here
		var r Vec
		for i := range r {
			for s := uint(0); s < 64; s += f.width {
				r[i] |= el(&e, f, dst[i]>>s&ones, src[i]>>s&ones) << s
			}
		}
		if !e.finish(mxcsr) {
			return false
		}
		*dst = r
		return true
	}
}

// quickEach applies q to every element, if it knows the result of each.
func quickEach(f *format, dst, src *Vec, q quickElement) (r Vec, inexact, ok bool) {
	ones := uint64(1)<<f.width - 1 // all 64 if the width is 64
	for i := range r {
		for s := uint(0); s < 64; s += f.width {
			v, rounded, known := q(dst[i]>>s&ones, src[i]>>s&ones)
			if !known {
				return r, false, false
			}
			r[i] |= v << s
			inexact = inexact || rounded
		}
	}
	return r, inexact, true
}

// compareEach is CMPPS, CMPSS, CMPPD or CMPSD.
func compareEach(f *format, scalar bool) Fn {
	return func(dst, src *Vec, imm uint8, mxcsr *uint32) bool {
		e := newEnv(*mxcsr)
		ones := uint64(1)<<f.width - 1 // all 64 if the width is 64
		r := *dst
		for shift := uint(0); shift < 128; shift += f.width {
			i, s := shift/64, shift%64
			r[i] &^= ones << s
			if e.compareElement(f, imm, dst[i]>>s&ones, src[i]>>s&ones) {
				r[i] |= ones << s
			}
			if scalar {
				break
			}
		}
		if !e.finish(mxcsr) {
			return false
		}
		*dst = r
		return true
	}
}

package fp

// Rounding modes, as MXCSR.RC and the x87's RC have them.
const (
	toNearest = iota
	down
	up
	toZero
)

// An env is what a computation takes from a control word and leaves for a
// status word.
type env struct {
	mode     uint8
	daz, ftz bool
	quick    bool  // SSE: the rounding mode and the masks are the common ones
	rewrap   bool  // x87: an unmasked over- or underflow delivers a scaled result
	masked   uint8 // exceptions that are masked

	// Flags of exceptions that are found before the computation (invalid,
	// denormal, divide by zero) and after. An unmasked one of the first kind
	// prevents the computation, hence those of the second kind.
	pre, post uint8
	roundedUp bool // the last rounding increased the magnitude
}

// rewrapBias scales x87 results (SDM vol. 1, 8.5.4 and 8.5.5).
const rewrapBias = 24576

// roundTop rounds hi:lo to the top keep bits of hi, 1 to 64. It can carry out
// of bit 63, and then gives 0.
func roundTop(neg bool, hi, lo uint64, keep uint, mode uint8) (sig uint64, inexact, increased bool) {
	half, rest := lo>>63, lo<<1
	unit := uint64(1)
	if keep < 64 {
		unit <<= 64 - keep
		half, rest = hi&(unit>>1), hi&(unit>>1-1)|lo
	}
	sig = hi &^ (unit - 1)
	if half|rest == 0 {
		return sig, false, false
	}
	switch mode {
	case toNearest:
		increased = half != 0 && (rest != 0 || sig&unit != 0)
	case down:
		increased = neg
	case up:
		increased = !neg
	}
	if increased {
		sig += unit
	}
	return sig, true, increased
}

// round gives w in format f, and raises overflow, underflow and precision.
// Tininess is detected after rounding.
func (e *env) round(f *format, w wide) number {
	e.roundedUp = false
	if w.isZero() {
		return number{kind: zero, neg: w.neg}
	}
	sig, inexact, increased := roundTop(w.neg, w.hi, w.lo, f.precision, e.mode)
	exp := w.exp
	if sig == 0 {
		sig, exp = 1<<63, exp+1
	}
	switch {
	case exp > f.emax:
		e.post |= flagOverflow
		if e.masked&flagOverflow != 0 {
			return e.overflow(f, w.neg)
		}
		if e.rewrap {
			if exp -= rewrapBias; exp > f.emax { // FSCALE gets that far
				e.post |= flagPrecision
				e.roundedUp = true
				return number{kind: infinite, neg: w.neg, sig: 1 << 63}
			}
		}
	case exp < f.emin:
		if e.masked&flagUnderflow != 0 {
			return e.underflow(f, w)
		}
		e.post |= flagUnderflow
		if e.rewrap {
			if exp += rewrapBias; exp < f.emin {
				e.post |= flagPrecision
				return number{kind: zero, neg: w.neg}
			}
		}
	case w.exp < f.emin: // rounded up to the smallest normal number
		n, _ := e.denormalize(f, w)
		return n
	}
	if inexact {
		e.post |= flagPrecision
		e.roundedUp = increased
	}
	return number{kind: finite, neg: w.neg, exp: exp, sig: sig}
}

// overflow gives the masked response to overflow.
func (e *env) overflow(f *format, neg bool) number {
	e.post |= flagPrecision
	if e.mode == toNearest || e.mode == down && neg || e.mode == up && !neg {
		e.roundedUp = true
		return number{kind: infinite, neg: neg, sig: 1 << 63}
	}
	return number{kind: finite, neg: neg, exp: f.emax, sig: ^uint64(0) << (64 - f.precision)}
}

// underflow gives the masked response to a tiny result.
func (e *env) underflow(f *format, w wide) number {
	if e.ftz {
		e.post |= flagUnderflow | flagPrecision
		return number{kind: zero, neg: w.neg}
	}
	n, inexact := e.denormalize(f, w)
	if inexact {
		e.post |= flagUnderflow
	}
	return n
}

// denormalize rounds to the multiples of the smallest denormal number.
func (e *env) denormalize(f *format, w wide) (n number, inexact bool) {
	hi, lo := shiftRight(w.hi, w.lo, uint(f.emin-w.exp))
	sig, inexact, increased := roundTop(w.neg, hi, lo, f.precision, e.mode)
	if inexact {
		e.post |= flagPrecision
		e.roundedUp = increased
	}
	n = number{kind: finite, neg: w.neg, exp: f.emin, sig: sig}
	if sig == 0 {
		n.kind = zero
	}
	return n, inexact
}

// integer rounds n, finite, to an integer magnitude. ok is false from 2^64.
func (e *env) integer(n number, mode uint8) (magnitude uint64, inexact, ok bool) {
	e.roundedUp = false
	if n.exp > 63 {
		return 0, false, false
	}
	hi, lo := shiftRight(n.sig, 0, uint(63-n.exp))
	magnitude, inexact, increased := roundTop(n.neg, hi, lo, 64, mode)
	e.roundedUp = increased
	return magnitude, inexact, true
}

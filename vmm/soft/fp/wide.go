package fp

import (
	"math"
	"math/bits"
)

// A wide is the real number ±hi:lo × 2^(exp-127), with bit 63 of hi set; or
// zero, with hi and lo zero. Its operations are exact, or leave a one in the
// lowest bit for what they drop ("sticky"), so that a result rounds to 64 bits
// or less as the exact one would, if the operands have lo = 0.
type wide struct {
	neg    bool
	exp    int32
	hi, lo uint64
}

func (a wide) isZero() bool { return a.hi == 0 }

func (a wide) negate() wide {
	a.neg = !a.neg
	return a
}

// scale gives a × 2^n.
func (a wide) scale(n int32) wide {
	a.exp += n
	return a
}

// shiftRight shifts hi:lo right by n, sticky.
func shiftRight(hi, lo uint64, n uint) (uint64, uint64) {
	switch {
	case n == 0:
		return hi, lo
	case n < 64:
		out := lo << (64 - n)
		return hi >> n, hi<<(64-n) | lo>>n | sticky(out)
	case n < 128:
		out := hi<<(128-n) | sticky(lo)
		if n == 64 {
			out = lo
		}
		return 0, hi>>(n-64) | sticky(out)
	}
	return 0, sticky(hi | lo)
}

func sticky(x uint64) uint64 {
	if x != 0 {
		return 1
	}
	return 0
}

// normalize makes a wide of ±hi:lo × 2^(exp-127) with any leading zeros.
func normalize(neg bool, exp int32, hi, lo uint64) wide {
	if hi == 0 {
		if lo == 0 {
			return wide{}
		}
		hi, lo, exp = lo, 0, exp-64
	}
	n := uint(bits.LeadingZeros64(hi))
	if n > 0 {
		hi, lo = hi<<n|lo>>(64-n), lo<<n
	}
	return wide{neg, exp - int32(n), hi, lo}
}

// add gives a+b. A sum of zero has no sign.
func (a wide) add(b wide) wide {
	if a.isZero() {
		return b
	}
	if b.isZero() {
		return a
	}
	if a.exp < b.exp || a.exp == b.exp && (a.hi < b.hi || a.hi == b.hi && a.lo < b.lo) {
		a, b = b, a
	}
	bhi, blo := shiftRight(b.hi, b.lo, uint(a.exp-b.exp))
	if a.neg != b.neg {
		lo, borrow := bits.Sub64(a.lo, blo, 0)
		hi, _ := bits.Sub64(a.hi, bhi, borrow)
		return normalize(a.neg, a.exp, hi, lo)
	}
	lo, carry := bits.Add64(a.lo, blo, 0)
	hi, carry := bits.Add64(a.hi, bhi, carry)
	if carry != 0 {
		return wide{a.neg, a.exp + 1, hi>>1 | 1<<63, hi<<63 | lo>>1 | lo&1}
	}
	return wide{a.neg, a.exp, hi, lo}
}

func (a wide) sub(b wide) wide { return a.add(b.negate()) }

// mul gives a×b, exact if the product has at most 128 bits.
func (a wide) mul(b wide) wide {
	if a.isZero() || b.isZero() {
		return wide{}
	}
	w3, w2 := bits.Mul64(a.hi, b.hi)
	var rest uint64
	if a.lo|b.lo != 0 {
		h1, l1 := bits.Mul64(a.hi, b.lo)
		h2, l2 := bits.Mul64(a.lo, b.hi)
		h0, l0 := bits.Mul64(a.lo, b.lo)
		var c uint64
		w1, c1 := bits.Add64(l1, l2, 0)
		w1, c2 := bits.Add64(w1, h0, 0)
		w2, c = bits.Add64(w2, h1, c1)
		w3 += c
		w2, c = bits.Add64(w2, h2, c2)
		w3 += c
		rest = w1 | l0
		if w3>>63 == 0 { // keep the bit that comes in below
			w3, w2, rest = w3<<1|w2>>63, w2<<1|w1>>63, w1<<1|l0
			return wide{a.neg != b.neg, a.exp + b.exp, w3, w2 | sticky(rest)}
		}
		return wide{a.neg != b.neg, a.exp + b.exp + 1, w3, w2 | sticky(rest)}
	}
	return normalize(a.neg != b.neg, a.exp+b.exp+1, w3, w2)
}

// div gives a/b. It is sticky if b.lo is zero, and else good to 125 bits. b is
// not zero.
func (a wide) div(b wide) wide {
	if a.isZero() {
		return wide{}
	}
	q := a.divTop(b)
	if b.lo != 0 {
		// a/(h+l) = a/h × (1 - l/h + ...)
		ratio := normalize(false, -64, b.lo, 0).divTop(wide{hi: b.hi})
		q = q.sub(q.mul(ratio))
	}
	return q
}

// divTop gives a/b without the low half of b.
func (a wide) divTop(b wide) wide {
	exp := a.exp - b.exp
	n2, n1, n0 := a.hi, a.lo, uint64(0)
	if n2 >= b.hi {
		n2, n1, n0 = n2>>1, n2<<63|n1>>1, n1<<63
	} else {
		exp--
	}
	q1, r := bits.Div64(n2, n1, b.hi)
	q0, r := bits.Div64(r, n0, b.hi)
	return wide{a.neg != b.neg, exp, q1, q0 | sticky(r)}
}

// sqrt gives the root of a, which is positive and has lo = 0; sticky.
func (a wide) sqrt() wide {
	// root² ≤ n, where n in [2^126, 2^128) is a × 2^126 over an even power of 2.
	hi, lo := a.hi>>1, a.hi<<63
	if a.exp&1 != 0 {
		hi, lo = a.hi, 0
	}
	root := uint64(math.MaxUint64)
	if guess := math.Sqrt(float64(hi)) * (1 << 32); guess < 1<<64 {
		root = uint64(guess)
	}
	if root > hi { // one step of Newton's method
		q, _ := bits.Div64(hi, lo, root)
		sum, carry := bits.Add64(root, q, 0)
		root = sum>>1 | carry<<63
	}
	for {
		h, l := bits.Mul64(root, root)
		if h < hi || h == hi && l <= lo {
			break
		}
		root--
	}
	for root != math.MaxUint64 {
		h, l := bits.Mul64(root+1, root+1)
		if h > hi || h == hi && l > lo {
			break
		}
		root++
	}
	h, l := bits.Mul64(root, root)
	rest, borrow := bits.Sub64(lo, l, 0)
	over, _ := bits.Sub64(hi, h, borrow)
	w := wide{exp: a.exp >> 1, hi: root}
	switch {
	case over != 0 || rest > root: // n ≥ (root + 1/2)²
		w.lo = 1<<63 | 1
	case rest != 0:
		w.lo = 1
	}
	return w
}

package fp

import "math/bits"

// binary computes f of ST(0) and ST(1), into ST(0), or with pop into ST(1)
// before popping ST(0). f gets no NaN and no unsupported encoding. ok is false
// if the result was not computed.
func (x *X87) binary(pop bool, f func(e *env, st0, st1 number) number) (ok bool) {
	destination := uint8(0)
	if pop {
		destination = 1
	}
	if x.empty(0) || x.empty(1) {
		if !x.stackFault(false) {
			return false
		}
		x.set(destination, indefinite80)
	} else {
		e := x.env()
		a, b := x.st(0).decode(), x.st(1).decode()
		r, special := e.propagate80(a, b)
		if !special {
			r = f(&e, a, b)
		}
		if !x.finish(&e) {
			return false
		}
		x.set(destination, r.encode80())
		ok = !special && e.pre&flagInvalid == 0
	}
	if pop {
		x.pop()
	}
	return ok
}

// remainder is FPREM, which truncates the quotient, or FPREM1, which rounds
// it to nearest. C2 says that the reduction is partial; else C0, C3 and C1
// have the low bits of the quotient.
func (x *X87) remainder(truncate bool) {
	codes := uint16(0)
	ok := x.binary(false, func(e *env, a, b number) number {
		if a.kind == infinite || b.kind == zero {
			return e.invalid()
		}
		e.noteDenormal(a, b)
		if a.kind == zero || b.kind == infinite {
			return e.exact(a)
		}
		d := int(a.exp - b.exp)
		if d >= 64 {
			// The reduction takes off 32 to 63 bits; how many is the
			// implementation's choice.
			n := 32 + d%32
			_, rest := divide(a.sig, b.sig, n)
			codes = swC2
			return e.exactWide(normalize(a.neg, b.exp+int32(d-n), rest, 0), a.neg)
		}
		q, r := e.reduce(a, b, d, truncate)
		codes = uint16(q>>2&1)*swC0 | uint16(q>>1&1)*swC3 | uint16(q&1)*swC1
		return r
	})
	x.SW &^= swC2
	if ok {
		x.SW = x.SW&^(swC0|swC1|swC3) | codes
	}
}

// divide gives the quotient and the remainder of a × 2^n by b, where bit 63 of
// both is set and n is 0 to 63.
func divide(a, b uint64, n int) (q, r uint64) {
	return bits.Div64(a>>1>>(63-n), a<<n, b)
}

// reduce gives the integer quotient and the remainder of a by b, whose
// exponents differ by d, less than 64.
func (e *env) reduce(a, b number, d int, truncate bool) (q uint64, r number) {
	var rest uint64
	switch {
	case d >= 0:
		q, rest = divide(a.sig, b.sig, d)
	case d == -1 && !truncate && a.sig > b.sig: // a > b/2: the quotient rounds to 1
		// The remainder, a - b, is in (-b/2, 0).
		w := b.magnitude().sub(a.magnitude())
		w.neg = !a.neg
		return 1, e.exactWide(w, a.neg)
	default:
		return 0, e.exact(a)
	}
	neg := a.neg
	if !truncate && (rest > b.sig-rest || rest == b.sig-rest && q&1 != 0) {
		rest, neg, q = b.sig-rest, !neg, q+1
	}
	return q, e.exactWide(normalize(neg, b.exp, rest, 0), a.neg)
}

func (n number) magnitude() wide { return wide{exp: n.exp, hi: n.sig} }

// exact delivers a result that needs no rounding, but may be tiny.
func (e *env) exact(n number) number {
	if n.kind != finite {
		return n
	}
	return e.round(extended, n.wide())
}

func (e *env) exactWide(w wide, zeroSign bool) number {
	if w.isZero() {
		return number{neg: zeroSign}
	}
	return e.round(extended, w)
}

// scale is FSCALE: ST(0) × 2^trunc(ST(1)).
func (x *X87) scale() {
	x.binary(false, func(e *env, a, b number) number {
		if b.kind == infinite && (b.neg && a.kind == infinite || !b.neg && a.kind == zero) {
			return e.invalid()
		}
		e.noteDenormal(a, b)
		switch {
		case b.kind == infinite && b.neg:
			return number{neg: a.neg}
		case b.kind == infinite:
			return number{kind: infinite, neg: a.neg, sig: 1 << 63}
		case a.kind != finite:
			return a
		}
		n := int32(0)
		if b.kind == finite && b.exp >= 0 {
			n = 1 << 17 // more than any two exponents differ
			if b.exp < 17 {
				n = int32(b.sig >> (63 - b.exp))
			}
			if b.neg {
				n = -n
			}
		}
		return e.round(extended, a.wide().scale(n))
	})
}

// extract is FXTRACT: the exponent to ST(0), then the significand is pushed.
func (x *X87) extract() {
	if x.empty(0) || !x.empty(7) {
		if x.stackFault(!x.empty(0)) {
			x.set(0, indefinite80)
			x.push(indefinite80)
		}
		return
	}
	e := x.env()
	n := x.st(0).decode()
	exponent, special := e.propagate80(n, n)
	significand := exponent
	if !special {
		significand = n
		switch n.kind {
		case zero:
			e.pre |= flagZero
			exponent = number{kind: infinite, neg: true, sig: 1 << 63}
		case infinite:
			exponent = number{kind: infinite, sig: 1 << 63}
		default:
			e.noteDenormal(n, n)
			exponent = integerNumber(int64(n.exp))
			significand.exp = 0
		}
	}
	if x.finish(&e) {
		x.set(0, exponent.encode80())
		x.push(significand.encode80())
	}
}

package fp

// The trigonometric instructions reduce by a π of 66 bits (SDM vol. 1,
// 8.3.8), as the processors of both makers do: near multiples of π their
// results differ from the mathematical ones.

// halfPi66 is that π over 2, times 2^65.
const halfPi66Hi, halfPi66Lo = 0x3, 0x243F6A8885A308D3

// reduceAngle gives |a| less n×π/2, at most π/4 in magnitude, and n mod 4.
// a.exp is less than 63.
func reduceAngle(a number) (r wide, quadrant uint8) {
	r = a.magnitude()
	if a.exp < -1 {
		return r, 0
	}
	// rest is in units of 2^-65, below 2^67.
	less := func(hi, lo uint64) bool {
		return hi < halfPi66Hi || hi == halfPi66Hi && lo < halfPi66Lo
	}
	var hi, lo uint64
	// Enter the bits of a, most significant first, and zeros after them.
	for i := int32(0); i < a.exp+66; i++ {
		hi = hi<<1 | lo>>63
		lo <<= 1
		if i < 64 {
			lo |= a.sig << i >> 63
		}
		quadrant <<= 1
		if !less(hi, lo) {
			quadrant |= 1
			lo, hi = lo-halfPi66Lo, hi-halfPi66Hi-borrow(lo, halfPi66Lo)
		}
	}
	r = normalize(false, 62, hi, lo)
	if !less(hi<<1|lo>>63, lo<<1) {
		r = r.sub(wide{exp: 0, hi: halfPi66Hi<<62 | halfPi66Lo>>2, lo: halfPi66Lo & 3 << 62})
		quadrant++
	}
	return r, quadrant & 3
}

func borrow(a, b uint64) uint64 {
	if a < b {
		return 1
	}
	return 0
}

// sinCosOf gives sine and cosine of a, finite.
func sinCosOf(a number) (sin, cos wide) {
	r, quadrant := reduceAngle(a)
	sin, cos = sineOf(r), cosineOf(r)
	if quadrant&1 != 0 {
		sin, cos = cos, sin.negate()
	}
	if quadrant&2 != 0 {
		sin, cos = sin.negate(), cos.negate()
	}
	if a.neg {
		sin = sin.negate()
	}
	return sin, cos
}

// sine and cosine of a finite number or zero.
func sine(e *env, n number) number {
	if n.kind == zero {
		return n
	}
	sin, _ := sinCosOf(n)
	return e.approximate(sin)
}

func cosine(e *env, n number) number {
	if n.kind == zero {
		return one
	}
	_, cos := sinCosOf(n)
	return e.approximate(cos)
}

func tangent(e *env, n number) number {
	if n.kind == zero {
		return n
	}
	if n.exp < -58 { // more than n by less than the quotient below would tell
		return e.approximate(n.wide())
	}
	sin, cos := sinCosOf(n)
	return e.approximate(sin.div(cos))
}

var one = number{kind: finite, sig: 1 << 63}

// outOfRange sets C2 and does nothing else from 2^63 on.
func (x *X87) outOfRange() bool {
	n := x.st(0).decode()
	if n.kind == finite && n.exp >= 63 {
		x.SW = x.SW&^swC1 | swC2
		return true
	}
	return false
}

// angle computes a function of ST(0), which is not empty.
func angle(e *env, n number, f func(*env, number) number) number {
	r, special := e.propagate80(n, n)
	switch {
	case special:
		return r
	case n.kind == infinite:
		return e.invalid()
	}
	e.noteDenormal(n, n)
	return f(e, n)
}

// trigonometric is FSIN and FCOS.
func (x *X87) trigonometric(f func(*env, number) number) {
	x.SW &^= swC2
	if x.empty(0) {
		if x.stackFault(false) {
			x.set(0, indefinite80)
		}
		return
	}
	if x.outOfRange() {
		return
	}
	e := x.env()
	r := angle(&e, x.st(0).decode(), f)
	if x.finish(&e) {
		x.set(0, r.encode80())
	}
}

// sinCos is FSINCOS: the sine to ST(0), then the cosine is pushed.
func (x *X87) sinCos() { x.anglePair(sine, cosine) }

// tan is FPTAN: the tangent to ST(0), then 1 is pushed.
func (x *X87) tan() {
	x.anglePair(tangent, func(*env, number) number { return one })
}

func (x *X87) anglePair(first, second func(*env, number) number) {
	x.SW &^= swC2
	if x.empty(0) || !x.empty(7) {
		if x.stackFault(!x.empty(0)) {
			x.set(0, indefinite80)
			x.push(indefinite80)
		}
		return
	}
	if x.outOfRange() {
		return
	}
	e := x.env()
	n := x.st(0).decode()
	a := angle(&e, n, first)
	b := angle(&e, n, second)
	if x.finish(&e) {
		x.set(0, a.encode80())
		x.push(b.encode80())
	}
}

// atan is FPATAN: the angle of the point (ST(0), ST(1)).
func (x *X87) atan() {
	x.binary(true, func(e *env, a, y number) number {
		e.noteDenormal(a, y)
		w, ok := angleOf(a, y)
		if !ok { // the positive x axis
			return number{neg: y.neg}
		}
		w.neg = y.neg
		return e.approximate(w)
	})
}

// angleOf gives the magnitude of the angle, or false if it is zero (SDM vol.
// 2, FPATAN).
func angleOf(x, y number) (w wide, ok bool) {
	switch {
	case y.kind == zero || x.kind == infinite && y.kind == finite:
		if !x.neg {
			return wide{}, false
		}
		return pi, true
	case x.kind == infinite && y.kind == infinite:
		w = pi.scale(-2)
	case x.kind == zero || y.kind == infinite:
		return pi.scale(-1), true
	default:
		a, b := x.magnitude(), y.magnitude()
		if magnitudeOrder(x, y) >= 0 {
			w = arctangent(b.div(a))
		} else {
			w = pi.scale(-1).sub(arctangent(a.div(b)))
		}
	}
	if x.neg {
		w = pi.sub(w)
	}
	return w, true
}

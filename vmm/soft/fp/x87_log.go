package fp

// loadConstant pushes a constant, rounded as RC says, without flags.
func (x *X87) loadConstant(w wide) {
	e := x.env()
	x.loadRaw(e.round(extended, w).encode80())
}

// exp2m1 is F2XM1. The result for operands beyond ±1 is not defined; like
// processors do, it gives the operand.
func exp2m1(e *env, n number) number {
	switch {
	case n.kind == zero || n.kind == infinite && !n.neg:
		return n
	case n.kind == infinite:
		return number{kind: finite, neg: true, sig: 1 << 63}
	}
	e.noteDenormal(n, n)
	if n.exp < 0 {
		return e.approximate(expm1(n.wide().mul(logOf2)))
	}
	e.post |= flagPrecision
	if n.neg && n.exp == 0 && n.sig == 1<<63 { // 2^-1 - 1
		n.exp = -1
	}
	return n
}

// approximate rounds what cannot be exact.
func (e *env) approximate(w wide) number {
	w.lo |= 1
	return e.round(extended, w)
}

// yLog2X is FYL2X: ST(1) × log2 ST(0).
func (x *X87) yLog2X() {
	x.binary(true, func(e *env, a, y number) number {
		unity := a.kind == finite && !a.neg && a.exp == 0 && a.sig == 1<<63
		switch {
		case a.neg && a.kind != zero,
			a.kind != finite && y.kind == zero,
			unity && y.kind == infinite:
			return e.invalid()
		case a.kind == zero && y.kind != infinite:
			e.pre |= flagZero
			return number{kind: infinite, neg: !y.neg, sig: 1 << 63}
		}
		e.noteDenormal(a, y)
		return e.timesLog(y, a.kind == zero || a.kind == finite && a.exp < 0, unity, a.kind != finite,
			func() wide { return log2(a.wide()) })
	})
}

// yLog2XPlus1 is FYL2XP1: ST(1) × log2(ST(0) + 1). The result is defined if
// |ST(0)| ≤ 1 - √½.
func (x *X87) yLog2XPlus1() {
	x.binary(true, func(e *env, a, y number) number {
		switch {
		case a.kind == zero && y.kind == infinite,
			a.kind == infinite && (a.neg || y.kind == zero):
			return e.invalid()
		}
		e.noteDenormal(a, y)
		if a.kind == finite && a.neg && a.exp >= 0 && y.kind == finite { // no logarithm
			e.post |= flagPrecision
			return a
		}
		return e.timesLog(y, a.neg, a.kind == zero, a.kind == infinite, func() wide {
			if a.exp < -2 {
				return log2Plus1(a.wide())
			}
			return log2(a.wide().add(constantOne))
		})
	})
}

// timesLog multiplies y with a logarithm, of which it knows whether it is
// negative, zero or infinite before it computes it.
func (e *env) timesLog(y number, neg, isZero, isInfinite bool, log func() wide) number {
	neg = neg != y.neg
	switch {
	case y.kind == zero || isZero:
		return number{neg: neg}
	case y.kind == infinite || isInfinite:
		return number{kind: infinite, neg: neg, sig: 1 << 63}
	}
	r := e.round(extended, y.wide().mul(log()))
	e.post |= flagPrecision // even for exact logarithms
	if r.sig>>63 == 0 {
		e.post |= flagUnderflow
	}
	return r
}

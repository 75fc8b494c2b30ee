package fp

// The operations that IEEE 754 defines, on operands that are not NaN, as SSE
// and the x87 share them. All raise what the operands call for; a raised
// invalid operation gives the indefinite NaN.

type operation uint8

const (
	opAdd operation = iota
	opSub
	opMul
	opDiv
	opSqrt // of the second operand; the first is ignored
)

func (e *env) invalid() number {
	e.pre |= flagInvalid
	e.roundedUp = false
	return indefinite
}

func (e *env) noteDenormal(a, b number) {
	if a.denormal || b.denormal {
		e.pre |= flagDenormal
	}
}

// compute gives a op b, rounded to f.
func (e *env) compute(op operation, f *format, a, b number) number {
	e.roundedUp = false
	switch op {
	case opAdd:
		return e.add(f, a, b)
	case opSub:
		b.neg = !b.neg
		return e.add(f, a, b)
	case opMul:
		return e.mul(f, a, b)
	case opDiv:
		return e.div(f, a, b)
	}
	return e.sqrt(f, b)
}

func (e *env) add(f *format, a, b number) number {
	if a.kind == infinite && b.kind == infinite && a.neg != b.neg {
		return e.invalid()
	}
	e.noteDenormal(a, b)
	switch {
	case a.kind == infinite:
		return a
	case b.kind == infinite:
		return b
	case a.kind == zero && b.kind == zero && a.neg == b.neg:
		return a
	case a.kind == zero && b.kind == zero:
		return number{neg: e.mode == down}
	case a.kind == zero:
		return e.round(f, b.wide())
	case b.kind == zero:
		return e.round(f, a.wide())
	}
	w := a.wide().add(b.wide())
	if w.isZero() {
		w.neg = e.mode == down
	}
	return e.round(f, w)
}

func (e *env) mul(f *format, a, b number) number {
	if a.kind == infinite && b.kind == zero || a.kind == zero && b.kind == infinite {
		return e.invalid()
	}
	e.noteDenormal(a, b)
	neg := a.neg != b.neg
	switch {
	case a.kind == infinite || b.kind == infinite:
		return number{kind: infinite, neg: neg, sig: 1 << 63}
	case a.kind == zero || b.kind == zero:
		return number{neg: neg}
	}
	return e.round(f, a.wide().mul(b.wide()))
}

func (e *env) div(f *format, a, b number) number {
	if a.kind == b.kind && a.kind != finite {
		return e.invalid()
	}
	neg := a.neg != b.neg
	if a.kind == finite && b.kind == zero {
		e.pre |= flagZero
		return number{kind: infinite, neg: neg, sig: 1 << 63}
	}
	e.noteDenormal(a, b)
	switch {
	case a.kind == infinite:
		return number{kind: infinite, neg: neg, sig: 1 << 63}
	case a.kind == zero || b.kind == infinite:
		return number{neg: neg}
	}
	return e.round(f, a.wide().div(b.wide()))
}

func (e *env) sqrt(f *format, a number) number {
	if a.neg && a.kind != zero {
		return e.invalid()
	}
	e.noteDenormal(a, a)
	if a.kind != finite {
		return a
	}
	return e.round(f, a.wide().sqrt())
}

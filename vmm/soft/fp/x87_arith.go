package fp

// arithmetic computes destination op source, or with reversed source op
// destination, into ST(i); the reg field of the opcode selects the operation
// (SDM vol. 2, A.5): add, mul, com, comp, sub, subr, div, divr.
func (x *X87) arithmetic(reg, i uint8, source number) bool {
	op, reversed := operation(opAdd), false
	switch reg {
	case 1:
		op = opMul
	case 4:
		op = opSub
	case 5:
		op, reversed = opSub, true
	case 6:
		op = opDiv
	case 7:
		op, reversed = opDiv, true
	}
	a, b := x.st(i).decode(), source
	if reversed {
		a, b = b, a
	}
	e := x.env()
	r, special := e.propagate80(a, b)
	if !special {
		r = e.compute(op, x.precision(), a, b)
	}
	if !x.finish(&e) {
		return false
	}
	x.set(i, r.encode80())
	return true
}

// registers computes on ST(0) and ST(i), into ST(destination), which is one
// of them.
func (x *X87) registers(reg, i, destination uint8, pop bool) {
	done := false
	if x.empty(0) || x.empty(i) {
		if done = x.stackFault(false); done {
			x.set(destination, indefinite80)
		}
	} else {
		done = x.arithmetic(reg, destination, x.st(i-destination).decode())
	}
	if done && pop {
		x.pop()
	}
}

// withMemory computes on ST(0) and a memory operand, or compares them.
func (x *X87) withMemory(reg uint8, source number) {
	switch {
	case reg == 2 || reg == 3:
		if x.compare(!x.empty(0), source, true) && reg == 3 {
			x.pop()
		}
	case x.empty(0):
		if x.stackFault(false) {
			x.set(0, indefinite80)
		}
	default:
		x.arithmetic(reg, 0, source)
	}
}

// unary replaces ST(0) by f of it; f gets no NaN and no unsupported encoding.
func (x *X87) unary(f func(e *env, n number) number) {
	if x.empty(0) {
		if x.stackFault(false) {
			x.set(0, indefinite80)
		}
		return
	}
	e := x.env()
	n := x.st(0).decode()
	r, special := e.propagate80(n, n)
	if !special {
		r = f(&e, n)
	}
	if x.finish(&e) {
		x.set(0, r.encode80())
	}
}

// signBit sets the sign bit of ST(0) to what f makes of it: FCHS, FABS.
func (x *X87) signBit(f func(se uint16) uint16) {
	if x.empty(0) {
		if x.stackFault(false) {
			x.set(0, indefinite80)
		}
		return
	}
	x.SW &^= swC1
	x.st(0).SE = f(x.st(0).SE)
}

func (x *X87) sqrt() {
	f := x.precision()
	x.unary(func(e *env, n number) number { return e.compute(opSqrt, f, number{}, n) })
}

// roundToInteger is FRNDINT.
func roundToInteger(e *env, n number) number {
	if n.kind != finite {
		return n
	}
	e.noteDenormal(n, n)
	if n.exp >= 63 {
		return n
	}
	magnitude, inexact, _ := e.integer(n, e.mode)
	if inexact {
		e.post |= flagPrecision
	}
	w := normalize(n.neg, 63, magnitude, 0)
	if magnitude == 0 {
		return number{neg: n.neg}
	}
	return number{kind: finite, neg: n.neg, exp: w.exp, sig: w.hi}
}

// exchange is FXCH.
func (x *X87) exchange(i uint8) {
	if x.empty(0) || x.empty(i) {
		if !x.stackFault(false) {
			return
		}
		for _, j := range []uint8{0, i} {
			if x.empty(j) {
				x.set(j, indefinite80)
			}
		}
	} else {
		x.SW &^= swC1
	}
	a, b := *x.st(0), *x.st(i)
	*x.st(0), *x.st(i) = b, a
}

// move is FCMOVcc.
func (x *X87) move(i uint8, condition bool) {
	switch {
	case x.empty(0) || x.empty(i):
		if x.stackFault(false) {
			x.set(0, indefinite80)
		}
	case condition:
		x.set(0, *x.st(i))
	}
}

package fp

// relate compares ST(0) with a source. Any NaN raises invalid if signaling,
// else a signaling one or an unsupported encoding. ok is false if an exception
// is unmasked: nothing is popped, and for invalid the result is not set. (SDM
// vol. 2, FCOM and FCOMI, condition codes. AMD's processors set it.)
func (x *X87) relate(inUse bool, source number, signaling bool) (r relation, set, ok bool) {
	if !inUse {
		ok = x.stackFault(false)
		return unordered, ok, ok
	}
	a, b := x.st(0).decode(), source
	if a.kind == unsupported || b.kind == unsupported {
		a.kind = signalingNaN
	}
	e := x.env()
	r = e.compare(a, b, signaling)
	ok = x.finish(&e)
	return r, ok || r != unordered, ok
}

// compare sets C3, C2 and C0.
func (x *X87) compare(inUse bool, source number, signaling bool) (ok bool) {
	r, set, ok := x.relate(inUse, source, signaling)
	if set {
		x.SW &^= swC3 | swC2 | swC0
		x.SW |= [...]uint16{less: swC0, equal: swC3, greater: 0, unordered: swC3 | swC2 | swC0}[r]
	}
	return ok
}

// compareStack compares ST(0) with ST(i).
func (x *X87) compareStack(i uint8, signaling bool, pops int) {
	if x.compare(!x.empty(0) && !x.empty(i), x.st(i).decode(), signaling) {
		for range pops {
			x.pop()
		}
	}
}

// compareFlags is FCOMI and its kin.
func (x *X87) compareFlags(i uint8, signaling bool, pops int, flags *Flags) {
	r, set, ok := x.relate(!x.empty(0) && !x.empty(i), x.st(i).decode(), signaling)
	if set {
		*flags = Flags{CF: r == less || r == unordered, PF: r == unordered, ZF: r == equal || r == unordered}
	}
	if ok {
		for range pops {
			x.pop()
		}
	}
}

// examine is FXAM (SDM vol. 2).
func (x *X87) examine() {
	x.SW &^= swC3 | swC2 | swC1 | swC0
	v := *x.st(0)
	if v.SE>>15 != 0 {
		x.SW |= swC1
	}
	n := v.decode()
	switch {
	case x.empty(0):
		x.SW |= swC3 | swC0
	case n.kind == zero:
		x.SW |= swC3
	case n.denormal:
		x.SW |= swC3 | swC2
	case n.kind == finite:
		x.SW |= swC2
	case n.kind == infinite:
		x.SW |= swC2 | swC0
	case n.isNaN():
		x.SW |= swC0
	}
}

package fp

// relate compares ST(i) with a source, for EFLAGS or the condition codes. ok
// is false if an unmasked exception prevents the instruction. Any NaN raises
// invalid if signaling, else a signaling one or an unsupported encoding.
func (x *X87) relate(i uint8, inUse bool, source number, signaling bool) (r relation, ok bool) {
	if !inUse {
		return unordered, x.stackFault(false)
	}
	a, b := x.st(i).decode(), source
	if a.kind == unsupported || b.kind == unsupported {
		a.kind = signalingNaN
	}
	e := x.env()
	r = e.compare(a, b, signaling)
	return r, x.finish(&e)
}

// compare sets C3, C2 and C0 (SDM vol. 2, FCOM).
func (x *X87) compare(i uint8, inUse bool, source number, signaling bool) bool {
	r, ok := x.relate(i, inUse, source, signaling)
	if ok {
		x.SW &^= swC3 | swC2 | swC0
		x.SW |= [...]uint16{less: swC0, equal: swC3, greater: 0, unordered: swC3 | swC2 | swC0}[r]
	}
	return ok
}

// compareStack compares ST(0) with ST(i).
func (x *X87) compareStack(i uint8, signaling bool, pops int) {
	if x.compare(0, !x.empty(0) && !x.empty(i), x.st(i).decode(), signaling) {
		for range pops {
			x.pop()
		}
	}
}

// compareFlags is FCOMI and its kin.
func (x *X87) compareFlags(i uint8, signaling bool, pops int, flags *Flags) {
	r, ok := x.relate(0, !x.empty(0) && !x.empty(i), x.st(i).decode(), signaling)
	if !ok {
		return
	}
	*flags = Flags{CF: r == less || r == unordered, PF: r == unordered, ZF: r == equal || r == unordered}
	for range pops {
		x.pop()
	}
}

// examine is FXAM (SDM vol. 2, table 3-42).
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

package fp

import "math"

// The common cases go through the host's arithmetic, which IEEE 754 defines
// to the bit for rounding to nearest: operands and result are normal or zero,
// and all exceptions are masked. Then only precision can be raised.

// allowsQuick says whether MXCSR does.
func allowsQuick(mxcsr uint32) bool { return mxcsr&(mxcsrRC|mxcsrMasks) == mxcsrMasks }

// A quickElement computes one element, or says that it is no common case.
type quickElement func(a, b uint64) (r uint64, inexact, ok bool)

// plain64 and plain32: b is a normal number or zero.
func plain64(b uint64) bool { return b>>52&0x7FF-1 < 0x7FE || b<<1 == 0 }
func plain32(b uint32) bool { return b>>23&0xFF-1 < 0xFE || b<<1 == 0 }

// middling64 and middling32: b has room above, and below for the error of a
// product or a remainder.
func middling64(b uint64) bool { return b>>52&0x7FF-128 < 0x7FF-2*128 }
func middling32(b uint32) bool { return b>>23&0xFF-2 < 0xFF-4 }

func quickAdd64(a, b uint64) (r uint64, inexact, ok bool) {
	x, y := math.Float64frombits(a), math.Float64frombits(b)
	sum := x + y
	r = math.Float64bits(sum)
	// The error is a number, by Knuth's sum of two.
	v := sum - x
	e := (x - (sum - v)) + (y - v)
	return r, e != 0, plain64(a) && plain64(b) && (middling64(r) || sum == 0)
}

func quickSub64(a, b uint64) (r uint64, inexact, ok bool) { return quickAdd64(a, b^1<<63) }

func quickMul64(a, b uint64) (r uint64, inexact, ok bool) {
	x, y := math.Float64frombits(a), math.Float64frombits(b)
	p := x * y
	r = math.Float64bits(p)
	return r, math.FMA(x, y, -p) != 0, plain64(a) && plain64(b) && (middling64(r) || x == 0 || y == 0)
}

func quickDiv64(a, b uint64) (r uint64, inexact, ok bool) {
	x, y := math.Float64frombits(a), math.Float64frombits(b)
	q := x / y
	r = math.Float64bits(q)
	return r, math.FMA(-q, y, x) != 0, middling64(a) && plain64(b) && middling64(r)
}

func quickSqrt64(_, b uint64) (r uint64, inexact, ok bool) {
	x := math.Float64frombits(b)
	root := math.Sqrt(x)
	return math.Float64bits(root), math.FMA(-root, root, x) != 0, b>>63 == 0 && middling64(b)
}

func quickAdd32(a, b uint64) (r uint64, inexact, ok bool) {
	x, y := math.Float32frombits(uint32(a)), math.Float32frombits(uint32(b))
	sum := x + y
	bits := math.Float32bits(sum)
	v := sum - x
	e := (x - (sum - v)) + (y - v)
	return uint64(bits), e != 0, plain32(uint32(a)) && plain32(uint32(b)) && (middling32(bits) || sum == 0)
}

func quickSub32(a, b uint64) (r uint64, inexact, ok bool) { return quickAdd32(a, b^1<<31) }

// Products of two singles are exact doubles, and what IEEE 754 operations on
// singles give as doubles rounds to what they give as singles.

func quickMul32(a, b uint64) (r uint64, inexact, ok bool) {
	x, y := float64(math.Float32frombits(uint32(a))), float64(math.Float32frombits(uint32(b)))
	p := x * y
	bits := math.Float32bits(float32(p))
	return uint64(bits), float64(float32(p)) != p, plain32(uint32(a)) && plain32(uint32(b)) && (middling32(bits) || p == 0)
}

func quickDiv32(a, b uint64) (r uint64, inexact, ok bool) {
	x, y := math.Float32frombits(uint32(a)), math.Float32frombits(uint32(b))
	q := x / y
	bits := math.Float32bits(q)
	return uint64(bits), float64(q)*float64(y) != float64(x), plain32(uint32(a)) && plain32(uint32(b)) && middling32(bits)
}

func quickSqrt32(_, b uint64) (r uint64, inexact, ok bool) {
	x := float64(math.Float32frombits(uint32(b)))
	root := float32(math.Sqrt(x))
	return uint64(math.Float32bits(root)), float64(root)*float64(root) != x, b>>31 == 0 && middling32(uint32(b))
}

func quickMin64(a, b uint64) (r uint64, inexact, ok bool) {
	r = b
	if math.Float64frombits(a) < math.Float64frombits(b) {
		r = a
	}
	return r, false, plain64(a) && plain64(b)
}

func quickMax64(a, b uint64) (r uint64, inexact, ok bool) {
	r = b
	if math.Float64frombits(a) > math.Float64frombits(b) {
		r = a
	}
	return r, false, plain64(a) && plain64(b)
}

func quickMin32(a, b uint64) (r uint64, inexact, ok bool) {
	r = b
	if math.Float32frombits(uint32(a)) < math.Float32frombits(uint32(b)) {
		r = a
	}
	return r, false, plain32(uint32(a)) && plain32(uint32(b))
}

func quickMax32(a, b uint64) (r uint64, inexact, ok bool) {
	r = b
	if math.Float32frombits(uint32(a)) > math.Float32frombits(uint32(b)) {
		r = a
	}
	return r, false, plain32(uint32(a)) && plain32(uint32(b))
}

func quickNarrow(b uint64) (r uint64, inexact, ok bool) {
	x := math.Float64frombits(b)
	bits := math.Float32bits(float32(x))
	return uint64(bits), float64(float32(x)) != x, middling32(bits) || x == 0
}

func quickWiden(b uint64) (r uint64, inexact, ok bool) {
	return math.Float64bits(float64(math.Float32frombits(uint32(b)))), false, plain32(uint32(b))
}

// quickInteger truncates a double, or rounds it to nearest, if the result is
// below limit in magnitude.
func quickInteger(b uint64, trunc bool, limit float64) (v int64, inexact, ok bool) {
	x := math.Float64frombits(b)
	y := x
	if !trunc {
		y = math.RoundToEven(x)
	}
	if !(math.Abs(y) < limit) || !plain64(b) {
		return 0, false, false
	}
	v = int64(y)
	return v, float64(v) != x, true
}

// quickCompare needs no more than that neither operand is a NaN or denormal.
func quickCompare(f *format, a, b uint64) (r relation, ok bool) {
	var x, y float64
	if f == single {
		x, y = float64(math.Float32frombits(uint32(a))), float64(math.Float32frombits(uint32(b)))
		ok = plain32(uint32(a)) && plain32(uint32(b))
	} else {
		x, y = math.Float64frombits(a), math.Float64frombits(b)
		ok = plain64(a) && plain64(b)
	}
	switch {
	case x < y:
		r = less
	case x > y:
		r = greater
	default:
		r = equal
	}
	return r, ok
}

// precision is the flag.
func precision(inexact bool) uint32 {
	if inexact {
		return flagPrecision
	}
	return 0
}

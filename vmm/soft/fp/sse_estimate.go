package fp

import "math"

// The architecture only bounds the error of RCPSS, RSQRTSS and their packed
// forms, by 1.5 × 2^-12 of the result. They raise no exceptions and ignore
// MXCSR: a denormal operand counts as zero, and a tiny result becomes zero.

func reciprocal(b uint32) uint32 {
	return estimate(b, func(x float64) float64 { return 1 / x })
}

func reciprocalRoot(b uint32) uint32 {
	return estimate(b, func(x float64) float64 {
		switch {
		case x == 0:
			return 1 / x
		case x < 0:
			return math.NaN()
		}
		return 1 / math.Sqrt(x)
	})
}

func estimate(b uint32, f func(float64) float64) uint32 {
	const sign, exponent, quiet = 1 << 31, 0xFF << 23, 1 << 22
	if b&exponent == 0 {
		b &= sign
	}
	x := math.Float32frombits(b)
	if x != x {
		return b | quiet
	}
	r := float32(f(float64(x)))
	if r != r {
		return sign | exponent | quiet
	}
	b = math.Float32bits(r)
	if b&exponent == 0 {
		b &= sign
	}
	return b
}

// estimates is the Fn of f on four elements, or if scalar on the lowest.
func estimates(scalar bool, f func(uint32) uint32) Fn {
	if scalar {
		return func(dst, src *Vec, _ uint8, _ *uint32) bool {
			dst[0] = dst[0]>>32<<32 | uint64(f(uint32(src[0])))
			return true
		}
	}
	return func(dst, src *Vec, _ uint8, _ *uint32) bool {
		for i, v := range src {
			dst[i] = uint64(f(uint32(v))) | uint64(f(uint32(v>>32)))<<32
		}
		return true
	}
}

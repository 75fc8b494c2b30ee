package fp

// Transcendental functions on wides, with an error near 2^-120 of the result:
// what they round to is the nearest number but for a case in 2^50 or so.

// Constants to 128 bits.
var (
	log2Of10 = wide{exp: 1, hi: 0xd49a784bcd1b8afe, lo: 0x492bf6ff4dafdb4d}
	log2OfE  = wide{exp: 0, hi: 0xb8aa3b295c17f0bb, lo: 0xbe87fed0691d3e89}
	pi       = wide{exp: 1, hi: 0xc90fdaa22168c234, lo: 0xc4c6628b80dc1cd1}
	log10Of2 = wide{exp: -2, hi: 0x9a209a84fbcff798, lo: 0x8f8959ac0b7c9178}
	logOf2   = wide{exp: -1, hi: 0xb17217f7d1cf79ab, lo: 0xc9e3b39803f2f6af}

	constantOne = wide{hi: 1 << 63}
)

// small makes a wide of a positive integer.
func small(n int) wide { return normalize(false, 63, uint64(n), 0) }

// alternating gives 1 - s/(n(n+1)) × (1 - s/((n+2)(n+3)) × ...), where s is
// the square of a number of at most 0.8.
func alternating(s wide, n int) wide {
	r := constantOne
	for k := n + 34; k >= n; k -= 2 {
		r = constantOne.sub(r.mul(s).div(small(k * (k + 1))))
	}
	return r
}

// sineOf and cosineOf take |a| ≤ π/4.
func sineOf(a wide) wide   { return a.mul(alternating(a.mul(a), 2)) }
func cosineOf(a wide) wide { return alternating(a.mul(a), 1) }

// expm1 gives e^a - 1 for |a| ≤ 0.7.
func expm1(a wide) wide {
	r := constantOne
	for k := 36; k >= 2; k-- {
		r = constantOne.add(r.mul(a).div(small(k)))
	}
	return r.mul(a)
}

// powers gives the sum of s^k/(2k+1) for the terms that matter if |s| ≤ 0.18.
func powers(s wide) wide {
	r := wide{}
	for k := 52; k >= 0; k-- {
		r = r.mul(s).add(constantOne.div(small(2*k + 1)))
	}
	return r
}

// arctangent takes 0 < a ≤ 1.
func arctangent(a wide) wide {
	if tangentOfEighth := (wide{exp: -2, hi: 0xd413cccfe7799211}); a.sub(tangentOfEighth).neg {
		return a.mul(powers(a.mul(a).negate()))
	}
	// atan a = π/4 + atan((a-1)/(a+1))
	z := a.sub(constantOne).div(a.add(constantOne))
	return pi.scale(-2).add(z.mul(powers(z.mul(z).negate())))
}

// log2 of a, which is positive.
func log2(a wide) wide {
	k := a.exp
	a.exp = 0
	if a.hi >= 0xB504F333F9DE6484 { // the root of 2
		a.exp, k = -1, k+1
	}
	r := log2Plus1(a.sub(constantOne))
	w := normalize(k < 0, 63, uint64(max(k, -k)), 0)
	return w.add(r)
}

// log2Plus1 gives the base 2 logarithm of 1+a, for -0.3 < a < 0.42.
func log2Plus1(a wide) wide {
	z := a.div(a.add(small(2)))
	return z.scale(1).mul(powers(z.mul(z))).mul(log2OfE)
}

package fp

// Instructions on XMM registers that raise no exceptions: the packed integer
// ones, and those that move, merge or combine bits.

func init() {
	add := func(prefix int, opcode byte, name string, imm bool, fn Fn) {
		opTable[prefix][opcode] = &Op{Name: name, Mem: 16, Aligned: true, Imm: imm, Fn: fn}
	}
	for _, p := range lanewise {
		add(prefix66, p.opcode, p.name, false, onHalves(p.fn))
	}
	for _, p := range packs {
		add(prefix66, p.opcode, p.name, false, func(dst, src *Vec, _ uint8, _ *uint32) bool {
			*dst = Vec{p.fn(dst[0], dst[1]), p.fn(src[0], src[1])}
			return true
		})
	}
	for _, u := range unpacks {
		half := 0
		if u.high {
			half = 1
		}
		add(prefix66, u.opcode, u.name, false, func(dst, src *Vec, _ uint8, _ *uint32) bool {
			d, s := dst[half], src[half]
			*dst = Vec{interleave(d, s, u.width), interleave(d>>32, s>>32, u.width)}
			return true
		})
	}
	for _, s := range shifts {
		add(prefix66, s.opcode, s.name, false, func(dst, src *Vec, _ uint8, _ *uint32) bool {
			count := src[0]
			*dst = Vec{s.fn(dst[0], count), s.fn(dst[1], count)}
			return true
		})
		groupTable[s.group-0x71][s.reg] = &Op{Name: s.name, Imm: true,
			Fn: func(dst, _ *Vec, imm uint8, _ *uint32) bool {
				*dst = Vec{s.fn(dst[0], uint64(imm)), s.fn(dst[1], uint64(imm))}
				return true
			}}
	}
	groupTable[2][3] = &Op{Name: "psrldq", Imm: true, Fn: psrldq}
	groupTable[2][7] = &Op{Name: "pslldq", Imm: true, Fn: pslldq}
	add(prefix66, 0x6C, "punpcklqdq", false, unpackLow64)
	add(prefix66, 0x6D, "punpckhqdq", false, unpackHigh64)
	add(prefix66, 0x70, "pshufd", true, pshufd)
	add(prefixF3, 0x70, "pshufhw", true, pshufhw)
	add(prefixF2, 0x70, "pshuflw", true, pshuflw)
	// The commonest ones, without the indirect calls.
	opTable[prefix66][0x74].Fn = pcmpeqb
	opTable[prefix66][0xDA].Fn = pminub
	opTable[prefix66][0xDB].Fn = and
	opTable[prefix66][0xDF].Fn = andn
	opTable[prefix66][0xEB].Fn = or
	opTable[prefix66][0xEF].Fn = xor
	opTable[prefix66][0xD4].Fn = paddq
	opTable[prefix66][0xFE].Fn = paddd

	for _, prefix := range []int{prefixNone, prefix66} {
		suffix := map[int]string{prefixNone: "ps", prefix66: "pd"}[prefix]
		add(prefix, 0x54, "and"+suffix, false, and)
		add(prefix, 0x55, "andn"+suffix, false, andn)
		add(prefix, 0x56, "or"+suffix, false, or)
		add(prefix, 0x57, "xor"+suffix, false, xor)
	}
	add(prefixNone, 0x14, "unpcklps", false, opTable[prefix66][0x62].Fn)
	add(prefixNone, 0x15, "unpckhps", false, opTable[prefix66][0x6A].Fn)
	add(prefixNone, 0xC6, "shufps", true, shufps)
	add(prefix66, 0x14, "unpcklpd", false, unpackLow64)
	add(prefix66, 0x15, "unpckhpd", false, unpackHigh64)
	add(prefix66, 0xC6, "shufpd", true, shufpd)
}

// onHalves applies f to both halves.
func onHalves(f func(a, b uint64) uint64) Fn {
	return func(dst, src *Vec, _ uint8, _ *uint32) bool {
		*dst = Vec{f(dst[0], src[0]), f(dst[1], src[1])}
		return true
	}
}

func and(dst, src *Vec, _ uint8, _ *uint32) bool {
	*dst = Vec{dst[0] & src[0], dst[1] & src[1]}
	return true
}

func andn(dst, src *Vec, _ uint8, _ *uint32) bool {
	*dst = Vec{src[0] &^ dst[0], src[1] &^ dst[1]}
	return true
}

func or(dst, src *Vec, _ uint8, _ *uint32) bool {
	*dst = Vec{dst[0] | src[0], dst[1] | src[1]}
	return true
}

func xor(dst, src *Vec, _ uint8, _ *uint32) bool {
	*dst = Vec{dst[0] ^ src[0], dst[1] ^ src[1]}
	return true
}

func paddq(dst, src *Vec, _ uint8, _ *uint32) bool {
	*dst = Vec{dst[0] + src[0], dst[1] + src[1]}
	return true
}

func paddd(dst, src *Vec, _ uint8, _ *uint32) bool {
	*dst = Vec{lane32.add(dst[0], src[0]), lane32.add(dst[1], src[1])}
	return true
}

func pcmpeqb(dst, src *Vec, _ uint8, _ *uint32) bool {
	*dst = Vec{lane8.equal(dst[0], src[0]), lane8.equal(dst[1], src[1])}
	return true
}

func pminub(dst, src *Vec, _ uint8, _ *uint32) bool {
	*dst = Vec{lane8.minU(dst[0], src[0]), lane8.minU(dst[1], src[1])}
	return true
}

func unpackLow64(dst, src *Vec, _ uint8, _ *uint32) bool {
	dst[1] = src[0]
	return true
}

func unpackHigh64(dst, src *Vec, _ uint8, _ *uint32) bool {
	*dst = Vec{dst[1], src[1]}
	return true
}

func psrldq(dst, _ *Vec, imm uint8, _ *uint32) bool {
	n := 8 * min(uint(imm), 16)
	if n < 64 {
		*dst = Vec{dst[0]>>n | dst[1]<<(64-n), dst[1] >> n}
	} else {
		*dst = Vec{dst[1] >> (n - 64)}
	}
	return true
}

func pslldq(dst, _ *Vec, imm uint8, _ *uint32) bool {
	n := 8 * min(uint(imm), 16)
	if n < 64 {
		*dst = Vec{dst[0] << n, dst[1]<<n | dst[0]>>(64-n)}
	} else {
		*dst = Vec{0, dst[0] << (n - 64)}
	}
	return true
}

// element32 gives element i, 0 to 3, of v.
func element32(v *Vec, i uint8) uint64 { return lowHalf(v[i>>1&1] >> (i & 1 * 32)) }

func pshufd(dst, src *Vec, imm uint8, _ *uint32) bool {
	*dst = Vec{
		pair(element32(src, imm&3), element32(src, imm>>2&3)),
		pair(element32(src, imm>>4&3), element32(src, imm>>6)),
	}
	return true
}

func shufps(dst, src *Vec, imm uint8, _ *uint32) bool {
	*dst = Vec{
		pair(element32(dst, imm&3), element32(dst, imm>>2&3)),
		pair(element32(src, imm>>4&3), element32(src, imm>>6)),
	}
	return true
}

func shufpd(dst, src *Vec, imm uint8, _ *uint32) bool {
	*dst = Vec{dst[imm&1], src[imm>>1&1]}
	return true
}

func pshuflw(dst, src *Vec, imm uint8, _ *uint32) bool {
	*dst = Vec{shuffleWords(src[0], imm), src[1]}
	return true
}

func pshufhw(dst, src *Vec, imm uint8, _ *uint32) bool {
	*dst = Vec{src[0], shuffleWords(src[1], imm)}
	return true
}

package fp

import (
	"math"
	"testing"
)

func BenchmarkSSE(b *testing.B) {
	for _, c := range []struct {
		prefix, opcode byte
		a, b           Vec
	}{
		{0xF2, 0x58, doubles(1.1, 0), doubles(2.3, 0)},
		{0xF2, 0x59, doubles(1.1, 0), doubles(2.3, 0)},
		{0xF2, 0x5E, doubles(1.1, 0), doubles(2.3, 0)},
		{0xF2, 0x51, doubles(1.1, 0), doubles(2.3, 0)},
		{0xF2, 0x5F, doubles(1.1, 0), doubles(2.3, 0)},
		{0xF3, 0x58, Vec{0x3F8CCCCD}, Vec{0x3F8CCCCE}},
		{0x66, 0x58, doubles(1.1, 5.5), doubles(2.3, 7.7)},
		{0xF2, 0x5A, doubles(1.1, 0), doubles(2.3, 0)},
		{0xF3, 0x5A, doubles(1.1, 0), Vec{0x3F8CCCCE}},
		{0x66, 0xEF, doubles(1.1, 0), doubles(2.3, 0)},
		{0x66, 0x74, doubles(1.1, 0), doubles(2.3, 0)},
		{0x66, 0xF8, doubles(1.1, 0), doubles(2.3, 0)},
		{0x66, 0x61, doubles(1.1, 0), doubles(2.3, 0)},
	} {
		op := Lookup(c.prefix, c.opcode, 0)
		for name, mxcsr := range map[string]uint32{"": 0x1FA0, "-exact": 0x1F80} {
			b.Run(op.Name+name, func(b *testing.B) {
				var d Vec
				var m uint32
				for b.Loop() {
					d, m = c.a, mxcsr
					op.Fn(&d, &c.b, 0, &m)
				}
			})
		}
	}
	x, y := doubles(1.1, 0), doubles(2.3, 0)
	m := uint32(0x1F80)
	b.Run("ucomisd", func(b *testing.B) {
		for b.Loop() {
			Comi(0x66, 0x2E, &x, &y, &m)
		}
	})
	b.Run("cvttsd2si", func(b *testing.B) {
		for b.Loop() {
			CvtToInt(0xF2, true, &x, 8, &m)
		}
	})
	b.Run("cvtsi2sd", func(b *testing.B) {
		for b.Loop() {
			CvtFromInt(0xF2, &x, 12345, 8, &m)
		}
	})
}

func doubles(a, b float64) Vec { return Vec{math.Float64bits(a), math.Float64bits(b)} }

func BenchmarkX87(b *testing.B) {
	for _, c := range []struct {
		name      string
		op, modrm byte
	}{{"fadd", 0xD8, 0xC1}, {"fmul", 0xD8, 0xC9}, {"fdiv", 0xD8, 0xF1}, {"fsqrt", 0xD9, 0xFA}, {"fsin", 0xD9, 0xFE}, {"fyl2x", 0xD9, 0xF1}, {"f2xm1", 0xD9, 0xF0}, {"fpatan", 0xD9, 0xF3}} {
		b.Run(c.name, func(b *testing.B) {
			var start X87
			start.Reset()
			start.push(double.decode(math.Float64bits(1.7)).encode80())
			start.push(double.decode(math.Float64bits(0.7)).encode80())
			x := start
			for b.Loop() {
				x = start
				x.Reg(c.op, c.modrm, nil, nil)
			}
		})
	}
}

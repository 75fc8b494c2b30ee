package fp

import (
	"math"
	"testing"
)

const masked = mxcsrMasks // round to nearest

func TestSSE(t *testing.T) {
	const (
		nan      = 0x7FF8000000000005
		sNaN     = 0x7FF0000000000007
		quieted  = 0x7FF8000000000007
		none     = 0xFFF8000000000000 // the indefinite NaN
		one      = 0x3FF0000000000000
		inf      = 0x7FF0000000000000
		denormal = 0x0000000000000003
	)
	third := math.Float64bits(1.0 / 3)
	for _, c := range []struct {
		name           string
		prefix, opcode byte
		a, b           uint64
		mxcsr          uint32
		want           uint64
		flags          uint32
		raises         bool
	}{
		{"1/3 to nearest", 0xF2, 0x5E, one, math.Float64bits(3), masked, third, flagPrecision, false},
		{"1/3 upwards", 0xF2, 0x5E, one, math.Float64bits(3), masked | up<<13, third + 1, flagPrecision, false},
		{"1/3, precision unmasked", 0xF2, 0x5E, one, math.Float64bits(3), masked &^ (flagPrecision << 7), one, flagPrecision, true},
		{"1/0", 0xF2, 0x5E, one, 0, masked, inf, flagZero, false},
		{"1/0, unmasked", 0xF2, 0x5E, one, 0, masked &^ (flagZero << 7), one, flagZero, true},
		{"0/0", 0xF2, 0x5E, 0, 0, masked, none, flagInvalid, false},
		{"inf - inf", 0xF2, 0x5C, inf, inf, masked, none, flagInvalid, false},
		{"1 - 1 downwards", 0xF2, 0x5C, one, one, masked | down<<13, 1 << 63, 0, false},
		{"a quiet NaN first", 0xF2, 0x58, nan, sNaN, masked, nan, flagInvalid, false},
		{"a signaling NaN first", 0xF2, 0x58, sNaN, nan, masked, quieted, flagInvalid, false},
		{"a NaN second", 0xF2, 0x58, one, nan, masked, nan, 0, false},
		{"a denormal operand", 0xF2, 0x58, one, denormal, masked, one, flagDenormal | flagPrecision, false},
		{"a denormal operand, unmasked", 0xF2, 0x58, one, denormal, masked &^ (flagDenormal << 7), one, flagDenormal, true},
		{"a denormal operand under DAZ", 0xF2, 0x58, one, denormal, masked | mxcsrDAZ, one, 0, false},
		{"overflow", 0xF2, 0x59, 0x7FEFFFFFFFFFFFFF, math.Float64bits(2), masked, inf, flagOverflow | flagPrecision, false},
		{"overflow to zero", 0xF2, 0x59, 0x7FEFFFFFFFFFFFFF, math.Float64bits(2), masked | toZero<<13, 0x7FEFFFFFFFFFFFFF, flagOverflow | flagPrecision, false},
		{"a tiny exact result", 0xF2, 0x59, 1 << 52, math.Float64bits(0.5), masked, 1 << 51, 0, false},
		{"a tiny exact result, underflow unmasked", 0xF2, 0x59, 1 << 52, math.Float64bits(0.5), masked &^ (flagUnderflow << 7), 1 << 52, flagUnderflow, true},
		{"a tiny inexact result", 0xF2, 0x59, 1<<52 + 1, math.Float64bits(0.5), masked, 1 << 51, flagUnderflow | flagPrecision, false},
		{"a tiny result under FTZ", 0xF2, 0x59, 1<<52 + 1, math.Float64bits(-0.5), masked | mxcsrFTZ, 1 << 63, flagUnderflow | flagPrecision, false},
		{"the least of zeros is the second", 0xF2, 0x5D, 0, 1 << 63, masked, 1 << 63, 0, false},
		{"the least of a NaN and 1", 0xF2, 0x5D, nan, one, masked, one, flagInvalid, false},
		{"a root of -1", 0xF2, 0x51, 0, math.Float64bits(-1), masked, none, flagInvalid, false},
		{"a root of -0", 0xF2, 0x51, 0, 1 << 63, masked, 1 << 63, 0, false},
		{"narrowing a NaN", 0xF2, 0x5A, 0, sNaN, masked, 0x7FC00000, flagInvalid, false},
		{"widening a NaN", 0xF3, 0x5A, 0, 0x7F800001, masked, 0x7FF8000020000000, flagInvalid, false},
	} {
		op := Lookup(c.prefix, c.opcode, 0)
		got, src, mxcsr := Vec{c.a, 42}, Vec{c.b, 43}, c.mxcsr
		ok := op.Fn(&got, &src, 0, &mxcsr)
		want := Vec{c.want, 42}
		if got != want || ok == c.raises || mxcsr != c.mxcsr|c.flags {
			t.Errorf("%s: %s(%x, %x) = %x with flags %#x, #XM %v, want %x with %#x, %v",
				c.name, op.Name, c.a, c.b, got, mxcsr&0x3F, !ok, want, c.flags, c.raises)
		}
	}
}

func TestToInteger(t *testing.T) {
	for _, c := range []struct {
		value float64
		trunc bool
		size  int
		mode  uint32
		want  uint64
		flags uint32
	}{
		{2.5, false, 4, toNearest, 2, flagPrecision},
		{3.5, false, 4, toNearest, 4, flagPrecision},
		{-2.5, false, 4, down, 0xFFFFFFFD, flagPrecision},
		{-2.5, false, 8, up, 0xFFFFFFFFFFFFFFFE, flagPrecision},
		{-2.5, true, 8, down, 0xFFFFFFFFFFFFFFFE, flagPrecision},
		{1 << 31, false, 4, toNearest, 0x80000000, flagInvalid},
		{-1 << 31, false, 4, toNearest, 0x80000000, 0},
		{1<<31 - 0.5, true, 4, toNearest, 0x7FFFFFFF, flagPrecision},
		{1<<31 - 0.5, false, 4, toNearest, 0x80000000, flagInvalid},
		{1 << 63, false, 8, toNearest, 1 << 63, flagInvalid},
		{-1 << 63, false, 8, toNearest, 1 << 63, 0},
		{math.NaN(), true, 8, toNearest, 1 << 63, flagInvalid},
		{0, true, 8, toNearest, 0, 0},
	} {
		src, mxcsr := doubles(c.value, 0), uint32(masked)|c.mode<<13
		got, ok := CvtToInt(0xF2, c.trunc, &src, c.size, &mxcsr)
		if got != c.want || !ok || mxcsr&0x3F != c.flags {
			t.Errorf("CvtToInt(%v, truncated %v, %d bytes, mode %d) = %x with flags %#x, want %x with %#x",
				c.value, c.trunc, c.size, c.mode, got, mxcsr&0x3F, c.want, c.flags)
		}
	}
}

func TestLookup(t *testing.T) {
	for _, c := range []struct {
		prefix, opcode, reg byte
		want                string
		mem                 uint8
		aligned             bool
	}{
		{0, 0x58, 0, "addps", 16, true},
		{0xF3, 0x58, 0, "addss", 4, false},
		{0xF2, 0x58, 0, "addsd", 8, false},
		{0x66, 0xEF, 0, "pxor", 16, true},
		{0xF3, 0xE6, 0, "cvtdq2pd", 8, false},
		{0x66, 0x73, 3, "psrldq", 0, false},
		{0x66, 0x73, 1, "", 0, false},
		{0, 0x73, 2, "", 0, false},
		{0, 0xEF, 0, "", 0, false},
		{0xF3, 0x10, 0, "", 0, false}, // a move
		{0x67, 0x58, 0, "", 0, false},
	} {
		op := Lookup(c.prefix, c.opcode, c.reg)
		if op == nil {
			op = &Op{}
		}
		if op.Name != c.want || op.Mem != c.mem || op.Aligned != c.aligned {
			t.Errorf("Lookup(%#x, %#x, %d) = %s of %d bytes, aligned %v, want %s of %d, %v",
				c.prefix, c.opcode, c.reg, op.Name, op.Mem, op.Aligned, c.want, c.mem, c.aligned)
		}
	}
}

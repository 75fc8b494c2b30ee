package fp

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
)

// Operands that reach the corners.
var corners32 = []uint32{
	0, 1, 2, 3, 0x400000, 0x7FFFFF, 0x7FFFFE, 0x800000, 0x800001, 0xFFFFFF, 0x1000000, 0x00FFFFFF,
	0x3F800000, 0x3F800001, 0x3F7FFFFF, 0x40000000, 0x40400000, 0x3F000000, 0x34000000, 0x33800000, 0x33800001,
	0x4B000000, 0x4B000001, 0x4B800000, 0x4EFFFFFF, 0x4F000000, 0x4F7FFFFF, 0x5EFFFFFF, 0x5F000000, 0x5F800000,
	0x7F000000, 0x7F7FFFFF, 0x7F7FFFFE, 0x7F800000, 0x7F800001, 0x7FA00000, 0x7FBFFFFF, 0x7FC00000, 0x7FC00001, 0x7FFFFFFF,
	0x20000000, 0x1FFFFFFF, 0x5F000001, 0x3FC00000, 0x4AFFFFFF, 0x3EFFFFFF, 0x3F000001,
}

var corners64 = []uint64{
	0, 1, 2, 3, 1 << 51, 1<<52 - 1, 1<<52 - 2, 1 << 52, 1<<52 + 1, 1<<53 - 1, 1 << 53,
	math.Float64bits(1), math.Float64bits(1) + 1, math.Float64bits(1) - 1, math.Float64bits(2), math.Float64bits(3),
	math.Float64bits(0.5), math.Float64bits(0.5) + 1, math.Float64bits(0.5) - 1, math.Float64bits(1.5), math.Float64bits(2.5),
	math.Float64bits(1 << 52), math.Float64bits(1<<52) + 1, math.Float64bits(1 << 53), math.Float64bits(1<<31 - 0.5),
	math.Float64bits(1<<31 - 1), math.Float64bits(1 << 31), math.Float64bits(1<<31 + 0.5), math.Float64bits(1<<31 + 1),
	math.Float64bits(1<<31-0.5) - 1, math.Float64bits(1<<31-0.5) + 1,
	math.Float64bits(1 << 63), math.Float64bits(1<<63) - 1, math.Float64bits(1<<63) + 1, math.Float64bits(1 << 64),
	math.Float64bits(math.MaxFloat32), math.Float64bits(math.MaxFloat32) + 1<<28, math.Float64bits(math.MaxFloat32) + 1<<28 - 1, math.Float64bits(math.MaxFloat32) + 1<<28 + 1,
	math.Float64bits(0x1p-126), math.Float64bits(0x1p-126) - 1, math.Float64bits(0x1p-126) - 1<<27, math.Float64bits(0x1p-126) - 1<<28, math.Float64bits(0x1p-126) - 1<<29,
	math.Float64bits(math.SmallestNonzeroFloat32), math.Float64bits(math.SmallestNonzeroFloat32 / 2), math.Float64bits(math.SmallestNonzeroFloat32/2) + 1,
	math.Float64bits(math.MaxFloat64), math.Float64bits(math.MaxFloat64) - 1, math.Float64bits(0x1p-511), math.Float64bits(0x1p512),
	0x7FF << 52, 0x7FF<<52 + 1, 0x7FF<<52 | 1<<50, 0x7FF8 << 48, 0x7FF8<<48 + 1, 1<<63 - 1, 0x7FF<<52 | 1<<51 - 1,
}

func operand32(r *rand.Rand) uint32 {
	switch r.IntN(8) {
	case 0, 1, 2:
		return corners32[r.IntN(len(corners32))] ^ r.Uint32()&(1<<31)
	case 3: // of middling size, with few bits
		return math.Float32bits(float32(int32(r.Uint32())>>r.IntN(32)) / float32(uint32(1)<<r.IntN(20)))
	case 4: // near the limits of the normal numbers
		return []uint32{0, 0x7E000000, 0x00800000}[r.IntN(3)] + r.Uint32()>>7 ^ r.Uint32()&(1<<31)
	case 5:
		return 0x3F800000 + r.Uint32()>>6 - 1<<25 ^ r.Uint32()&(1<<31)
	}
	return r.Uint32()
}

func operand64(r *rand.Rand) uint64 {
	switch r.IntN(9) {
	case 0, 1, 2:
		return corners64[r.IntN(len(corners64))] ^ r.Uint64()&(1<<63)
	case 3:
		return math.Float64bits(float64(int64(r.Uint64())>>r.IntN(64)) / float64(uint64(1)<<r.IntN(60)))
	case 4:
		return []uint64{0, 0x7FC << 52, 1 << 52}[r.IntN(3)] + r.Uint64()>>11 ^ r.Uint64()&(1<<63)
	case 5: // a single, or close to one
		return math.Float64bits(float64(math.Float32frombits(operand32(r)))) + r.Uint64()&r.Uint64()&r.Uint64()>>40
	case 6:
		return 0x3FF<<52 + r.Uint64()>>9 - 1<<54 ^ r.Uint64()&(1<<63)
	}
	return r.Uint64()
}

// operandVec gives elements of the width of the instruction with this prefix,
// or of any.
func operandVec(r *rand.Rand) Vec {
	if r.IntN(2) == 0 {
		return Vec{operand64(r), operand64(r)}
	}
	return Vec{pair(uint64(operand32(r)), uint64(operand32(r))), pair(uint64(operand32(r)), uint64(operand32(r)))}
}

// related sometimes makes b close to ±a, which cancels.
func related(r *rand.Rand, a, b Vec) Vec {
	switch r.IntN(8) {
	case 0:
		b = a
		b[0] += uint64(r.IntN(5)) - 2
	case 1:
		b = Vec{a[0] ^ 1<<63 ^ 1<<31, a[1] ^ 1<<63 ^ 1<<31}
		b[0] += uint64(r.IntN(5)) - 2
	}
	return b
}

var prefixes = []struct {
	prefix byte
	code   string
}{{0, ""}, {0x66, "\x66"}, {0xF3, "\xF3"}, {0xF2, "\xF2"}}

// sseForm is an instruction with an xmm destination, as the table has it.
type sseForm struct {
	op   *Op
	imm  uint8
	run  func(*machine)
	text string
}

func sseForms(n *native) (forms []sseForm) {
	imms := []uint8{0, 1, 2, 3, 4, 5, 6, 7, 8, 15, 16, 17, 31, 32, 63, 64, 0x1B, 0xE4, 0x39, 0xFF}
	add := func(op *Op, insn string) {
		if !op.Imm {
			forms = append(forms, sseForm{op, 0, n.compile(enter + insn + leave), op.Name})
			return
		}
		for _, imm := range imms {
			forms = append(forms, sseForm{op, imm, n.compile(enter + insn + string([]byte{imm}) + leave), fmt.Sprintf("%s %#x", op.Name, imm)})
		}
	}
	for _, p := range prefixes {
		for opcode := 0; opcode < 256; opcode++ {
			if op := Lookup(p.prefix, byte(opcode), 0); op != nil {
				add(op, p.code+"\x0F"+string([]byte{byte(opcode), 0xC1}))
			}
		}
	}
	for opcode := 0x71; opcode <= 0x73; opcode++ {
		for reg := 0; reg < 8; reg++ {
			if op := Lookup(0x66, byte(opcode), byte(reg)); op != nil {
				add(op, "\x66\x0F"+string([]byte{byte(opcode), byte(0xC0 | reg<<3)}))
			}
		}
	}
	return forms
}

func TestNativeSSE(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(1, 2))
	n := newNative(t)
	total := 0
	var m machine // this and what else is passed by address: not allocated a million times
	var b, got Vec
	var gotMXCSR uint32
	for _, form := range sseForms(n) {
		failures := 0
		for range rounds(10000) {
			a := operandVec(r)
			b = related(r, a, operandVec(r))
			mxcsr := uint32(mxcsrMasks) | r.Uint32()&(mxcsrRC|mxcsrDAZ|mxcsrFTZ)
			if r.IntN(4) == 0 {
				mxcsr |= r.Uint32() & 0x3F
			}
			m = machine{dst: a, src: b, mxcsr: mxcsr}
			form.run(&m)
			got, gotMXCSR = a, mxcsr
			total++
			if ok := form.op.Fn(&got, &b, form.imm, &gotMXCSR); !ok {
				t.Fatalf("%s(%x, %x), all masked, raised #XM", form.text, a, b)
			}
			if name := form.op.Name; name[:2] == "rc" || name[:2] == "rs" {
				if !closeEnough(got, m.dst) {
					t.Errorf("%s(%x) = %x, want about %x", form.text, b, got, m.dst)
					failures++
				}
				got = m.dst
			}
			if got != m.dst || gotMXCSR != m.mxcsr {
				t.Errorf("%s(%x, %x) under MXCSR %04x = %x, MXCSR %04x, want %x, MXCSR %04x",
					form.text, a, b, mxcsr, got, gotMXCSR, m.dst, m.mxcsr)
				if failures++; failures > 3 {
					break
				}
			}
		}
	}
	t.Logf("%d comparisons", total)
}

// closeEnough is the bound of RCPPS and RSQRTPS, twice: ours and the host's.
func closeEnough(a, b Vec) bool {
	for i := range uint8(4) {
		x, y := uint32(element32(&a, i)), uint32(element32(&b, i))
		f, g := float64(math.Float32frombits(x)), float64(math.Float32frombits(y))
		if x != y && !(math.Abs(f-g) <= 3*0x1p-12*math.Abs(g)) {
			return false
		}
	}
	return true
}

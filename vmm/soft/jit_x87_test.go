package soft

import (
	"math/rand/v2"
	"testing"

	"nvlab/vmm/soft/fp"
)

// Where programs of x87Code have their memory: a page that the TLB has to be
// asked for, with the end of another, and control words.
const (
	x87Operands = testData + 0x1000 - 16
	x87Controls = testData + 0x800
)

// x87ControlWords are tried: of all precisions and ways to round, and two that
// do not mask all.
var x87ControlWords = []uint16{0x37f, 0x27f, 0x07f, 0xf7f, 0xb7f, 0x77f, 0xe7f, 0x1f7f, 0x37f, 0x27f, 0x36f, 0x35f}

// x87Code is a program of x87 instructions, most of which find a stack that
// suits them, with branches and arithmetic of integers in between.
func x87Code(r *rand.Rand, n int) (code []byte) {
	depth := 0
	mem := func(op, ext byte) {
		code = le32(append(code, op, ext<<3|4, 0x25), uint32(x87Operands+r.IntN(32)))
	}
	for len(code) < n {
		if r.IntN(3) == 0 { // fnstsw, to where nothing is read
			code = le32(append(code, 0xdd, 0x3c, 0x25), uint32(x87Controls+0x100+2*r.IntN(64)))
		}
		st := byte(r.IntN(max(depth, 1)))
		switch k := r.IntN(28); {
		case k == 0: // anything at all
			code = append(code, 0xd8|byte(r.IntN(8)), 0xc0|byte(r.IntN(64)))
		case k == 1: // fldcw; fnstcw
			code = le32(append(code, 0xd9, 0x2c, 0x25), uint32(x87Controls+2*r.IntN(len(x87ControlWords))))
			if r.IntN(2) == 0 {
				mem(0xd9, 7)
			}
		case k == 2:
			code = append(code, 0x05) // add eax, imm
			code = le32(code, r.Uint32())
		case k == 3: // a short branch, forwards
			code = append(code, 0x70|byte(r.IntN(16)), byte(r.IntN(9)))
		case k == 4: // fnstsw ax, or to memory
			if r.IntN(2) == 0 {
				code = append(code, 0xdf, 0xe0, 0x9e) // and sahf
			} else {
				mem(0xdd, 7)
			}
		case depth < 2 || depth < 7 && k < 12: // loads
			depth++
			switch form := r.IntN(8); form {
			case 6:
				code = append(code, 0xd9, 0xe8|byte(r.IntN(7))) // a constant
			case 7:
				code = append(code, 0xd9, 0xc0|st)
			default:
				op := [][2]byte{{0xd9, 0}, {0xdd, 0}, {0xdb, 5}, {0xdb, 0}, {0xdf, 0}, {0xdf, 5}}[form]
				mem(op[0], op[1])
			}
		case k < 16: // arithmetic with memory
			ext := byte(r.IntN(8))
			mem(0xd8|byte(r.IntN(4))<<1, ext)
			if ext == 3 {
				depth--
			}
		case k < 20: // with registers
			op := []byte{0xd8, 0xdc, 0xde}[r.IntN(3)]
			ext := []byte{0, 1, 4, 5, 6, 7}[r.IntN(6)]
			code = append(code, op, 0xc0|ext<<3|st)
			if op == 0xde {
				depth--
			}
		case k < 23: // comparisons
			form := [][2]byte{{0xd8, 0xd0}, {0xd8, 0xd8}, {0xdd, 0xe0}, {0xdd, 0xe8}, {0xdb, 0xe8}, {0xdb, 0xf0}, {0xdf, 0xe8}, {0xdf, 0xf0}}[r.IntN(8)]
			code = append(code, form[0], form[1]|st)
			if form[1] == 0xd8 || form[0] == 0xdd && form[1] == 0xe8 || form[0] == 0xdf {
				depth--
			}
			if r.IntN(2) == 0 {
				code = append(code, 0x70|byte(r.IntN(16)), 0)
			}
		case k < 25: // stores
			op := [][2]byte{{0xd9, 2}, {0xdd, 2}, {0xdb, 2}, {0xdf, 2}, {0xd9, 3}, {0xdd, 3}, {0xdb, 3}, {0xdf, 3}, {0xdb, 7}, {0xdf, 7}}[r.IntN(10)]
			mem(op[0], op[1])
			if op[1] >= 3 {
				depth--
			}
		case k < 27:
			op := [][2]byte{{0xd9, 0xc8 | st}, {0xd9, 0xe0}, {0xd9, 0xe1}, {0xd9, 0xfa}, {0xd9, 0xfc}, {0xd9, 0xe4}, {0xd9, 0xe5}, {0xdd, 0xd0 | st}}[r.IntN(8)]
			code = append(code, op[0], op[1])
		default:
			code = append(code, 0xdd, 0xd8|st) // fstp
			depth--
		}
	}
	return code
}

// interestingX87 is a number of every class, with encodings that no processor
// makes any more.
func interestingX87(r *rand.Rand) fp.F80 {
	exponents := []uint16{0, 1, 0x3fff, 0x3ffe, 0x403e, 0x7ffe, 0x7fff, 0x3c00, 0x3f80, uint16(r.IntN(0x8000)), 0x3fff + uint16(r.IntN(60))}
	v := fp.F80{Sig: interesting(r), SE: exponents[r.IntN(len(exponents))] | uint16(r.IntN(2))<<15}
	if r.IntN(5) > 0 && v.SE&0x7fff != 0 {
		v.Sig |= 1 << 63
	}
	if r.IntN(8) == 0 {
		v.Sig = 1 << 63
	}
	return v
}

// x87State sets a random state up, memory, and a handler of #MF that clears what
// waits.
func x87State(r *rand.Rand) func(m *testMachine) {
	x := fp.X87{}
	x.Reset()
	for i := range x.R {
		x.R[i] = interestingX87(r)
	}
	x.CW = x87ControlWords[r.IntN(len(x87ControlWords))]
	x.SW = uint16(r.IntN(8))<<11 | uint16(r.IntN(8))<<8
	if x.CW&0x3f == 0x3f {
		x.SW |= uint16(r.IntN(0x40))
	}
	if r.IntN(2) == 0 {
		x.Tag = byte(r.Uint32())
	}
	seed := r.Uint64()
	return func(m *testMachine) {
		r := rand.New(rand.NewPCG(seed, 1))
		m.c.fpu.x87 = x
		for i := range uint64(6) {
			switch at := x87Operands + 8*i; r.IntN(4) {
			case 0:
				m.put(at, le32(le32(nil, uint32(interestingVec(r)[0])), r.Uint32())...)
			case 1:
				v := interestingX87(r)
				m.put(at, le32(le32(nil, uint32(v.Sig)), uint32(v.Sig>>32))...)
				m.put(at+8, byte(v.SE), byte(v.SE>>8))
			default:
				v := interestingVec(r)[0]
				m.put(at, le32(le32(nil, uint32(v)), uint32(v>>32))...)
			}
		}
		for i, w := range x87ControlWords {
			m.put(x87Controls+2*uint64(i), byte(w), byte(w>>8))
		}
		at := uint64(testStubs + 16*excMF)
		m.put(at, append([]byte{0xdb, 0xe2}, m.ram[at:at+5]...)...) // fnclex, and what was there
		x := int32(le.Uint32(m.ram[at+3:])) - 2
		m.put(at+3, le32(nil, uint32(x))...)
	}
}

// TestCompiledX87 runs random x87 programs interpreted and compiled, and checks that
// compiled code did most of it.
func TestCompiledX87(t *testing.T) {
	t.Parallel()
	n := 60
	if !testing.Short() {
		n = 300
	}
	pair := interpretedAndCompiled(t)
	r := rand.New(rand.NewPCG(27, 28))
	for range n {
		agree(t, pair, x87Code(r, 20+r.IntN(180)), r.Uint64(), x87State(r))
	}
	// fld1; fadd st, st(0) and so on until the clock ends it.
	pair[1].reset(t)
	m := pair[1]
	m.stubs()
	m.put(testCode, 0xd9, 0xe8, 0xd8, 0xc0, 0xd9, 0xc0, 0xde, 0xc1, 0xdd, 0xd8, 0xeb, 0xf4)
	if _, err := m.p.Run(t.Context(), 60_000); err != nil {
		t.Fatal(err)
	}
	before := m.p.cache.native.Count.Entries
	if _, err := m.p.Run(t.Context(), 120_000); err != nil {
		t.Fatal(err)
	}
	if n := m.p.cache.native.Count.Entries - before; n > 20 {
		t.Errorf("10,000 turns of a loop of x87 instructions enter compiled code %d times, want 20 at most", n)
	}
}

package soft

import (
	"bytes"
	"math/rand/v2"
	"testing"
)

// TestFaultRestart runs every form with a memory operand that reaches into a
// page that is absent or read-only: the fault leaves no trace, and the
// instruction completes once the page is there.
func TestFaultRestart(t *testing.T) {
	const first = testData + pageSize
	const second = first + pageSize
	m := newTestMachine(t)
	m.stubs()
	r := rand.New(rand.NewPCG(3, 4))
	forms := oracleForms()
	faults := 0
	for i := range forms {
		f := &forms[i]
		if !f.mem || f.name == "lea" {
			continue
		}
		for range 12 {
			var code []byte
			var in inst
			for {
				if code, _ = f.instance(r); code[0] == 0xf0 {
					continue
				}
				decode(append(bytes.Clone(code), make([]byte, 16)...), &in, true)
				if in.mod != 3 && in.reg != in.base {
					break
				}
			}
			for _, exact := range []bool{true, false} {
				for _, flags := range []uint64{0, pteP} {
					faults += restart(t, m, r, f, code, &in, second, flags, exact)
				}
			}
		}
	}
	if faults < 1000 {
		t.Errorf("%d faults, want at least 1000", faults)
	}
}

func restart(t *testing.T, m *testMachine, r *rand.Rand, f *form, code []byte, in *inst, second, flags uint64, exact bool) int {
	clear(m.ram[testCode : testCode+64])
	m.put(testCode, code...)
	m.ram[testCode+len(code)] = 0xf4
	m.mapPage(second-pageSize, second-pageSize, pteP|pteW|pteA|pteD)
	m.mapPage(second, second, flags)
	m.start(testCode)
	c := m.c
	for i := range 16 {
		if i != rSP {
			c.r[i] = interesting(r)
		}
	}
	for i := range 16 {
		c.fpu.xmm[i] = interestingVec(r)
	}
	if in.op >= 0x1a3 && in.op <= 0x1bb && in.op&7 == 3 {
		c.r[in.reg] = 0
	}
	if in.index != slotZero {
		c.r[in.index] = 0
	}
	c.r[in.base] = 0
	off := c.operandAddr(in)
	c.r[in.base] = second - 1 - off
	for i := second - 64; i < second+64; i++ {
		m.ram[i] = byte(r.Uint32())
	}
	regs, xmm, fl, mxcsr := c.r, c.fpu.xmm, c.rflags(), c.fpu.mxcsr
	mem := bytes.Clone(m.ram[second-64 : second+64])
	m.p.exact = exact
	vec := m.run()
	if vec != excPF {
		return 0 // not across the border, not a store, or another fault
	}
	for i := range 16 {
		if i != rSP && c.r[i] != regs[i] {
			t.Errorf("%s, % x, exact=%v: register %d is %#x after a fault, was %#x", f.name, code, exact, i, c.r[i], regs[i])
		}
		if c.fpu.xmm[i] != xmm[i] {
			t.Errorf("%s, % x, exact=%v: xmm%d is %#x after a fault, was %#x", f.name, code, exact, i, c.fpu.xmm[i], xmm[i])
		}
	}
	if got := m.word(c.r[rSP] + 24); got&^flagRF != fl {
		t.Errorf("%s, % x, exact=%v: flags are %#x after a fault, were %#x", f.name, code, exact, got, fl)
	}
	if c.fpu.mxcsr != mxcsr {
		t.Errorf("%s, % x, exact=%v: mxcsr changed in a fault", f.name, code, exact)
	}
	if c.cr2 != second || m.word(c.r[rSP]+8) != testCode {
		t.Errorf("%s, % x, exact=%v: cr2 %#x, saved rip %#x, want %#x and %#x", f.name, code, exact, c.cr2, m.word(c.r[rSP]+8), second, testCode)
	}
	if i := mismatch(m.ram[second-64:second+64], mem); i >= 0 {
		t.Errorf("%s, % x, exact=%v: byte %d of memory changed in a fault", f.name, code, exact, i-64)
	}
	return 1
}

func mismatch(a, b []byte) int {
	if bytes.Equal(a, b) {
		return -1
	}
	for i := range a {
		if a[i] != b[i] {
			return i
		}
	}
	return -1
}

// TestStringFault: a repeated string instruction stops at the page that is
// absent, with its registers at the element that faulted.
func TestStringFault(t *testing.T) {
	const second = testData + pageSize
	for _, exact := range []bool{true, false} {
		for _, tt := range []struct {
			name string
			code []byte
			n    uint64 // elements before the fault
			dst  bool
		}{
			{"rep stosb", []byte{0xf3, 0xaa}, 100, true},
			{"rep stosq", []byte{0xf3, 0x48, 0xab}, 12, true},
			{"rep movsb", []byte{0xf3, 0xa4}, 100, true},
			{"repe cmpsb", []byte{0xf3, 0xa6}, 100, true},
			{"repe scasb", []byte{0xf3, 0xae}, 100, true},
			{"rep lodsb", []byte{0xf3, 0xac}, 100, false},
		} {
			m := newTestMachine(t)
			m.stubs()
			m.p.exact = exact
			m.mapPage(second, second, 0)
			m.put(testCode, tt.code...)
			m.c.r[rCX] = 1000
			m.c.r[rSI], m.c.r[rDI] = testData, second-100
			if !tt.dst {
				m.c.r[rSI] = second - 100
			}
			if got := m.run(); got != excPF {
				t.Fatalf("%s: vector %d, want %d", tt.name, got, excPF)
			}
			if got := m.c.r[rCX]; got != 1000-tt.n {
				t.Errorf("%s: rcx = %d at the fault, want %d", tt.name, got, 1000-tt.n)
			}
			if got := m.word(m.c.r[rSP] + 8); got != testCode {
				t.Errorf("%s: saved rip is %#x, want %#x", tt.name, got, testCode)
			}
		}
	}
}

package soft

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"testing"

	"nvlab/vmm/soft/fp"
	"nvlab/vmm/soft/x86"
)

// faultStage is where TestFaultRestart keeps what it runs.
type faultStage struct {
	m     *testMachine
	exact bool
	name  string
	user  bool // the instruction is a program's: the HLT behind it raises #GP
}

// setMode has the processor be a program's, or the kernel's.
func (s *faultStage) setMode() {
	c, level := s.m.c, uint16(0)
	if s.user {
		level = 3
	}
	c.seg[x86.SegCS] = segment{sel: 0x28 | level, attr: attrCode64 | level<<5, limit: ^uint32(0)}
	c.seg[x86.SegSS] = segment{sel: 0x20 | level, attr: attrData | level<<5, limit: ^uint32(0)}
	c.setCPL(uint8(level))
}

// faultState is what an instruction that did not complete must not change.
type faultState struct {
	r     [16]uint64
	xmm   [16][2]uint64
	mxcsr uint32
	flags uint64
	x87   fp.X87
	mem   [4 * faultReach]byte
}

const (
	faultFirst  = testData + x86.PageSize
	faultSecond = faultFirst + x86.PageSize // the page that faults
	faultReach  = 1024
)

func (s *faultStage) state() (st faultState) {
	c := s.m.c
	st = faultState{r: [16]uint64(c.r[:16]), mxcsr: c.fpu.mxcsr, flags: c.rflags(), x87: c.fpu.x87}
	copy(st.xmm[:], c.fpu.xmm[:])
	copy(st.mem[:], s.m.ram[faultSecond-2*faultReach:])
	return st
}

func (st *faultState) differ(to *faultState) string {
	for i := range st.r {
		if st.r[i] != to.r[i] {
			return fmt.Sprintf("register %d is %#x, not %#x", i, st.r[i], to.r[i])
		}
	}
	switch {
	case st.xmm != to.xmm || st.mxcsr != to.mxcsr:
		return fmt.Sprintf("vector registers are %x and %#x, not %x and %#x", st.xmm, st.mxcsr, to.xmm, to.mxcsr)
	case st.flags != to.flags:
		return fmt.Sprintf("flags are %#x, not %#x", st.flags, to.flags)
	case st.x87 != to.x87:
		return fmt.Sprintf("the x87 state is %x, not %x", st.x87, to.x87)
	}
	if i := mismatch(st.mem[:], to.mem[:]); i >= 0 {
		return fmt.Sprintf("memory at %+d from the border is %#x, not %#x", i-2*faultReach, st.mem[i], to.mem[i])
	}
	return ""
}

// run runs the instruction from a state, with the second page as flags say,
// and returns the vector of its exception, or -1.
func (s *faultStage) run(st *faultState, flags uint64) int {
	m, c := s.m, s.m.c
	copy(c.r[:16], st.r[:])
	copy(c.fpu.xmm[:], st.xmm[:])
	c.setMXCSR(st.mxcsr)
	c.fpu.x87 = st.x87
	c.setRFLAGS(st.flags)
	copy(m.ram[faultSecond-2*faultReach:], st.mem[:])
	m.mapPage(faultSecond, faultSecond, flags)
	c.flushTLB(false)
	c.rip, c.halted, c.shadow = testCode, false, false
	m.p.tripleFault, m.p.stopping = false, false
	c.cr2 = 0
	s.setMode()
	m.p.exact = s.exact
	vec := m.run()
	if vec >= 0 { // what the handler saw
		sp := c.r[x86.RSP]
		if vec == excPF || vec == excGP || vec == excSS {
			sp += 8
		}
		c.setRFLAGS(m.word(sp+16) &^ x86.FlagRF)
		c.r[x86.RSP] = m.word(sp + 24)
		c.rip = m.word(sp)
		if s.user && vec == excGP && c.rip != testCode {
			vec = -1 // the HLT
		}
	}
	return vec
}

// reachesMemory says that the instruction accesses memory, and that its
// completion leaves the machine as the test needs it.
func (e *encoding) reachesMemory() bool {
	switch o := e.op; {
	case o == 0x8d, o == 0x10d, o >= 0x118 && o <= 0x11f, o == 0x101 && (e.ext == 5 || e.ext == 7), o == 0x100 && e.ext > 5, o >= 0x120 && o <= 0x127:
		return false // LEA, hints, INVLPG, control registers
	case e.redundant(), e.prefix > 3:
		return false
	case e.mem:
		return true
	case o >= 0x50 && o <= 0x5f, o == 0x68, o == 0x6a, o >= 0xa0 && o <= 0xa7, o >= 0xaa && o <= 0xaf, o == 0xc3, o == 0xc2, o == 0xc8, o == 0xc9,
		o == 0x9c, o == 0x9d, o == 0xe8, o == 0x1a0, o == 0x1a8, o == 0x1a1, o == 0x1a9, o == 0xcb, o == 0xcf, o == 0x6c, o == 0x6d, o == 0x6e, o == 0x6f:
		return e.mandatory() < 0xf0
	case o == 0x1f7:
		return e.mandatory() < 0xf0 && e.modrm
	case o == 0xff:
		return e.ext == 2 || e.ext == 6
	}
	return false
}

// survives says that the machine is as before once the instruction completes.
func (e *encoding) survives() bool {
	switch o := e.op; {
	case o == 0x100, o == 0x101, o == 0xff && e.ext > 1 && e.ext < 6, o == 0xc2, o == 0xc3, o == 0xe8, o == 0xcb, o == 0xcf, o == 0x9d,
		o == 0x8e, o == 0x1b2, o == 0x1b4, o == 0x1b5, o == 0x1a1, o == 0x1a9, o == 0x8c:
		return false
	}
	return true
}

// TestFaultRestart runs every encoding that accesses memory across the border
// to a page that is absent or read-only, or in that page: by the executor, the
// fast path and compiled, the fault leaves no trace, and once the page is there
// the instruction does what it does without a fault.
func TestFaultRestart(t *testing.T) {
	t.Parallel()
	interpreter := newTestMachineWith(t, Engine{Interpreter: true})
	stages := []*faultStage{{m: interpreter, exact: true, name: "executor"}, {m: interpreter, name: "fast path"}, {m: newCompiled(t), name: "compiled code"}}
	for _, s := range stages[1:] {
		s.m.stubs()
		for v := range 256 {
			s.m.gate(uint8(v), testStubs+16*uint64(v), 0, 1)
		}
		x86.PutLE(s.m.ram[testTSS+36:], 8, testStack-0x4000)
		s.m.c.cr0 |= x86.CR0WP
	}
	r := rand.New(rand.NewPCG(3, 4))
	absent, readOnly, completed := 0, 0, 0
	for _, e := range allEncodings() {
		if !e.reachesMemory() {
			continue
		}
		faults, tries := 0, 0
		for n := 0; n < 40 && (n < 12 || faults == 0); n++ {
			code, in := e.instance(r)
			if in.Len == 0 || e.mem && in.Base == x86.SlotZero || in.Seg == x86.SegGS {
				continue
			}
			to := faultTarget(r, &e, uint64(n))
			if in.Op >= 0xa0 && in.Op <= 0xa3 { // an absolute address
				x86.PutLE(code[int(in.Len)-int(in.AddressSize):], in.AddressSize, to)
			}
			for _, s := range stages[1:] {
				clear(s.m.ram[testCode : testCode+64])
				s.m.put(testCode, code...)
				s.m.ram[testCode+len(code)] = 0xf4
				s.m.p.Wrote(testCode, 64)
			}
			st := faultBefore(r, interpreter.c, &e, &in, uint64(n), to)
			tries++
			var whole faultState
			causes := []uint64{0}
			if e.survives() {
				if stages[0].run(&st, pteP|pteW|pteA|pteD) == excUD {
					tries--
					continue // no instruction
				}
				whole = stages[0].state()
				causes = append(causes, pteP|pteA) // read-only
			}
			for _, flags := range causes {
				for _, s := range stages {
					if s.run(&st, flags) != excPF {
						continue
					}
					faults++
					if flags == 0 {
						absent++
					} else {
						readOnly++
					}
					after := s.state()
					if d := after.differ(&st); d != "" {
						t.Errorf("%v, % x, in the %s: after a fault %s", &e, code, s.name, d)
						return
					}
					if s.m.c.rip != testCode || s.m.c.cr2>>x86.PageShift != faultSecond>>x86.PageShift {
						t.Errorf("%v, % x, in the %s: a fault at rip %#x with cr2 %#x, want %#x and an address in %#x", &e, code, s.name, s.m.c.rip, s.m.c.cr2, testCode, faultSecond)
						return
					}
					if !e.survives() || s.run(&after, pteP|pteW|pteA|pteD) >= 0 {
						continue
					}
					completed++
					end := s.state()
					if d := end.differ(&whole); d != "" {
						t.Errorf("%v, % x, in the %s: restarted after a fault %s", &e, code, s.name, d)
						return
					}
				}
			}
		}
		if faults == 0 && tries > 0 {
			t.Errorf("%v never faulted", &e)
		}
	}
	t.Logf("%d faults on an absent page, %d on a read-only one, %d restarts compared", absent, readOnly, completed)
	if absent < 20_000 || readOnly < 8000 || completed < 20_000 {
		t.Errorf("%d faults on an absent page, %d on a read-only one, %d restarts: want at least 20000, 8000 and 20000", absent, readOnly, completed)
	}
}

// faultTarget is where the instruction's operand lies: in the second page, or
// across the border to it.
func faultTarget(r *rand.Rand, e *encoding, n uint64) uint64 {
	switch {
	case !e.survives(): // never without a fault
		return faultSecond - n&1
	case n&3 == 3:
		return faultSecond - 16*uint64(r.IntN(8))
	}
	return faultSecond - n&3
}

// faultBefore makes a state in which the instruction reaches the second page.
func faultBefore(r *rand.Rand, c *cpu, e *encoding, in *x86.Inst, n, to uint64) (st faultState) {
	for i := range st.r {
		st.r[i] = interesting(r)
	}
	for i := range st.xmm {
		st.xmm[i] = interestingVec(r)
	}
	for i := range st.mem {
		st.mem[i] = byte(r.Uint32())
	}
	st.mxcsr = x86.MXCSRReset
	st.x87.Reset()
	for i := range st.x87.R {
		st.x87.R[i] = fp.F80{Sig: 1<<63 | r.Uint64(), SE: 0x3fff}
	}
	st.x87.Tag = byte(r.Uint32())
	st.flags = x86.FlagOne | r.Uint64()&(x86.FlagsArith|x86.FlagDF)
	st.r[x86.RSP] = faultFirst + 1024
	st.r[x86.RSI], st.r[x86.RDI] = to, to
	switch n / 4 {
	case 1:
		st.r[x86.RSI] = faultFirst + 1024
	case 2:
		st.r[x86.RDI] = faultFirst + 1024
	}
	switch o := in.Op; {
	case in.Mod != 3 && e.modrm:
		if in.Index != x86.SlotZero && (in.Index != x86.RSP || in.Base == x86.SlotZero) {
			st.r[in.Index] = 0
		}
		if bitString(in) {
			st.r[in.Reg] = 0
		}
		copy(c.r[:16], st.r[:])
		c.r[x86.SlotGS] = 0
		c.next = testCode + uint64(in.Len)
		st.r[in.Base&15] += to - c.operandAddr(in)
	case o >= 0xa0 && o <= 0xa3, o >= 0xa4 && o <= 0xaf, o >= 0x6c && o <= 0x6f, o == 0x1f7:
	case o == 0xc9, o == 0x58, o >= 0x58 && o <= 0x5f, o == 0xc2, o == 0xc3, o == 0x9d, o == 0x1a1, o == 0x1a9, o == 0xcb, o == 0xcf:
		st.r[x86.RSP], st.r[x86.RBP] = to, to
	default: // pushes
		st.r[x86.RSP], st.r[x86.RBP] = to+uint64(2+6*r.IntN(2)), faultFirst+1024
	}
	return st
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
	const second = testData + x86.PageSize
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
			m.c.r[x86.RCX] = 1000
			m.c.r[x86.RSI], m.c.r[x86.RDI] = testData, second-100
			if !tt.dst {
				m.c.r[x86.RSI] = second - 100
			}
			if got := m.run(); got != excPF {
				t.Fatalf("%s: vector %d, want %d", tt.name, got, excPF)
			}
			if got := m.c.r[x86.RCX]; got != 1000-tt.n {
				t.Errorf("%s: rcx = %d at the fault, want %d", tt.name, got, 1000-tt.n)
			}
			if got := m.word(m.c.r[x86.RSP] + 8); got != testCode {
				t.Errorf("%s: saved rip is %#x, want %#x", tt.name, got, testCode)
			}
		}
	}
}

package soft

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"testing"

	"nvlab/vmm"
	"nvlab/vmm/soft/internal/native"
)

// The oracle: random instructions run on the host's processor, by the
// executor, by the fast path and compiled, and must leave the same state.

const (
	oracleCode = 0x20000000
	oracleData = 0x10000000
	oracleSize = 2 * pageSize
)

// oracle runs one encoding on a state in four ways.
type oracle struct {
	t        *testing.T
	m        *testMachine
	compiled *testMachine
	runner   *native.Runner
	data     []byte // the host's copy of the sandbox
	guest    []byte // the guest's
	code     []byte // the guest's code page
	count    int
	skips    int
}

func newOracle(t *testing.T) *oracle {
	if _, err := os.Stat("/proc/self/maps"); err != nil {
		t.Skip("no Linux to map fixed addresses on")
	}
	runner, err := native.New(oracleCode)
	if err != nil {
		t.Skip("no memory with code at a fixed address: ", err)
	}
	data, err := native.Map(oracleData, oracleSize, false)
	if err != nil {
		t.Skip(err)
	}
	o := &oracle{t: t, m: newTestMachineWith(t, Engine{Interpreter: true}), compiled: newCompiled(t), runner: runner, data: data,
		guest: make([]byte, oracleSize), code: make([]byte, pageSize)}
	for _, r := range []vmm.Region{{Base: oracleData, Mem: o.guest}, {Base: oracleCode, Mem: o.code}} {
		if err := o.m.p.Map(r); err != nil {
			t.Fatal(err)
		}
		if err := o.compiled.p.Map(r); err != nil {
			t.Fatal(err)
		}
		for off := uint64(0); off < uint64(len(r.Mem)); off += pageSize {
			o.m.mapPage(r.Base+off, r.Base+off, pteP|pteW)
			o.compiled.mapPage(r.Base+off, r.Base+off, pteP|pteW)
		}
	}
	o.m.start(oracleCode)
	o.compiled.start(oracleCode)
	return o
}

// load puts a state into the processor.
func (o *oracle) load(c *cpu, s *native.State, mem []byte) {
	copy(c.r[:16], s.R[:])
	c.setRFLAGS(s.Flags)
	copy(c.fpu.xmm[:], s.XMM[:])
	c.fpu.mxcsr = s.MXCSR
	copy(o.guest, mem)
	c.rip = o.runner.Addr()
	c.halted, c.attn = false, false
	c.delivered = 0
}

// compare says how the processor differs from what the host made.
func (o *oracle) compare(c *cpu, want *native.State, undef uint64, vec bool) string {
	for i := range want.R {
		if i != 4 && c.r[i] != want.R[i] {
			return fmt.Sprintf("register %d = %#x, the host has %#x", i, c.r[i], want.R[i])
		}
	}
	const all = flagsArith | flagDF
	if got := c.rflags(); (got^want.Flags)&all&^undef != 0 {
		return fmt.Sprintf("flags = %#x, the host has %#x (undefined: %#x)", got&all, want.Flags&all, undef)
	}
	if vec {
		for i := range want.XMM {
			if c.fpu.xmm[i] != want.XMM[i] {
				return fmt.Sprintf("xmm%d = %#x, the host has %#x", i, c.fpu.xmm[i], want.XMM[i])
			}
		}
		if c.fpu.mxcsr != want.MXCSR {
			return fmt.Sprintf("mxcsr = %#x, the host has %#x", c.fpu.mxcsr, want.MXCSR)
		}
	}
	if i := mismatch(o.guest, o.data); i >= 0 {
		return fmt.Sprintf("byte %#x of memory = %#x, the host has %#x", i, o.guest[i], o.data[i])
	}
	return ""
}

// state makes a random state that suits the instruction.
func (o *oracle) state(r *rand.Rand, f *form, in *inst) native.State {
	var s native.State
	for i := range s.R {
		s.R[i] = interesting(r)
	}
	s.Flags = flagOne | flagIF | r.Uint64()&(flagsArith|flagDF)
	s.MXCSR = mxcsrReset
	if f.vec {
		for i := range s.XMM {
			s.XMM[i] = interestingVec(r)
		}
		s.MXCSR |= uint32(r.IntN(4)) << 13
		if r.IntN(4) == 0 {
			s.MXCSR |= uint32(r.IntN(2))<<15 | uint32(r.IntN(2))<<6
		}
	}
	if in.op >= 0x1a3 && in.op <= 0x1bb && in.op&7 == 3 && in.mod != 3 { // bit strings
		s.R[in.reg] = uint64(int64(r.IntN(4000) - 2000))
	}
	if (in.op == 0xf6 || in.op == 0xf7) && in.modrm>>3&7 > 5 && r.IntN(4) != 0 {
		// A quotient that fits.
		s.R[rDX] = uint64(int64(r.IntN(3) - 1))
		s.R[rAX] &^= 0xff00
	}
	if in.mod != 3 && f.modrm {
		if in.index != slotZero {
			s.R[in.index] = uint64(r.IntN(16)) << 4
		}
		// In the middle, so that bit strings fit on both sides.
		s.R[in.base] = oracleData + 1536 + uint64(r.IntN(64))<<4
		if !f.align && r.IntN(4) == 0 {
			s.R[in.base] += uint64(r.IntN(16))
		}
	}
	return s
}

func (o *oracle) run(r *rand.Rand, f *form, states int) {
	code, size := f.instance(r)
	var in inst
	if st := decode(append(bytes.Clone(code), make([]byte, 16)...), &in, true); st != decodeOK || int(in.len) != len(code) {
		o.t.Errorf("%s: decode(% x) = %d with length %d, want length %d", f.name, code, st, in.len, len(code))
		return
	}
	in.size = size
	o.runner.Prepare(code, f.vec)
	clear(o.code)
	copy(o.code[native.Lead:], code)
	for i := native.Lead + len(code); i < native.Lead+64; i++ {
		o.code[i] = 0xf4 // HLT
	}
	o.m.p.Wrote(oracleCode, pageSize)
	o.compiled.p.Wrote(oracleCode, pageSize)
	mem := make([]byte, oracleSize)
	c := o.m.c
	for n := range states {
		s := o.state(r, f, &in)
		if n%16 == 0 && in.mod != 3 && f.modrm {
			for i := 0; i < len(mem); i += 8 {
				putLE(mem[i:], 8, interesting(r))
			}
		}
		count := in.imm
		if len(code) > 0 && (in.op == 0xd0 || in.op == 0xd1) {
			count = 1
		} else if in.op == 0xd2 || in.op == 0xd3 || in.op == 0x1a5 || in.op == 0x1ad {
			count = s.R[rCX]
		}
		undef := f.undefined(&in, count)
		if f.undef == undefDouble && shiftCount(count, size) > 16 && size == 2 {
			continue // the result is undefined too
		}
		o.load(c, &s, mem)
		c.stepOne()
		if c.delivered != 0 || c.p.tripleFault {
			o.skips++
			c.p.tripleFault = false
			continue
		}
		want := s
		copy(o.data, mem)
		o.runner.Run(&want)
		if d := o.compare(c, &want, undef, f.vec); d != "" {
			o.fail(f, code, &s, "executor", d)
			return
		}
		for _, tier := range []struct {
			name string
			c    *cpu
		}{{"fast path", o.m.c}, {"compiled code", o.compiled.c}} {
			c := tier.c
			o.load(c, &s, mem)
			end := c.now + 2
			c.fast(end)
			if !c.halted || c.now != end {
				o.fail(f, code, &s, tier.name, fmt.Sprintf("rip %#x after %d instructions, not at the HLT", c.rip, c.now+2-end))
				return
			}
			if d := o.compare(c, &want, undef, f.vec); d != "" {
				o.fail(f, code, &s, tier.name, d)
				return
			}
		}
		o.count++
	}
}

func (o *oracle) fail(f *form, code []byte, s *native.State, who, what string) {
	o.t.Errorf("%s, bytes % x: in the %s, %s\nbefore: %#x flags %#x mxcsr %#x", f.name, code, who, what, s.R, s.Flags, s.MXCSR)
}

func TestOracle(t *testing.T) {
	o := newOracle(t)
	forms := oracleForms()
	encodings, states := 24, 60
	if !testing.Short() {
		encodings = 100
	}
	r := rand.New(rand.NewPCG(1, 2))
	for i := range forms {
		before := o.count
		for range encodings {
			o.run(r, &forms[i], states)
		}
		if o.count == before && !t.Failed() {
			t.Errorf("%s: nothing was compared", forms[i].name)
		}
	}
	t.Logf("%d forms, %d instructions compared, three times each, %d skipped for a fault", len(forms), o.count, o.skips)
}

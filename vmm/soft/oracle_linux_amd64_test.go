package soft

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"slices"
	"testing"

	"nvlab/internal/require"
	"nvlab/vmm"
	"nvlab/vmm/soft/internal/native"
	"nvlab/vmm/soft/x86"
)

// The oracle: random instructions of every encoding run on the host's
// processor, by the executor, by the fast path and compiled, and must leave the
// same state and raise the same exceptions.

// Ways to run an instruction, beside the host's.
const (
	byExecutor = iota
	byFastPath
	compiled
	oracleWays
)

var oracleWay = [oracleWays]string{"executor", "fast path", "compiled code"}

// oracle runs instructions in four ways.
type oracle struct {
	t        *testing.T
	machines [oracleWays]*testMachine
	runner   *native.Runner
	data     []byte            // the host's copy of the sandbox
	guest    []byte            // the guest's
	code     []byte            // the guest's code page
	mem      []byte            // the sandbox before
	images   [2][fxLength]byte // what compareFPU compares
	amd      bool              // what makers do not agree on, the engine does as AMD does
}

// What ends a trial.
const (
	opINT3 = 0xcc
	opHLT  = 0xf4
)

// oracleTop is the stack of exception handlers.
const oracleTop = testStack - 0x4000

func newOracle(t *testing.T) *oracle {
	runtime.LockOSThread()
	runner, err := native.New(oracleCode)
	if err != nil {
		require.Missing(t, "JIT", "no memory with code at a fixed address: %v", err)
	}
	data, err := native.Map(oracleData, oracleSize, false)
	if err != nil {
		require.Missing(t, "JIT", "no memory at a fixed address: %v", err)
	}
	if err := native.SetGSBase(oracleGS); err != nil {
		t.Fatal(err)
	}
	undo, err := native.OnlyFaults()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := undo(); err != nil {
			t.Error(err)
		}
		if err := native.SetGSBase(0); err != nil {
			t.Error(err)
		}
		runtime.UnlockOSThread()
		if err := errors.Join(runner.Close(), native.Unmap(data)); err != nil {
			t.Error(err)
		}
	})
	info, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		t.Fatal(err)
	}
	o := &oracle{t: t, runner: runner, data: data, amd: bytes.Contains(info, []byte("AuthenticAMD")),
		guest: make([]byte, oracleSize), code: make([]byte, x86.PageSize), mem: make([]byte, oracleSize)}
	interpreter := newTestMachineWith(t, Engine{Interpreter: true})
	o.machines = [oracleWays]*testMachine{interpreter, interpreter, newCompiled(t)}
	for _, m := range o.machines[1:] {
		for _, r := range []vmm.Region{{Base: oracleData, Mem: o.guest}, {Base: oracleCode, Mem: o.code}} {
			if err := m.p.Map(r); err != nil {
				t.Fatal(err)
			}
			m.mapPage(r.Base, r.Base, pteP|pteW|pteU)
		}
		m.start(oracleCode)
		for v := range 256 {
			m.ram[testStubs+16*v] = 0xf4
			dpl := uint64(0)
			if v == excBP || v == 4 {
				dpl = 3
			}
			m.gate(uint8(v), testStubs+16*uint64(v), dpl, 1)
		}
		x86.PutLE(m.ram[testTSS+36:], 8, oracleTop)
		m.c.cr4 |= x86.CR4DE // both as Linux has them
		m.c.efer |= x86.EFERNXE
		m.c.cr0 |= x86.CR0AM
		m.p.takeCache() // as Run does
	}
	if x := (trial{code: []byte{0x90}}); !o.enters(&x) {
		require.Missing(t, "JIT", "signals of the host do not tell its exceptions")
	}
	return o
}

// load puts a trial's state into the processor, with Linux's selectors.
func (o *oracle) load(c *cpu, s *native.State, x *trial) {
	copy(c.r[:16], s.R[:])
	c.r[x86.SlotGS] = oracleGS
	c.setRFLAGS(s.Flags)
	switch x.kind &^ native.In32 {
	case native.WithXMM:
		copy(c.fpu.xmm[:], s.XMM[:])
		c.setMXCSR(s.MXCSR)
	case native.WithFPU:
		c.fpu.x87.Fxrstor(&s.FPU)
		c.setMXCSR(le.Uint32(s.FPU[fxMXCSR:]))
		for i := range 16 {
			c.fpu.xmm[i] = [2]uint64{le.Uint64(s.FPU[fxXMM+16*i:]), le.Uint64(s.FPU[fxXMM+16*i+8:])}
		}
	}
	code := segment{sel: 0x10, attr: attrCode64, limit: ^uint32(0)}
	data := segment{sel: 0x18, attr: attrData, limit: ^uint32(0)}
	if x.cpl == 3 {
		code.sel, data.sel = 0x33, 0x2b
	}
	c.seg = [6]segment{x86.SegCS: code, x86.SegSS: data}
	if x.e.in32 {
		code.sel, code.attr = 0x23, attrCode32|3<<5
		c.seg = [6]segment{x86.SegES: data, x86.SegCS: code, x86.SegSS: data, x86.SegDS: data}
	}
	c.long = !x.e.in32
	c.setCPL(x.cpl)
	c.rip = o.runner.Addr()
	c.halted, c.shadow, c.movSS = false, false, false
	c.p.tripleFault, c.p.stopping = false, false
}

// run runs until an exception's handler halts, or the code behind the
// instruction. Where the executor would come to an INT3 there, it only says what that raises:
// INT3 has trials of its own.
func (o *oracle) run(way int) native.Fault {
	c := o.machines[way].c
	ended := func() native.Fault {
		c.flags = c.flags&x86.FlagDF | x86.FlagIF
		return native.Fault{Vector: excBP, RIP: c.rip}
	}
	end := c.now + 5000
	for !c.halted && c.now < end {
		c.attn = false
		if way == byExecutor || c.mustSingleStep() {
			c.stepOne()
			if at := c.rip - oracleCode; at < x86.PageSize && c.rip != o.runner.Addr() && o.code[at] == opINT3 {
				c.rip++
				return ended()
			}
		} else {
			c.fast(end)
		}
	}
	if c.halted && c.rip-oracleCode <= x86.PageSize {
		return ended()
	}
	m := o.machines[way]
	if c.rip <= testStubs || c.rip > testStubs+16*256 {
		return native.Fault{Vector: -2, RIP: c.rip}
	}
	f := native.Fault{Vector: int(c.rip-testStubs) / 16, Addr: c.cr2}
	sp := c.r[x86.RSP]
	switch f.Vector {
	case 8, excTS, excNP, excSS, excGP, excPF, excAC:
		f.Error = m.word(sp)
		sp += 8
	}
	f.RIP = m.word(sp)
	c.setArith(m.word(sp + 16))
	c.flags = m.word(sp+16)&x86.FlagDF | x86.FlagIF
	c.r[x86.RSP] = m.word(sp + 24)
	return f
}

// trial is one instruction and one state.
type trial struct {
	e    *encoding
	code []byte
	in   x86.Inst
	kind native.Kind
	cpl  uint8
	s    native.State
	at   uint64 // of the memory operand
}

// compare says how the processor differs from what the host made.
func (o *oracle) compare(c *cpu, x *trial, want *native.State, fault, wantFault native.Fault) string {
	if wantFault.Vector == excPF && x.cpl == 0 {
		wantFault.Error &^= pfUser
	}
	if wantFault.Vector == excPF && wantFault.Addr >= 1<<47-x86.PageSize {
		wantFault.Error &^= pfPresent // the host's kernel
	}
	if wantFault.Vector != excPF {
		fault.Addr, wantFault.Addr = 0, 0
	}
	switch x.in.Op {
	case 0xa6, 0xa7, 0xd9, 0xdd, 0x1ae: // in which order they access memory
		fault.Addr, wantFault.Addr = 0, 0
		if x.in.Op|1 == 0xa7 && fault.Vector != excBP {
			fault.Vector, fault.Error = wantFault.Vector, wantFault.Error
		}
	}
	if !o.amd && x.kind&^native.In32 == native.WithFPU && fault.Vector == excPF && wantFault.Vector == excBP && want.FPU[2]&0x80 != 0 {
		return "" // Intel's processors store nothing, and so do not fault, when an x87 exception that is not masked comes of it
	}
	if fault != wantFault {
		return fmt.Sprintf("exception %+v, the host has %+v", fault, wantFault)
	}
	for i := range want.R {
		if x.in.Rep != 0 && x.in.AddressSize == 4 && !o.amd && uint32(c.r[i]) == uint32(want.R[i]) {
			continue // Intel's processors clear the upper halves also where nothing was repeated
		}
		if c.r[i] != want.R[i] {
			return fmt.Sprintf("register %d = %#x, the host has %#x", i, c.r[i], want.R[i])
		}
	}
	const all = x86.FlagsArith | x86.FlagDF
	undef := uint64(0)
	if fault.Vector == excBP {
		undef = undefinedFlags(&x.in, x.s.R[x86.RCX])
	}
	if repeatedCompare(&x.in) && fault.Vector != excBP && !o.amd {
		undef = x86.FlagsArith // Intel's processors have them of an earlier turn
	}
	if x.kind&^native.In32 == native.WithFPU && invalidPending(want) {
		undef = x86.FlagCF | x86.FlagPF | x86.FlagZF
	}
	if got := c.rflags(); (got^want.Flags)&all&^undef != 0 {
		return fmt.Sprintf("flags = %#x, the host has %#x (undefined: %#x)", got&all, want.Flags&all, undef)
	}
	if d := o.compareFPU(c, x, want, fault.Vector != excBP); d != "" {
		return d
	}
	if i := mismatch(o.guest, o.data); i >= 0 && !o.mayDiffer(x, uint64(i), fault.Vector != excBP) {
		return fmt.Sprintf("byte %#x of memory = %#x, the host has %#x", i, o.guest[i], o.data[i])
	}
	return ""
}

// mayDiffer says that memory differs where the host may do as it likes: in
// instruction pointers and reserved bytes of saved states, and what a fault has
// stored of them.
func (o *oracle) mayDiffer(x *trial, at uint64, fault bool) bool {
	off := oracleData + at - x.at
	switch {
	case x.in.Op == 0x1ae && x.e.ext == 0:
		if fault {
			return true
		}
		pointers, mask := off >= 6 && off < 24, off >= fxMask && off < fxMask+4
		return pointers || mask || off >= fxUsed
	case (x.in.Op == 0xd9 || x.in.Op == 0xdd) && x.e.mem && x.e.ext == 6:
		if x.in.Size == 2 {
			return fault || off >= 6 && off < 14
		}
		return fault || off >= 12 && off < 28
	case isX87(x.in.Op) && x.e.mem && fault:
		return !o.amd // Intel's processors store in two parts
	case x.in.Op == 0xff && x.e.ext == 2 && fault:
		return !o.amd // Intel's processors push the return address before they find where they cannot go
	case x.e.in32 && pushesSegment(x.in.Op):
		// Intel's processors store 16 of the 32 bits (SDM volume 2, PUSH).
		return !o.amd && x.s.R[x86.RSP]-oracleData-at <= 2
	}
	return false
}

func repeatedCompare(in *x86.Inst) bool {
	return in.Rep != 0 && slices.Contains([]uint16{0xa6, 0xa7, 0xae, 0xaf}, in.Op)
}

func pushesSegment(op uint16) bool {
	return slices.Contains([]uint16{0x06, 0x0e, 0x16, 0x1e, 0x1a0, 0x1a8}, op)
}

func (o *oracle) compareFPU(c *cpu, x *trial, want *native.State, fault bool) string {
	switch x.kind &^ native.In32 {
	case native.WithXMM:
		if x.e.estimate() {
			return ""
		}
		for i := range want.XMM {
			if c.fpu.xmm[i] != want.XMM[i] {
				return fmt.Sprintf("xmm%d = %#x, the host has %#x", i, c.fpu.xmm[i], want.XMM[i])
			}
		}
		if c.fpu.mxcsr != want.MXCSR {
			return fmt.Sprintf("mxcsr = %#x, the host has %#x", c.fpu.mxcsr, want.MXCSR)
		}
	case native.WithFPU:
		switch x.in.Op {
		case 0x12a, 0x12c, 0x12d, 0x1f7:
			if fault {
				return "" // some enter MMX before they find the fault
			}
		}
		if fault && !o.amd {
			return "" // so do all of Intel's
		}
		got, host := &o.images[0], &o.images[1]
		*got, *host = [fxLength]byte{}, want.FPU
		c.fpu.x87.Fxsave(got)
		le.PutUint32(got[fxMXCSR:], c.fpu.mxcsr)
		for i, v := range c.fpu.xmm[:16] {
			le.PutUint64(got[fxXMM+16*i:], v[0])
			le.PutUint64(got[fxXMM+16*i+8:], v[1])
		}
		copy(host[6:fxMXCSR], got[6:]) // opcode and pointers
		copy(host[fxMask:fxMask+4], got[fxMask:])
		copy(host[fxUsed:], got[fxUsed:])
		if x.e.estimate() || x.e.varies() && !o.amd {
			copy(host[2:5], got[2:])
			copy(host[32:fxXMM], got[32:])
		}
		if x.e.modrm && x.in.Mod == 3 && (x.in.Op == 0xdb || x.in.Op == 0xdf) && x.in.ModRM >= 0xe8 {
			// C1 after FCOMI: one maker clears it, the other keeps it.
			host[3] = host[3]&^2 | got[3]&2
		}
		if invalidPending(want) { // the codes of a comparison
			const codes = 0x45
			host[3] = host[3]&^codes | got[3]&codes
		}
		if i := mismatch(got[:], host[:]); i >= 0 {
			return fmt.Sprintf("byte %d of the FXSAVE image = %#x, the host has %#x:\n% x\n% x", i, got[i], host[i], got[:160], host[:160])
		}
	}
	return ""
}

// invalidPending says that an invalid operation that is not masked waits.
func invalidPending(s *native.State) bool { return s.FPU[2]&^s.FPU[0]&1 != 0 }

// estimate says that the result depends on the host's model.
func (e *encoding) estimate() bool {
	switch e.op {
	case 0x152, 0x153: // RSQRT, RCP
		return true
	case 0xd9: // transcendental, and partial remainders
		return !e.mem && e.ext >= 6
	case 0xdd: // FFREE: C1
		return !e.mem && e.ext == 0
	}
	return false
}

// trial runs a state in all ways and says if they agree and how the
// instruction ended.
func (o *oracle) trial(x *trial, trap bool) (vector int, ok bool) {
	want := x.s
	copy(o.data, o.mem)
	wantFault := o.runner.Run(&want, trap)
	if wantFault.Vector < 0 { // as an INT3 would have told
		wantFault = native.Fault{Vector: excBP, RIP: o.runner.Addr() + uint64(len(x.code)) + 1}
	}
	for way, m := range o.machines {
		if x.e.in32 && way != byExecutor {
			continue // there is but one way
		}
		o.load(m.c, &x.s, x)
		copy(o.guest, o.mem)
		fault := o.run(way)
		if d := o.compare(m.c, x, &want, fault, wantFault); d != "" {
			o.t.Errorf("%v, bytes % x at CPL %d: in the %s, %s\nbefore: %#x flags %#x mxcsr %#x operand at %#x", x.e, x.code, x.cpl, oracleWay[way], d, x.s.R, x.s.Flags, x.s.MXCSR, x.at)
			return 0, false
		}
	}
	return wantFault.Vector, true
}

// instance tries an instance of e with some states, and returns how many of
// them completed and how many raised an exception.
func (o *oracle) instance(r *rand.Rand, e *encoding, states int) (done, refused int) {
	x := trial{e: e, kind: e.kind()}
	if e.in32 {
		x.kind |= native.In32
	}
	for {
		x.code, x.in = e.instance(r)
		switch {
		case e.op == 0xff && x.in.RM == x86.RSP && !e.mem: // the stack pointer, a branch's target
		case e.op == 0x1f7 && x.in.AddressSize == 2: // what a mask hides is out of the sandbox
		case !o.amd && e.op == 0x90 && e.mandatory() == 0xf3 && x.code[len(x.code)-2]&0xf1 == 0x41: // Intel's PAUSE has no REX.B
		default:
			goto chosen
		}
	}
chosen:
	x.cpl = uint8(r.IntN(2)) * 3
	if e.privileged() || x.in.Len == 0 || e.in32 {
		x.cpl = 3
	}
	o.runner.Prepare(x.code, x.kind)
	behind := byte(opINT3) // as on the host
	if x.cpl == 0 {
		behind = opHLT // which has no exception to deliver
	}
	for i := range o.code {
		o.code[i] = behind
	}
	copy(o.code[native.Lead:], x.code)
	for _, m := range o.machines[1:] {
		m.p.Wrote(oracleCode, x86.PageSize)
		m.c.flushPage(oracleData) // the first trial misses the TLB, and the others hit it
	}
	trap := true // to see where the first ends
	for n := range states {
		if n%16 == 0 {
			fill(r, o.mem)
		}
		o.state(r, &x)
		if undefinedResult(&x.in, x.s.R[x86.RCX]) {
			continue
		}
		vector, ok := o.trial(&x, trap)
		switch {
		case !ok:
			return done, refused
		case vector == excBP:
			done++
			trap = flow(e.op, e.ext) || e.op == 0xcc || e.op == 0xcd || e.in32
		default:
			if refused++; vector == excUD {
				return done, refused
			}
		}
	}
	return done, refused
}

// unreachedOps are the opcodes that the host is not asked to complete. All
// others must be reached.
func unreachedOps() (unreached [0x200]bool) {
	for _, ops := range [][]uint16{
		// No instructions of 64-bit code, or of processors like ours.
		{0x06, 0x07, 0x0e, 0x16, 0x17, 0x1e, 0x1f, 0x27, 0x2f, 0x37, 0x3f, 0x60, 0x61, 0x62, 0x82, 0x9a, 0xc4, 0xc5, 0xce, 0xd4, 0xd5, 0xd6, 0xea,
			0x104, 0x10a, 0x10b, 0x10c, 0x10e, 0x10f, 0x124, 0x125, 0x126, 0x127, 0x136, 0x137, 0x138, 0x139, 0x13a, 0x13b, 0x13c, 0x13d, 0x13e, 0x13f,
			0x178, 0x179, 0x17a, 0x17b, 0x17c, 0x17d, 0x1a6, 0x1a7, 0x1aa, 0x1b8, 0x1b9, 0x1d0, 0x1f0, 0x1ff},
		// Not for user programs.
		{0x6c, 0x6d, 0x6e, 0x6f, 0xe4, 0xe5, 0xe6, 0xe7, 0xec, 0xed, 0xee, 0xef, 0xf4, 0xfa, 0xfb,
			0x106, 0x107, 0x108, 0x109, 0x120, 0x121, 0x122, 0x123, 0x130, 0x132, 0x133, 0x135},
		// They ask for the host's descriptors, clock and model, leave the
		// process's code segment, or enter its kernel.
		{0x8e, 0xca, 0xcb, 0xcf, 0xf1, 0x100, 0x101, 0x102, 0x103, 0x105, 0x131, 0x134, 0x1a1, 0x1a2, 0x1a9, 0x1b2, 0x1b4, 0x1b5},
	} {
		for _, op := range ops {
			unreached[op] = true
		}
	}
	return unreached
}

// survey is what was reached.
type survey struct {
	forms, encodings  int
	total, exceptions int
	reached           [0x200]bool
}

// try tries all encodings but those that are exempt, with so many states of so
// many instances.
func (o *oracle) try(list []encoding, instances, states int) (s survey) {
	r := rand.New(rand.NewPCG(1, 2))
	forms := map[encoding]bool{}
	for i := range list {
		e := &list[i]
		if e.exempt() {
			continue
		}
		all, some := instances, states
		if e.redundant() {
			all, some = min(all, 4), min(some, 8)
		}
		done := 0
		for n := range all {
			if n == 6 && done == 0 {
				break // it needs a privilege, or is none
			}
			a, b := o.instance(r, e, some)
			done += a
			s.exceptions += b
			if o.t.Failed() {
				return s
			}
		}
		s.total += done
		if done > 0 {
			s.encodings++
			s.reached[e.op] = true
			forms[encoding{op: e.op, ext: e.ext, rm: e.rm, mem: e.mem, prefix: e.mandatory()}] = true
		}
	}
	s.forms = len(forms)
	return s
}

func TestOracle(t *testing.T) {
	t.Parallel()
	o := newOracle(t)
	instances, states := 4, 4
	if !testing.Short() {
		instances, states = 38, 38
	}
	s := o.try(allEncodings(), instances, states)
	if t.Failed() {
		return
	}
	unreached := unreachedOps()
	for op, ok := range s.reached {
		if !ok && !unreached[op] && !isPrefix(uint16(op)) && op>>4 != 4 {
			t.Errorf("opcode %#x was not reached", op)
		}
	}
	t.Logf("%d forms, %d with all prefixes: %d instructions and %d exceptions compared in %d ways each",
		s.forms, s.encodings, s.total, s.exceptions, oracleWays)
	if c := o.machines[compiled].p.cache.native.Stats(); c.Entries < uint64(s.total) {
		t.Errorf("%d times into compiled code with %d instructions", c.Entries, s.total)
	}
	if want := 3000; s.forms < want {
		t.Errorf("%d forms, want at least %d", s.forms, want)
	}
	if want := 5_000_000; s.total < want && !testing.Short() {
		t.Errorf("%d instructions compared, want at least %d", s.total, want)
	}
}

// TestOracle32 does the same in compatibility mode, which only the executor
// knows.
func TestOracle32(t *testing.T) {
	o := newOracle(t)
	if x := (trial{e: &encoding{op: 0x90, in32: true}, code: []byte{0x90}, kind: native.In32}); !o.enters(&x) {
		require.Missing(t, "JIT", "the host runs no 32-bit code")
	}
	instances, states := 3, 3
	if !testing.Short() {
		instances, states = 8, 8
	}
	s := o.try(encodings32(), instances, states)
	if t.Failed() {
		return
	}
	t.Logf("%d forms, %d with all prefixes: %d instructions and %d exceptions compared", s.forms, s.encodings, s.total, s.exceptions)
	if want := 1500; s.forms < want {
		t.Errorf("%d forms, want at least %d", s.forms, want)
	}
}

// enters says whether the host gets to run the trial.
func (o *oracle) enters(x *trial) bool {
	o.runner.Prepare(x.code, x.kind)
	x.s.R[x86.RSP] = oracleData + 64
	x.s.Flags = x86.FlagOne
	return o.runner.Run(&x.s, true).Vector == excBP
}

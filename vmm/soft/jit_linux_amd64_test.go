package soft

import (
	"math/rand/v2"
	"testing"

	"nvlab/vmm"
	"nvlab/vmm/soft/abi"
	"nvlab/vmm/soft/ir"
	"nvlab/vmm/soft/jit"
	"nvlab/vmm/soft/x86"
)

// TestCompilerEffects translates every op alone, and checks that those of
// which effect says that they never leave are known and do not.
func TestCompilerEffects(t *testing.T) {
	m := newCompiled(t)
	n := m.p.cache.native
	m.p.cache.Insts = append(m.p.cache.Insts, x86.Inst{Op: 0xf4, Opcode: 0xf4}) // HLT
	known := 0
	for code := ir.Opcode(0); code < ir.OpCount; code++ {
		if ir.OpTable[code].Full != 0 {
			continue
		}
		for _, reg := range []uint8{x86.RAX, x86.RSP, x86.RSI, 13} {
			o := ir.Op{Code: code, Dst: reg, Src: x86.RCX, Base: x86.RBX, Index: x86.SlotZero, Imm: 1, N: 1, Sel: ir.GenUpper}
			got := n.Probe(0, o, ir.Op{Code: ir.OpJMP, N: 1})[0]
			if got.Known {
				known++
			}
			if ir.OpTable[code].Effect&ir.EffLeaves != 0 {
				continue
			}
			if !got.Known {
				t.Errorf("%v is said never to leave, and is unknown", code)
			}
			if got.Leaves {
				t.Errorf("%v is said never to leave, and does", code)
			}
		}
	}
	t.Logf("%d of %d forms are compiled", known, 4*int(ir.OpCount))
}

// TestDirectEffects translates instructions of every encoding, alone,
// and checks the same of them.
func TestDirectEffects(t *testing.T) {
	m := newCompiled(t)
	n := m.p.cache.native
	r := rand.New(rand.NewPCG(23, 24))
	m.p.cache.Insts = append(m.p.cache.Insts, x86.Inst{})
	encodings := usualEncodings()
	compiled := 0
	for _, e := range encodings {
		some := false
		for range 50 {
			code, in := e.instance(r)
			if in.Len == 0 {
				continue
			}
			m.p.cache.Insts[1] = in
			o := ir.Op{Code: ir.OpGENERIC, Imm: 1, N: 1, Disp: int32(in.Len)}
			got := n.Probe(ir.ModeSSE|ir.ModeMasked, o, ir.Op{Code: ir.OpJMP, N: 1})[0]
			if !got.Known {
				continue
			}
			some = true
			if got.Effect&ir.EffLeaves == 0 && got.Leaves {
				t.Errorf("%v, bytes % x: is said never to leave, and does", e, code)
				break
			}
		}
		if some {
			compiled++
		}
	}
	t.Logf("of %d encodings, %d are compiled if they have no op", len(encodings), compiled)
	if compiled < 500 {
		t.Errorf("%d encodings are compiled without an op, want 500 at least", compiled)
	}
}

// TestCompiledRevocable loads from memory that someone may take away, at which
// compiled code must not look.
func TestCompiledRevocable(t *testing.T) {
	const at = 0x10000000
	m := newCompiled(t)
	m.stubs()
	mem := make([]byte, x86.PageSize)
	mem[8] = 5
	if err := m.p.Map(vmm.Region{Base: at, Mem: mem, Revocable: true}); err != nil {
		t.Fatal(err)
	}
	m.mapPage(at, at, pteP|pteW)
	// mov ecx, 100; L: add rbx, [at+8]; mov [at+16], rbx; sub ecx, 1; jne L; hlt
	m.put(testCode, 0xb9, 100, 0, 0, 0,
		0x48, 0x03, 0x1c, 0x25, 0x08, 0, 0, 0x10,
		0x48, 0x89, 0x1c, 0x25, 0x10, 0, 0, 0x10,
		0x83, 0xe9, 0x01, 0x75, 0xeb, 0xf4)
	m.run()
	if m.c.r[x86.RBX] != 500 || x86.GetLE(mem[16:], 8) != 500 {
		t.Errorf("the sum of 100 loads of 5 is %d, stored as %d, want 500", m.c.r[x86.RBX], x86.GetLE(mem[16:], 8))
	}
	e := &m.c.tlbs[0].fast[at>>x86.PageShift&(abi.TLBSize-1)]
	if e.RTag != at || e.Native != abi.NoTag || e.WTag != abi.NoTag {
		t.Errorf("the page's tags are %#x to read, %#x to write, %#x for compiled code, want %#x, %#x, %#x", e.RTag, e.WTag, e.Native, at, abi.NoTag, abi.NoTag)
	}
}

// fill runs what is at testCode for another 1000 turns when the code cache is full,
// after which rbx has counted 2000.
func (m *testMachine) fill() {
	m.t.Helper()
	n := m.p.cache.native
	m.put(testCode+0x100, 0xeb, 0x00, 0x81, 0xc1, 0xe8, 0x03, 0, 0, 0xe9, 0xf3, 0xfe, 0xff, 0xff) // jmp; add ecx, 1000; jmp testCode
	m.c.rip = testCode + 0x100
	m.run()
	if m.c.r[x86.RBX] != 2000 {
		m.t.Errorf("rbx = %d after the code was dropped midway, want 2000", m.c.r[x86.RBX])
	}
	if n.Stats().Flushes != 1 {
		m.t.Errorf("%d flushes, want 1", n.Stats().Flushes)
	}
}

// TestCompilerFlush fills either part of the code cache.
func TestCompilerFlush(t *testing.T) {
	for _, full := range []func(n *jit.Compiler){
		func(n *jit.Compiler) { n.Skip(n.Stats().Free, 0) },
		func(n *jit.Compiler) { n.Skip(0, n.Stats().FreeRare) },
	} {
		m := counting(t)
		full(m.p.cache.native)
		m.fill()
	}
}

// TestCodeInHugePages has the host keep code that ran in a huge page, and runs it
// again.
func TestCodeInHugePages(t *testing.T) {
	m := counting(t)
	n := m.p.cache.native
	const hugePage = 2 << 20
	n.Skip(hugePage, 0)
	n.Settle()
	switch huge := n.Stats().Huge; huge {
	case hugePage:
	case 0:
		t.Skip("the host makes no huge pages of memory with code")
	default:
		t.Errorf("%d bytes of code are in huge pages, want %d", huge, hugePage)
	}
	m.c.r[x86.RCX] += 1000
	m.run()
	if m.c.r[x86.RBX] != 2000 {
		t.Errorf("rbx = %d after the code moved midway, want 2000", m.c.r[x86.RBX])
	}
}

// counting is midway in a loop that has rbx count to 1000.
func counting(t *testing.T) *testMachine {
	m := newCompiled(t)
	m.stubs()
	m.put(testCode, 0x83, 0xc3, 0x01, 0x83, 0xe9, 0x01, 0x75, 0xf8, 0xf4) // add ebx, 1; sub ecx, 1; jne; hlt
	m.c.r[x86.RCX] = 1000
	if _, err := m.p.Run(t.Context(), 999); err != nil {
		t.Fatal(err)
	}
	return m
}

// TestCompilerFlushJumps fills the code cache when compiled code has jumped.
func TestCompilerFlushJumps(t *testing.T) {
	m := newCompiled(t)
	m.stubs()
	// L: call f; sub ecx, 1; jne L; hlt; f: add ebx, 1; ret
	m.put(testCode, 0xe8, 6, 0, 0, 0, 0x83, 0xe9, 0x01, 0x75, 0xf6, 0xf4, 0x83, 0xc3, 0x01, 0xc3)
	m.c.r[x86.RCX] = 1000
	if _, err := m.p.Run(t.Context(), 999); err != nil {
		t.Fatal(err)
	}
	if m.filledLandings() == 0 {
		t.Error("compiled code jumped nowhere")
	}
	n := m.p.cache.native
	n.Skip(n.Stats().Free, 0)
	m.fill()
	m.p.cache.lastGen = ir.NoGen - 1
	m.p.running = true
	m.c.newGen(ir.GenUpper)
	if n := m.filledLandings(); n != 0 {
		t.Errorf("%d jumps lead to code that is no more", n)
	}
}

func (m *testMachine) filledLandings() (n int) {
	for _, l := range m.c.landings[0].Entries {
		if l.Code != 0 {
			n++
		}
	}
	return n
}

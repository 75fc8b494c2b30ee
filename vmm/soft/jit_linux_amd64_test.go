package soft

import (
	"math/rand/v2"
	"testing"

	"nvlab/vmm"
)

// TestCompilerEffects translates every op alone, and checks that those of
// which effect says that they never leave are known and do not.
func TestCompilerEffects(t *testing.T) {
	m := newCompiled(t)
	n := m.p.cache.native
	m.p.cache.insts = append(m.p.cache.insts, inst{op: 0xf4, opcode: 0xf4}) // HLT
	known := 0
	for code := opcode(0); code < opCount; code++ {
		if opTable[code].full != 0 {
			continue
		}
		for _, reg := range []uint8{rAX, rSP, rSI, 13} {
			o := op{code: code, dst: reg, src: rCX, base: rBX, index: slotZero, imm: 1, n: 1, sel: genUpper}
			tr := translator{n: n, asm: assembler{b: n.write, pos: n.pos, ok: true}, ops: []op{o, {code: opJMP, n: 1}}}
			tr.grouping.reset(2)
			tr.values.forget()
			tr.analyse()
			tr.flags = inWord
			ok := tr.op(0, &tr.ops[0])
			if ok {
				known++
			}
			if opTable[code].effect&effLeaves != 0 {
				continue
			}
			if !ok {
				t.Errorf("%v is said never to leave, and is unknown", code)
			}
			for _, s := range tr.stubs {
				if !s.edge {
					t.Errorf("%v is said never to leave, and does", code)
				}
			}
		}
	}
	t.Logf("%d of %d forms are compiled", known, 4*int(opCount))
}

// TestDirectEffects translates instructions of every encoding, alone,
// and checks the same of them.
func TestDirectEffects(t *testing.T) {
	m := newCompiled(t)
	n := m.p.cache.native
	r := rand.New(rand.NewPCG(23, 24))
	m.p.cache.insts = append(m.p.cache.insts, inst{})
	encodings := usualEncodings()
	compiled := 0
	for _, e := range encodings {
		some := false
		for range 50 {
			code, in := e.instance(r)
			if in.len == 0 {
				continue
			}
			m.p.cache.insts[1] = in
			o := op{code: opGENERIC, imm: 1, n: 1, disp: int32(in.len)}
			tr := translator{n: n, asm: assembler{b: n.write, pos: n.pos, ok: true}, sse: true, masked: true, ops: []op{o, {code: opJMP, n: 1}}}
			tr.grouping.reset(2)
			tr.values.forget()
			tr.analyse()
			tr.flags = inWord
			if !tr.op(0, &tr.ops[0]) {
				continue
			}
			some = true
			if tr.effect(&o)&effLeaves == 0 && len(tr.stubs) > 0 {
				t.Errorf("%v, bytes % x: is said never to leave, and does", e, code)
				break
			}
		}
		if some {
			compiled++
		}
	}
	t.Logf("of %d encodings, %d are compiled if they have no op", len(encodings), compiled)
	if compiled < 60 {
		t.Errorf("%d encodings are compiled without an op, want 60 at least", compiled)
	}
}

// TestCompiledRevocable loads from memory that someone may take away, at which
// compiled code must not look.
func TestCompiledRevocable(t *testing.T) {
	const at = 0x10000000
	m := newCompiled(t)
	m.stubs()
	mem := make([]byte, pageSize)
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
	if m.c.r[rBX] != 500 || getLE(mem[16:], 8) != 500 {
		t.Errorf("the sum of 100 loads of 5 is %d, stored as %d, want 500", m.c.r[rBX], getLE(mem[16:], 8))
	}
	e := &m.c.tlbs[0].fast[at>>pageShift&(tlbSize-1)]
	if e.rtag != at || e.native != noTag || e.wtag != noTag {
		t.Errorf("the page's tags are %#x to read, %#x to write, %#x for compiled code, want %#x, %#x, %#x", e.rtag, e.wtag, e.native, at, noTag, noTag)
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
	if m.c.r[rBX] != 2000 {
		m.t.Errorf("rbx = %d after the code was dropped midway, want 2000", m.c.r[rBX])
	}
	if n.stats().flushes != 1 {
		m.t.Errorf("%d flushes, want 1", n.stats().flushes)
	}
}

// TestCompilerFlush fills either part of the code cache.
func TestCompilerFlush(t *testing.T) {
	for _, full := range []func(n *compiler){
		func(n *compiler) { n.pos = rareCode - 1 },
		func(n *compiler) { n.rare = codeSize - 1 },
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
	n.pos = hugePage
	n.settle()
	switch n.huge {
	case hugePage:
	case rareCode:
		t.Skip("the host makes no huge pages of memory with code")
	default:
		t.Errorf("%d bytes of code are in huge pages, want %d", n.huge, hugePage)
	}
	m.c.r[rCX] += 1000
	m.run()
	if m.c.r[rBX] != 2000 {
		t.Errorf("rbx = %d after the code moved midway, want 2000", m.c.r[rBX])
	}
}

// counting is midway in a loop that has rbx count to 1000.
func counting(t *testing.T) *testMachine {
	m := newCompiled(t)
	m.stubs()
	m.put(testCode, 0x83, 0xc3, 0x01, 0x83, 0xe9, 0x01, 0x75, 0xf8, 0xf4) // add ebx, 1; sub ecx, 1; jne; hlt
	m.c.r[rCX] = 1000
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
	m.c.r[rCX] = 1000
	if _, err := m.p.Run(t.Context(), 999); err != nil {
		t.Fatal(err)
	}
	if m.filledLandings() == 0 {
		t.Error("compiled code jumped nowhere")
	}
	m.p.cache.native.pos = rareCode - 1
	m.fill()
	m.p.cache.lastGen = noGen - 1
	m.p.running = true
	m.c.newGen(genUpper)
	if n := m.filledLandings(); n != 0 {
		t.Errorf("%d jumps lead to code that is no more", n)
	}
}

func (m *testMachine) filledLandings() (n int) {
	for _, l := range m.c.landings[0].entries {
		n += int(b2u(l.code != 0))
	}
	return n
}

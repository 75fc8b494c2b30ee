package soft

import (
	"math/rand/v2"
	"slices"
	"testing"

	"nvlab/vmm/soft/ir"
	"nvlab/vmm/soft/x86"
)

// TestGroupedAccesses runs programs that read and write at many distances from
// few registers, interpreted and compiled. What they access is about the
// boundary of two pages, the second of which may be read-only, absent or hold
// code.
func TestGroupedAccesses(t *testing.T) {
	t.Parallel()
	n := 300
	if !testing.Short() {
		n = 1500
	}
	pair := interpretedAndCompiled(t)
	r := rand.New(rand.NewPCG(29, 30))
	second := []func(m *testMachine){
		func(*testMachine) {},
		func(m *testMachine) { m.mapPage(testData+x86.PageSize, testData+x86.PageSize, pteP) },
		func(m *testMachine) { m.mapPage(testData+x86.PageSize, 0, 0) },
		func(m *testMachine) { m.mapPage(testData+x86.PageSize, testCode, pteP|pteW) },
	}
	for range n {
		agree(t, pair, nearCode(r, 30+r.IntN(100), testData+x86.PageSize), r.Uint64(), second[r.IntN(len(second))])
	}
	if pair[1].p.cache.native.Stats().Clones == 0 {
		t.Error("no block got a clone, want some: the programs' groups straddle pages")
	}
}

// TestGroupedInstructions has every instruction with a memory operand behind
// another access to the same page, so that it cannot leave compiled code, and
// before one that sets the flags: nothing but itself keeps those it reads.
func TestGroupedInstructions(t *testing.T) {
	t.Parallel()
	pair := interpretedAndCompiled(t)
	r := rand.New(rand.NewPCG(41, 42))
	n, done := 1, 0
	if !testing.Short() {
		n = 2
	}
	for _, e := range append(usualEncodings(), encoding{op: 0x9c, ext: -1, rm: -1}) {
		for range n {
			var code []byte
			for try := 0; try < 400 && code == nil; try++ {
				b, in := e.instance(r)
				switch {
				case in.Len == 0 || in.AddressSize != 8 || in.Seg != x86.SegDS || in.Op == 0xf4:
				case in.Mod == 1 && in.Base == x86.RSI && in.Index == x86.SlotZero, !e.modrm && try > 20:
					code = b
				case !e.mem && e.modrm:
					try = 400
				}
			}
			if code == nil {
				break
			}
			done++
			program := le32([]byte{0xbe}, testData+uint32(r.IntN(x86.PageSize-300))+150) // mov esi, imm
			program = append(program, 0x48, 0x8b, 0x16, 0x6a, 0x05, 0x39, 0xd8)          // mov rdx, [rsi]; push 5; cmp eax, ebx
			program = append(program, code...)
			switch r.IntN(4) {
			case 0:
				program = append(program, 0x41, 0x0f, 0x92, 0xc0) // setc r8b
			case 1:
				program = append(program, 0x9c, 0x41, 0x59) // pushf; pop r9
			}
			agree(t, pair, append(program, 0x85, 0xc9, 0x58), r.Uint64()) // test ecx, ecx; pop rax
		}
	}
	t.Logf("%d programs", done)
	if done < 500 {
		t.Errorf("%d programs were run, want 500 at least", done)
	}
}

// TestCompilerWrites checks that translating an instruction tells of every
// register that the executor changes: groups rely on it.
func TestCompilerWrites(t *testing.T) {
	m := newCompiled(t)
	m.stubs()
	c, n := m.c, m.p.cache.native
	r := rand.New(rand.NewPCG(31, 32))
	checked := 0
	for _, e := range usualEncodings() {
		for range 8 {
			code, in := e.instance(r)
			if in.Len == 0 {
				continue
			}
			m.put(testCode, append(code, 0xeb, 0xfe)...)
			m.p.dropCode()
			header := c.lookup(testCode)
			ops := m.p.cache.Ops[header+1:]
			for i := range ops {
				if ops[i].PC != 0 {
					ops = ops[:i]
					break
				}
			}
			told := map[uint8]bool{}
			known := true
			for _, p := range n.Probe(c.mode, append(slices.Clone(ops), ir.Op{Code: ir.OpJMP, N: 1})...)[:len(ops)] {
				known = known && p.Known
				for _, s := range p.Writes {
					told[s] = true
				}
			}
			if !known {
				continue
			}
			for i := range 16 {
				c.r[i] = testData + 8*r.Uint64N(300)
			}
			c.r[x86.RCX] &= 0xff
			c.rip, c.attn = testCode, false
			before, events := c.r, c.delivered
			c.execute(&in)
			if c.delivered != events {
				continue
			}
			checked++
			for s := range uint8(16) {
				if c.r[s] != before[s] && !told[s] {
					t.Errorf("%v, bytes % x: changes register %d and does not tell", e, code, s)
				}
			}
		}
	}
	t.Logf("%d instructions", checked)
	if checked < 2000 {
		t.Errorf("%d instructions were checked, want 2000 at least", checked)
	}
}

// TestCloneBranches has a block go on in its clone before it ever takes a branch,
// which then must not leave code every time.
func TestCloneBranches(t *testing.T) {
	m := newCompiled(t)
	m.stubs()
	code := le32([]byte{0xbe}, testData+x86.PageSize-8)               // mov esi, imm
	code = le32(append(code, 0xb9), 20000)                            // mov ecx, imm
	code = append(code, 0x48, 0x8b, 6)                                // L: mov rax, [rsi]
	code = append(code, 0x48, 0x8b, 0x56, 8)                          // mov rdx, [rsi+8]
	code = le32(append(code, 0x81, 0xf9), 10000)                      // cmp ecx, imm
	code = append(code, 0x72, 6)                                      // jb M
	code = append(code, 0x83, 0xe9, 1, 0x75, 0xec)                    // sub ecx, 1; jne L
	code = append(code, 0xf4)                                         // hlt
	m.put(testCode, append(code, 0x83, 0xe9, 1, 0x75, 0xe6, 0xf4)...) // M: sub ecx, 1; jne L; hlt
	m.run()
	s := m.p.cache.native.Stats()
	if s.Clones != 1 || s.Entries > 1000 {
		t.Errorf("there are %d clones, and code was entered %d times, want 1, and 1000 at most", s.Clones, s.Entries)
	}
	if m.c.r[x86.RCX] != 0 {
		t.Errorf("rcx = %d, want 0", m.c.r[x86.RCX])
	}
}

// TestCompiledMiss has a call through a register, between instructions that
// use vectors, whose push misses the TLB: code goes on by itself.
func TestCompiledMiss(t *testing.T) {
	m := newCompiled(t)
	m.stubs()
	// mov ecx, 100; L: invlpg [rsp-8]; addsd xmm0, xmm1; add r12, 3; call rdi; addsd xmm2, xmm1; sub ecx, 1; jne L; hlt
	m.put(testCode, 0xb9, 100, 0, 0, 0, 0x0f, 0x01, 0x7c, 0x24, 0xf8, 0xf2, 0x0f, 0x58, 0xc1, 0x49, 0x83, 0xc4, 0x03,
		0xff, 0xd7, 0xf2, 0x0f, 0x58, 0xd1, 0x83, 0xe9, 0x01, 0x75, 0xe8, 0xf4)
	m.put(testCode+0x80, 0x48, 0x83, 0xc3, 0x01, 0xc3) // add rbx, 1; ret
	m.c.r[x86.RDI] = testCode + 0x80
	m.c.fpu.xmm[1][0] = 0x3ff0000000000000
	m.run()
	const hundred = 0x4059000000000000
	if x := &m.c.fpu.xmm; m.c.r[x86.RBX] != 100 || m.c.r[12] != 300 || x[0][0] != hundred || x[2][0] != hundred {
		t.Errorf("100 calls: rbx = %d, r12 = %d, xmm0 = %#x, xmm2 = %#x, want 100, 300, %#x, %#x", m.c.r[x86.RBX], m.c.r[12], x[0][0], x[2][0], uint64(hundred), uint64(hundred))
	}
	if n := m.p.cache.native.Stats().Refills; n < 90 {
		t.Errorf("code went on after %d misses, want 90 at least", n)
	}
}

// computedLoop makes a loop over r8 whose passes compute their addresses anew, of
// registers that mostly stay as they were: rdi and rsi point to memory, and rbx is up to
// two pages.
func computedLoop(r *rand.Rand) []byte {
	var code []byte
	for range 3 + r.IntN(8) {
		d := byte(8 * r.IntN(8))
		mask := le32(nil, []uint32{0xff8, 0x1ff8, 0x38}[r.IntN(3)])
		scale := byte(r.IntN(3)) << 6
		switch r.IntN(14) {
		case 0:
			code = append(code, 0x4c, 0x8d, 0x4c, 0x1f|scale, d, 0x4b, 0x8b, 0x04, 0xc1) // lea r9, [rdi+rbx*s+d]; mov rax, [r9+r8*8]
		case 1:
			code = append(code, 0x4c, 0x8d, 0x4c, 0x3b, d, 0x4b, 0x01, 0x04, 0xc1) // lea r9, [rbx+rdi+d]; add [r9+r8*8], rax
		case 2:
			code = append(code, 0x4c, 0x8d, 0x14, 0x5b, 0x49, 0xc1, 0xe2, byte(r.IntN(3))) // lea r10, [rbx+rbx*2]; shl r10, n
			code = append(code, 0x4e, 0x8d, 0x54, 0x16, d, 0x4b, 0x89, 0x04, 0xc2)         // lea r10, [rsi+r10+d]; mov [r10+r8*8], rax
		case 3:
			code = append(append(code, 0x89, 0xd9, 0x81, 0xe1), mask...) // mov ecx, ebx; and ecx, mask
			code = append(code, 0x48, 0x01, 0xf9, 0x48, 0x8b, 0x51, d)   // add rcx, rdi; mov rdx, [rcx+d]
		case 4:
			code = append(code, 0x48, 0x63, 0xcb, 0x48, 0x8d, 0x0c, 0x0e|scale, 0x48, 0x01, 0x51, d) // movsxd rcx, ebx; lea rcx, [rsi+rcx*s]; add [rcx+d], rdx
		case 5:
			code = append(code, 0x4d, 0x31, 0xc9, 0x4a, 0x03, 0x44, 0x0f, d) // xor r9, r9; add rax, [rdi+r9+d]
		case 6:
			code = append(code, 0x45, 0x31, 0xca, 0x4a, 0x8d, 0x0c, 0x16, 0x88, 0x01) // xor r10d, r9d; lea rcx, [rsi+r10]; mov [rcx], al
		case 7:
			code = append(append(code, 0x48, 0x89, 0xd9, 0x48, 0x81, 0xe1), mask...) // mov rcx, rbx; and rcx, mask
			code = append(code, 0x48, 0x03, 0x04, 0x0e)                              // add rax, [rsi+rcx]
		case 8:
			code = append(code, 0x48, 0x83, 0xc3, d) // add rbx, d
		case 9:
			code = append(append(code, 0x89, 0xdb, 0x81, 0xe3), mask...) // mov ebx, ebx; and ebx, mask
		case 10:
			code = append(append(code, 0x89, 0xc3, 0x81, 0xe3), mask...) // mov ebx, eax; and ebx, mask
		case 11:
			code = append(code, 0x48, 0x87, 0xfe) // xchg rdi, rsi
		case 12:
			code = append(code, 0x48, 0x89, 0xd9, 0x48, 0xc1, 0xe1, byte(r.IntN(3)), 0x66, 0x89, 0x44, 0x0e, d) // mov rcx, rbx; shl rcx, n; mov [rsi+rcx+d], ax
		case 13:
			code = append(code, 0x9c, 0x59) // pushf; pop rcx
		}
	}
	code = append(code, 0x49, 0xff, 0xc0, 0x49, 0x83, 0xf8, 0x30, 0x0f, 0x8c) // inc r8; cmp r8, 48; jl
	return le32(code, uint32(-len(code)-4))
}

// TestComputedAddresses runs loops that compute the same addresses in each pass,
// interpreted and compiled, on memory whose pages are in disorder: an address that is taken for one of
// another page is not where the host has it.
func TestComputedAddresses(t *testing.T) {
	t.Parallel()
	n := 400
	if !testing.Short() {
		n = 2000
	}
	pair := interpretedAndCompiled(t)
	r := rand.New(rand.NewPCG(31, 32))
	for range n {
		regs := [4]uint64{testData + r.Uint64N(6*x86.PageSize), testData + 6*x86.PageSize + r.Uint64N(6*x86.PageSize), r.Uint64N(2*x86.PageSize) &^ 7, r.Uint64N(4)}
		agree(t, pair, computedLoop(r), r.Uint64(), func(m *testMachine) {
			for k := range uint64(24) {
				m.mapPage(testData+k*x86.PageSize, testData+(k*7+5)%24*x86.PageSize, pteP|pteW|pteU)
			}
			m.c.r[x86.RDI], m.c.r[x86.RSI], m.c.r[x86.RBX], m.c.r[8] = regs[0], regs[1], regs[2], regs[3]
		})
	}
}

// TestComputedAddressesAreFoundOnce: what a pass of an unrolled loop computes as the one before
// did costs no further lookup.
func TestComputedAddressesAreFoundOnce(t *testing.T) {
	lea := []byte{0x4c, 0x8d, 0x4c, 0x1f, 8, 0x4c, 0x8d, 0x14, 0x5b, 0x49, 0xc1, 0xe2, 3, 0x4e, 0x8d, 0x54, 0x16, 8}                             // lea r9, [rdi+rbx+8]; lea r10, [rbx+rbx*2]; shl r10, 3; lea r10, [rsi+r10+8]
	work := []byte{0x4b, 0x8b, 0x04, 0xc2, 0x4b, 0x03, 0x04, 0xc1, 0x4b, 0x89, 0x04, 0xc1, 0x49, 0xff, 0xc0, 0x49, 0x83, 0xf8, 0x30, 0x0f, 0x8c} // mov rax, [r10+r8*8]; add rax, [r9+r8*8]; mov [r9+r8*8], rax; inc r8; cmp r8, 48; jl
	size := func(before, loop []byte) int {
		m := newCompiled(t)
		m.stubs()
		code := append(slices.Clone(before), loop...)
		m.put(testCode, append(le32(code, uint32(-len(loop)-4)), 0xf4)...)
		m.c.r[x86.RDI], m.c.r[x86.RSI], m.c.r[x86.RBX], m.c.r[8] = testData, testData+x86.PageSize, 8, 0
		m.run()
		return m.p.cache.native.Stats().Size
	}
	outside, inside := size(lea, work), size(nil, slices.Concat(lea, work))
	if least := outside + 4*len(lea); inside > least+200 {
		t.Errorf("the code of a loop that computes its addresses takes %d bytes, want some %d: it takes %d where that is done before", inside, least, outside)
	}
}

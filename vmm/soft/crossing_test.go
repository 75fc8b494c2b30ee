package soft

import (
	"math/rand/v2"
	"testing"

	"nvlab/vmm/soft/x86"
)

// atPageEnd is code that is put where a page ends, with a jump to it.
func atPageEnd(code []byte, before int) []byte {
	at := x86.PageSize - before
	far := le32([]byte{0xe9}, uint32(at-5))
	return append(append(far, make([]byte, at-len(far))...), code...)
}

// TestCrossing runs programs some instruction of which reaches from one page
// into the next: by the executor, the fast path, and compiled. Some of them
// change their own bytes about there.
func TestCrossing(t *testing.T) {
	t.Parallel()
	n := 100
	if !testing.Short() {
		n = 1000
	}
	exact := [2]*testMachine{newTestMachine(t), newTestMachine(t)}
	pair := interpretedAndCompiled(t)
	r := rand.New(rand.NewPCG(37, 38))
	setups := []func(*testMachine){
		func(*testMachine) {},
		func(m *testMachine) { m.mapPage(testCode+x86.PageSize, 0, 0) },
		func(m *testMachine) { m.mapPage(testCode+x86.PageSize, testCode, pteP|pteW) },
		func(m *testMachine) {
			m.c.efer |= x86.EFERNXE
			m.mapPage(testCode+x86.PageSize, testCode+x86.PageSize, pteP|pteW|pteNX)
		},
	}
	for range n {
		near := uint32(testData + x86.PageSize)
		if r.IntN(2) == 0 {
			near = testCode + x86.PageSize
		}
		code := atPageEnd(nearCode(r, 30+r.IntN(100), near), 20+r.IntN(60))
		lockstep(t, &exact, code, r.Uint64())
		agree(t, pair, code, r.Uint64(), setups[r.IntN(len(setups))])
		if t.Failed() {
			return
		}
	}
}

// TestCrossingChanges calls, 200 times, a function whose first instruction
// reaches into the next page, and after each call changes its bytes or what is
// mapped there.
func TestCrossingChanges(t *testing.T) {
	const (
		f      = testCode + 2*x86.PageSize - 3 // add rbx, imm32; ret
		second = f + 3
		other  = testData + x86.PageSize // may be mapped at second
	)
	for _, tt := range []struct {
		name string
		code func(m *testMachine) []byte
		want uint64
	}{
		{name: "nothing", code: func(*testMachine) []byte { return nil }, want: 200 * 5},
		{name: "a byte of the second page", want: 5 + 200*201/2 - 1, code: func(*testMachine) []byte {
			return le32([]byte{0x88, 0x0c, 0x25}, second) // mov [second], cl
		}},
		{name: "a byte of the first page", want: 0, code: func(*testMachine) []byte {
			return append(le32([]byte{0x80, 0x34, 0x25}, f+2), 0x28) // xor byte [f+2], 0x28: sub for add
		}},
		{name: "the second page's mapping", want: 100*5 + 100*7, code: func(m *testMachine) []byte {
			entry := uint64(cap(m.ram) - cap(m.entryAt(second)))
			m.mapPage(entry&^x86.PageMask, entry&^x86.PageMask, pteP|pteW)
			code := le32(le32([]byte{0x48, 0x81, 0x34, 0x25}, uint32(entry)), second^other) // xor qword [entry], imm32
			return le32(append(code, 0x0f, 0x01, 0x3c, 0x25), second)                       // invlpg [second]
		}},
	} {
		for name, m := range map[string]*testMachine{"executor": newTestMachine(t), "fast path": newTestMachineWith(t, Engine{Interpreter: true}), "compiled code": newCompiled(t)} {
			m.p.exact = name == "executor"
			m.stubs()
			m.put(f, 0x48, 0x81, 0xc3, 5, 0, 0, 0, 0xc3)
			m.put(other, 7, 0, 0, 0, 0xc3)
			code := le32([]byte{0xb9}, 200)                                     // mov ecx, 200
			code = le32(append(code, 0xe8), uint32(f-testCode-len(code)-5))     // L: call f
			code = append(code, tt.code(m)...)                                  //
			code = append(code, 0x83, 0xe9, 0x01, 0x75, byte(-len(code)), 0xf4) // sub ecx, 1; jne L; hlt
			m.put(testCode, code...)
			m.run()
			if m.c.r[x86.RBX] != tt.want || m.c.r[x86.RCX] != 0 {
				t.Errorf("%s changes, %s: rbx = %d, rcx = %d, want %d, 0", tt.name, name, m.c.r[x86.RBX], m.c.r[x86.RCX], tt.want)
			}
		}
	}
}

// TestCrossingJump has a jump that reaches into the next page, which is mapped
// elsewhere every time; all that it leads to is in its own page.
func TestCrossingJump(t *testing.T) {
	const (
		start  = testCode + x86.PageSize
		f      = start + x86.PageSize - 2 // jmp rel32
		second = f + 2
		other  = testData + x86.PageSize
		five   = start + 0x100
		seven  = start + 0x200
		turn   = start + 0x300
	)
	for name, m := range map[string]*testMachine{"executor": newTestMachine(t), "fast path": newTestMachineWith(t, Engine{Interpreter: true}), "compiled code": newCompiled(t)} {
		m.p.exact = name == "executor"
		m.stubs()
		entry := uint64(cap(m.ram) - cap(m.entryAt(second)))
		m.mapPage(entry&^x86.PageMask, entry&^x86.PageMask, pteP|pteW)
		jump := func(from, to uint64, code ...byte) {
			code = le32(append(code, 0xe9), uint32(to)-uint32(from)-uint32(len(code))-5)
			m.put(from, code...)
		}
		jump(testCode, f, 0xb9, 200, 0, 0, 0) // mov ecx, 200
		jump(f, seven)
		m.put(other, m.ram[second:second+3]...)
		jump(f, five)
		jump(five, turn, 0x48, 0x83, 0xc3, 5) // add rbx, 5
		jump(seven, turn, 0x48, 0x83, 0xc3, 7)
		code := le32(le32([]byte{0x48, 0x81, 0x34, 0x25}, uint32(entry)), second^other) // xor qword [entry], imm32
		code = le32(append(code, 0x0f, 0x01, 0x3c, 0x25), second)                       // invlpg [second]
		jump(turn, f, append(code, 0x83, 0xe9, 0x01, 0x75, 1, 0xf4)...)                 // sub ecx, 1; jne; hlt
		m.run()
		if want := uint64(100*5 + 100*7); m.c.r[x86.RBX] != want || m.c.r[x86.RCX] != 0 {
			t.Errorf("%s: rbx = %d, rcx = %d, want %d, 0", name, m.c.r[x86.RBX], m.c.r[x86.RCX], want)
		}
	}
}

// TestCrossingCompiled has a loop with an instruction that reaches into the
// next page, for which code must not be left every time.
func TestCrossingCompiled(t *testing.T) {
	const f = testCode + 2*x86.PageSize - 3
	m := newCompiled(t)
	m.stubs()
	m.put(testCode, append(le32([]byte{0xb9}, 10000), append([]byte{0xe9}, le32(nil, uint32(f-testCode-10))...)...)...) // mov ecx, 10000; jmp f
	m.put(f, 0x48, 0x81, 0xc3, 5, 0, 0, 0, 0x83, 0xe9, 0x01, 0x75, 0xf4, 0xf4)                                          // add rbx, 5; sub ecx, 1; jne f; hlt
	m.run()
	if m.c.r[x86.RBX] != 50000 {
		t.Errorf("rbx = %d, want 50000", m.c.r[x86.RBX])
	}
	if n := m.p.cache.native.Stats().Entries; n > 1000 {
		t.Errorf("code was entered %d times for 10000 turns, want 1000 at most", n)
	}
}

package soft

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"testing"

	"nvlab/vmm"
	"nvlab/vmm/observe"
	"nvlab/vmm/soft/x86"
)

// streamLoop makes a loop that stores to pages from rdi on, as copies of Linux and of
// programs do it, and random things between. It ends with HLT.
func streamLoop(r *rand.Rand) []byte {
	code := []byte{0x4c, 0x8b, 0x06, 0x4c, 0x8b, 0x4e, 8, 0x4c, 0x8b, 0x56, 16, 0x4c, 0x8b, 0x5e, 24} // mov r8 to r11, [rsi] to [rsi+24]
	step := byte(0)
	for range 1 + r.IntN(5) {
		d := byte(8 * r.IntN(8))
		switch r.IntN(14) {
		default: // movnti [rdi] to [rdi+24], r8 to r11
			code = append(code, 0x4c, 0x0f, 0xc3, 0x47, step, 0x4c, 0x0f, 0xc3, 0x4f, step+8, 0x4c, 0x0f, 0xc3, 0x57, step+16, 0x4c, 0x0f, 0xc3, 0x5f, step+24)
			step += 32
		case 0:
			code = append(code, 0x4c, 0x0f, 0xc3, 0x7c, 0xcf, d) // movnti [rdi+rcx*8+d], r15
		case 1:
			code = append(code, 0xf0, 0x48, 0xff, 0x06) // lock inc qword [rsi]
		case 2:
			code = append(code, 0x48, 0x89, 0x47, d) // mov [rdi+d], rax
		case 3:
			code = append(code, 0x48, 0x03, 0x47, d, 0x48, 0x01, 0x46, 8) // add rax, [rdi+d]; add [rsi+8], rax
		case 4:
			code = append(code, 0x4c, 0x0f, 0xc3, 0x4e, d) // movnti [rsi+d], r9
		case 5:
			code = append(code, 0x4c, 0x0f, 0xc3, 0x8f, d, 0x10, 0, 0) // movnti [rdi+0x1000+d], r9
		case 6:
			code = append(code, 0x0f, 0xae, 0xf8) // sfence
		case 7:
			code = append(code, 0x48, 0x0f, 0xc3, 0x7f, d+byte(r.IntN(2)*4)) // movnti [rdi+d], rdi, perhaps not aligned
		}
	}
	code = append(code, 0x48, 0x83, 0xc7, step, 0xff, 0xcd, 0x0f, 0x85) // add rdi, step; dec ebp; jne
	return append(le32(code, uint32(-len(code)-4)), 0xf4)
}

// TestStreamsInCode runs loops of non-temporal stores by the executor, and compiled by
// an observer that is told of stores late: all must tell the same. Code does most of
// the stores without being left.
func TestStreamsInCode(t *testing.T) {
	t.Parallel()
	const (
		pages = 16
		user  = 0x555555554000
	)
	programs := uint64(60)
	if testing.Short() {
		programs = 15
	}
	for _, tt := range []struct {
		name            string
		revocable, user bool
	}{
		{name: "kernel"},
		{name: "kernel, memory that may be taken away", revocable: true},
		{name: "user, at any address", user: true},
	} {
		l := late{t: t}
		k := &keeper{}
		var machines [2]*testMachine
		var memory [2][]byte
		for i := range machines {
			m := newTestMachine(t)
			memory[i] = make([]byte, pages*x86.PageSize)
			if err := m.p.Map(vmm.Region{Base: pmBase, Mem: memory[i], Observed: true, Revocable: tt.revocable}); err != nil {
				t.Fatal(err)
			}
			machines[i] = m
		}
		machines[0].p.exact = true
		machines[1].compileAll()
		for seed := range programs {
			l.was = make([]byte, len(memory[1]))
			k.events, l.events = nil, nil
			for i, m := range machines {
				r := rand.New(rand.NewPCG(seed, 43))
				m.reset(t)
				m.stubs()
				clear(memory[i])
				for off := uint64(0); off < pages*x86.PageSize; off += x86.PageSize {
					m.mapPage(pmBase+off, pmBase+off, pteP|pteW|pteU)
				}
				m.put(testCode, streamLoop(r)...)
				if tt.user {
					m.put(testUser, append([]byte{0x0f, 0xae, 0xf8}, streamLoop(r)...)...) // sfence: what IRETQ orders is told apart from LOCK
					m.mapPage(user, testUser, pteP|pteU)
					// mov rax, user, and what toUser does but for the address
					code := binary.LittleEndian.AppendUint64([]byte{0x48, 0xb8}, user)
					code = append(append(code, toUser[:9]...), 0x6a, 0x2b, 0x50, 0x48, 0xcf)
					m.put(testCode, code...)
				}
				m.c.r[x86.RDI], m.c.r[x86.RSI], m.c.r[x86.RCX], m.c.r[x86.RBP] = pmBase+8*r.Uint64N(512), testData+8*r.Uint64N(600), r.Uint64N(9), 300
				m.c.r[x86.RAX], m.c.r[15] = r.Uint64(), r.Uint64()
				m.p.Observe([]observe.Observer{k, &l}[i])
				m.run()
			}
			for n := range min(len(k.events), len(l.events)) {
				if k.events[n] != l.events[n] {
					t.Fatalf("%s, program %d: event %d of compiled code is %+v, of the executor %+v", tt.name, seed, n, l.events[n], k.events[n])
				}
			}
			if a, b := machines[0].c.state(), machines[1].c.state(); a != b {
				t.Fatalf("%s, program %d: executed and compiled end in\n%s", tt.name, seed, a.Differ(b))
			}
			if len(l.events) != len(k.events) || !bytes.Equal(memory[0], memory[1]) {
				t.Fatalf("%s, program %d: compiled code tells of %d events, the executor of %d; memory equal: %v", tt.name, seed, len(l.events), len(k.events), bytes.Equal(memory[0], memory[1]))
			}
		}
		s := machines[1].p.cache.native.Stats()
		t.Logf("%s: %d stores were told late, of which code did %d", tt.name, l.streamed, s.Streamed)
		if s.Streamed < uint64(l.streamed)/4 {
			t.Errorf("%s: %d stores were told late, but code did only %d without being left", tt.name, l.streamed, s.Streamed)
		}
	}
}

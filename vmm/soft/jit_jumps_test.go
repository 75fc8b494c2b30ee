package soft

import (
	"encoding/binary"
	"fmt"
	"testing"

	"nvlab/vmm/soft/ir"
	"nvlab/vmm/soft/x86"
)

// A branch jumps to the address in x86.RAX, and comes back behind.
type branch struct {
	name string
	code []byte
}

var branches = []branch{
	{"call rax", []byte{0xff, 0xd0}},
	{"call [rsp]", []byte{0x50, 0xff, 0x14, 0x24, 0x59}},                                                  // push rax; call; pop rcx
	{"jmp rax", []byte{0xe8, 2, 0, 0, 0, 0xeb, 2, 0xff, 0xe0}},                                            // call L; jmp behind; L: jmp rax
	{"ret", []byte{0xe8, 2, 0, 0, 0, 0xeb, 2, 0x50, 0xc3}},                                                // call L; jmp behind; L: push rax; ret
	{"ret 8", []byte{0x6a, 0, 0xe8, 2, 0, 0, 0, 0xeb, 8, 0xff, 0x74, 0x24, 0x00, 0x50, 0xc2, 8, 0, 0x59}}, // push 0; call L; jmp behind; L: push [rsp]; push rax; ret 8; behind: pop rcx
}

// TestCompiledRemapped branches to an address at which there are two pages in
// turn, also when the count of generations wraps.
func TestCompiledRemapped(t *testing.T) {
	const at = 0x50000800
	direct := branch{"call rel32", le32([]byte{0xe8}, at-testCode-15)}
	both := branch{"call rel32 and rax", append(direct.code[:5:5], 0xff, 0xd0)}
	for _, b := range append(branches[:len(branches):len(branches)], direct, both) {
		for _, wraps := range []bool{false, true} {
			m := newCompiled(t)
			m.stubs()
			m.put(testData+0x800, 0x83, 0xc3, 0x01, 0xc3)              // add ebx, 1; ret
			m.put(testData+x86.PageSize+0x800, 0x83, 0xc3, 0x10, 0xc3) // add ebx, 16; ret
			m.mapPage(at&^x86.PageMask, testData, pteP|pteW)
			pte := uint64(testTables)
			for level := 3; level > 0; level-- {
				pte = m.word(pte+at>>(12+9*level)&511*8) & pteAddr
			}
			pte += at >> 12 & 511 * 8
			for p := uint64(testTables); p < m.pt; p += x86.PageSize {
				m.mapPage(p, p, pteP|pteW)
			}
			code := append([]byte{0xb8, 0, 8, 0, 0x50, 0xbd, 100, 0, 0, 0}, b.code...) // mov eax, at; mov ebp, 100; L:
			code = le32(append(code, 0x48, 0x81, 0x34, 0x25), uint32(pte))
			code = append(code, 0, 0x10, 0, 0, 0x0f, 0x01, 0x38, 0x83, 0xed, 0x01) // xor qword [pte], 0x1000; invlpg [rax]; sub ebp, 1
			m.put(testCode, append(code, 0x75, byte(10-len(code)-2), 0xf4)...)     // jne L; hlt
			if wraps {
				m.p.cache.lastGen = ir.NoGen - 40
			}
			m.run()
			want := uint64(50 * 17)
			if b.name == both.name {
				want *= 2
			}
			if m.c.r[x86.RBX] != want {
				t.Errorf("%s, wraps=%v: functions added up to %d, want %d", b.name, wraps, m.c.r[x86.RBX], want)
			}
		}
	}
}

// TestCompiledNowhere branches to addresses that no code is at, among good ones
// that they have bits in common with.
func TestCompiledNowhere(t *testing.T) {
	pair := interpretedAndCompiled(t)
	for _, b := range branches {
		for i, to := range []uint64{0, 1, 1 << 47, 0xffff7fffffffffff, 1<<63 | testCode + 0x800, 1<<48 | testCode + 0x800, ^uint64(0), testCode + 0x2800} {
			code := []byte{0xbe, 3, 0, 0, 0} // mov esi, 3; L:
			for _, address := range []uint64{testCode + 0x800, to} {
				code = append(code, 0x48, 0xb8)
				code = binary.LittleEndian.AppendUint64(code, address) // mov rax, address
				code = append(code, b.code...)
			}
			code = append(code, 0x83, 0xee, 0x01, 0x75, byte(5-len(code)-5)) // sub esi, 1; jne L
			for len(code) < 0x800 {
				code = append(code, 0x90)
			}
			code = append(code, 0x83, 0xc3, 0x01, 0xc3) // add ebx, 1; ret
			t.Run(fmt.Sprintf("%s %#x", b.name, to), func(t *testing.T) { agree(t, pair, code, uint64(i)) })
		}
	}
}

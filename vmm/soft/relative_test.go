package soft

import (
	"context"
	"encoding/binary"
	"math/rand/v2"
	"slices"
	"testing"

	"nvlab/vmm/soft/ir"
	"nvlab/vmm/soft/x86"
)

// A module is what a shared library is to the processor: functions that call each
// other, and a page of data behind them, all found relative to the instruction.
const (
	moduleText  = 4 * x86.PageSize
	moduleStep  = 409 // from function to function
	moduleCount = moduleText / moduleStep
)

// moduleEntries are where the functions of modules start. A RET is before each.
func moduleEntries(r *rand.Rand) (at [moduleCount]int) {
	for i := range at {
		at[i] = i*moduleStep + 1 + r.IntN(moduleStep-220)
	}
	return at
}

// moduleCode makes a module's functions. Each call takes one from R12, and none is
// done when that is used up.
func moduleCode(r *rand.Rand, entries [moduleCount]int) []byte {
	text := make([]byte, moduleText)
	for _, at := range entries {
		code := text[at-1 : at-1 : len(text)]
		code = append(code, 0xc3)
		// relative emits an instruction that refers to an offset in the module, and
		// has an immediate behind.
		relative := func(to int, imm []byte, opcode ...byte) {
			code = append(code, opcode...)
			end := at - 1 + len(code) + 4 + len(imm)
			code = append(le32(code, uint32(to-end)), imm...)
		}
		function := func() int { return entries[r.IntN(len(entries))] }
		data := func() int { return moduleText + 16*r.IntN(16) }
		code = append(code, 0x49, 0xff, 0xcc)   // dec r12
		relative(function()-1, nil, 0x0f, 0x8e) // jle to some ret
		for range 3 + r.IntN(8) {
			switch r.IntN(15) {
			case 0:
				code = append(code, 0x48, 0x83, 0xc3, byte(r.Uint32())) // add rbx, imm8
			case 1:
				relative(r.IntN(moduleText+0x800), nil, 0x48, 0x8d, 0x0d) // lea rcx, m
				code = append(code, 0x48, 0x31, 0xcb)                     // xor rbx, rcx
			case 2:
				relative(data(), nil, 0x48, 0x03, 0x1d) // add rbx, m
			case 3:
				relative(data(), nil, 0x48, 0x01, 0x1d) // add m, rbx
				relative(data()+8, nil, 0x4c, 0x01, 0x3d)
			case 4:
				relative(data(), nil, 0x0f, 0x28, 0x0d) // movaps xmm1, m
				relative(data(), nil, 0x0f, 0x11, 0x0d) // movups m, xmm1
			case 5, 6:
				relative(function(), nil, 0xe8) // call
			case 7:
				code = append(code, 0xf6, 0xc3, 1<<r.IntN(4)) // test bl, imm8
				relative(function(), nil, 0x0f, 0x84+byte(r.IntN(2)))
			case 8:
				relative(function(), nil, 0x48, 0x8d, 0x05) // lea rax, m
				code = append(code, 0xff, 0xd0)             // call rax
			case 9:
				relative(data(), nil, 0xf0, 0xff, 0x05) // lock inc m
			case 10:
				relative(r.IntN(moduleText), nil, 0x0f, 0xb6, 0x05) // movzx eax, m
				code = append(code, 0x01, 0xc3)                     // add ebx, eax
			case 11:
				relative(data(), []byte{byte(r.Uint32())}, 0x48, 0x83, 0x3d) // cmp m, imm8
				relative(function(), nil, 0x0f, 0x80+byte(r.IntN(16)))
			case 12:
				relative(data(), nil, 0xf2, 0x0f, 0x58, 0x05) // addsd xmm0, m
			case 13:
				relative(data(), nil, 0xdd, 0x05) // fld m
				relative(data(), nil, 0xdd, 0x1d) // fstp m
			case 14:
				relative(data(), []byte{byte(r.Uint32())}, 0x80, 0x35) // xor m, imm8
				code = append(code, 0x48, 0xc1, 0xc3, 7)               // rol rbx, 7
			}
		}
		if r.IntN(3) == 0 {
			relative(function(), nil, 0xe9) // jmp
			continue
		}
		code = append(code, 0xc3)
	}
	return text
}

// toUserInterruptible is toUser with interrupts on.
var toUserInterruptible = slices.Concat(toUser[:7], []byte{0x68, 0x02, 0x02, 0x00, 0x00}, toUser[9:])

// TestModules runs a module at several addresses of one address space: by the
// executor, interpreted, and compiled. Among them are pages that hold the same but
// have other neighbours, pages whose generations have one place, and modules half
// of which is at addresses where code is made for its page alone. What is mapped
// changes on the way.
func TestModules(t *testing.T) {
	t.Parallel()
	const (
		text   = testData + 0x10000
		other  = text + moduleText // a module with the same entries
		data   = other + moduleText
		toggle = testStubs + 0x2000
	)
	n := uint64(30)
	if !testing.Short() {
		n = 100
	}
	machines := []*testMachine{newTestMachine(t), newTestMachineWith(t, Engine{Interpreter: true}), newCompiled(t)}
	machines[0].p.exact = true
	for seed := range n {
		var states [3]State
		for i, m := range machines {
			r := rand.New(rand.NewPCG(seed, 40))
			m.reset(t)
			m.stubs()
			m.hashFlags()
			m.tick()
			entries := moduleEntries(r)
			m.put(text, moduleCode(r, entries)...)
			m.put(other, moduleCode(r, entries)...)
			for k := range uint64(x86.PageSize) {
				m.ram[data+k] = byte(r.Uint32())
			}
			low := uint64(0x555555554000) + r.Uint64N(1<<20)<<x86.PageShift
			bases := []uint64{
				low, low + (ir.GenCount-ir.GenPages)<<x86.PageShift*(1+r.Uint64N(9)), low + 1<<30 + 5<<x86.PageShift,
				0x7f0000000000 + r.Uint64N(1<<24)<<x86.PageShift, 0x40000000,
				1<<31 - 2*x86.PageSize, 1<<47 - 1<<31 - 2*x86.PageSize,
			}
			page := func(k uint64) uint64 { // of one module or the other
				if r.IntN(12) == 0 {
					return other + k<<x86.PageShift
				}
				return text + k<<x86.PageShift
			}
			for _, base := range bases {
				for k := range uint64(moduleText / x86.PageSize) {
					m.mapPage(base+k<<x86.PageShift, page(k), pteP|pteU)
				}
				m.mapPage(base+moduleText, data, pteP|pteW|pteU)
			}
			for p := uint64(testTables); p < m.pt; p += x86.PageSize {
				m.mapPage(p, p, pteP|pteW)
			}
			// Software interrupts from 0x80 on change a page from one module to the
			// other; 0x90 reloads CR3.
			var code []byte
			for v := range uint8(4) {
				m.gate(0x80+v, toggle+uint64(len(code)), 3, 0)
				va := bases[r.IntN(len(bases))] + r.Uint64N(moduleText)&^x86.PageMask
				pte := uint64(testTables)
				for level := 3; level > 0; level-- {
					pte = m.word(pte+va>>(12+9*level)&511*8) & pteAddr
				}
				code = append(code, 0x48, 0x81, 0x34, 0x25) // xor qword [pte], imm32
				code = le32(le32(code, uint32(pte+va>>12&511*8)), 1<<14)
				code = append(code, 0x50, 0x48, 0xb8) // push rax; mov rax, va
				code = binary.LittleEndian.AppendUint64(code, va)
				code = append(code, 0x0f, 0x01, 0x38, 0x58, 0x48, 0xcf) // invlpg [rax]; pop rax; iretq
			}
			m.gate(0x90, toggle+uint64(len(code)), 3, 0)
			code = append(code, 0x50, 0x0f, 0x20, 0xd8, 0x0f, 0x22, 0xd8, 0x58, 0x48, 0xcf) // push rax; mov rax, cr3; mov cr3, rax; pop rax; iretq
			m.put(toggle, code...)
			var driver []byte
			for range 12 {
				driver = append(le32(append(driver, 0x41, 0xbc), 4+uint32(r.IntN(30))), 0x48, 0xb8) // mov r12d, imm32; mov rax, imm64
				driver = binary.LittleEndian.AppendUint64(driver, bases[r.IntN(len(bases))]+uint64(entries[r.IntN(len(entries))]))
				driver = append(driver, 0xff, 0xd0) // call rax
				switch r.IntN(6) {
				case 0:
					driver = append(driver, 0xcd, 0x80+byte(r.IntN(4))) // int
				case 1:
					driver = append(driver, 0xcd, 0x90)
				}
			}
			m.put(testUser, le32(append(driver, 0xe9), uint32(-len(driver)-5))...)
			m.put(testCode, toUserInterruptible...)
			if _, err := m.p.Run(context.Background(), 30_000); err != nil {
				t.Fatalf("seed %d: Run() = %v", seed, err)
			}
			states[i] = m.c.state()
		}
		for i, name := range []string{"interpreted", "compiled"} {
			if states[0] != states[i+1] {
				t.Fatalf("seed %d: executed and %s end in\n%s", seed, name, states[0].Differ(states[i+1]))
			}
			if at := ramMismatch(machines[0].ram, machines[i+1].ram); at >= 0 {
				t.Fatalf("seed %d: memory at %#x differs: %x executed, %x %s", seed, at, machines[0].ram[at&^7:][:8], machines[i+1].ram[at&^7:][:8], name)
			}
		}
	}
}

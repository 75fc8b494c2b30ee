package soft

import (
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"nvlab/vmm"
	"nvlab/vmm/soft/x86"
)

// Programs that change what maps a window of memory, with and without
// flushing. Each slot of a program is one change, access or call.
const (
	windowPages = 3
	window      = 0x40000000 + dataPage // so that pages of 2 MiB and of 1 GiB can show the same
	slotSize    = 64
	slotCount   = 200
	dataPage    = testData + 0x10000 // the first of the pages that the window shows
	slotKinds   = 16
	functionAt  = 0x800 // of a page: add r15, imm32; ret
)

// remapping is a machine with a program that remaps: a function of r alone.
type remapping struct {
	*testMachine
	r         *rand.Rand
	tops      [2]uint64 // top tables, of which the second has its own for the window
	pointers  [2]uint64 // tables of level 2 of the window
	directory [2]uint64 // tables of level 1 of the window
	leaf      [2]uint64 // and of level 0
	kinds     []int     // of slots that the program has
}

func newRemapping(t testing.TB, e Engine, seed uint64) *remapping {
	m := &remapping{testMachine: newTestMachineWith(t, e), r: rand.New(rand.NewPCG(seed, 2))}
	for pa := uint64(testTables); pa < testRAM; pa += x86.PageSize {
		m.mapPage(pa, pa, pteP|pteW)
	}
	m.start(testCode)
	next := uint64(testRAM - 16*x86.PageSize)
	page := func() uint64 { next += x86.PageSize; return next }
	m.tops = [2]uint64{testTables, page()}
	m.pointers = [2]uint64{page(), page()}
	m.directory, m.leaf = [2]uint64{page(), page()}, [2]uint64{page(), page()}
	set := func(table uint64, i int, v uint64) { binary.LittleEndian.PutUint64(m.ram[table+8*uint64(i):], v) }
	// The window is below an entry of its own of the third table from below.
	first := binary.LittleEndian.Uint64(m.ram[testTables:]) & pteAddr
	const all = pteP | pteW
	for i, top := range m.tops {
		set(top, 0, m.pointers[i]|all)
		copy(m.ram[m.pointers[i]:], m.ram[first:first+x86.PageSize])
		set(m.pointers[i], window>>30, m.directory[i]|all)
		set(m.directory[i], window>>21&511, m.leaf[i]|all)
	}
	for _, leaf := range m.leaf {
		for i := range windowPages {
			set(leaf, window>>12&511+i, m.entry())
		}
	}
	for i := range uint64(windowPages) {
		m.put(dataPage+i*x86.PageSize+functionAt, 0x49, 0x81, 0xc7, byte(i), 1, 2, 3, 0xc3)
	}
	m.c.cr4 |= x86.CR4PGE
	m.stubs()
	m.gate(excPF, testCode+slotCount*slotSize+0x100, 0, 0)
	m.put(testCode+slotCount*slotSize+0x100,
		0x41, 0x0f, 0x20, 0xd6, // mov r14, cr2
		0x4d, 0x01, 0xf7, // add r15, r14
		0x41, 0x5d, // pop r13: the error code
		0x4d, 0x01, 0xef, // add r15, r13
		0x49, 0xc1, 0xc7, 0x07, // rol r15, 7
		0x4c, 0x89, 0x24, 0x24, // mov [rsp], r12
		0x48, 0xcf) // iretq
	for kind := range slotKinds {
		if m.r.IntN(3) == 0 || kind == 0 {
			m.kinds = append(m.kinds, kind)
		}
	}
	for i := range slotCount {
		m.put(testCode+uint64(i)*slotSize, m.slot(testCode+uint64(i+1)*slotSize)...)
	}
	m.put(testCode+slotCount*slotSize,
		0x49, 0xff, 0xcb, // dec r11
		0x0f, 0x85, 0, 0, 0, 0, // jnz testCode
		0xf4)
	back := testCode - int64(testCode+slotCount*slotSize+9)
	binary.LittleEndian.PutUint32(m.ram[testCode+slotCount*slotSize+5:], uint32(back))
	m.c.r[11] = 8
	m.c.setMode()
	return m
}

// entry is an entry of a table of level 0 for the window.
func (m *remapping) entry() uint64 {
	e := dataPage + m.r.Uint64N(windowPages)*x86.PageSize
	for _, bit := range []struct{ bit, of uint64 }{{pteP, 8}, {pteW, 4}, {pteG, 2}, {pteA, 3}, {pteD, 3}} {
		if m.r.Uint64N(bit.of) > 0 {
			e |= bit.bit
		}
	}
	return e
}

// slot is the code of a slot, padded.
func (m *remapping) slot(next uint64) []byte {
	code := le32([]byte{0xbc}, testStack)                                             // mov esp, testStack
	code = le32(append(code, 0x41, 0xbc), uint32(next))                               // mov r12d, next
	at := uint32(window + m.r.IntN(windowPages)*x86.PageSize)                         // a page of the window
	data := at + uint32(m.r.IntN(functionAt/8-2))*8                                   // a word there
	leaf := uint32(m.leaf[m.r.IntN(2)]) + at>>12&511*8                                // an entry for it
	directory := uint32(m.directory[m.r.IntN(2)] + window>>21&511*8)                  //
	pointer := uint32(m.pointers[m.r.IntN(2)] + window>>30*8)                         //
	load := func(at uint32) { code = le32(append(code, 0x4c, 0x03, 0x3c, 0x25), at) } // add r15, [at]
	store := func(at uint32, v uint64) {                                              // mov rax, v; mov [at], rax
		code = append(append(code, 0x48, 0xb8), le64(v)...)
		code = le32(append(code, 0x48, 0x89, 0x04, 0x25), at)
	}
	and := func(at, v uint32) { code = le32(le32(append(code, 0x48, 0x81, 0x24, 0x25), at), v) }
	switch m.kinds[m.r.IntN(len(m.kinds))] {
	case 0, 1:
		load(data)
	case 2, 3:
		code = le32(append(code, 0x4c, 0x89, 0x3c, 0x25), data) // mov [data], r15
	case 4:
		store(leaf, m.entry())
	case 5: // accesses of one group, with a change between them
		load(data)
		store(leaf, m.entry())
		load(data + 8)
	case 6:
		and(leaf, ^uint32(pteA))
	case 7:
		and(leaf, ^uint32(pteD))
		code = le32(append(code, 0x4c, 0x89, 0x3c, 0x25), data)
	case 8, 9: // call the function there
		code = append(le32(append(code, 0xb8), at+functionAt), 0xff, 0xd0)
	case 10: // and change it
		code = le32(append(code, 0x44, 0x88, 0x3c, 0x25), at+functionAt+3) // mov [at+functionAt+3], r15b
	case 11:
		code = append(le32(append(code, 0xb8), uint32(m.tops[m.r.IntN(2)])), 0x0f, 0x22, 0xd8) // mov cr3, rax
	case 12:
		switch m.r.IntN(5) {
		case 0:
			store(directory, m.leaf[m.r.IntN(2)]|pteP|m.r.Uint64N(2)*pteW)
		case 1:
			store(directory, dataPage&^(1<<21-1)|pteP|ptePS|pteW)
		case 2:
			store(pointer, m.directory[m.r.IntN(2)]|pteP|pteW|m.r.Uint64N(2)*pteA)
		case 3:
			store(pointer, pteP|ptePS|pteW)
		default:
			store(uint32(m.tops[m.r.IntN(2)]), m.pointers[m.r.IntN(2)]|pteP|pteW)
		}
	case 13: // fill entries
		code = le32(append(code, 0xbf), uint32(m.leaf[m.r.IntN(2)])+window>>12&511*8) // mov edi, entries
		code = append(le32(append(code, 0xb9), windowPages), 0x48, 0xb8)
		code = append(append(code, le64(m.entry())...), 0xf3, 0x48, 0xab) // rep stosq
	case 14: // stores of one group, with an access between them that reads the table
		code = append(le32(append(code, 0xbb), leaf), 0x48, 0xb8)                            // mov ebx, leaf
		code = append(append(code, le64(m.entry())...), 0x48, 0x89, 0x03)                    // mov rax, entry; mov [rbx], rax
		code = append(le32(append(code, 0x4c, 0x03, 0x3c, 0x25), data), 0x48, 0x89, 0x43, 8) // add r15, [data]; mov [rbx+8], rax
		code = le32(append(code, 0x4c, 0x03, 0x3c, 0x25), data+x86.PageSize)                 // add r15, [data+x86.PageSize]
	default:
		code = le32(append(code, 0x0f, 0x01, 0x3c, 0x25), data) // invlpg [data]
	}
	for len(code) < slotSize {
		code = append(code, 0x90)
	}
	return code
}

// end runs the program to its end, or as far as it is enough. Every step instructions
// it calls between.
func (m *remapping) end(t testing.TB, step time.Duration, between func()) State {
	const enough = 100_000
	for at := min(step, enough); ; at = min(at+step, enough) {
		exit, err := m.p.Run(context.Background(), at)
		if err != nil {
			t.Fatal(err)
		}
		if exit == vmm.ExitDead || at == enough {
			return m.p.States()[0]
		}
		between()
	}
}

// forget throws all away that is derived of memory and registers.
func (p *processors) forget() {
	p.dropCode()
	p.resetTranslations()
}

// remapped compares a program's end in all tiers, and when what is derived is
// forgotten now and then.
func remapped(t testing.TB, seed uint64) {
	want := newRemapping(t, Engine{Interpreter: true}, seed)
	want.p.exact = true
	end := want.end(t, time.Second, nil)
	for _, step := range []time.Duration{time.Second, 1009, 37} {
		for _, tier := range []string{"executor", "interpreter", "compiler"} {
			m := newRemapping(t, Engine{Interpreter: tier != "compiler"}, seed)
			m.p.exact = tier == "executor"
			if m.p.cache.native != nil {
				m.p.cache.heat = 2
			}
			got := m.end(t, step, m.p.forget)
			what := fmt.Sprintf("seed %d, %s, all derived forgotten each %d instructions", seed, tier, step)
			if diff := end.Differ(got); diff != "" {
				t.Fatalf("%s: the end differs from the executor's:\n%s", what, diff)
			}
			if at := ramMismatch(m.ram, want.ram); at >= 0 {
				t.Fatalf("%s: the byte at %#x ends as %#x, the executor's as %#x", what, at, m.ram[at], want.ram[at])
			}
			m.p.Close()
		}
	}
}

func TestRemapped(t *testing.T) {
	t.Parallel()
	n := 20
	if testing.Short() {
		n = 3
	}
	for seed := range n {
		remapped(t, uint64(seed))
	}
}

func FuzzRemapped(f *testing.F) {
	f.Add(uint64(1))
	f.Fuzz(func(t *testing.T, seed uint64) { remapped(t, seed) })
}

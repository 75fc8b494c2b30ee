package soft

import (
	"math/rand/v2"
	"testing"
)

// TestGroupedAccesses runs programs that read and write at many distances from
// few registers, interpreted and compiled. What they access is about the
// boundary of two pages, the second of which may be read-only, absent or hold
// code.
func TestGroupedAccesses(t *testing.T) {
	n := 300
	if !testing.Short() {
		n = 1500
	}
	pair := interpretedAndCompiled(t)
	r := rand.New(rand.NewPCG(29, 30))
	second := []func(m *testMachine){
		func(*testMachine) {},
		func(m *testMachine) { m.mapPage(testData+pageSize, testData+pageSize, pteP) },
		func(m *testMachine) { m.mapPage(testData+pageSize, 0, 0) },
		func(m *testMachine) { m.mapPage(testData+pageSize, testCode, pteP|pteW) },
	}
	twins := uint64(0)
	for range n {
		agree(t, pair, nearCode(r, 30+r.IntN(100)), r.Uint64(), second[r.IntN(len(second))])
		if t.Failed() {
			return
		}
		twins = pair[1].p.cache.native.stats().twins
	}
	if twins == 0 {
		t.Error("no block got a twin, want some: the programs' groups straddle pages")
	}
}

// nearCode is instructions whose memory is near the end of the page at testData.
func nearCode(r *rand.Rand, n int) (code []byte) {
	bases := []uint8{rBX, rBP, rSI, 10, 12, 13}
	base := func() uint8 { return bases[r.IntN(len(bases))] }
	other := func() uint8 { return []uint8{rAX, rCX, rDX, 8, 11, 15}[r.IntN(6)] }
	rex := func(w, reg, x, b uint8) byte { return 0x40 | w<<3 | reg>>3<<2 | x>>3<<1 | b>>3 }
	for _, b := range bases {
		if r.IntN(4) != 0 { // mov r, imm32
			code = le32(append(code, rex(0, 0, 0, b), 0xb8|b&7), testData+pageSize-160+uint32(r.IntN(24))*8)
		}
	}
	if r.IntN(2) == 0 { // mov esp, imm32
		code = le32(append(code, 0xbc), testData+pageSize-32+uint32(r.IntN(10))*8)
	}
	// memory is [base+disp8], or [base+index+disp8] now and then.
	memory := func(reg, w uint8, prefix []byte, opcode ...byte) {
		b, disp := base(), byte(8*r.IntN(16)-64)
		if r.IntN(4) == 0 {
			disp = byte(r.IntN(256))
		}
		code = append(code, prefix...)
		if r.IntN(5) == 0 {
			code = append(code, rex(w, reg, rDI, b))
			code = append(append(code, opcode...), 0x44|reg&7<<3, byte(r.IntN(3))<<6|rDI<<3|b&7, disp)
			return
		}
		code = append(code, rex(w, reg, 0, b))
		code = append(append(code, opcode...), 0x40|reg&7<<3|b&7)
		if b&7 == 4 {
			code = append(code, 0x24)
		}
		code = append(code, disp)
	}
	for len(code) < n {
		w := uint8(r.IntN(2))
		switch r.IntN(16) {
		case 0, 1:
			memory(other(), w, nil, 0x8b) // mov r, m
		case 2, 3:
			memory(other(), w, nil, 0x89) // mov m, r
		case 4:
			memory(other(), w, nil, byte(r.IntN(8))<<3|3) // op r, m
		case 5:
			memory(other(), w, nil, byte(r.IntN(8))<<3|1) // op m, r
		case 6:
			memory(uint8(r.IntN(16)), 0, nil, 0x0f, 0x10|byte(r.IntN(2))) // movups
		case 7:
			memory(uint8(r.IntN(16)), 0, []byte{0x66}, 0x0f, []byte{0x6f, 0x7f, 0x58}[r.IntN(3)]) // movdqa, addpd
		case 8:
			memory(base(), 1, nil, 0x8b) // of a base
		case 9:
			b := base()
			code = append(code, rex(1, 0, 0, b), 0x83, 0xc0|byte(r.IntN(2)*5)<<3|b&7, byte(r.IntN(40)-20)) // add, sub b, imm8
		case 10:
			b := base()
			code = append(code, rex(1, 0, 0, b), 0xff, 0xc0|byte(r.IntN(2))<<3|b&7) // inc, dec
		case 11:
			b, from := base(), base()
			code = append(code, rex(1, from, 0, b), 0x89, 0xc0|from&7<<3|b&7) // mov b, b
		case 12:
			b, from := base(), base()
			code = append(code, rex(1, b, 0, from), 0x8d, 0x40|b&7<<3|from&7) // lea b, [b+disp8]
			if from&7 == 4 {
				code = append(code, 0x24)
			}
			code = append(code, byte(r.IntN(64)-32))
		case 13: // push, pop
			for k, opcode := r.IntN(5), []byte{0x50, 0x58}[r.IntN(2)]; k >= 0; k-- {
				b := other()
				code = append(code, rex(0, 0, 0, b), opcode|b&7)
			}
		case 14:
			code = append(code, 0x70|byte(r.IntN(16)), 4) // jcc
			code = append(code, 0x48, 0x83, 0xc7, byte(r.IntN(9)))
		case 15:
			memory(uint8(r.IntN(8)), w, nil, 0x83) // op m, imm8
			code = append(code, byte(r.IntN(256)))
		}
	}
	return code
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
			if in.len == 0 {
				continue
			}
			m.put(testCode, append(code, 0xeb, 0xfe)...)
			m.p.cache.reset(&m.p.mem)
			c.forgetJumps()
			tr := n.begin(c.lookup(testCode))
			tr.values.forget()
			tr.analyse()
			tr.flags = inWord
			told := map[uint8]bool{}
			known := true
			for i := range tr.ops {
				if tr.ops[i].pc != 0 {
					break
				}
				known = known && tr.op(i, &tr.ops[i])
				for _, s := range tr.writes {
					told[s] = true
				}
			}
			if !known {
				continue
			}
			for i := range 16 {
				c.r[i] = testData + 8*r.Uint64N(300)
			}
			c.r[rCX] &= 0xff
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

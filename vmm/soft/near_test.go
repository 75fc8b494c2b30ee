package soft

import (
	"math/rand/v2"

	"nvlab/vmm/soft/x86"
)

// nearCode is instructions, some of them loops, whose memory is near an
// address, the end of a page.
func nearCode(r *rand.Rand, n int, end uint32) (code []byte) {
	bases := []uint8{x86.RBX, x86.RBP, x86.RSI, 10, 12, 13}
	base := func() uint8 { return bases[r.IntN(len(bases))] }
	other := func() uint8 { return []uint8{x86.RAX, x86.RCX, x86.RDX, 8, 11, 15}[r.IntN(6)] }
	rex := func(w, reg, x, b uint8) byte { return 0x40 | w<<3 | reg>>3<<2 | x>>3<<1 | b>>3 }
	for _, b := range bases {
		if r.IntN(4) != 0 { // mov r, imm32
			code = le32(append(code, rex(0, 0, 0, b), 0xb8|b&7), end-160+uint32(r.IntN(24))*8)
		}
	}
	if r.IntN(2) == 0 { // mov esp, imm32
		code = le32(append(code, 0xbc), end-32+uint32(r.IntN(10))*8)
	}
	// memory is [base+disp8], or [base+index+disp8] now and then.
	memory := func(reg, w uint8, prefix []byte, opcode ...byte) {
		b, disp := base(), byte(8*r.IntN(16)-64)
		if r.IntN(4) == 0 {
			disp = byte(r.IntN(256))
		}
		code = append(code, prefix...)
		if r.IntN(5) == 0 {
			code = append(code, rex(w, reg, x86.RDI, b))
			code = append(append(code, opcode...), 0x44|reg&7<<3, byte(r.IntN(3))<<6|x86.RDI<<3|b&7, disp)
			return
		}
		code = append(code, rex(w, reg, 0, b))
		code = append(append(code, opcode...), 0x40|reg&7<<3|b&7)
		if b&7 == 4 {
			code = append(code, 0x24)
		}
		code = append(code, disp)
	}
	var starts []int
	for len(code) < n {
		starts = append(starts, len(code))
		w := uint8(r.IntN(2))
		switch r.IntN(18) {
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
			if r.IntN(3) == 0 {
				code = append(code, 0x9c) // pushf
			}
		case 14:
			code = append(code, 0x70|byte(r.IntN(16)), 4) // jcc
			code = append(code, 0x48, 0x83, 0xc7, byte(r.IntN(9)))
		case 15:
			memory(uint8(r.IntN(8)), w, nil, 0x83) // op m, imm8
			code = append(code, byte(r.IntN(256)))
		case 16, 17: // sub edi, 1 or cmp edi, imm8, and jcc back
			to := starts[max(0, len(starts)-1-r.IntN(8))]
			code = append(code, 0x83, []byte{0xef, 0xff}[r.IntN(2)], 1)
			if back := to - len(code) - 2; back >= -128 {
				code = append(code, 0x70|byte(r.IntN(16)), byte(back))
			}
		}
	}
	return code
}

package soft

import (
	"math/rand/v2"
	"testing"

	"nvlab/vmm/soft/x86"
)

// upperCode is random instructions of r11 to r15, with little else, that
// ends in a loop.
func upperCode(r *rand.Rand) []byte {
	code := []byte{0xbb, 0, 0, 0, 0, 0xb9, byte(3 + r.IntN(60)), 0, 0, 0} // mov ebx, testData; mov ecx, n
	x86.PutLE(code[1:], 4, testData+uint64(r.IntN(2))*(x86.PageSize-64))
	start := len(code)
	upper := func() byte { return byte(3 + r.IntN(5)) } // r11 to r15, with a bit of REX
	if pair := byte(3 + r.IntN(4)); r.IntN(2) == 0 {
		upper = func() byte { return pair + byte(r.IntN(2)) }
	}
	for range 4 + r.IntN(20) {
		rex := 0x45 | byte(r.IntN(2))<<3
		modrm := 0xc0 | upper()<<3 | upper()
		digit := func(n int) byte { return 0xc0 | byte(n)<<3 | upper() }
		low := byte(r.IntN(2)) * 6 // rax or rsi
		switch r.IntN(16) {
		case 0, 1, 2: // the eight operations, and MOV
			code = append(code, rex, byte(r.IntN(8))<<3|1, modrm)
		case 3:
			code = append(code, rex, []byte{0x89, 0x88, 0x87, 0x87, 0x85, 0x63}[r.IntN(6)], modrm)
		case 4:
			code = append(code, rex, 0x0f, []byte{0xaf, 0xb6, 0xbe, 0xb7, 0xbc, 0xc8, 0xab, 0xa3}[r.IntN(8)], modrm)
		case 5:
			code = append(code, rex, 0x0f, 0x40|byte(r.IntN(16)), modrm, 0x41, 0x0f, 0x90|byte(r.IntN(16)), digit(0))
		case 6:
			code = append(code, rex, 0x83, digit(r.IntN(8)), byte(r.IntN(256)))
		case 7:
			code = append(code, rex, 0xc1, digit([]int{0, 1, 4, 5, 7}[r.IntN(5)]), byte(r.IntN(64)))
		case 8:
			code = append(code, rex, 0xd3, digit([]int{0, 1, 4, 5, 7}[r.IntN(5)]))
		case 9:
			code = append(code, rex, 0xff, digit(r.IntN(2)), rex, 0xf7, digit(2+r.IntN(2)))
		case 10:
			code = append(code, rex, 0x8d, 0x40|modrm&0x38|upper()&3, byte(r.IntN(256))) // lea
		case 11: // with memory, that is there or not
			code = append(code, rex&^1, []byte{0x8b, 0x89, 0x03, 0x01, 0x3b, 0x87}[r.IntN(6)], 0x43|modrm&0x38, byte(r.IntN(128)))
		case 12:
			code = append(code, rex, 0x39, modrm, rex, []byte{0x8b, 0x89, 0x03, 0x39}[r.IntN(4)], 0x43|modrm<<3&0x38, byte(r.IntN(128))) // [r11+n]
		case 13:
			code = append(code, 0x41, 0x50|upper(), 0x41, 0x50|upper(), 0x41, 0x58|upper(), 0x41, 0x58|upper())
		case 14:
			code = append(code, 0x70|byte(r.IntN(16)), 3, rex, 0x01, modrm)
		case 15: // for the executor: CPUID of nothing, and the clock, which compiled code has
			code = append(code, 0x0f, 0x31, rex&^1, 0x01, 0xc0|upper()<<3|low)
			if r.IntN(4) == 0 {
				code = append(code, 0xf8, 0xf5, 0x49, 0x0f, 0xc7, 0xf0|upper())
			}
		}
	}
	code = append(code, 0x83, 0xe9, 0x01) // sub ecx, 1
	if r.IntN(2) == 0 {
		return append(code, 0x0f, 0x85, byte(start-len(code)-6), byte((start-len(code)-6)>>8), 0xff, 0xff) // jne
	}
	// je over; lea rdx, [rip+start]; jmp rdx
	return append(code, 0x74, 9, 0x48, 0x8d, 0x15, byte(start-len(code)-9), byte((start-len(code)-9)>>8), 0xff, 0xff, 0xff, 0xe2)
}

// TestCachedRegisterLockstep runs loops of slots that live in memory, and in a host
// register at times, interpreted and compiled.
func TestCachedRegisterLockstep(t *testing.T) {
	t.Parallel()
	n := 300
	if !testing.Short() {
		n = 4000
	}
	pair := interpretedAndCompiled(t)
	r := rand.New(rand.NewPCG(31, 32))
	for range n {
		agree(t, pair, upperCode(r), r.Uint64())
	}
}

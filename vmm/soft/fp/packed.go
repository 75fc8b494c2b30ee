package fp

// A packed instruction is the same on MMX registers and, per half, on XMM
// registers.
type packed struct {
	opcode byte
	name   string
	fn     func(dst, src uint64) uint64
}

var lanewise = []packed{
	{0x64, "pcmpgtb", lane8.greater},
	{0x65, "pcmpgtw", lane16.greater},
	{0x66, "pcmpgtd", lane32.greater},
	{0x74, "pcmpeqb", lane8.equal},
	{0x75, "pcmpeqw", lane16.equal},
	{0x76, "pcmpeqd", lane32.equal},
	{0xD4, "paddq", func(a, b uint64) uint64 { return a + b }},
	{0xD5, "pmullw", pmullw},
	{0xD8, "psubusb", lane8.subUS},
	{0xD9, "psubusw", lane16.subUS},
	{0xDA, "pminub", lane8.minU},
	{0xDB, "pand", func(a, b uint64) uint64 { return a & b }},
	{0xDC, "paddusb", lane8.addUS},
	{0xDD, "paddusw", lane16.addUS},
	{0xDE, "pmaxub", lane8.maxU},
	{0xDF, "pandn", func(a, b uint64) uint64 { return b &^ a }},
	{0xE0, "pavgb", pavgb},
	{0xE3, "pavgw", pavgw},
	{0xE4, "pmulhuw", pmulhuw},
	{0xE5, "pmulhw", pmulhw},
	{0xE8, "psubsb", lane8.subSS},
	{0xE9, "psubsw", lane16.subSS},
	{0xEA, "pminsw", lane16.minS},
	{0xEB, "por", func(a, b uint64) uint64 { return a | b }},
	{0xEC, "paddsb", lane8.addSS},
	{0xED, "paddsw", lane16.addSS},
	{0xEE, "pmaxsw", lane16.maxS},
	{0xEF, "pxor", func(a, b uint64) uint64 { return a ^ b }},
	{0xF4, "pmuludq", pmuludq},
	{0xF5, "pmaddwd", pmaddwd},
	{0xF6, "psadbw", psadbw},
	{0xF8, "psubb", lane8.sub},
	{0xF9, "psubw", lane16.sub},
	{0xFA, "psubd", lane32.sub},
	{0xFB, "psubq", func(a, b uint64) uint64 { return a - b }},
	{0xFC, "paddb", lane8.add},
	{0xFD, "paddw", lane16.add},
	{0xFE, "paddd", lane32.add},
}

// shifts have a count, for all lanes: the low 64 bits of the source, or in the
// groups 71, 72 and 73 an immediate.
var shifts = []struct {
	packed
	group, reg byte
}{
	{packed{0xD1, "psrlw", lane16.shiftRight}, 0x71, 2},
	{packed{0xE1, "psraw", lane16.shiftSigned}, 0x71, 4},
	{packed{0xF1, "psllw", lane16.shiftLeft}, 0x71, 6},
	{packed{0xD2, "psrld", lane32.shiftRight}, 0x72, 2},
	{packed{0xE2, "psrad", lane32.shiftSigned}, 0x72, 4},
	{packed{0xF2, "pslld", lane32.shiftLeft}, 0x72, 6},
	{packed{0xD3, "psrlq", shiftRight64}, 0x73, 2},
	{packed{0xF3, "psllq", shiftLeft64}, 0x73, 6},
}

// packs narrow the elements of the destination, then of the source.
var packs = []packed{
	{0x63, "packsswb", packsswb},
	{0x67, "packuswb", packuswb},
	{0x6B, "packssdw", packssdw},
}

// unpacks interleave elements of the low or high halves of the operands.
var unpacks = []struct {
	opcode byte
	name   string
	width  uint // of an element in bits
	high   bool
}{
	{0x60, "punpcklbw", 8, false},
	{0x61, "punpcklwd", 16, false},
	{0x62, "punpckldq", 32, false},
	{0x68, "punpckhbw", 8, true},
	{0x69, "punpckhwd", 16, true},
	{0x6A, "punpckhdq", 32, true},
}

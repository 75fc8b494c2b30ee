package soft

// inst is one decoded instruction. It holds no pointer, so that blocks of them
// cost the collector nothing.
type inst struct {
	op     uint16 // opcode byte, plus 0x100 for the 0F map, 0x200 for 0F38, 0x300 for 0F3A
	len    uint8
	flags  uint8
	rep    uint8 // last of F2 and F3, or 0
	modrm  uint8
	mod    uint8
	reg    uint8 // extended by REX.R
	rm     uint8 // extended by REX.B
	size   uint8 // operand size: 1, 2, 4, 8
	asize  uint8 // address size: 2, 4, 8
	seg    uint8 // of the memory operand
	base   uint8 // slot
	index  uint8 // slot
	scale  uint8 // log2
	rex    uint8 // W, R, X, B
	disp   uint64
	imm    uint64 // sign-extended
	imm2   uint16 // of ENTER: the first operand; imm is the second
	opcode uint8
}

// inst.flags.
const (
	instREX  = 1 << iota // a REX prefix
	inst66               // operand-size prefix
	instLock             // LOCK prefix
	instRIP              // RIP-relative operand
	instOverride
	inst67 // address-size prefix
)

type decodeStatus uint8

const (
	decodeOK      decodeStatus = iota
	decodeShort                // more bytes are needed
	decodeInvalid              // #UD
	decodeLong                 // above 15 bytes: #GP
)

// maxInst is the longest instruction (SDM 2, 2.3.11).
const maxInst = 15

// Opcode attributes.
const (
	aModRM = 1 << iota
	aImm8  // sign-extended byte
	aImmZ  // word or doubleword by operand size, sign-extended
	aImmV  // word, doubleword or quadword
	aImm16
	aMoffs   // address-sized displacement
	aByte    // byte operands
	a64      // operand size 64 by default, 16 with prefix 66
	aForce64 // operand size 64
	aInvalid // #UD in 64-bit mode
	aLock    // takes LOCK with a memory destination
	aGroup3  // F6, F7: immediate only for TEST
	aFar     // offset by operand size, and selector
)

// attr1 and attr2 describe the one-byte and the 0F map (SDM 2, appendix A).
var attr1, attr2 = attributes()

func attributes() (one, two [256]uint16) {
	set := func(t *[256]uint16, a uint16, ops ...int) {
		for _, o := range ops {
			t[o] |= a
		}
	}
	span := func(t *[256]uint16, a uint16, lo, hi int) {
		for o := lo; o <= hi; o++ {
			t[o] |= a
		}
	}
	for o := 0; o < 0x40; o += 8 {
		var lock uint16 = aLock
		if o == 0x38 {
			lock = 0
		}
		set(&one, aModRM|aByte|lock, o)
		set(&one, aModRM|lock, o+1)
		set(&one, aModRM|aByte, o+2)
		set(&one, aModRM, o+3)
		set(&one, aImm8|aByte, o+4)
		set(&one, aImmZ, o+5)
	}
	set(&one, aInvalid, 0x06, 0x07, 0x0e, 0x16, 0x17, 0x1e, 0x1f, 0x27, 0x2f, 0x37, 0x3f,
		0x60, 0x61, 0x62, 0x82, 0x9a, 0xc4, 0xc5, 0xce, 0xd4, 0xd5, 0xd6, 0xea)
	span(&one, a64, 0x50, 0x5f)
	set(&one, aModRM, 0x63)
	set(&one, a64|aImmZ, 0x68)
	set(&one, aModRM|aImmZ, 0x69)
	set(&one, a64|aImm8, 0x6a)
	set(&one, aModRM|aImm8, 0x6b)
	set(&one, aByte, 0x6c, 0x6e)
	span(&one, aForce64|aImm8, 0x70, 0x7f)
	set(&one, aModRM|aByte|aImm8|aLock, 0x80)
	set(&one, aModRM|aImmZ|aLock, 0x81)
	set(&one, aModRM|aImm8|aLock, 0x83)
	set(&one, aModRM|aByte, 0x84, 0x88, 0x8a)
	set(&one, aModRM|aByte|aLock, 0x86)
	set(&one, aModRM|aLock, 0x87)
	set(&one, aModRM, 0x85, 0x89, 0x8b, 0x8c, 0x8d, 0x8e)
	set(&one, aModRM|a64, 0x8f)
	set(&one, a64, 0x9c, 0x9d)
	set(&one, aMoffs|aByte, 0xa0, 0xa2)
	set(&one, aMoffs, 0xa1, 0xa3)
	set(&one, aByte, 0xa4, 0xa6, 0xaa, 0xac, 0xae)
	set(&one, aByte|aImm8, 0xa8)
	set(&one, aImmZ, 0xa9)
	span(&one, aByte|aImm8, 0xb0, 0xb7)
	span(&one, aImmV, 0xb8, 0xbf)
	set(&one, aModRM|aByte|aImm8, 0xc0, 0xc6)
	set(&one, aModRM|aImm8, 0xc1)
	set(&one, aForce64|aImm16, 0xc2)
	set(&one, aForce64, 0xc3)
	set(&one, aModRM|aImmZ, 0xc7)
	set(&one, a64|aImm16|aImm8, 0xc8)
	set(&one, a64, 0xc9)
	set(&one, aImm16, 0xca)
	set(&one, aImm8, 0xcd)
	set(&one, aModRM|aByte, 0xd0, 0xd2)
	set(&one, aModRM, 0xd1, 0xd3)
	span(&one, aModRM, 0xd8, 0xdf)
	span(&one, aForce64|aImm8, 0xe0, 0xe3)
	set(&one, aByte|aImm8, 0xe4, 0xe6)
	set(&one, aImm8, 0xe5, 0xe7)
	set(&one, aForce64|aImmZ, 0xe8, 0xe9)
	set(&one, aForce64|aImm8, 0xeb)
	set(&one, aByte, 0xec, 0xee)
	set(&one, aModRM|aByte|aGroup3|aLock, 0xf6)
	set(&one, aModRM|aGroup3|aLock, 0xf7)
	set(&one, aModRM|aByte|aLock, 0xfe)
	set(&one, aModRM|aLock, 0xff)

	set(&two, aModRM, 0x00, 0x01, 0x02, 0x03, 0x0d, 0xff)
	span(&two, aModRM, 0x10, 0x2f)
	set(&two, aInvalid, 0x04, 0x0a, 0x0c, 0x0e, 0x0f, 0x24, 0x25, 0x26, 0x27, 0x36, 0x37,
		0x39, 0x3b, 0x3c, 0x3d, 0x3e, 0x3f, 0x78, 0x79, 0x7a, 0x7b, 0xa6, 0xa7)
	span(&two, aModRM, 0x40, 0x6f)
	set(&two, aModRM|aImm8, 0x70, 0x71, 0x72, 0x73)
	span(&two, aModRM, 0x74, 0x76)
	span(&two, aModRM, 0x7c, 0x7f)
	span(&two, aForce64|aImmZ, 0x80, 0x8f)
	span(&two, aModRM|aByte, 0x90, 0x9f)
	set(&two, a64, 0xa0, 0xa1, 0xa8, 0xa9)
	set(&two, aModRM, 0xa3, 0xa5, 0xad, 0xae, 0xaf)
	set(&two, aModRM|aImm8, 0xa4, 0xac)
	set(&two, aModRM|aLock, 0xab, 0xb1, 0xb3, 0xbb, 0xc1, 0xc7)
	set(&two, aModRM|aByte|aLock, 0xb0, 0xc0)
	set(&two, aModRM, 0xb2, 0xb4, 0xb5, 0xb7, 0xb8, 0xb9, 0xbc, 0xbd, 0xbf)
	set(&two, aModRM, 0xb6, 0xbe)
	set(&two, aModRM|aImm8|aLock, 0xba)
	set(&two, aModRM|aImm8, 0xc2, 0xc4, 0xc5, 0xc6)
	set(&two, aModRM, 0xc3)
	span(&two, aModRM, 0xd0, 0xfe)
	return one, two
}

// decode decodes the instruction at the start of b, of 64-bit or of 32-bit code
// (SDM 2, chapter 2).
func decode(b []byte, in *inst, long bool) decodeStatus {
	*in = inst{asize: 8, seg: segDS, base: slotZero, index: slotZero}
	if !long {
		in.asize = 4
	}
	i := 0
	short := func() decodeStatus {
		if len(b) >= maxInst {
			return decodeLong
		}
		return decodeShort
	}
	var op uint8
prefixes:
	for {
		if i >= len(b) {
			return short()
		}
		op = b[i]
		i++
		switch op {
		case 0x66:
			in.flags |= inst66
		case 0x67:
			in.asize = 4
			if !long {
				in.asize = 2
			}
			in.flags |= inst67
		case 0xf0:
			in.flags |= instLock
		case 0xf2, 0xf3:
			in.rep = op
		case 0x64:
			in.seg, in.flags = segFS, in.flags|instOverride
		case 0x65:
			in.seg, in.flags = segGS, in.flags|instOverride
		case 0x26, 0x2e, 0x36, 0x3e:
			if !long {
				in.seg, in.flags = op>>3&3, in.flags|instOverride
			}
		default:
			if op&0xf0 != 0x40 || !long {
				break prefixes
			}
			in.rex = op
			in.flags |= instREX
			continue
		}
		in.rex = 0
		in.flags &^= instREX
	}
	attr := attr1[op]
	if !long {
		attr = attr1Legacy[op]
	}
	if op == 0x0f {
		if i >= len(b) {
			return short()
		}
		op = b[i]
		i++
		in.op = 0x100
		attr = attr2[op]
		if op == 0x38 || op == 0x3a {
			return decodeInvalid // nothing advertised lives there
		}
	}
	in.op |= uint16(op)
	in.opcode = op
	if !long {
		attr &^= a64 | aForce64
	}
	if attr&aInvalid != 0 {
		return decodeInvalid
	}
	switch {
	case attr&aByte != 0:
		in.size = 1
	case attr&aForce64 != 0, in.rex&8 != 0:
		in.size = 8
	case in.flags&inst66 != 0:
		in.size = 2
	case attr&a64 != 0:
		in.size = 8
	default:
		in.size = 4
	}
	if attr&aModRM != 0 {
		if i >= len(b) {
			return short()
		}
		in.modrm = b[i]
		i++
		n, ok := decodeModRM(b[i:], in)
		if !ok {
			return short()
		}
		i += n
		if !long {
			in.flags &^= instRIP // an absolute address
		}
		if attr&aGroup3 != 0 && in.modrm>>3&7 < 2 {
			attr |= aImmZ
			if in.size == 1 {
				attr = attr&^aImmZ | aImm8
			}
		}
	}
	n := 0
	switch {
	case attr&aMoffs != 0:
		n = int(in.asize)
	case attr&aFar != 0:
		n = int(in.size) + 2
	case attr&(aImm8|aImm16) == aImm8|aImm16:
		n = 3
	case attr&aImm8 != 0:
		n = 1
	case attr&aImm16 != 0:
		n = 2
	case attr&aImmV != 0:
		n = int(in.size)
	case attr&aImmZ != 0:
		n = int(min(in.size, 4))
	}
	if n > 0 {
		if i+n > len(b) {
			return short()
		}
		v := getLE(b[i:], uint8(n))
		i += n
		switch {
		case attr&aMoffs != 0:
			in.disp = v
		case attr&aFar != 0:
			in.imm, in.imm2 = v&sizeMask(in.size), uint16(v>>(8*in.size))
		case n == 3:
			in.imm2, in.imm = uint16(v), v>>16
		case attr&aImm16 != 0:
			in.imm = v
		default:
			in.imm = signExtend(v, uint8(n))
		}
	}
	if i > maxInst {
		return decodeLong
	}
	in.len = uint8(i)
	if in.flags&instLock != 0 && (attr&aLock == 0 || in.mod == 3 || !lockable(in)) {
		return decodeInvalid
	}
	return decodeOK
}

// lockable says which members of groups take LOCK (SDM 2, "LOCK").
func lockable(in *inst) bool {
	r := in.modrm >> 3 & 7
	switch in.op {
	case 0x80, 0x81, 0x83:
		return r != 7
	case 0xf6, 0xf7:
		return r == 2 || r == 3
	case 0xfe, 0xff:
		return r < 2
	case 0x1ba:
		return r > 4
	case 0x1c7:
		return r == 1
	}
	return true
}

// decodeModRM decodes what follows the ModRM byte and returns its length.
func decodeModRM(b []byte, in *inst) (int, bool) {
	in.mod = in.modrm >> 6
	in.reg = in.modrm>>3&7 | in.rex&4<<1
	in.rm = in.modrm&7 | in.rex&1<<3
	if in.mod == 3 {
		return 0, true
	}
	if in.asize == 2 {
		return decodeModRM16(b, in)
	}
	i := 0
	n := 0
	switch in.mod {
	case 1:
		n = 1
	case 2:
		n = 4
	}
	switch {
	case in.modrm&7 == 4:
		if len(b) == 0 {
			return 0, false
		}
		sib := b[0]
		i = 1
		in.scale = sib >> 6
		if x := sib>>3&7 | in.rex&2<<2; x != 4 {
			in.index = x
		}
		in.base = sib&7 | in.rex&1<<3
		if sib&7 == 5 && in.mod == 0 {
			in.base = slotZero
			n = 4
		}
	case in.modrm&7 == 5 && in.mod == 0:
		in.flags |= instRIP
		n = 4
	default:
		in.base = in.rm
	}
	if (in.base == rSP || in.base == rBP) && in.flags&instOverride == 0 {
		in.seg = segSS
	}
	if n > 0 {
		if i+n > len(b) {
			return 0, false
		}
		in.disp = signExtend(getLE(b[i:], uint8(n)), uint8(n))
	}
	return i + n, true
}

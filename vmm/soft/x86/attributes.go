package x86

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

// attr1Legacy is attr1 for 32-bit code.
var attr1Legacy = func() [256]uint16 {
	t := attr1
	for _, o := range []int{0x06, 0x07, 0x0e, 0x16, 0x17, 0x1e, 0x1f, 0x27, 0x2f, 0x37, 0x3f, 0x60, 0x61, 0xce, 0xd6} {
		t[o] = 0
	}
	for o := 0x40; o < 0x50; o++ {
		t[o] = 0
	}
	t[0x62], t[0xc4], t[0xc5] = aModRM, aModRM, aModRM
	t[0x82] = t[0x80]
	t[0x9a], t[0xea] = aFar, aFar
	t[0xd4], t[0xd5] = aByte|aImm8, aByte|aImm8
	return t
}()

// HasModRM says whether an opcode, numbered as in Inst.Op, is followed by a ModRM
// byte, in 64-bit or in 32-bit code.
func HasModRM(op uint16, long bool) bool { return attributesOf(op, long)&aModRM != 0 }

// Lockable says whether an opcode takes LOCK, as far as that depends on no more.
func Lockable(op uint16) bool { return attributesOf(op, true)&aLock != 0 }

func attributesOf(op uint16, long bool) uint16 {
	switch {
	case op >= 0x100:
		return attr2[op&0xff]
	case long:
		return attr1[op]
	}
	return attr1Legacy[op]
}

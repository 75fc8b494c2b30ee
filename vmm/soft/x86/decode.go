package x86

// Status says what came of decoding.
type Status uint8

const (
	OK      Status = iota
	Short          // more bytes are needed
	Invalid        // #UD
	TooLong        // above 15 bytes: #GP
)

// MaxLength is the longest instruction (SDM 2, 2.3.11).
const MaxLength = 15

// Decode decodes the instruction at the start of b, of 64-bit or of 32-bit code
// (SDM 2, chapter 2).
func Decode(b []byte, in *Inst, long bool) Status {
	*in = Inst{AddressSize: 8, Seg: SegDS, Base: SlotZero, Index: SlotZero}
	if !long {
		in.AddressSize = 4
	}
	i := 0
	short := func() Status {
		if len(b) >= MaxLength {
			return TooLong
		}
		return Short
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
			in.Flags |= Prefix66
		case 0x67:
			in.AddressSize = 4
			if !long {
				in.AddressSize = 2
			}
			in.Flags |= Prefix67
		case 0xf0:
			in.Flags |= PrefixLock
		case 0xf2, 0xf3:
			in.Rep = op
		case 0x64:
			in.Seg, in.Flags = SegFS, in.Flags|PrefixSegment
		case 0x65:
			in.Seg, in.Flags = SegGS, in.Flags|PrefixSegment
		case 0x26, 0x2e, 0x36, 0x3e:
			if !long {
				in.Seg, in.Flags = op>>3&3, in.Flags|PrefixSegment
			}
		default:
			if op&0xf0 != 0x40 || !long {
				break prefixes
			}
			in.REX = op
			in.Flags |= PrefixREX
			continue
		}
		in.REX = 0
		in.Flags &^= PrefixREX
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
		in.Op = 0x100
		attr = attr2[op]
		if op == 0x38 || op == 0x3a {
			return Invalid // nothing advertised lives there
		}
	}
	in.Op |= uint16(op)
	in.Opcode = op
	if !long {
		attr &^= a64 | aForce64
	}
	if attr&aInvalid != 0 {
		return Invalid
	}
	switch {
	case attr&aByte != 0:
		in.Size = 1
	case attr&aForce64 != 0, in.REX&8 != 0:
		in.Size = 8
	case in.Flags&Prefix66 != 0:
		in.Size = 2
	case attr&a64 != 0:
		in.Size = 8
	default:
		in.Size = 4
	}
	if attr&aModRM != 0 {
		if i >= len(b) {
			return short()
		}
		in.ModRM = b[i]
		i++
		n, ok := decodeModRM(b[i:], in)
		if !ok {
			return short()
		}
		i += n
		if !long {
			in.Flags &^= RIPRelative // an absolute address
		}
		if attr&aGroup3 != 0 && in.ModRM>>3&7 < 2 {
			attr |= aImmZ
			if in.Size == 1 {
				attr = attr&^aImmZ | aImm8
			}
		}
	}
	n := 0
	switch {
	case attr&aMoffs != 0:
		n = int(in.AddressSize)
	case attr&aFar != 0:
		n = int(in.Size) + 2
	case attr&(aImm8|aImm16) == aImm8|aImm16:
		n = 3
	case attr&aImm8 != 0:
		n = 1
	case attr&aImm16 != 0:
		n = 2
	case attr&aImmV != 0:
		n = int(in.Size)
	case attr&aImmZ != 0:
		n = int(min(in.Size, 4))
	}
	if n > 0 {
		if i+n > len(b) {
			return short()
		}
		v := GetLE(b[i:], uint8(n))
		i += n
		switch {
		case attr&aMoffs != 0:
			in.Disp = v
		case attr&aFar != 0:
			in.Imm, in.Imm2 = v&SizeMask(in.Size), uint16(v>>(8*in.Size))
		case n == 3:
			in.Imm2, in.Imm = uint16(v), v>>16
		case attr&aImm16 != 0:
			in.Imm = v
		default:
			in.Imm = SignExtend(v, uint8(n))
		}
	}
	if i > MaxLength {
		return TooLong
	}
	in.Len = uint8(i)
	if in.Flags&PrefixLock != 0 && (attr&aLock == 0 || in.Mod == 3 || !lockable(in)) {
		return Invalid
	}
	return OK
}

// lockable says which members of groups take LOCK (SDM 2, "LOCK").
func lockable(in *Inst) bool {
	r := in.ModRM >> 3 & 7
	switch in.Op {
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

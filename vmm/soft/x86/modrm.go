package x86

// decodeModRM decodes what follows the ModRM byte and returns its length.
func decodeModRM(b []byte, in *Inst) (int, bool) {
	in.Mod = in.ModRM >> 6
	in.Reg = in.ModRM>>3&7 | in.REX&4<<1
	in.RM = in.ModRM&7 | in.REX&1<<3
	if in.Mod == 3 {
		return 0, true
	}
	if in.AddressSize == 2 {
		return decodeModRM16(b, in)
	}
	i := 0
	n := 0
	switch in.Mod {
	case 1:
		n = 1
	case 2:
		n = 4
	}
	switch {
	case in.ModRM&7 == 4:
		if len(b) == 0 {
			return 0, false
		}
		sib := b[0]
		i = 1
		in.Scale = sib >> 6
		if x := sib>>3&7 | in.REX&2<<2; x != 4 {
			in.Index = x
		}
		in.Base = sib&7 | in.REX&1<<3
		if sib&7 == 5 && in.Mod == 0 {
			in.Base = SlotZero
			n = 4
		}
	case in.ModRM&7 == 5 && in.Mod == 0:
		in.Flags |= RIPRelative
		n = 4
	default:
		in.Base = in.RM
	}
	if (in.Base == RSP || in.Base == RBP) && in.Flags&PrefixSegment == 0 {
		in.Seg = SegSS
	}
	if n > 0 {
		if i+n > len(b) {
			return 0, false
		}
		in.Disp = SignExtend(GetLE(b[i:], uint8(n)), uint8(n))
	}
	return i + n, true
}

// decodeModRM16 decodes the operand of 16-bit addresses (SDM 2, table 2-1).
func decodeModRM16(b []byte, in *Inst) (int, bool) {
	type pair struct{ base, index uint8 }
	p := [8]pair{{RBX, RSI}, {RBX, RDI}, {RBP, RSI}, {RBP, RDI}, {RSI, SlotZero}, {RDI, SlotZero}, {RBP, SlotZero}, {RBX, SlotZero}}[in.ModRM&7]
	n := int(in.Mod)
	if in.Mod == 0 && in.ModRM&7 == 6 {
		p.base, n = SlotZero, 2
	}
	in.Base, in.Index = p.base, p.index
	if in.Base == RBP && in.Flags&PrefixSegment == 0 {
		in.Seg = SegSS
	}
	if n > len(b) {
		return 0, false
	}
	if n > 0 {
		in.Disp = SignExtend(GetLE(b, uint8(n)), uint8(n))
	}
	return n, true
}

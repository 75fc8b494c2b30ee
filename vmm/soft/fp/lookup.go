package fp

// The columns of opTable.
const (
	prefixNone = iota
	prefix66
	prefixF3
	prefixF2
)

var (
	opTable    [4][256]*Op
	groupTable [3][8]*Op // 66 0F 71, 72, 73 by modrm.reg
)

// Lookup finds the instruction 0F opcode with a mandatory prefix of 0, 0x66,
// 0xF2 or 0xF3. In the groups 0F 71, 72 and 73 (prefix 0x66) reg selects the
// instruction: its destination is the rm register, its immediate the count,
// and it has no source. Nil: none here; plain moves are the caller's.
func Lookup(prefix, opcode, reg byte) *Op {
	var column int
	switch prefix {
	case 0:
	case 0x66:
		if opcode >= 0x71 && opcode <= 0x73 {
			return groupTable[opcode-0x71][reg&7]
		}
		column = prefix66
	case 0xF3:
		column = prefixF3
	case 0xF2:
		column = prefixF2
	default:
		return nil
	}
	return opTable[column][opcode]
}

var (
	mmxTable      [256]*MMXOp
	mmxGroupTable [3][8]*MMXOp
)

// LookupMMX finds the instruction 0F opcode, without prefix, on MMX
// registers. In the groups 0F 71, 72 and 73 reg selects it, as in Lookup.
func LookupMMX(opcode, reg byte) *MMXOp {
	if opcode >= 0x71 && opcode <= 0x73 {
		return mmxGroupTable[opcode-0x71][reg&7]
	}
	return mmxTable[opcode]
}

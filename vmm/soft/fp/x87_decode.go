package fp

import "encoding/binary"

// memoryForm is an instruction with a memory operand.
type memoryForm struct {
	size  int
	store bool
}

// memoryForms is by opcode, from D8, and modrm.reg (SDM vol. 2, A.5). A size of zero is #UD.
var memoryForms = [8][8]memoryForm{
	{{4, false}, {4, false}, {4, false}, {4, false}, {4, false}, {4, false}, {4, false}, {4, false}},
	{{4, false}, {}, {4, true}, {4, true}, {envSize, false}, {2, false}, {envSize, true}, {2, true}},
	{{4, false}, {4, false}, {4, false}, {4, false}, {4, false}, {4, false}, {4, false}, {4, false}},
	{{4, false}, {4, true}, {4, true}, {4, true}, {}, {10, false}, {}, {10, true}},
	{{8, false}, {8, false}, {8, false}, {8, false}, {8, false}, {8, false}, {8, false}, {8, false}},
	{{8, false}, {8, true}, {8, true}, {8, true}, {stateSize, false}, {}, {stateSize, true}, {2, true}},
	{{2, false}, {2, false}, {2, false}, {2, false}, {2, false}, {2, false}, {2, false}, {2, false}},
	{{2, false}, {2, true}, {2, true}, {2, true}, {10, false}, {8, false}, {10, true}, {8, true}},
}

// MemOperand gives the bytes that an instruction D8..DF with a memory operand
// reads, or with store writes. The state images of FLDENV, FNSTENV, FRSTOR
// and FNSAVE are those of a 32-bit operand size. ok is false for #UD.
func MemOperand(op, reg byte) (size int, store, ok bool) {
	if op < 0xD8 || op > 0xDF {
		return 0, false, false
	}
	f := memoryForms[op-0xD8][reg&7]
	return f.size, f.store, f.size != 0
}

// Load executes an instruction that reads data, which has the size that
// MemOperand gives.
func (x *X87) Load(op, reg byte, data []byte) Fault {
	if size, store, ok := MemOperand(op, reg); !ok || store || len(data) != size {
		return UD
	}
	if x.Pending() {
		return MF
	}
	reg &= 7
	switch {
	case op == 0xD8 || op == 0xDC:
		x.withMemory(reg, decodeMemory(data, false))
	case op == 0xDA || op == 0xDE:
		x.withMemory(reg, decodeMemory(data, true))
	case reg == 0:
		x.load(decodeMemory(data, op == 0xDB || op == 0xDF))
	case op == 0xD9 && reg == 4:
		x.loadEnv(data)
	case op == 0xD9:
		x.loadControl(binary.LittleEndian.Uint16(data))
	case op == 0xDB:
		x.loadRaw(loadF80(data))
	case op == 0xDD:
		x.restore(data)
	case reg == 4:
		x.loadDecimal(data)
	default:
		x.load(decodeMemory(data, true))
	}
	return None
}

// Store executes an instruction that writes data, which has the size that
// MemOperand gives. Its result is data only if it returns None.
func (x *X87) Store(op, reg byte, data []byte) Fault {
	if size, store, ok := MemOperand(op, reg); !ok || !store || len(data) != size {
		return UD
	}
	reg &= 7
	switch { // those that do not wait
	case op == 0xD9 && reg == 6:
		x.storeEnv(data)
		x.CW |= swFlags
		x.summarize()
		return None
	case op == 0xD9 && reg == 7:
		binary.LittleEndian.PutUint16(data, x.CW)
		return None
	case op == 0xDD && reg == 6:
		x.save(data)
		return None
	case op == 0xDD && reg == 7:
		binary.LittleEndian.PutUint16(data, x.SW)
		return None
	}
	if x.Pending() {
		return MF
	}
	switch {
	case reg == 1:
		return x.storeInteger(data, true, true)
	case op == 0xD9 || op == 0xDD:
		return x.storeFloat(data, reg == 3)
	case len(data) == 10 && op == 0xDB:
		return x.storeF80(data)
	case len(data) == 10:
		return x.storeDecimal(data)
	}
	return x.storeInteger(data, reg != 2, false)
}

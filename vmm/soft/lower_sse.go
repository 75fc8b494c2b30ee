package soft

import (
	"nvlab/vmm/observe"
	"nvlab/vmm/soft/fp"
)

// slotVec is a vector register in the making.
const slotVec = 16

// fpIndex numbers the functions of package fp: by prefix column and opcode,
// and the shift groups after that.
const fpGroups = 4 * 256

func init() {
	fpOps = make([]fp.Fn, fpGroups+3*8)
	for column, p := range []byte{0, 0x66, 0xf3, 0xf2} {
		for o := range 256 {
			if o >= 0x71 && o <= 0x73 {
				continue
			}
			if f := fp.Lookup(p, byte(o), 0); f != nil {
				fpOps[column*256+o] = f.Fn
			}
		}
	}
	for o := range 3 {
		for r := range 8 {
			if f := fp.Lookup(0x66, byte(0x71+o), byte(r)); f != nil {
				fpOps[fpGroups+o*8+r] = f.Fn
			}
		}
	}
}

func (t *lowering) lowerSSE(in *inst) bool {
	p := in.prefix()
	mem := in.mod != 3
	load := func(o op) bool { o.dst = in.reg; return t.withMem(in, o) }
	store := func(o op) bool { o.src = in.reg; return t.withMem(in, o) }
	switch key := uint16(p)<<8 | uint16(in.opcode); key {
	case 0x0010, 0x6610, 0xf36f: // MOVUPS, MOVUPD, MOVDQU
		if mem {
			return load(op{code: opMOVXM})
		}
		return t.emitIf(true, op{code: opMOVXX, dst: in.reg, src: in.rm})
	case 0x0011, 0x6611, 0xf37f:
		if mem {
			return store(op{code: opMOVMX})
		}
		return t.emitIf(true, op{code: opMOVXX, dst: in.rm, src: in.reg})
	case 0x0028, 0x6628, 0x666f: // MOVAPS, MOVAPD, MOVDQA
		if mem {
			return load(op{code: opMOVAXM})
		}
		return t.emitIf(true, op{code: opMOVXX, dst: in.reg, src: in.rm})
	case 0x0029, 0x6629, 0x667f:
		if mem {
			return store(op{code: opMOVAMX})
		}
		return t.emitIf(true, op{code: opMOVXX, dst: in.rm, src: in.reg})
	case 0x002b, 0x662b, 0x66e7: // MOVNTPS, MOVNTPD, MOVNTDQ
		return mem && store(op{code: opMOVAMX, sel: uint8(observe.NonTemporal)})
	case 0xf310: // MOVSS
		return mem && load(op{code: opMOVXM32})
	case 0xf210, 0xf37e: // MOVSD, MOVQ
		if mem {
			return load(op{code: opMOVXM64})
		}
		return t.emitIf(key == 0xf37e, op{code: opMOVQXX, dst: in.reg, src: in.rm})
	case 0xf311:
		return mem && store(op{code: opMOVMX32})
	case 0xf211, 0x66d6:
		return mem && store(op{code: opMOVMX64})
	case 0x0016, 0x6616: // MOVHPS, MOVHPD
		return mem && load(op{code: opMOVHXM})
	case 0x0017, 0x6617:
		return mem && store(op{code: opMOVHMX})
	case 0x666e: // MOVD, MOVQ from r/m
		if mem {
			return load(op{code: in.pick(opMOVXM32, opMOVXM64)})
		}
		return t.emitIf(true, op{code: in.pick(opMOVXR32, opMOVXR64), dst: in.reg, src: in.rm})
	case 0x667e:
		if mem {
			return store(op{code: in.pick(opMOVMX32, opMOVMX64)})
		}
		return t.emitIf(true, op{code: in.pick(opMOVRX32, opMOVRX64), dst: in.rm, src: in.reg})
	case 0x66d7:
		return t.emitIf(!mem, op{code: opPMOVMSKBRX, dst: in.reg, src: in.rm})
	case 0x66ef, 0x0057, 0x6657:
		return t.lowerLogic(in, opPXORXX, opPXORXM)
	case 0x66eb, 0x0056, 0x6656:
		return t.lowerLogic(in, opPORXX, opPORXM)
	case 0x66db, 0x0054, 0x6654:
		return t.lowerLogic(in, opPANDXX, opPANDXM)
	case 0x66df, 0x0055, 0x6655:
		return t.lowerLogic(in, opPANDNXX, opPANDNXM)
	case 0x66d4:
		return t.lowerLogic(in, opPADDQXX, opPADDQXM)
	case 0x66fb:
		return t.lowerLogic(in, opPSUBQXX, opPSUBQXM)
	case 0x6674:
		return t.lowerLogic(in, opPCMPEQBXX, opPCMPEQBXM)
	case 0x666c:
		if !mem {
			return t.emitIf(true, op{code: opPUNPCKLQDQXX, dst: in.reg, src: in.rm})
		}
	}
	return t.lowerFP(in, p)
}

func (t *lowering) lowerLogic(in *inst, reg, mem opcode) bool {
	if in.mod == 3 {
		t.emit(op{code: reg, dst: in.reg, src: in.rm})
		return true
	}
	return t.withMem(in, op{code: mem, dst: in.reg})
}

// lowerFP calls package fp.
func (t *lowering) lowerFP(in *inst, p uint8) bool {
	f := fp.Lookup(p, in.opcode, in.modrm>>3&7)
	if f == nil || sseTable[prefixColumn(p)][in.opcode] != nil {
		return false
	}
	o := op{code: opFP, dst: in.reg, src: in.rm, disp: int32(prefixColumn(p))*256 + int32(in.opcode), imm: int64(in.imm)}
	if in.opcode >= 0x71 && in.opcode <= 0x73 {
		if in.mod != 3 {
			return false
		}
		o.dst = in.rm
		o.disp = fpGroups + int32(in.opcode-0x71)*8 + int32(in.modrm>>3&7)
		t.emit(o)
		return true
	}
	if in.mod != 3 {
		load := op{dst: slotVec}
		switch {
		case f.Mem == 4:
			load.code = opMOVXM32
		case f.Mem == 8:
			load.code = opMOVXM64
		case f.Aligned:
			load.code = opMOVAXM
		default:
			load.code = opMOVXM
		}
		if !t.withMem(in, load) {
			return false
		}
		o.src = slotVec
	}
	t.emit(o)
	return true
}

package ir

import (
	"nvlab/vmm/observe"
	"nvlab/vmm/soft/fp"
	"nvlab/vmm/soft/x86"
)

// SlotVec is a vector register in the making.
const SlotVec = 16

// FPOps are the arithmetic instructions of package fp that FP ops name: by prefix
// column and opcode, and from FPGroups on the shift groups.
var FPOps = fpOps()

// FPGroups is where the shift groups begin in FPOps.
const FPGroups = 4 * 256

func fpOps() []fp.Fn {
	fns := make([]fp.Fn, FPGroups+3*8)
	for column, p := range []byte{0, 0x66, 0xf3, 0xf2} {
		for o := range 256 {
			if o >= 0x71 && o <= 0x73 {
				continue
			}
			if f := fp.Lookup(p, byte(o), 0); f != nil {
				fns[column*256+o] = f.Fn
			}
		}
	}
	for o := range 3 {
		for r := range 8 {
			if f := fp.Lookup(0x66, byte(0x71+o), byte(r)); f != nil {
				fns[FPGroups+o*8+r] = f.Fn
			}
		}
	}
	return fns
}

func (t *lowering) lowerSSE(in *x86.Inst) bool {
	p := in.Prefix()
	mem := in.Mod != 3
	load := func(o Op) bool { o.Dst = in.Reg; return t.withMem(in, o) }
	store := func(o Op) bool { o.Src = in.Reg; return t.withMem(in, o) }
	switch key := uint16(p)<<8 | uint16(in.Opcode); key {
	case 0x0010, 0x6610, 0xf36f: // MOVUPS, MOVUPD, MOVDQU
		if mem {
			return load(Op{Code: OpMOVXM})
		}
		return t.emitIf(true, Op{Code: OpMOVXX, Dst: in.Reg, Src: in.RM})
	case 0x0011, 0x6611, 0xf37f:
		if mem {
			return store(Op{Code: OpMOVMX})
		}
		return t.emitIf(true, Op{Code: OpMOVXX, Dst: in.RM, Src: in.Reg})
	case 0x0028, 0x6628, 0x666f: // MOVAPS, MOVAPD, MOVDQA
		if mem {
			return load(Op{Code: OpMOVAXM})
		}
		return t.emitIf(true, Op{Code: OpMOVXX, Dst: in.Reg, Src: in.RM})
	case 0x0029, 0x6629, 0x667f:
		if mem {
			return store(Op{Code: OpMOVAMX})
		}
		return t.emitIf(true, Op{Code: OpMOVXX, Dst: in.RM, Src: in.Reg})
	case 0x002b, 0x662b, 0x66e7: // MOVNTPS, MOVNTPD, MOVNTDQ
		return mem && store(Op{Code: OpMOVAMX, Sel: uint8(observe.NonTemporal)})
	case 0xf310: // MOVSS
		return mem && load(Op{Code: OpMOVXM32})
	case 0xf210, 0xf37e: // MOVSD, MOVQ
		if mem {
			return load(Op{Code: OpMOVXM64})
		}
		return t.emitIf(key == 0xf37e, Op{Code: OpMOVQXX, Dst: in.Reg, Src: in.RM})
	case 0xf311:
		return mem && store(Op{Code: OpMOVMX32})
	case 0xf211, 0x66d6:
		return mem && store(Op{Code: OpMOVMX64})
	case 0x0016, 0x6616: // MOVHPS, MOVHPD
		return mem && load(Op{Code: OpMOVHXM})
	case 0x0017, 0x6617:
		return mem && store(Op{Code: OpMOVHMX})
	case 0x666e: // MOVD, MOVQ from r/m
		if mem {
			return load(Op{Code: pick(in, OpMOVXM32, OpMOVXM64)})
		}
		return t.emitIf(true, Op{Code: pick(in, OpMOVXR32, OpMOVXR64), Dst: in.Reg, Src: in.RM})
	case 0x667e:
		if mem {
			return store(Op{Code: pick(in, OpMOVMX32, OpMOVMX64)})
		}
		return t.emitIf(true, Op{Code: pick(in, OpMOVRX32, OpMOVRX64), Dst: in.RM, Src: in.Reg})
	case 0x66d7:
		return t.emitIf(!mem, Op{Code: OpPMOVMSKBRX, Dst: in.Reg, Src: in.RM})
	case 0x66ef, 0x0057, 0x6657:
		return t.lowerLogic(in, OpPXORXX, OpPXORXM)
	case 0x66eb, 0x0056, 0x6656:
		return t.lowerLogic(in, OpPORXX, OpPORXM)
	case 0x66db, 0x0054, 0x6654:
		return t.lowerLogic(in, OpPANDXX, OpPANDXM)
	case 0x66df, 0x0055, 0x6655:
		return t.lowerLogic(in, OpPANDNXX, OpPANDNXM)
	case 0x66d4:
		return t.lowerLogic(in, OpPADDQXX, OpPADDQXM)
	case 0x66fb:
		return t.lowerLogic(in, OpPSUBQXX, OpPSUBQXM)
	case 0x6674:
		return t.lowerLogic(in, OpPCMPEQBXX, OpPCMPEQBXM)
	case 0x666c:
		if !mem {
			return t.emitIf(true, Op{Code: OpPUNPCKLQDQXX, Dst: in.Reg, Src: in.RM})
		}
	}
	return t.lowerFP(in, p)
}

func (t *lowering) lowerLogic(in *x86.Inst, reg, mem Opcode) bool {
	if in.Mod == 3 {
		t.emit(Op{Code: reg, Dst: in.Reg, Src: in.RM})
		return true
	}
	return t.withMem(in, Op{Code: mem, Dst: in.Reg})
}

// lowerFP calls package fp.
func (t *lowering) lowerFP(in *x86.Inst, p uint8) bool {
	f := fp.Lookup(p, in.Opcode, in.ModRM>>3&7)
	if f == nil {
		return false
	}
	o := Op{Code: OpFP, Dst: in.Reg, Src: in.RM, Disp: int32(x86.PrefixColumn(p))*256 + int32(in.Opcode), Imm: int64(in.Imm)}
	if in.Opcode >= 0x71 && in.Opcode <= 0x73 {
		if in.Mod != 3 {
			return false
		}
		o.Dst = in.RM
		o.Disp = FPGroups + int32(in.Opcode-0x71)*8 + int32(in.ModRM>>3&7)
		t.emit(o)
		return true
	}
	if in.Mod != 3 {
		load := Op{Dst: SlotVec}
		switch {
		case f.Mem == 4:
			load.Code = OpMOVXM32
		case f.Mem == 8:
			load.Code = OpMOVXM64
		case f.Aligned:
			load.Code = OpMOVAXM
		default:
			load.Code = OpMOVXM
		}
		if !t.withMem(in, load) {
			return false
		}
		o.Src = SlotVec
	}
	t.emit(o)
	return true
}

package ir

import (
	"nvlab/vmm/soft/x86"
)

// lowerALU does the eight two-operand operations.
func (t *lowering) lowerALU(in *x86.Inst) bool {
	b := in.Opcode
	alu := b >> 3
	form := FormRR
	o := Op{}
	switch {
	case b >= 0x80:
		alu = in.ModRM >> 3 & 7
		o.Imm = int64(in.Imm)
		if in.Mod == 3 {
			if !in.RegRM(in.Size) {
				return false
			}
			form, o.Dst = FormRI, in.RM
		} else {
			form = FormMI
		}
	case b&7 >= 4:
		form, o.Dst, o.Imm = FormRI, x86.RAX, int64(in.Imm)
	case !in.Low(in.Reg, in.Size) || in.Mod == 3 && !in.RegRM(in.Size):
		return false
	case in.Mod == 3 && b&2 == 0:
		o.Dst, o.Src = in.RM, in.Reg
	case in.Mod == 3:
		o.Dst, o.Src = in.Reg, in.RM
	case b&2 == 0:
		form, o.Src = FormMR, in.Reg
	default:
		form, o.Dst = FormRM, in.Reg
	}
	o.Code = OpOf(KindAlu, form, in.Size, alu)
	if OpTable[o.Code].Mem != 0 {
		return t.withMem(in, o)
	}
	t.emit(o)
	return true
}

func (t *lowering) lowerTest(in *x86.Inst) bool {
	switch {
	case in.Opcode >= 0xa8:
		t.emit(Op{Code: OpOf(KindTest, FormRI, in.Size, 0), Dst: x86.RAX, Imm: int64(in.Imm)})
		return true
	case !in.Low(in.Reg, in.Size) || in.Mod == 3 && !in.RegRM(in.Size):
		return false
	case in.Mod == 3:
		t.emit(Op{Code: OpOf(KindTest, FormRR, in.Size, 0), Dst: in.RM, Src: in.Reg})
		return true
	}
	return t.withMem(in, Op{Code: OpOf(KindTest, FormMR, in.Size, 0), Src: in.Reg})
}

func (t *lowering) lowerMOV(in *x86.Inst) bool {
	b := in.Opcode
	switch {
	case b >= 0xc6:
		if in.ModRM>>3&7 != 0 {
			return false
		}
		if in.Mod != 3 {
			return t.withMem(in, Op{Code: OpOf(KindMov, FormMI, in.Size, 0), Imm: int64(in.Imm)})
		}
		return t.emitIf(in.RegRM(in.Size), Op{Code: OpOf(KindMov, FormRI, in.Size, 0), Dst: in.RM, Imm: int64(in.Imm)})
	case b == 0xa0 || b == 0xa1:
		return t.withMem(in, Op{Code: OpOf(KindMov, FormRM, in.Size, 0), Dst: x86.RAX})
	case b == 0xa2 || b == 0xa3:
		return t.withMem(in, Op{Code: OpOf(KindMov, FormMR, in.Size, 0), Src: x86.RAX})
	case !in.Low(in.Reg, in.Size):
		return false
	case in.Mod == 3:
		o := Op{Code: OpOf(KindMov, FormRR, in.Size, 0), Dst: in.Reg, Src: in.RM}
		if b&2 == 0 {
			o.Dst, o.Src = in.RM, in.Reg
		}
		return t.emitIf(in.RegRM(in.Size), o)
	case b&2 == 0:
		return t.withMem(in, Op{Code: OpOf(KindMov, FormMR, in.Size, 0), Src: in.Reg})
	}
	return t.withMem(in, Op{Code: OpOf(KindMov, FormRM, in.Size, 0), Dst: in.Reg})
}

func (t *lowering) lowerLEA(in *x86.Inst) bool {
	if in.Mod == 3 || !in.Is4or8() || in.AddressSize != 8 {
		return false
	}
	a := *in
	a.Seg = x86.SegDS
	return t.withMem(&a, Op{Code: pick(in, OpLEA32, OpLEA64), Dst: in.Reg})
}

func (t *lowering) lowerXCHG(in *x86.Inst) bool {
	if !in.Is4or8() {
		return false
	}
	if in.Mod == 3 {
		t.emit(Op{Code: pick(in, OpXCHGRR32, OpXCHGRR64), Dst: in.RM, Src: in.Reg})
		return true
	}
	return t.withMem(in, Op{Code: pick(in, OpXCHGMR32, OpXCHGMR64), Src: in.Reg})
}

func (t *lowering) lowerMOVSXD(in *x86.Inst) bool {
	if in.Size != 8 {
		return false
	}
	if in.Mod == 3 {
		t.emit(Op{Code: OpMOVSXRR32, Dst: in.Reg, Src: in.RM})
		return true
	}
	return t.withMem(in, Op{Code: OpMOVSXRM32, Dst: in.Reg})
}

func (t *lowering) lowerShift(in *x86.Inst) bool {
	if !in.Is4or8() || in.Mod != 3 {
		return false
	}
	o := Op{Dst: in.RM}
	form := FormI
	switch in.Opcode {
	case 0xd3:
		form = FormCL
	case 0xd1:
		o.Src = 1
	default:
		if o.Src = uint8(x86.ShiftCount(in.Imm, in.Size)); o.Src == 0 {
			return false
		}
	}
	shift := in.ModRM >> 3 & 7
	if shift == x86.ShiftSHL2 {
		shift = x86.ShiftSHL
	}
	o.Code = OpOf(KindShift, form, in.Size, shift) // none with carry
	return t.emitIf(o.Code != 0, o)
}

func (t *lowering) lowerGroup3(in *x86.Inst) bool {
	r := in.ModRM >> 3 & 7
	if r < 2 {
		o := Op{Dst: in.RM, Imm: int64(in.Imm)}
		if in.Mod != 3 {
			o.Code = OpOf(KindTest, FormMI, in.Size, 0)
			return t.withMem(in, o)
		}
		o.Code = OpOf(KindTest, FormRI, in.Size, 0)
		if !in.RegRM(in.Size) { // AH to BH
			t.emit(Op{Code: OpMOVZXRH, Dst: SlotTmp, Src: in.RM & 3})
			o.Dst = SlotTmp
		}
		t.emit(o)
		return true
	}
	if !in.Is4or8() {
		return false
	}
	if r < 4 {
		if in.Mod != 3 {
			return false
		}
		code := pick(in, OpNOTR32, OpNOTR64)
		if r == 3 {
			code = pick(in, OpNEGR32, OpNEGR64)
		}
		t.emit(Op{Code: code, Dst: in.RM})
		return true
	}
	if r == 5 || r == 7 {
		return false
	}
	src, ok := t.source(in)
	if !ok {
		return false
	}
	code := pick(in, OpMUL32, OpMUL64)
	if r == 6 {
		code = pick(in, OpDIV32, OpDIV64)
	}
	t.emit(Op{Code: code, Src: src})
	return true
}

func (t *lowering) lowerGroup5(in *x86.Inst) bool {
	switch in.ModRM >> 3 & 7 {
	case 0:
		return t.lowerInc(in, pick(in, OpINCR32, OpINCR64), pick(in, OpINCM32, OpINCM64))
	case 1:
		return t.lowerInc(in, pick(in, OpDECR32, OpDECR64), pick(in, OpDECM32, OpDECM64))
	case 2:
		return t.indirect(in, OpCALLR)
	case 4:
		return t.indirect(in, OpJMPR)
	case 6:
		if in.Size == 2 {
			return false
		}
		a := *in
		a.Size = 8
		src, ok := t.source(&a)
		return ok && t.emitIf(true, Op{Code: OpPUSH, Src: src})
	}
	return false
}

func (t *lowering) lowerInc(in *x86.Inst, reg, mem Opcode) bool {
	if !in.Is4or8() {
		return false
	}
	if in.Mod == 3 {
		t.emit(Op{Code: reg, Dst: in.RM})
		return true
	}
	return t.withMem(in, Op{Code: mem})
}

func (t *lowering) lowerBitImm(in *x86.Inst) bool {
	if !in.Is4or8() {
		return false
	}
	var reg, mem Opcode
	switch in.ModRM >> 3 & 7 {
	case 4:
		reg, mem = pick(in, OpBTRI32, OpBTRI64), pick(in, OpBTMI32, OpBTMI64)
	case 5:
		reg, mem = pick(in, OpBTSRI32, OpBTSRI64), pick(in, OpBTSMI32, OpBTSMI64)
	case 6:
		reg, mem = pick(in, OpBTRRI32, OpBTRRI64), pick(in, OpBTRMI32, OpBTRMI64)
	default:
		return false
	}
	if in.Mod != 3 {
		return t.withMem(in, Op{Code: mem, Src: uint8(in.Imm)})
	}
	t.emit(Op{Code: reg, Dst: in.RM, Src: uint8(in.Imm)})
	return true
}

// lowerExtend is MOVZX and MOVSX.
func (t *lowering) lowerExtend(in *x86.Inst) bool {
	if !in.Is4or8() {
		return false
	}
	from := in.Opcode&1 + 1
	signed := in.Opcode >= 0xbe
	if in.Mod == 3 && !in.Low(in.RM, from) {
		return t.emitIf(!signed, Op{Code: OpMOVZXRH, Dst: in.Reg, Src: in.RM & 3})
	}
	var reg, mem Opcode
	switch {
	case !signed && from == 1:
		reg, mem = OpMOVZXRR8, OpMOVZXRM8
	case !signed:
		reg, mem = OpMOVZXRR16, OpMOVZXRM16
	case from == 1:
		reg, mem = pick(in, OpMOVSX32RR8, OpMOVSXRR8), pick(in, OpMOVSX32RM8, OpMOVSXRM8)
	default:
		reg, mem = pick(in, OpMOVSX32RR16, OpMOVSXRR16), pick(in, OpMOVSX32RM16, OpMOVSXRM16)
	}
	if in.Mod == 3 {
		t.emit(Op{Code: reg, Dst: in.Reg, Src: in.RM})
		return true
	}
	return t.withMem(in, Op{Code: mem, Dst: in.Reg})
}

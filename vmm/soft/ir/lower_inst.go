package ir

import (
	"nvlab/vmm/observe"
	"nvlab/vmm/soft/x86"
)

// lower emits ops for in, or says that there are none.
func (t *lowering) lower(in *x86.Inst) bool {
	if in.Op >= 0x100 {
		return t.lower0F(in)
	}
	b := in.Opcode
	switch {
	case b < 0x40 && b&7 < 6:
		return t.lowerALU(in)
	case b >= 0x50 && b <= 0x57 && in.Size == 8:
		t.emit(Op{Code: OpPUSH, Src: b&7 | in.REX&1<<3})
		return true
	case b >= 0x58 && b <= 0x5f && in.Size == 8:
		t.emit(Op{Code: OpPOP, Dst: b&7 | in.REX&1<<3})
		return true
	case b >= 0x70 && b <= 0x7f:
		return t.lowerJcc(in)
	case b >= 0xb0 && b <= 0xb7:
		n := b&7 | in.REX&1<<3
		if !in.Low(n, 1) {
			return false
		}
		t.emit(Op{Code: OpMOVRI8, Dst: n, Imm: int64(in.Imm)})
		return true
	case b >= 0xb8 && b <= 0xbf && in.Is4or8():
		t.emit(Op{Code: pick(in, OpMOVRI32, OpMOVRI64), Dst: b&7 | in.REX&1<<3, Imm: int64(in.Imm)})
		return true
	case b > 0x90 && b <= 0x97 && in.Is4or8():
		t.emit(Op{Code: pick(in, OpXCHGRR32, OpXCHGRR64), Dst: x86.RAX, Src: b&7 | in.REX&1<<3})
		return true
	}
	switch b {
	case 0x63:
		return t.lowerMOVSXD(in)
	case 0x68, 0x6a:
		if in.Size != 8 {
			return false
		}
		t.emit(Op{Code: OpPUSHI, Imm: int64(in.Imm)})
		return true
	case 0x69, 0x6b:
		src, ok := t.source(in)
		if !ok {
			return false
		}
		t.emit(Op{Code: pick(in, OpIMULRRI32, OpIMULRRI64), Dst: in.Reg, Src: src, Imm: int64(in.Imm)})
		return true
	case 0x80, 0x81, 0x83:
		return t.lowerALU(in)
	case 0x84, 0x85, 0xa8, 0xa9:
		return t.lowerTest(in)
	case 0x86, 0x87:
		return t.lowerXCHG(in)
	case 0x88, 0x89, 0x8a, 0x8b, 0xc6, 0xc7, 0xa0, 0xa1, 0xa2, 0xa3:
		return t.lowerMOV(in)
	case 0x8d:
		return t.lowerLEA(in)
	case 0x90:
		if in.REX&1 != 0 {
			return false // XCHG R8, whatever prefix repeats it
		}
		return true // NOP and PAUSE take no op
	case 0x98:
		return t.emitIf(in.Is4or8(), Op{Code: pick(in, OpCWDE, OpCDQE)})
	case 0x99:
		return t.emitIf(in.Is4or8(), Op{Code: pick(in, OpCDQ, OpCQO)})
	case 0x9c:
		return t.emitIf(in.Size == 8, Op{Code: OpPUSHF})
	case 0x9d:
		return t.emitIf(in.Size == 8 && !t.user, Op{Code: OpPOPF})
	case 0xc0, 0xc1, 0xd0, 0xd1, 0xd2, 0xd3:
		return t.lowerShift(in)
	case 0xc2, 0xc3:
		t.emit(Op{Code: OpRET, Imm: int64(in.Imm)})
		t.done = true
		return true
	case 0xc9:
		return t.emitIf(in.Size == 8, Op{Code: OpLEAVE})
	case 0xe8:
		o := Op{Code: OpCALL, Disp: int32(t.pc) + int32(in.Len)}
		return t.jump(in, o)
	case 0xe9, 0xeb:
		target := t.page + uint64(t.pc) + uint64(in.Len) + in.Imm
		if target&^x86.PageMask == t.page && t.jumps < maxJumps && t.n < MaxBlock/2 {
			t.jumps++
			t.jumped, t.target = true, uint16(target&x86.PageMask)
			return true // the block goes on there
		}
		return t.jump(in, Op{Code: OpJMP})
	case 0xf6, 0xf7:
		return t.lowerGroup3(in)
	case 0xf8:
		return t.emitIf(true, Op{Code: OpCLC})
	case 0xf9:
		return t.emitIf(true, Op{Code: OpSTC})
	case 0xfa:
		return t.emitIf(!t.user, Op{Code: OpCLI})
	case 0xfb:
		// See end, which takes it for one byte.
		return t.emitIf(!t.user && in.Len == 1, Op{Code: OpSTI})
	case 0xfc:
		return t.emitIf(true, Op{Code: OpCLD})
	case 0xff:
		return t.lowerGroup5(in)
	}
	return false
}

func (t *lowering) lower0F(in *x86.Inst) bool {
	b := in.Opcode
	switch {
	case b >= 0x80 && b <= 0x8f:
		return t.lowerJcc(in)
	case b >= 0x40 && b <= 0x4f:
		src, ok := t.source(in)
		return ok && t.emitIf(true, Op{Code: OpOf(KindCmov, FormRR, in.Size, b&15), Dst: in.Reg, Src: src})
	case b >= 0x90 && b <= 0x9f:
		if in.Mod != 3 {
			t.emit(Op{Code: OpOf(KindSetcc, FormR, 1, b&15), Dst: SlotTmp})
			return t.withMem2(in, Op{Code: OpMOVMR8, Src: SlotTmp})
		}
		return t.emitIf(in.RegRM(1), Op{Code: OpOf(KindSetcc, FormR, 1, b&15), Dst: in.RM})
	case b >= 0xc8 && b <= 0xcf:
		return t.emitIf(in.Is4or8(), Op{Code: pick(in, OpBSWAP32, OpBSWAP64), Dst: b&7 | in.REX&1<<3})
	}
	switch b {
	case 0x0d, 0x18, 0x19, 0x1a, 0x1b, 0x1c, 0x1d, 0x1e, 0x1f:
		return true // NOP and prefetches take no op
	case 0x31:
		return t.emitIf(!t.user && !t.several, Op{Code: OpRDTSC})
	case 0xc7:
		if in.Mod == 3 || in.ModRM>>3&7 != 1 || in.Size != 8 {
			return false
		}
		return t.withMem(in, Op{Code: OpCMPXCHG16B})
	case 0xa3, 0xab, 0xb3:
		if in.Mod != 3 || !in.Is4or8() {
			return false
		}
		code := [...]Opcode{pick(in, OpBTRR32, OpBTRR64), pick(in, OpBTSRR32, OpBTSRR64), pick(in, OpBTRRR32, OpBTRRR64)}[b>>3&3]
		t.emit(Op{Code: code, Dst: in.RM, Src: in.Reg})
		return true
	case 0x01:
		switch {
		case t.user:
			return false
		case in.ModRM == 0xf8:
			return t.emitIf(true, Op{Code: OpSWAPGS, Dst: x86.SlotGS})
		case in.ModRM == 0xcb && in.Prefix() == 0:
			return t.emitIf(true, Op{Code: OpSTAC})
		case in.ModRM == 0xca && in.Prefix() == 0:
			return t.emitIf(true, Op{Code: OpCLAC})
		}
		return false
	case 0xba:
		return t.lowerBitImm(in)
	case 0xa4, 0xac:
		n := x86.ShiftCount(in.Imm, in.Size)
		if in.Mod != 3 || !in.Is4or8() || n == 0 {
			return false
		}
		code := pick(in, OpSHLD32, OpSHLD64)
		if b == 0xac {
			code = pick(in, OpSHRD32, OpSHRD64)
		}
		t.emit(Op{Code: code, Dst: in.RM, Src: in.Reg, Scale: uint8(n)})
		return true
	case 0xaf:
		src, ok := t.source(in)
		return ok && t.emitIf(true, Op{Code: pick(in, OpIMULRR32, OpIMULRR64), Dst: in.Reg, Src: src})
	case 0xb0, 0xb1, 0xc0, 0xc1:
		if !in.Is4or8() || in.Mod == 3 {
			return false
		}
		code := pick(in, OpCMPXCHGMR32, OpCMPXCHGMR64)
		if b >= 0xc0 {
			code = pick(in, OpXADDMR32, OpXADDMR64)
		}
		return t.withMem(in, Op{Code: code, Src: in.Reg})
	case 0xb6, 0xb7, 0xbe, 0xbf:
		return t.lowerExtend(in)
	case 0xbc, 0xbd:
		src, ok := t.source(in)
		code := pick(in, OpBSF32, OpBSF64)
		if b == 0xbd {
			code = pick(in, OpBSR32, OpBSR64)
		}
		return ok && t.emitIf(true, Op{Code: code, Dst: in.Reg, Src: src})
	case 0xc3:
		if in.Mod == 3 || in.Prefix() != 0 {
			return false
		}
		return t.withMem(in, Op{Code: pick(in, OpMOVMR32, OpMOVMR64), Src: in.Reg, Sel: uint8(observe.NonTemporal)})
	}
	if t.sse {
		return t.lowerSSE(in)
	}
	return false
}

package soft

import (
	"nvlab/vmm/observe"
	"nvlab/vmm/soft/fp"
)

// lowering turns the instructions of one block into ops.
type lowering struct {
	cache   *blockCache
	page    uint64
	pc      uint16 // of the instruction at hand
	n       uint8  // instructions so far, with it
	sse     bool   // SSE instructions do not fault
	user    bool
	watch   bool // LOCK is noted
	several bool // there are several processors
	done    bool // the block has ended
	single  bool // it is one instruction, which reaches into the next page

	first     int    // index of the block's first op
	jumped    bool   // the instruction at hand is a jump to target
	target    uint16 // in the page
	jumps     int    // that the block goes along with
	start     uint16 // of the block
	unrolled  int    // that the block goes back there
	passStart uint8  // instructions before the last time
}

const (
	maxJumps  = 4 // jumps that a block follows
	maxUnroll = 7 // passes of a loop that it has beyond the first
)

// eliminateDeadFlags replaces ops whose flags nothing reads by variants that set none.
func eliminateDeadFlags(ops []op) {
	live := true
	for i := len(ops) - 1; i >= 0; i-- {
		o := &ops[i]
		if quiet := opTable[o.code].quiet; !live && quiet != 0 {
			o.code = quiet
		}
		live = opTable[o.code].effect.liveBefore(live)
	}
}

// block makes ops of the page's code from pc on.
func (t *lowering) block(code []byte, pc uint16) {
	t.first, t.start = len(t.cache.ops), pc
	defer func() { eliminateDeadFlags(t.cache.ops[t.first:]) }()
	var in, after inst
	for !t.done {
		t.pc = pc
		if t.n >= maxBlock-1 || t.single && t.n > 0 || decode(code[pc:], &in, true) != decodeOK {
			break
		}
		t.n++
		end := pc + uint16(in.len)
		locked := t.watch && (in.flags&instLock != 0 || in.op|1 == 0x87 && in.mod != 3)
		switch {
		case !t.single && fusable(&in) && decode(code[end:], &after, true) == decodeOK && isJcc(&after) && t.fuse(&in, &after):
			end += uint16(after.len)
		case !t.lower(&in):
			t.generic(&in)
		}
		if locked {
			t.emit(op{code: opORDER}) // not if it faults
		}
		pc = end
		if t.jumped {
			pc, t.jumped = t.target, false
		}
	}
	if t.done {
		return
	}
	if t.n == 0 {
		t.slow()
		return
	}
	t.end()
}

// emit appends an op for the instruction at hand.
func (t *lowering) emit(o op) {
	o.n, o.pc = t.n, t.pc
	if b := opTable[o.code].based; b != 0 && o.index == slotZero {
		o.code = b
	}
	if t.pair(&o) {
		return
	}
	t.cache.ops = append(t.cache.ops, o)
}

// pair makes one op of o and the op before, if both push or both pop.
func (t *lowering) pair(o *op) bool {
	if len(t.cache.ops) == t.first {
		return false
	}
	last := &t.cache.ops[len(t.cache.ops)-1]
	if last.code != o.code || last.n+1 != o.n {
		return false
	}
	switch {
	case o.code == opPUSH && last.src != rSP && o.src != rSP && last.src != slotTmp && o.src != slotTmp:
		last.code, last.dst = opPUSH2, o.src
	case o.code == opPOP && last.dst != rSP && o.dst != rSP && last.dst != o.dst:
		last.code, last.src = opPOP2, o.dst
	default:
		return false
	}
	last.n, last.more = o.n, 1
	return true
}

// slow leaves the instruction at pc to the executor, from its bytes.
func (t *lowering) slow() {
	t.n++
	t.emit(op{code: opSLOW})
	t.done = true
}

// generic leaves in to the executor.
func (t *lowering) generic(in *inst) {
	i := len(t.cache.insts)
	t.cache.insts = append(t.cache.insts, *in)
	t.emit(op{code: opGENERIC, imm: int64(i), disp: int32(t.pc) + int32(in.len)})
	switch in.op {
	case 0xca, 0xcb, 0xcc, 0xcd, 0xcf, 0xf1, 0xf4, 0x105, 0x107:
		t.pc += uint16(in.len)
		t.end()
	}
}

// end ends the block with a branch to pc, which is no instruction.
func (t *lowering) end() {
	if last := &t.cache.ops[len(t.cache.ops)-1]; last.code == opSTI {
		// The shadow of STI reaches out of the block.
		in := inst{op: 0xfb, opcode: 0xfb, len: 1, size: 4, asize: 8}
		last.code = opGENERIC
		last.disp = int32(last.pc) + 1
		last.imm = int64(len(t.cache.insts))
		t.cache.insts = append(t.cache.insts, in)
	}
	o := op{code: opJMP}
	t.branch(&o, t.page+uint64(t.pc))
	t.emit(o)
	t.done = true
}

// branch sets a direct branch's target. It is false for one out of reach. An
// instruction at the end of the page may reach into the next one: then that
// one's mapping matters, as for a target there.
func (t *lowering) branch(o *op, target uint64) bool {
	d := int64(target - t.page)
	if d != int64(int32(d)) || !canonical(target) {
		return false
	}
	o.imm = o.imm&0xffffffff | d<<32
	o.gen = noGen
	switch {
	case target&^pageMask == t.page && target&pageMask <= pageSize-maxInst:
		o.sel = genSame
	case target>>63 != 0:
		o.sel = genUpper
	default:
		o.sel = genLower
	}
	return true
}

// mem sets the address of in's memory operand, with ops before if it takes
// more than one op can hold.
func (t *lowering) mem(in *inst, o *op) bool {
	if in.asize != 8 {
		return false
	}
	o.base, o.index, o.scale = in.base, in.index, in.scale
	disp := in.disp
	if in.flags&instRIP != 0 {
		disp += t.page + uint64(t.pc) + uint64(in.len)
	}
	if int64(int32(disp)) != int64(disp) { // RIP-relative or moffs: no base
		t.emit(op{code: opMOVRI64, dst: slotTmp, imm: int64(disp)})
		o.base, disp = slotTmp, 0
	}
	seg := uint8(slotZero)
	switch in.seg {
	case segFS:
		seg = slotFS
	case segGS:
		seg = slotGS
	}
	switch {
	case seg == slotZero:
	case o.base == slotZero:
		o.base = seg
	case o.index == slotZero:
		o.index, o.scale = seg, 0
	default:
		t.emit(op{code: opLEA64, dst: slotTmp, base: o.base, index: o.index, scale: o.scale, disp: int32(disp)})
		o.base, o.index, o.scale, disp = slotTmp, seg, 0, 0
	}
	o.disp = int32(disp)
	return true
}

// low says whether register n of the given size is the low part of its slot.
func (in *inst) low(n, size uint8) bool {
	return size > 1 || n < 4 || in.flags&instREX != 0
}

// regRM says that the r/m operand is a register that is low in its slot.
func (in *inst) regRM(size uint8) bool { return in.mod == 3 && in.low(in.rm, size) }

// is4or8 says that the operand size is 4 or 8.
func (in *inst) is4or8() bool { return in.size >= 4 }

// withMem emits o with in's memory operand.
func (t *lowering) withMem(in *inst, o op) bool {
	if !t.mem(in, &o) {
		return false
	}
	t.emit(o)
	return true
}

// withMem2 is withMem after an op that used slotTmp, which the address then
// must not.
func (t *lowering) withMem2(in *inst, o op) bool {
	n := len(t.cache.ops)
	if t.withMem(in, o) && len(t.cache.ops) == n+1 {
		return true
	}
	t.cache.ops = t.cache.ops[:n-1]
	return false
}

// pick chooses the 32- or 64-bit one of two opcodes.
func (in *inst) pick(o32, o64 opcode) opcode {
	if in.size == 8 {
		return o64
	}
	return o32
}

// lower emits ops for in, or says that there are none.
func (t *lowering) lower(in *inst) bool {
	if in.op >= 0x100 {
		return t.lower0F(in)
	}
	b := in.opcode
	switch {
	case b < 0x40 && b&7 < 6:
		return t.lowerALU(in)
	case b >= 0x50 && b <= 0x57 && in.size == 8:
		t.emit(op{code: opPUSH, src: b&7 | in.rex&1<<3})
		return true
	case b >= 0x58 && b <= 0x5f && in.size == 8:
		t.emit(op{code: opPOP, dst: b&7 | in.rex&1<<3})
		return true
	case b >= 0x70 && b <= 0x7f:
		return t.lowerJcc(in)
	case b >= 0xb0 && b <= 0xb7:
		n := b&7 | in.rex&1<<3
		if !in.low(n, 1) {
			return false
		}
		t.emit(op{code: opMOVRI8, dst: n, imm: int64(in.imm)})
		return true
	case b >= 0xb8 && b <= 0xbf && in.is4or8():
		t.emit(op{code: in.pick(opMOVRI32, opMOVRI64), dst: b&7 | in.rex&1<<3, imm: int64(in.imm)})
		return true
	case b > 0x90 && b <= 0x97 && in.is4or8():
		t.emit(op{code: in.pick(opXCHGRR32, opXCHGRR64), dst: rAX, src: b&7 | in.rex&1<<3})
		return true
	}
	switch b {
	case 0x63:
		return t.lowerMOVSXD(in)
	case 0x68, 0x6a:
		if in.size != 8 {
			return false
		}
		t.emit(op{code: opPUSHI, imm: int64(in.imm)})
		return true
	case 0x69, 0x6b:
		src, ok := t.source(in)
		if !ok {
			return false
		}
		t.emit(op{code: in.pick(opIMULRRI32, opIMULRRI64), dst: in.reg, src: src, imm: int64(in.imm)})
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
		if in.rex&1 != 0 {
			return false // XCHG R8, whatever prefix repeats it
		}
		return true // NOP and PAUSE take no op
	case 0x98:
		return t.emitIf(in.is4or8(), op{code: in.pick(opCWDE, opCDQE)})
	case 0x99:
		return t.emitIf(in.is4or8(), op{code: in.pick(opCDQ, opCQO)})
	case 0x9c:
		return t.emitIf(in.size == 8, op{code: opPUSHF})
	case 0x9d:
		return t.emitIf(in.size == 8 && !t.user, op{code: opPOPF})
	case 0xc0, 0xc1, 0xd0, 0xd1, 0xd2, 0xd3:
		return t.lowerShift(in)
	case 0xc2, 0xc3:
		t.emit(op{code: opRET, imm: int64(in.imm)})
		t.done = true
		return true
	case 0xc9:
		return t.emitIf(in.size == 8, op{code: opLEAVE})
	case 0xe8:
		o := op{code: opCALL, disp: int32(t.pc) + int32(in.len)}
		return t.jump(in, o)
	case 0xe9, 0xeb:
		target := t.page + uint64(t.pc) + uint64(in.len) + in.imm
		if target&^pageMask == t.page && t.jumps < maxJumps && t.n < maxBlock/2 {
			t.jumps++
			t.jumped, t.target = true, uint16(target&pageMask)
			return true // the block goes on there
		}
		return t.jump(in, op{code: opJMP})
	case 0xf6, 0xf7:
		return t.lowerGroup3(in)
	case 0xf8:
		return t.emitIf(true, op{code: opCLC})
	case 0xf9:
		return t.emitIf(true, op{code: opSTC})
	case 0xfa:
		return t.emitIf(!t.user, op{code: opCLI})
	case 0xfb:
		// See end, which takes it for one byte.
		return t.emitIf(!t.user && in.len == 1, op{code: opSTI})
	case 0xfc:
		return t.emitIf(true, op{code: opCLD})
	case 0xff:
		return t.lowerGroup5(in)
	}
	return false
}

func (t *lowering) emitIf(ok bool, o op) bool {
	if ok {
		t.emit(o)
	}
	return ok
}

// jump emits a direct branch that is always taken.
func (t *lowering) jump(in *inst, o op) bool {
	if !t.branch(&o, t.page+uint64(t.pc)+uint64(in.len)+in.imm) {
		return false
	}
	t.emit(o)
	t.done = true
	return true
}

func (t *lowering) lowerJcc(in *inst) bool {
	cc, target := t.unroll(in.opcode&15, t.pc+uint16(in.len), in.imm)
	o := op{code: opOf(kindJcc, formNone, 0, cc)}
	if !t.branch(&o, target) {
		return false
	}
	t.emit(o)
	return true
}

// unroll is the condition and the target of a conditional branch, whose
// instruction ends at end. If the branch goes back to where the block starts,
// and there is room, the block goes on there for another pass of the loop, and
// the contrary leaves it. That a block starts there means that the loop had a
// second pass: blocks do not start behind branches that were never taken.
func (t *lowering) unroll(cc uint8, end uint16, distance uint64) (uint8, uint64) {
	behind := t.page + uint64(end)
	target := behind + distance
	if target != t.page+uint64(t.start) || t.unrolled == maxUnroll || end >= pageSize {
		return cc, target
	}
	pass := t.n - t.passStart
	if int(t.n)+int(pass) >= maxBlock {
		return cc, target
	}
	t.unrolled++
	t.passStart = t.n
	t.jumped, t.target = true, t.start
	return cc ^ 1, behind
}

// source is the slot of the r/m operand, loaded into slotTmp if in memory.
func (t *lowering) source(in *inst) (uint8, bool) {
	if !in.is4or8() {
		return 0, false
	}
	if in.mod == 3 {
		return in.rm, true
	}
	return slotTmp, t.withMem(in, op{code: in.pick(opMOVRM32, opMOVRM64), dst: slotTmp})
}

// lowerALU does the eight two-operand operations.
func (t *lowering) lowerALU(in *inst) bool {
	b := in.opcode
	alu := b >> 3
	form := formRR
	o := op{}
	switch {
	case b >= 0x80:
		alu = in.modrm >> 3 & 7
		o.imm = int64(in.imm)
		if in.mod == 3 {
			if !in.regRM(in.size) {
				return false
			}
			form, o.dst = formRI, in.rm
		} else {
			form = formMI
		}
	case b&7 >= 4:
		form, o.dst, o.imm = formRI, rAX, int64(in.imm)
	case !in.low(in.reg, in.size) || in.mod == 3 && !in.regRM(in.size):
		return false
	case in.mod == 3 && b&2 == 0:
		o.dst, o.src = in.rm, in.reg
	case in.mod == 3:
		o.dst, o.src = in.reg, in.rm
	case b&2 == 0:
		form, o.src = formMR, in.reg
	default:
		form, o.dst = formRM, in.reg
	}
	o.code = opOf(kindAlu, form, in.size, alu)
	if opTable[o.code].mem != 0 {
		return t.withMem(in, o)
	}
	t.emit(o)
	return true
}

func (t *lowering) lowerTest(in *inst) bool {
	switch {
	case in.opcode >= 0xa8:
		t.emit(op{code: opOf(kindTest, formRI, in.size, 0), dst: rAX, imm: int64(in.imm)})
		return true
	case !in.low(in.reg, in.size) || in.mod == 3 && !in.regRM(in.size):
		return false
	case in.mod == 3:
		t.emit(op{code: opOf(kindTest, formRR, in.size, 0), dst: in.rm, src: in.reg})
		return true
	}
	return t.withMem(in, op{code: opOf(kindTest, formMR, in.size, 0), src: in.reg})
}

func (t *lowering) lowerMOV(in *inst) bool {
	b := in.opcode
	switch {
	case b >= 0xc6:
		if in.modrm>>3&7 != 0 {
			return false
		}
		if in.mod != 3 {
			return t.withMem(in, op{code: opOf(kindMov, formMI, in.size, 0), imm: int64(in.imm)})
		}
		return t.emitIf(in.regRM(in.size), op{code: opOf(kindMov, formRI, in.size, 0), dst: in.rm, imm: int64(in.imm)})
	case b == 0xa0 || b == 0xa1:
		return t.withMem(in, op{code: opOf(kindMov, formRM, in.size, 0), dst: rAX})
	case b == 0xa2 || b == 0xa3:
		return t.withMem(in, op{code: opOf(kindMov, formMR, in.size, 0), src: rAX})
	case !in.low(in.reg, in.size):
		return false
	case in.mod == 3:
		o := op{code: opOf(kindMov, formRR, in.size, 0), dst: in.reg, src: in.rm}
		if b&2 == 0 {
			o.dst, o.src = in.rm, in.reg
		}
		return t.emitIf(in.regRM(in.size), o)
	case b&2 == 0:
		return t.withMem(in, op{code: opOf(kindMov, formMR, in.size, 0), src: in.reg})
	}
	return t.withMem(in, op{code: opOf(kindMov, formRM, in.size, 0), dst: in.reg})
}

func (t *lowering) lowerLEA(in *inst) bool {
	if in.mod == 3 || !in.is4or8() || in.asize != 8 {
		return false
	}
	a := *in
	a.seg = segDS
	return t.withMem(&a, op{code: in.pick(opLEA32, opLEA64), dst: in.reg})
}

func (t *lowering) lowerXCHG(in *inst) bool {
	if !in.is4or8() {
		return false
	}
	if in.mod == 3 {
		t.emit(op{code: in.pick(opXCHGRR32, opXCHGRR64), dst: in.rm, src: in.reg})
		return true
	}
	return t.withMem(in, op{code: in.pick(opXCHGMR32, opXCHGMR64), src: in.reg})
}

func (t *lowering) lowerMOVSXD(in *inst) bool {
	if in.size != 8 {
		return false
	}
	if in.mod == 3 {
		t.emit(op{code: opMOVSXRR32, dst: in.reg, src: in.rm})
		return true
	}
	return t.withMem(in, op{code: opMOVSXRM32, dst: in.reg})
}

func (t *lowering) lowerShift(in *inst) bool {
	if !in.is4or8() || in.mod != 3 {
		return false
	}
	o := op{dst: in.rm}
	form := formI
	switch in.opcode {
	case 0xd3:
		form = formCL
	case 0xd1:
		o.src = 1
	default:
		if o.src = uint8(shiftCount(in.imm, in.size)); o.src == 0 {
			return false
		}
	}
	shift := in.modrm >> 3 & 7
	if shift == shiftSHL2 {
		shift = shiftSHL
	}
	o.code = opOf(kindShift, form, in.size, shift) // none with carry
	return t.emitIf(o.code != 0, o)
}

func (t *lowering) lowerGroup3(in *inst) bool {
	r := in.modrm >> 3 & 7
	if r < 2 {
		o := op{dst: in.rm, imm: int64(in.imm)}
		if in.mod != 3 {
			o.code = opOf(kindTest, formMI, in.size, 0)
			return t.withMem(in, o)
		}
		o.code = opOf(kindTest, formRI, in.size, 0)
		if !in.regRM(in.size) { // AH to BH
			t.emit(op{code: opMOVZXRH, dst: slotTmp, src: in.rm & 3})
			o.dst = slotTmp
		}
		t.emit(o)
		return true
	}
	if !in.is4or8() {
		return false
	}
	if r < 4 {
		if in.mod != 3 {
			return false
		}
		code := in.pick(opNOTR32, opNOTR64)
		if r == 3 {
			code = in.pick(opNEGR32, opNEGR64)
		}
		t.emit(op{code: code, dst: in.rm})
		return true
	}
	if r == 5 || r == 7 {
		return false
	}
	src, ok := t.source(in)
	if !ok {
		return false
	}
	code := in.pick(opMUL32, opMUL64)
	if r == 6 {
		code = in.pick(opDIV32, opDIV64)
	}
	t.emit(op{code: code, src: src})
	return true
}

func (t *lowering) lowerGroup5(in *inst) bool {
	switch in.modrm >> 3 & 7 {
	case 0:
		return t.lowerInc(in, in.pick(opINCR32, opINCR64), in.pick(opINCM32, opINCM64))
	case 1:
		return t.lowerInc(in, in.pick(opDECR32, opDECR64), in.pick(opDECM32, opDECM64))
	case 2:
		return t.indirect(in, opCALLR)
	case 4:
		return t.indirect(in, opJMPR)
	case 6:
		if in.size == 2 {
			return false
		}
		a := *in
		a.size = 8
		src, ok := t.source(&a)
		return ok && t.emitIf(true, op{code: opPUSH, src: src})
	}
	return false
}

func (t *lowering) lowerInc(in *inst, reg, mem opcode) bool {
	if !in.is4or8() {
		return false
	}
	if in.mod == 3 {
		t.emit(op{code: reg, dst: in.rm})
		return true
	}
	return t.withMem(in, op{code: mem})
}

func (t *lowering) indirect(in *inst, code opcode) bool {
	a := *in
	a.size = 8
	src, ok := t.source(&a)
	if !ok {
		return false
	}
	t.emit(op{code: code, src: src, imm: int64(t.pc) + int64(in.len)})
	t.done = true
	return true
}

func (t *lowering) lower0F(in *inst) bool {
	b := in.opcode
	switch {
	case b >= 0x80 && b <= 0x8f:
		return t.lowerJcc(in)
	case b >= 0x40 && b <= 0x4f:
		src, ok := t.source(in)
		return ok && t.emitIf(true, op{code: opOf(kindCmov, formRR, in.size, b&15), dst: in.reg, src: src})
	case b >= 0x90 && b <= 0x9f:
		if in.mod != 3 {
			t.emit(op{code: opOf(kindSetcc, formR, 1, b&15), dst: slotTmp})
			return t.withMem2(in, op{code: opMOVMR8, src: slotTmp})
		}
		return t.emitIf(in.regRM(1), op{code: opOf(kindSetcc, formR, 1, b&15), dst: in.rm})
	case b >= 0xc8 && b <= 0xcf:
		return t.emitIf(in.is4or8(), op{code: in.pick(opBSWAP32, opBSWAP64), dst: b&7 | in.rex&1<<3})
	}
	switch b {
	case 0x0d, 0x18, 0x19, 0x1a, 0x1b, 0x1c, 0x1d, 0x1e, 0x1f:
		return true // NOP and prefetches take no op
	case 0x31:
		return t.emitIf(!t.user && !t.several, op{code: opRDTSC})
	case 0xc7:
		if in.mod == 3 || in.modrm>>3&7 != 1 || in.size != 8 {
			return false
		}
		return t.withMem(in, op{code: opCMPXCHG16B})
	case 0xa3, 0xab, 0xb3:
		if in.mod != 3 || !in.is4or8() {
			return false
		}
		code := [...]opcode{in.pick(opBTRR32, opBTRR64), in.pick(opBTSRR32, opBTSRR64), in.pick(opBTRRR32, opBTRRR64)}[b>>3&3]
		t.emit(op{code: code, dst: in.rm, src: in.reg})
		return true
	case 0xba:
		return t.lowerBitImm(in)
	case 0xa4, 0xac:
		n := shiftCount(in.imm, in.size)
		if in.mod != 3 || !in.is4or8() || n == 0 {
			return false
		}
		code := in.pick(opSHLD32, opSHLD64)
		if b == 0xac {
			code = in.pick(opSHRD32, opSHRD64)
		}
		t.emit(op{code: code, dst: in.rm, src: in.reg, scale: uint8(n)})
		return true
	case 0xaf:
		src, ok := t.source(in)
		return ok && t.emitIf(true, op{code: in.pick(opIMULRR32, opIMULRR64), dst: in.reg, src: src})
	case 0xb0, 0xb1, 0xc0, 0xc1:
		if !in.is4or8() || in.mod == 3 {
			return false
		}
		code := in.pick(opCMPXCHGMR32, opCMPXCHGMR64)
		if b >= 0xc0 {
			code = in.pick(opXADDMR32, opXADDMR64)
		}
		return t.withMem(in, op{code: code, src: in.reg})
	case 0xb6, 0xb7, 0xbe, 0xbf:
		return t.lowerExtend(in)
	case 0xbc, 0xbd:
		src, ok := t.source(in)
		code := in.pick(opBSF32, opBSF64)
		if b == 0xbd {
			code = in.pick(opBSR32, opBSR64)
		}
		return ok && t.emitIf(true, op{code: code, dst: in.reg, src: src})
	case 0xc3:
		if in.mod == 3 || in.prefix() != 0 {
			return false
		}
		return t.withMem(in, op{code: in.pick(opMOVMR32, opMOVMR64), src: in.reg, sel: uint8(observe.NonTemporal)})
	}
	if t.sse {
		return t.lowerSSE(in)
	}
	return false
}

func (t *lowering) lowerBitImm(in *inst) bool {
	if !in.is4or8() {
		return false
	}
	var reg, mem opcode
	switch in.modrm >> 3 & 7 {
	case 4:
		reg, mem = in.pick(opBTRI32, opBTRI64), in.pick(opBTMI32, opBTMI64)
	case 5:
		reg, mem = in.pick(opBTSRI32, opBTSRI64), in.pick(opBTSMI32, opBTSMI64)
	case 6:
		reg, mem = in.pick(opBTRRI32, opBTRRI64), in.pick(opBTRMI32, opBTRMI64)
	default:
		return false
	}
	if in.mod != 3 {
		return t.withMem(in, op{code: mem, src: uint8(in.imm)})
	}
	t.emit(op{code: reg, dst: in.rm, src: uint8(in.imm)})
	return true
}

// lowerExtend is MOVZX and MOVSX.
func (t *lowering) lowerExtend(in *inst) bool {
	if !in.is4or8() {
		return false
	}
	from := in.opcode&1 + 1
	signed := in.opcode >= 0xbe
	if in.mod == 3 && !in.low(in.rm, from) {
		return t.emitIf(!signed, op{code: opMOVZXRH, dst: in.reg, src: in.rm & 3})
	}
	var reg, mem opcode
	switch {
	case !signed && from == 1:
		reg, mem = opMOVZXRR8, opMOVZXRM8
	case !signed:
		reg, mem = opMOVZXRR16, opMOVZXRM16
	case from == 1:
		reg, mem = in.pick(opMOVSX32RR8, opMOVSXRR8), in.pick(opMOVSX32RM8, opMOVSXRM8)
	default:
		reg, mem = in.pick(opMOVSX32RR16, opMOVSXRR16), in.pick(opMOVSX32RM16, opMOVSXRM16)
	}
	if in.mod == 3 {
		t.emit(op{code: reg, dst: in.reg, src: in.rm})
		return true
	}
	return t.withMem(in, op{code: mem, dst: in.reg})
}

func isJcc(in *inst) bool {
	return in.op&^15 == 0x70 || in.op&^15 == 0x180
}

// fusable says whether in may be fused with a branch after it.
func fusable(in *inst) bool {
	switch in.op {
	case 0x38, 0x39, 0x3a, 0x3b, 0x3c, 0x3d, 0x84, 0x85, 0xa8, 0xa9:
		return true
	case 0x80, 0x81, 0x83:
		return in.modrm>>3&7 == aluCMP
	case 0xf6, 0xf7:
		return in.modrm>>3&7 < 2
	}
	return false
}

// fuse makes one op of comparison in and branch j.
func (t *lowering) fuse(in, j *inst) bool {
	cc := j.opcode & 15
	if cc < 2 || cc == 10 || cc == 11 { // overflow and parity
		return false
	}
	start := len(t.cache.ops)
	if !t.lower(in) {
		return false
	}
	last := t.cache.ops[len(t.cache.ops)-1]
	o := last
	o.imm = last.imm & 0xffffffff
	old := *t
	t.n++
	cc, target := t.unroll(cc, t.pc+uint16(in.len)+uint16(j.len), j.imm)
	code := fusedCode(last.code, cc)
	if code == 0 || !t.branch(&o, target) {
		*t = old
		t.cache.ops = t.cache.ops[:start]
		return false
	}
	o.code = code
	o.more = 1
	t.cache.ops = t.cache.ops[:len(t.cache.ops)-1]
	t.emit(o)
	return true
}

// fusedCode is the code of a comparison with a branch, or 0. After TEST, CF is
// 0: branches on it are not worth one.
func fusedCode(code opcode, cc uint8) opcode {
	c := &opTable[code]
	if c.kind == kindTest {
		return opOf(kindTestJump, c.form, c.size, cc)
	}
	return opOf(kindCmpJump, c.form, c.size, cc)
}

// fpOps are the arithmetic instructions of package fp that FP ops name.
var fpOps []fp.Fn

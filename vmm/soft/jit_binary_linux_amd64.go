package soft

// op translates op i, or says that it cannot.
func (t *translator) op(i int, o *op) bool {
	c := o.code
	switch {
	case c < opTESTRR8:
		n := c - opADDRR8
		return t.arith(i, o, int(n/32), opSizes[n/8%4], uint8(n%8))
	case c < opCMPRR8JO:
		n := c - opTESTRR8
		t.compare(i, o, againTest, int(n/4), opSizes[n%4], o.imm)
		return true
	case c < opMOVRR8:
		return t.fused(i, o)
	case c < opMOVZXRR8:
		n := c - opMOVRR8
		return t.mov(i, o, opMOVRR8+n%movStride, opSizes[n/movStride])
	case c < opLEA64:
		return t.extend(i, o)
	case c >= opSETO && c <= opSETG:
		t.setcc(i, o, uint8(c-opSETO))
		return true
	case c >= opCMOVO32 && c <= opCMOVG32:
		t.cmov(i, o, 4, uint8(c-opCMOVO32))
		return true
	case c >= opCMOVO64 && c <= opCMOVG64:
		t.cmov(i, o, 8, uint8(c-opCMOVO64))
		return true
	case c >= opJO && c <= opJG:
		cc := t.cond(uint8(c - opJO))
		t.branch(i, cc)
		return true
	case c >= opSHLI32 && c < opINCR32:
		return t.shift(i, o)
	case c >= opINCR32 && c <= opDIV32:
		return t.unary(i, o)
	case c >= opMOVX && c <= opPCMPEQBM:
		return t.vector(i, o)
	case c == opGENERIC:
		d := t.direct(o)
		if d.emit != nil {
			d.emit(i, &t.n.cache.insts[o.imm])
		}
		return d.emit != nil
	}
	return t.other(i, o)
}

// Forms of two-operand instructions, in the order of opcodes.
const (
	formRR = iota
	formRI
	formRM
	formMR
	formMI
)

func (t *translator) arith(i int, o *op, form int, size, op uint8) bool {
	if op == aluCMP {
		t.compare(i, o, againCmp, form, size, o.imm)
		return true
	}
	a := &t.asm
	logic := op == aluOR || op == aluAND || op == aluXOR
	carry := op == aluADC || op == aluSBB
	shown := t.shown(i)
	g := again{size: size, dst: o.dst, src: o.src}
	if form == formRI || form == formMI {
		g.src, g.imm = slotZero, o.imm
	}
	switch {
	case logic:
		g.kind, g.src, g.imm = againTest, o.dst, 0
	case carry || form > formRI && !shown || o.dst == o.src && form == formRR:
	case op == aluADD:
		g.kind = againAdd
	case op == aluSUB:
		g.kind = againSub
	}
	if form <= formRM {
		t.prepare(i, form == formRM, o.dst)
		if carry && form == formRM {
			t.toWord()
		}
		var m arg
		switch form {
		case formRM:
			m = t.locate(i, o, size, false, false)
		case formRR:
			m = t.slot(o.src)
		}
		if carry {
			t.carry()
		}
		d := t.target(hA, o.dst)
		keep := form == formRM && g.kind >= againAdd
		if form == formRM && (d == hA || keep) {
			// hA may be part of the address.
			a.loadLow(size, hB, m)
			m = inReg(hB)
		}
		if keep {
			g.src = slotKept + 1
			a.store(8, hB, t.slot(g.src))
		}
		if d == hA {
			a.load(8, hA, t.slot(o.dst))
		}
		if form == formRI {
			a.aluImm(op, size, inReg(d), o.imm)
		} else {
			a.alu(op, size, d, m)
		}
		t.finish(d, o.dst)
		t.define(i, logic, g)
		return true
	}
	t.prepare(i, true)
	if carry {
		t.toWord()
	}
	m := t.locate(i, o, size, true, false)
	if form == formMR {
		m = t.beside(o, o.src, m)
	}
	if carry {
		t.carry()
	}
	if form == formMI {
		a.aluImm(op, size, m, o.imm)
	} else {
		a.aluTo(op, size, m, t.into(hA, o.src))
	}
	if shown && g.kind != againNot {
		t.keepResult(size, m)
		g.dst = slotKept
		if logic {
			g.src = slotKept
		}
	} else {
		g.kind = againNot
	}
	t.define(i, logic, g)
	return true
}

// simpleAccess says that locate's result does not use hA.
func (t *translator) simpleAccess(o *op) bool {
	return o.index == slotZero && (o.base == slotZero || !t.slot(o.base).mem)
}

// beside makes a located operand leave hA free if slot src needs it.
func (t *translator) beside(o *op, src uint8, m arg) arg {
	if t.slot(src).mem && !t.simpleAccess(o) {
		t.asm.lea(hB, m)
		return inMem(hB, 0)
	}
	return m
}

// compare is CMP and TEST.
func (t *translator) compare(i int, o *op, kind uint8, form int, size uint8, imm int64) {
	a := &t.asm
	if kind == againTest && form >= formRM {
		form++ // TEST has no form RM
	}
	g := again{kind: kind, op: 0, size: size, dst: o.dst, src: o.src, imm: imm}
	switch form {
	case formRI:
		g.src = slotZero
		fallthrough
	case formRR:
		t.prepare(i, false)
		t.repeat(g)
		t.define(i, kind == againTest, g)
		return
	}
	t.prepare(i, true)
	m := t.locate(i, o, size, false, false)
	if t.shown(i) {
		t.keep(i, kind, form, size, m, o, imm)
		return
	}
	switch form {
	case formRM:
		if s := t.slot(o.dst); s.mem {
			a.load(size, hB, m)
			a.aluTo(aluCMP, size, s, hB)
		} else {
			a.alu(aluCMP, size, s.reg, m)
		}
	case formMR:
		s := t.slot(o.src)
		switch {
		case !s.mem && kind == againCmp:
			a.aluTo(aluCMP, size, m, s.reg)
		case !s.mem:
			a.insn(byteOp(0x85, size), size, s.reg, m)
		case kind == againCmp:
			a.load(size, hB, m)
			a.alu(aluCMP, size, hB, s)
		default:
			a.load(size, hB, m)
			a.insn(byteOp(0x85, size), size, hB, s)
		}
	default:
		if kind == againCmp {
			a.aluImm(aluCMP, size, m, imm)
		} else {
			a.insn(byteOp(0xf7, size), size, 0, m)
			a.immediate(size, imm)
		}
	}
	t.define(i, kind == againTest, again{})
}

// shown says that an op may leave with the flags of op i.
func (t *translator) shown(i int) bool {
	for j := i + 1; j < len(t.ops); j++ {
		if t.leaves[j] {
			return true
		}
		if t.sets[j] {
			break
		}
	}
	return false
}

// keep compares what is at m, and keeps it: this costs less than the flags
// do.
func (t *translator) keep(i int, kind uint8, form int, size uint8, m arg, o *op, imm int64) {
	a := &t.asm
	a.loadLow(size, hB, m)
	g := again{kind: kind, size: size, dst: slotKept, src: o.src, imm: imm}
	if form == formRM {
		a.store(8, hB, t.slot(slotKept+1))
	} else {
		a.store(8, hB, t.slot(slotKept))
	}
	switch {
	case form == formRM:
		g.dst, g.src = o.dst, slotKept+1
		if s := t.slot(o.dst); s.mem {
			a.aluTo(aluCMP, size, s, hB)
		} else {
			a.alu(aluCMP, size, s.reg, inReg(hB))
		}
	case form == formMR && kind == againCmp:
		a.alu(aluCMP, size, hB, t.slot(o.src))
	case form == formMR:
		a.insn(byteOp(0x85, size), size, hB, t.slot(o.src))
	case kind == againCmp:
		g.src = slotZero
		a.aluImm(aluCMP, size, inReg(hB), imm)
	default:
		g.src = slotZero
		a.insn(byteOp(0xf7, size), size, 0, inReg(hB))
		a.immediate(size, imm)
	}
	t.define(i, kind == againTest, g)
}

// fusedForms describes the fused comparisons, 16 opcodes each.
var fusedForms = []struct {
	first opcode
	kind  uint8
	form  int
	size  uint8
}{
	{opCMPRR8JO, againCmp, formRR, 1},
	{opCMPRR32JO, againCmp, formRR, 4},
	{opCMPRR64JO, againCmp, formRR, 8},
	{opCMPRI8JO, againCmp, formRI, 1},
	{opCMPRI16JO, againCmp, formRI, 2},
	{opCMPRI32JO, againCmp, formRI, 4},
	{opCMPRI64JO, againCmp, formRI, 8},
	{opCMPRM32JO, againCmp, formRM, 4},
	{opCMPRM64JO, againCmp, formRM, 8},
	{opCMPMR32JO, againCmp, formMR, 4},
	{opCMPMR64JO, againCmp, formMR, 8},
	{opCMPMI8JO, againCmp, formMI, 1},
	{opCMPMI16JO, againCmp, formMI, 2},
	{opCMPMI32JO, againCmp, formMI, 4},
	{opCMPMI64JO, againCmp, formMI, 8},
	{opTESTRR8JO, againTest, formRR, 1},
	{opTESTRR32JO, againTest, formRR, 4},
	{opTESTRR64JO, againTest, formRR, 8},
	{opTESTRI8JO, againTest, formRI, 1},
	{opTESTRI32JO, againTest, formRI, 4},
	{opTESTMI8JO, againTest, formMI, 1},
	{opTESTMI32JO, againTest, formMI, 4},
}

func (t *translator) fused(i int, o *op) bool {
	n := (o.code - opCMPRR8JO) / 16
	if int(n) >= len(fusedForms) {
		return false
	}
	f := &fusedForms[n]
	form := f.form
	if f.kind == againTest && form >= formRM {
		form-- // as in the opcodes of TEST
	}
	t.compare(i, o, f.kind, form, f.size, int64(int32(o.imm)))
	t.branch(i, uint8(o.code-f.first))
	return true
}

func (t *translator) mov(i int, o *op, kind opcode, size uint8) bool {
	a := &t.asm
	switch kind {
	case opMOVRR8:
		t.prepare(i, false, o.dst)
		d, s := t.slot(o.dst), t.slot(o.src)
		switch {
		case !d.mem:
			a.load(size, d.reg, s)
		case size == 4:
			a.load(4, hA, s)
			a.store(8, hA, d)
		default:
			a.store(size, t.into(hA, o.src), d)
		}
		t.wrote(o.dst)
	case opMOVRI8:
		t.prepare(i, false, o.dst)
		d := t.slot(o.dst)
		switch {
		case size <= 2 && d.mem:
			a.storeImm(size, d, o.imm)
		case size == 2:
			a.insn(0xc7, 2, 0, d)
			a.immediate(2, o.imm)
		case size == 1:
			a.insn(0xc6, 1, 0, d)
			a.immediate(1, o.imm)
		default:
			v := uint64(o.imm)
			if size == 4 {
				v = uint64(uint32(v))
			}
			r := t.target(hA, o.dst)
			a.movImm(r, v)
			t.finish(r, o.dst)
		}
		t.wrote(o.dst)
	case opMOVRM8:
		t.prepare(i, true, o.dst)
		m := t.locate(i, o, size, false, false)
		t.loaded(o.dst, size, m, byteOp(0x8b, size))
	case opMOVMR8:
		t.prepare(i, true)
		m := t.beside(o, o.src, t.locate(i, o, size, true, false))
		a.store(size, t.into(hA, o.src), m)
	default:
		t.prepare(i, true)
		a.storeImm(size, t.locate(i, o, size, true, false), o.imm)
	}
	return true
}

// loaded is the end of a load: opcode reads m into slot dst.
func (t *translator) loaded(dst, size uint8, m arg, opcode uint32) {
	a := &t.asm
	if s := t.slot(dst); s.mem {
		if size < 4 && opcode&0xff00 == 0 {
			a.insn(opcode, size, hB, m)
			a.store(size, hB, s)
		} else {
			a.insn(opcode, size, hB, m)
			a.store(8, hB, s)
		}
	} else {
		a.insn(opcode, size, s.reg, m)
	}
	t.wrote(dst)
}

// extend is MOVZX, MOVSX and MOVSXD.
func (t *translator) extend(i int, o *op) bool {
	a := &t.asm
	var opcode uint32
	size := uint8(8)
	from := uint8(1)
	mem := false
	switch o.code {
	case opMOVZXRR8, opMOVZXRM8:
		opcode, size, mem = 0x0fb6, 4, o.code == opMOVZXRM8
	case opMOVZXRR16, opMOVZXRM16:
		opcode, size, from, mem = 0x0fb7, 4, 2, o.code == opMOVZXRM16
	case opMOVSXRR8, opMOVSXRM8:
		opcode, mem = 0x0fbe, o.code == opMOVSXRM8
	case opMOVSX32RR8, opMOVSX32RM8:
		opcode, size, mem = 0x0fbe, 4, o.code == opMOVSX32RM8
	case opMOVSXRR16, opMOVSXRM16:
		opcode, from, mem = 0x0fbf, 2, o.code == opMOVSXRM16
	case opMOVSX32RR16, opMOVSX32RM16:
		opcode, size, from, mem = 0x0fbf, 4, 2, o.code == opMOVSX32RM16
	case opMOVSXRR32, opMOVSXRM32:
		opcode, from, mem = 0x63, 4, o.code == opMOVSXRM32
	case opMOVZXRH:
		// Shifts would change EFLAGS: through memory's second byte.
		t.prepare(i, false, o.dst)
		s := t.slot(o.src)
		if !s.mem {
			a.store(8, s.reg, inCPU(offSpill))
			s = inCPU(offSpill)
		}
		s.disp++
		t.loaded(o.dst, 4, s, 0x0fb6)
		return true
	default:
		return false
	}
	var m arg
	if mem {
		t.prepare(i, true, o.dst)
		m = t.locate(i, o, from, false, false)
	} else {
		t.prepare(i, false, o.dst)
		m = t.slot(o.src)
		if !m.mem && from == 1 && m.reg >= 4 && m.reg < 8 && size == 4 {
			// Needs a REX prefix: take the 64-bit form's, where it is the same.
			if opcode == 0x0fb6 {
				size = 8
			} else {
				a.load(8, hA, m)
				m = inReg(hA)
			}
		}
	}
	if opcode == 0x63 {
		// Size 4 and a destination in memory do not meet here.
		t.loaded(o.dst, 8, m, opcode)
		return true
	}
	t.loaded(o.dst, size, m, opcode)
	return true
}

func (t *translator) setcc(i int, o *op, cc uint8) {
	t.prepare(i, false, o.dst)
	cc = t.cond(cc)
	t.asm.insn(0x0f90|uint32(cc), 1, 0, t.slot(o.dst))
	t.wrote(o.dst)
}

func (t *translator) cmov(i int, o *op, size, cc uint8) {
	a := &t.asm
	t.prepare(i, false, o.dst)
	cc = t.cond(cc)
	d := t.target(hA, o.dst)
	if d == hA {
		a.load(8, hA, t.slot(o.dst))
	}
	a.insn(0x0f40|uint32(cc), size, d, t.slot(o.src))
	t.finish(d, o.dst)
	t.wrote(o.dst)
}

package soft

import "nvlab/vmm/soft/x86"

// Attributes as segment.attr holds them: type, S, DPL, P in bits 0 to 7;
// AVL, L, D, G in bits 12 to 15.
const (
	attrCode64 = 0xa09b // execute, read, accessed; present; L, G
	attrData   = 0xc093 // read, write, accessed; present; D, G
	attrTSS    = 0x008b
	attrCode32 = 0xc09b // as attrCode64, but D instead of L
	attrL      = 1 << 13
	attrD      = 1 << 14
	attrG      = 1 << 15
)

func registerSegment() {
	register(execMovFromSeg, 0x8c)
	register(execMovToSeg, 0x8e)
	register(execPushSeg, 0x1a0, 0x1a8)
	register(execPopSeg, 0x1a1, 0x1a9)
	register(execLoadFar, 0x1b2, 0x1b4, 0x1b5)
	register(execGroup6, 0x100)
	register(execLAR, 0x102, 0x103)
}

// makeSegment builds the hidden part from a descriptor (SDM 3A, 3.4.5).
func makeSegment(sel uint16, d uint64) segment {
	s := segment{
		sel:   sel,
		attr:  uint16(d >> 40 & 0xf0ff),
		base:  d>>16&0xffffff | d>>56<<24,
		limit: uint32(d&0xffff | d>>48&0xf<<16),
	}
	if s.attr&attrG != 0 {
		s.limit = s.limit<<12 | 0xfff
	}
	return s
}

// descriptorAddr finds a selector's table entry.
func (c *cpu) descriptorAddr(sel uint16, n uint64) (va uint64, ok bool) {
	off := uint64(sel &^ 7)
	if sel&4 != 0 {
		if c.ldtr.sel&^3 == 0 || off+n-1 > uint64(c.ldtr.limit) {
			return 0, false
		}
		return c.ldtr.base + off, true
	}
	if off+n-1 > uint64(c.gdt.limit) {
		return 0, false
	}
	return c.gdt.base + off, true
}

// descriptor reads a descriptor, or raises vec.
func (c *cpu) descriptor(sel uint16, vec uint8, ext uint32) (uint64, bool) {
	va, ok := c.descriptorAddr(sel, 8)
	if !ok {
		return 0, c.raiseErr(vec, uint32(sel&^3)|ext)
	}
	return c.loadSys(va, 8)
}

// setAccessed sets the accessed bit of a code or data descriptor in its table.
func (c *cpu) setAccessed(sel uint16, d uint64) bool {
	if d>>40&1 != 0 {
		return true
	}
	va, ok := c.descriptorAddr(sel, 8)
	return ok && c.storeSys(va+5, 1, d>>40&0xff|1)
}

// loadSeg loads a data segment register (SDM 2, "MOV").
func (c *cpu) loadSeg(n uint8, sel uint16) bool {
	rpl := uint8(sel & 3)
	if sel&^3 == 0 {
		if n == x86.SegSS && (c.cpl == 3 || rpl != c.cpl) {
			return c.gp(0)
		}
		c.seg[n] = segment{sel: sel}
		c.setSegBase(n, 0)
		return true
	}
	d, ok := c.descriptor(sel, excGP, 0)
	if !ok {
		return false
	}
	err := uint32(sel &^ 3)
	typ, dpl := d>>40&0x1f, uint8(d>>45&3)
	if n == x86.SegSS {
		if rpl != c.cpl || dpl != c.cpl || typ&0x1a != 0x12 {
			return c.gp(err)
		}
		if d>>47&1 == 0 {
			return c.raiseErr(excSS, err)
		}
	} else {
		code, conforming := typ&8 != 0, typ&0xc == 0xc
		if typ&0x10 == 0 || code && typ&2 == 0 || !conforming && (rpl > dpl || c.cpl > dpl) {
			return c.gp(err)
		}
		if d>>47&1 == 0 {
			return c.raiseErr(excNP, err)
		}
	}
	if !c.setAccessed(sel, d) {
		return false
	}
	c.seg[n] = makeSegment(sel, d|1<<40)
	c.setSegBase(n, c.seg[n].base)
	return true
}

func (c *cpu) setSegBase(n uint8, base uint64) {
	switch n {
	case x86.SegFS:
		c.r[x86.SlotFS] = base
	case x86.SegGS:
		c.r[x86.SlotGS] = base
	}
}

func execMovFromSeg(c *cpu, in *x86.Inst) bool {
	n := in.ModRM >> 3 & 7
	if n > x86.SegGS {
		return c.ud()
	}
	if in.Mod == 3 {
		c.setReg(in, in.RM, in.Size, uint64(c.seg[n].sel))
		return true
	}
	return c.writeRM(in, 2, uint64(c.seg[n].sel))
}

func execMovToSeg(c *cpu, in *x86.Inst) bool {
	n := in.ModRM >> 3 & 7
	if n > x86.SegGS || n == x86.SegCS {
		return c.ud()
	}
	v, ok := c.readRM(in, 2)
	if !ok || !c.loadSeg(n, uint16(v)) {
		return false
	}
	if n == x86.SegSS {
		c.inhibit()
		c.movSS = true
	}
	return true
}

// inhibit holds interrupts off until the next instruction has executed.
func (c *cpu) inhibit() {
	c.shadow = true
	c.attn = true
}

func pushedSeg(in *x86.Inst) uint8 {
	switch op := in.Opcode; {
	case op < 0x20: // ES to DS, of 32-bit code
		return op >> 3
	case op >= 0xa8:
		return x86.SegGS
	}
	return x86.SegFS
}

func execPushSeg(c *cpu, in *x86.Inst) bool {
	return c.push(in.Size, uint64(c.seg[pushedSeg(in)].sel))
}

func execPopSeg(c *cpu, in *x86.Inst) bool {
	v, ok := c.load(x86.SegSS, c.stack(0), in.Size)
	if !ok {
		return false
	}
	mask := c.stackMask() // before SS changes
	n := pushedSeg(in)
	if !c.loadSeg(n, uint16(v)) {
		return false
	}
	c.r[x86.RSP] = c.r[x86.RSP]&^mask | (c.r[x86.RSP]+uint64(in.Size))&mask
	if n == x86.SegSS {
		c.inhibit()
		c.movSS = true
	}
	return true
}

// execLoadFar is LSS, LFS and LGS.
func execLoadFar(c *cpu, in *x86.Inst) bool {
	if in.Mod == 3 {
		return c.ud()
	}
	sel, off, ok := c.loadFar(in)
	n := uint8(x86.SegSS)
	switch in.Op {
	case 0xc4, 0xc5: // of 32-bit code
		n = x86.SegES + (in.Opcode-0xc4)*x86.SegDS
	case 0x1b4, 0x1b5:
		n = in.Opcode - 0xb4 + x86.SegFS
	}
	if !ok || !c.loadSeg(n, sel) {
		return false
	}
	c.setReg(in, in.Reg, in.Size, off)
	return true
}

// execGroup6 is SLDT, STR, LLDT, LTR, VERR, VERW.
func execGroup6(c *cpu, in *x86.Inst) bool {
	op := in.ModRM >> 3 & 7
	switch op {
	case 0, 1:
		if c.umip() {
			return c.gp(0)
		}
		v := c.ldtr.sel
		if op == 1 {
			v = c.tr.sel
		}
		if in.Mod == 3 {
			c.setReg(in, in.RM, in.Size, uint64(v))
			return true
		}
		return c.writeRM(in, 2, uint64(v))
	case 2, 3:
		if c.cpl != 0 {
			return c.gp(0)
		}
		v, ok := c.readRM(in, 2)
		if !ok {
			return false
		}
		if op == 2 {
			return c.lldt(uint16(v))
		}
		return c.ltr(uint16(v))
	case 4, 5:
		v, ok := c.readRM(in, 2)
		if !ok {
			return false
		}
		d, ok, fault := c.probe(uint16(v))
		if fault {
			return false
		}
		typ := d >> 40 & 0x1f
		ok = ok && typ&0x10 != 0
		if op == 4 {
			ok = ok && typ&0xa != 8 // readable, or data
		} else {
			ok = ok && typ&0xa == 2 // writable data
		}
		c.setZF(ok)
		return true
	}
	return c.ud()
}

func (c *cpu) setZF(v bool) {
	f := c.arith() &^ x86.FlagZF
	if v {
		f |= x86.FlagZF
	}
	c.setArith(f)
}

// probe reads a descriptor that the current privilege may see, for the
// instructions that answer in ZF. fault means that reading raised.
func (c *cpu) probe(sel uint16) (d uint64, ok, fault bool) {
	if sel&^3 == 0 {
		return 0, false, false
	}
	va, ok := c.descriptorAddr(sel, 8)
	if !ok {
		return 0, false, false
	}
	if d, ok = c.loadSys(va, 8); !ok {
		return 0, false, true
	}
	typ, dpl := d>>40&0x1f, uint8(d>>45&3)
	if typ&0x1c != 0x1c && (c.cpl > dpl || uint8(sel&3) > dpl) {
		return d, false, false
	}
	return d, true, false
}

// execLAR is LAR and LSL.
func execLAR(c *cpu, in *x86.Inst) bool {
	v, ok := c.readRM(in, 2)
	if !ok {
		return false
	}
	d, ok, fault := c.probe(uint16(v))
	if fault {
		return false
	}
	typ := d >> 40 & 0x1f
	switch typ {
	case 2, 9, 0xb: // LDT, TSS
	case 0xc: // call gate
		ok = ok && in.Opcode == 2
	default:
		ok = ok && typ&0x10 != 0
	}
	c.setZF(ok)
	if !ok {
		return true
	}
	if in.Opcode == 2 {
		c.setReg(in, in.Reg, in.Size, d>>32&0xf0ff00)
	} else {
		s := makeSegment(0, d)
		c.setReg(in, in.Reg, in.Size, uint64(s.limit))
	}
	return true
}

// systemDescriptor reads a 16-byte descriptor in the GDT.
func (c *cpu) systemDescriptor(sel uint16) (d uint64, s segment, ok bool) {
	va, found := c.descriptorAddr(sel, 16)
	if sel&4 != 0 || !found {
		return 0, s, c.gp(uint32(sel &^ 3))
	}
	d, ok = c.loadSys(va, 8)
	if !ok {
		return 0, s, false
	}
	hi, ok := c.loadSys(va+8, 8)
	if !ok {
		return 0, s, false
	}
	s = makeSegment(sel, d)
	s.base |= hi << 32
	if hi>>40&0x1f != 0 || !x86.Canonical(s.base) {
		return 0, s, c.gp(uint32(sel &^ 3))
	}
	return d, s, true
}

func (c *cpu) lldt(sel uint16) bool {
	if sel&^3 == 0 {
		c.ldtr = segment{sel: sel}
		return true
	}
	d, s, ok := c.systemDescriptor(sel)
	if !ok {
		return false
	}
	if d>>40&0x1f != 2 {
		return c.gp(uint32(sel &^ 3))
	}
	if d>>47&1 == 0 {
		return c.raiseErr(excNP, uint32(sel&^3))
	}
	c.ldtr = s
	return true
}

func (c *cpu) ltr(sel uint16) bool {
	if sel&^3 == 0 {
		return c.gp(0)
	}
	d, s, ok := c.systemDescriptor(sel)
	if !ok {
		return false
	}
	if d>>40&0x1f != 9 {
		return c.gp(uint32(sel &^ 3))
	}
	if d>>47&1 == 0 {
		return c.raiseErr(excNP, uint32(sel&^3))
	}
	va, _ := c.descriptorAddr(sel, 16)
	if !c.storeSys(va+5, 1, d>>40&0xff|2) { // busy
		return false
	}
	s.attr |= 2
	c.tr = s
	return true
}

func (c *cpu) umip() bool { return c.cr4&x86.CR4UMIP != 0 && c.cpl == 3 }

// codeSegment checks a selector for CS of a far transfer that keeps the
// privilege, or for a return to cpl.
func (c *cpu) codeSegment(sel uint16, cpl uint8, isReturn bool) (s segment, ok bool) {
	if sel&^3 == 0 {
		return s, c.gp(0)
	}
	d, ok := c.descriptor(sel, excGP, 0)
	if !ok {
		return s, false
	}
	err := uint32(sel &^ 3)
	typ, dpl := d>>40&0x1f, uint8(d>>45&3)
	if typ&0x18 != 0x18 || d>>53&3 != 1 && !flat32(d) {
		return s, c.gp(err)
	}
	conforming := typ&4 != 0
	switch {
	case conforming && dpl > cpl, !conforming && dpl != cpl,
		!isReturn && !conforming && uint8(sel&3) > c.cpl:
		return s, c.gp(err)
	}
	if d>>47&1 == 0 {
		return s, c.raiseErr(excNP, err)
	}
	if !c.setAccessed(sel, d) {
		return s, false
	}
	return makeSegment(sel&^3|uint16(cpl), d|1<<40), true
}

// farBranch is a far JMP or CALL to a code segment; call gates raise #GP.
func (c *cpu) farBranch(sel uint16, off uint64, call bool, size uint8) bool {
	s, ok := c.codeSegment(sel, c.cpl, false)
	if !ok {
		return false
	}
	if !s.holds(off) {
		return c.gp(0)
	}
	if call {
		sp := c.r[x86.RSP]
		if !c.push(size, uint64(c.seg[x86.SegCS].sel)) {
			return false
		}
		if !c.push(size, c.next) {
			c.r[x86.RSP] = sp
			return false
		}
	}
	c.seg[x86.SegCS] = s
	c.next = off
	c.setLong()
	return true
}

func execRETF(c *cpu, in *x86.Inst) bool {
	sp := c.r[x86.RSP]
	n := uint64(in.Size)
	off, ok := c.load(x86.SegSS, c.stackAt(sp), in.Size)
	if !ok {
		return false
	}
	sel, ok := c.load(x86.SegSS, c.stackAt(sp+n), in.Size)
	if !ok {
		return false
	}
	sp += 2*n + in.Imm
	if uint8(sel&3) == c.cpl {
		return c.innerReturn(uint16(sel), off, sp)
	}
	newSP, ok := c.load(x86.SegSS, c.stackAt(sp), in.Size)
	if !ok {
		return false
	}
	ss, ok := c.load(x86.SegSS, c.stackAt(sp+n), in.Size)
	return ok && c.outerReturn(uint16(sel), off, uint16(ss), newSP+in.Imm)
}

// holds says whether the segment has code at an offset.
func (s *segment) holds(off uint64) bool {
	if s.attr&attrL == 0 {
		return off>>32 == 0
	}
	return x86.Canonical(off)
}

// innerReturn keeps the privilege.
func (c *cpu) innerReturn(sel uint16, rip, sp uint64) bool {
	s, ok := c.codeSegment(sel, c.cpl, true)
	if !ok {
		return false
	}
	if !s.holds(rip) {
		return c.gp(0)
	}
	c.setSP(sp)
	c.next = rip
	c.seg[x86.SegCS] = s
	c.setLong()
	return true
}

// outerReturn leaves for a lower privilege.
func (c *cpu) outerReturn(sel uint16, rip uint64, ss uint16, sp uint64) bool {
	cpl := uint8(sel & 3)
	if cpl < c.cpl {
		return c.gp(uint32(sel &^ 3))
	}
	code, ok := c.codeSegment(sel, cpl, true)
	if !ok {
		return false
	}
	stack, ok := c.stackSegment(ss, cpl, code.attr&attrL != 0)
	if !ok {
		return false
	}
	if !code.holds(rip) {
		return c.gp(0)
	}
	c.next = rip
	c.seg[x86.SegCS], c.seg[x86.SegSS] = code, stack
	c.r[x86.RSP] = sp
	c.setLong()
	if cpl != c.cpl {
		c.dropSegments(cpl)
		c.setCPL(cpl)
	}
	return true
}

// stackSegment checks a selector for SS of a return to cpl.
func (c *cpu) stackSegment(ss uint16, cpl uint8, long bool) (s segment, ok bool) {
	if ss&^3 == 0 {
		if cpl == 3 || !long || uint8(ss&3) != cpl {
			return s, c.gp(0)
		}
		return segment{sel: ss}, true
	}
	d, ok := c.descriptor(ss, excGP, 0)
	if !ok {
		return s, false
	}
	err := uint32(ss &^ 3)
	if uint8(ss&3) != cpl || uint8(d>>45&3) != cpl || d>>40&0x1a != 0x12 {
		return s, c.gp(err)
	}
	if d>>47&1 == 0 {
		return s, c.raiseErr(excSS, err)
	}
	if !c.setAccessed(ss, d) {
		return s, false
	}
	return makeSegment(ss, d|1<<40), true
}

// dropSegments clears data segments that the new privilege may not hold.
func (c *cpu) dropSegments(cpl uint8) {
	for _, n := range []uint8{x86.SegES, x86.SegDS, x86.SegFS, x86.SegGS} {
		s := &c.seg[n]
		dpl := uint8(s.attr >> 5 & 3)
		if s.sel&^3 != 0 && dpl < cpl && s.attr&0xc != 0xc {
			*s = segment{}
			c.setSegBase(n, 0)
		}
	}
}

// execIRET: SDM 2, "IRET", in 64-bit mode.
func execIRET(c *cpu, in *x86.Inst) bool {
	if c.flags&x86.FlagNT != 0 {
		return c.gp(0)
	}
	var f [5]uint64
	n := uint64(in.Size)
	words := 5
	for i := 0; i < words; i++ {
		v, ok := c.load(x86.SegSS, c.stack(uint64(i)*n), in.Size)
		if !ok {
			return false
		}
		f[i] = v
		if i == 1 && !c.long && uint8(v&3) == c.cpl {
			words = 3 // 32-bit code keeps its stack
		}
	}
	cpl := c.cpl
	flags := c.rflags()
	if words == 3 {
		if !c.innerReturn(uint16(f[1]), f[0], c.r[x86.RSP]+3*n) {
			return false
		}
	} else if !c.outerReturn(uint16(f[1]), f[0], uint16(f[4]), f[3]) {
		return false
	}
	// What the old privilege could not change stays.
	m := uint64(x86.FlagsArith | x86.FlagTF | x86.FlagDF | x86.FlagNT | x86.FlagRF | x86.FlagAC | x86.FlagID)
	if cpl <= uint8(flags>>12&3) {
		m |= x86.FlagIF
	}
	if cpl == 0 {
		m |= x86.FlagIOPL | x86.FlagVIF | x86.FlagVIP
	}
	if in.Size == 2 {
		m &= 0xffff
	}
	c.setRFLAGS(flags&^m | f[2]&m)
	c.nmiMasked = false
	return true
}

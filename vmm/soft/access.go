package soft

import (
	"encoding/binary"

	"nvlab/vmm/observe"
	"nvlab/vmm/soft/x86"
)

// span is up to 16 bytes of memory, translated: n1 bytes at pa and the rest at
// pb, the next page. Translating before any effect is what makes a fault
// leave nothing behind.
type span struct {
	pa, pb uint64
	n1, n  uint8
}

// span translates n bytes, 1 to 16, at a linear address.
func (c *cpu) span(seg uint8, va uint64, n uint8, kind access) (s span, ok bool) {
	if !c.long && !c.withinLimit(seg, va, n, kind) {
		return s, false
	}
	if c.aligned() && c.alignCheck(va, n) {
		return s, false
	}
	if c.breakpoints() {
		c.watchData(va, n, kind)
	}
	return c.spanAs(c.privilege(), seg, va, n, kind)
}

func (c *cpu) spanAs(set int, seg uint8, va uint64, n uint8, kind access) (s span, ok bool) {
	last := va + uint64(n) - 1
	if !x86.Canonical(va) || !x86.Canonical(last) {
		return s, c.segFault(seg)
	}
	s.n, s.n1 = n, n
	if s.pa, ok = c.translate(va, set, kind); !ok {
		return s, false
	}
	if (va^last)&^x86.PageMask != 0 {
		s.n1 = uint8(x86.PageSize - va&x86.PageMask)
		if s.pb, ok = c.translate(last&^x86.PageMask, set, kind); !ok {
			return s, false
		}
	}
	return s, true
}

// aligned says that this is user code that asked for #AC.
func (c *cpu) aligned() bool { return c.flags&x86.FlagAC != 0 && c.cpl == 3 && c.cr0&x86.CR0AM != 0 }

// alignCheck raises #AC for a misaligned access (SDM 3A, 6.15, "Interrupt 17").
func (c *cpu) alignCheck(va uint64, n uint8) bool {
	if x86.Canonical(va) && n <= 16 && n&(n-1) == 0 && va&uint64(n-1) != 0 {
		c.raiseErr(excAC, 0)
		return true
	}
	return false
}

// read returns up to 8 bytes.
func (c *cpu) read(s *span) uint64 {
	if s.n1 == s.n {
		return c.readPhys(s.pa, s.n)
	}
	lo := c.readPhys(s.pa, s.n1)
	return lo | c.readPhys(s.pb, s.n-s.n1)<<(8*s.n1)
}

// write stores up to 8 bytes.
func (c *cpu) write(s *span, v uint64) {
	if s.n1 == s.n {
		c.writePhys(s.pa, s.n, v)
		return
	}
	c.writePhys(s.pa, s.n1, v)
	c.writePhys(s.pb, s.n-s.n1, v>>(8*s.n1))
}

// part is the n bytes at offset off of a span.
func (s *span) part(off, n uint8) span {
	switch {
	case off >= s.n1:
		return span{pa: s.pb + uint64(off-s.n1), n1: n, n: n}
	case off+n <= s.n1:
		return span{pa: s.pa + uint64(off), n1: n, n: n}
	}
	return span{pa: s.pa + uint64(off), pb: s.pb, n1: s.n1 - off, n: n}
}

func (c *cpu) read128(s *span) (v [2]uint64) {
	lo, hi := s.part(0, 8), s.part(8, 8)
	return [2]uint64{c.read(&lo), c.read(&hi)}
}

func (c *cpu) write128(s *span, v [2]uint64) {
	lo, hi := s.part(0, 8), s.part(8, 8)
	c.write(&lo, v[0])
	c.write(&hi, v[1])
}

// load reads n bytes, 1 to 8, at a linear address.
func (c *cpu) load(seg uint8, va uint64, n uint8) (uint64, bool) {
	s, ok := c.span(seg, va, n, accessRead)
	if !ok || !c.canRead(&s) {
		return 0, false
	}
	return c.read(&s), true
}

// store writes n bytes, 1 to 8, at a linear address.
func (c *cpu) store(seg uint8, va uint64, n uint8, v uint64) bool {
	s, ok := c.span(seg, va, n, accessWrite)
	if ok {
		c.write(&s, v)
	}
	return ok
}

// loadSys and storeSys are the processor's own accesses, to descriptor tables
// and the TSS, which are supervisor accesses at any CPL.

func (c *cpu) loadSys(va uint64, n uint8) (uint64, bool) {
	s, ok := c.spanSys(va, n, accessRead)
	if !ok || !c.canRead(&s) {
		return 0, false
	}
	return c.read(&s), true
}

func (c *cpu) storeSys(va uint64, n uint8, v uint64) bool {
	s, ok := c.spanSys(va, n, accessWrite)
	if ok {
		c.write(&s, v)
	}
	return ok
}

func (c *cpu) spanSys(va uint64, n uint8, kind access) (span, bool) {
	c.implicit = true
	s, ok := c.spanAs(0, x86.SegDS, va, n, kind)
	c.implicit = false
	return s, ok
}

// loadBytes reads a larger operand, in pieces of up to 8 bytes, which are what
// is checked for alignment.
func (c *cpu) loadBytes(seg uint8, va uint64, b []byte, piece int) bool {
	for len(b) > 0 {
		n := min(len(b), piece)
		v, ok := c.load(seg, va, uint8(n))
		if !ok {
			return false
		}
		x86.PutLE(b, uint8(n), v)
		b, va = b[n:], va+uint64(n)
	}
	return true
}

// storeBytes writes a larger operand: all of it or, on a fault, nothing.
func (c *cpu) storeBytes(seg uint8, va uint64, b []byte, piece int) bool {
	for off := 0; off < len(b); off += piece {
		if _, ok := c.span(seg, va+uint64(off), uint8(min(len(b)-off, piece)), accessWrite); !ok {
			return false
		}
	}
	for len(b) > 0 {
		n := min(len(b), piece)
		if !c.store(seg, va, uint8(n), x86.GetLE(b, uint8(n))) {
			return false
		}
		b, va = b[n:], va+uint64(n)
	}
	return true
}

// operandAddr is the linear address of an instruction's memory operand.
func (c *cpu) operandAddr(in *x86.Inst) uint64 { return c.linear(in.Seg, c.effective(in)) }

// effective is the operand's offset in its segment.
func (c *cpu) effective(in *x86.Inst) uint64 {
	a := c.r[in.Base] + c.r[in.Index]<<(in.Scale&63) + in.Disp
	if in.Flags&x86.RIPRelative != 0 {
		a += c.next
	}
	return in.Wrap(a)
}

// linear adds the base of a segment. In 64-bit code only FS and GS have one.
func (c *cpu) linear(seg uint8, off uint64) uint64 {
	if !c.long {
		return uint64(uint32(c.segBase(seg) + off))
	}
	switch seg {
	case x86.SegFS:
		off += c.r[x86.SlotFS]
	case x86.SegGS:
		off += c.r[x86.SlotGS]
	}
	return off
}

func (c *cpu) segBase(seg uint8) uint64 {
	switch seg {
	case x86.SegFS:
		return c.r[x86.SlotFS]
	case x86.SegGS:
		return c.r[x86.SlotGS]
	}
	return c.seg[seg].base
}

// reg reads a register operand; byte registers 4 to 7 without REX are AH to
// BH.
func (c *cpu) reg(in *x86.Inst, n, size uint8) uint64 {
	switch size {
	case 1:
		if in.Flags&x86.PrefixREX == 0 && n >= 4 {
			return c.r[n&3] >> 8 & 0xff
		}
		return c.r[n] & 0xff
	case 2:
		return c.r[n] & 0xffff
	case 4:
		return c.r[n] & 0xffffffff
	}
	return c.r[n]
}

// setReg writes a register operand; 4 bytes clear the upper half.
func (c *cpu) setReg(in *x86.Inst, n, size uint8, v uint64) {
	switch size {
	case 1:
		if in.Flags&x86.PrefixREX == 0 && n >= 4 {
			c.r[n&3] = c.r[n&3]&^0xff00 | v&0xff<<8
			return
		}
		c.r[n] = c.r[n]&^0xff | v&0xff
	case 2:
		c.r[n] = c.r[n]&^0xffff | v&0xffff
	case 4:
		c.r[n] = uint64(uint32(v))
	default:
		c.r[n] = v
	}
}

// readRM reads the r/m operand.
func (c *cpu) readRM(in *x86.Inst, size uint8) (uint64, bool) {
	if in.Mod == 3 {
		return c.reg(in, in.RM, size), true
	}
	return c.load(in.Seg, c.operandAddr(in), size)
}

// writeRM writes the r/m operand.
func (c *cpu) writeRM(in *x86.Inst, size uint8, v uint64) bool {
	if in.Mod == 3 {
		c.setReg(in, in.RM, size, v)
		return true
	}
	return c.store(in.Seg, c.operandAddr(in), size, v)
}

// readModify reads the r/m operand and makes sure that it can be written.
func (c *cpu) readModify(in *x86.Inst, size uint8) (v uint64, s span, ok bool) {
	if in.Mod == 3 {
		return c.reg(in, in.RM, size), s, true
	}
	if s, ok = c.span(in.Seg, c.operandAddr(in), size, accessWrite); !ok || !c.canRead(&s) {
		return 0, s, false
	}
	return c.read(&s), s, true
}

// modify writes what readModify read.
func (c *cpu) modify(in *x86.Inst, size uint8, s *span, v uint64) {
	if in.Mod == 3 {
		c.setReg(in, in.RM, size, v)
		return
	}
	c.write(s, v)
}

// push stores below the stack pointer and moves it.
func (c *cpu) push(size uint8, v uint64) bool {
	if !c.store(x86.SegSS, c.stack(-uint64(size)), size, v) {
		return false
	}
	c.moveSP(-uint64(size))
	return true
}

// pop loads from the stack and moves the stack pointer.
func (c *cpu) pop(size uint8) (uint64, bool) {
	v, ok := c.load(x86.SegSS, c.stack(0), size)
	if ok {
		c.moveSP(uint64(size))
	}
	return v, ok
}

// stack is the linear address that is off bytes above the top of the stack.
func (c *cpu) stack(off uint64) uint64 { return c.stackAt(c.r[x86.RSP] + off) }

// stackAt is the linear address of an offset in the stack segment.
func (c *cpu) stackAt(sp uint64) uint64 {
	if c.long {
		return sp
	}
	return c.linear(x86.SegSS, sp&c.stackMask())
}

// stackMask is what of RSP is the stack pointer (SDM 1, 6.2.3).
func (c *cpu) stackMask() uint64 {
	switch {
	case c.long:
		return ^uint64(0)
	case c.seg[x86.SegSS].attr&attrD != 0:
		return 1<<32 - 1
	}
	return 1<<16 - 1
}

func (c *cpu) moveSP(n uint64) { c.setSP(c.r[x86.RSP] + n) }

func (c *cpu) setSP(sp uint64) {
	m := c.stackMask()
	if m == 1<<32-1 {
		c.r[x86.RSP] = sp & m
		return
	}
	c.r[x86.RSP] = c.r[x86.RSP]&^m | sp&m
}

// readCode copies instruction bytes from a physical address within a page.
func (c *cpu) readCode(pa uint64, b []byte) {
	if r := c.p.mem.find(pa); r != nil {
		if c.p.watch != nil {
			c.observeLoad(r, pa-r.base, uint64(len(b)), observe.Fetch)
		}
		copy(b, r.mem[pa-r.base:])
		return
	}
	for i := range b {
		b[i] = 0xff
	}
}

var le = binary.LittleEndian

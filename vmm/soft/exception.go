package soft

import (
	"nvlab/vmm/observe"
	"nvlab/vmm/soft/x86"
)

// Exception vectors (SDM 3A, table 6-1).
const (
	excDE  = 0
	excDB  = 1
	excNMI = 2
	excNM  = 7
	excBP  = 3
	excOF  = 4
	excBR  = 5
	excUD  = 6
	excDF  = 8
	excTS  = 10
	excNP  = 11
	excSS  = 12
	excGP  = 13
	excPF  = 14
	excMF  = 16
	excAC  = 17
	excMC  = 18
	excXM  = 19
)

// contributory says whether an exception makes a double fault of another
// (SDM 3A, table 6-4).
func contributory(vec uint8) bool {
	return vec == excDE || vec >= excTS && vec <= excGP
}

// deliver delivers c.exc at c.rip. What goes wrong on the way becomes a
// double fault, and then a triple fault.
func (c *cpu) deliver() {
	first := c.exc
	if first.vec == excStop {
		c.stopHere()
		return
	}
	for {
		c.delivered++
		if first.vec == excPF {
			c.cr2 = first.cr2
		}
		if first.vec == excMC && !c.report(first.cr2) {
			c.shutdown()
			return
		}
		if c.enterHandler(first) {
			return
		}
		second := c.exc
		switch {
		case first.vec == excDF:
			c.shutdown()
			return
		case contributory(first.vec) && contributory(second.vec),
			first.vec == excPF && (contributory(second.vec) || second.vec == excPF):
			first = exception{vec: excDF, hasErr: true}
		default:
			first = second
		}
	}
}

// shutdown ends Run: no processor of the machine goes on.
func (c *cpu) shutdown() {
	c.p.tripleFault = true
	c.p.stopping = true
	c.attn = true
}

// enterHandler is interrupt, before whose loads Run cannot end.
func (c *cpu) enterHandler(e exception) bool {
	for !c.interrupt(e) {
		if c.exc.vec != excStop {
			return false
		}
		c.p.stop.pass()
	}
	return true
}

// interrupt enters the handler of e through the IDT (SDM 3A, 6.12.1, 6.14).
// The return address is c.rip.
func (c *cpu) interrupt(e exception) bool {
	if c.values.live {
		c.revealFlags() // which are stored
	}
	c.kind, c.group = 0, c.now|uint64(c.id)<<56|1<<63
	if e.external {
		c.order(observe.Interrupt)
	} else {
		c.order(observe.Exception)
	}
	ext := uint32(1) // the event is external to the program
	if e.soft {
		ext = 0
	}
	gateErr := uint32(e.vec)<<3 | 2 | ext
	if c.efer&x86.EFERLMA == 0 {
		return c.gp(gateErr) // see legacyOps
	}
	off := uint64(e.vec) * 16
	if off+15 > uint64(c.idt.limit) {
		return c.gp(gateErr)
	}
	lo, ok := c.loadSys(c.idt.base+off, 8)
	if !ok {
		return false
	}
	hi, ok := c.loadSys(c.idt.base+off+8, 8)
	if !ok {
		return false
	}
	typ := lo >> 40 & 0x1f
	if typ != 0xe && typ != 0xf || hi>>40&0x1f != 0 {
		return c.gp(gateErr)
	}
	if e.soft && uint8(lo>>45&3) < c.cpl {
		return c.gp(gateErr)
	}
	if lo>>47&1 == 0 {
		return c.raiseErr(excNP, gateErr)
	}
	sel := uint16(lo >> 16)
	target := lo&0xffff | lo>>48<<16 | hi<<32
	if sel&^3 == 0 {
		return c.gp(ext)
	}
	desc, ok := c.descriptor(sel, excGP, ext)
	if !ok {
		return false
	}
	dpl := uint8(desc >> 45 & 3)
	selErr := uint32(sel&^3) | ext
	if desc>>44&1 == 0 || desc>>43&1 == 0 || dpl > c.cpl || desc>>53&3 != 1 {
		return c.gp(selErr)
	}
	if desc>>47&1 == 0 {
		return c.raiseErr(excNP, selErr)
	}
	cpl := c.cpl
	if desc>>42&1 == 0 { // not conforming
		cpl = dpl
	}
	sp := c.r[x86.RSP]
	switch ist := lo >> 32 & 7; {
	case ist != 0:
		sp, ok = c.stackFromTSS(28+8*ist, ext)
	case cpl != c.cpl:
		sp, ok = c.stackFromTSS(4+8*uint64(cpl), ext)
	}
	if !ok {
		return false
	}
	if !x86.Canonical(target) {
		return c.gp(ext)
	}
	sp &^= 15
	flags := c.rflags()
	if !e.soft && e.fault() {
		flags |= x86.FlagRF
	}
	set := 0
	if cpl == 3 {
		set = 1
	}
	frame := [6]uint64{c.seg2(x86.SegSS), c.r[x86.RSP], flags, c.seg2(x86.SegCS), c.rip, uint64(e.err)}
	n := 5
	if e.hasErr {
		n = 6
	}
	for _, v := range frame[:n] {
		sp -= 8
		s, ok := c.spanAs(set, x86.SegSS, sp, 8, accessWrite)
		if !ok {
			if c.exc.vec == excSS {
				c.exc.err = ext
			}
			return false
		}
		c.write(&s, v)
	}
	if cpl != c.cpl {
		c.seg[x86.SegSS] = segment{sel: uint16(cpl)}
	}
	c.r[x86.RSP] = sp
	c.seg[x86.SegCS] = makeSegment(sel&^3|uint16(cpl), desc)
	if e.vec == excDB {
		c.dr[7] &^= dr7GD
	}
	clear := uint64(x86.FlagTF | x86.FlagVM | x86.FlagRF | x86.FlagNT)
	if typ == 0xe {
		clear |= x86.FlagIF
	}
	c.flags &^= clear
	c.setLong()
	c.setCPL(cpl)
	c.rip = target
	c.halted = false
	c.attn = true
	return true
}

func (c *cpu) seg2(n int) uint64 { return uint64(c.seg[n].sel) }

// fault says whether e's return address is the instruction that raised it, for
// which the saved RF is set (SDM 3B, 17.3.1.1).
func (e *exception) fault() bool {
	switch e.vec {
	case excDB, excBP, excDF:
		return false
	}
	return e.vec < 32 && e.vec != 2 && e.vec != 4
}

// stackFromTSS reads a stack pointer from the 64-bit TSS (SDM 3A, 7.7).
func (c *cpu) stackFromTSS(off uint64, ext uint32) (uint64, bool) {
	if off+7 > uint64(c.tr.limit) {
		return 0, c.raiseErr(excTS, uint32(c.tr.sel&^3)|ext)
	}
	sp, ok := c.loadSys(c.tr.base+off, 8)
	if ok && !x86.Canonical(sp) {
		return 0, c.raiseErr(excSS, ext)
	}
	return sp, ok
}

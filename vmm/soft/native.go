package soft

import (
	"nvlab/vmm/soft/abi"
	"nvlab/vmm/soft/ir"
	"nvlab/vmm/soft/x86"
)

// runNative runs the code of the block whose header is at c.at, which is hot,
// and what follows. Then c.at is the op, or header, to go on with.
func (c *cpu) runNative() {
	b := c.p.cache
	n := b.native
	x := &c.native
	header := uint32(c.at / ir.OpSize)
	h := b.Header(header)
	jumped := x.Why == abi.LeftJump
	x.Why = abi.LeftHeader
	at := h.Code
	if at == 0 {
		h.Heat = ir.Cold
		if n == nil {
			return
		}
		if n.Full() {
			n.Flush()
			b.unlinked = 0
			c.p.forgetLandings()
		}
		if at = n.Compile(header); at == 0 {
			return
		}
	}
	h.Heat = 0
	if b.unlinked != 0 {
		if f := &b.Ops[b.unlinked]; f.Link == header && f.Gen == c.gens[c.guardOf(f)] {
			n.Link(b.unlinked, header)
		}
		b.unlinked = 0
	}
	x.Ops, x.Code = uint64(b.opsAddr()), uint64(n.Base())
	if jumped {
		c.landAt(header, x.Code+uint64(at))
	}
	n.Count.Entries++
	c.showFlags()
	for at != 0 {
		c.runCode(n, at)
		if x.Stream.Next != 0 {
			c.streamed()
		}
		at = 0
		if x.Why == abi.LeftMissed {
			at = c.missed()
		}
		if at == 0 {
			at = c.toldStores()
		}
		if at == 0 && x.Why == abi.LeftOp {
			c.takeFlags()
			at = c.between(&b.Ops[x.Op])
			c.showFlags()
		}
	}
	c.takeFlags()
	next := x.Op
	switch x.Why {
	case abi.LeftHeader:
		next = x.Header
	case abi.LeftTaken:
		b.unlinked = next
	case abi.LeftJump, abi.LeftRun:
		return
	}
	c.at = uintptr(next) * ir.OpSize
}

// showFlags and takeFlags move the flags to the word of code, and back.
func (c *cpu) showFlags() {
	f := c.arith()
	c.native.Flags = f>>11&1 | (f&0xff|x86.FlagOne)<<8
}

func (c *cpu) takeFlags() {
	f := c.native.Flags
	c.setArith(f>>8&(x86.FlagsArith&^x86.FlagOF) | f&1<<11)
}

// between does op k, at which code was left, if it is for the executor, and
// returns where code goes on after it, or 0.
func (c *cpu) between(k *ir.Op) uint32 {
	switch k.Code {
	case ir.OpGENERIC:
	case ir.OpCLAC:
		if k.Link != 0 {
			c.setAC(false)
		}
		return k.Link
	default:
		return 0
	}
	x := &c.native
	page := c.nativePage()
	resume, next := k.Link, page+uint64(int64(k.Disp))
	c.rip = page + uint64(k.PC)
	c.now = x.Limit - x.Left + uint64(k.N-1)
	c.execute(&c.p.cache.Insts[k.Imm])
	if c.attn || c.rip != next || resume == 0 {
		x.Why = abi.LeftRun
		return 0
	}
	return resume
}

// leaveAfter leaves compiled code after a plain store that was done in Go.
func (c *cpu) leaveAfter(op uint32) {
	x := &c.native
	k := &c.p.cache.Ops[op]
	c.rip, c.now = c.nativePage()+uint64(k.Gen), x.Limit-x.Left+uint64(k.N)
	x.Why = abi.LeftRun
}

// nativePage is the page of the block that was left.
func (c *cpu) nativePage() uint64 { return c.pageOf(c.p.cache.Header(c.native.Header)) }

package jit

import (
	"math/bits"

	"nvlab/vmm/soft/ir"
	"nvlab/vmm/soft/x86"
)

// Guest r11 to r15, the bases of FS and GS, and the page of a block that may be
// anywhere live in memory. Within a block
// one host register holds the one of them that is used next; what was written
// there goes to memory where code is left, or where another takes the register.

// cachedSlot is the slot that hCached holds, and whether memory has something else.
// Slot 0, which has a register of its own, is none.
type cachedSlot struct {
	slot  uint8
	dirty bool
}

// cacheable are the slots that may be held.
const cacheable = 1<<11 | 1<<12 | 1<<13 | 1<<14 | 1<<15 | 1<<x86.SlotFS | 1<<x86.SlotGS | 1<<ir.SlotPage

// naming is which slots an op names: a bit per slot that may be held.
type naming struct {
	reads, writes, address uint32
	lost                   bool // the executor does the op
}

// naming finds out what op o names. It may say too much, but for what an op
// only writes, that it reads it.
func (t *translator) naming(o *ir.Op) (u naming) {
	x := &ir.OpTable[o.Code]
	if x.Kind == ir.KindGeneric {
		return t.namingDirect(o)
	}
	slots := func(f ir.Fields) (bits uint32) {
		if f&ir.FieldDst != 0 {
			bits |= cacheableBit(o.Dst)
		}
		if f&ir.FieldSrc != 0 {
			bits |= cacheableBit(o.Src)
		}
		if f&ir.FieldAddress != 0 {
			bits |= cacheableBit(o.Base) | cacheableBit(o.Index)
		}
		return bits
	}
	u.reads, u.writes = slots(x.Reads), slots(x.Writes)
	if x.Mem != 0 {
		u.address = slots(x.Reads & ir.FieldAddress)
	}
	return u
}

// namingDirect is naming of an instruction that has no op.
func (t *translator) namingDirect(o *ir.Op) (u naming) {
	d := t.direct(o)
	if d.emit == nil {
		return naming{lost: true}
	}
	in := &t.n.code.Insts[o.Imm]
	if in.Mod != 3 {
		u.address = cacheableBit(t.base(in)) | cacheableBit(in.Index)
		u.reads = u.address
	} else if !d.vectors || in.Opcode == 0x2a {
		u.reads |= cacheableBit(in.RM)
		u.writes |= cacheableBit(in.RM)
	}
	if !d.vectors || in.Opcode&0xfe == 0x2c || in.Opcode == 0x50 || in.Opcode == 0xc5 {
		u.reads |= cacheableBit(in.Reg)
		u.writes |= cacheableBit(in.Reg)
	}
	return u
}

func cacheableBit(slot uint8) uint32 { return 1 << (slot & 31) & cacheable }

// chooseCached chooses what hCached holds while op i is done, and loads it.
func (t *translator) chooseCached(i int) {
	u := &t.named[i]
	named := u.reads | u.writes
	h := &t.cached
	if named == 0 || named>>h.slot&1 != 0 {
		return
	}
	next, best := len(t.ops), uint8(0)
	if h.slot != 0 {
		next = t.nextUse(i, h.slot)
	}
	for ; named != 0; named &= named - 1 {
		s := uint8(bits.TrailingZeros32(named))
		n := t.nextUse(i, s)
		if n < next || n == len(t.ops) && n == next && u.address>>s&1 != 0 { // else memory is as good
			next, best = n, s
		}
	}
	if best == 0 {
		return
	}
	t.writeBack()
	h.slot = best
	if u.reads>>best&1 != 0 || t.flags.uses(best) {
		t.reload()
	}
}

// nextUse is the next op after i that reads what slot s has then, or the number
// of ops.
func (t *translator) nextUse(i int, s uint8) int {
	for j := i + 1; j < len(t.ops); j++ {
		switch u := &t.named[j]; {
		case u.reads>>s&1 != 0:
			return j
		case u.lost, u.writes>>s&1 != 0:
			return len(t.ops)
		}
	}
	return len(t.ops)
}

// cachedWritten notes what op i wrote.
func (t *translator) cachedWritten(i int) {
	if t.named[i].writes>>t.cached.slot&1 != 0 {
		t.cached.dirty = true
	}
}

// writeBack makes memory have what hCached holds.
func (t *translator) writeBack() {
	if t.cached.dirty {
		t.asm.Store(8, hCached, t.memorySlot(t.cached.slot))
		t.cached.dirty = false
	}
}

// reload makes hCached have what memory holds.
func (t *translator) reload() {
	if t.cached.slot != 0 {
		t.asm.Load(8, hCached, t.memorySlot(t.cached.slot))
	}
}

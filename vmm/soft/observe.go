package soft

import (
	"nvlab/vmm/observe"
	"nvlab/vmm/soft/internal/reserve"
	"nvlab/vmm/soft/ir"
	"nvlab/vmm/soft/x86"
)

// Observe tells o of every store and flush to observed memory, and of every
// fence. Nil tells nobody. It must not be called within Run.
func (p *processors) Observe(o observe.Observer) {
	p.observer = o
	for _, c := range p.cpus {
		c.observing = o != nil
		c.setMode() // whether LOCK is noted is part of a block's code
	}
	for _, r := range p.mem.regions {
		r.watched = r.observed && o != nil
	}
	p.resetTranslations()
}

// kindsOfStores has the instructions whose stores are not ordinary ones.
var kindsOfStores = [512]observe.Kind{
	0x1c3: observe.NonTemporal, // MOVNTI
	0x12b: observe.NonTemporal, // MOVNTPS, MOVNTPD
	0x1e7: observe.NonTemporal, // MOVNTQ, MOVNTDQ
	0x1f7: observe.NonTemporal, // MASKMOVQ, MASKMOVDQU
	0x86:  observe.Locked,      // XCHG
	0x87:  observe.Locked,
}

// orders has the instructions that order what came before them, beyond those
// with LOCK (SDM 3A, 9.3).
var orders = [512]observe.Order{
	0x1a2: observe.Serializing, // CPUID
	0xcf:  observe.Serializing, // IRET
	0x100: observe.Serializing, // LLDT, LTR
	0x101: observe.Serializing, // LGDT, LIDT, INVLPG
	0x122: observe.Serializing, // MOV to CR
	0x123: observe.Serializing, // MOV to DR
	0x130: observe.Serializing, // WRMSR
	0x109: observe.Serializing | observe.WBINVD,
	0x1ae: observe.SFENCE | observe.MFENCE,
}

// ordersOf is what a completed instruction orders.
func (c *cpu) ordersOf(in *x86.Inst) observe.Order {
	o := orders[in.Op]
	switch {
	case c.kind == observe.Locked:
		return observe.Lock
	case o == 0, in.Op == 0x130 && !serializingMSR(uint32(c.r[x86.RCX])):
		return 0
	}
	op := in.ModRM >> 3 & 7
	switch in.Op {
	case 0x1ae:
		switch {
		case in.Mod == 3 && op == 6:
			return observe.MFENCE
		case in.Mod == 3 && op == 7:
			return observe.SFENCE
		}
		return 0
	case 0x100:
		if op != 2 && op != 3 {
			return 0
		}
	case 0x101:
		if in.Mod == 3 || op != 2 && op != 3 && op != 7 {
			return 0
		}
	case 0x122:
		if in.Reg == 8 {
			return 0
		}
	}
	return o
}

// redo executes the instruction of op i in its place. Stores to observed
// memory all come here, so plain ones are done as compiled code's are, and of
// others what was decoded is kept.
func (c *cpu) redo(code ir.Opcode, i uintptr) {
	if !c.observing || code == ir.OpSLOW {
		c.stepOne()
		return
	}
	b := c.p.cache
	if ir.PlainStore(code) {
		k := &b.Ops[i]
		page := c.rip - uint64(k.PC)
		if c.storeObserved(k, &storePage{}, page, c.now+1-uint64(k.N)) {
			c.rip = page + uint64(k.Gen)
			return
		}
	}
	if b.redone == nil {
		b.redone = reserve.Slice[uint32](ir.MaxOps)
	}
	c.begun = false
	n := b.redone[i]
	if n == 0 {
		if len(b.Insts)+ir.MaxBlock >= ir.MaxInsts {
			c.stepOne()
			return
		}
		if !c.fetch(&c.step) {
			c.now++
			c.deliver()
			return
		}
		n = uint32(len(b.Insts))
		b.Insts = append(b.Insts, c.step)
		b.redone[i] = n
	}
	c.execute(&b.Insts[n])
}

// executeObserved is execute with an observer.
func (c *cpu) executeObserved(in *x86.Inst) {
	c.begin(in)
	done := c.perform(in)
	if done {
		if o := c.ordersOf(in); o&observe.Explicit != 0 {
			c.orderNow(o)
		} else {
			c.ordered |= o
		}
	}
	c.complete(done)
}

// begin notes what the stores of in are.
func (c *cpu) begin(in *x86.Inst) {
	k := kindsOfStores[in.Op]
	switch {
	case in.Mod == 3 && k == observe.Locked:
		k = 0 // XCHG of registers
	case in.Flags&x86.PrefixLock != 0:
		k = observe.Locked
	case in.Rep != 0 && (in.Op|1 == 0xa5 || in.Op|1 == 0xab):
		k = observe.String
	}
	c.kind, c.lockDue = k, k == observe.Locked
	c.group = c.now | uint64(c.id)<<56
	if k == observe.String {
		// The iterations of one instruction are one group, if they follow
		// each other.
		if c.stringNext == c.now-1 && c.stringPC == c.rip {
			c.group = c.stringGroup
		}
		c.stringNext, c.stringPC, c.stringGroup = c.now, c.rip, c.group
	}
}

// beginWalk notes that the page walker stores next, whatever the instruction
// at hand is, and gives what endWalk restores.
func (c *cpu) beginWalk() (kind observe.Kind, group uint64) {
	kind, group = c.kind, c.group
	c.kind, c.group, c.memType = 0, c.now|uint64(c.id)<<56|1<<62, 0
	return kind, group
}

func (c *cpu) endWalk(kind observe.Kind, group uint64) { c.kind, c.group = kind, group }

// kindOf is the kind of a store of kind k to memory of the type that was
// translated last (SDM 3A, 12.3 and 12.5.2): non-temporal hints and the order
// of strings are for memory that is cached or write-combining.
func (c *cpu) kindOf(k observe.Kind) observe.Kind {
	switch c.memType {
	case typeWC:
		return k&^observe.String | observe.NonTemporal
	case typeWT:
		if k&observe.NonTemporal == 0 {
			return k | observe.ToWriteThrough
		}
	case typeUC, typeWP:
		return k&^(observe.NonTemporal|observe.String) | observe.ToUncached
	}
	return k
}

// order notes that an instruction orders those before it.
func (c *cpu) order(o observe.Order) {
	if c.observing {
		c.ordered |= o
	}
}

// orderNow is order for what others can see at once.
func (c *cpu) orderNow(o observe.Order) {
	if c.observing {
		c.ordered |= o
		c.tellOrder()
	}
}

func (c *cpu) here() observe.At {
	return observe.At{Seq: c.others + c.now - c.idle, PC: c.rip, CR3: c.cr3, VCPU: c.id, CPL: c.cpl}
}

// tellOrder delivers the fences that were noted, after stores that are to be
// told.
func (c *cpu) tellOrder() {
	c.tellStream()
	if c.ordered != 0 {
		c.events.fence = observe.Fence{At: c.here(), Order: c.ordered}
		c.ordered = 0
		c.p.observer.Fence(&c.events.fence)
	}
}

// events are what the observer is given, to spare an allocation.
type events struct {
	store  observe.Store
	flush  observe.Flush
	fence  observe.Fence
	stream observe.Stream // not told yet

	// Compiled code notes stores to memory that may be taken away, and stores to a page
	// that nobody reads. They are made when it has been left.
	later *region
	page  [x86.PageSize]byte
}

// observeStore tells of n bytes at off of r, as chunks.
func (c *cpu) observeStore(r *region, off uint64, n uint8, v uint64) {
	kind := c.kind
	if c.memType != 0 {
		kind = c.kindOf(kind)
	}
	if c.lockDue || c.ordered != 0 || len(c.events.stream.Stores) > 0 {
		if c.lockDue && kind&observe.Locked != 0 {
			c.lockDue = false
			c.ordered |= observe.Lock // what came before
		}
		c.tellOrder()
	}
	e := &c.events.store
	e.Seq, e.PC, e.CR3, e.VCPU, e.CPL = c.others+c.now-c.idle, c.rip, c.cr3, c.id, c.cpl // field by field: this is hot
	e.Base, e.Offset, e.Value = r.base, off, v&x86.SizeMask(n)
	e.Size, e.Kind, e.Group = n, kind, c.group
	if kind&observe.ToUncached != 0 && c.kind&observe.String != 0 {
		e.Group = c.now | uint64(c.id)<<56 // its iterations are in order
	}
	if first := 8 - uint8(off&7); n > first {
		e.Size, e.Value = first, v&x86.SizeMask(first)
		c.p.observer.Store(e)
		n -= first
		e.Offset, e.Size, e.Value = off+uint64(first), n, v>>(8*first)&x86.SizeMask(n)
	}
	c.p.observer.Store(e)
}

// observeFlush tells of the line at pa, if it is observed.
func (c *cpu) observeFlush(pa uint64, op observe.FlushOp) {
	if !c.observing {
		return
	}
	r := c.p.mem.find(pa)
	if r == nil || !r.observed {
		return
	}
	c.tellOrder()
	c.events.flush = observe.Flush{At: c.here(), Base: r.base, Offset: (pa - r.base) &^ 63, Op: op}
	c.p.observer.Flush(&c.events.flush)
}

package soft

import (
	"encoding/binary"
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

const (
	codeSize = 48 << 20
	rareCode = 20 << 20 // where rarely run code starts
	linkSize = 4 << 20
	linkStep = 16
	maxLinks = 4 * maxBlock // of a block: it has no more ops
)

// compiler makes host code of blocks and holds its code. The code is mapped
// twice, writable and executable, and is never both at one address. Behind it
// are links, which are not executable: each is a generation and, 8 bytes on, the
// address of the code to which a direct branch to another page leads under it.
//
// Its parts, a file each:
//
//	jit_translate  a block, from its ops; the ops are in jit_binary, jit_unary,
//	               jit_misc, jit_stack and jit_vector, instructions that have
//	               no op in jit_direct
//	jit_asm        host instructions
//	jit_flags      where the arithmetic flags are, and how to have them again
//	jit_cached       the register that r11 to r15 share
//	jit_values     what registers hold, as far as it is known, for
//	jit_groups     memory accesses that share one look into the TLB
//	jit_miss       what the TLB does not answer
//	jit_edgestub     branches within a page, with flags that need not be saved
//	jit_jumps      branches to other pages, and to addresses in registers
//	jit_observe    stores that somebody sees
type compiler struct {
	cache       *blockCache
	write       []byte                // the writable view, with the links
	exec        []byte                // the executable one
	pos         int                   // free from here
	rare        int                   // and from here, for what rarely runs
	fixed       int                   // where the code of blocks starts
	links       int                   // bytes of them used
	edges       map[uint32]edge       // by op
	mergePoints map[uint32]mergePoint // by header
	across      []int32               // by op whose branch leads to another page: its link
	misses      []int32               // by op that leads a group: the jump to offMissed, until there is a clone
	huge        int                   // so many bytes from the start are in huge pages
	dirty       bool                  // code was written since it last ran
	follow      uint32                // op whose branch left code unlinked, or 0

	thunk, serialize, vectors           int
	offBail, offTaken, offEnter, offFnd int
	offMissed                           int
	offJump, offCall, offLink           [2]int

	t translator

	count compilerStats
}

// newCompiler maps memory for code and checks that it can run.
func newCompiler(b *blockCache) (*compiler, error) {
	fd, err := unix.MemfdCreate("nvlab-code", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("memory for code: %w", err)
	}
	defer unix.Close(fd)
	if err := unix.Ftruncate(fd, codeSize+linkSize); err != nil {
		return nil, fmt.Errorf("memory for code: %w", err)
	}
	n := &compiler{cache: b, edges: map[uint32]edge{}, mergePoints: map[uint32]mergePoint{}, across: reserve[int32](maxOps), misses: reserve[int32](maxOps)}
	if n.write, err = mapCode(fd, codeSize+linkSize, unix.PROT_READ|unix.PROT_WRITE); err != nil {
		return nil, fmt.Errorf("memory for code: %w", err)
	}
	if n.exec, err = mapCode(fd, codeSize+linkSize, unix.PROT_READ|unix.PROT_EXEC); err == nil {
		err = unix.Mprotect(n.exec[codeSize:], unix.PROT_READ|unix.PROT_WRITE)
	}
	if err != nil {
		n.close()
		return nil, fmt.Errorf("the host refuses memory with code: %w", err)
	}
	n.common()
	return n, nil
}

func (n *compiler) close() error {
	release(n.across)
	release(n.misses)
	n.across, n.misses = nil, nil
	var err error
	if n.write != nil {
		err = unmapCode(n.write)
	}
	if n.exec != nil {
		err = errors.Join(err, unmapCode(n.exec))
	}
	n.write, n.exec = nil, nil
	return err
}

func (n *compiler) stats() compilerStats {
	s := n.count
	s.size = n.pos + n.rare - rareCode
	return s
}

// common writes the code that all blocks share. No block is at offset 0.
func (n *compiler) common() {
	t := translator{n: n, asm: assembler{b: n.write, pos: 16, ok: true}}
	a := &t.asm

	// Fetching what another mapping wrote takes a serializing instruction
	// first (SDM 3A, 8.1.3): IRETQ to the next one.
	n.serialize = a.pos
	a.bytes(0x48, 0x89, 0xe0) // mov rax, rsp
	a.bytes(0x8c, 0xd1)       // mov ecx, ss
	a.bytes(0x51, 0x50, 0x9c) // push rcx; push rax; pushfq
	a.bytes(0x8c, 0xc9, 0x51) // mov ecx, cs; push rcx
	a.bytes(0x48, 0x8d, 0x0d) // lea rcx, [rip+3]
	a.imm32(3)                //
	a.bytes(0x51, 0x48, 0xcf) // push rcx; iretq
	n.thunk = a.pos
	const from, stack = 13, 4 // where enterCode has the processor
	a.store(8, stack, inMem(from, int32(offHostSP)))
	a.load(8, hCPU, inReg(from))
	for r := uint8(0); r < ownRegister; r++ {
		s := t.slot(r)
		a.load(8, s.reg, inCPU(offR+8*uintptr(r)))
	}
	a.load(8, hLeft, inCPU(offLeft))
	a.insn(0xff, 4, 4, inReg(hA)) // jmp r14

	n.vectors = a.pos
	t.getVectors()
	a.insn(0xff, 4, 4, inReg(hA))

	leave := func(why int64) (at int) {
		at = a.pos
		a.storeImm(4, inCPU(offExitWhy), why)
		for r := uint8(0); r < ownRegister; r++ {
			s := t.slot(r)
			a.store(8, s.reg, inCPU(offR+8*uintptr(r)))
		}
		a.store(8, hLeft, inCPU(offLeft))
		a.aluImm(aluCMP, 4, inCPU(offVectors), 0)
		integers := a.jcc(4)
		t.putVectors()
		a.here(integers)
		a.load(8, stack, inCPU(offHostSP))
		a.byte(0xc3)
		return at
	}
	n.offBail = leave(leftOp)
	n.offTaken = leave(leftTaken)
	n.offEnter = leave(leftHeader)
	n.offFnd = leave(leftJump)
	n.offMissed = leave(leftMissed)
	for t.set = range n.offJump {
		t.commonJumps()
	}
	n.pos = (a.pos + 63) &^ 63
	n.fixed, n.rare = n.pos, rareCode
	n.dirty = true
}

// compile translates the block of a header, and says where its code is.
func (n *compiler) compile(c *cpu, header uint32) uint32 {
	if n.full() {
		n.flush()
		c.p.forgetLandings()
	}
	t := n.begin(header)
	h := &n.cache.ops[header]
	if !t.block() {
		h.disp = cold
		return 0
	}
	n.count.blocks++
	h.gen = uint32(n.pos)
	h.more = 0
	n.keepMergePoint(t)
	n.end(t)
	return h.gen
}

// full says that there may not be room for another block.
func (n *compiler) full() bool {
	const room = 64 << 10
	return rareCode-n.pos < room || codeSize-n.rare < room || linkSize-n.links < maxLinks*linkStep
}

// begin readies the translator for the block of a header.
func (n *compiler) begin(header uint32) *translator {
	b := n.cache
	h := &b.ops[header]
	end := header + 1
	for int(end) < len(b.ops)-1 && !opTable[b.ops[end].code].ends {
		end++
	}
	mode := b.blocks[h.link].mode
	t := &n.t
	*t = translator{n: n, asm: assembler{b: n.write[:codeSize], pos: n.pos, ok: true}, rare: n.rare, stubs: t.stubs[:0], unlinked: t.unlinked[:0], jumpMisses: t.jumpMisses[:0], resumes: t.resumes[:0], named: t.named[:0], live: t.live, sets: t.sets, leaves: t.leaves, grouping: t.grouping,
		ops: append(t.ops[:0], b.ops[header+1:end+1]...), first: header + 1, header: header, page: uint64(h.imm)}
	for i := range t.ops {
		if full := opTable[t.ops[i].code].full; full != 0 {
			t.ops[i].code = full
		}
	}
	if mode&modeUser != 0 {
		t.set = 1
	}
	t.watch = h.sel != 0
	t.sse, t.masked = mode&modeSSE != 0, mode&modeMasked != 0
	t.grouping.reset(len(t.ops))
	for i := range t.ops {
		t.named = append(t.named, t.naming(&t.ops[i]))
	}
	return t
}

// end keeps what t wrote, and links branches within the page whose targets
// have code.
func (n *compiler) end(t *translator) {
	n.rare = t.rare
	n.pos = t.asm.pos // not aligned: hosts tell the paths to an indirect jump by low bits of addresses
	n.dirty = true
	for k, end := t.first, t.first+uint32(len(t.ops)); k < end; k++ {
		if _, ok := n.edges[k]; ok && n.cache.ops[k].gen == 0 {
			n.link(k, n.cache.ops[k].link)
		}
	}
}

// link makes op k's branch lead to a block's code.
func (n *compiler) link(k, header uint32) {
	at := n.cache.ops[header].gen
	if at == 0 {
		return
	}
	if e, ok := n.edges[k]; ok {
		n.linkWithin(k, header, &e)
		delete(n.edges, k)
	} else if site := n.across[k]; site != 0 {
		binary.LittleEndian.PutUint32(n.write[site:], n.cache.ops[k].gen)
		binary.LittleEndian.PutUint64(n.write[site+8:], uint64(addrOf(n.exec))+uint64(at))
	}
}

// settle has the host keep code that is complete in huge pages, if it can: there
// are so many pages of it otherwise that the host's TLB misses most of them. It
// is for between Runs, since it takes a millisecond for each.
func (n *compiler) settle() {
	for ; n.huge+hugePage <= n.pos; n.huge += hugePage {
		if err := unix.Madvise(n.exec[n.huge:][:hugePage], unix.MADV_COLLAPSE); err != nil {
			n.huge = rareCode // nor will it later
		}
	}
}

// unfollow forgets which branch left code last.
func (n *compiler) unfollow() { n.follow = 0 }

// forget drops all code.
func (n *compiler) forget() {
	n.pos, n.rare = n.fixed, rareCode
	clear(n.edges)
	clear(n.mergePoints)
	used := len(n.cache.ops)
	clear(n.across[:used])
	clear(n.misses[:used])
	n.links = 0
	n.follow = 0
	n.dirty = true
}

// flush drops all code of a full cache.
func (n *compiler) flush() {
	for i := range n.cache.blocks {
		if k := &n.cache.blocks[i]; k.header != 0 {
			h := &n.cache.ops[k.header]
			h.gen, h.disp = 0, hot
		}
	}
	n.forget()
	n.count.flushes++
}

// runNative runs the code of the block whose header is at c.at, which is hot,
// and what follows. Then c.at is the op, or header, to go on with.
func (c *cpu) runNative() {
	b := c.p.cache
	n := b.native
	x := &c.native
	header := uint32(c.at >> opShift)
	o := &b.ops[header]
	jumped := x.why == leftJump
	x.why = leftHeader
	at := o.gen
	if at == 0 {
		o.disp = cold
		if n == nil {
			return
		}
		if at = n.compile(c, header); at == 0 {
			return
		}
	}
	o.disp = 0
	if n.follow != 0 {
		if f := &b.ops[n.follow]; f.link == header && f.gen == c.gens[f.sel&3] {
			n.link(n.follow, header)
		}
		n.follow = 0
	}
	x.ops, x.code = uint64(b.opsAddr()), uint64(addrOf(n.exec))
	if jumped {
		c.landAt(header, x.code+uint64(at))
	}
	n.count.entries++
	c.showFlags()
	for at != 0 {
		c.enterCode(addrOf(n.exec)+uintptr(n.way()), addrOf(n.exec)+uintptr(at))
		at = 0
		if x.why == leftMissed {
			at = c.missed()
		}
		if at == 0 && c.observing {
			at = c.storesObserved()
		}
		if at == 0 && x.why == leftOp {
			c.takeFlags()
			at = c.between(&b.ops[x.op])
			c.showFlags()
		}
	}
	c.takeFlags()
	next := x.op
	switch x.why {
	case leftHeader:
		next = x.header
	case leftTaken:
		n.follow = next
	case leftJump, leftRun:
		return
	}
	c.at = uintptr(next) << opShift
}

// way is the code that enters code.
func (n *compiler) way() int {
	if n.dirty {
		n.dirty = false
		return n.serialize
	}
	return n.thunk
}

// showFlags and takeFlags move the flags to the word of code, and back.
func (c *cpu) showFlags() {
	f := c.arith()
	c.native.flags = f>>11&1 | (f&0xff|flagOne)<<8
}

func (c *cpu) takeFlags() {
	f := c.native.flags
	c.setArith(f>>8&(flagsArith&^flagOF) | f&1<<11)
}

// between does op k, at which code was left, if it is for the executor, and
// returns where code goes on after it, or 0.
func (c *cpu) between(k *op) uint32 {
	if k.code != opGENERIC {
		return 0
	}
	x := &c.native
	page := c.nativePage()
	resume, next := k.link, page+uint64(int64(k.disp))
	c.rip = page + uint64(k.pc)
	c.now = x.limit - x.left + uint64(k.n-1)
	c.execute(&c.p.cache.insts[k.imm])
	if c.attn || c.rip != next || resume == 0 {
		x.why = leftRun
		return 0
	}
	return resume
}

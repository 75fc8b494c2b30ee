package soft

// op is one pre-decoded operation of the fast path: an instruction, a part of
// one, or a compare fused with the branch after it. It holds no pointer.
type op struct {
	code  opcode
	n     uint8 // instructions of the block up to and with this one
	dst   uint8 // slots
	src   uint8
	base  uint8
	index uint8
	scale uint8
	disp  int32  // of headers: executions before the block is compiled
	pc    uint16 // offset in the page of the instruction's first byte
	sel   uint8  // which of cpu.gens guards link; of stores: their observe.Kind; of headers: not 0 with an observer
	more  uint8  // instructions that it stands for beyond the first
	imm   int64  // of branches: the target's distance from the page in the upper half
	link  uint32 // of branches: header of the target's block; of headers: number of the block; of others: see translator.resumes
	gen   uint32 // link is good while cpu.gens[sel] has this value; of headers: where its code is, or 0
}

// opcode selects a case of the fast path.
type opcode uint16

// noPC is never the offset of an instruction.
const noPC = ^uint16(0)

// noGen is never the value of a generation.
const noGen = ^uint32(0)

// What guards a link: nothing within a page, else the mappings of the lower
// or the upper half of the address space.
const (
	genSame = iota
	genLower
	genUpper
)

const (
	maxOps    = 1 << 19
	maxInsts  = 1 << 17
	maxBlocks = 1 << 17
	hashSize  = 1 << hashBits
	hashBits  = 17

	// maxBlock bounds the instructions of a block.
	maxBlock = 64
)

// block is a run of instructions in one page, entered at its start only, or one
// instruction that reaches into the next page.
type block struct {
	pa     uint64 // of its first byte; noTag when dropped
	page   uint64 // virtual
	second uint64 // the physical page that it reaches into, and 1; or 0
	header uint32 // index of its header op, after which its first op is
	next   uint32 // in its hash chain
	inPage uint32 // next block of the same physical page
	behind uint32 // next block of the second physical page
	mode   uint8
}

// anyPage is no block's second.
const anyPage = ^uint64(0)

// blockCache holds the blocks of all code. Index 0 of its arrays is unused.
type blockCache struct {
	ops      []op
	insts    []inst // of generic ops
	blocks   []block
	hash     []uint32
	epoch    uint64 // changes when blocks are dropped
	heat     int32  // executions before a block is compiled
	native   *compiler
	noNative error // why there is none

	// redone has, per op, the instruction in insts that the executor did in
	// its place; 0 is none. It is made when memory is observed.
	redone []uint32
}

// jumpEntry maps a virtual address to a block's header.
type jumpEntry struct {
	rip  uint64
	gen  uint32
	link uint32
}

const jcSize = 4096

func jumpHash(rip uint64) uint64 { return (rip ^ rip>>11) & (jcSize - 1) }

func (b *blockCache) init() {
	b.ops = reserve[op](maxOps)[:1]
	b.insts = reserve[inst](maxInsts)[:1]
	b.blocks = reserve[block](maxBlocks)[:1]
	b.hash = reserve[uint32](hashSize)
	b.heat = cold
}

// close gives all memory back.
func (b *blockCache) close() error {
	release(b.ops)
	release(b.insts)
	release(b.blocks)
	release(b.hash)
	release(b.redone)
	n := b.native
	*b = blockCache{}
	if n == nil {
		return nil
	}
	return n.close()
}

// compile makes hot blocks be compiled, where the host lets them.
func (b *blockCache) compile() {
	if b.native, b.noNative = newCompiler(b); b.noNative == nil {
		b.heat = hot
	}
}

// reset drops all blocks.
func (b *blockCache) reset(m *memory) {
	if b.redone != nil {
		clear(b.redone[:len(b.ops)])
	}
	if b.native != nil {
		b.native.forget()
	}
	if len(b.blocks) > 1 {
		clear(b.hash)
	}
	b.ops = b.ops[:1]
	b.insts = b.insts[:1]
	b.blocks = b.blocks[:1]
	for _, r := range m.regions {
		for _, p := range r.marks {
			if p != nil {
				for i := range p {
					p[i].block = 0
				}
			}
		}
	}
	b.epoch++
}

func (b *blockCache) full() bool {
	return len(b.ops)+4*maxBlock+8 > maxOps || len(b.insts)+maxBlock > maxInsts || len(b.blocks)+1 > maxBlocks
}

func blockHash(pa, page uint64) uint64 {
	h := (pa ^ page>>3) * 0x9e3779b97f4a7c15
	return h >> (64 - hashBits)
}

// find returns the block of those bytes, or nil, and takes blocks that were
// dropped out of the hash chain. If second is anyPage, what the block reaches
// into does not matter.
func (b *blockCache) find(pa, page, second uint64, mode uint8) *block {
	for link := &b.hash[blockHash(pa, page)]; *link != 0; {
		k := &b.blocks[*link]
		switch {
		case k.pa == noTag:
			*link = k.next
			continue
		case k.pa == pa && k.page == page && k.mode == mode && (second == anyPage || k.second == second):
			return k
		}
		link = &k.next
	}
	return nil
}

// dropPage drops the blocks made of the page at off in r, whose bytes change,
// and all links that may lead to them.
func (c *cpu) dropPage(r *region, off uint64) {
	b := &c.p.cache
	for i := r.mark(off).block; i != 0; {
		k := &b.blocks[i]
		i = k.inPage
		if k.second == r.base+off&^pageMask|1 {
			i = k.behind
		}
		k.pa = noTag
		b.ops[k.header+1].code = opDEAD
		if b.native != nil {
			b.native.drop(k.header)
		}
	}
	r.setMark(off).block = 0
	for _, c := range c.p.cpus {
		c.newGen(genLower)
		c.newGen(genUpper)
	}
	b.epoch++
	c.attn = true
}

// Wrote says that the machine, not a processor, wrote memory.
func (p *processors) Wrote(base, size uint64) {
	for pa := base &^ pageMask; pa < base+size; pa += pageSize {
		r := p.mem.find(pa)
		if r == nil {
			continue
		}
		m := r.mark(pa - r.base)
		if m.block != 0 {
			p.cpu.dropPage(r, pa-r.base)
		}
		if m.table != 0 {
			p.forgetTable(m.table)
		}
	}
}

// forgetJumps makes every link and jump cache entry between pages invalid.
func (c *cpu) forgetJumps() {
	c.newGen(genLower)
	c.newGen(genUpper)
	c.upperLocal = false
	c.fetched = [2][64]uint64{}
}

// forgetLocalJumps forgets those of mappings that are not global.
func (c *cpu) forgetLocalJumps() {
	if c.upperLocal {
		c.forgetJumps()
		return
	}
	c.newGen(genLower)
	c.fetched[0] = [64]uint64{}
}

// forgetPage forgets those that lead to the page of va.
func (c *cpu) forgetPage(va uint64) {
	half := va >> 63
	if i := fetchedBit(va); c.fetched[half][i>>6]>>(i&63)&1 == 0 {
		return
	}
	c.fetched[half] = [64]uint64{}
	c.newGen(genLower + int(half))
}

// newGen makes all links and jump cache entries of one half of the processor's
// address space invalid. No two processors ever have the same generation: a
// link that one has made is not for another.
func (c *cpu) newGen(i int) {
	c.p.lastGen++
	if c.p.lastGen == noGen { // after four thousand million address spaces
		c.p.restartGens()
	}
	c.gens[i] = c.p.lastGen
	c.forgetLandings(i)
}

func (p *processors) restartGens() {
	p.cache.reset(&p.mem)
	p.forgetLandings()
	p.lastGen = 1
	for _, c := range p.cpus {
		c.jcs = [2][jcSize]jumpEntry{}
		c.gens[genLower], c.gens[genUpper] = p.lastGen, p.lastGen+1
		p.lastGen += 2
		c.attn = true
	}
}

// fetchedBit hashes a page into cpu.fetched.
func fetchedBit(va uint64) uint64 { return va >> pageShift * 0x9e3779b97f4a7c15 >> 52 }

// lookup finds or makes the block at rip and enters it into the jump cache.
// It returns 0 if the fetch raised an exception.
func (c *cpu) lookup(rip uint64) uint32 {
	if !canonical(rip) {
		c.gp(0)
		return 0
	}
	pa, ok := c.translate(rip, c.privilege(), accessFetch)
	if !ok {
		return 0
	}
	c.observeFetches(pa)
	b := &c.p.cache
	page := rip &^ pageMask
	k := b.find(pa, page, anyPage, c.mode)
	if k == nil || k.second != 0 {
		second, ok := c.secondPage(rip, pa)
		if !ok {
			return 0
		}
		if k != nil && k.second != second {
			k = b.find(pa, page, second, c.mode)
		}
		if k == nil {
			k = c.newBlock(rip, pa, second)
		}
	}
	c.fetchedFrom(rip)
	if k.second != 0 {
		c.fetchedFrom(rip + pageSize)
	}
	c.jc[jumpHash(rip)] = jumpEntry{rip: rip, gen: c.gens[genLower+rip>>63], link: k.header}
	return k.header
}

// fetchedFrom notes that links lead to the page of va.
func (c *cpu) fetchedFrom(va uint64) {
	upper := va >> 63
	if m := &c.tlbs[c.privilege()].meta[va>>pageShift&(tlbSize-1)]; m.pa&tlbGlobal == 0 && upper != 0 {
		c.upperLocal = true
	}
	i := fetchedBit(va)
	c.fetched[upper][i>>6] |= 1 << (i & 63)
}

// secondPage is block.second for the instruction at rip, whose first byte is at
// pa. It is false if fetching the rest raised an exception.
func (c *cpu) secondPage(rip, pa uint64) (uint64, bool) {
	r := c.p.mem.find(pa)
	if rip&pageMask <= pageSize-maxInst || r == nil {
		return 0, true
	}
	var in inst
	if decode(r.mem[pa-r.base:][:pageSize-rip&pageMask], &in, true) != decodeShort {
		return 0, true
	}
	next := rip&^pageMask + pageSize
	if !canonical(next) {
		return 0, true // as the executor will find
	}
	pb, ok := c.translate(next, c.privilege(), accessFetch)
	if !ok {
		return 0, false
	}
	c.observeFetches(pb)
	if c.p.mem.find(pb) == nil || pb == pa&^pageMask {
		return 0, true
	}
	return pb | 1, true
}

// newBlock makes the block at rip, whose first byte is at pa.
func (c *cpu) newBlock(rip, pa, second uint64) *block {
	b := &c.p.cache
	if b.full() {
		b.reset(&c.p.mem)
		for _, c := range c.p.cpus {
			c.forgetJumps()
		}
	}
	t := lowering{page: rip &^ pageMask, sse: c.mode&modeSSE != 0, user: c.mode&modeUser != 0, watch: c.observing, several: len(c.p.cpus) > 1, cache: b}
	if len(b.ops)%2 != 0 {
		b.ops = append(b.ops, op{}) // header and first op in one cache line
	}
	id := uint32(len(b.blocks))
	k := block{pa: pa, page: t.page, second: second, header: uint32(len(b.ops)), mode: c.mode}
	b.ops = append(b.ops, op{pc: uint16(rip & pageMask), imm: int64(t.page), link: id, disp: b.heat, sel: b2u(c.observing)})
	switch code := c.p.mem.page(pa); {
	case code == nil:
		// Code outside memory: always by the executor.
		t.pc = uint16(rip & pageMask)
		t.slow()
	case second == 0:
		t.block(code, uint16(rip&pageMask))
		k.inPage = c.listBlock(pa, id)
	default:
		t.single = true
		t.block(append(code[:pageSize:pageSize], c.p.mem.page(second)[:maxInst]...), uint16(rip&pageMask))
		k.inPage, k.behind = c.listBlock(pa, id), c.listBlock(second, id)
	}
	b.ops = append(b.ops, op{pc: noPC}) // what follows is not the block's
	b.ops[k.header].n = t.n
	h := blockHash(pa, t.page)
	k.next = b.hash[h]
	b.hash[h] = id
	b.blocks = append(b.blocks, k)
	return &b.blocks[id]
}

// listBlock makes block id the first of those of the page of pa, and returns
// the one that was.
func (c *cpu) listBlock(pa uint64, id uint32) uint32 {
	r := c.p.mem.find(pa)
	off := pa - r.base
	m := r.setMark(off)
	if *m == (mark{}) {
		c.p.protectPage(pa)
	}
	first := m.block
	m.block = id
	return first
}

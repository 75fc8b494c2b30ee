package soft

import "crypto/sha256"

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
// instruction that reaches into the next page. What it is made of, and so what
// it is found by, is the bytes of its pages, not where they are.
type block struct {
	page   uint64  // virtual
	code   content // of the page of its first byte
	second content // of the page that it reaches into, or 0
	header uint32  // index of its header op, after which its first op is
	next   uint32  // in its hash chain
	pc     uint16  // offset in the page of its first byte
	mode   uint8
}

// A content is the number of what a page of code holds: equal for equal bytes.
// 0 is what is not memory.
type content uint32

// anyContent is no block's second.
const anyContent = ^content(0)

// blockCache holds the blocks of all code. Index 0 of its arrays is unused.
type blockCache struct {
	ops      []op
	insts    []inst // of generic ops
	blocks   []block
	hash     []uint32
	contents map[[sha256.Size]byte]content
	heat     int32 // executions before a block is compiled
	native   *compiler
	noNative error // why there is none
	compiles bool
	user     *processors // the latest; nil if that is closed
	lastGen  uint32      // see cpu.gens

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
	b.contents = map[[sha256.Size]byte]content{}
	b.heat = cold
	if b.compiles {
		b.compile()
	}
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
func (b *blockCache) reset() {
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
	clear(b.contents)
}

func (b *blockCache) full() bool {
	return len(b.ops)+4*maxBlock+8 > maxOps || len(b.insts)+maxBlock > maxInsts || len(b.blocks)+1 > maxBlocks || len(b.contents)+2 > maxBlocks
}

// contentOf is the number of a page's bytes.
func (b *blockCache) contentOf(page []byte) content {
	sum := sha256.Sum256(page)
	n, ok := b.contents[sum]
	if !ok {
		n = content(len(b.contents) + 1)
		b.contents[sum] = n
	}
	return n
}

func blockHash(code content, rip uint64) uint64 {
	h := (uint64(code)<<40 ^ rip) * 0x9e3779b97f4a7c15
	return h >> (64 - hashBits)
}

// find returns the block of the bytes at rip in a page of that content, or nil.
// If second is anyContent, what the block reaches into does not matter.
func (b *blockCache) find(code content, rip uint64, second content, mode uint8) *block {
	for i := b.hash[blockHash(code, rip)]; i != 0; {
		k := &b.blocks[i]
		if k.code == code && k.page|uint64(k.pc) == rip && k.mode == mode && (second == anyContent || k.second == second) {
			return k
		}
		i = k.next
	}
	return nil
}

// contentAt is what the page of pa holds, 0 if not all of it can be read. From
// now on a store to the page is told to dropPage.
func (c *cpu) contentAt(pa uint64) content {
	r := c.p.mem.find(pa)
	if r == nil || c.p.poison != nil && c.p.poison.Page(pa) != 0 {
		return 0
	}
	off := pa&^pageMask - r.base
	m := r.setMark(off)
	if m.code == 0 {
		if *m == (mark{}) {
			c.p.protectPage(pa)
		}
		c.buf[0] = r.mem[pa-r.base] // if the host has lost the page, it is this byte that was to be had
		m.code = c.p.cache.contentOf(r.mem[off:][:pageSize])
	}
	return m.code
}

// dropPage forgets what the page at off in r holds, since its bytes change, and
// all links that may lead to blocks of it. The blocks stay: the page may hold
// that again, as when it is restored.
func (c *cpu) dropPage(r *region, off uint64) {
	r.setMark(off).code = 0
	for _, c := range c.p.cpus {
		c.newGen(genLower)
		c.newGen(genUpper)
	}
	c.p.epoch++
	c.attn = true
}

// forgetCode forgets what the pages of memory hold, and all links.
func (p *processors) forgetCode() {
	for _, r := range p.mem.regions {
		for _, m := range r.marks {
			if m != nil {
				for i := range m {
					m[i].code = 0
				}
			}
		}
	}
	for _, c := range p.cpus {
		c.forgetJumps()
	}
	p.epoch++
}

// dropCode drops all blocks.
func (p *processors) dropCode() {
	p.cache.reset()
	p.forgetCode()
}

// Wrote says that the machine, not a processor, wrote memory.
func (p *processors) Wrote(base, size uint64) {
	for pa := base &^ pageMask; pa < base+size; pa += pageSize {
		r := p.mem.find(pa)
		if r == nil {
			continue
		}
		m := r.mark(pa - r.base)
		if m.code != 0 {
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
}

// forgetLocalJumps forgets those of mappings that are not global.
func (c *cpu) forgetLocalJumps() {
	if c.fetched[1].local {
		c.forgetJumps()
		return
	}
	c.newGen(genLower)
}

// forgetPage forgets those that lead to the page of va.
func (c *cpu) forgetPage(va uint64) {
	if half := va >> 63; c.fetched[half].pages.has(va >> pageShift) {
		c.newGen(genLower + int(half))
	}
}

// forgetLarge forgets those that lead to 2 MiB at va.
func (c *cpu) forgetLarge(va uint64) {
	if half := va >> 63; c.fetched[half].large.has(va >> 21) {
		c.newGen(genLower + int(half))
	}
}

// newGen makes all links and jump cache entries of one half of the processor's
// address space invalid. No two processors ever have the same generation: a
// link that one has made is not for another. Between Runs the cache may be
// another machine's: the next Run begins with a new one.
func (c *cpu) newGen(i int) {
	c.fetched[i-genLower] = fetched{}
	if !c.p.running {
		c.gens[i] = noGen
		c.forgetLandings(i)
		return
	}
	b := c.p.cache
	b.lastGen++
	if b.lastGen == noGen { // after four thousand million address spaces
		c.p.restartGens()
		return
	}
	c.gens[i] = b.lastGen
	c.forgetLandings(i)
}

// restartGens begins to count anew, when there is no link any more.
func (p *processors) restartGens() {
	b := p.cache
	b.lastGen = 0
	for _, c := range p.cpus {
		c.jcs = [2][jcSize]jumpEntry{}
		c.attn = true
	}
	p.dropCode()
}

// fetched says what the links and jump cache entries of one half of the address
// space lead to.
type fetched struct {
	pages hashedSet // by number
	large hashedSet // 2 MiB each, by number
	local bool      // pages that are not global
}

// hashedSet is a set of numbers that may seem to have others as well.
type hashedSet [64]uint64

func (s *hashedSet) add(n uint64) {
	i := n * 0x9e3779b97f4a7c15 >> 52
	s[i>>6] |= 1 << (i & 63)
}

func (s *hashedSet) has(n uint64) bool {
	i := n * 0x9e3779b97f4a7c15 >> 52
	return s[i>>6]>>(i&63)&1 != 0
}

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
	b := c.p.cache
	if b.full() {
		c.p.dropCode()
	}
	code := c.contentAt(pa)
	k := b.find(code, rip, anyContent, c.mode)
	if k == nil || k.second != 0 {
		next, ok := c.secondPage(rip, pa)
		if !ok {
			return 0
		}
		var second content
		if next != noTag {
			second = c.contentAt(next)
		}
		if k != nil && k.second != second {
			k = b.find(code, rip, second, c.mode)
		}
		if k == nil {
			k = c.newBlock(rip, pa, next, code, second)
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
	f := &c.fetched[upper]
	if m := &c.tlbs[c.privilege()].meta[va>>pageShift&(tlbSize-1)]; m.pa&tlbGlobal == 0 {
		f.local = true
	}
	f.pages.add(va >> pageShift)
	f.large.add(va >> 21)
}

// secondPage is where the page is into which the instruction at rip reaches,
// whose first byte is at pa, or noTag. It is false if fetching the rest raised an
// exception.
func (c *cpu) secondPage(rip, pa uint64) (uint64, bool) {
	r := c.p.mem.find(pa)
	if rip&pageMask <= pageSize-maxInst || r == nil {
		return noTag, true
	}
	var in inst
	if decode(r.mem[pa-r.base:][:pageSize-rip&pageMask], &in, true) != decodeShort {
		return noTag, true
	}
	next := rip&^pageMask + pageSize
	if !canonical(next) {
		return noTag, true // as the executor will find
	}
	pb, ok := c.translate(next, c.privilege(), accessFetch)
	if !ok {
		return 0, false
	}
	c.observeFetches(pb)
	if c.p.mem.find(pb) == nil || pb == pa&^pageMask {
		return noTag, true
	}
	return pb, true
}

// newBlock makes the block at rip, whose first byte is at pa, in a page of one
// content. It may reach into the page at next, of the other.
func (c *cpu) newBlock(rip, pa, next uint64, code, second content) *block {
	b := c.p.cache
	t := lowering{page: rip &^ pageMask, sse: c.mode&modeSSE != 0, user: c.mode&modeUser != 0, watch: c.mode&modeWatched != 0, several: c.mode&modeSeveral != 0, cache: b}
	if len(b.ops)%2 != 0 {
		b.ops = append(b.ops, op{}) // header and first op in one cache line
	}
	id := uint32(len(b.blocks))
	k := block{page: t.page, code: code, second: second, header: uint32(len(b.ops)), pc: uint16(rip & pageMask), mode: c.mode}
	b.ops = append(b.ops, op{pc: k.pc, imm: int64(t.page), link: id, disp: b.heat, sel: b2u(t.watch)})
	switch bytes := c.p.mem.page(pa); {
	case code == 0:
		// Code outside memory, or with poison: always by the executor.
		t.pc = k.pc
		t.slow()
	case second == 0:
		t.block(bytes, k.pc)
	default:
		t.single = true
		t.block(append(bytes[:pageSize:pageSize], c.p.mem.page(next)[:maxInst]...), k.pc)
	}
	b.ops = append(b.ops, op{pc: noPC}) // what follows is not the block's
	b.ops[k.header].n = t.n
	h := blockHash(code, rip)
	k.next = b.hash[h]
	b.hash[h] = id
	b.blocks = append(b.blocks, k)
	return &b.blocks[id]
}

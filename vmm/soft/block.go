package soft

import (
	"hash/maphash"

	"nvlab/vmm/soft/abi"
	"nvlab/vmm/soft/internal/reserve"
	"nvlab/vmm/soft/ir"
	"nvlab/vmm/soft/jit"
	"nvlab/vmm/soft/x86"
)

const (
	maxBlocks = 1 << 18
	hashSize  = 1 << hashBits
	hashBits  = 18
)

// block is a run of instructions in one page, entered at its start only, or one
// instruction that reaches into the next page. What it is made of, and so what
// it is found by, is the bytes of its pages, not where they are.
type block struct {
	page   uint64  // virtual, 0 in ir.ModeRelative
	code   content // of the page of its first byte
	second content // of the page that it reaches into, or 0
	header uint32  // index of its header op, after which its first op is
	next   uint32  // in its hash chain
	gen    uint32  // of its mapping, see blockCache.mapped; 0 in the upper half
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
	ir.Arena
	blocks   []block
	hash     []uint32
	contents map[contentSum]content
	mappings map[mapping]uint32 // their generations
	heat     int32              // executions before a block is compiled
	native   *jit.Compiler
	noNative error // why there is none
	compiles bool
	user     *processors // the latest; nil if that is closed
	lastGen  uint32      // see cpu.gens
	era      uint64      // how often lastGen began anew
	unlinked uint32      // op whose branch left compiled code last, to a block that it has no link to; or 0

	// redone has, per op, the instruction in insts that the executor did in
	// its place; 0 is none. It is made when memory is observed.
	redone []uint32
}

func (b *blockCache) init() {
	b.Ops = reserve.Slice[ir.Op](ir.MaxOps)[:1]
	b.Insts = reserve.Slice[x86.Inst](ir.MaxInsts)[:1]
	b.blocks = reserve.Slice[block](maxBlocks)[:1]
	b.hash = reserve.Slice[uint32](hashSize)
	b.contents = map[contentSum]content{}
	b.mappings = map[mapping]uint32{}
	b.heat = ir.Cold
	if b.compiles {
		b.compile()
	}
}

// close gives all memory back.
func (b *blockCache) close() error {
	reserve.Free(b.Ops)
	reserve.Free(b.Insts)
	reserve.Free(b.blocks)
	reserve.Free(b.hash)
	reserve.Free(b.redone)
	n := b.native
	*b = blockCache{}
	if n == nil {
		return nil
	}
	return n.Close()
}

// compile makes hot blocks be compiled, where the host lets them.
func (b *blockCache) compile() {
	if b.native, b.noNative = jit.New(&b.Arena, codeLayout); b.noNative == nil {
		b.heat = ir.Hot
	}
}

// reset drops all blocks.
func (b *blockCache) reset() {
	if b.redone != nil {
		clear(b.redone[:len(b.Ops)])
	}
	if b.native != nil {
		b.native.Forget()
	}
	b.unlinked = 0
	if len(b.blocks) < hashSize/32 { // fewer cache lines than the table has
		for i := range b.blocks[1:] {
			k := &b.blocks[1+i]
			b.hash[blockHash(k.code, k.page|uint64(k.pc))] = 0
		}
	} else {
		clear(b.hash)
	}
	b.Ops = b.Ops[:1]
	b.Insts = b.Insts[:1]
	b.blocks = b.blocks[:1]
	clear(b.contents)
	clear(b.mappings)
}

func (b *blockCache) full() bool {
	return len(b.Ops)+4*ir.MaxBlock+8 > ir.MaxOps || len(b.Insts)+ir.MaxBlock > ir.MaxInsts || len(b.blocks)+1 > maxBlocks || len(b.contents)+2 > maxBlocks || len(b.mappings) > maxBlocks
}

// A contentSum stands for a page's bytes: 128 bits, under keys that this process
// drew and no guest knows. SHA-256 takes ten times as long, a twentieth of a boot.
type contentSum [2]uint64

var contentKeys = [2]maphash.Seed{maphash.MakeSeed(), maphash.MakeSeed()}

func sumOf(page []byte) contentSum {
	return contentSum{maphash.Bytes(contentKeys[0], page), maphash.Bytes(contentKeys[1], page)}
}

// contentOf is the number of a page's bytes.
func (b *blockCache) contentOf(page []byte) content {
	sum := sumOf(page)
	n, ok := b.contents[sum]
	if !ok {
		n = content(len(b.contents) + 1)
		b.contents[sum] = n
	}
	return n
}

func blockHash(code content, at uint64) uint64 {
	h := (uint64(code)<<40 ^ at) * 0x9e3779b97f4a7c15
	return h >> (64 - hashBits)
}

// find returns the block of the bytes at rip in a page of that content, or nil.
// If second is anyContent, what the block reaches into does not matter.
func (b *blockCache) find(code content, rip uint64, second content, mode uint8) *block {
	at := foundBy(rip, mode)
	for i := b.hash[blockHash(code, at)]; i != 0; {
		k := &b.blocks[i]
		if k.code == code && k.page|uint64(k.pc) == at && k.mode == mode && (second == anyContent || k.second == second) {
			return k
		}
		i = k.next
	}
	return nil
}

// foundBy is the address that a block at rip is found by.
func foundBy(rip uint64, mode uint8) uint64 {
	if mode&ir.ModeRelative != 0 {
		return rip & x86.PageMask
	}
	return rip
}

// contentAt is what the page of pa holds, 0 if not all of it can be read. From
// now on a store to the page is told to dropPage.
func (c *cpu) contentAt(pa uint64) content {
	r := c.p.mem.find(pa)
	if r == nil || c.p.unreadable(pa) != 0 {
		return 0
	}
	off := pa&^x86.PageMask - r.base
	m := r.setMark(off)
	if m.code == 0 {
		if *m == (mark{}) {
			c.p.protectPage(pa)
		}
		c.buf[0] = r.mem[pa-r.base] // if the host has lost the page, it is this byte that was to be had
		m.code = c.p.cache.contentOf(r.mem[off:][:x86.PageSize])
	}
	return m.code
}

// dropPage forgets what the page at off in r holds, since its bytes change, and
// all links that may lead to blocks of it. The blocks stay: the page may hold
// that again, as when it is restored.
func (c *cpu) dropPage(r *region, off uint64) {
	r.setMark(off).code = 0
	for _, c := range c.p.cpus {
		c.newGen(ir.GenLower)
		c.newGen(ir.GenUpper)
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
	for pa := base &^ x86.PageMask; pa < base+size; pa += x86.PageSize {
		r := p.mem.find(pa)
		if r == nil {
			continue
		}
		p.overwritten(r, max(pa, base), min(base+size, pa+x86.PageSize)-max(pa, base))
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
	c.newGen(ir.GenLower)
	c.newGen(ir.GenUpper)
}

// forgetLocalJumps forgets those of mappings that are not global.
func (c *cpu) forgetLocalJumps() {
	if c.fetched[1].local {
		c.forgetJumps()
		return
	}
	c.newGen(ir.GenLower)
}

// forgetPage forgets those that lead to the page of va.
func (c *cpu) forgetPage(va uint64) {
	if half := va >> 63; c.fetched[half].pages.has(va >> x86.PageShift) {
		c.newGen(ir.GenLower + int(half))
	}
}

// forgetLarge forgets those that lead to 2 MiB at va.
func (c *cpu) forgetLarge(va uint64) {
	if half := va >> 63; c.fetched[half].large.has(va >> 21) {
		c.newGen(ir.GenLower + int(half))
	}
}

// newGen makes all links and jump cache entries of one half of the processor's
// address space invalid. No two processors ever have the same generation: a
// link that one has made is not for another. Between Runs the cache may be
// another machine's: the next Run begins with a new one.
func (c *cpu) newGen(i int) {
	c.fetched[i-ir.GenLower] = fetched{}
	c.forgetLandings(i)
	if i == ir.GenLower {
		clear(c.gens[ir.GenPages:]) // 0 is no generation, and no link has it
	}
	c.gens[i] = ir.NoGen
	switch {
	case !c.p.running:
	case c.p.cache.lastGen >= lastGen:
		c.p.restartGens()
	default:
		c.gens[i] = c.p.cache.nextGen()
	}
}

// A mapping is a page of the lower half of an address space, with what it holds.
type mapping struct {
	page uint64 // 0 for what it holds alone: see ir.ModeRelative
	code content
	mode uint8
}

// mapped is the generation of a mapping. It is the same for all processors.
func (b *blockCache) mapped(m mapping) uint32 {
	gen, ok := b.mappings[m]
	if !ok {
		gen = b.nextGen()
		b.mappings[m] = gen
	}
	return gen
}

// lastGen is how far generations are counted: some four thousand million. A lookup
// takes one, and there may be another before the next.
const lastGen = ir.NoGen - 8

// nextGen is a generation that there was not yet.
func (b *blockCache) nextGen() uint32 {
	b.lastGen++
	return b.lastGen
}

// restartGens begins to count anew, when there is no link any more.
func (p *processors) restartGens() {
	b := p.cache
	b.lastGen = 0
	b.era++
	for _, c := range p.cpus {
		c.jcs = [2][abi.JumpCacheSize]abi.JumpEntry{}
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
	if !x86.Canonical(rip) {
		c.gp(0)
		return 0
	}
	pa, ok := c.translate(rip, c.privilege(), accessFetch)
	if !ok {
		return 0
	}
	c.observeFetches(pa)
	b := c.p.cache
	switch {
	case b.full():
		c.p.dropCode()
	case b.lastGen >= lastGen:
		c.p.restartGens()
	}
	mode := c.mode
	if ir.Anywhere(mode, rip) {
		mode |= ir.ModeRelative
	}
	code := c.contentAt(pa)
	if c.p.debugger != nil && c.p.debugger.pages[rip>>x86.PageShift] {
		code = 0 // for the executor, which looks for breakpoints
	}
	k := b.find(code, rip, anyContent, mode)
	if k == nil || k.second != 0 {
		next, ok := c.secondPage(rip, pa)
		if !ok {
			return 0
		}
		var second content
		if next != abi.NoTag {
			second = c.contentAt(next)
		}
		if k != nil && k.second != second {
			k = b.find(code, rip, second, mode)
		}
		if k == nil {
			k = c.newBlock(rip, pa, next, code, second, mode)
		}
	}
	c.fetchedFrom(rip)
	if k.second != 0 {
		c.fetchedFrom(rip + x86.PageSize)
	}
	guard := ir.GuardOf(rip)
	if guard >= ir.GenPages {
		if k.gen == 0 {
			k.gen = b.mapped(mapping{page: k.page, code: code, mode: mode})
		}
		c.gens[guard], c.pages[guard-ir.GenPages] = k.gen, rip&^x86.PageMask
	}
	j := abi.JumpEntry{RIP: rip, Gen: c.gens[guard], Link: k.header | uint32(guard)<<abi.GuardShift}
	if guard >= ir.GenPages && mode&ir.ModeUser != 0 {
		j.RIP = abi.PageKey(k.gen, rip)
	}
	c.jc[abi.JumpHash(j.RIP)] = j
	c.r[ir.SlotPage] = rip &^ x86.PageMask
	return k.header
}

// known is the header of the block at rip, which is the one to be run, if the
// jump cache has it; else 0.
func (c *cpu) known(rip uint64) uint32 {
	page := rip &^ x86.PageMask
	if place := ir.PlaceOf(rip); c.mode&ir.ModeUser != 0 && c.pages[place-ir.GenPages] == page {
		key := abi.PageKey(c.gens[place], rip)
		if j := &c.jc[abi.JumpHash(key)]; j.RIP == key {
			c.r[ir.SlotPage] = page
			return j.Header()
		}
	}
	j := &c.jc[abi.JumpHash(rip)]
	if j.RIP != rip || j.Gen != c.gens[j.Guard()] {
		return 0
	}
	c.r[ir.SlotPage] = page
	return j.Header()
}

// pageOf is the page of the block with a header, which is the one at hand.
func (c *cpu) pageOf(h *ir.Header) uint64 {
	if h.Mode&ir.ModeRelative != 0 {
		return c.r[ir.SlotPage]
	}
	return h.Page
}

// fetchedFrom notes that links lead to the page of va.
func (c *cpu) fetchedFrom(va uint64) {
	upper := va >> 63
	f := &c.fetched[upper]
	if m := &c.tlbs[c.privilege()].meta[va>>x86.PageShift&(abi.TLBSize-1)]; m.pa&tlbGlobal == 0 {
		f.local = true
	}
	f.pages.add(va >> x86.PageShift)
	f.large.add(va >> 21)
}

// secondPage is where the page is into which the instruction at rip reaches,
// whose first byte is at pa, or abi.NoTag. It is false if fetching the rest raised an
// exception.
func (c *cpu) secondPage(rip, pa uint64) (uint64, bool) {
	r := c.p.mem.find(pa)
	if rip&x86.PageMask <= x86.PageSize-x86.MaxLength || r == nil {
		return abi.NoTag, true
	}
	var in x86.Inst
	if x86.Decode(r.mem[pa-r.base:][:x86.PageSize-rip&x86.PageMask], &in, true) != x86.Short {
		return abi.NoTag, true
	}
	next := rip&^x86.PageMask + x86.PageSize
	if !x86.Canonical(next) {
		return abi.NoTag, true // as the executor will find
	}
	pb, ok := c.translate(next, c.privilege(), accessFetch)
	if !ok {
		return 0, false
	}
	c.observeFetches(pb)
	if c.p.mem.find(pb) == nil || pb == pa&^x86.PageMask {
		return abi.NoTag, true
	}
	return pb, true
}

// newBlock makes the block at rip, whose first byte is at pa, in a page of one
// content. It may reach into the page at next, of the other.
func (c *cpu) newBlock(rip, pa, next uint64, code, second content, mode uint8) *block {
	b := c.p.cache
	at := foundBy(rip, mode)
	s := ir.Source{Page: at &^ x86.PageMask, PC: uint16(at & x86.PageMask), Mode: mode}
	if len(b.Ops)%2 != 0 {
		b.Ops = append(b.Ops, ir.Op{}) // header and first op in one cache line
	}
	id := uint32(len(b.blocks))
	k := block{page: s.Page, code: code, second: second, header: uint32(len(b.Ops)), pc: s.PC, mode: s.Mode}
	b.Ops = append(b.Ops, ir.Op{})
	*b.Header(k.header) = ir.Header{Page: k.page, PC: k.pc, Heat: b.heat, Mode: k.mode}
	switch bytes := c.p.mem.page(pa); {
	case code == 0:
		// Outside memory, or with poison.
	case second == 0:
		s.Bytes = bytes
	default:
		s.Single = true
		s.Bytes = append(bytes[:x86.PageSize:x86.PageSize], c.p.mem.page(next)[:x86.MaxLength]...)
	}
	n := b.Lower(s)
	b.Ops = append(b.Ops, ir.Op{PC: ir.NoPC}) // what follows is not the block's
	b.Header(k.header).N = n
	h := blockHash(code, at)
	k.next = b.hash[h]
	b.hash[h] = id
	b.blocks = append(b.blocks, k)
	return &b.blocks[id]
}

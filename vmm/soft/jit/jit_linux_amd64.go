package jit

import (
	"encoding/binary"
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"nvlab/vmm/soft/abi"
	"nvlab/vmm/soft/internal/reserve"
	"nvlab/vmm/soft/ir"
	"nvlab/vmm/soft/jit/asm"
	"nvlab/vmm/soft/x86"
)

const (
	codeSize = 48 << 20
	rareCode = 20 << 20 // where rarely run code starts
	linkSize = 4 << 20
	linkStep = 16
	maxLinks = 4 * ir.MaxBlock // of a block: it has no more ops
)

// A Compiler makes host code of blocks and holds it. The code is mapped
// twice, writable and executable, and is never both at one address. Behind it
// are links, which are not executable: each is a generation and, 8 bytes on, the
// address of the code to which a direct branch to another page leads under it.
type Compiler struct {
	code        *ir.Arena
	cpu         abi.Layout
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
	noHuge      bool                  // the host makes none
	dirty       bool                  // code was written since it last ran
	compiled    []uint32              // headers of blocks that have code

	thunk, serialize, vectors, x87      int
	offBail, offTaken, offEnter, offFnd int
	offMissed                           int
	offJump, offCall, offLink           [2]int

	t translator

	// Count is what it did so far; whoever enters code counts that.
	Count Stats
}

// New maps memory for the code of an arena's blocks, and checks that it
// can run. It is for processors of one layout.
func New(code *ir.Arena, cpu abi.Layout) (*Compiler, error) {
	fd, err := unix.MemfdCreate("nvlab-code", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("memory for code: %w", err)
	}
	defer unix.Close(fd)
	if err := unix.Ftruncate(fd, codeSize+linkSize); err != nil {
		return nil, fmt.Errorf("memory for code: %w", err)
	}
	n := &Compiler{code: code, cpu: cpu, edges: map[uint32]edge{}, mergePoints: map[uint32]mergePoint{}, across: reserve.Slice[int32](ir.MaxOps), misses: reserve.Slice[int32](ir.MaxOps)}
	if n.write, err = mapCode(fd, codeSize+linkSize, unix.PROT_READ|unix.PROT_WRITE); err != nil {
		return nil, fmt.Errorf("memory for code: %w", err)
	}
	if n.exec, err = mapCode(fd, codeSize+linkSize, unix.PROT_READ|unix.PROT_EXEC); err == nil {
		err = unix.Mprotect(n.exec[codeSize:], unix.PROT_READ|unix.PROT_WRITE)
	}
	if err != nil {
		n.Close()
		return nil, fmt.Errorf("the host refuses memory with code: %w", err)
	}
	n.common()
	return n, nil
}

// Close gives the memory back.
func (n *Compiler) Close() error {
	reserve.Free(n.across)
	reserve.Free(n.misses)
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

// Stats are what it did so far.
func (n *Compiler) Stats() Stats {
	s := n.Count
	s.Size, s.Free, s.FreeRare = n.pos+n.rare-rareCode, rareCode-n.pos, codeSize-n.rare
	s.Huge = n.huge
	return s
}

// common writes the code that all blocks share. No block is at offset 0.
func (n *Compiler) common() {
	t := translator{n: n, cpu: &n.cpu, asm: assemble(n.write, 16)}
	a := &t.asm

	// Fetching what another mapping wrote takes a serializing instruction
	// first (SDM 3A, 8.1.3): IRETQ to the next one.
	n.serialize = a.Pos
	a.Bytes(0x48, 0x89, 0xe0) // mov rax, rsp
	a.Bytes(0x8c, 0xd1)       // mov ecx, ss
	a.Bytes(0x51, 0x50, 0x9c) // push rcx; push rax; pushfq
	a.Bytes(0x8c, 0xc9, 0x51) // mov ecx, cs; push rcx
	a.Bytes(0x48, 0x8d, 0x0d) // lea rcx, [rip+3]
	a.Imm32(3)                //
	a.Bytes(0x51, 0x48, 0xcf) // push rcx; iretq
	n.thunk = a.Pos
	const from, stack = 13, 4 // where enterCode has the processor
	a.Store(8, stack, asm.Mem(from, int32(t.cpu.Crossing+offHostSP)))
	a.Load(8, hCPU, asm.Reg(from))
	for r := uint8(0); r < ownRegister; r++ {
		s := t.slot(r)
		a.Load(8, s.Reg, t.memorySlot(r))
	}
	a.Load(8, hLeft, t.crossing(offLeft))
	a.Insn(0xff, 4, 4, asm.Reg(hA)) // jmp r14

	n.vectors = a.Pos
	t.getVectors()
	a.Insn(0xff, 4, 4, asm.Reg(hA))
	n.x87 = a.Pos
	t.getX87()
	a.Insn(0xff, 4, 4, asm.Reg(hA))

	leave := func(why int64) (at int) {
		at = a.Pos
		a.StoreImm(4, t.crossing(offExitWhy), why)
		for r := uint8(0); r < ownRegister; r++ {
			s := t.slot(r)
			a.Store(8, s.Reg, t.memorySlot(r))
		}
		a.Store(8, hLeft, t.crossing(offLeft))
		a.AluImm(x86.AluCMP, 4, t.crossing(offVectors), 0)
		integers := a.Jcc(4)
		t.putVectors()
		a.Here(integers)
		a.Load(8, stack, t.crossing(offHostSP))
		a.Byte(0xc3)
		return at
	}
	n.offBail = leave(abi.LeftOp)
	n.offTaken = leave(abi.LeftTaken)
	n.offEnter = leave(abi.LeftHeader)
	n.offFnd = leave(abi.LeftJump)
	n.offMissed = leave(abi.LeftMissed)
	for t.set = range n.offJump {
		t.commonJumps()
	}
	n.pos = (a.Pos + 63) &^ 63
	n.fixed, n.rare = n.pos, rareCode
	n.dirty = true
}

// Compile translates the block of a header, and says where its code is, or 0 if
// nothing is gained by it. There must be room.
func (n *Compiler) Compile(header uint32) uint32 {
	t := n.begin(header)
	h := n.code.Header(header)
	if !t.block() {
		return 0
	}
	n.compiled = append(n.compiled, header)
	n.Count.Blocks++
	h.Code = uint32(n.pos)
	h.Guards = 0
	n.keepMergePoint(t)
	n.end(t)
	return h.Code
}

// Full says that there may not be room for another block.
func (n *Compiler) Full() bool {
	const room = 64 << 10
	return rareCode-n.pos < room || codeSize-n.rare < room || linkSize-n.links < maxLinks*linkStep
}

// begin readies the translator for the block of a header.
func (n *Compiler) begin(header uint32) *translator {
	b := n.code
	h := b.Header(header)
	end := header + 1
	for int(end) < len(b.Ops)-1 && !ir.OpTable[b.Ops[end].Code].Ends {
		end++
	}
	t := n.ready(b.Ops[header+1:end+1], h.Mode)
	t.first, t.header, t.page = header+1, header, h.Page
	return t
}

// ready readies the translator for ops in one mode.
func (n *Compiler) ready(ops []ir.Op, mode uint8) *translator {
	t := &n.t
	*t = translator{n: n, cpu: &n.cpu, asm: assemble(n.write[:codeSize], n.pos), rare: n.rare, ops: append(t.ops[:0], ops...),
		stubs: t.stubs[:0], unlinked: t.unlinked[:0], jumpMisses: t.jumpMisses[:0], resumes: t.resumes[:0], named: t.named[:0], values: values{made: t.made[:0]}, live: t.live, sets: t.sets, leaves: t.leaves, grouping: t.grouping}
	for i := range t.ops {
		if full := ir.OpTable[t.ops[i].Code].Full; full != 0 {
			t.ops[i].Code = full
		}
	}
	if mode&ir.ModeUser != 0 {
		t.set = 1
	}
	t.watch, t.relative = mode&ir.ModeWatched != 0, mode&ir.ModeRelative != 0
	t.sse, t.masked = mode&ir.ModeSSE != 0, mode&ir.ModeMasked != 0
	t.grouping.reset(len(t.ops))
	for i := range t.ops {
		t.named = append(t.named, t.naming(&t.ops[i]))
	}
	return t
}

// end keeps what t wrote, and links branches within the page whose targets
// have code.
func (n *Compiler) end(t *translator) {
	n.rare = t.rare
	n.pos = t.asm.Pos // not aligned: hosts tell the paths to an indirect jump by low bits of addresses
	n.dirty = true
	for k, end := t.first, t.first+uint32(len(t.ops)); k < end; k++ {
		if _, ok := n.edges[k]; ok && n.code.Ops[k].Gen == 0 {
			n.Link(k, n.code.Ops[k].Link)
		}
	}
}

// Link makes op k's branch lead to a block's code.
func (n *Compiler) Link(k, header uint32) {
	at := n.code.Header(header).Code
	if at == 0 {
		return
	}
	if e, ok := n.edges[k]; ok {
		n.linkWithin(k, header, &e)
		delete(n.edges, k)
	} else if site := n.across[k]; site != 0 {
		binary.LittleEndian.PutUint32(n.write[site:], n.code.Ops[k].Gen)
		binary.LittleEndian.PutUint64(n.write[site+8:], uint64(addrOf(n.exec))+uint64(at))
	}
}

// Settle has the host keep code that is complete in huge pages, if it can: there
// are so many pages of it otherwise that the host's TLB misses most of them. It
// is for between Runs, since it takes a millisecond for each.
func (n *Compiler) Settle() {
	for ; !n.noHuge && n.huge+hugePage <= n.pos; n.huge += hugePage {
		if err := unix.Madvise(n.exec[n.huge:][:hugePage], unix.MADV_COLLAPSE); err != nil {
			n.noHuge = true // nor will it later
			return
		}
	}
}

// Forget drops all code.
func (n *Compiler) Forget() {
	n.pos, n.rare = n.fixed, rareCode
	clear(n.edges)
	clear(n.mergePoints)
	used := len(n.code.Ops)
	clear(n.across[:used])
	clear(n.misses[:used])
	n.links = 0
	n.compiled = n.compiled[:0]
	n.dirty = true
}

// Flush drops all code when there is no room for more. Blocks are hot until they
// are compiled again.
func (n *Compiler) Flush() {
	for _, header := range n.compiled {
		h := n.code.Header(header)
		h.Code, h.Heat = 0, ir.Hot
	}
	n.Forget()
	n.Count.Flushes++
}

// Base is the address of the code.
func (n *Compiler) Base() uintptr { return addrOf(n.exec) }

// way is the code that enters code.
func (n *Compiler) way() int {
	if n.dirty {
		n.dirty = false
		return n.serialize
	}
	return n.thunk
}

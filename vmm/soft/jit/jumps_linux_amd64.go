package jit

import (
	"encoding/binary"

	"nvlab/vmm/soft/abi"
	"nvlab/vmm/soft/ir"
	"nvlab/vmm/soft/jit/asm"
	"nvlab/vmm/soft/x86"
)

// landing is an entry's field, whose offset in it is off. The entry's number
// is in hB: see find.
func (t *translator) landing(off uintptr) asm.Arg {
	return asm.Arg{Mem: true, Reg: hCPU, Index: hB, Scale: 3, Disp: int32(t.landings() + off)}
}

// find looks the address in hA up, and returns the branch of what is not found.
// An address that is found is canonical.
func (t *translator) find() (miss int) {
	a := &t.asm
	t.toLanding()
	a.Alu(x86.AluCMP, 8, hA, t.landing(offLandingRIP))
	return a.Jcc(5)
}

// toLanding makes hB, of the address in hA, the number of its entry.
func (t *translator) toLanding() {
	a := &t.asm
	a.Load(4, hB, asm.Reg(hA))
	a.AluImm(x86.AluAND, 4, asm.Reg(hB), abi.LandingMask)
}

// jump takes the indirect branch of op i, to the address in hA.
func (t *translator) jump(i int) {
	t.writeBack()
	t.orJumpMiss(i, t.find())
	t.retire(i)
	t.toPage(hA)
	t.asm.Insn(0xff, 4, 4, t.landing(offLandingCode))
}

// toPage makes the page of the address in a register that of the block to be run,
// if that may be anywhere.
func (t *translator) toPage(r uint8) {
	if t.set == 1 {
		t.asm.AluImm(x86.AluAND, 8, asm.Reg(r), -x86.PageSize)
		t.asm.Store(8, r, t.memorySlot(ir.SlotPage))
	}
}

// toPlace makes a register, which holds an address, the number of its page's
// place among those that have a generation.
func (t *translator) toPlace(r uint8) {
	t.asm.ShiftImm(5, 4, r, x86.PageShift)
	t.asm.AluImm(x86.AluAND, 4, asm.Reg(r), ir.GenCount-ir.GenPages-1)
}

// placePage and placeGen are the page that has a place, and its generation.
func (t *translator) placePage(place uint8) asm.Arg {
	return asm.Arg{Mem: true, Reg: hCPU, Index: place, Scale: 3, Disp: int32(t.cpu.Pages)}
}

func (t *translator) placeGen(place uint8) asm.Arg {
	return asm.Arg{Mem: true, Reg: hCPU, Index: place, Scale: 2, Disp: int32(t.cpu.Gens + 4*ir.GenPages)}
}

// retire counts the block's instructions, and does what else op i does before it
// jumps.
func (t *translator) retire(i int) {
	a := &t.asm
	o := &t.ops[i]
	if o.Code == ir.OpRET {
		a.Lea(hSP, asm.Mem(hSP, 8+int32(o.Imm)))
	}
	a.AluImm(x86.AluSUB, 8, asm.Reg(hLeft), int64(o.N))
}

// callTo calls the address in hA, that of op i. It looks it up first: nothing
// may be stored for an address that is not canonical.
func (t *translator) callTo(i int) {
	a := &t.asm
	t.writeBack()
	t.orJumpMiss(i, t.find())
	if t.set == 1 {
		a.Store(8, hA, t.crossing(offExitRIP))
	}
	a.Load(8, hA, t.landing(offLandingCode))
	t.jumpMisses[len(t.jumpMisses)-1].back = a.Pos
	a.Store(8, hA, t.crossing(offSpill))
	t.push(i, t.ops[i].Imm)
	t.retire(i)
	if t.set == 1 {
		a.Load(8, hA, t.crossing(offExitRIP))
		t.toPage(hA)
	}
	a.Insn(0xff, 4, 4, t.crossing(offSpill))
}

// orJumpMiss says that the branch at site is taken when op i's address is not found.
func (t *translator) orJumpMiss(i, site int) {
	t.jumpMisses = append(t.jumpMisses, stub{site: site, op: i, flags: t.flags, cached: t.cached})
}

// jumpMiss is what follows then: an exit before the op for an address that is not canonical, else
// the jump cache.
func (t *translator) jumpMiss(s stub) {
	a := &t.asm
	a.Here(s.site)
	t.flags, t.cached = s.flags, s.cached
	t.canonical(s.op)
	if s.back != 0 {
		a.Store(8, hA, t.crossing(offExitRIP))
		a.Lea(hA, asm.InCode(t.n.offCall[t.set]))
		a.JmpTo(s.back)
		return
	}
	t.retire(s.op)
	a.JmpTo(t.n.offJump[t.set])
}

// canonical leaves before op i if hA is no canonical address. It needs hB.
func (t *translator) canonical(i int) {
	a := &t.asm
	a.Load(8, hB, asm.Reg(hA))
	a.ShiftImm(4, 8, hB, 16)
	a.ShiftImm(7, 8, hB, 16)
	a.Alu(x86.AluCMP, 8, hB, asm.Reg(hA))
	t.bail(i, a.Jcc(5))
}

// lookUpJump looks the address at offExitRIP, which hA has too, up in the jump
// cache. It makes hB the offset of the entry and hCached the address' page, and
// returns branches for what is not there.
func (t *translator) lookUpJump() (misses [2]int) {
	a := &t.asm
	found := 0
	if t.set == 1 {
		a.Load(8, hCached, asm.Reg(hA))
		a.AluImm(x86.AluAND, 8, asm.Reg(hCached), -x86.PageSize)
		a.Load(4, hB, asm.Reg(hA))
		t.toPlace(hB)
		a.Alu(x86.AluCMP, 8, hCached, t.placePage(hB))
		address := a.Jcc(5)
		a.Load(4, hB, t.placeGen(hB))
		a.ShiftImm(4, 8, hB, abi.KeyShift)
		a.AluImm(x86.AluAND, 4, asm.Reg(hA), 1<<abi.KeyShift-1)
		a.Alu(x86.AluOR, 8, hA, asm.Reg(hB))
		a.Insn(0x0fba, 8, 5, asm.Reg(hA)) // bts r14, imm8
		a.Byte(abi.KeyBit)
		t.toJumpEntry()
		a.Alu(x86.AluCMP, 8, hA, t.jumpEntry(offJumpRIP))
		found = a.Jcc(4)
		a.Load(8, hA, t.crossing(offExitRIP))
		a.Here(address)
	}
	t.toJumpEntry()
	a.Alu(x86.AluCMP, 8, hA, t.jumpEntry(offJumpRIP))
	misses[0] = a.Jcc(5)
	a.Insn(0x0fb6, 4, hA, t.jumpEntry(offJumpLink+abi.GuardShift/8)) // movzx
	a.Load(4, hA, asm.Arg{Mem: true, Reg: hCPU, Index: hA, Scale: 2, Disp: int32(t.cpu.Gens)})
	a.Alu(x86.AluCMP, 4, hA, t.jumpEntry(offJumpGen))
	misses[1] = a.Jcc(5)
	if found != 0 {
		a.Here(found)
	}
	return misses
}

// toJumpEntry makes hB the offset of the entry of the address, or key, in hA.
func (t *translator) toJumpEntry() {
	a := &t.asm
	a.Load(8, hB, asm.Reg(hA))
	a.ShiftImm(5, 8, hB, 11)
	a.Alu(x86.AluXOR, 8, hB, asm.Reg(hA))
	a.AluImm(x86.AluAND, 4, asm.Reg(hB), abi.JumpCacheSize-1)
	a.ShiftImm(4, 4, hB, abi.JumpShift)
}

func (t *translator) jumpEntry(off uintptr) asm.Arg {
	return asm.Arg{Mem: true, Reg: hCPU, Index: hB, Disp: int32(t.cpu.Jumps + uintptr(t.set)*t.cpu.JumpsStride + off)}
}

// codeOf makes hA the address of the code that the entry at hB leads to, and that
// block's page, which hCached has, the one at hand. It returns the branch of a block
// that has no code.
func (t *translator) codeOf() (none int) {
	a := &t.asm
	a.Load(4, hA, t.jumpEntry(offJumpLink))
	a.AluImm(x86.AluAND, 4, asm.Reg(hA), 1<<abi.GuardShift-1)
	a.ShiftImm(4, 8, hA, ir.OpShift)
	a.Alu(x86.AluADD, 8, hA, t.crossing(offOps))
	a.Load(4, hA, asm.Mem(hA, offHeaderCode))
	a.Insn(0x85, 4, hA, asm.Reg(hA))
	none = a.Jcc(4)
	a.Alu(x86.AluADD, 8, hA, t.crossing(offCode))
	t.toPage(hCached)
	return none
}

// linkOf is where op k's link is: none yet, the first time.
func (n *Compiler) linkOf(k uint32) int {
	if n.across[k] == 0 {
		at := codeSize + n.links
		n.links += linkStep
		binary.LittleEndian.PutUint32(n.write[at:], ir.NoGen)
		n.across[k] = int32(at)
	}
	return int(n.across[k])
}

// commonJumps writes the code of jumps to what has no landing yet.
func (t *translator) commonJumps() {
	n := t.n
	a := &t.asm
	n.offCall[t.set] = a.Pos
	a.Load(8, hA, t.crossing(offExitRIP))
	n.offJump[t.set] = a.Pos
	a.Store(8, hA, t.crossing(offExitRIP))
	misses := t.lookUpJump()
	none := t.codeOf()
	a.Store(8, hA, t.crossing(offSpill))
	a.Load(8, hA, t.crossing(offExitRIP))
	t.toLanding()
	a.Store(8, hA, t.landing(offLandingRIP))
	a.ShiftImm(5, 8, hA, 63)
	a.ShiftImm(4, 4, hA, abi.HalfShift)
	a.ShiftImm(5, 4, hB, abi.GroupShift)
	a.Alu(x86.AluOR, 4, hA, asm.Reg(hB))
	a.Insn(0x0fab, 4, hA, inCPU(t.landings()+offFilled)) // bts, anywhere in filled
	a.Load(8, hA, t.crossing(offExitRIP))
	t.toLanding()
	a.Load(8, hA, t.crossing(offSpill))
	a.Store(8, hA, t.landing(offLandingCode))
	a.Insn(0xff, 4, 4, asm.Reg(hA))
	a.Here(misses[0])
	a.Here(misses[1])
	a.Here(none)
	a.JmpTo(n.offFnd)

	// The same for a direct branch, the exit's op, whose link is at spill.
	n.offLink[t.set] = a.Pos
	a.Store(8, hA, t.crossing(offExitRIP))
	misses = t.lookUpJump()
	a.Load(4, hA, t.jumpEntry(offJumpGen))
	a.Store(4, hA, t.crossing(offExitRIP))
	none = t.codeOf()
	a.Load(8, hB, t.crossing(offSpill))
	a.Store(8, hA, asm.Mem(hB, 8))
	a.Load(4, hA, t.crossing(offExitRIP))
	a.Store(4, hA, asm.Mem(hB, 0))
	a.Load(4, hA, t.crossing(offExitOp))
	a.ShiftImm(4, 8, hA, ir.OpShift)
	a.Alu(x86.AluADD, 8, hA, t.crossing(offOps))
	a.Insn(0x0fb6, 4, hA, asm.Mem(hA, offOpN))
	a.Alu(x86.AluSUB, 8, hLeft, asm.Reg(hA))
	a.Insn(0xff, 4, 4, asm.Mem(hB, 8))
	a.Here(misses[0])
	a.Here(misses[1])
	a.Here(none)
	a.JmpTo(n.offTaken)
}

package soft

import "encoding/binary"

// landing is an entry's field, whose offset in it is off. The entry's number
// is in hB: see find.
func (t *translator) landing(off uintptr) arg {
	return arg{mem: true, reg: hCPU, index: hB, scale: 3, disp: int32(offLandings + uintptr(t.set)*landingsSize + off)}
}

// find looks the address in hA up, and returns the branch of what is not found.
// An address that is found is canonical.
func (t *translator) find() (miss int) {
	a := &t.asm
	t.toLanding()
	a.alu(aluCMP, 8, hA, t.landing(offLandingRIP))
	return a.jcc(5)
}

// toLanding makes hB, of the address in hA, the number of its entry.
func (t *translator) toLanding() {
	a := &t.asm
	a.load(4, hB, inReg(hA))
	a.aluImm(aluAND, 4, inReg(hB), landingMask)
}

// jump takes the indirect branch of op i, to the address in hA.
func (t *translator) jump(i int) {
	t.writeBack()
	t.orJumpMiss(i, t.find())
	t.retire(i)
	t.asm.insn(0xff, 4, 4, t.landing(offLandingCode))
}

// retire counts the block's instructions, and does what else op i does before it
// jumps.
func (t *translator) retire(i int) {
	a := &t.asm
	o := &t.ops[i]
	if o.code == opRET {
		a.lea(hSP, inMem(hSP, 8+int32(o.imm)))
	}
	a.aluImm(aluSUB, 8, inReg(hLeft), int64(o.n))
}

// callTo calls the address in hA, that of op i. It looks it up first: nothing
// may be stored for an address that is not canonical.
func (t *translator) callTo(i int) {
	a := &t.asm
	t.writeBack()
	t.orJumpMiss(i, t.find())
	a.load(8, hA, t.landing(offLandingCode))
	t.jumpMisses[len(t.jumpMisses)-1].back = a.pos
	a.store(8, hA, inCPU(offSpill))
	t.push(i, t.ops[i].imm)
	t.retire(i)
	a.insn(0xff, 4, 4, inCPU(offSpill))
}

// orJumpMiss says that the branch at site is taken when op i's address is not found.
func (t *translator) orJumpMiss(i, site int) {
	t.jumpMisses = append(t.jumpMisses, stub{site: site, op: i, flags: t.flags, cached: t.cached})
}

// jumpMiss is what follows then: an exit before the op for an address that is not canonical, else
// the jump cache.
func (t *translator) jumpMiss(s stub) {
	a := &t.asm
	a.here(s.site)
	t.flags, t.cached = s.flags, s.cached
	t.canonical(s.op)
	if s.back != 0 {
		a.store(8, hA, inCPU(offExitRIP))
		a.lea(hA, inCode(t.n.offCall[t.set]))
		a.jmpTo(s.back)
		return
	}
	t.retire(s.op)
	a.jmpTo(t.n.offJump[t.set])
}

// canonical leaves before op i if hA is no canonical address. It needs hB.
func (t *translator) canonical(i int) {
	a := &t.asm
	a.load(8, hB, inReg(hA))
	a.shiftImm(4, 8, hB, 16)
	a.shiftImm(7, 8, hB, 16)
	a.alu(aluCMP, 8, hB, inReg(hA))
	t.bail(i, a.jcc(5))
}

// lookUpJump looks rip, in hA, up in the jump cache. It makes hB the offset of
// the entry and hA its generation, and returns branches for an address that is not there.
func (t *translator) lookUpJump() (misses [2]int) {
	a := &t.asm
	a.load(8, hB, inReg(hA))
	a.shiftImm(5, 8, hB, 11)
	a.alu(aluXOR, 8, hB, inReg(hA))
	a.aluImm(aluAND, 4, inReg(hB), jcSize-1)
	a.shiftImm(4, 4, hB, jumpShift)
	a.alu(aluCMP, 8, hA, t.jumpEntry(offJumpRIP))
	misses[0] = a.jcc(5)
	a.shiftImm(5, 8, hA, 63)
	a.load(4, hA, arg{mem: true, reg: hCPU, index: hA, scale: 2, disp: int32(offGens + 4*genLower)})
	a.alu(aluCMP, 4, hA, t.jumpEntry(offJumpGen))
	misses[1] = a.jcc(5)
	return misses
}

func (t *translator) jumpEntry(off uintptr) arg {
	return arg{mem: true, reg: hCPU, index: hB, disp: int32(offJumps + uintptr(t.set)*jumpsSize + off)}
}

// codeOf makes hA, a header's number, the address of its code, and returns the
// branch of a block that has none.
func (t *translator) codeOf() (none int) {
	a := &t.asm
	a.shiftImm(4, 8, hA, opShift)
	a.alu(aluADD, 8, hA, inCPU(offOps))
	a.load(4, hA, inMem(hA, offOpGen))
	a.insn(0x85, 4, hA, inReg(hA))
	none = a.jcc(4)
	a.alu(aluADD, 8, hA, inCPU(offCode))
	return none
}

// linkOf is where op k's link is: none yet, the first time.
func (n *compiler) linkOf(k uint32) int {
	if n.across[k] == 0 {
		at := codeSize + n.links
		n.links += linkStep
		binary.LittleEndian.PutUint32(n.write[at:], noGen)
		n.across[k] = int32(at)
	}
	return int(n.across[k])
}

// commonJumps writes the code of jumps to what has no landing yet.
func (t *translator) commonJumps() {
	n := t.n
	a := &t.asm
	n.offCall[t.set] = a.pos
	a.load(8, hA, inCPU(offExitRIP))
	n.offJump[t.set] = a.pos
	a.store(8, hA, inCPU(offExitRIP))
	misses := t.lookUpJump()
	a.load(4, hA, t.jumpEntry(offJumpLink))
	none := t.codeOf()
	a.store(8, hA, inCPU(offSpill))
	a.load(8, hA, inCPU(offExitRIP))
	t.toLanding()
	a.store(8, hA, t.landing(offLandingRIP))
	a.shiftImm(5, 8, hA, 63)
	a.shiftImm(4, 4, hA, 8)
	a.shiftImm(5, 4, hB, 5)
	a.alu(aluOR, 4, hA, inReg(hB))
	a.insn(0x0fab, 4, hA, inCPU(offLandings+uintptr(t.set)*landingsSize+offFilled)) // bts, anywhere in filled
	a.load(8, hA, inCPU(offExitRIP))
	t.toLanding()
	a.load(8, hA, inCPU(offSpill))
	a.store(8, hA, t.landing(offLandingCode))
	a.insn(0xff, 4, 4, inReg(hA))
	a.here(misses[0])
	a.here(misses[1])
	a.here(none)
	a.jmpTo(n.offFnd)

	// The same for a direct branch, the exit's op, whose link is at spill.
	n.offLink[t.set] = a.pos
	misses = t.lookUpJump()
	a.store(8, hA, inCPU(offExitRIP))
	a.load(4, hA, t.jumpEntry(offJumpLink))
	none = t.codeOf()
	a.load(8, hB, inCPU(offSpill))
	a.store(8, hA, inMem(hB, 8))
	a.load(8, hA, inCPU(offExitRIP))
	a.store(4, hA, inMem(hB, 0))
	a.load(4, hA, inCPU(offExitOp))
	a.shiftImm(4, 8, hA, opShift)
	a.alu(aluADD, 8, hA, inCPU(offOps))
	a.insn(0x0fb6, 4, hA, inMem(hA, offOpN))
	a.alu(aluSUB, 8, hLeft, inReg(hA))
	a.insn(0xff, 4, 4, inMem(hB, 8))
	a.here(misses[0])
	a.here(misses[1])
	a.here(none)
	a.jmpTo(n.offTaken)
}

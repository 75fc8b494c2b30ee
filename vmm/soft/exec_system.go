package soft

import (
	"math/bits"

	"nvlab/internal/splitmix"
	"nvlab/vmm/observe"
	"nvlab/vmm/soft/x86"
)

func registerSystem() {
	register(execHLT, 0xf4)
	register(execCLI, 0xfa)
	register(execSTI, 0xfb)
	register(execPUSHF, 0x9c)
	register(execPOPF, 0x9d)
	register(execIN, 0xe4, 0xe5, 0xec, 0xed)
	register(execOUT, 0xe6, 0xe7, 0xee, 0xef)
	register(execFWAIT, 0x9b)
	register(execGroup7, 0x101)
	register(execCLTS, 0x106)
	register(execINVD, 0x108, 0x109)
	register(execMovFromCR, 0x120)
	register(execMovFromDR, 0x121)
	register(execMovToCR, 0x122)
	register(execMovToDR, 0x123)
	register(execWRMSR, 0x130)
	register(execRDTSC, 0x131)
	register(execRDMSR, 0x132)
	register(execRDPMC, 0x133)
	register(execCPUID, 0x1a2)
}

func (c *cpu) iopl() uint8 { return uint8(c.flags >> 12 & 3) }

func execHLT(c *cpu, _ *x86.Inst) bool {
	if c.cpl != 0 {
		return c.gp(0)
	}
	c.halted = true
	c.attn = true
	return true
}

func execCLI(c *cpu, _ *x86.Inst) bool {
	if c.cpl > c.iopl() {
		return c.gp(0)
	}
	c.flags &^= x86.FlagIF
	return true
}

func execSTI(c *cpu, _ *x86.Inst) bool {
	if c.cpl > c.iopl() {
		return c.gp(0)
	}
	if c.flags&x86.FlagIF == 0 {
		c.flags |= x86.FlagIF
		c.inhibit()
	}
	return true
}

func execPUSHF(c *cpu, in *x86.Inst) bool {
	return c.push(in.Size, c.rflags()&^(x86.FlagVM|x86.FlagRF))
}

func execPOPF(c *cpu, in *x86.Inst) bool {
	v, ok := c.pop(in.Size)
	if !ok {
		return false
	}
	m := uint64(x86.FlagsArith | x86.FlagTF | x86.FlagDF | x86.FlagNT | x86.FlagAC | x86.FlagID)
	if c.cpl == 0 {
		m |= x86.FlagIOPL
	}
	if c.cpl <= c.iopl() {
		m |= x86.FlagIF
	}
	if in.Size == 2 {
		m &= 0xffff
	}
	c.setRFLAGS((c.rflags()&^m | v&m) &^ x86.FlagRF)
	return true
}

// portAllowed checks IOPL and the TSS's I/O permission bitmap (SDM 1, 18.5).
func (c *cpu) portAllowed(port uint16, size uint8) bool {
	c.watchPort(port, size)
	if c.cpl <= c.iopl() {
		return true
	}
	if c.tr.limit < 103 {
		return c.gp(0)
	}
	base, ok := c.loadSys(c.tr.base+102, 2)
	if !ok {
		return false
	}
	off := base + uint64(port>>3)
	if off+1 > uint64(c.tr.limit) {
		return c.gp(0)
	}
	m, ok := c.loadSys(c.tr.base+off, 2)
	if !ok {
		return false
	}
	if m>>(port&7)&(1<<size-1) != 0 {
		return c.gp(0)
	}
	return true
}

func portOperand(c *cpu, in *x86.Inst) (port uint16, size uint8) {
	size = in.Size
	if size == 8 {
		size = 4
	}
	if in.Opcode < 0xe8 {
		return uint16(uint8(in.Imm)), size
	}
	return uint16(c.r[x86.RDX]), size
}

func execIN(c *cpu, in *x86.Inst) bool {
	port, size := portOperand(c, in)
	if !c.portAllowed(port, size) {
		return false
	}
	c.orderNow(observe.PortIO)
	v := uint64(c.p.bus.PortIn(port, int(size))) & x86.SizeMask(size)
	c.setReg(in, x86.RAX, size, v)
	return true
}

func execOUT(c *cpu, in *x86.Inst) bool {
	port, size := portOperand(c, in)
	if !c.portAllowed(port, size) {
		return false
	}
	c.orderNow(observe.PortIO)
	c.p.bus.PortOut(port, int(size), uint32(c.r[x86.RAX]&x86.SizeMask(size)))
	return true
}

// execGroup7 is SGDT, SIDT, LGDT, LIDT, SMSW, LMSW, INVLPG, SWAPGS, RDTSCP,
// CLAC, STAC.
func execGroup7(c *cpu, in *x86.Inst) bool {
	op := in.ModRM >> 3 & 7
	switch {
	case (in.ModRM == 0xca || in.ModRM == 0xcb) && in.Prefix() == 0: // CLAC, STAC
		if c.cpl != 0 {
			return c.ud()
		}
		c.setAC(in.ModRM == 0xcb)
		return true
	case in.ModRM == 0xf8: // SWAPGS
		if c.cpl != 0 {
			return c.gp(0)
		}
		c.r[x86.SlotGS], c.msr.kernelGS = c.msr.kernelGS, c.r[x86.SlotGS]
		return true
	case in.ModRM == 0xf9: // RDTSCP
		if !execRDTSC(c, in) {
			return false
		}
		c.r[x86.RCX] = c.msr.tscAux
		return true
	case op == 4: // SMSW
		if c.umip() {
			return c.gp(0)
		}
		if in.Mod == 3 {
			c.setReg(in, in.RM, in.Size, c.cr0)
			return true
		}
		return c.writeRM(in, 2, c.cr0)
	case op == 6: // LMSW
		if c.cpl != 0 {
			return c.gp(0)
		}
		v, ok := c.readRM(in, 2)
		if !ok {
			return false
		}
		return c.setCR0(c.cr0&^(x86.CR0MP|x86.CR0EM|x86.CR0TS) | v&(x86.CR0MP|x86.CR0EM|x86.CR0TS))
	case in.Mod == 3:
		return c.ud()
	case op < 2: // SGDT, SIDT
		if c.umip() {
			return c.gp(0)
		}
		t := c.gdt
		if op == 1 {
			t = c.idt
		}
		va := c.operandAddr(in)
		n := c.tableSize()
		if _, ok := c.span(in.Seg, va, 2+n, accessWrite); !ok {
			return false
		}
		return c.store(in.Seg, va, 2, uint64(t.limit)) && c.store(in.Seg, va+2, n, t.base)
	case op < 4: // LGDT, LIDT
		if c.cpl != 0 {
			return c.gp(0)
		}
		va := c.operandAddr(in)
		limit, ok := c.load(in.Seg, va, 2)
		if !ok {
			return false
		}
		base, ok := c.load(in.Seg, va+2, c.tableSize())
		if !ok {
			return false
		}
		if !x86.Canonical(base) {
			return c.gp(0)
		}
		t := table{base: base, limit: uint16(limit)}
		if op == 2 {
			c.gdt = t
		} else {
			c.idt = t
		}
		return true
	case op == 7: // INVLPG
		if c.cpl != 0 {
			return c.gp(0)
		}
		if va := c.operandAddr(in); x86.Canonical(va) {
			c.flushPage(va)
		}
		return true
	}
	return c.ud()
}

// tableSize is the size of a descriptor table's base in memory.
func (c *cpu) tableSize() uint8 {
	if c.long {
		return 8
	}
	return 4
}

func execCLTS(c *cpu, _ *x86.Inst) bool {
	if c.cpl != 0 {
		return c.gp(0)
	}
	c.cr0 &^= x86.CR0TS
	c.setMode()
	return true
}

// execINVD is INVD and WBINVD: there is no cache.
func execINVD(c *cpu, _ *x86.Inst) bool {
	if c.cpl != 0 {
		return c.gp(0)
	}
	return true
}

// controlRegister raises what an access to a control register raises; #UD
// comes first.
func (c *cpu) controlRegister(in *x86.Inst) bool {
	switch in.Reg {
	case 0, 2, 3, 4, 8:
	default:
		return c.ud()
	}
	if c.cpl != 0 {
		return c.gp(0)
	}
	return true
}

func execMovFromCR(c *cpu, in *x86.Inst) bool {
	if !c.controlRegister(in) {
		return false
	}
	var v uint64
	switch in.Reg {
	case 0:
		v = c.cr0
	case 2:
		v = c.cr2
	case 3:
		v = c.cr3
	case 4:
		v = c.cr4
	case 8:
		v = uint64(c.apic.TPR >> 4)
	}
	c.r[in.RMOf3()] = v
	return true
}

func execMovToCR(c *cpu, in *x86.Inst) bool {
	if !c.controlRegister(in) {
		return false
	}
	v := c.r[in.RMOf3()]
	switch in.Reg {
	case 0:
		return c.setCR0(v)
	case 2:
		c.cr2 = v
	case 3:
		if v&^(1<<maxPhysBits-1) != 0 || v&c.p.reserved != 0 {
			return c.gp(0)
		}
		c.setCR3(v)
	case 4:
		return c.setCR4(v)
	case 8:
		if v>>4 != 0 {
			return c.gp(0)
		}
		c.apic.SetTPR(uint32(v) << 4)
	}
	return true
}

// setCR0: SDM 3A, 2.5. Protection stays on, and paging in 64-bit code.
func (c *cpu) setCR0(v uint64) bool {
	if v>>32 != 0 || v&x86.CR0PE == 0 || v&(x86.CR0NW|x86.CR0CD) == x86.CR0NW || c.long && v&x86.CR0PG == 0 {
		return c.gp(0)
	}
	const known = x86.CR0PE | x86.CR0MP | x86.CR0EM | x86.CR0TS | x86.CR0ET | x86.CR0NE | x86.CR0WP | x86.CR0AM | x86.CR0NW | x86.CR0CD | x86.CR0PG
	old := c.cr0
	c.cr0 = v&known | x86.CR0ET
	switch {
	case (old^v)&x86.CR0PG != 0:
		c.setPaging(v&x86.CR0PG != 0)
	case (old^v)&x86.CR0WP != 0:
		c.flushTLB(false)
	}
	c.setMode()
	return true
}

func (c *cpu) setCR4(v uint64) bool {
	if v&^x86.CR4Valid != 0 || v&x86.CR4PAE == 0 {
		return c.gp(0)
	}
	old := c.cr4
	c.cr4 = v
	if (old^v)&(x86.CR4PSE|x86.CR4PGE|x86.CR4SMEP|x86.CR4SMAP) != 0 {
		c.flushTLB(false)
	}
	c.setMode()
	return true
}

// debugRegister resolves DR4 and DR5, aliases of 6 and 7 without CR4.DE.
func (c *cpu) debugRegister(in *x86.Inst) (n uint8, ok bool) {
	n = in.Reg
	if n > 7 {
		return 0, c.ud()
	}
	if c.cpl != 0 {
		return 0, c.gp(0)
	}
	if n == 4 || n == 5 {
		if c.cr4&x86.CR4DE != 0 {
			return 0, c.ud()
		}
		n += 2
	}
	if c.dr[7]&dr7GD != 0 {
		c.dr[6] |= dr6BD
		return 0, c.raise(excDB)
	}
	return n, true
}

func execMovFromDR(c *cpu, in *x86.Inst) bool {
	n, ok := c.debugRegister(in)
	if ok {
		c.r[in.RMOf3()] = c.dr[n]
	}
	return ok
}

func execMovToDR(c *cpu, in *x86.Inst) bool {
	n, ok := c.debugRegister(in)
	if !ok {
		return false
	}
	v := c.r[in.RMOf3()]
	switch n {
	case 6:
		if v>>32 != 0 {
			return c.gp(0)
		}
		v = v&0xe00f | 0xffff0ff0
	case 7:
		if v>>32 != 0 {
			return c.gp(0)
		}
		v = v&0xffff2fff | 0x400
	}
	c.dr[n] = v
	c.attn = true
	return true
}

// tsc is the time-stamp counter. The processors' clocks differ by up to a
// round, but no read is below an earlier one of another processor.
func (c *cpu) tsc() uint64 {
	t := c.now - 1
	if p := c.p; len(p.cpus) > 1 {
		t = max(t, p.rounds.read)
		p.rounds.read = t
	}
	return t + c.tscOffset
}

func execRDTSC(c *cpu, _ *x86.Inst) bool {
	if c.cr4&x86.CR4TSD != 0 && c.cpl != 0 {
		return c.gp(0)
	}
	t := c.tsc()
	c.r[x86.RAX], c.r[x86.RDX] = uint64(uint32(t)), t>>32
	return true
}

// execRDPMC: there are no counters.
func execRDPMC(c *cpu, _ *x86.Inst) bool { return c.gp(0) }

func execCPUID(c *cpu, _ *x86.Inst) bool {
	r := c.p.cpuid.Lookup(uint32(c.r[x86.RAX]), uint32(c.r[x86.RCX]))
	if uint32(c.r[x86.RAX]) == 1 {
		r.EBX |= uint32(c.apic.ID) << 24
	}
	c.r[x86.RAX], c.r[x86.RBX] = uint64(r.EAX), uint64(r.EBX)
	c.r[x86.RCX], c.r[x86.RDX] = uint64(r.ECX), uint64(r.EDX)
	return true
}

// rdrand is a splitmix64 sequence from the processors' seed: it must repeat,
// not be hard to guess.
func (c *cpu) rdrand(in *x86.Inst) bool {
	c.setReg(in, in.RM, in.Size, bits.RotateLeft64(splitmix.Next(&c.rng), 7))
	c.setArith(x86.FlagCF)
	return true
}

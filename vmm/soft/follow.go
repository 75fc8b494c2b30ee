package soft

import (
	"bytes"
	"math/bits"
	"slices"

	"nvlab/vmm/observe"
	"nvlab/vmm/soft/x86"
)

// values are what a ValueObserver calls the contents of a processor's registers that are
// followed. While there are some, the executor does every instruction.
//
// What an instruction does to them follow says, for those that it knows. Before any
// other all are revealed.
type values struct {
	live bool // there are some
	r    [16]observe.Value
	// Of the arithmetic flags ZF says whether zero is 0, or depends on nothing if that is
	// 0; all of them depend on nothing but flags.
	zero, flags observe.Value
}

// effect is what the instruction at hand does to values when it is done.
type effect struct {
	loads  bool          // its operand is followed, and no load of it is told
	reg    int8          // that is written, or -1
	value  observe.Value // and what it holds then
	flags  bool          // all flags are written
	zero   observe.Value // see values
	others observe.Value
	stored observe.Value // what is written to memory, or 0
	pa     uint64
	size   uint8
}

// loadsValues has the instructions whose memory operand follow takes.
var loadsValues = func() (t [512]bool) {
	for op := 0; op < 0x40; op += 8 {
		t[op], t[op+1], t[op+2], t[op+3] = true, true, true, true
	}
	for _, op := range []int{0x63, 0x80, 0x81, 0x83, 0x84, 0x85, 0x8a, 0x8b, 0xf6, 0xf7, 0x1b6, 0x1b7} {
		t[op] = true
	}
	for op := 0x58; op <= 0x5f; op++ {
		t[op] = true
	}
	return t
}()

// perform executes what an instruction does, but for going on to the next one.
func (c *cpu) perform(in *x86.Inst) bool {
	if c.p.values == nil || !c.values.live && !c.loadsWatched(in) {
		return execTable[in.Op](c, in)
	}
	c.effect = effect{reg: -1}
	if !c.follows(in) || !c.follow(in) {
		c.revealAll()
		c.effect = effect{reg: -1}
	}
	done := execTable[in.Op](c, in)
	c.effect.loads = false
	if done {
		c.takeEffect()
	}
	return done
}

// follows says that the instruction may be one that is followed.
func (c *cpu) follows(in *x86.Inst) bool {
	return c.long && in.AddressSize == 8 && !c.aligned() && !c.traced()
}

// loadsWatched says that the instruction loads from a watched line what can be
// followed, when no register is.
func (c *cpu) loadsWatched(in *x86.Inst) bool {
	if !loadsValues[in.Op] || !c.follows(in) {
		return false
	}
	va := c.stack(0)
	if in.Op&^7 != 0x58 {
		if in.Mod == 3 {
			return false
		}
		va = c.operandAddr(in)
	}
	if !x86.Canonical(va) || va&x86.PageMask > x86.PageSize-8 {
		return false
	}
	pa, ok := c.translate(va, c.privilege(), accessRead)
	return ok && c.watchedIn(pa, 8)
}

func (c *cpu) takeEffect() {
	e, v := &c.effect, &c.values
	if e.reg >= 0 {
		v.r[e.reg] = e.value
	}
	if e.flags {
		v.zero, v.flags = e.zero, e.others
	}
	if e.stored != 0 {
		c.p.follow(e.pa, c.p.values.Put(e.pa, e.size, e.stored))
	}
	live := v.zero|v.flags != 0
	for _, r := range v.r {
		live = live || r != 0
	}
	switch {
	case live && !v.live:
		v.live, c.attn = true, true
	case !live && v.live:
		v.live = false
	}
}

// revealAll has anything depend on what the registers hold.
func (c *cpu) revealAll() {
	if !c.values.live {
		return
	}
	c.revealFlags()
	for i := range c.values.r {
		c.revealReg(uint8(i))
	}
	c.values.live = false
}

// revealAll is for what looks at processors from outside.
func (p *processors) revealAll() {
	if p.values != nil {
		for _, c := range p.cpus {
			c.revealAll()
		}
	}
}

func (c *cpu) reveal(v observe.Value) {
	if v != 0 {
		c.tellStream()
		c.p.values.Reveal(v)
	}
}

func (c *cpu) revealReg(n uint8) {
	c.reveal(c.values.r[n])
	c.values.r[n] = 0
}

// revealFlags is for what uses flags and does not follow them.
func (c *cpu) revealFlags() {
	c.reveal(c.values.flags)
	c.values.zero, c.values.flags = 0, 0
}

// A followed is a number, and the value that it is of, 0 if it is followed no more.
type followed struct {
	v observe.Value
	n uint64
}

func (c *cpu) compute(op observe.ValueOp, a followed, k uint64) observe.Value {
	if a.v == 0 {
		return 0
	}
	return c.p.values.Compute(op, a.v, 0, k)
}

// xor computes what two numbers differ in.
func (c *cpu) xor(a, b followed) observe.Value {
	switch {
	case a.v == b.v:
		return 0
	case b.v == 0:
		return c.compute(observe.ValueXor, a, b.n)
	case a.v == 0:
		return c.compute(observe.ValueXor, b, a.n)
	}
	return c.p.values.Compute(observe.ValueXor, a.v, b.v, 0)
}

// valueOf is a register operand.
func (c *cpu) valueOf(in *x86.Inst, n, size uint8) followed {
	f := followed{n: c.reg(in, n, size)}
	if size == 1 && in.Flags&x86.PrefixREX == 0 && n >= 4 {
		v := followed{v: c.compute(observe.ValueRight, followed{v: c.values.r[n&3]}, 8)}
		f.v = c.compute(observe.ValueAnd, v, 0xff)
		return f
	}
	f.v = c.values.r[n]
	if size < 8 {
		f.v = c.compute(observe.ValueAnd, f, x86.SizeMask(size))
	}
	return f
}

// set notes that a register operand is written.
func (c *cpu) set(in *x86.Inst, n, size uint8, v observe.Value) {
	if size == 1 && in.Flags&x86.PrefixREX == 0 && n >= 4 {
		n &= 3
	}
	if size < 4 && v|c.values.r[n] != 0 || n == x86.RSP {
		c.reveal(v) // a part of a register is followed, or addresses are
		c.revealReg(n)
		v = 0
	}
	c.effect.reg, c.effect.value = int8(n), v
}

// setFlags notes that all flags are written: ZF says whether zero is 0.
func (c *cpu) setFlags(zero, others observe.Value) {
	c.effect.flags, c.effect.zero, c.effect.others = true, zero, others
}

// revealAddress has the registers that an address is made of followed no more.
func (c *cpu) revealAddress(in *x86.Inst) {
	if in.Base < 16 {
		c.revealReg(in.Base)
	}
	if in.Index < 16 {
		c.revealReg(in.Index)
	}
}

// takeValue is a load of n bytes at a linear address. What it cannot follow is told when
// it is executed.
func (c *cpu) takeValue(va uint64, n uint8) followed {
	if !x86.Canonical(va) || va&x86.PageMask > x86.PageSize-uint64(n) {
		return followed{}
	}
	pa, ok := c.translate(va, c.privilege(), accessRead)
	if !ok {
		return followed{}
	}
	r := c.p.mem.find(pa)
	if r == nil || c.apic.At(pa) || c.p.someUnreadable() {
		return followed{}
	}
	f := followed{n: x86.GetLE(r.mem[pa-r.base:], n)}
	if c.p.watches(r) && c.watchedIn(pa, uint64(n)) {
		c.tellStream()
		f.v = c.p.values.Take(r.base, pa-r.base, n, f.n, !c.values.live)
		c.effect.loads = f.v != 0
	}
	return f
}

// maxTable bounds the entries of a table that an index is followed through.
const maxTable = 256

// A lookedUp is a table that an index was followed through.
type lookedUp struct {
	n     uint8 // bytes that are loaded
	scale uint8
	raw   []byte
	table int
}

// look is a load at an address that depends on a value: of an entry of a table, all of
// which can be loaded and hold nothing that is watched.
func (c *cpu) look(in *x86.Inst, n uint8) (f followed, ok bool) {
	v := c.values.r[in.Index]
	if in.Base < 16 && c.values.r[in.Base] != 0 {
		return f, false
	}
	entries := uint64(1) << bits.Len64(c.p.values.Bits(v))
	if entries == 0 || entries > maxTable {
		return f, false
	}
	index := c.r[in.Index]
	first := c.operandAddr(in) - index<<in.Scale
	size := (entries-1)<<in.Scale + uint64(n)
	t := c.p.lookups[first]
	if t != nil && (t.n != n || t.scale != in.Scale || uint64(len(t.raw)) != size) {
		t = nil
	}
	same := t != nil
	var parts [2][]byte // in two pages at most
	for at := uint64(0); at < size; {
		va := first + at
		part := min(size-at, x86.PageSize-va&x86.PageMask)
		if !x86.Canonical(va) {
			return f, false
		}
		pa, ok := c.translate(va, c.privilege(), accessRead)
		if !ok {
			return f, false
		}
		r := c.p.mem.find(pa)
		if r == nil || r.observed || c.apic.At(pa) || c.p.someUnreadable() || c.watchedIn(pa, part) {
			return f, false
		}
		is := r.mem[pa-r.base:][:part]
		same = same && bytes.Equal(t.raw[at:][:part], is)
		if at == 0 {
			parts[0] = is
		} else {
			parts[1] = is
		}
		at += part
	}
	if index >= entries {
		return f, false
	}
	if !same {
		t = &lookedUp{n: n, scale: in.Scale, raw: slices.Concat(parts[0], parts[1])}
		list := make([]uint64, entries)
		for i := range list {
			list[i] = x86.GetLE(t.raw[i<<in.Scale:], n)
		}
		t.table = c.p.values.Table(list)
		if c.p.lookups == nil {
			c.p.lookups = map[uint64]*lookedUp{}
		}
		c.p.lookups[first] = t
	}
	f.v = c.p.values.Look(v, t.table)
	f.n = x86.GetLE(t.raw[index<<in.Scale:], n)
	return f, f.v != 0
}

// rm is the r/m operand, which is read.
func (c *cpu) rm(in *x86.Inst, size uint8) followed {
	if in.Mod == 3 {
		return c.valueOf(in, in.RM, size)
	}
	if in.Index < 16 && c.values.r[in.Index] != 0 {
		if f, ok := c.look(in, size); ok {
			c.effect.loads = true
			return f
		}
	}
	c.revealAddress(in)
	return c.takeValue(c.operandAddr(in), size)
}

// put notes that n bytes are written at a linear address.
func (c *cpu) put(va uint64, n uint8, f followed) {
	if f.v == 0 {
		return
	}
	if x86.Canonical(va) && va&x86.PageMask <= x86.PageSize-uint64(n) {
		if pa, ok := c.translate(va, c.privilege(), accessWrite); ok {
			r := c.p.mem.find(pa)
			if r != nil && !r.observed && !r.readOnly && !r.marked(pa-r.base) && !c.apic.At(pa) {
				c.effect.stored, c.effect.pa, c.effect.size = f.v, pa, n
				return
			}
		}
	}
	c.reveal(f.v)
}

// follow finds what the instruction does to values, and tells of what it decides. It is
// false for an instruction of which that is not known.
func (c *cpu) follow(in *x86.Inst) bool {
	switch op := in.Op; {
	case op < 0x40 && op&7 <= 5, op&^3 == 0x80 && op != 0x82:
		c.followALU(in)
	case op == 0x84, op == 0x85:
		c.followTest(in, c.rm(in, in.Size), c.valueOf(in, in.Reg, in.Size), in.Mod == 3 && in.RM == in.Reg)
	case op == 0xa8, op == 0xa9:
		c.followTest(in, c.valueOf(in, x86.RAX, in.Size), followed{n: in.Imm}, false)
	case op == 0xf6, op == 0xf7:
		return c.followGroup3(in)
	case op == 0xc0, op == 0xc1, op&^3 == 0xd0:
		c.followShift(in)
	case op == 0x88, op == 0x89:
		v := c.valueOf(in, in.Reg, in.Size)
		if in.Mod == 3 {
			c.set(in, in.RM, in.Size, v.v)
			break
		}
		c.revealAddress(in)
		c.put(c.operandAddr(in), in.Size, v)
	case op == 0x8a, op == 0x8b:
		c.set(in, in.Reg, in.Size, c.rm(in, in.Size).v)
	case op == 0x1b6, op == 0x1b7:
		c.set(in, in.Reg, in.Size, c.rm(in, uint8(op&1+1)).v)
	case op == 0x63:
		f := c.rm(in, min(in.Size, 4))
		c.reveal(f.v)
		c.set(in, in.Reg, in.Size, 0)
	case op == 0x8d:
		c.revealAddress(in)
		c.set(in, in.Reg, in.Size, 0)
	case op&^15 == 0xb0:
		c.set(in, in.Opcode&7|in.REX&1<<3, in.Size, 0)
	case op == 0xc6, op == 0xc7:
		if in.Mod == 3 {
			c.set(in, in.RM, in.Size, 0)
			break
		}
		c.revealAddress(in)
	case op&^7 == 0x50:
		c.put(c.stack(-uint64(in.Size)), in.Size, c.valueOf(in, in.Opcode&7|in.REX&1<<3, in.Size))
	case op&^7 == 0x58:
		c.set(in, in.Opcode&7|in.REX&1<<3, in.Size, c.takeValue(c.stack(0), in.Size).v)
	case op == 0xff:
		return c.followGroup5(in)
	case op == 0xfe:
		return c.followIncDec(in)
	case op&^15 == 0x70, op&^15 == 0x180:
		c.condition(in)
	case op&^15 == 0x190:
		c.condition(in)
		if in.Mod == 3 {
			c.set(in, in.RM, 1, 0)
			break
		}
		c.revealAddress(in)
	case op == 0x90 && in.REX&1 == 0, op == 0x10d, op >= 0x118 && op <= 0x11f: // NOP
	case op == 0xe8, op == 0xe9, op == 0xeb, op == 0xc2, op == 0xc3, op == 0x68, op == 0x6a: // JMP, CALL, RET, PUSH of a constant
	default:
		u, ok := opaque[op]
		if !ok || op == 0x101 && in.ModRM != 0xca && in.ModRM != 0xcb && in.ModRM != 0xf8 {
			return false
		}
		c.followOpaque(in, u)
	}
	return true
}

// uses is what an instruction uses and writes beside its operands, none of whose results is
// followed. It writes no register that it does not use.
type uses struct {
	regs  uint16 // beside those of ModRM
	modRM bool
	flags flagUse
}

type flagUse uint8

const (
	keepsFlags  flagUse = iota
	writesFlags         // all of them, whatever they were
	usesFlags           // some of them, or keeps some
)

const (
	useA   = 1 << x86.RAX
	useC   = 1 << x86.RCX
	useD   = 1 << x86.RDX
	useB   = 1 << x86.RBX
	useBP  = 1 << x86.RBP
	useSI  = 1 << x86.RSI
	useDI  = 1 << x86.RDI
	useR11 = 1 << 11
)

// opaque has instructions of which nothing is followed, and which kernels execute between those that compute check sums and
// those that compare them, or while what was compared is left in a register.
var opaque = func() map[uint16]uses {
	m := map[uint16]uses{
		0x69: {modRM: true, flags: writesFlags}, 0x6b: {modRM: true, flags: writesFlags}, 0x1af: {modRM: true, flags: writesFlags}, // IMUL
		0x86: {modRM: true}, 0x87: {modRM: true}, // XCHG
		0x98: {regs: useA}, 0x99: {regs: useA | useD}, // CDQE, CQO
		0x9c: {flags: usesFlags}, 0x9d: {flags: writesFlags}, // PUSHF, POPF
		0xa4: {regs: useC | useSI | useDI}, 0xa5: {regs: useC | useSI | useDI}, // MOVS
		0xaa: {regs: useA | useC | useDI}, 0xab: {regs: useA | useC | useDI}, // STOS
		0xc9: {regs: useBP},                              // LEAVE
		0xcf: {flags: writesFlags},                       // IRET
		0xf4: {}, 0xfa: {}, 0xfb: {}, 0xfc: {}, 0xfd: {}, // HLT, CLI, STI, CLD, STD
		0x101: {},                                                                                        // STAC, CLAC, SWAPGS
		0x105: {regs: useC | useR11, flags: usesFlags},                                                   // SYSCALL
		0x107: {regs: useC | useR11, flags: writesFlags},                                                 // SYSRET
		0x130: {regs: useA | useC | useD}, 0x131: {regs: useA | useD}, 0x132: {regs: useA | useC | useD}, // WRMSR, RDTSC, RDMSR
		0x1a3: {modRM: true, flags: usesFlags}, 0x1ab: {modRM: true, flags: usesFlags}, 0x1b3: {modRM: true, flags: usesFlags}, // BT, BTS, BTR
		0x1ba: {modRM: true, flags: usesFlags}, 0x1bb: {modRM: true, flags: usesFlags},
		0x1bc: {modRM: true, flags: usesFlags}, 0x1bd: {modRM: true, flags: usesFlags}, // BSF, BSR
		0x1a4: {modRM: true, regs: useC, flags: usesFlags}, 0x1a5: {modRM: true, regs: useC, flags: usesFlags}, // SHLD
		0x1ac: {modRM: true, regs: useC, flags: usesFlags}, 0x1ad: {modRM: true, regs: useC, flags: usesFlags}, // SHRD
		0x1ae: {modRM: true, regs: useA | useD},                                                                    // fences, CLFLUSH, FXSAVE
		0x1b0: {modRM: true, regs: useA, flags: writesFlags}, 0x1b1: {modRM: true, regs: useA, flags: writesFlags}, // CMPXCHG
		0x1be: {modRM: true}, 0x1bf: {modRM: true}, // MOVSX
		0x1c0: {modRM: true, flags: writesFlags}, 0x1c1: {modRM: true, flags: writesFlags}, // XADD
		0x1c3: {modRM: true},                                                    // MOVNTI
		0x1c7: {modRM: true, regs: useA | useB | useC | useD, flags: usesFlags}, // CMPXCHG8B
	}
	for cc := uint16(0); cc < 16; cc++ {
		m[0x140+cc] = uses{modRM: true, flags: usesFlags} // CMOVcc
	}
	for n := uint16(0); n < 8; n++ {
		m[0x1c8+n] = uses{} // BSWAP: see followOpaque
		if n > 0 {
			m[0x90+n] = uses{regs: useA} // XCHG
		}
	}
	m[0x90] = m[0x91]
	return m
}()

func (c *cpu) followOpaque(in *x86.Inst, u uses) {
	for n := range uint8(16) {
		if u.regs>>n&1 != 0 {
			c.revealReg(n)
		}
	}
	if op := in.Op; op&^7 == 0x1c8 || op&^7 == 0x90 {
		c.revealReg(in.Opcode&7 | in.REX&1<<3)
	}
	if u.modRM {
		c.revealAddress(in)
		c.revealReg(in.Reg & 15)
		c.revealReg(in.Reg & 3) // AH is RAX's
		c.revealReg(in.RM & 15)
		c.revealReg(in.RM & 3)
	}
	switch u.flags {
	case usesFlags:
		c.revealFlags()
	case writesFlags:
		c.setFlags(0, 0)
	}
}

func (c *cpu) followALU(in *x86.Inst) {
	op, to := uint8(in.Opcode>>3), in.RM
	var a, b followed
	memory, same := false, false
	switch {
	case in.Op >= 0x80:
		op = in.ModRM >> 3 & 7
		memory = in.Mod != 3
		b.n = in.Imm
	case in.Op&7 < 2:
		memory = in.Mod != 3
		b = c.valueOf(in, in.Reg, in.Size)
		same = in.Mod == 3 && in.RM == in.Reg
	case in.Op&7 < 4:
		to = in.Reg
		a, b = c.valueOf(in, in.Reg, in.Size), c.rm(in, in.Size)
		same = in.Mod == 3 && in.RM == in.Reg
	default:
		to = x86.RAX
		a = c.valueOf(in, x86.RAX, in.Size)
		b.n = in.Imm
	}
	if memory && op != x86.AluCMP { // it is read, and written
		c.revealAddress(in)
		c.reveal(b.v)
		c.useCarry(op)
		c.setFlags(0, 0)
		return
	}
	if in.Op >= 0x80 || in.Op&7 < 2 {
		a = c.rm(in, in.Size)
	}
	b.n &= x86.SizeMask(in.Size)
	var r, others observe.Value
	switch op {
	case x86.AluXOR:
		if !same {
			r = c.xor(a, b)
		}
		others = r
	case x86.AluAND, x86.AluOR:
		r = c.andOr(in, op, a, b, same)
		others = r
	case x86.AluCMP:
		if !same {
			r = c.xor(a, b)
		}
		others = r
	default:
		c.reveal(a.v)
		c.reveal(b.v)
		c.useCarry(op)
	}
	if op != x86.AluCMP {
		c.set(in, to, in.Size, r)
	}
	c.setFlags(r, others)
}

// useCarry is for ADC and SBB.
func (c *cpu) useCarry(op uint8) {
	if op == x86.AluADC || op == x86.AluSBB {
		c.revealFlags()
	}
}

// andOr computes AND and OR, of which one operand is followed at most.
func (c *cpu) andOr(in *x86.Inst, op uint8, a, b followed, same bool) observe.Value {
	if same || a.v == b.v {
		return a.v
	}
	if a.v == 0 {
		a, b = b, a
	}
	if b.v != 0 {
		c.reveal(a.v)
		c.reveal(b.v)
		return 0
	}
	if op == x86.AluAND {
		return c.compute(observe.ValueAnd, a, b.n)
	}
	f := followed{v: c.compute(observe.ValueAnd, a, x86.SizeMask(in.Size)&^b.n)}
	return c.compute(observe.ValueXor, f, b.n)
}

func (c *cpu) followTest(in *x86.Inst, a, b followed, same bool) {
	b.n &= x86.SizeMask(in.Size)
	r := c.andOr(in, x86.AluAND, a, b, same)
	c.setFlags(r, r)
}

func (c *cpu) followGroup3(in *x86.Inst) bool {
	switch in.ModRM >> 3 & 7 {
	case 0, 1:
		c.followTest(in, c.rm(in, in.Size), followed{n: in.Imm}, false)
	case 2:
		if in.Mod != 3 {
			c.revealAddress(in)
			break
		}
		c.set(in, in.RM, in.Size, c.compute(observe.ValueXor, c.valueOf(in, in.RM, in.Size), x86.SizeMask(in.Size)))
	default: // NEG, and what has RAX and RDX as operands, too
		c.followOpaque(in, uses{modRM: true, regs: useA | useD})
		if in.ModRM>>3&7 < 6 {
			c.setFlags(0, 0) // of a division they are as before
		}
	}
	return true
}

// followShift follows SHL and SHR of registers. Both write all flags, unless they shift
// by nothing; rotations keep some.
func (c *cpu) followShift(in *x86.Inst) {
	if in.Mod != 3 {
		c.revealAddress(in)
	}
	n := in.Imm
	switch in.Opcode {
	case 0xd0, 0xd1:
		n = 1
	case 0xd2, 0xd3:
		c.revealReg(x86.RCX)
		n = c.r[x86.RCX]
	}
	n = x86.ShiftCount(n, in.Size)
	op := in.ModRM >> 3 & 7
	shift := op >= 4 // no rotation
	if n != 0 && !shift {
		c.revealFlags()
	}
	var a followed
	if in.Mod == 3 {
		a = c.valueOf(in, in.RM, in.Size)
	}
	r := a
	switch {
	case n == 0:
	case a.v != 0 && op == x86.ShiftSHR:
		r.v = c.compute(observe.ValueRight, a, n)
	case a.v != 0 && (op == x86.ShiftSHL || op == x86.ShiftSHL2):
		r.v = c.compute(observe.ValueAnd, followed{v: c.compute(observe.ValueLeft, a, n)}, x86.SizeMask(in.Size))
	default:
		c.reveal(a.v)
		a.v, r.v = 0, 0
	}
	if in.Mod == 3 {
		c.set(in, in.RM, in.Size, r.v)
	}
	if n != 0 && shift {
		c.setFlags(r.v, a.v)
	}
}

// followIncDec follows INC and DEC, which keep CF.
func (c *cpu) followIncDec(in *x86.Inst) bool {
	if in.ModRM>>3&7 > 1 {
		return false
	}
	if in.Mod == 3 {
		c.reveal(c.valueOf(in, in.RM, in.Size).v)
		c.set(in, in.RM, in.Size, 0)
	} else {
		c.revealAddress(in)
	}
	c.setFlags(0, c.values.flags)
	return true
}

func (c *cpu) followGroup5(in *x86.Inst) bool {
	switch in.ModRM >> 3 & 7 {
	case 0, 1:
		return c.followIncDec(in)
	case 2, 4, 6:
		if in.Mod == 3 {
			c.revealReg(in.RM)
		} else {
			c.revealAddress(in)
		}
		return true
	}
	return false
}

// condition is for what depends on flags: on ZF alone, or on anything.
func (c *cpu) condition(in *x86.Inst) {
	v := &c.values
	switch {
	case in.Opcode>>1&7 != 2:
		c.revealFlags()
	case v.zero != 0:
		c.tellStream()
		c.p.values.Decide(v.zero)
		v.zero = 0
	}
}

// A refetched is an instruction that was fetched while values were followed, from code of a
// content.
type refetched struct {
	pa   uint64
	code content
	in   x86.Inst
}

// fetchedBefore fetches the instruction at c.rip, and is true, if it is one within a page of
// known code after which nothing is due. What is told of a fetch was told.
func (c *cpu) fetchedBefore(in *x86.Inst) bool {
	if !c.long || c.traced() || c.flags&x86.FlagRF != 0 || !x86.Canonical(c.rip) || c.p.someUnreadable() || c.rip&x86.PageMask > x86.PageSize-x86.MaxLength {
		return false
	}
	pa, ok := c.translate(c.rip, c.privilege(), accessFetch)
	if !ok {
		return false
	}
	r := c.p.mem.find(pa)
	if r == nil {
		return false
	}
	code := r.mark(pa - r.base).code
	if code == 0 {
		return false
	}
	if c.p.refetched == nil {
		c.p.refetched = make([]refetched, 1<<10)
	}
	f := &c.p.refetched[pa%(1<<10)]
	if f.pa != pa || f.code != code {
		if !c.fetch(in) {
			return false // which raises the same again
		}
		*f = refetched{pa, code, *in}
		return true
	}
	*in = f.in
	return true
}

package soft

import (
	"nvlab/vmm/observe"
	"nvlab/vmm/soft/fp"
	"nvlab/vmm/soft/x86"
)

func registerX87() {
	registerRange(execX87, 0xd8, 0xdf)
	register(execGroup15, 0x1ae)
}

// x87Ready raises #NM if the FPU is off or another task's.
func (c *cpu) x87Ready() bool {
	if c.cr0&(x86.CR0EM|x86.CR0TS) != 0 {
		return c.raise(excNM)
	}
	return true
}

// execFWAIT: SDM 2, "WAIT/FWAIT".
func execFWAIT(c *cpu, _ *x86.Inst) bool {
	if c.cr0&(x86.CR0MP|x86.CR0TS) == x86.CR0MP|x86.CR0TS {
		return c.raise(excNM)
	}
	if c.fpu.x87.Pending() {
		return c.raise(excMF)
	}
	return true
}

func (c *cpu) x87Fault(f fp.Fault) bool {
	if f == fp.MF {
		return c.raise(excMF)
	}
	return c.ud()
}

func execX87(c *cpu, in *x86.Inst) bool {
	if !c.x87Ready() {
		return false
	}
	x := &c.fpu.x87
	op, reg := in.Opcode, in.ModRM>>3&7
	if in.Mod == 3 {
		f := c.arith()
		fl := fp.Flags{CF: f&x86.FlagCF != 0, PF: f&x86.FlagPF != 0, ZF: f&x86.FlagZF != 0}
		ax := uint16(c.r[x86.RAX])
		if fault := x.Reg(op, in.ModRM, &fl, &ax); fault != fp.None {
			return c.x87Fault(fault)
		}
		if comparesToFlags(in) {
			f = 0
			if fl.CF {
				f |= x86.FlagCF
			}
			if fl.PF {
				f |= x86.FlagPF
			}
			if fl.ZF {
				f |= x86.FlagZF
			}
			c.setArith(f)
		}
		c.r[x86.RAX] = c.r[x86.RAX]&^0xffff | uint64(ax)
		c.noteX87(in, false, 0)
		return true
	}
	size, store, ok := fp.MemOperand(op, reg)
	if !ok {
		return c.ud()
	}
	if x.Pending() && !(store && control(in, true)) {
		return c.raise(excMF) // before any fault of the operand's
	}
	va := c.operandAddr(in)
	var buf [128]byte
	data := buf[:size]
	piece := 8
	words := false
	if size > 16 { // an environment
		piece = min(int(in.Size), 4)
		if words = piece == 2; words {
			size -= x87Env / 2
		}
	}
	if store {
		for off := 0; off < size; off += piece {
			if _, ok := c.span(in.Seg, va+uint64(off), uint8(min(size-off, piece)), accessWrite); !ok {
				return false
			}
		}
		switch fault := x.Store(op, reg, data); fault {
		case fp.None:
			if words {
				data = narrowEnv(data)
			}
			if !c.storeBytes(in.Seg, va, data, piece) {
				return false
			}
		case fp.NoStore:
		default:
			return c.x87Fault(fault)
		}
	} else {
		if !c.loadBytes(in.Seg, va, data[len(data)-size:], piece) {
			return false
		}
		if words {
			widenEnv(data)
		}
		if fault := x.Load(op, reg, data); fault != fp.None {
			return c.x87Fault(fault)
		}
	}
	c.noteX87(in, true, va)
	return true
}

// x87Env is the length of an environment of doublewords, of which each holds a
// word of the one that FSTENV and its kin store with an operand size of 16 (SDM
// 1, figures 8-9 and 8-11).
const x87Env = 28

// narrowEnv makes an environment of words, and what follows it.
func narrowEnv(data []byte) []byte {
	for i := x87Env - 4; i >= 0; i -= 4 {
		copy(data[x87Env-(x87Env-i)/2:], data[i:i+2])
	}
	return data[x87Env/2:]
}

// widenEnv undoes that, in place.
func widenEnv(data []byte) {
	for i := 0; i < x87Env; i += 4 {
		w := le.Uint16(data[(x87Env+i)/2:])
		le.PutUint32(data[i:], uint32(w))
	}
}

// comparesToFlags says whether the instruction is FCOMI, FUCOMI or one that
// pops.
func comparesToFlags(in *x86.Inst) bool {
	r := in.ModRM >> 3 & 7
	return (in.Opcode == 0xdb || in.Opcode == 0xdf) && (r == 5 || r == 6)
}

// control says whether the instruction is a control instruction. Those that
// store do not wait for pending exceptions.
func control(in *x86.Inst, mem bool) bool {
	r := in.ModRM >> 3 & 7
	return mem && in.Opcode == 0xd9 && r >= 4 || // FLDENV, FLDCW, FNSTENV, FNSTCW
		mem && in.Opcode == 0xdd && (r == 4 || r >= 6) || // FRSTOR, FNSAVE, FNSTSW
		!mem && in.Opcode == 0xdb && r == 4 || // FNCLEX, FNINIT
		!mem && in.Opcode == 0xdf && r == 4 // FNSTSW AX
}

// noteX87 records the last instruction that was no control instruction.
func (c *cpu) noteX87(in *x86.Inst, mem bool, va uint64) {
	if control(in, mem) {
		return
	}
	x := &c.fpu.x87
	x.FOP = uint16(in.Opcode&7)<<8 | uint16(in.ModRM)
	x.FIP = c.rip
	if mem {
		x.FDP = va
	}
}

// execGroup15 is FXSAVE, FXRSTOR, LDMXCSR, STMXCSR, the fences and the cache
// line flushes.
func execGroup15(c *cpu, in *x86.Inst) bool {
	op := in.ModRM >> 3 & 7
	if in.Mod == 3 {
		if op >= 5 && in.Prefix() == 0 { // LFENCE, MFENCE, SFENCE
			return true
		}
		return c.ud()
	}
	switch {
	case op == 7 && in.Rep == 0, // CLFLUSH, CLFLUSHOPT
		op == 6 && in.Prefix() == 0x66: // CLWB
		return c.flushLine(in)
	case in.Prefix() != 0:
		return c.ud()
	case op == 0:
		return c.fxsave(in)
	case op == 1:
		return c.fxrstor(in)
	case op == 2:
		return c.ldmxcsr(in)
	case op == 3:
		return c.sseReady() && c.store(in.Seg, c.operandAddr(in), 4, uint64(c.fpu.mxcsr))
	}
	return c.ud()
}

// flushLine is CLFLUSH, CLFLUSHOPT and CLWB: a load, as far as faults go.
func (c *cpu) flushLine(in *x86.Inst) bool {
	s, ok := c.span(in.Seg, c.operandAddr(in), 1, accessRead)
	if !ok {
		return false
	}
	switch op := in.ModRM >> 3 & 7; {
	case op == 6:
		c.observeFlush(s.pa, observe.CLWB)
	case in.Prefix() == 0x66:
		c.observeFlush(s.pa, observe.CLFLUSHOPT)
	default:
		c.observeFlush(s.pa, observe.CLFLUSH)
	}
	return true
}

func (c *cpu) ldmxcsr(in *x86.Inst) bool {
	if !c.sseReady() {
		return false
	}
	v, ok := c.load(in.Seg, c.operandAddr(in), 4)
	if !ok {
		return false
	}
	if v&^x86.MXCSRMask != 0 {
		return c.gp(0)
	}
	c.setMXCSR(uint32(v))
	return true
}

// The FXSAVE area (SDM 1, 10.5.1).
const (
	fxMXCSR  = 24
	fxMask   = 28
	fxXMM    = 160
	fxLength = 512
	fxUsed   = 416 // what follows is the software's
)

// xmmCount is how many XMM registers the code has.
func (c *cpu) xmmCount() int {
	if c.long {
		return 16
	}
	return 8
}

func (c *cpu) fxsave(in *x86.Inst) bool {
	if !c.x87Ready() {
		return false
	}
	va := c.operandAddr(in)
	if va&15 != 0 {
		return c.gp(0)
	}
	var b [fxLength]byte
	c.fpu.x87.Fxsave(&b)
	if in.Size != 8 { // FXSAVE without REX.W has selectors in the pointers
		le.PutUint32(b[12:], uint32(c.fpu.x87.FCS))
		le.PutUint32(b[20:], uint32(c.fpu.x87.FDS))
	}
	le.PutUint32(b[fxMXCSR:], c.fpu.mxcsr)
	le.PutUint32(b[fxMask:], x86.MXCSRMask)
	n := fxXMM
	if c.cr4&x86.CR4OSFXSR != 0 {
		for i, v := range c.fpu.xmm[:c.xmmCount()] {
			le.PutUint64(b[fxXMM+16*i:], v[0])
			le.PutUint64(b[fxXMM+16*i+8:], v[1])
		}
		n = fxXMM + 16*c.xmmCount()
		if c.long {
			n = fxUsed
		}
	}
	return c.storeBytes(in.Seg, va, b[:n], 8)
}

func (c *cpu) fxrstor(in *x86.Inst) bool {
	if !c.x87Ready() {
		return false
	}
	va := c.operandAddr(in)
	if va&15 != 0 {
		return c.gp(0)
	}
	var b [fxLength]byte
	if !c.loadBytes(in.Seg, va, b[:], 8) {
		return false
	}
	mxcsr := le.Uint32(b[fxMXCSR:])
	if mxcsr&^x86.MXCSRMask != 0 {
		return c.gp(0)
	}
	c.fpu.x87.Fxrstor(&b)
	if in.Size != 8 {
		x := &c.fpu.x87
		x.FCS, x.FDS = uint16(x.FIP>>32), uint16(x.FDP>>32)
		x.FIP, x.FDP = uint64(uint32(x.FIP)), uint64(uint32(x.FDP))
	}
	if c.cr4&x86.CR4OSFXSR != 0 {
		c.setMXCSR(mxcsr)
		for i := range c.fpu.xmm[:c.xmmCount()] {
			c.fpu.xmm[i] = fp.Vec{le.Uint64(b[fxXMM+16*i:]), le.Uint64(b[fxXMM+16*i+8:])}
		}
	}
	return true
}

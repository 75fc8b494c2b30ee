package soft

import (
	"math/rand/v2"

	"nvlab/vmm/soft/internal/native"
	"nvlab/vmm/soft/x86"
)

// exempt says that the host's processor is not to be asked: it would do
// something to the process, has features that ours hides, or does not agree
// with others of its kind.
func (e *encoding) exempt() bool {
	p := e.mandatory()
	reg := e.modrm && !e.mem
	if e.in32 {
		switch e.op {
		case 0x07, 0x17, 0x1f, 0x9a, 0xea: // loads of segment registers
			return true
		case 0x62, 0xc4, 0xc5:
			return !e.mem || e.op != 0x62
		}
	}
	switch o := e.op; o {
	case 0x62, 0xc4, 0xc5, 0x138, 0x13a, 0x10e, 0x10f: // VEX, EVEX, later maps, 3DNow
		return true
	case 0x8f:
		return e.ext != 0 // XOP
	case 0x8e, 0x1a1, 0x1a9, 0x1b2, 0x1b4, 0x1b5: // loads of segment registers
		return true
	case 0xca, 0xcb, 0xcf: // far returns
		return true
	case 0xff:
		if e.mem && (e.ext == 3 || e.ext == 5) {
			return true // far branches
		}
	case 0xf1: // hypervisors tell different addresses
		return true
	case 0xe0, 0xe1:
		if p >= 0xf0 {
			return true // one maker lets REP prefixes choose the condition
		}
	case 0x63: // MOVSXD to a word: makers do not agree how much it reads
		return e.mem && !e.w && (e.prefix == 1 || e.prefix > 3)
	case 0x10d: // PREFETCH without a memory operand: #UD or nothing
		return reg
	case 0xc7:
		return e.ext == 7 // XBEGIN
	case 0xc6:
		return e.ext == 7 // XABORT
	case 0x100:
		return e.ext < 2 || e.ext == 4 || e.ext == 5 // the kernel stands in; or answers by its own tables
	case 0x101, 0x102, 0x103, 0x105, 0x107, 0x131, 0x133, 0x134, 0x135, 0x1a2:
		return true
	case 0x178, 0x179, 0x17c, 0x17d, 0x1d0: // SSE3, SSE4a, VMX
		return true
	case 0x112, 0x116, 0x12b, 0x1f0:
		return p >= 0xf0 // SSE3, SSE4a
	case 0x1ae:
		return e.mem && e.ext > 3 && e.ext < 7 || reg && e.prefix != 0 || e.mem && e.prefix != 0
	case 0x1b8, 0x1bc, 0x1bd: // POPCNT, TZCNT, LZCNT
		return p == 0xf3 || o == 0x1b8
	case 0x1c7:
		return e.ext != 1
	case 0xdb, 0xdd, 0xdf:
		return e.mem && e.ext == 1 // FISTTP
	}
	if e.op >= 0x1c8 && e.op <= 0x1cf {
		return !e.w && (e.prefix == 1 || e.prefix > 3) // BSWAP of a word
	}
	// A near branch of a word: makers do not agree on it.
	return flow(e.op, e.ext) && (e.prefix == 1 || e.prefix > 3) && !e.in32
}

// varies says that makers do not agree on the x87 state after it: conversions
// that enter MMX or do not, and encodings that are in no manual.
func (e *encoding) varies() bool {
	switch e.op {
	case 0x12a, 0x12c, 0x12d:
		return true
	case 0xd9:
		return !e.mem && e.ext == 3
	case 0xdc:
		return !e.mem && (e.ext == 2 || e.ext == 3)
	case 0xdd:
		return !e.mem && e.ext < 2
	case 0xde:
		return !e.mem && e.ext == 2
	case 0xdf:
		return !e.mem && e.ext < 4
	}
	return false
}

// privileged says that the instruction is tried at CPL 3 only, as the host
// does.
func (e *encoding) privileged() bool {
	switch o := e.op; o {
	case 0xf4, 0xfa, 0xfb, 0xcd, 0x8c, 0x9d, 0x106, 0x108, 0x109, 0x130, 0x132, 0x100:
		return true
	default:
		return o >= 0x6c && o <= 0x6f || o >= 0xe4 && o <= 0xe7 || o >= 0xec && o <= 0xef || o >= 0x120 && o <= 0x127
	}
}

// state makes a random state that suits the instruction.
func (o *oracle) state(r *rand.Rand, x *trial) {
	s, in := &x.s, &x.in
	for i := range s.R {
		s.R[i] = interesting(r)
	}
	if x.e.in32 {
		for i := range s.R {
			s.R[i] = uint64(uint32(s.R[i]))
		}
	}
	s.R[x86.RSP] = oracleData + 2048 + uint64(r.IntN(64))*8
	s.Flags = x86.FlagOne | x86.FlagIF | r.Uint64()&(x86.FlagsArith|x86.FlagDF)
	// FXSAVE may raise #AC or #GP; masked stores differ, too.
	if o.amd && x.cpl == 3 && in.Op != 0x1ae && in.Op != 0x1f7 && r.IntN(16) == 0 {
		s.Flags |= x86.FlagAC
	}
	s.MXCSR = x86.MXCSRReset | uint32(r.IntN(4))<<13
	if r.IntN(4) == 0 {
		s.MXCSR |= uint32(r.IntN(2))<<15 | uint32(r.IntN(2))<<6
	}
	if r.IntN(16) == 0 {
		s.MXCSR &^= uint32(r.IntN(64)) << 7
	}
	switch x.kind {
	case native.WithXMM:
		for i := range s.XMM {
			s.XMM[i] = interestingVec(r)
		}
	case native.WithFPU:
		randomFPU(r, s)
	}
	o.operands(r, x)
	if in.Mod != 3 && x.e.modrm && in.Len != 0 {
		o.address(r, x)
	}
	if x.e.in32 {
		for i := range s.R {
			s.R[i] = uint64(uint32(s.R[i]))
		}
	}
}

// randomFPU makes an FXSAVE image.
func randomFPU(r *rand.Rand, s *native.State) {
	s.FPU = [fxLength]byte{}
	le.PutUint16(s.FPU[0:], 0x37f&^0x300|uint16([]int{0, 2, 3, 3}[r.IntN(4)])<<8|uint16(r.IntN(4))<<10)
	le.PutUint16(s.FPU[2:], uint16(r.Uint32())&0x7f00)

	if r.IntN(16) == 0 { // an exception pending, or soon
		s.FPU[0] &^= byte(r.IntN(64))
		s.FPU[2] = byte(r.IntN(64))
		if s.FPU[2]&^s.FPU[0] != 0 {
			s.FPU[2] |= 0x80
			s.FPU[3] |= 0x80
		}
	}
	s.FPU[4] = byte(r.Uint32() | r.Uint32())
	le.PutUint32(s.FPU[fxMXCSR:], s.MXCSR)
	for i := range 8 {
		v := r.Uint64()
		e := uint16(v) & 0x8000
		switch v >> 61 {
		case 0: // zero, infinity
			v &= 1
			e |= uint16(v * 0x7fff)
			v <<= 63
		case 1: // NaN
			e |= 0x7fff
			v = v<<2 | 1<<63
		case 2: // denormal, unsupported
			v >>= v & 63
		case 3, 4:
			e |= 0x3fff - 3 + uint16(v>>20&7)
			v = v<<(v&63) | 1<<63
		case 5: // an MMX register
			e, v = 0xffff, interesting(r)
		default:
			e |= uint16(v>>40) & 0x7fff
			v |= 1 << 63
		}
		le.PutUint64(s.FPU[32+16*i:], v)
		le.PutUint16(s.FPU[40+16*i:], e)
	}
	for i := range 32 {
		le.PutUint64(s.FPU[fxXMM+8*i:], interesting(r))
	}
}

// poke sets memory of the sandbox.
func (o *oracle) poke(at uint64, size uint8, v uint64) {
	if off := at - oracleData; off <= oracleSize-uint64(size) {
		x86.PutLE(o.mem[off:], size, v)
	}
}

// somewhere is an address to branch to.
func somewhere(r *rand.Rand, e *encoding) uint64 {
	if r.IntN(64) == 0 && !e.in32 {
		return 1 << 63 >> r.IntN(16)
	}
	return oracleCode + 600 + uint64(r.IntN(3000))
}

// operands sets what the instruction takes besides a memory operand.
func (o *oracle) operands(r *rand.Rand, x *trial) {
	s, in := &x.s, &x.in
	inSandbox := func() uint64 {
		a := oracleData + 1024 + uint64(r.IntN(1024))
		if r.IntN(64) == 0 {
			a = oracleData + oracleSize - uint64(r.IntN(40))
		}
		if in.AddressSize == 4 && !x.e.in32 {
			a |= r.Uint64() << 32
		}
		return a
	}
	switch op := in.Op; {
	case op >= 0xa4 && op <= 0xaf && op != 0xa8 && op != 0xa9, op >= 0x6c && op <= 0x6f: // string instructions
		s.R[x86.RSI], s.R[x86.RDI] = inSandbox(), inSandbox()
		if in.Rep != 0 {
			s.R[x86.RCX] = uint64(r.IntN(20))
			if in.AddressSize == 4 {
				s.R[x86.RCX] |= r.Uint64() << 32
			}
		}
		if in.Seg == x86.SegGS {
			s.R[x86.RSI] -= oracleGS
		}
		if r.IntN(2) == 0 { // runs of equal elements
			from, to := s.R[x86.RSI]&0xfff&^7, s.R[x86.RDI]&0xfff&^7
			for i := uint64(0); i < 64; i += 8 {
				o.poke(oracleData+from+i, 8, s.R[x86.RAX])
				o.poke(oracleData+to+i, 8, s.R[x86.RAX])
			}
		}
	case op == 0x1f7: // MASKMOVQ, MASKMOVDQU
		// Not across the border: what bytes that are masked do there depends on
		// the implementation.
		s.R[x86.RDI] = oracleData + 1024 + uint64(r.IntN(1024))
	case op == 0xd7: // XLAT
		s.R[x86.RBX] = inSandbox()
		if in.Seg == x86.SegGS {
			s.R[x86.RBX] -= oracleGS
		}
	case op == 0xc8, op == 0xc9: // ENTER, LEAVE
		s.R[x86.RBP] = oracleData + 1024 + uint64(r.IntN(1024))
	case op >= 0xe0 && op <= 0xe3: // LOOP, JRCXZ
		s.R[x86.RCX] = uint64(r.IntN(3))
		if r.IntN(4) == 0 {
			s.R[x86.RCX] |= r.Uint64() << 32
		}
	case op == 0xc2, op == 0xc3:
		o.poke(s.R[x86.RSP], 8, somewhere(r, x.e))
	case op == 0x9d: // POPF: no trap, no alignment check, no nested task
		o.poke(s.R[x86.RSP], 8, r.Uint64()&(x86.FlagsArith|x86.FlagDF|x86.FlagIF|x86.FlagOne|0x28|1<<15))
	case op == 0xff && in.Mod == 3 && (x.e.ext == 2 || x.e.ext == 4):
		s.R[in.RM] = somewhere(r, x.e)
	case op == 0xf6 || op == 0xf7:
		if x.e.ext > 5 && r.IntN(4) != 0 { // a quotient that fits
			s.R[x86.RDX] = uint64(int64(r.IntN(3) - 1))
			s.R[x86.RAX] &^= 0xff00
		}
	case bitString(in):
		s.R[in.Reg] = uint64(int64(r.IntN(4000) - 2000))
	case (op == 0x1b0 || op == 0x1b1) && in.Mod == 3 && r.IntN(2) == 0:
		s.R[in.RM] = s.R[x86.RAX]
	}
}

// address makes the registers of the memory operand fit the sandbox, and what
// is there the instruction.
func (o *oracle) address(r *rand.Rand, x *trial) {
	s, in := &x.s, &x.in
	if in.Index != x86.SlotZero && (in.Index != x86.RSP || in.Base == x86.SlotZero) {
		s.R[in.Index] = uint64(r.IntN(8)) << 4
	}
	to := oracleData + 1024 + uint64(r.IntN(64))<<4
	switch r.IntN(64) {
	case 0: // across the end, or beyond
		to = oracleData + oracleSize - uint64(r.IntN(40))
	case 1, 2, 3, 4, 5, 6, 7, 8:
		to += uint64(r.IntN(16))
	case 9:
		if in.AddressSize <= 4 {
			break // a large operand may wrap
		}
		to = 1 << 47 >> r.IntN(2) * uint64(r.IntN(4))
	}
	c := o.machines[0].c
	o.load(c, s, x)
	at := func() uint64 {
		c.rip = o.runner.Addr()
		c.next = c.rip + uint64(in.Len)
		copy(c.r[:16], s.R[:])
		c.r[x86.SlotGS] = oracleGS
		return c.operandAddr(in)
	}
	if in.Base != x86.SlotZero && in.Flags&x86.RIPRelative == 0 {
		s.R[in.Base] += to - at()
		if in.AddressSize == 4 && !x.e.in32 {
			s.R[in.Base] |= r.Uint64() << 32
		}
	}
	x.at = at()
	switch op := in.Op; {
	case op == 0xff && (x.e.ext == 2 || x.e.ext == 4):
		o.poke(x.at, 8, somewhere(r, x.e))
	case op == 0x1b0 || op == 0x1b1:
		if r.IntN(2) == 0 {
			o.poke(x.at, in.Size, s.R[x86.RAX])
		}
	case op == 0x1c7:
		if r.IntN(2) == 0 {
			o.poke(x.at, max(in.Size, 4), s.R[x86.RAX])
			o.poke(x.at+uint64(max(in.Size, 4)), max(in.Size, 4), s.R[x86.RDX])
		}
	case op == 0x1ae && x.e.ext == 1: // FXRSTOR
		off := x.at - oracleData
		if off <= oracleSize-fxLength {
			var image native.State
			image.MXCSR = s.MXCSR
			randomFPU(r, &image)
			copy(o.mem[off:], image.FPU[:])
		}
	case op == 0x1ae && x.e.ext == 2: // LDMXCSR
		o.poke(x.at, 4, r.Uint64()&0xffff|0x1f80)
	}
}

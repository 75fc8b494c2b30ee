package soft

import (
	"fmt"
	"math/rand/v2"

	"nvlab/vmm/soft/internal/native"
	"nvlab/vmm/soft/x86"
)

// An encoding is a kind of instruction: an opcode with its prefixes, the
// member of a group, and whether its operand is a register or memory. Its
// instances are made at random. The list of encodings is made from the
// decoder's attributes, and has all of both opcode maps.
type encoding struct {
	op     uint16 // as x86.Inst.Op
	prefix uint8  // prefixes, in encodingPrefixes
	w      bool   // REX.W
	modrm  bool
	mem    bool
	ext    int8 // member of a group, or -1
	rm     int8 // ModRM.rm of an x87 instruction without a memory operand, or -1
	in32   bool // in 32-bit code
}

var encodingPrefixes = []string{"", "\x66", "\xf3", "\xf2", "\x66\xf3", "\x66\xf2"}

// grouped opcodes have more of the opcode in ModRM.reg.
func grouped(op uint16) bool {
	switch op {
	case 0x80, 0x81, 0x83, 0x8f, 0xc0, 0xc1, 0xc6, 0xc7, 0xd0, 0xd1, 0xd2, 0xd3, 0xf6, 0xf7, 0xfe, 0xff,
		0x100, 0x101, 0x10d, 0x118, 0x11e, 0x171, 0x172, 0x173, 0x1ae, 0x1ba, 0x1c7:
		return true
	}
	return isX87(op)
}

func isX87(op uint16) bool { return op >= 0xd8 && op <= 0xdf }

// isPrefix says whether a byte is none of the one-byte map's opcodes.
func isPrefix(op uint16) bool {
	switch op {
	case 0x0f, 0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65, 0x66, 0x67, 0xf0, 0xf2, 0xf3:
		return true
	}
	return false
}

// allEncodings are those of 64-bit code, encodings32 those of 32-bit code.

func allEncodings() []encoding { return encodingsBy(false) }

func encodings32() []encoding { return encodingsBy(true) }

func encodingsBy(in32 bool) (list []encoding) {
	for op := range uint16(0x200) {
		if isPrefix(op) || !in32 && op >= 0x40 && op <= 0x4f {
			continue
		}
		for prefix := range uint8(len(encodingPrefixes)) {
			for _, w := range []bool{false, true} {
				e := encoding{op: op, prefix: prefix, w: w, ext: -1, rm: -1, in32: in32}
				switch {
				case w && in32:
				case !x86.HasModRM(op, !in32):
					list = append(list, e)
				case isX87(op) && (prefix > 1 || w):
				default:
					e.modrm = true
					list = e.operands(list)
				}
			}
		}
	}
	return list
}

func (e encoding) operands(list []encoding) []encoding {
	exts := []int8{-1}
	if grouped(e.op) {
		exts = []int8{0, 1, 2, 3, 4, 5, 6, 7}
	}
	for _, e.ext = range exts {
		e.mem, e.rm = true, -1
		list = append(list, e)
		e.mem = false
		if isX87(e.op) && e.prefix > 0 {
			continue
		}
		if !isX87(e.op) {
			list = append(list, e)
			continue
		}
		for e.rm = range int8(8) {
			list = append(list, e)
		}
	}
	return list
}

func (e *encoding) String() string {
	s := ""
	if e.in32 {
		s = "in 32-bit code "
	}
	for _, b := range []byte(encodingPrefixes[e.prefix]) {
		s += fmt.Sprintf("%02x ", b)
	}
	if e.w {
		s += "REX.W "
	}
	if e.op >= 0x100 {
		s += "0f "
	}
	s += fmt.Sprintf("%02x", uint8(e.op))
	if e.ext >= 0 {
		s += fmt.Sprintf(" /%d", e.ext)
	}
	switch {
	case e.mem:
		s += " with memory"
	case e.rm >= 0:
		s += fmt.Sprintf(" st(%d)", e.rm)
	case e.modrm:
		s += " with a register"
	}
	return s
}

// mandatory is the prefix that chooses among SSE instructions.
func (e *encoding) mandatory() byte {
	p := encodingPrefixes[e.prefix]
	if p == "" {
		return 0
	}
	return p[len(p)-1]
}

// redundant says that prefixes change nothing that an encoding without them
// does not show.
func (e *encoding) redundant() bool {
	if e.mandatory() < 0xf0 {
		return false
	}
	switch {
	case e.op >= 0xa4 && e.op <= 0xaf, e.op >= 0x6c && e.op <= 0x6f, e.op == 0x90:
		return false
	case e.sse():
		return e.prefix > 3
	}
	return true
}

func (e *encoding) sse() bool {
	switch o := e.op; {
	case o >= 0x110 && o <= 0x117, o >= 0x128 && o <= 0x12f, o >= 0x150 && o <= 0x17f, o >= 0x1d0 && o <= 0x1fe:
		return true
	case o == 0x1c2, o >= 0x1c4 && o <= 0x1c6:
		return true
	}
	return false
}

// kind says what state the instruction works on.
func (e *encoding) kind() native.Kind {
	if isX87(e.op) || e.op == 0x9b || e.op == 0x1ae {
		return native.WithFPU
	}
	if !e.sse() {
		return native.Plain
	}
	switch p := e.mandatory(); e.op {
	case 0x12a, 0x12c, 0x12d:
		if p < 0xf0 {
			return native.WithFPU
		}
	case 0x1d6:
		if p >= 0xf0 {
			return native.WithFPU
		}
	default:
		if p == 0 && e.op >= 0x160 && e.op != 0x1c2 && e.op != 0x1c6 {
			return native.WithFPU
		}
	}
	return native.WithXMM
}

// flow says that the instruction may go on elsewhere than after itself.
func flow(op uint16, ext int8) bool {
	switch {
	case op >= 0x70 && op <= 0x7f, op >= 0x180 && op <= 0x18f, op >= 0xe0 && op <= 0xe3,
		op == 0xe8, op == 0xe9, op == 0xeb, op == 0xc2, op == 0xc3:
		return true
	}
	return op == 0xff && ext >= 2 && ext <= 5
}

// simple says that the instruction goes on after itself, needs no privilege
// and has no operands but those that ModRM or the opcode names.
func (e *encoding) simple() bool {
	switch o := e.op; {
	case flow(e.op, e.ext), e.redundant():
		return false
	case o < 0x40, o == 0x63, o == 0x69, o == 0x6b, o >= 0x80 && o <= 0x8d && o != 0x8c, o >= 0x90 && o <= 0x99,
		o == 0x9e, o == 0x9f, o == 0xa8, o == 0xa9, o >= 0xb0 && o <= 0xc1, o == 0xc6, o == 0xc7, o >= 0xd0 && o <= 0xd3,
		o == 0xf5, o == 0xf6, o == 0xf7, o == 0xf8, o == 0xf9, o == 0xfc, o == 0xfd, o == 0xfe, o == 0xff:
		return true
	case o >= 0x140 && o <= 0x14f, o >= 0x190 && o <= 0x19f, o == 0x1a3, o == 0x1a4, o == 0x1a5, o == 0x1ab, o == 0x1ac, o == 0x1ad, o == 0x1af,
		o == 0x1b0, o == 0x1b1, o == 0x1b3, o == 0x1b6, o == 0x1b7, o >= 0x1ba && o <= 0x1c3, o >= 0x1c8 && o <= 0x1cf:
		return true
	}
	return e.sse()
}

// usualEncodings are those of simple instructions that are no exceptions in
// themselves.
func usualEncodings() (list []encoding) {
	r := rand.New(rand.NewPCG(1, 1))
	m := &testMachine{c: newCPU(&processors{}, 0)}
	m.c.cr4 = x86.CR4OSFXSR | x86.CR4OSXMMEXCPT
	m.c.fpu.reset()
	for _, e := range allEncodings() {
		if !e.simple() || e.op == 0xff && e.ext > 1 {
			continue
		}
		if e.mem {
			list = append(list, e)
			continue
		}
		if _, in := e.instance(r); in.Len == 0 || !execTable[in.Op](m.c, &in) && m.c.exc.vec == excUD {
			continue
		}
		list = append(list, e)
	}
	return list
}

// Where instances of encodings find memory.
const (
	oracleCode = 0x20001000 // in another place of the TLB than the data
	oracleData = 0x10000000
	oracleSize = x86.PageSize
	oracleGS   = 0x40 // base of GS
)

// instance encodes a random instance. One that cannot be decoded has an
// inst of length 0.
func (e *encoding) instance(r *rand.Rand) (code []byte, in x86.Inst) {
	for {
		code = e.random(r)
		if x86.Decode(code, &in, !e.in32) != x86.OK {
			return code[:12], x86.Inst{}
		}
		if in.Mod != 3 && in.Base == in.Index && in.Base != x86.SlotZero {
			continue // no base fits an address
		}
		if e.mem && bitString(&in) && (in.Reg == in.Base || in.Reg == in.Index) {
			continue
		}
		return code[:in.Len], in
	}
}

// bitString says that a register is an offset in bits from the operand.
func bitString(in *x86.Inst) bool {
	return in.Mod != 3 && in.Op >= 0x1a3 && in.Op <= 0x1bb && in.Op&7 == 3
}

// random encodes, with bytes to spare.
func (e *encoding) random(r *rand.Rand) []byte {
	code := make([]byte, 0, 32)
	if x86.Lockable(e.op) && e.mem && r.IntN(4) == 0 || r.IntN(256) == 0 {
		code = append(code, 0xf0)
	}
	code = append(code, encodingPrefixes[e.prefix]...)
	if r.IntN(8) == 0 && !flow(e.op, e.ext) {
		code = append(code, 0x67)
	}
	if e.mem && r.IntN(8) == 0 && !e.in32 {
		code = append(code, 0x65)
	}
	rex := byte(0)
	if r.IntN(2) == 0 && !e.in32 {
		rex = 0x40 | byte(r.IntN(8))
	}
	if e.w {
		rex |= 0x48
	}
	if rex != 0 {
		code = append(code, rex)
	}
	if e.op >= 0x100 {
		code = append(code, 0x0f)
	}
	code = append(code, byte(e.op))
	if e.modrm {
		code = e.appendModRM(r, code)
	}
	n := len(code)
	for range 12 {
		b := byte(r.Uint32())
		if r.IntN(3) == 0 {
			b = byte(r.IntN(9))
		}
		code = append(code, b)
	}
	imm := code[n:]
	switch near := 20 + r.IntN(100); {
	case e.op >= 0xa0 && e.op <= 0xa3: // absolute addresses
		x86.PutLE(imm, 8, oracleData+1024+uint64(r.IntN(64))*16)
	case e.op == 0xc8: // ENTER
		imm[1] = 0
	case e.op == 0xcd:
		imm[0] = []byte{3, 4, 5, 0x20, 0x81, 0xff}[r.IntN(6)]
	case e.op >= 0x70 && e.op <= 0x7f, e.op >= 0xe0 && e.op <= 0xe3, e.op == 0xeb:
		imm[0] = byte(near)
		if r.IntN(2) == 0 {
			imm[0] = byte(-near)
		}
	case e.op == 0xe8, e.op == 0xe9, e.op >= 0x180 && e.op <= 0x18f:
		if r.IntN(2) == 0 {
			near = -near
		}
		x86.PutLE(imm, 4, uint64(int64(3*near)))
	}
	return code
}

func (e *encoding) appendModRM(r *rand.Rand, code []byte) []byte {
	reg := byte(r.IntN(8))
	if e.ext >= 0 {
		reg = byte(e.ext)
	}
	reg <<= 3
	if !e.mem {
		rm := byte(r.IntN(8))
		if e.rm >= 0 {
			rm = byte(e.rm)
		}
		return append(code, 0xc0|reg|rm)
	}
	scale, index, base := byte(r.IntN(4))<<6, byte(r.IntN(8))<<3, byte(r.IntN(8))
	disp8 := byte(r.IntN(16) << 4)
	disp32 := uint32(r.IntN(64))<<4 - 512
	absolute := uint32(oracleData + 1024 + r.IntN(64)*16)
	if r.IntN(16) == 0 {
		absolute += uint32(r.IntN(16))
	}
	switch r.IntN(8) {
	case 0:
		if base&7 == 4 || base&7 == 5 {
			base = 3
		}
		return append(code, reg|base)
	case 1, 2:
		if base == 4 {
			base = 6
		}
		return append(code, 0x40|reg|base, disp8)
	case 3:
		if base == 4 {
			base = 7
		}
		return le32(append(code, 0x80|reg|base), disp32)
	case 4:
		return append(code, 0x40|reg|4, scale|index|base, disp8)
	case 5:
		return le32(append(code, 0x80|reg|4, scale|index|base), disp32)
	case 6:
		return le32(append(code, reg|4, scale|index|5), absolute)
	}
	if e.in32 {
		return le32(append(code, reg|5), absolute)
	}
	// Relative to RIP: the length is not known yet, and so the address is not
	// exact.
	to := uint64(absolute) - (oracleCode + native.Lead)
	if r.IntN(8) > 0 {
		to -= uint64(len(code) + 5)
	}
	return le32(append(code, reg|5), uint32(to))
}

// interesting makes values at which things happen.
func interesting(r *rand.Rand) uint64 { return interestingOf(r.Uint64()) }

// fill fills memory with such values. Each is of its place (SplitMix64), so that the
// host need not wait for the one before.
func fill(r *rand.Rand, mem []byte) {
	x := r.Uint64()
	for i := 0; i < len(mem); i += 8 {
		x += 0x9e3779b97f4a7c15
		z := (x ^ x>>30) * 0xbf58476d1ce4e5b9
		z = (z ^ z>>27) * 0x94d049bb133111eb
		le.PutUint64(mem[i:], interestingOf(z^z>>31))
	}
}

func interestingOf(x uint64) uint64 {
	bit, anything := uint64(1)<<(x&63), x*0x9e3779b97f4a7c15
	// A table, since the host cannot predict a branch by what is random.
	return [8]uint64{uint64(int64(int8(x))), bit, bit - 1, x & 0x7f, anything, anything, anything, anything}[x>>61]
}

func interestingVec(r *rand.Rand) [2]uint64 {
	lane := func() uint64 {
		x := r.Uint64()
		switch x >> 61 {
		case 0:
			return 0x3ff0000000000000 + x&(1<<20-1)<<32
		case 1:
			return 0x3f800000 | 0xbf800000<<32
		case 2:
			return x >> 9 &^ (0x1ff << 23)
		case 3, 4:
			return x * 0x9e3779b97f4a7c15
		}
		return interesting(r)
	}
	return [2]uint64{lane(), lane()}
}

package soft

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"strings"
)

const (
	undefShift = 1 << iota // the undefined flags depend on the count
	undefRotate
	undefMul
	undefDiv
	undefLogic
	undefBit
	undefScan
	undefDouble
)

// A form is a kind of instruction, of which instances are made at random.
type form struct {
	name   string
	op     []byte
	prefix byte // mandatory
	ext    int  // ModRM.reg, or -1 for a register
	modrm  bool
	imm    int  // bytes; 4 follows the operand size, 8 also for quadwords
	sizes  uint // operand sizes that are possible, as a sum of 1, 2, 4, 8
	undef  int
	regs   bool // register operands are possible
	mem    bool // memory operands are possible
	lock   bool
	vec    bool
	align  bool
	inReg  bool // the low bits of the opcode name a register
	mmx    bool
}

func oracleForms() (f []form) {
	add := func(x form) { f = append(f, x) }
	for i, n := range []string{"add", "or", "adc", "sbb", "and", "sub", "xor", "cmp"} {
		o := byte(i * 8)
		u := 0
		if i == aluOR || i == aluAND || i == aluXOR {
			u = undefLogic
		}
		lock := i != aluCMP
		add(form{name: n + " rm8,r8", op: []byte{o}, ext: -1, modrm: true, sizes: 1, undef: u, regs: true, mem: true, lock: lock})
		add(form{name: n + " rm,r", op: []byte{o + 1}, ext: -1, modrm: true, sizes: 14, undef: u, regs: true, mem: true, lock: lock})
		add(form{name: n + " r8,rm8", op: []byte{o + 2}, ext: -1, modrm: true, sizes: 1, undef: u, regs: true, mem: true})
		add(form{name: n + " r,rm", op: []byte{o + 3}, ext: -1, modrm: true, sizes: 14, undef: u, regs: true, mem: true})
		add(form{name: n + " al,imm", op: []byte{o + 4}, sizes: 1, imm: 1, undef: u})
		add(form{name: n + " ax,imm", op: []byte{o + 5}, sizes: 14, imm: 4, undef: u})
		add(form{name: n + " rm8,imm8", op: []byte{0x80}, ext: i, modrm: true, sizes: 1, imm: 1, undef: u, regs: true, mem: true, lock: lock})
		add(form{name: n + " rm,imm", op: []byte{0x81}, ext: i, modrm: true, sizes: 14, imm: 4, undef: u, regs: true, mem: true, lock: lock})
		add(form{name: n + " rm,imm8", op: []byte{0x83}, ext: i, modrm: true, sizes: 14, imm: 1, undef: u, regs: true, mem: true, lock: lock})
	}
	rm := func(name string, op []byte, ext int, sizes uint, imm, undef int, lock bool) {
		add(form{name: name, op: op, ext: ext, modrm: true, sizes: sizes, imm: imm, undef: undef, regs: true, mem: true, lock: lock})
	}
	rm("test rm8,r8", []byte{0x84}, -1, 1, 0, undefLogic, false)
	rm("test rm,r", []byte{0x85}, -1, 14, 0, undefLogic, false)
	add(form{name: "test al,imm", op: []byte{0xa8}, sizes: 1, imm: 1, undef: undefLogic})
	add(form{name: "test ax,imm", op: []byte{0xa9}, sizes: 14, imm: 4, undef: undefLogic})
	for i, n := range []string{"test", "test2", "not", "neg", "mul", "imul", "div", "idiv"} {
		imm8, imm, u := 0, 0, 0
		switch {
		case i < 2:
			imm8, imm, u = 1, 4, undefLogic
		case i == 4 || i == 5:
			u = undefMul
		case i > 5:
			u = undefDiv
		}
		rm(n+" rm8", []byte{0xf6}, i, 1, imm8, u, i == 2 || i == 3)
		rm(n+" rm", []byte{0xf7}, i, 14, imm, u, i == 2 || i == 3)
	}
	rm("inc rm8", []byte{0xfe}, 0, 1, 0, 0, true)
	rm("dec rm8", []byte{0xfe}, 1, 1, 0, 0, true)
	rm("inc rm", []byte{0xff}, 0, 14, 0, 0, true)
	rm("dec rm", []byte{0xff}, 1, 14, 0, 0, true)
	for i, n := range []string{"rol", "ror", "rcl", "rcr", "shl", "shr", "sal", "sar"} {
		u := undefRotate
		if i > 3 {
			u = undefShift
		}
		rm(n+" rm8,imm", []byte{0xc0}, i, 1, 1, u, false)
		rm(n+" rm,imm", []byte{0xc1}, i, 14, 1, u, false)
		rm(n+" rm8,1", []byte{0xd0}, i, 1, 0, u, false)
		rm(n+" rm,1", []byte{0xd1}, i, 14, 0, u, false)
		rm(n+" rm8,cl", []byte{0xd2}, i, 1, 0, u, false)
		rm(n+" rm,cl", []byte{0xd3}, i, 14, 0, u, false)
	}
	rm("shld rm,r,imm", []byte{0x0f, 0xa4}, -1, 14, 1, undefDouble, false)
	rm("shld rm,r,cl", []byte{0x0f, 0xa5}, -1, 14, 0, undefDouble, false)
	rm("shrd rm,r,imm", []byte{0x0f, 0xac}, -1, 14, 1, undefDouble, false)
	rm("shrd rm,r,cl", []byte{0x0f, 0xad}, -1, 14, 0, undefDouble, false)
	rm("imul r,rm", []byte{0x0f, 0xaf}, -1, 14, 0, undefMul, false)
	rm("imul r,rm,imm", []byte{0x69}, -1, 14, 4, undefMul, false)
	rm("imul r,rm,imm8", []byte{0x6b}, -1, 14, 1, undefMul, false)
	for i, n := range []string{"bt", "bts", "btr", "btc"} {
		rm(n+" rm,r", []byte{0x0f, 0xa3 + byte(i*8)}, -1, 14, 0, undefBit, i != 0)
		rm(n+" rm,imm", []byte{0x0f, 0xba}, 4+i, 14, 1, undefBit, i != 0)
	}
	rm("bsf", []byte{0x0f, 0xbc}, -1, 14, 0, undefScan, false)
	rm("bsr", []byte{0x0f, 0xbd}, -1, 14, 0, undefScan, false)
	rm("xadd rm8,r8", []byte{0x0f, 0xc0}, -1, 1, 0, 0, true)
	rm("xadd rm,r", []byte{0x0f, 0xc1}, -1, 14, 0, 0, true)
	rm("cmpxchg rm8,r8", []byte{0x0f, 0xb0}, -1, 1, 0, 0, true)
	rm("cmpxchg rm,r", []byte{0x0f, 0xb1}, -1, 14, 0, 0, true)
	add(form{name: "cmpxchg8b/16b", op: []byte{0x0f, 0xc7}, ext: 1, modrm: true, sizes: 12, mem: true, lock: true, align: true})
	rm("xchg rm8,r8", []byte{0x86}, -1, 1, 0, 0, true)
	rm("xchg rm,r", []byte{0x87}, -1, 14, 0, 0, true)
	rm("mov rm8,r8", []byte{0x88}, -1, 1, 0, 0, false)
	rm("mov rm,r", []byte{0x89}, -1, 14, 0, 0, false)
	rm("mov r8,rm8", []byte{0x8a}, -1, 1, 0, 0, false)
	rm("mov r,rm", []byte{0x8b}, -1, 14, 0, 0, false)
	rm("mov rm8,imm", []byte{0xc6}, 0, 1, 1, 0, false)
	rm("mov rm,imm", []byte{0xc7}, 0, 14, 4, 0, false)
	add(form{name: "lea", op: []byte{0x8d}, ext: -1, modrm: true, sizes: 14, mem: true})
	rm("movsxd", []byte{0x63}, -1, 12, 0, 0, false)
	rm("movzx r,rm8", []byte{0x0f, 0xb6}, -1, 14, 0, 0, false)
	rm("movzx r,rm16", []byte{0x0f, 0xb7}, -1, 12, 0, 0, false)
	rm("movsx r,rm8", []byte{0x0f, 0xbe}, -1, 14, 0, 0, false)
	rm("movsx r,rm16", []byte{0x0f, 0xbf}, -1, 12, 0, 0, false)
	for cc := range 16 {
		rm(fmt.Sprintf("set%d", cc), []byte{0x0f, 0x90 + byte(cc)}, 0, 1, 0, 0, false)
		rm(fmt.Sprintf("cmov%d", cc), []byte{0x0f, 0x40 + byte(cc)}, -1, 14, 0, 0, false)
	}
	add(form{name: "mov r8,imm", op: []byte{0xb0}, inReg: true, sizes: 1, imm: 1})
	add(form{name: "mov r,imm", op: []byte{0xb8}, inReg: true, sizes: 14, imm: 8})
	add(form{name: "xchg r,ax", op: []byte{0x90}, inReg: true, sizes: 14})
	add(form{name: "bswap", op: []byte{0x0f, 0xc8}, inReg: true, sizes: 12})
	for _, x := range []struct {
		n string
		o byte
		s uint
	}{{"cbw", 0x98, 14}, {"cwd", 0x99, 14}, {"cmc", 0xf5, 4}, {"clc", 0xf8, 4}, {"stc", 0xf9, 4}, {"cld", 0xfc, 4}, {"std", 0xfd, 4},
		{"sahf", 0x9e, 4}, {"lahf", 0x9f, 4}} {
		add(form{name: x.n, op: []byte{x.o}, sizes: x.s})
	}
	add(form{name: "movnti", op: []byte{0x0f, 0xc3}, ext: -1, modrm: true, sizes: 12, mem: true})
	return append(f, vectorForms()...)
}

func vectorForms() (f []form) {
	for _, p := range []struct {
		prefix byte
		ops    string
	}{
		{0, "10 11 14 15 28 29 2e 2f 50 51 52 53 54 55 56 57 58 59 5a 5b 5c 5d 5e 5f c2 c6"},
		{0x66, "10 11 14 15 28 29 2e 2f 50 51 54 55 56 57 58 59 5a 5b 5c 5d 5e 5f 60 61 62 63 64 65 66 67 68 69 6a 6b 6c 6d 6e 6f 70 74 75 76 7e 7f c2 c4 c5 c6 " +
			"d1 d2 d3 d4 d5 d6 d7 d8 d9 da db dc dd de df e0 e1 e2 e3 e4 e5 e6 e8 e9 ea eb ec ed ee ef f1 f2 f3 f4 f5 f6 f8 f9 fa fb fc fd fe"},
		{0xf3, "10 11 2a 2c 2d 51 52 53 58 59 5a 5b 5c 5d 5e 5f 6f 70 7e 7f c2 e6"},
		{0xf2, "10 11 2a 2c 2d 51 58 59 5a 5c 5d 5e 5f 70 c2 e6"},
	} {
		for _, s := range strings.Fields(p.ops) {
			var o byte
			fmt.Sscanf(s, "%x", &o)
			imm := 0
			switch o {
			case 0x70, 0xc2, 0xc4, 0xc5, 0xc6:
				imm = 1
			}
			sizes := uint(4)
			switch o {
			case 0x2a, 0x2c, 0x2d, 0x6e:
				sizes = 12
			case 0x7e:
				if p.prefix == 0x66 {
					sizes = 12
				}
			}
			mem := o != 0x50 && o != 0xc5 && o != 0xd7
			if o == 0x52 || o == 0x53 {
				continue // approximations, which differ between processors
			}
			f = append(f, form{name: fmt.Sprintf("sse %02x 0f %02x", p.prefix, o), op: []byte{0x0f, o}, prefix: p.prefix,
				ext: -1, modrm: true, sizes: sizes, imm: imm, regs: true, mem: mem, vec: true, align: true})
		}
	}
	for _, x := range []struct {
		prefix, op byte
	}{{0, 0x12}, {0, 0x13}, {0x66, 0x12}, {0x66, 0x13}, {0, 0x16}, {0, 0x17}, {0x66, 0x16}, {0x66, 0x17}, {0, 0x2b}, {0x66, 0x2b}, {0x66, 0xe7}} {
		f = append(f, form{name: fmt.Sprintf("sse %02x 0f %02x", x.prefix, x.op), op: []byte{0x0f, x.op}, prefix: x.prefix,
			ext: -1, modrm: true, sizes: 4, mem: true, vec: true, align: true})
	}
	f = append(f, form{name: "movhlps", op: []byte{0x0f, 0x12}, ext: -1, modrm: true, sizes: 4, regs: true, vec: true},
		form{name: "movlhps", op: []byte{0x0f, 0x16}, ext: -1, modrm: true, sizes: 4, regs: true, vec: true})
	for g, exts := range map[byte][]int{0x71: {2, 4, 6}, 0x72: {2, 4, 6}, 0x73: {2, 3, 6, 7}} {
		for _, e := range exts {
			f = append(f, form{name: fmt.Sprintf("sse shift %02x/%d", g, e), op: []byte{0x0f, g}, prefix: 0x66,
				ext: e, modrm: true, sizes: 4, imm: 1, regs: true, vec: true})
		}
	}
	return f
}

// undefined gives the flags that an instance does not define.
func (f *form) undefined(in *inst, count uint64) uint64 {
	switch f.undef {
	case undefLogic:
		return flagAF
	case undefMul:
		return flagSF | flagZF | flagAF | flagPF
	case undefDiv:
		return flagsArith
	case undefBit:
		return flagOF | flagSF | flagAF | flagPF
	case undefScan:
		return flagsArith &^ flagZF
	}
	n := shiftCount(count, in.size)
	if n == 0 {
		return 0
	}
	width := 8 * uint64(in.size)
	var u uint64
	switch f.undef {
	case undefShift:
		u = flagAF
		if n != 1 {
			u |= flagOF
		}
		if n > width {
			u |= flagCF
		}
	case undefRotate:
		if n != 1 {
			u |= flagOF
		}
	case undefDouble:
		u = flagAF
		if n != 1 {
			u |= flagOF
		}
		if n > width {
			u = flagsArith
		}
	}
	return u
}

// instance encodes a random instance. Memory operands use base, and index if
// not 4, scaled by scale.
func (f *form) instance(r *rand.Rand) (code []byte, size uint8) {
	var sizes []uint8
	for _, s := range []uint8{1, 2, 4, 8} {
		if f.sizes&uint(s) != 0 {
			sizes = append(sizes, s)
		}
	}
	size = sizes[r.IntN(len(sizes))]
	mem := f.mem && (!f.regs || r.IntN(2) == 0)
	reg := func() byte {
		for {
			if n := byte(r.IntN(16)); n != 4 {
				return n
			}
		}
	}
	vreg := func() byte {
		if f.vec {
			return byte(r.IntN(16))
		}
		return reg()
	}
	if f.lock && mem && r.IntN(2) == 0 {
		code = append(code, 0xf0)
	}
	if size == 2 && !f.vec {
		code = append(code, 0x66)
	}
	if f.prefix != 0 {
		code = append(code, f.prefix)
	}
	rex := byte(0)
	if size == 8 {
		rex = 0x48
	}
	if size == 1 && r.IntN(2) == 0 {
		rex |= 0x40
	}
	var modrm []byte
	op := bytes.Clone(f.op)
	if f.inReg {
		n := reg()
		if size == 1 && rex == 0 && n == 0xc {
			n = 0
		}
		op[len(op)-1] |= n & 7
		if n >= 8 {
			rex |= 0x41
		}
	}
	if f.modrm {
		rg := byte(f.ext)
		if f.ext < 0 {
			rg = vreg()
			if f.vec && (op[1] == 0x50 || op[1] == 0xc5 || op[1] == 0xd7 || (op[1]|1) == 0x2d && f.prefix >= 0xf2) {
				rg = reg()
			}
			if rg >= 8 {
				rex |= 0x44
			}
		}
		if !mem {
			m := vreg()
			if f.vec && (op[1] == 0x6e || op[1] == 0x7e && f.prefix == 0x66 || op[1] == 0xc4 || op[1] == 0x2a) {
				m = reg()
			}
			if m >= 8 {
				rex |= 0x41
			}
			modrm = []byte{0xc0 | rg&7<<3 | m&7}
		} else {
			modrm = f.address(r, rg, &rex, reg)
		}
	}
	if rex != 0 {
		code = append(code, rex)
	}
	code = append(code, op...)
	code = append(code, modrm...)
	n := f.imm
	switch {
	case f.imm == 4:
		n = int(min(size, 4))
	case f.imm == 8:
		n = int(size)
	}
	for range n {
		b := byte(r.Uint32())
		if r.IntN(3) == 0 {
			b = byte(r.IntN(9))
		}
		code = append(code, b)
	}
	return code, size
}

// address makes a memory operand: its registers get values that fit later.
func (f *form) address(r *rand.Rand, rg byte, rex *byte, reg func() byte) []byte {
	disp := func(mod byte) []byte {
		if mod == 0x40 {
			return []byte{byte(r.IntN(8)) << 4}
		}
		return []byte{byte(r.IntN(16)) << 4, byte(r.IntN(2)), 0, 0}
	}
	mod := byte(0x40)
	if r.IntN(2) == 0 {
		mod = 0x80
	}
	base := reg()
	if base >= 8 {
		*rex |= 0x41
	}
	if r.IntN(2) == 0 && base&7 != 4 {
		return append([]byte{mod | rg&7<<3 | base&7}, disp(mod)...)
	}
	index := reg()
	for index == base {
		index = reg()
	}
	if index >= 8 {
		*rex |= 0x42
	}
	return append([]byte{mod | rg&7<<3 | 4, byte(r.IntN(4))<<6 | index&7<<3 | base&7}, disp(mod)...)
}

// interesting makes values at which things happen.
func interesting(r *rand.Rand) uint64 {
	switch r.IntN(6) {
	case 0:
		return uint64(int64(int8(r.Uint32())))
	case 1:
		return 1 << r.IntN(64)
	case 2:
		return 1<<r.IntN(64) - 1
	case 3:
		return uint64(r.IntN(70))
	}
	return r.Uint64()
}

func interestingVec(r *rand.Rand) [2]uint64 {
	lane := func() uint64 {
		switch r.IntN(8) {
		case 0:
			return 0x3ff0000000000000 + uint64(r.IntN(1<<20))<<32
		case 1:
			return 0x3f800000 | 0xbf800000<<32
		case 2:
			return uint64(r.Uint32()>>9)<<32 | uint64(r.Uint32()>>9)
		}
		return interesting(r)
	}
	return [2]uint64{lane(), lane()}
}

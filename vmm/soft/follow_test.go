package soft

import (
	"bytes"
	"context"
	"math/rand/v2"
	"testing"
	"time"

	"nvlab/vmm"
	"nvlab/vmm/observe"
	"nvlab/vmm/soft/x86"
)

// symbols is an observer of values that keeps how each was computed, so that it can be said what
// it would be if the watched page held something else.
type symbols struct {
	held   []byte // what the watched page holds
	read   map[int]bool
	nodes  []symbol
	tables [][]uint64
	ram    map[uint64]symbolByte
	decide []decided
}

type symbol struct {
	op    int // of observe.ValueOp, or one of these
	a, b  observe.Value
	k     uint64
	table int
	bytes []symbolByte
	bits  uint64
}

const (
	symbolLoad = 100 + iota
	symbolLook
)

// symbolByte is a byte of the watched page, or of a value, or one that is known.
type symbolByte struct {
	at    int // in the page, plus 1
	v     observe.Value
	of    uint8
	known uint8
}

type decided struct {
	v    observe.Value
	zero bool
}

func (s *symbols) Follows() bool { return true }

func (s *symbols) symbolAt(addr uint64, held uint8) symbolByte {
	b := symbolByte{known: held}
	if addr >= watched {
		b.at = int(addr-watched) + 1
	} else if is, ok := s.ram[addr]; ok {
		b = is
	}
	if b.at > 0 && s.read[b.at-1] {
		return symbolByte{known: held}
	}
	return b
}

func (b symbolByte) isKnown() bool { return b.at == 0 && b.v == 0 }

func (s *symbols) add(n symbol) observe.Value {
	if n.bits == 0 {
		return 0
	}
	s.nodes = append(s.nodes, n)
	return observe.Value(len(s.nodes) - 1)
}

func (s *symbols) Take(base, offset uint64, n uint8, held uint64, _ bool) observe.Value {
	var list []symbolByte
	some := false
	bits := uint64(0)
	for i := range n {
		b := s.symbolAt(base+offset+uint64(i), uint8(held>>(8*i)))
		some = some || !b.isKnown()
		list = append(list, b)
		if b.isKnown() {
			bits |= uint64(b.known) << (8 * i)
		} else {
			bits |= 0xff << (8 * i)
		}
	}
	if !some {
		return 0
	}
	return s.add(symbol{op: symbolLoad, bytes: list, bits: bits})
}

func (s *symbols) Compute(op observe.ValueOp, a, b observe.Value, k uint64) observe.Value {
	n := symbol{op: int(op), a: a, b: b, k: k}
	x, y := s.nodes[a].bits, s.nodes[b].bits
	switch op {
	case observe.ValueXor:
		n.bits = x | y
		if b == 0 {
			n.bits = x | k
		}
	case observe.ValueAnd:
		n.bits = x & k
	case observe.ValueLeft:
		n.bits = x << k
	case observe.ValueRight:
		n.bits = x >> k
	}
	return s.add(n)
}

func (s *symbols) Bits(v observe.Value) uint64 { return s.nodes[v].bits }

func (s *symbols) Table(entries []uint64) int {
	s.tables = append(s.tables, entries)
	return len(s.tables) - 1
}

func (s *symbols) Look(v observe.Value, table int) observe.Value {
	return s.add(symbol{op: symbolLook, a: v, table: table, bits: ^uint64(0)})
}

func (s *symbols) Decide(v observe.Value) {
	s.decide = append(s.decide, decided{v, s.eval(v, s.held) == 0})
}

func (s *symbols) Reveal(v observe.Value) {
	n := s.nodes[v]
	if n.op != symbolLoad {
		for _, of := range []observe.Value{n.a, n.b} {
			if of != 0 {
				s.Reveal(of)
			}
		}
		return
	}
	for _, b := range n.bytes {
		s.reveal(b)
	}
}

func (s *symbols) reveal(b symbolByte) {
	if b.at > 0 {
		s.read[b.at-1] = true
	}
	if b.v != 0 {
		s.Reveal(b.v)
	}
}

func (s *symbols) Put(addr uint64, n uint8, v observe.Value) uint64 {
	for i := range n {
		s.ram[addr+uint64(i)] = symbolByte{v: v, of: i}
	}
	return linesOf(s.ram, addr)
}

func (s *symbols) Load(e *observe.Load) bool {
	for i := range uint64(e.Size) {
		at := e.Base + e.Offset + i
		s.reveal(s.symbolAt(at, 0))
		delete(s.ram, at)
	}
	return false
}

func (s *symbols) Copy(e *observe.Copy) uint64 {
	for i := range e.Size {
		b := s.symbolAt(e.Base+e.Offset+i, 0)
		delete(s.ram, e.To+i)
		if !b.isKnown() {
			s.ram[e.To+i] = b
		}
	}
	return linesOf(s.ram, e.To)
}

func (s *symbols) Overwritten(addr, n uint64) uint64 {
	for i := range n {
		delete(s.ram, addr+i)
	}
	return linesOf(s.ram, addr)
}

// eval is a value if the watched page holds something.
func (s *symbols) eval(v observe.Value, held []byte) uint64 {
	n := s.nodes[v]
	a := uint64(0)
	if n.a != 0 {
		a = s.eval(n.a, held)
	}
	switch n.op {
	case int(observe.ValueXor):
		if n.b != 0 {
			return a ^ s.eval(n.b, held)
		}
		return a ^ n.k
	case int(observe.ValueAnd):
		return a & n.k
	case int(observe.ValueLeft):
		return a << n.k
	case int(observe.ValueRight):
		return a >> n.k
	case symbolLook:
		return s.tables[n.table][a]
	}
	is := uint64(0)
	for i, b := range n.bytes {
		is |= uint64(s.evalByte(b, held)) << (8 * i)
	}
	return is
}

func (s *symbols) evalByte(b symbolByte, held []byte) uint8 {
	switch {
	case b.at > 0:
		return held[b.at-1]
	case b.v != 0:
		return uint8(s.eval(b.v, held) >> (8 * b.of))
	}
	return b.known
}

// follow programs have RSI at the watched page, RDI at a page of ordinary memory, RBP at a table,
// and R15 for the loop.
const (
	followTable = testData + 0x4000
	followRAM   = testData + 0x1000
)

// followProgram is some instructions that compute with RAX, RCX, RDX, RBX and R8 to R11.
func followProgram(r *rand.Rand) []byte {
	regs := []uint8{0, 1, 2, 3, 8, 9, 10, 11}
	reg := func() uint8 { return regs[r.IntN(len(regs))] }
	// An instruction with a ModRM byte: kind says whether its memory operand may be
	// the watched page (1), or ordinary memory (2), or it is a register (4).
	modrm := func(op []byte, field uint8, kinds int, imm ...byte) []byte {
		var b []byte
		if r.IntN(5) == 0 {
			b = append(b, 0x66)
		}
		rex := byte(0)
		if r.IntN(3) == 0 {
			rex = 0x48
		}
		own := reg()
		if field == 0xff {
			field = own & 7
			rex |= own >> 3 << 2
		}
		var m []byte
		kind := 0
		for kind == 0 {
			kind = 1 << r.IntN(3) & kinds
		}
		switch kind {
		case 1:
			m = []byte{0x46 | field<<3, byte(r.IntN(0x80 - 8))}
		case 2:
			m = []byte{0x47 | field<<3, byte(r.IntN(0x40))}
		default:
			rm := reg()
			m = []byte{0xc0 | field<<3 | rm&7}
			rex |= rm >> 3
		}
		if rex != 0 {
			b = append(b, rex|0x40)
		}
		b = append(b, op...)
		b = append(b, m...)
		if op[0] == 0x81 || op[0] == 0x69 || op[0] == 0xc7 || op[0] == 0xf7 && field < 2 {
			if b[0] == 0x66 && rex&8 == 0 {
				return append(b, byte(r.Uint32()), byte(r.Uint32()))
			}
			return append(b, byte(r.Uint32()), byte(r.Uint32()), byte(r.Uint32()), byte(r.Uint32()))
		}
		return append(b, imm...)
	}
	const any = 0xff
	any8 := func() byte { return byte(r.Uint32()) }
	pick := func(list ...byte) byte { return list[r.IntN(len(list))] }
	listed := []int{0, 1, 2, 4, 5, 6, 7, 8, 13, 14, 15, 19, 20, 32, 33} // mostly of what is followed
	most := r.IntN(4)
	single := func() []byte {
		alu := uint8(r.IntN(8))
		which := r.IntN(34)
		if r.IntN(4) < most {
			which = listed[r.IntN(len(listed))]
		}
		switch which {
		case 0, 1, 2:
			return modrm([]byte{0x8b}, any, 3)
		case 3:
			return modrm([]byte{pick(0x8a, 0x88)}, any, 4)
		case 4:
			return modrm([]byte{0x0f, pick(0xb6, 0xb7, 0xbe, 0xbf)}, any, 7)
		case 5, 6:
			return modrm([]byte{0x31 | pick(0, 2)}, any, 4) // XOR
		case 7:
			return modrm([]byte{0x33}, any, 7)
		case 8:
			return modrm([]byte{pick(0x09, 0x21, 0x0b, 0x23, 0x08, 0x20)}, any, 4)
		case 9:
			return modrm([]byte{alu<<3 | pick(0, 1, 2, 3)}, any, 4)
		case 10:
			return modrm([]byte{alu<<3 | pick(0, 1, 2, 3)}, any, 2)
		case 11:
			return modrm([]byte{0x81}, alu, 6)
		case 12:
			return modrm([]byte{pick(0x80, 0x83)}, alu, 6, any8())
		case 13:
			return modrm([]byte{pick(0x84, 0x85)}, any, 7)
		case 14, 15:
			return modrm([]byte{pick(0xc0, 0xc1)}, pick(4, 5, 4, 5, 0, 1, 2, 3, 7), 6, any8()&31)
		case 16:
			return modrm([]byte{pick(0xd0, 0xd1, 0xd2, 0xd3)}, uint8(r.IntN(8)), 6)
		case 17:
			return modrm([]byte{0xf7}, pick(0, 2, 3, 4, 5), 6)
		case 18:
			return modrm([]byte{0xff}, pick(0, 1), 6)
		case 19, 20:
			return modrm([]byte{pick(0x89, 0x89, 0x88)}, any, 6)
		case 21:
			return modrm([]byte{pick(0x86, 0x87)}, any, 6)
		case 22:
			return modrm([]byte{0x0f, 0x40 | byte(r.IntN(16))}, any, 7)
		case 23:
			return modrm([]byte{0x0f, 0x90 | byte(r.IntN(16))}, 0, 6)
		case 24:
			return modrm([]byte{0x0f, pick(0xa3, 0xab, 0xb3, 0xbb)}, any, 4)
		case 25:
			return modrm([]byte{0x0f, pick(0xbc, 0xbd, 0xaf)}, any, 7)
		case 26:
			return modrm([]byte{0x0f, pick(0xb0, 0xb1, 0xc0, 0xc1)}, any, 6)
		case 27:
			return modrm([]byte{0x8d}, any, 2)
		case 28:
			return modrm([]byte{0x0f, pick(0xa4, 0xac)}, any, 6, any8()&31)
		case 29:
			n := reg()
			return []byte{0x48 | n>>3, 0x0f, 0xc8 | n&7}
		case 30:
			return []byte{pick(0x98, 0x99, 0xf5, 0xf8, 0xf9, 0xfc)}
		case 31:
			return modrm([]byte{0xc7}, 0, 6)
		case 32:
			return modrm([]byte{0x39 | pick(0, 2)}, any, 7) // CMP
		}
		n := reg()
		return []byte{0x48 | n>>3, 0x81, 0xe0 | n&7, any8(), 0, 0, 0} // AND reg, a byte
	}
	var code []byte
	steps := 3 + r.IntN(25)
	if r.IntN(2) == 0 { // few instructions, with values in all registers and in the flags
		for i, n := range regs {
			code = append(code, 0x48|n>>3<<2, 0x8b, 0x46|n&7<<3, byte(8*i))
		}
		code = append(code, 0x48, 0x33, 0x46|3<<3, 0x48) // xor rbx, [rsi+0x48]
		steps, most = 1+r.IntN(3), 0
	}
	for range steps {
		switch r.IntN(12) {
		case 0: // a byte of a table
			a, b := reg(), reg()&7
			code = append(code, 0x41&(0x40|a>>3)|0x40, 0x0f, 0xb6, 0xc8|a&7) // movzx ecx, a
			code = append(code, pick(0x8b, 0x33), 0x44|b&3<<3, 0x8d, 0)      // mov or xor b, [rbp+rcx*4]
		case 1: // a branch over an instruction
			over := single()
			if r.IntN(3) > 0 {
				code = append(code, modrm([]byte{pick(0x33, 0x8b)}, any, 1)...)
				code = append(code, modrm([]byte{pick(0x85, 0x39, 0x31, 0x21)}, any, 4)...)
			}
			code = append(code, 0x70|pick(4, 5, 4, 5, byte(r.IntN(16))), byte(len(over)))
			code = append(code, over...)
		case 2: // over the stack
			a, b := reg(), reg()
			code = append(code, 0x40|a>>3, 0x50|a&7)
			code = append(code, single()...)
			code = append(code, 0x40|b>>3, 0x58|b&7)
		case 3:
			switch r.IntN(4) {
			case 0:
				code = append(code, 0x9c)
				code = append(code, single()...)
				code = append(code, 0x9d)
			case 1: // copy some, as many as are known, or as ECX says
				code = append(code, 0x56, 0x57)
				if r.IntN(2) == 0 {
					code = append(code, 0xb9, byte(r.IntN(40)), 0, 0, 0) // mov ecx
				} else {
					code = append(code, 0x83, 0xe1, 0x1f) // and ecx, 31
				}
				code = append(code, 0xf3, pick(0xa4, 0xaa), 0x5f, 0x5e)
			case 2: // copy one, from ordinary memory
				code = append(code, 0x56, 0x57, 0x48, 0x89, 0xfe, 0xff, 0xc7, pick(0xa4, 0xa5), 0x5f, 0x5e)
			default: // call what follows, and take the address away
				code = append(code, 0xe8, 0, 0, 0, 0, 0x48, 0x83, 0xc4, 8)
			}
		default:
			code = append(code, single()...)
			if r.IntN(3) == 0 { // what uses the flags that it leaves
				code = append(code, 0x0f, 0x90|byte(r.IntN(16)), 0xc0|reg()&7)
			}
		}
	}
	return code
}

// followRun is what a run of a program left.
type followRun struct {
	State
	ram    []byte
	values values
}

// followMachines are machines by tier, which run one program after the other.
type followMachines map[string]*testMachine

// run runs a program on what the watched page holds, with an observer or without,
// and keeps the machine's memory in ram.
func (f followMachines) run(t *testing.T, tier string, program, held []byte, s *symbols, ram []byte) followRun {
	m := f[tier]
	if m == nil {
		m = newTestMachineWith(t, Engine{Interpreter: tier != "compiler"})
		m.p.exact = tier == "executor"
		f[tier] = m
	} else {
		if err := m.p.WatchLoads(nil, nil); err != nil {
			t.Fatal(err)
		}
		if err := m.p.Unmap(watched); err != nil {
			t.Fatal(err)
		}
		m.reset(t)
		m.p.dropCode()
	}
	if m.p.cache.native != nil {
		m.p.cache.heat = 2
	}
	region := make([]byte, x86.PageSize)
	copy(region, held)
	if err := m.p.Map(vmm.Region{Base: watched, Mem: region, Observed: true}); err != nil {
		t.Fatal(err)
	}
	m.mapPage(watched, watched, pteP|pteW|pteU)
	m.start(testCode)
	m.stubs()
	for i := range uint32(256) {
		c := i
		for range 8 {
			c = c>>1 ^ c&1*0x82f63b78
		}
		m.put(followTable+4*uint64(i), byte(c), byte(c>>8), byte(c>>16), byte(c>>24))
	}
	code := []byte{0x41, 0xbf, byte(1 + len(program)%3), 0, 0, 0} // mov r15d, some
	for i, n := range []uint8{0, 1, 2, 3, 8, 9, 10, 11} {
		code = append(code, 0x40|n>>3, 0xb8|n&7, byte(i*37), byte(i), byte(i*i), 0)
	}
	loop := le32([]byte{0xbe}, watched)
	loop = le32(append(loop, 0xbf), followRAM)
	loop = le32(append(loop, 0xbd), followTable)
	loop = le32(append(loop, 0xbc), testStack-64)
	loop = append(loop, program...)
	if len(program)%2 == 0 { // else its flags are what the run ends with
		loop = append(loop, 0x41, 0xff, 0xcf, 0x0f, 0x85) // dec r15d; jnz
		loop = le32(loop, uint32(-len(loop)-4))
	}
	m.put(testCode, append(append(code, loop...), 0xf4)...)
	if s != nil {
		w := &observe.Watch{}
		for at := uint64(watched); at < watched+0x80; at += 64 {
			w.Add(at)
		}
		if err := m.p.WatchLoads(w, s); err != nil {
			t.Fatal(err)
		}
	}
	if exit, err := m.p.Run(context.Background(), 100*time.Microsecond); err != nil {
		t.Fatalf("Run = %v, %v at %#x", exit, err, m.c.rip)
	}
	copyRAM(t, ram, m.ram)
	return followRun{m.p.States()[0], ram, m.c.values}
}

// TestFollowedValues runs random programs that compute with bytes of a page that is watched, on
// two contents of it. Nothing differs from a run that is not watched. And where the contents agree in what
// is told to be read, and in what is told to be decided, nothing differs between them but
// what is said to be computed of the page, and that is what was said.
func TestFollowedValues(t *testing.T) {
	t.Parallel()
	programs := 500
	if testing.Short() {
		programs = 150
	}
	machines := followMachines{}
	var rams [4][]byte
	for i := range rams {
		rams[i] = newRAM(t, testEnd)
	}
	compared, changed, followed, decisions := 0, 0, 0, 0
	for seed := range uint64(programs) {
		r := rand.New(rand.NewPCG(seed, 3))
		program := followProgram(r)
		tier := []string{"executor", "interpreter", "compiler"}[seed%3]
		held := make([]byte, 0x80)
		for i := range held {
			held[i] = byte(r.Uint32())
			if r.IntN(3) == 0 {
				held[i] = 0
			}
		}
		s := &symbols{held: held, read: map[int]bool{}, nodes: make([]symbol, 1), ram: map[uint64]symbolByte{}}
		plain := machines.run(t, tier, program, held, nil, rams[0])
		m := machines.run(t, tier, program, held, s, rams[1])
		if diff, equal := plain.Differ(m.State), ramMismatch(plain.ram, m.ram) < 0; diff != "" || !equal {
			t.Fatalf("seed %d, %x by the %s: the run ends otherwise if values are followed (memory equal: %v):\n%s", seed, program, tier, equal, diff)
		}
		if m.values.live {
			followed++
		}
		decisions += len(s.decide)
		for range 6 {
			other := bytes.Clone(held)
			n := 0
			for i := range other {
				if !s.read[i] && r.IntN(1+r.IntN(20)) == 0 {
					other[i] ^= byte(r.Uint32())
					n++
				}
			}
			agree := n > 0
			for _, d := range s.decide {
				agree = agree && (s.eval(d.v, other) == 0) == d.zero
			}
			if !agree {
				continue
			}
			compared++
			o := machines.run(t, tier, program, other, nil, rams[2])
			got, want := o.State, m.State
			for i, v := range m.values.r {
				if v != 0 {
					if is := s.eval(v, other); got.R[i] != is {
						t.Fatalf("seed %d, %x by the %s: register %d is %#x, and %#x is what it is said to be computed of", seed, program, tier, i, got.R[i], is)
					}
					if got.R[i] != want.R[i] {
						changed++
					}
					got.R[i] = want.R[i]
				}
			}
			if v := m.values; v.flags != 0 {
				if zf := got.RFLAGS&x86.FlagZF != 0; v.zero != 0 && zf != (s.eval(v.zero, other) == 0) || v.zero == 0 && (got.RFLAGS^want.RFLAGS)&x86.FlagZF != 0 {
					t.Fatalf("seed %d, %x by the %s: ZF is %v, which it is not said to be", seed, program, tier, zf)
				}
				got.RFLAGS = got.RFLAGS&^x86.FlagsArith | want.RFLAGS&x86.FlagsArith
			}
			if diff := got.Differ(want); diff != "" {
				t.Fatalf("seed %d, %x by the %s: what is not followed differs, with bytes that are not told to be read:\n%s", seed, program, tier, diff)
			}
			said := rams[3]
			copyRAM(t, said, m.ram)
			for at, b := range s.ram {
				said[at] = s.evalByte(b, other)
			}
			if at := ramMismatch(o.ram, said); at >= 0 {
				t.Fatalf("seed %d, %x by the %s: memory at %#x holds %#x, want %#x", seed, program, tier, at, o.ram[at], said[at])
			}
		}
	}
	for _, m := range machines {
		m.p.Close()
	}
	t.Logf("%d pairs of runs are compared, in which %d registers differ; %d decisions; %d programs end with values", compared, changed, decisions, followed)
	if compared < programs || changed < programs/4 || decisions < programs/20 {
		t.Errorf("%d pairs of runs are compared, in which %d registers differ, and %d values decide: the test has hardly any", compared, changed, decisions)
	}
}

package native

import "encoding/binary"

// call runs the code at an address, as a function without arguments.
//
//go:noescape
func call(code uintptr)

// scratch is where generated code keeps what it needs, in the state page.
const (
	offFlags = 16 * 8
	offMXCSR = offFlags + 8
	offHost  = offMXCSR + 8 // the host's RSP, RBP, MXCSR
	offXMM   = 256
)

// Runner runs one instruction at a time, at a fixed address.
type Runner struct {
	code, state []byte
	codeAddr    uint64
	stateAddr   uint64
}

// Prepare assembles the code around an instruction. The instruction itself is
// at Addr.
func (r *Runner) Prepare(insn []byte, vectors bool) {
	a := assembler{b: r.code[:0]}
	a.movImm(0, r.stateAddr)
	a.store(0, 4, offHost)
	a.store(0, 5, offHost+8)
	a.bytes(0x0f, 0xae, 0x98) // stmxcsr [rax+disp32]
	a.disp(offHost + 16)
	if vectors {
		a.bytes(0x0f, 0xae, 0x90) // ldmxcsr
		a.disp(offMXCSR)
		for i := range 16 {
			a.vector(0x10, i)
		}
	}
	a.bytes(0xff, 0xb0) // push [rax+disp32]
	a.disp(offFlags)
	a.bytes(0x9d) // popfq
	for i := 15; i >= 0; i-- {
		if i != 4 {
			a.load(0, i, 8*i)
		}
	}
	for len(a.b) < Lead {
		a.bytes(0x90)
	}
	a.bytes(insn...)
	a.bytes(0x48, 0xa3) // mov [moffs64], rax
	a.b = binary.LittleEndian.AppendUint64(a.b, r.stateAddr)
	a.movImm(0, r.stateAddr)
	for i := 1; i < 16; i++ {
		if i != 4 {
			a.store(0, i, 8*i)
		}
	}
	a.load(0, 4, offHost)
	a.load(0, 5, offHost+8)
	a.bytes(0x9c)       // pushfq
	a.bytes(0x8f, 0x80) // pop [rax+disp32]
	a.disp(offFlags)
	if vectors {
		for i := range 16 {
			a.vector(0x11, i)
		}
		a.bytes(0x0f, 0xae, 0x98)
		a.disp(offMXCSR)
	}
	a.bytes(0x0f, 0xae, 0x90)
	a.disp(offHost + 16)
	a.bytes(0xfc, 0xc3) // cld; ret
	if len(a.b) > len(r.code) {
		panic("code does not fit")
	}
}

// Lead is the offset of the instruction in its page.
const Lead = 512

// Addr is the address of the instruction.
func (r *Runner) Addr() uint64 { return r.codeAddr + Lead }

// Run runs the prepared instruction on s.
func (r *Runner) Run(s *State) {
	le := binary.LittleEndian
	for i, v := range s.R {
		le.PutUint64(r.state[8*i:], v)
	}
	le.PutUint64(r.state[offFlags:], s.Flags)
	le.PutUint32(r.state[offMXCSR:], s.MXCSR)
	for i, v := range s.XMM {
		le.PutUint64(r.state[offXMM+16*i:], v[0])
		le.PutUint64(r.state[offXMM+16*i+8:], v[1])
	}
	call(uintptr(r.codeAddr))
	for i := range s.R {
		if i != 4 {
			s.R[i] = le.Uint64(r.state[8*i:])
		}
	}
	s.Flags = le.Uint64(r.state[offFlags:])
	s.MXCSR = le.Uint32(r.state[offMXCSR:])
	for i := range s.XMM {
		s.XMM[i] = [2]uint64{le.Uint64(r.state[offXMM+16*i:]), le.Uint64(r.state[offXMM+16*i+8:])}
	}
}

type assembler struct{ b []byte }

func (a *assembler) bytes(b ...byte) { a.b = append(a.b, b...) }

func (a *assembler) disp(d int) { a.b = binary.LittleEndian.AppendUint32(a.b, uint32(d)) }

func (a *assembler) movImm(r byte, v uint64) {
	a.bytes(0x48, 0xb8|r)
	a.b = binary.LittleEndian.AppendUint64(a.b, v)
}

// load and store move register r from and to [base+d]; base is below 8.
func (a *assembler) load(base, r, d int)  { a.move(0x8b, base, r, d) }
func (a *assembler) store(base, r, d int) { a.move(0x89, base, r, d) }

func (a *assembler) move(op byte, base, r, d int) {
	a.bytes(0x48|byte(r>>3)<<2, op, 0x80|byte(r&7)<<3|byte(base))
	a.disp(d)
}

func (a *assembler) vector(op byte, i int) {
	if i >= 8 {
		a.bytes(0x44)
	}
	a.bytes(0x0f, op, 0x80|byte(i&7)<<3)
	a.disp(offXMM + 16*i)
}

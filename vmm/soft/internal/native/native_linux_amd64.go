package native

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// call runs the code at an address, as a function without arguments.
//
//go:noescape
func call(code uintptr)

// What generated code keeps in the state page.
const (
	offFlags = 16 * 8
	offMXCSR = offFlags + 8
	offHost  = offMXCSR + 8 // the host's RSP, RBP, MXCSR
	offFar   = offHost + 24 // a far pointer to the instruction
	offXMM   = 256
	offFPU   = 1024
)

const (
	pageSize  = 4096
	stateSize = pageSize
)

const opINT3 = 0xcc

// filler is a page of INT3.
var filler = [pageSize]byte(bytes.Repeat([]byte{opINT3}, pageSize))

// Runner runs one instruction at a time, at a fixed address. Its methods are
// for one thread.
type Runner struct {
	code, state []byte // code: the instruction's page, then that of the code around it
	codeAddr    uint64
	stateAddr   uint64
	catcher     *Catcher
	entry, exit [In32 + kinds]uint64
	kind        Kind
	end         int // offset of the byte after the instruction
}

// New makes a runner whose code lies at the given address.
func New(addr uint64) (*Runner, error) {
	r := &Runner{codeAddr: addr, stateAddr: addr + 1<<16}
	var err error
	if r.code, err = Map(addr, 2*pageSize, true); err != nil {
		return nil, err
	}
	if r.state, err = Map(r.stateAddr, stateSize, false); err != nil {
		return nil, errors.Join(err, Unmap(r.code))
	}
	if r.catcher, err = Catch(0, ^uint64(0)); err != nil {
		return nil, errors.Join(err, Unmap(r.code), Unmap(r.state))
	}
	a := assembler{b: r.code[pageSize:pageSize]}
	for k := range In32 + kinds {
		r.entry[k] = addr + pageSize + uint64(len(a.b))
		r.enter(&a, k)
		r.exit[k] = addr + pageSize + uint64(len(a.b))
		r.leave(&a, k)
	}
	binary.LittleEndian.PutUint32(r.state[offFar:], uint32(r.Addr()))
	binary.LittleEndian.PutUint16(r.state[offFar+4:], userCS32)
	return r, nil
}

// Close unmaps all.
func (r *Runner) Close() error {
	return errors.Join(r.catcher.Close(), Unmap(r.code), Unmap(r.state))
}

// enter assembles what loads the state and jumps to the instruction.
func (r *Runner) enter(a *assembler, k Kind) {
	a.movImm(0, r.stateAddr)
	a.store(0, 4, offHost)
	a.store(0, 5, offHost+8)
	a.bytes(0x0f, 0xae, 0x98) // stmxcsr [rax+disp32]
	a.disp(offHost + 16)
	if k&In32 != 0 {
		a.bytes(0xb9, userDS, 0, 0, 0, 0x8e, 0xd9, 0x8e, 0xc1) // mov ecx, userDS; mov ds, ecx; mov es, ecx
	}
	switch k &^ In32 {
	case WithXMM:
		a.bytes(0x0f, 0xae, 0x90) // ldmxcsr
		a.disp(offMXCSR)
		for i := range 16 {
			a.vector(0x10, i)
		}
	case WithFPU:
		a.bytes(0x48, 0x0f, 0xae, 0x88) // fxrstor64
		a.disp(offFPU)
	}
	a.bytes(0xff, 0xb0) // push [rax+disp32]
	a.disp(offFlags)
	a.bytes(0x9d) // popfq
	for i := 15; i >= 0; i-- {
		a.load(0, i, 8*i)
	}
	if k&In32 != 0 {
		a.bytes(0xff, 0x2c, 0x25) // jmp far dword [disp32]
		a.disp(int(r.stateAddr + offFar))
		return
	}
	a.jump(r, r.Addr())
}

// leave assembles what keeps the state and returns.
func (r *Runner) leave(a *assembler, k Kind) {
	a.bytes(0x48, 0xa3) // mov [moffs64], rax
	a.b = binary.LittleEndian.AppendUint64(a.b, r.stateAddr)
	a.movImm(0, r.stateAddr)
	for i := 1; i < 16; i++ {
		a.store(0, i, 8*i)
	}
	a.load(0, 4, offHost)
	a.load(0, 5, offHost+8)
	a.bytes(0x9c)       // pushfq
	a.bytes(0x8f, 0x80) // pop [rax+disp32]
	a.disp(offFlags)
	if k&In32 != 0 {
		a.bytes(0xb9, 0, 0, 0, 0, 0x8e, 0xd9, 0x8e, 0xc1) // mov ecx, 0; mov ds, ecx; mov es, ecx: as Linux has them
	}
	switch k &^ In32 {
	case WithXMM:
		for i := range 16 {
			a.vector(0x11, i)
		}
		a.bytes(0x0f, 0xae, 0x98)
		a.disp(offMXCSR)
	case WithFPU:
		a.bytes(0x48, 0x0f, 0xae, 0x80) // fxsave64
		a.disp(offFPU)
		a.bytes(0xdb, 0xe3) // fninit
	}
	a.bytes(0x0f, 0xae, 0x90)
	a.disp(offHost + 16)
	a.bytes(0x6a, 0x02, 0x9d, 0xc3) // push 2; popfq; ret: no DF, no AC
}

// Prepare takes the instruction to run, and returns its page for what else it
// needs there.
func (r *Runner) Prepare(insn []byte, k Kind) (page []byte) {
	page = r.code[:pageSize]
	copy(page, filler[:])
	r.kind = k
	r.end = Lead + copy(page[Lead:], insn)
	a := assembler{b: page[:r.end]}
	a.jump(r, r.exit[k])
	return page
}

// Addr is the address of the instruction.
func (r *Runner) Addr() uint64 { return r.codeAddr + Lead }

// Run runs the prepared instruction on s. It ends in the instruction's
// exception or, with trap, else in an INT3 at what comes next; without, what
// comes next must be what follows.
func (r *Runner) Run(s *State, trap bool) Fault {
	const opJMP = 0xe9
	next := byte(opJMP)
	if trap {
		next = opINT3
	}
	if r.code[r.end] != next {
		r.code[r.end] = next
	}
	le := binary.LittleEndian
	for i, v := range s.R {
		le.PutUint64(r.state[8*i:], v)
	}
	le.PutUint64(r.state[offFlags:], s.Flags)
	switch r.kind &^ In32 {
	case WithXMM:
		le.PutUint32(r.state[offMXCSR:], s.MXCSR)
		for i, v := range s.XMM {
			le.PutUint64(r.state[offXMM+16*i:], v[0])
			le.PutUint64(r.state[offXMM+16*i+8:], v[1])
		}
	case WithFPU:
		copy(r.state[offFPU:], s.FPU[:])
	}
	r.catcher.Arm(r.exit[r.kind])
	call(uintptr(r.entry[r.kind]))
	for i := range s.R {
		s.R[i] = le.Uint64(r.state[8*i:])
	}
	s.Flags = le.Uint64(r.state[offFlags:])
	switch r.kind &^ In32 {
	case WithXMM:
		s.MXCSR = le.Uint32(r.state[offMXCSR:])
		for i := range s.XMM {
			s.XMM[i] = [2]uint64{le.Uint64(r.state[offXMM+16*i:]), le.Uint64(r.state[offXMM+16*i+8:])}
		}
	case WithFPU:
		copy(s.FPU[:], r.state[offFPU:])
	}
	return r.catcher.Fault()
}

// OnlyFaults blocks all signals of the thread but those of exceptions, and
// returns what undoes that: Go's handlers cannot run with EFLAGS.AC set.
func OnlyFaults() (undo func() error, err error) {
	var block, before unix.Sigset_t
	for i := range block.Val {
		block.Val[i] = ^uint64(0)
	}
	for _, s := range faultSignals {
		block.Val[0] &^= 1 << (s - 1)
	}
	if err := unix.PthreadSigmask(unix.SIG_SETMASK, &block, &before); err != nil {
		return nil, fmt.Errorf("block signals: %w", err)
	}
	return func() error { return unix.PthreadSigmask(unix.SIG_SETMASK, &before, nil) }, nil
}

// SetGSBase sets the base of GS of the thread, which Go does not use.
func SetGSBase(base uint64) error {
	const archSetGS = 0x1001
	if _, _, errno := unix.RawSyscall(unix.SYS_ARCH_PRCTL, archSetGS, uintptr(base), 0); errno != 0 {
		return fmt.Errorf("set the base of GS: %w", errno)
	}
	return nil
}

type assembler struct{ b []byte }

func (a *assembler) bytes(b ...byte) { a.b = append(a.b, b...) }

func (a *assembler) disp(d int) { a.b = binary.LittleEndian.AppendUint32(a.b, uint32(d)) }

func (a *assembler) movImm(r byte, v uint64) {
	a.bytes(0x48, 0xb8|r)
	a.b = binary.LittleEndian.AppendUint64(a.b, v)
}

// jump assembles a jump; a.b begins somewhere in r.code.
func (a *assembler) jump(r *Runner, to uint64) {
	at := r.codeAddr + uint64(cap(r.code)-cap(a.b)) + uint64(len(a.b))
	a.bytes(0xe9)
	a.disp(int(to - at - 5))
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

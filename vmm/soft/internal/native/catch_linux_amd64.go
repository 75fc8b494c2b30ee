package native

import (
	"encoding/binary"
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// faultSignals are those that Linux makes of exceptions.
var faultSignals = []unix.Signal{unix.SIGILL, unix.SIGTRAP, unix.SIGBUS, unix.SIGFPE, unix.SIGSEGV}

// Catcher turns exceptions that code in a range of addresses raises into jumps
// to a landing, without Go's runtime: a handler of its own changes the saved
// CS and RIP and nothing else. So no Go code ever runs with what the
// exception left in MXCSR or in the x87 unit. Exceptions elsewhere, and those of
// other threads than the one that called Catch, reach the handlers that were
// there before. There may be one at a time.
type Catcher struct {
	code, record []byte
	old          map[unix.Signal]sigaction
}

// Offsets in the record, which handler and tests share.
const (
	recLow = 8 * iota
	recSize
	recStack // the signal stack, by which the handler knows its thread
	recStackSize
	recLanding
	recRaised
	recVector
	recError
	recAddr
	recRIP
	recOld // by signal
)

// Offsets in the kernel's struct ucontext (arch/x86/include/uapi/asm).
const (
	ucRIP    = 168
	ucCS     = 184
	ucError  = 192
	ucVector = 200
	ucAddr   = 216
)

// Selectors of Linux's user programs (arch/x86/include/asm/segment.h).
const (
	userCS32 = 0x23
	userDS   = 0x2b
	userCS   = 0x33
)

// Flags of the kernel's struct sigaction.
const (
	saSigInfo  = 0x4
	saRestorer = 0x04000000
	saOnStack  = 0x08000000
)

// Catch catches the exceptions that the thread raises in code in the size bytes
// from low on. The caller has locked its goroutine to the thread.
func Catch(low, size uint64) (*Catcher, error) {
	stack, err := signalStack()
	if err != nil {
		return nil, err
	}
	code, err := unix.Mmap(-1, 0, 4096, unix.PROT_READ|unix.PROT_WRITE|unix.PROT_EXEC, unix.MAP_PRIVATE|unix.MAP_ANON)
	if err != nil {
		return nil, fmt.Errorf("memory for a handler: %w", err)
	}
	record, err := unix.Mmap(-1, 0, 4096, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("memory for a handler: %w", err), unix.Munmap(code))
	}
	c := &Catcher{code: code, record: record, old: map[unix.Signal]sigaction{}}
	c.put(recLow, low)
	c.put(recSize, size)
	c.put(recStack, stack.sp)
	c.put(recStackSize, stack.size)

	a := assembler{b: code[:0]}
	a.bytes(0x48, 0x8b, 0x82) // mov rax, [rdx+ucRIP]
	a.disp(ucRIP)
	a.movImm(1, addrOf(record))              // mov rcx, record
	a.bytes(0x49, 0x89, 0xc0)                // mov r8, rax
	a.bytes(0x4c, 0x2b, 0x41, recLow)        // sub r8, [rcx+recLow]
	a.bytes(0x4c, 0x3b, 0x41, recSize)       // cmp r8, [rcx+recSize]
	a.bytes(0x73, 0)                         // jae old
	outside := len(a.b)                      //
	a.bytes(0x49, 0x89, 0xe0)                // mov r8, rsp
	a.bytes(0x4c, 0x2b, 0x41, recStack)      // sub r8, [rcx+recStack]
	a.bytes(0x4c, 0x3b, 0x41, recStackSize)  // cmp r8, [rcx+recStackSize]
	a.bytes(0x73, 0)                         // jae old
	another := len(a.b)                      //
	a.bytes(0x48, 0x83, 0x79, recLanding, 0) // cmp qword [rcx+recLanding], 0
	a.bytes(0x74, 0)                         // je old
	unarmed := len(a.b)                      //
	a.bytes(0x48, 0x89, 0x41, recRIP)        // mov [rcx+recRIP], rax
	for _, m := range []struct{ from, to int }{{ucVector, recVector}, {ucError, recError}, {ucAddr, recAddr}} {
		a.bytes(0x48, 0x8b, 0x82) // mov rax, [rdx+from]
		a.disp(m.from)
		a.bytes(0x48, 0x89, 0x41, byte(m.to)) // mov [rcx+to], rax
	}
	a.bytes(0x48, 0xc7, 0x41, recRaised, 1, 0, 0, 0) // mov qword [rcx+recRaised], 1
	a.bytes(0x48, 0x8b, 0x41, recLanding)            // mov rax, [rcx+recLanding]
	a.bytes(0x48, 0x89, 0x82)                        // mov [rdx+ucRIP], rax
	a.disp(ucRIP)
	a.bytes(0x66, 0xc7, 0x82) // mov word [rdx+ucCS], userCS
	a.disp(ucCS)
	a.bytes(userCS, 0)
	a.bytes(0xc3) // ret
	for _, jump := range []int{outside, another, unarmed} {
		code[jump-1] = byte(len(a.b) - jump)
	}
	a.bytes(0x89, 0xf8, 0xff, 0x64, 0xc1, recOld) // mov eax, edi; jmp [rcx+rax*8+recOld]
	restorer := len(a.b)
	a.bytes(0xb8, unix.SYS_RT_SIGRETURN, 0, 0, 0, 0x0f, 0x05) // mov eax, SYS_RT_SIGRETURN; syscall

	act := sigaction{
		handler:  addrOf(code),
		flags:    saSigInfo | saOnStack | saRestorer,
		restorer: addrOf(code) + uint64(restorer),
		mask:     ^uint64(0),
	}
	for _, s := range faultSignals {
		before, err := swapAction(s, nil)
		if err != nil {
			return nil, errors.Join(err, c.Close())
		}
		c.put(recOld+8*int(s), before.handler)
		if _, err := swapAction(s, &act); err != nil {
			return nil, errors.Join(err, c.Close())
		}
		c.old[s] = before
	}
	return c, nil
}

func (c *Catcher) put(off int, v uint64) { binary.LittleEndian.PutUint64(c.record[off:], v) }

func (c *Catcher) get(off int) uint64 { return binary.LittleEndian.Uint64(c.record[off:]) }

// Arm says where exceptions go to until Fault is called.
func (c *Catcher) Arm(landing uint64) {
	c.put(recLanding, landing)
	c.put(recRaised, 0)
}

// Fault returns what was caught since Arm.
func (c *Catcher) Fault() Fault {
	c.put(recLanding, 0)
	if c.get(recRaised) == 0 {
		return Fault{Vector: -1}
	}
	return Fault{Vector: int(c.get(recVector)), Error: c.get(recError), Addr: c.get(recAddr), RIP: c.get(recRIP)}
}

// Close gives the signals back to whom they belonged.
func (c *Catcher) Close() error {
	var err error
	for s, before := range c.old {
		_, e := swapAction(s, &before)
		err = errors.Join(err, e)
	}
	return errors.Join(err, unix.Munmap(c.code), unix.Munmap(c.record))
}

package fp

import (
	"nvlab/internal/require"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The tests that are called Native run an instruction on the host's CPU, and
// expect the same of the package.

// machine is what generated code reads and writes, by way of RAX.
type machine struct {
	dst, src Vec       // 0x00, 0x10: loaded into and stored from xmm0; xmm1
	mxcsr    uint32    // 0x20
	_        uint32    // 0x24: saved MXCSR
	gpr      uint64    // 0x28: rcx
	mm       [2]uint64 // 0x30
	flags    [3]byte   // 0x40: ZF, PF, CF
	_        [5]byte   // 0x43
	fpu      [108]byte // 0x48: an FNSAVE image, before and after
	_        [4]byte   // 0xB4
	mem      [128]byte // 0xB8: a memory operand
}

// Pieces of machine code on a machine.
const (
	saveMXCSR    = "\x0F\xAE\x58\x24"             // stmxcsr [rax+saved]
	loadMXCSR    = "\x0F\xAE\x50\x20"             // ldmxcsr [rax+mxcsr]
	storeMXCSR   = "\x0F\xAE\x58\x20"             // stmxcsr [rax+mxcsr]
	restoreMXCSR = "\x0F\xAE\x50\x24"             // ldmxcsr [rax+saved]
	loadXMM      = "\x0F\x10\x00\x0F\x10\x48\x10" // movups xmm0, [rax]; movups xmm1, [rax+0x10]
	storeXMM     = "\x0F\x11\x00"                 // movups [rax], xmm0
	loadGPR      = "\x48\x8B\x48\x28"             // mov rcx, [rax+gpr]
	storeGPR     = "\x48\x89\x48\x28"             // mov [rax+gpr], rcx
	loadFlags    = "\x51\x9D"                     // push rcx; popfq
	loadMM       = "\x0F\x6F\x40\x30\x0F\x6F\x48\x38"
	storeMM      = "\x0F\x7F\x40\x30\x0F\x77" // movq [rax+mm], mm0; emms
	storeFlags   = "\x0F\x94\x40\x40\x0F\x9A\x40\x41\x0F\x92\x40\x42"
	ret          = "\xC3"

	enter = saveMXCSR + loadMXCSR + loadXMM
	leave = storeXMM + storeMXCSR + restoreMXCSR + ret
)

// native is executable memory.
type native struct {
	page []byte
	used int
	amd  bool // the host's CPU: what is not defined, the package does as AMD's
}

func newNative(t testing.TB) *native {
	page, err := unix.Mmap(-1, 0, 1<<18, unix.PROT_READ|unix.PROT_WRITE|unix.PROT_EXEC, unix.MAP_PRIVATE|unix.MAP_ANON)
	if err != nil {
		require.Missing(t, "JIT", "this host allows no generated code: %v", err)
	}
	t.Cleanup(func() { unix.Munmap(page) })
	n := &native{page: page}
	// xor eax, eax; cpuid; mov [rsi+gpr], rcx: the end of "AuthenticAMD"
	var m machine
	n.compile("\x48\x89\xC6\x31\xC0\x0F\xA2\x48\x89\x4E\x28" + ret)(&m)
	n.amd = uint32(m.gpr) == 'c'|'A'<<8|'M'<<16|'D'<<24
	return n
}

// compile gives a function that runs machine code with RAX pointing to a
// machine. The code may use all registers but RSP, RBP, R14 and xmm15, and a
// few words of stack.
func (n *native) compile(code string) func(*machine) {
	entry := n.place(code)
	// A Go function value points to a word that holds its address, and Go
	// passes the first argument in RAX.
	word := &entry
	return *(*func(*machine))(unsafe.Pointer(&word))
}

// place puts machine code where it can run.
func (n *native) place(code string) *byte {
	if n.used+len(code) > len(n.page) {
		n.used = 0
	}
	entry := &n.page[n.used]
	n.used += copy(n.page[n.used:], code)
	return entry
}

// addrOf is the address of memory that is not the collector's.
func addrOf(b *byte) uint64 { return uint64(uintptr(unsafe.Pointer(b))) }

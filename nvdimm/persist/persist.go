// Package persist says what survives when power fails. It follows the stores,
// flushes and fences of a guest and keeps, per line of 64 bytes, what is
// guaranteed to be on the medium and the ordered stores that may or may not
// have reached it. What the guest sees is the memory itself.
//
// The rules, by the names that comments use. "SDM" is the Intel 64 and IA-32
// Architectures Software Developer's Manual, "APM" the AMD64 Architecture
// Programmer's Manual. Where the two differ, or one can be read in two ways,
// the rule is what both promise, unless Config asks for another.
//
//	R1   Write-back stores of a CPU are not reordered with each other;
//	     non-temporal ones and those of one string instruction are (SDM 3A,
//	     9.2.2).
//	R2   Intel: no store, non-temporal or not, is reordered with a CLFLUSH of
//	     any line, before or after it, nor one CLFLUSH with another (SDM 3A,
//	     9.2.2; SDM 2A, CLFLUSH).
//	R3   Intel: CLFLUSH is ordered with fences and locked instructions too, but
//	     not with CLFLUSHOPT and CLWB (SDM 2A, CLFLUSH).
//	R4   CLFLUSHOPT waits for older stores to its line, and is waited for by
//	     SFENCE, MFENCE and locked instructions only (SDM 2A, CLFLUSHOPT).
//	R5   So does CLWB: of what orders it the manual names SFENCE, MFENCE, XCHG
//	     and LOCK, and no serializing instruction or I/O (SDM 2A, CLWB).
//	R6   No store passes an I/O, locked or serializing instruction, SFENCE or
//	     MFENCE (SDM 3A, 9.2.2). CPUID, IRET, INVLPG and moves to control and
//	     debug registers are serializing; so is WRMSR, but for the TSC
//	     deadline and a few others (SDM 3A, 9.3; 11.5.4.1).
//	R7   A non-temporal store may wait in a write-combining buffer until a
//	     fence, a locked, serializing or I/O instruction, an access to uncached
//	     memory, or an interrupt from outside (SDM 3A, 12.3.1). Exceptions are
//	     not named, nor INT. Other CPUs' stores to the same bytes may become
//	     visible before it; its own CPU's do not.
//	R8   The stores of one string instruction may become visible in any order,
//	     but before the CPU's next store (SDM 3A, 9.2.4).
//	R9   Power failure does not tear a store within 8 aligned bytes (SDM 3A,
//	     9.1.1; APM 2, 7.3.2), nor one with LOCK or a MOVDIR64B within its
//	     line. An aligned store of 16 bytes stays whole on processors with AVX
//	     (SDM 3A, 9.1.1), which the one shown to guests is not.
//	R10  Stores to one line persist in their order; lines persist in any (Raad
//	     et al., "Persistency semantics of the Intel-x86 architecture", POPL
//	     2020).
//	R11  AMD: CLFLUSH is ordered by MFENCE only, on both sides. Without one
//	     before it, it may look at the line as early as its CPU's store buffer
//	     was last empty, and miss what any CPU stored after that (APM 3,
//	     CLFLUSH). An exception empties that buffer as well (APM 2, 7.5; SDM
//	     3A, 12.10).
//	R12  With eADR what is visible is durable; non-temporal stores still need
//	     a fence.
//	R13  A store to a flush hint makes durable what reached the memory
//	     controller of that DIMM (Linux, drivers/nvdimm/region_devs.c).
//	R14  Capability bit 0 is eADR, bit 1 is ADR (ACPI 6.2A, table 5-137).
//	R15  Without capabilities and hints Linux takes ADR for granted
//	     (nvdimm_has_flush).
//	R16  The kernel's durable write is movnti or clwb, then sfence, a store to
//	     the hint, sfence (memcpy_flushcache, nvdimm_flush).
//	R17  WBINVD writes back the caches of its own CPU, and those that no CPU
//	     has for itself (SDM 2D, WBINVD; APM 3, WBINVD).
//	R18  A store to uncached memory is in memory when it is visible, but in no
//	     order with others to its line as far as caches or the memory
//	     controller hold them; the parts of one that crosses 8 bytes come in
//	     any order. One to write-through memory is on its way there, and there
//	     after a fence (SDM 3A, 12.3).
//	R19  A flush request of virtio-pmem makes durable all that was visible
//	     before it, flushed or not; nothing else does (Virtual I/O Device
//	     specification 1.2, 5.19.6).
//	R20  A device's store may go to a cache, from where a flush of its line
//	     writes it back, and in no order with others: posted writes are in order
//	     on the bus (PCI Express, 2.4.1), not on their way from a cache. That is
//	     the weaker of two platforms: with Intel's Data Direct I/O devices write
//	     to the last-level cache, without it to the memory controller.
package persist

import "fmt"

// LineSize is the size of a cache line in bytes.
const LineSize = 64

// Platform is what the machine promises for a DIMM's contents.
type Platform uint8

const (
	// ADR saves what reached the memory controller.
	ADR Platform = iota
	// EADR saves the caches too.
	EADR
	// Hints saves what reached the memory controller before a store to one
	// of the DIMM's flush hints.
	Hints
	// Nothing is saved before a clean power-off.
	Nothing
	// Requests saves what was visible before a flush request of the device:
	// virtio-pmem, whose memory is the host's page cache.
	Requests

	platforms = iota
)

func (p Platform) String() string {
	if int(p) < len(platformNames) {
		return platformNames[p]
	}
	return fmt.Sprintf("Platform(%d)", int(p))
}

var platformNames = []string{"ADR", "eADR", "flush hints only", "no promise", "flush requests only"}

// PlatformOf is what capabilities and flush hints promise.
func PlatformOf(capabilities uint32, hints int) Platform {
	switch {
	case capabilities&1 != 0: // R14
		return EADR
	case capabilities&2 != 0, hints == 0: // R14, R15
		return ADR
	}
	return Hints // R13
}

// Config chooses between readings of the rules. Its zero value is the one that
// promises least.
type Config struct {
	// Explicit counts only fences that are asked for by name: SFENCE, MFENCE,
	// WBINVD and flush hints, and none of the kernel's for what a program
	// flushed. Without it all that the architecture says counts, such as a
	// LOCK prefix somewhere (R3 to R7).
	Explicit bool
	// Atomic16 keeps power failure from tearing an aligned store of 16 bytes
	// (R9), which is so on processors with AVX.
	Atomic16 bool
	// IntelCLFLUSH orders CLFLUSH as Intel's processors do (R2, R3), and not
	// as AMD's (R11).
	IntelCLFLUSH bool
}

// Memory is what the guest sees of a medium. Line gives the bytes of line n,
// to read and to write.
type Memory interface {
	Line(n uint64) []byte
}

// Bytes is Memory in one piece.
type Bytes []byte

// Line gives the line's bytes.
func (b Bytes) Line(n uint64) []byte { return b[n*LineSize:][:LineSize:LineSize] }

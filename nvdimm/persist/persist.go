// Package persist says what survives when power fails. It follows the stores,
// flushes and fences of a guest and keeps, per line of 64 bytes, what is
// guaranteed to be on the medium and the ordered stores that may or may not
// have reached it. What the guest sees is the memory itself.
//
// The rules, by the names that comments use. References are to the Intel 64
// and IA-32 Architectures Software Developer's Manual ("SDM").
//
//	R1   Write-back stores are not reordered with each other; non-temporal
//	     ones and those of one string instruction are (SDM 3A, 9.2.2).
//	R2   A store is not reordered with an earlier CLFLUSH of any line.
//	R3   CLFLUSH is not ordered with CLFLUSHOPT and CLWB (SDM 2A, CLFLUSH).
//	R4   CLFLUSHOPT waits for older stores to its line, and is waited for by
//	     fences and locked instructions only (SDM 2A, CLFLUSHOPT).
//	R5   So does CLWB (SDM 2A, CLWB).
//	R6   I/O, locked and serializing instructions order all stores and flushes
//	     before them (SDM 3A, 9.2.2).
//	R7   A non-temporal store may wait in a write-combining buffer until a
//	     fence, a locked, serializing or uncached access, or an interrupt
//	     (SDM 3A, 12.3).
//	R8   The stores of one string instruction may become visible in any order
//	     (SDM 3A, 9.2.4).
//	R9   Power failure does not tear an aligned store of 8 bytes; wider ones it
//	     may (SDM 3A, 9.1.1).
//	R10  Stores to one line persist in their order; lines persist in any.
//	R11  On AMD's processors CLFLUSH is ordered by MFENCE only.
//	R12  With eADR what is visible is durable; non-temporal stores still need
//	     a fence.
//	R13  A store to a flush hint makes durable what reached the memory
//	     controller of that DIMM (Linux, drivers/nvdimm/region_devs.c).
//	R14  Capability bit 0 is eADR, bit 1 is ADR (ACPI 6.2A, table 5-137).
//	R15  Without capabilities and hints Linux takes ADR for granted
//	     (nvdimm_has_flush).
//	R16  The kernel's durable write is movnti or clwb, then sfence, a store to
//	     the hint, sfence (memcpy_flushcache, nvdimm_flush).
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
)

func (p Platform) String() string {
	if int(p) < len(platformNames) {
		return platformNames[p]
	}
	return fmt.Sprintf("Platform(%d)", int(p))
}

var platformNames = []string{"ADR", "eADR", "flush hints only", "no promise"}

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

// Config chooses between readings of the rules.
type Config struct {
	// Explicit counts only fences that are asked for by name: SFENCE, MFENCE,
	// WBINVD and flush hints, and none of the kernel's for what a program
	// flushed. Without it all that the architecture says counts, such as a
	// LOCK prefix somewhere (R6, R7).
	Explicit bool
	// TearVectors lets power failure tear a store of 16 bytes at 8 (R9).
	TearVectors bool
	// WeakCLFLUSH orders CLFLUSH as CLFLUSHOPT (R11).
	WeakCLFLUSH bool
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

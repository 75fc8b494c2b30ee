// Package observe is what an engine tells of a guest's accesses to observed
// memory: plain types that engines fill in and a persistence model reads.
//
// Events come in the order in which the guest sees the accesses, and before
// they take effect: a [Store] before memory changes, a [Fence] before what
// the instruction does else. A [Stream] comes after its stores, to an observer that
// allows for it. An Observer must not keep a pointer to an event.
package observe

import "strings"

// An Observer gets the events of one machine, from the goroutine that runs
// it.
type Observer interface {
	Store(*Store)
	Flush(*Flush)
	Fence(*Fence)
}

// At is where and when an event happens.
type At struct {
	Seq  uint64 // instructions retired before this one, over all CPUs
	PC   uint64 // guest-virtual, of the instruction
	CR3  uint64
	VCPU uint8
	CPL  uint8
}

// A Store writes 1 to 8 bytes that cross no multiple of 8.
type Store struct {
	At
	Base   uint64 // guest-physical, of the observed region
	Offset uint64 // in bytes, within it
	Value  uint64 // little-endian; bytes beyond Size are zero
	Size   uint8
	Kind   Kind
	// Group is the same for all stores of one instruction, and of all
	// iterations of one repeated string instruction unless it is to uncached
	// memory; no two have the same.
	Group uint64
}

// Kind says how a store is ordered with others. The zero Kind is an ordinary
// write-back store.
type Kind uint8

const (
	NonTemporal    Kind = 1 << iota // MOVNTI, MOVNTDQ, MASKMOVDQU..., or to a write-combining mapping
	Locked                          // with LOCK, or XCHG
	String                          // of a repeated MOVS or STOS
	Vector                          // part of a store of 16 bytes
	Device                          // by a device, not a CPU
	ToUncached                      // to an uncached or write-protected mapping
	ToWriteThrough                  // to a write-through mapping

	// KindEnd is above all kinds.
	KindEnd
)

var kindNames = []string{"non-temporal", "locked", "string", "vector", "device", "uncached", "write-through"}

func (k Kind) String() string { return bits(uint(k), kindNames, "plain") }

// A Flush writes a line back, or tells that it will be.
type Flush struct {
	At
	Base   uint64 // guest-physical, of the observed region
	Offset uint64 // in bytes, of the line of 64 bytes
	Op     FlushOp
}

// FlushOp is a flush instruction.
type FlushOp uint8

const (
	CLFLUSH FlushOp = iota
	CLFLUSHOPT
	CLWB
)

func (o FlushOp) String() string { return [...]string{"clflush", "clflushopt", "clwb"}[o%3] }

// A Fence orders what came before it on its CPU. An engine tells of SFENCE,
// MFENCE and WBINVD at once; it may tell of others, joined, as late as before
// the next event, the next access to a device, or the end of Run. An
// instruction that faults orders nothing.
type Fence struct {
	At
	Order Order
}

// Order is why there is a Fence.
type Order uint16

const (
	SFENCE Order = 1 << iota
	MFENCE
	Lock        // LOCK, or XCHG with memory
	Serializing // CPUID, IRET, MOV to CR or DR, most WRMSR, INVLPG, LGDT...
	PortIO      // IN, OUT
	Uncached    // an access to a device's registers
	Interrupt   // an interrupt from outside was delivered
	WBINVD      // all lines of all CPUs are written back
	Exception   // a fault, a trap or INT was delivered
)

var orderNames = []string{"sfence", "mfence", "lock", "serializing", "port", "uncached", "interrupt", "wbinvd", "exception"}

func (o Order) String() string { return bits(uint(o), orderNames, "nothing") }

// Explicit are the fences that a program asks for by their name.
const Explicit = SFENCE | MFENCE | WBINVD

func bits(v uint, names []string, zero string) string {
	if v == 0 {
		return zero
	}
	var set []string
	for i, n := range names {
		if v>>i&1 != 0 {
			set = append(set, n)
		}
	}
	return strings.Join(set, "+")
}

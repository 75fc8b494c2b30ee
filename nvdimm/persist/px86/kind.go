package px86

// Kind is what an operation is, as far as persistence can tell.
type Kind uint8

const (
	Store         Kind = iota // MOV and its like to write-back memory, of 1 to 8 bytes; also CMPXCHG8B without LOCK
	Vector                    // MOVUPS, MOVDQA: 16 or 32 bytes
	NT                        // MOVNTI: 4 or 8 bytes
	NTVector                  // MOVNTDQ: 16 bytes
	UC                        // a store of 1 to 8 bytes through an uncached mapping
	Lock                      // a LOCK-prefixed instruction or XCHG with memory; 16 bytes for CMPXCHG16B
	String                    // REP STOS, REP MOVS
	DMAStore                  // what a device writes
	CLFLUSH                   //
	CLFLUSHOPT                //
	CLWB                      //
	WBINVD                    //
	SFENCE                    //
	MFENCE                    //
	LockElsewhere             // LOCK or XCHG on other memory
	LFENCE                    //
	Serialize                 // CPUID, IRET, a move to a control register, a serializing WRMSR
	PortIO                    // IN, OUT
	Interrupt                 // delivery of an interrupt
	Exception                 // a fault; the faulting instruction stored nothing, a string what Count says
	UCRead                    // a load from uncached memory
	Unordered                 // an instruction that orders nothing: WRMSR to IA32_TSC_DEADLINE, a load
	Hint                      // a store to a flush hint of the DIMM of Addr
	kinds
)

// class is the memory type that a store has in the end.
type class uint8

const (
	none class = iota
	wb         // by the cache, in program order
	nt         // by a write-combining buffer
	uc         // straight to memory, in program order
	dma        // by a device, in no order
)

// row is what is known of one kind. The last four columns say which of the earlier operations of its CPU are done when it retires:
// those in the store buffer, in the write-combining buffers, CLFLUSH on Intel's CPUs, and CLWB and CLFLUSHOPT.
//
// Store buffer: SDM vol. 3, "Store Buffer" (exceptions and interrupts, serializing instructions, I/O, LOCK, SFENCE and MFENCE drain
// it). Write-combining buffers: SDM vol. 3, "Buffering of Write Combining Memory Locations" (SFENCE, MFENCE, serializing
// instructions, reads and writes of uncached memory, interrupts, LOCK: no exceptions); I/O: vol. 3, 9.3. CLFLUSH: SDM vol. 2.
// CLWB and CLFLUSHOPT: SDM vol. 2, only SFENCE, MFENCE, XCHG and LOCK.
type row struct {
	name                         string
	class                        class
	store, combine, flush, flopt bool
}

var table = [kinds]row{
	Store:         {name: "mov", class: wb},
	Vector:        {name: "movups", class: wb},
	NT:            {name: "movnti", class: nt},
	NTVector:      {name: "movntdq", class: nt},
	UC:            {name: "uc", class: uc},
	Lock:          {"lock", wb, true, true, true, true},
	String:        {name: "rep", class: wb},
	DMAStore:      {name: "dma", class: dma},
	CLFLUSH:       {name: "clflush"},
	CLFLUSHOPT:    {name: "clflushopt"},
	CLWB:          {name: "clwb"},
	WBINVD:        {"wbinvd", none, true, true, false, false},
	SFENCE:        {"sfence", none, true, true, true, true},
	MFENCE:        {"mfence", none, true, true, true, true},
	LockElsewhere: {"lock", none, true, true, true, true},
	LFENCE:        {name: "lfence"},
	Serialize:     {"cpuid", none, true, true, false, false},
	PortIO:        {"out", none, true, true, false, false},
	Interrupt:     {"interrupt", none, true, true, false, false},
	Exception:     {"exception", none, true, false, false, false},
	UCRead:        {"ucread", none, false, true, false, false},
	Unordered:     {name: "nop"},
	Hint:          {name: "hint"},
}

func (k Kind) row() row { return table[k] }

// String returns the name of k in the text of a program; LockElsewhere has that of Lock.
func (k Kind) String() string { return table[k].name }

// Stores says whether k stores to the NVDIMM.
func (k Kind) Stores() bool { return table[k].class != none }

// Flushes says whether k flushes one line.
func (k Kind) Flushes() bool { return k == CLFLUSH || k == CLFLUSHOPT || k == CLWB }

// Kinds returns every kind.
func Kinds() []Kind {
	all := make([]Kind, kinds)
	for i := range all {
		all[i] = Kind(i)
	}
	return all
}

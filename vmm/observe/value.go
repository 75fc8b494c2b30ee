package observe

// A Value is the name that an observer gives what a register, or bytes of memory, hold
// of watched lines, or what was computed of these. 0 is for all else: it depends on none of
// the bytes that the observer was not told to be read.
type Value uint32

// ValueOp is how a Value is computed.
type ValueOp uint8

const (
	ValueXor   ValueOp = iota // a ^ b, or a ^ k if b is 0
	ValueAnd                  // a & k
	ValueLeft                 // a << k
	ValueRight                // a >> k
)

// A ValueObserver is a CopyObserver that follows what instructions compute of bytes of
// watched lines, until it is decided whether a value is zero, or the value goes where
// it is not followed. An engine that follows values tells of a Load, or of a Reveal, wherever a
// value that it does not know to follow is used.
//
// Of a value that is followed it has to tell every store over bytes that hold it (see
// Overwritten).
type ValueObserver interface {
	CopyObserver
	// Follows says that it follows values. It is asked when loads begin to be watched.
	Follows() bool
	// Take names what a load of n bytes, 1 to 8, which are now held, would load from lines of
	// a page. It is the first if no register of the processor is followed yet. If what
	// Take says is 0, the load is to be told.
	Take(base, offset uint64, n uint8, held uint64, first bool) Value
	// Compute names a result.
	Compute(op ValueOp, a, b Value, k uint64) Value
	// Bits are those of a value that may be set.
	Bits(v Value) uint64
	// Table gives a table a number, and Look names the entry of it that a value selects. The
	// table has 2^n entries, for all numbers of the n bits up to the highest of Bits. If Look's
	// is 0, the value is to be revealed.
	Table(entries []uint64) int
	Look(v Value, table int) Value
	// Decide tells that what happens next depends on whether a value is zero.
	Decide(v Value)
	// Reveal tells that anything may depend on a value.
	Reveal(v Value)
	// Put tells that n bytes of ordinary memory, of one page, hold a value from now on; the
	// answer is that of Copy.
	Put(addr uint64, n uint8, v Value) (lines uint64)
}

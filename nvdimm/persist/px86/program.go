package px86

import "fmt"

const (
	// LineSize is the size of a cache line in bytes, the unit that a cache writes back.
	LineSize = 64
	// Chunk is the size in bytes of the aligned piece of memory that a power failure leaves whole (SDM vol. 3, 9.1.1, and vol. 1,
	// 4.1: what does not cross 8 bytes is accessed at once).
	Chunk = 8
	// DMA is the CPU of an operation that a device does.
	DMA = -1
)

// Op is one instruction of one CPU, or an event that stops it.
type Op struct {
	CPU  int // 0 and up, or DMA
	Kind Kind
	// Addr is a byte of memory; line 0 is at 0, line 1 at LineSize. Flushes take the line that it lies in, Hint the DIMM of that line.
	Addr int
	// Size counts the bytes of a store, or of one element of a string.
	Size int
	// Count counts the elements that a string instruction stored before it ended or faulted. 1 for other stores.
	Count int
}

// A Program is a trace: operations in the order in which they retired, whichever CPU they are of. The bytes that operation i stores
// have the value i+1; memory is zero before.
type Program []Op

// Lines returns the number of lines from line 0 to the last that p names.
func (p Program) Lines() int {
	n := 0
	for _, op := range p {
		if op.Kind.row().class != none || op.Kind.Flushes() || op.Kind == Hint {
			n = max(n, (op.Addr+max(op.Size*op.Count, 1)-1)/LineSize+1)
		}
	}
	return n
}

// Platform says what survives a power failure.
type Platform uint8

const (
	ADR   Platform = iota // the memory controller's queue
	EADR                  // the caches; neither store buffers nor write-combining buffers
	Hints                 // nothing but the medium: what the controller accepted gets there for certain by a store to a flush hint
)

func (p Platform) String() string { return [...]string{"adr", "eadr", "hints"}[p] }

// Rules are the readings under which a program is judged. The zero value is the weakest of each but for Buffers and Hint.
type Rules struct {
	Platform Platform
	// Vector is the number of bytes, 16 or else 8, of which an aligned part of a vector store is done at once. 16 is what Intel
	// (SDM vol. 3, 9.1.1) and AMD (APM vol. 2, 7.3.2) promise of CPUs with AVX.
	Vector int
	// CLFLUSH says whose instruction that is.
	CLFLUSH Vendor
	// Buffers lets a store that retired wait in its CPU's store buffer until something drains it. Otherwise it is visible to all
	// when it retires, which of one CPU alone nobody can tell from waiting; and Intel's CLFLUSH, which goes the same way, is done
	// when its CPU's next store or CLFLUSH retires.
	Buffers bool
	// PostedHint makes a store to a flush hint take effect no later than at the next SFENCE, MFENCE or locked instruction, as Linux
	// asks for ("written and fenced"), not at once.
	PostedHint bool
}

// Vendor names a reading of CLFLUSH.
type Vendor uint8

const (
	// AMD orders CLFLUSH by MFENCE alone, and lets it overtake stores that wait in the store buffer (APM vol. 3, CLFLUSH).
	AMD Vendor = iota
	// Intel orders CLFLUSH with all writes, with CLFLUSH, with locked instructions and with fences (SDM vol. 2, CLFLUSH; vol. 3, 9.2.2).
	Intel
)

func (v Vendor) String() string { return [...]string{"amd", "intel"}[v] }

func (r Rules) String() string {
	s := fmt.Sprintf("%v vector=%d clflush=%v", r.Platform, max(r.Vector, Chunk), r.CLFLUSH)
	if r.Buffers {
		s += " buffers"
	}
	if r.PostedHint {
		s += " posted-hint"
	}
	return s
}

// Point is a moment of a program at which the power may fail.
type Point struct {
	// Op is the number of operations that retired before.
	Op int
	// Within says that operation Op has begun.
	Within bool
}

// Points returns the moments of p in order.
func (p Program) Points() []Point {
	var all []Point
	for i := range p {
		all = append(all, Point{i, false}, Point{i, true})
	}
	return append(all, Point{len(p), false})
}

func (at Point) String() string {
	if at.Within {
		return fmt.Sprintf("within %d", at.Op+1)
	}
	return fmt.Sprintf("after %d", at.Op)
}

package soft

//lint:file-ignore U1000 genfast inlines what is here

import "math/bits"

//go:generate go run ./genfast

// The files ops*.go hold what ops do, a Go function each, from which genfast
// makes the cases of the fast path and the rows of ir.OpInfo. A directive says
// which ops a function is of:
//
//	//op:KIND NAME FORM:WIDTHS... [based] [aligned]
//
// KIND is the compiler's: ir.OpInfo.kind. An op is made for each form (see form)
// and width in bits, and T is the type of that width. The opcode is NAME with
// the form, unless a dot is before it, and the width, unless it comes after =.
// "cc" makes an op for each condition. Of an op that is "based" there is a variant for addresses
// without an index, and of one whose registers change and that sets flags
// there is a variant that sets none.
//
// Parameters say what genfast supplies, by their names:
//
//	a, b     the operands of the form
//	m        memory of the form: a pointer
//	d, s     vectors of the form: pointers
//	n        the count, or the number of a bit, of the form
//	cond     the condition
//	address  the address of a memory operand, which is not accessed
//
// and c, o, page, va, limit and left, the variables of fast. Operands are read,
// memory first, before the first statement that uses one. A result is stored to the
// destination of the form, or is rip and says with an exit where to go on.
//
// A function whose name starts with flags sets flags and does nothing else.
// Calls of other functions of these files are inlined; other calls save o.

// word is an operand size.
type word interface {
	uint8 | uint16 | uint32 | uint64
}

// An exit is how an op ends.
type exit uint8

const (
	exitNext  exit = iota // the op after it is next
	exitTaken             // a direct branch is taken
	exitJump              // an indirect branch to rip is
	exitBail              // the op has done nothing, and its instruction is the executor's
	exitLeave             // the executor did the instruction, after which all is open
)

// The functions from here to rotate have counterparts in genfast.

// put writes the low bits of a slot. A write of 32 clears what is above.
func put[T word](slot *uint64, v T) {
	if n := size[T](); n < 32 {
		*slot = *slot>>n<<n | uint64(v)
		return
	}
	*slot = uint64(v)
}

func signed[T word](v T) int64 {
	n := above[T]()
	return int64(uint64(v)<<n) >> n
}

// size is in bits, and above are the bits of a slot that are not T's.
func size[T word]() int  { return bits.Len64(uint64(^T(0))) }
func above[T word]() int { return 64 - size[T]() }

// rotate rotates to the left.
func rotate[T word](v T, n int) T {
	m := size[T]() - 1
	return v<<(n&m) | v>>(-n&m)
}

// flagsResult sets ZF, SF and PF from a result.
func flagsResult[T word](c *cpu, r T) {
	v := uint64(signed(r))
	c.fz, c.fs = v, v
}

// flagsCarries sets CF, OF and AF from the carries out of each bit.
func flagsCarries[T word](c *cpu, carries T) {
	v := uint64(carries)
	c.fc = v<<above[T]() | v
}

func flagsSum[T word](c *cpu, a, b, r T) {
	flagsResult(c, r)
	flagsCarries(c, a&b|(a|b)&^r)
}

func flagsDifference[T word](c *cpu, a, b, r T) {
	flagsResult(c, r)
	flagsCarries(c, ^a&b|(^a|b)&r)
}

func flagsLogical[T word](c *cpu, r T) {
	flagsResult(c, r)
	c.fc = 0
}

// flagsCF sets CF and keeps the others.
func flagsCF(c *cpu, cf uint64) {
	c.fc = (c.fc&8 | (c.fc^c.fc<<1)>>63<<62) ^ cf<<63 ^ cf<<62
}

// Conditions of the lazy flags, each with its contrary (SDM 2, appendix B.1.4.7).

func condO(c *cpu) bool  { return int64(c.fc^c.fc<<1) < 0 }
func condB(c *cpu) bool  { return int64(c.fc) < 0 }
func condE(c *cpu) bool  { return c.fz == 0 }
func condBE(c *cpu) bool { return c.fz == 0 || int64(c.fc) < 0 }
func condS(c *cpu) bool  { return int64(c.fs) < 0 }
func condP(c *cpu) bool  { return bits.OnesCount8(uint8(c.fs))&1 == 0 }
func condL(c *cpu) bool  { return int64(c.fs^c.fc^c.fc<<1) < 0 }
func condLE(c *cpu) bool { return c.fz == 0 || int64(c.fs^c.fc^c.fc<<1) < 0 }

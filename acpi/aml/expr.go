package aml

// op1, op2 and op3 emit an opcode and its operands.
func op1(code uint16, a Term) Term {
	return funcTerm(func(e *encoder) {
		e.op(code)
		e.term(a)
	})
}

func op2(code uint16, a, b Term) Term {
	return funcTerm(func(e *encoder) {
		e.op(code)
		e.term(a)
		e.term(b)
	})
}

// op1t and op2t are operators whose result may also go to a target.
func op1t(code uint16, a, target Term) Term {
	return funcTerm(func(e *encoder) {
		e.op(code)
		e.term(a)
		e.target(target)
	})
}

func op2t(code uint16, a, b, target Term) Term {
	return funcTerm(func(e *encoder) {
		e.op(code)
		e.term(a)
		e.term(b)
		e.target(target)
	})
}

// Store writes a value to a target, converted to the type of the target if
// that is a named object.
func Store(value, target Term) Term { return op2(opStore, value, target) }

// CopyObject replaces the target by a copy of value, type and all.
func CopyObject(value, target Term) Term { return op2(opCopyObject, value, target) }

// The arithmetic and bitwise operators. The result is their value; it is
// stored too if target is not nil. These are not the logical operators: And of
// 2 and 1 is 0, LAnd of 2 and 1 is true.

// Add is a + b.
func Add(a, b, target Term) Term { return op2t(opAdd, a, b, target) }

// Subtract is a - b.
func Subtract(a, b, target Term) Term { return op2t(opSubtract, a, b, target) }

// Multiply is a * b.
func Multiply(a, b, target Term) Term { return op2t(opMultiply, a, b, target) }

// Mod is the remainder of a / b.
func Mod(a, b, target Term) Term { return op2t(opMod, a, b, target) }

// And is a & b.
func And(a, b, target Term) Term { return op2t(opAnd, a, b, target) }

// Or is a | b.
func Or(a, b, target Term) Term { return op2t(opOr, a, b, target) }

// XOr is a ^ b.
func XOr(a, b, target Term) Term { return op2t(opXOr, a, b, target) }

// NAnd is ^(a & b).
func NAnd(a, b, target Term) Term { return op2t(opNAnd, a, b, target) }

// NOr is ^(a | b).
func NOr(a, b, target Term) Term { return op2t(opNOr, a, b, target) }

// Not is ^a.
func Not(a, target Term) Term { return op1t(opNot, a, target) }

// ShiftLeft is a << n.
func ShiftLeft(a, n, target Term) Term { return op2t(opShiftLeft, a, n, target) }

// ShiftRight is a >> n.
func ShiftRight(a, n, target Term) Term { return op2t(opShiftRight, a, n, target) }

// Divide is a / b, with remainder and quotient stored where wanted.
func Divide(a, b, remainder, quotient Term) Term {
	return funcTerm(func(e *encoder) {
		e.op(opDivide)
		e.term(a)
		e.term(b)
		e.target(remainder)
		e.target(quotient)
	})
}

// FindSetLeftBit is the 1-based number of the highest bit set in a, or 0.
func FindSetLeftBit(a, target Term) Term { return op1t(opFindLeft, a, target) }

// FindSetRightBit is the 1-based number of the lowest bit set in a, or 0.
func FindSetRightBit(a, target Term) Term { return op1t(opFindRight, a, target) }

// Increment adds one to a.
func Increment(a Term) Term { return op1(opIncrement, a) }

// Decrement subtracts one from a.
func Decrement(a Term) Term { return op1(opDecrement, a) }

// Concatenate joins two integers, strings or buffers; the type of a decides
// that of the result. Integers count as 8-byte buffers.
func Concatenate(a, b, target Term) Term { return op2t(opConcat, a, b, target) }

// ConcatenateResTemplate joins two resource templates.
func ConcatenateResTemplate(a, b, target Term) Term { return op2t(opConcatRes, a, b, target) }

// Mid is length bytes of a buffer or string from index on.
func Mid(source, index, length, target Term) Term {
	return funcTerm(func(e *encoder) {
		e.op(opMid)
		e.term(source)
		e.term(index)
		e.term(length)
		e.target(target)
	})
}

// Index is a reference to the element of a buffer, package or string.
func Index(source, index, target Term) Term { return op2t(opIndex, source, index, target) }

// At is the value of an element: DerefOf (Index (source, index)).
func At(source, index Term) Term { return DerefOf(Index(source, index, nil)) }

// DerefOf is the object that a reference refers to.
func DerefOf(reference Term) Term { return op1(opDerefOf, reference) }

// RefOf is a reference to an object.
func RefOf(object Term) Term { return op1(opRefOf, object) }

// CondRefOf is true if the object exists, and stores a reference to it.
func CondRefOf(object, target Term) Term { return op1t(opCondRefOf, object, target) }

// SizeOf is the size of a buffer or string in bytes, of a package in elements.
func SizeOf(object Term) Term { return op1(opSizeOf, object) }

// ObjectType is the number of an object's type, see [ObjectKind].
func ObjectType(object Term) Term { return op1(opObjectType, object) }

// ToBuffer converts to a buffer; an integer becomes 8 bytes.
func ToBuffer(a, target Term) Term { return op1t(opToBuffer, a, target) }

// ToInteger converts to an integer.
func ToInteger(a, target Term) Term { return op1t(opToInteger, a, target) }

// ToHexString converts to hexadecimal text.
func ToHexString(a, target Term) Term { return op1t(opToHex, a, target) }

// ToDecimalString converts to decimal text.
func ToDecimalString(a, target Term) Term { return op1t(opToDecimal, a, target) }

// ToString is the text in a buffer, of length bytes or up to the first NUL.
func ToString(a, length, target Term) Term { return op2t(opToString, a, length, target) }

// The logical operators give Ones or Zero.

// LEqual is a == b.
func LEqual(a, b Term) Term { return op2(opLEqual, a, b) }

// LGreater is a > b.
func LGreater(a, b Term) Term { return op2(opLGreater, a, b) }

// LLess is a < b.
func LLess(a, b Term) Term { return op2(opLLess, a, b) }

// LNotEqual is a != b.
func LNotEqual(a, b Term) Term { return LNot(LEqual(a, b)) }

// LLessEqual is a <= b.
func LLessEqual(a, b Term) Term { return LNot(LGreater(a, b)) }

// LGreaterEqual is a >= b.
func LGreaterEqual(a, b Term) Term { return LNot(LLess(a, b)) }

// LNot is !a.
func LNot(a Term) Term { return op1(opLNot, a) }

// LAnd is true if a and b are both not zero. Both are evaluated.
func LAnd(a, b Term) Term { return op2(opLAnd, a, b) }

// LOr is true if a or b is not zero. Both are evaluated.
func LOr(a, b Term) Term { return op2(opLOr, a, b) }

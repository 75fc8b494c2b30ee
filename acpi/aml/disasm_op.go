package aml

import (
	"fmt"
	"strings"
)

// operator is how an opcode without a package length reads: its ASL name and
// its operands, a letter each: t TermArg, s SuperName, g target that may be
// absent, n NameString, N NameString that the term creates, b, w and d numbers
// of 1, 2 and 4 bytes.
type operator struct {
	name, operands string
}

// operators are those of section 20.2.5 whose encoding is their operands in
// order.
var operators = map[uint16]operator{
	opZero:        {"Zero", ""},
	opOne:         {"One", ""},
	opOnes:        {"Ones", ""},
	opRevision:    {"Revision", ""},
	opDebug:       {"Debug", ""},
	opTimer:       {"Timer", ""},
	opBreak:       {"Break", ""},
	opContinue:    {"Continue", ""},
	opNoop:        {"Noop", ""},
	opBreakPoint:  {"BreakPoint", ""},
	opAlias:       {"Alias", "nN"},
	opMutex:       {"Mutex", "Nb"},
	opEvent:       {"Event", "N"},
	opDataRegion:  {"DataTableRegion", "Nttt"},
	opCreateField: {"CreateField", "tttN"},
	opBitField:    {"CreateBitField", "ttN"},
	opByteField:   {"CreateByteField", "ttN"},
	opWordField:   {"CreateWordField", "ttN"},
	opDWordField:  {"CreateDWordField", "ttN"},
	opQWordField:  {"CreateQWordField", "ttN"},
	opStore:       {"Store", "ts"},
	opCopyObject:  {"CopyObject", "ts"},
	opRefOf:       {"RefOf", "s"},
	opDerefOf:     {"DerefOf", "t"},
	opCondRefOf:   {"CondRefOf", "sg"},
	opSizeOf:      {"SizeOf", "s"},
	opObjectType:  {"ObjectType", "s"},
	opIndex:       {"Index", "ttg"},
	opAdd:         {"Add", "ttg"},
	opSubtract:    {"Subtract", "ttg"},
	opMultiply:    {"Multiply", "ttg"},
	opDivide:      {"Divide", "ttgg"},
	opMod:         {"Mod", "ttg"},
	opAnd:         {"And", "ttg"},
	opNAnd:        {"NAnd", "ttg"},
	opOr:          {"Or", "ttg"},
	opNOr:         {"NOr", "ttg"},
	opXOr:         {"XOr", "ttg"},
	opNot:         {"Not", "tg"},
	opShiftLeft:   {"ShiftLeft", "ttg"},
	opShiftRight:  {"ShiftRight", "ttg"},
	opFindLeft:    {"FindSetLeftBit", "tg"},
	opFindRight:   {"FindSetRightBit", "tg"},
	opIncrement:   {"Increment", "s"},
	opDecrement:   {"Decrement", "s"},
	opConcat:      {"Concatenate", "ttg"},
	opConcatRes:   {"ConcatenateResTemplate", "ttg"},
	opMid:         {"Mid", "tttg"},
	opToBuffer:    {"ToBuffer", "tg"},
	opToDecimal:   {"ToDecimalString", "tg"},
	opToHex:       {"ToHexString", "tg"},
	opToInteger:   {"ToInteger", "tg"},
	opToString:    {"ToString", "ttg"},
	opFromBCD:     {"FromBCD", "tg"},
	opToBCD:       {"ToBCD", "tg"},
	opLAnd:        {"LAnd", "tt"},
	opLOr:         {"LOr", "tt"},
	opLEqual:      {"LEqual", "tt"},
	opLGreater:    {"LGreater", "tt"},
	opLLess:       {"LLess", "tt"},
	opReturn:      {"Return", "t"},
	opNotify:      {"Notify", "st"},
	opAcquire:     {"Acquire", "sw"},
	opRelease:     {"Release", "s"},
	opSignal:      {"Signal", "s"},
	opWait:        {"Wait", "st"},
	opReset:       {"Reset", "s"},
	opSleep:       {"Sleep", "t"},
	opStall:       {"Stall", "t"},
	opFatal:       {"Fatal", "bdt"},
	opLoad:        {"Load", "ng"},
	opUnload:      {"Unload", "s"},
	opLoadTable:   {"LoadTable", "tttttt"},
}

// negated are the comparisons that follow LNot.
var negated = map[int]string{opLEqual: "LNotEqual", opLGreater: "LLessEqual", opLLess: "LGreaterEqual"}

// statement writes a term where statements and objects may stand.
func (d *disassembler) statement() {
	if isName(d.peek()) {
		d.write("%s", d.callStatement())
		return
	}
	at := d.pos
	if d.object(d.opcode()) {
		return
	}
	d.pos = at
	d.write("%s", d.expression())
}

// operand gives a TermArg.
func (d *disassembler) operand() (s string) {
	d.nested(func() { s = d.expression() })
	return s
}

func (d *disassembler) expression() string {
	if isName(d.peek()) {
		return d.reference()
	}
	at := d.pos
	op := d.opcode()
	if d.err != nil {
		return ""
	}
	switch {
	case op >= opLocal0 && op < opLocal0+8:
		return fmt.Sprintf("Local%d", op-opLocal0)
	case op >= opArg0 && op < opArg0+7:
		return fmt.Sprintf("Arg%d", op-opArg0)
	case op == opLNot:
		if name, ok := negated[d.peek()]; ok {
			d.pos++
			return name + " (" + d.operands("tt") + ")"
		}
		return "LNot (" + d.operand() + ")"
	case op == opMatch:
		return d.match()
	}
	if s, ok := d.data(op); ok {
		return s
	}
	o, ok := operators[op]
	if !ok {
		d.pos = at
		d.fail("opcode 0x%02X is unknown, or not valid as an operand", op)
		return ""
	}
	if o.operands == "" {
		return o.name
	}
	return o.name + " (" + d.operands(o.operands) + ")"
}

// operands gives a list of operands, without absent targets at its end.
func (d *disassembler) operands(kinds string) string {
	var list []string
	for _, k := range kinds {
		if d.err != nil {
			return ""
		}
		list = append(list, d.one(k))
	}
	for len(list) > 0 && list[len(list)-1] == "" {
		list = list[:len(list)-1]
	}
	return strings.Join(list, ", ")
}

func (d *disassembler) one(kind rune) string {
	switch kind {
	case 'n':
		return d.name().String()
	case 'N':
		n := d.name()
		d.declare(n)
		return n.String()
	case 'b':
		return fmt.Sprintf("0x%02X", d.uint(1))
	case 'w':
		return fmt.Sprintf("0x%04X", d.uint(2))
	case 'd':
		return fmt.Sprintf("0x%08X", d.uint(4))
	case 'g':
		if d.peek() == 0 {
			d.pos++
			return ""
		}
		return d.superName()
	case 's':
		return d.superName()
	}
	return d.operand()
}

// superName gives a name, or a term that yields a place to store to.
func (d *disassembler) superName() string {
	if isName(d.peek()) {
		return d.name().String()
	}
	return d.operand()
}

// reference gives a name in an expression: the call of a method with its
// arguments, or the value of any other object.
func (d *disassembler) reference() string {
	n := d.name()
	if d.err != nil {
		return ""
	}
	obj := d.scope.lookup(n)
	if obj == nil || !obj.method {
		return n.String()
	}
	return n.String() + " (" + d.operands(strings.Repeat("t", obj.argc)) + ")"
}

// callStatement gives a name that stands alone. Only the call of a method can:
// if the method is not known, the values that stand after it must be its
// arguments, as they would be pointless themselves.
func (d *disassembler) callStatement() string {
	at := d.pos
	n := d.name()
	if d.err != nil {
		return ""
	}
	if d.scope.lookup(n) != nil {
		d.pos = at
		return d.reference()
	}
	var list []string
	for len(list) < 7 && d.err == nil && d.atValue() {
		list = append(list, d.operand())
	}
	return n.String() + " (" + strings.Join(list, ", ") + ")"
}

// atValue says whether a constant, a variable or the name of an object that is
// no method comes next.
func (d *disassembler) atValue() bool {
	c := d.peek()
	if !isName(c) {
		return c == opZero || c == opOne || c == opOnes || c >= opByte && c <= opQWord || c == opBuffer ||
			c == opPackage || c == opVarPackage || c >= opLocal0 && c < opArg0+7
	}
	ahead := *d
	n := ahead.name()
	if ahead.err != nil {
		return false
	}
	obj := d.scope.lookup(n)
	return obj != nil && !obj.method || obj == nil && predefined(n)
}

// predefined says whether a name belongs to the specification, _SEG for one,
// which tables read of devices in other tables.
func predefined(n nameString) bool {
	return len(n.segs) == 1 && n.segs[0][0] == '_' && n.segs[0] != "____"
}

// match gives Match, whose comparisons are numbers (section 19.6.81).
func (d *disassembler) match() string {
	compare := func() string {
		names := [...]string{"MTR", "MEQ", "MLE", "MLT", "MGE", "MGT"}
		v := d.uint(1)
		if v >= uint64(len(names)) {
			d.fail("match operator %d: valid are 0 to 5", v)
			return ""
		}
		return names[v]
	}
	source := d.operand()
	op1 := compare()
	value1 := d.operand()
	op2 := compare()
	value2 := d.operand()
	return fmt.Sprintf("Match (%s, %s, %s, %s, %s, %s)", source, op1, value1, op2, value2, d.operand())
}

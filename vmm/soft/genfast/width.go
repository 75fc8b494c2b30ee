package main

import "fmt"

// width is an operand size and how Go computes with it.
type width struct {
	bits           int
	unsigned, sign string
}

// get reads slot expression s as an operand.
func (w width) get(s string) string {
	if w.bits == 64 {
		return s
	}
	return w.unsigned + "(" + s + ")"
}

// reg is a register operand.
func (w width) reg(field string) string { return w.get("c.r[o." + field + "]") }

// set writes v, of the width's type, to the slot of a field.
func (w width) set(field, v string) string {
	r := "c.r[o." + field + "]"
	switch w.bits {
	case 64:
		return r + " = " + v
	case 32:
		return r + " = uint64(" + v + ")"
	}
	return fmt.Sprintf("%s = %s>>%d<<%d | uint64(%s)", r, r, w.bits, w.bits, v)
}

// imm is the immediate operand: the low half of imm, but all of it for plain.
func (w width) imm() string { return w.unsigned + "(o.imm)" }

// imm32 is the immediate of an op whose upper half of imm is taken.
func (w width) imm32() string {
	if w.bits == 64 {
		return "uint64(int32(o.imm))"
	}
	return w.imm()
}

const address = `va = c.r[o.base] + c.r[o.index]<<(o.scale&63) + uint64(int64(o.disp))
e := (*tlbEntry)(unsafe.Add(tlb, va>>(pageShift-tlbShift)&tlbIndex))
`

// aligned locates 16 aligned bytes, given a tag and a label.
const aligned = address + "if va&15 != 0 { goto bail }\nif e.%s != va&^pageMask { goto %s }\n"

// locate finds the entry for an access and leaves if there is none.
func (w width) locate(tag string) string {
	miss := "missRead"
	if tag == "wtag" {
		miss = "missWrite"
	}
	last := "va"
	if w.bits > 8 {
		last = fmt.Sprintf("(va+%d)", w.bits/8-1)
	}
	return address + fmt.Sprintf("if e.%s != %s&^pageMask { goto %s }\n", tag, last, miss)
}

// mem is the located operand.
func (w width) mem() string {
	return fmt.Sprintf("*(*%s)(unsafe.Add(null, va+e.addend))", w.unsigned)
}

func (w width) load(v string) string { return w.locate("rtag") + v + " := " + w.mem() + "\n" }

// result sets ZF, SF and PF from r.
func (w width) result(r string) string {
	if w.bits == 64 {
		return fmt.Sprintf("c.fz, c.fs = %s, %s\n", r, r)
	}
	return fmt.Sprintf("s := uint64(%s(%s))\nc.fz, c.fs = s, s\n", w.sign, r)
}

// carries sets CF, OF and AF from the vector of carries.
func (w width) carries(expr string) string {
	if w.bits == 64 {
		return "c.fc = " + expr + "\n"
	}
	return fmt.Sprintf("cv := uint64(%s)\nc.fc = cv<<%d | cv\n", expr, 64-w.bits)
}

// compute gives r and flags of an operation on a and b.
func (w width) compute(alu string) string {
	value, flags := w.parts(alu)
	return value + flags
}

func (w width) parts(alu string) (value, flags string) {
	carry := w.get("c.fc>>63")
	switch alu {
	case "ADD":
		return "r := a + b\n", w.result("r") + w.carries("a&b | (a|b)&^r")
	case "ADC":
		return "r := a + b + " + carry + "\n", w.result("r") + w.carries("a&b | (a|b)&^r")
	case "SUB", "CMP":
		return "r := a - b\n", w.result("r") + w.carries("^a&b | (^a|b)&r")
	case "SBB":
		return "r := a - b - " + carry + "\n", w.result("r") + w.carries("^a&b | (^a|b)&r")
	}
	op := map[string]string{"OR": "|", "AND": "&", "XOR": "^", "TEST": "&"}[alu]
	return "r := a " + op + " b\n", w.result("r") + "c.fc = 0\n"
}

package main

import "fmt"

// form is where the operands of an op are. Places are slots named by a field of
// the op, "imm", or "mem".
type form struct {
	a, b string
	out  string // where a result goes
	n    string // the count, or the number of a bit
	d, s string // vectors: "dst", "src", "mem"
	at   string // of memory: where it is, beyond the op's own operand: "Push", "Pop", "Frame"
	doc  string
}

var forms = map[string]form{
	"":      {doc: "none of these"},
	"RR":    {a: "dst", b: "src", out: "dst", n: "c.r[o.Src]", doc: "dst, src"},
	"RI":    {a: "dst", b: "imm", out: "dst", n: "o.Src", doc: "dst, imm; of bit tests the number is src"},
	"RM":    {a: "dst", b: "mem", out: "dst", doc: "dst, memory"},
	"MR":    {a: "mem", b: "src", out: "mem", doc: "memory, src"},
	"MI":    {a: "mem", b: "imm", out: "mem", n: "o.Src", doc: "memory, imm; of bit tests the number is src"},
	"R":     {a: "dst", out: "dst", doc: "dst"},
	"M":     {a: "mem", out: "mem", doc: "memory"},
	"S":     {b: "src", doc: "src, and rAX and rDX"},
	"RRI":   {a: "src", b: "imm", out: "dst", doc: "dst made of src and imm"},
	"I":     {a: "dst", out: "dst", n: "o.Src", doc: "dst, by a count that is src"},
	"CL":    {a: "dst", out: "dst", n: "c.r[x86.RCX]", doc: "dst, by a count that is CL"},
	"A":     {out: "dst", doc: "dst made of the address of a memory operand"},
	"XX":    {d: "dst", s: "src", doc: "vectors dst, src"},
	"XM":    {d: "dst", s: "mem", b: "mem", doc: "vector dst, memory"},
	"MX":    {d: "mem", s: "src", out: "mem", doc: "memory, vector src"},
	"XR":    {d: "dst", b: "src", doc: "vector dst, src"},
	"RX":    {s: "src", out: "dst", doc: "dst, vector src"},
	"Push":  {at: "c.r[x86.RSP] - %d", doc: "memory below the stack pointer"},
	"Pop":   {at: "c.r[x86.RSP]", doc: "memory at the stack pointer"},
	"Frame": {at: "c.r[x86.RBP]", doc: "memory at rBP"},
}

// formOrder is the order in which they are declared.
var formOrder = []string{"", "RR", "RI", "RM", "MR", "MI", "R", "M", "S", "RRI", "I", "CL", "A", "XX", "XM", "MX", "XR", "RX", "Push", "Pop", "Frame"}

// word is the Go type of a width in bits, sign the signed one.
func word(width int) string {
	if width == 128 {
		return "[2]uint64"
	}
	return fmt.Sprintf("uint%d", width)
}

// fieldOf is the field of an op that has a place's slot.
func fieldOf(place string) string { return title(place) }

// operand reads a place as a value of a width.
func operand(place string, width int, fused bool) string {
	switch {
	case place == "mem":
		return "*m"
	case place == "imm" && fused && width == 64: // the upper half has the target
		return "uint64(int32(o.Imm))"
	case place == "imm":
		return word(width) + "(o.Imm)"
	}
	return word(width) + "(c.r[o." + fieldOf(place) + "])"
}

// store writes v, a value of a width, to a slot.
func store(slot, v string, width int) string {
	if width < 32 {
		return fmt.Sprintf("%s = %s>>%d<<%d | uint64(%s)", slot, slot, width, width, v)
	}
	return slot + " = uint64(" + v + ")"
}

const (
	ownAddress = "c.r[o.Base] + c.r[o.Index]<<(o.Scale&63) + uint64(int64(o.Disp))"
	ownBased   = "c.r[o.Base] + uint64(int64(o.Disp))"
)

// locate looks memory up, and leaves if it is not there. It makes va and m.
func locate(address string, width int, write, aligned bool) string {
	tag, miss := "RTag", "missRead"
	if write {
		tag, miss = "WTag", "missWrite"
	}
	last := "va"
	if width > 8 && !aligned {
		last = fmt.Sprintf("(va + %d)", width/8-1)
	}
	s := "va = " + address + "\n"
	if aligned {
		s += "if va&15 != 0 { goto bail }\n"
	}
	return s + fmt.Sprintf("e := (*abi.TLBEntry)(unsafe.Add(tlb, va>>(x86.PageShift-abi.TLBShift)&abi.TLBIndex))\nif e.%s != %s&^x86.PageMask { goto %s }\nm := (*%s)(unsafe.Add(null, va+e.Addend))\n", tag, last, miss, word(width))
}

// Command genfast writes the opcodes and the switch of the fast path.
package main

import (
	"bytes"
	"fmt"
	"go/format"
	"log"
	"os"
	"strings"
)

// width is an operand size and how Go computes with it.
type width struct {
	bits           int
	unsigned, sign string
}

var (
	w8  = width{8, "uint8", "int8"}
	w16 = width{16, "uint16", "int16"}
	w32 = width{32, "uint32", "int32"}
	w64 = width{64, "uint64", "int64"}

	widths = []width{w8, w16, w32, w64}
)

var aluNames = []string{"ADD", "OR", "ADC", "SBB", "AND", "SUB", "XOR", "CMP"}

var condNames = []string{"O", "NO", "B", "AE", "E", "NE", "BE", "A", "S", "NS", "P", "NP", "L", "GE", "LE", "G"}

// opcodes is the number that the switch tells apart.
const opcodes = 1024

type generator struct {
	codes bytes.Buffer
	cases bytes.Buffer
	attrs bytes.Buffer // table of what ops do to the flags
	quiet bytes.Buffer // table of variants that set none
	based bytes.Buffer // table of variants without an index
}

// attr records what an op does to the flags, for lowering to see which are
// dead. An op of which nothing is recorded needs them all.
func (g *generator) attr(attr, name string) { fmt.Fprintf(&g.attrs, "op%s: %s,\n", name, attr) }

// writer emits an op that sets all arithmetic flags, or that keeps some, and
// the variant that sets none.
func (g *generator) writer(attr, name, before, flags, after string) {
	g.emit(name, "%s", before+flags+after)
	g.attr(attr, name)
	g.emit(name+"NF", "%s", before+after)
	g.attr("flagsNone", name+"NF")
	fmt.Fprintf(&g.quiet, "op%s: op%sNF,\n", name, name)
}

// called wraps statements that call a function. The compiler keeps what lives
// across a call in memory from where it is made, and o is made anew for every
// op: so o is saved by hand, where it must be.
func called(s string) string {
	return "c.at = uintptr(unsafe.Pointer(o)) - uintptr(ops)\n" + s + "\no = (*op)(unsafe.Add(ops, c.at))\n"
}

// plain emits an op that has nothing to do with flags or memory.
func (g *generator) plain(name, body string, args ...any) {
	g.emit(name, body, args...)
	g.attr("flagsNone", name)
}

// access emits an op with a memory operand, and the variant without an index.
func (g *generator) access(name, body string, args ...any) {
	text := fmt.Sprintf(body, args...)
	g.emit(name, "%s", text)
	g.emit(name+"B", "%s", strings.Replace(text, " + c.r[o.index]<<(o.scale&63)", "", 1))
	fmt.Fprintf(&g.based, "op%s: op%sB,\n", name, name)
}

// emit adds an opcode and its case.
func (g *generator) emit(name, body string, args ...any) {
	fmt.Fprintf(&g.codes, "op%s\n", name)
	fmt.Fprintf(&g.cases, "case op%s:\n", name)
	text := strings.TrimSpace(fmt.Sprintf(body, args...))
	g.cases.WriteString(text)
	g.cases.WriteString("\n")
	// Here rather than once after the switch, to keep the dispatch short.
	if last := text[strings.LastIndexByte(text, '\n')+1:]; !strings.HasPrefix(last, "goto ") {
		g.cases.WriteString("o = (*op)(unsafe.Add(unsafe.Pointer(o), opSize))\n")
	}
}

// code adds an opcode without a case.
func (g *generator) code(name string) { fmt.Fprintf(&g.codes, "op%s\n", name) }

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

// condition is a condition code on a lazy state.
func condition(cc int) string {
	s := []string{
		"int64(c.fc^c.fc<<1) < 0",
		"int64(c.fc) < 0",
		"c.fz == 0",
		"c.fz == 0 || int64(c.fc) < 0",
		"int64(c.fs) < 0",
		"bits.OnesCount8(uint8(c.fs))&1 == 0",
		"int64(c.fs^c.fc^c.fc<<1) < 0",
		"c.fz == 0 || int64(c.fs^c.fc^c.fc<<1) < 0",
	}[cc>>1]
	if cc&1 != 0 {
		return "!(" + s + ")"
	}
	return s
}

// compared is a condition code right after a comparison of a and b.
func (w width) compared(cc int) string {
	sa, sb := w.sign+"(a)", w.sign+"(b)"
	switch condNames[cc] {
	case "B":
		return "a < b"
	case "AE":
		return "a >= b"
	case "E":
		return "a == b"
	case "NE":
		return "a != b"
	case "BE":
		return "a <= b"
	case "A":
		return "a > b"
	case "S":
		return w.sign + "(r) < 0"
	case "NS":
		return w.sign + "(r) >= 0"
	case "L":
		return sa + " < " + sb
	case "GE":
		return sa + " >= " + sb
	case "LE":
		return sa + " <= " + sb
	case "G":
		return sa + " > " + sb
	}
	return ""
}

// tested is a condition code right after TEST gave r.
func (w width) tested(cc int) string {
	switch condNames[cc] {
	case "E":
		return "r == 0"
	case "NE":
		return "r != 0"
	case "S", "L":
		return w.sign + "(r) < 0"
	case "NS", "GE":
		return w.sign + "(r) >= 0"
	case "LE":
		return w.sign + "(r) <= 0"
	case "G":
		return w.sign + "(r) > 0"
	}
	return ""
}

// alu makes the two-operand arithmetic: forms by width by operation.
func (g *generator) alu() {
	for _, form := range []string{"RR", "RI", "RM", "MR", "MI"} {
		for _, w := range widths {
			for _, name := range aluNames {
				var b strings.Builder
				switch form {
				case "RR":
					fmt.Fprintf(&b, "a, b := %s, %s\n", w.reg("dst"), w.reg("src"))
				case "RI":
					fmt.Fprintf(&b, "a, b := %s, %s\n", w.reg("dst"), w.imm())
				case "RM":
					b.WriteString(w.load("b"))
					fmt.Fprintf(&b, "a := %s\n", w.reg("dst"))
				case "MR", "MI":
					tag := "wtag"
					if name == "CMP" {
						tag = "rtag"
					}
					b.WriteString(w.locate(tag))
					if name == "CMP" {
						b.WriteString("a := " + w.mem() + "\n")
					} else {
						fmt.Fprintf(&b, "p := (*%s)(unsafe.Add(null, va+e.addend))\na := *p\n", w.unsigned)
					}
					if form == "MR" {
						fmt.Fprintf(&b, "b := %s\n", w.reg("src"))
					} else {
						fmt.Fprintf(&b, "b := %s\n", w.imm())
					}
				}
				b.WriteString(w.compute(name))
				if name != "CMP" {
					if form[0] == 'M' {
						b.WriteString("*p = r\n")
					} else {
						b.WriteString(w.set("dst", "r") + "\n")
					}
				}
				g.emit(fmt.Sprintf("%s%s%d", name, form, w.bits), "%s", b.String())
			}
		}
	}
	for _, form := range []string{"RR", "RI", "MR", "MI"} {
		for _, w := range widths {
			g.emit(fmt.Sprintf("TEST%s%d", form, w.bits), "%s%s", w.operands(form, w.imm()), w.compute("TEST"))
		}
	}
}

// quietALU makes the variants that set no flags. They come after all others,
// which lowering finds by their distances.
func (g *generator) quietALU() {
	for _, form := range []string{"RR", "RI", "RM"} {
		for _, w := range []width{w32, w64} {
			for _, name := range []string{"ADD", "OR", "AND", "SUB", "XOR"} {
				value, _ := w.parts(name)
				full := fmt.Sprintf("%s%s%d", name, form, w.bits)
				g.emit(full+"NF", "%s%s%s", w.operands(form, w.imm()), value, w.set("dst", "r"))
				fmt.Fprintf(&g.quiet, "op%s: op%sNF,\n", full, full)
				if form != "RM" {
					g.attr("flagsNone", full+"NF")
					g.attr("flagsAll", full)
				}
			}
		}
	}
	for _, w := range widths {
		for _, form := range []string{"RR", "RI"} {
			for _, name := range []string{"ADD", "OR", "AND", "SUB", "XOR", "CMP"} {
				if w.bits < 32 || name == "CMP" {
					g.attr("flagsAll", fmt.Sprintf("%s%s%d", name, form, w.bits))
				}
			}
			g.attr("flagsAll", fmt.Sprintf("TEST%s%d", form, w.bits))
		}
	}
}

// operands reads a and b of a comparison.
func (w width) operands(form, imm string) string {
	switch form {
	case "RR":
		return fmt.Sprintf("a, b := %s, %s\n", w.reg("dst"), w.reg("src"))
	case "RI":
		return fmt.Sprintf("a, b := %s, %s\n", w.reg("dst"), imm)
	case "RM":
		return w.load("b") + fmt.Sprintf("a := %s\n", w.reg("dst"))
	case "MR":
		return w.load("a") + fmt.Sprintf("b := %s\n", w.reg("src"))
	}
	return w.load("a") + fmt.Sprintf("b := %s\n", imm)
}

// fused makes comparisons with the branch that follows: 16 codes each.
func (g *generator) fused() {
	for _, f := range []struct {
		name, form string
		widths     []width
	}{
		{"CMP", "RR", []width{w8, w32, w64}},
		{"CMP", "RI", widths},
		{"CMP", "RM", []width{w32, w64}},
		{"CMP", "MR", []width{w32, w64}},
		{"CMP", "MI", widths},
		{"TEST", "RR", []width{w8, w32, w64}},
		{"TEST", "RI", []width{w8, w32}},
		{"TEST", "MI", []width{w8, w32}},
	} {
		for _, w := range f.widths {
			for cc, cond := range condNames {
				name := fmt.Sprintf("%s%s%dJ%s", f.name, f.form, w.bits, cond)
				taken := w.compared(cc)
				if f.name == "TEST" {
					taken = w.tested(cc)
				}
				if taken == "" {
					g.code(name)
					continue
				}
				g.emit(name, "%s%sif %s { goto taken }\n", w.operands(f.form, w.imm32()), w.compute(f.name), taken)
				if f.form == "RR" || f.form == "RI" {
					g.attr("flagsAll", name)
				}
			}
		}
	}
}

func (g *generator) moves() {
	for _, w := range widths {
		g.plain(fmt.Sprintf("MOVRR%d", w.bits), "%s", w.set("dst", w.reg("src")))
		g.plain(fmt.Sprintf("MOVRI%d", w.bits), "%s", w.set("dst", w.imm()))
		g.access(fmt.Sprintf("MOVRM%d", w.bits), "%s%s", w.load("v"), w.set("dst", "v"))
		g.access(fmt.Sprintf("MOVMR%d", w.bits), "%s%s = %s", w.locate("wtag"), w.mem(), w.reg("src"))
		g.access(fmt.Sprintf("MOVMI%d", w.bits), "%s%s = %s", w.locate("wtag"), w.mem(), w.imm())
	}
	for _, w := range []width{w8, w16} {
		g.plain(fmt.Sprintf("MOVZXRR%d", w.bits), "c.r[o.dst] = uint64(%s)", w.reg("src"))
		g.access(fmt.Sprintf("MOVZXRM%d", w.bits), "%sc.r[o.dst] = uint64(v)", w.load("v"))
	}
	g.plain("MOVZXRH", "c.r[o.dst] = c.r[o.src] >> 8 & 0xff")
	for _, w := range []width{w8, w16, w32} {
		g.plain(fmt.Sprintf("MOVSXRR%d", w.bits), "c.r[o.dst] = uint64(%s(c.r[o.src]))", w.sign)
		g.access(fmt.Sprintf("MOVSXRM%d", w.bits), "%sc.r[o.dst] = uint64(%s(v))", w.load("v"), w.sign)
		if w.bits < 32 {
			g.plain(fmt.Sprintf("MOVSX32RR%d", w.bits), "c.r[o.dst] = uint64(uint32(%s(c.r[o.src])))", w.sign)
			g.access(fmt.Sprintf("MOVSX32RM%d", w.bits), "%sc.r[o.dst] = uint64(uint32(%s(v)))", w.load("v"), w.sign)
		}
	}
	g.plain("LEA64B", "c.r[o.dst] = c.r[o.base] + uint64(int64(o.disp))")
	fmt.Fprintf(&g.based, "opLEA64: opLEA64B,\n")
	g.plain("LEA64", "c.r[o.dst] = c.r[o.base] + c.r[o.index]<<(o.scale&63) + uint64(int64(o.disp))")
	g.plain("LEA32", "c.r[o.dst] = uint64(uint32(c.r[o.base] + c.r[o.index]<<(o.scale&63) + uint64(int64(o.disp))))")
	for cc, name := range condNames {
		g.emit("SET"+name, "v := uint64(0)\nif %s { v = 1 }\nc.r[o.dst] = c.r[o.dst]>>8<<8 | v", condition(cc))
	}
	for _, w := range []width{w32, w64} {
		for cc, name := range condNames {
			body := fmt.Sprintf("if %s { %s }", condition(cc), w.set("dst", w.reg("src")))
			if w.bits == 32 {
				body += "else { c.r[o.dst] = uint64(uint32(c.r[o.dst])) }"
			}
			g.emit(fmt.Sprintf("CMOV%s%d", name, w.bits), "%s", body)
		}
	}
	for _, w := range []width{w32, w64} {
		g.plain(fmt.Sprintf("XCHGRR%d", w.bits), "v := %s\n%s\n%s", w.reg("dst"), w.set("dst", w.reg("src")), w.set("src", "v"))
		g.emit(fmt.Sprintf("XCHGMR%d", w.bits), "%sp := (*%s)(unsafe.Add(null, va+e.addend))\nv := *p\n*p = %s\n%s",
			w.locate("wtag"), w.unsigned, w.reg("src"), w.set("src", "v"))
		g.emit(fmt.Sprintf("XADDMR%d", w.bits), "%sp := (*%s)(unsafe.Add(null, va+e.addend))\na, b := *p, %s\n%s%s\n*p = r",
			w.locate("wtag"), w.unsigned, w.reg("src"), w.compute("ADD"), w.set("src", "a"))
		g.emit(fmt.Sprintf("CMPXCHGMR%d", w.bits), `%sp := (*%s)(unsafe.Add(null, va+e.addend))
a, b := %s, *p
%sif r == 0 { *p = %s } else { %s }`,
			w.locate("wtag"), w.unsigned, w.get("c.r[rAX]"), w.compute("CMP"), w.reg("src"),
			strings.Replace(w.set("dst", "b"), "o.dst", "rAX", 1))
	}
	g.emit("CMPXCHG16B", "%sp := (*[2]uint64)(unsafe.Add(null, va+e.addend))\neq := p[0] == c.r[rAX] && p[1] == c.r[rDX]\nif eq { p[0], p[1] = c.r[rBX], c.r[rCX] } else { c.r[rAX], c.r[rDX] = p[0], p[1] }\nc.fz = 1\nif eq { c.fz = 0 }",
		fmt.Sprintf(aligned, "wtag", "missWrite"))
	g.plain("BSWAP64", "c.r[o.dst] = bits.ReverseBytes64(c.r[o.dst])")
	g.plain("BSWAP32", "c.r[o.dst] = uint64(bits.ReverseBytes32(uint32(c.r[o.dst])))")
	g.plain("CDQE", "c.r[rAX] = uint64(int32(c.r[rAX]))")
	g.plain("CWDE", "c.r[rAX] = uint64(uint32(int16(c.r[rAX])))")
	g.plain("CQO", "c.r[rDX] = uint64(int64(c.r[rAX]) >> 63)")
	g.plain("CDQ", "c.r[rDX] = uint64(uint32(int32(c.r[rAX]) >> 31))")
}

// stack makes a stack access at va+0 through a writable or readable page.
func stackAt(va, tag string) string { return stackSpan(va, tag, 8) }

func stackSpan(va, tag string, size int) string {
	miss := "missRead"
	if tag == "wtag" {
		miss = "missWrite"
	}
	return fmt.Sprintf(`va = %s
e := (*tlbEntry)(unsafe.Add(tlb, va>>(pageShift-tlbShift)&tlbIndex))
if e.%s != (va+%d)&^pageMask { goto %s }
`, va, tag, size-1, miss)
}

func (g *generator) stack() {
	push := func(v string) string {
		return stackAt("c.r[rSP] - 8", "wtag") + "*(*uint64)(unsafe.Add(null, va+e.addend)) = " + v + "\nc.r[rSP] = va\n"
	}
	g.emit("PUSH", "%s", push("c.r[o.src]"))
	g.emit("PUSHI", "%s", push("uint64(o.imm)"))
	g.emit("PUSHF", "v := uint64(0)\n%s%s", called("v = c.rflags()&^(flagVM|flagRF)"), push("v"))
	g.emit("POP", "%sv := %s\nc.r[rSP] = va + 8\nc.r[o.dst] = v", stackAt("c.r[rSP]", "rtag"), w64.mem())
	pair := "p := (*[2]uint64)(unsafe.Add(null, va+e.addend))\n"
	g.emit("PUSH2", "%sp[1], p[0] = c.r[o.src], c.r[o.dst]\nc.r[rSP] = va", stackSpan("c.r[rSP] - 16", "wtag", 16)+pair)
	g.emit("POP2", "%sc.r[rSP] = va + 16\nc.r[o.dst], c.r[o.src] = p[0], p[1]", stackSpan("c.r[rSP]", "rtag", 16)+pair)
	g.emit("LEAVE", "%sv := %s\nc.r[rSP] = va + 8\nc.r[rBP] = v", stackAt("c.r[rBP]", "rtag"), w64.mem())
	g.emit("CALL", "%sgoto taken", push("page + uint64(int64(o.disp))"))
	g.emit("CALLR", "rip = c.r[o.src]\nif !canonical(rip) { goto bail }\n%sgoto jump", push("page + uint64(o.imm)"))
	g.emit("RET", "%srip = %s\nif !canonical(rip) { goto bail }\nc.r[rSP] = va + 8 + uint64(o.imm)\ngoto jump", stackAt("c.r[rSP]", "rtag"), w64.mem())
}

func (g *generator) flow() {
	g.emit("JMP", "goto taken")
	g.emit("JMPR", "rip = c.r[o.src]\nif !canonical(rip) { goto bail }\ngoto jump")
	for cc, name := range condNames {
		g.emit("J"+name, "if %s { goto taken }", condition(cc))
	}
}

func (g *generator) shifts() {
	for _, w := range []width{w32, w64} {
		top := w.bits - 1
		flags := func(cf, of string) string {
			return fmt.Sprintf("cf := uint64(%s)\nc.fc = cf<<63 | (cf^uint64(%s))<<62\n", cf, of)
		}
		for _, form := range []string{"I", "CL"} {
			n, attr := "o.src", "flagsAll"
			if form == "CL" {
				n, attr = "uint8(c.r[rCX])", "flagsSome"
			}
			shift := func(name, attr, value, flags string) {
				if form == "CL" { // a count of 0 keeps the flags
					flags = "if n != 0 {\n" + flags + "}\n"
				}
				g.writer(attr, fmt.Sprintf("%s%s%d", name, form, w.bits),
					fmt.Sprintf("n := %s & %d\na := %s\nr := %s\n", n, top, w.reg("dst"), value), flags, w.set("dst", "r"))
			}
			shift("SHL", attr, "a << n", w.result("r")+
				fmt.Sprintf("cf := uint64(a>>((%d-n)&%d)&1)\nc.fc = cf<<63 | uint64(r>>%d)<<62\n", w.bits, top, top))
			shift("SHR", attr, "a >> n", w.result("r")+
				flags(fmt.Sprintf("a>>((n-1)&%d)&1", top), fmt.Sprintf("a>>%d", top)))
			shift("SAR", attr, fmt.Sprintf("%s(%s(a) >> n)", w.unsigned, w.sign), w.result("r")+
				flags(fmt.Sprintf("a>>((n-1)&%d)&1", top), "0"))
			// Rotates keep ZF, SF, PF and AF.
			shift("ROL", "flagsSome", fmt.Sprintf("bits.RotateLeft%d(a, int(n))", w.bits),
				fmt.Sprintf("cf := uint64(r&1)\nc.fc = cf<<63 | uint64(r>>%d)<<62 | c.fc&8\n", top))
			shift("ROR", "flagsSome", fmt.Sprintf("bits.RotateLeft%d(a, -int(n))", w.bits),
				fmt.Sprintf("cf := uint64(r>>%d)\nc.fc = cf<<63 | uint64(r>>%d&1)<<62 | c.fc&8\n", top, top-1))
		}
		for i, name := range []string{"SHRD", "SHLD"} {
			value := fmt.Sprintf("r := a>>n | b<<(%d-n)\n", w.bits)
			cf := "a>>(n-1)&1"
			if i == 1 {
				value = fmt.Sprintf("r := a<<n | b>>(%d-n)\n", w.bits)
				cf = fmt.Sprintf("a>>(%d-n)&1", w.bits)
			}
			g.writer("flagsAll", fmt.Sprintf("%s%d", name, w.bits),
				fmt.Sprintf("n := o.scale\na, b := %s, %s\n%s", w.reg("dst"), w.reg("src"), value),
				fmt.Sprintf("%scf := uint64(%s)\nc.fc = cf<<63 | (cf^uint64((a^r)>>%d))<<62\n", w.result("r"), cf, top),
				w.set("dst", "r"))
		}
	}
}

func (g *generator) unary() {
	inc := func(w width) (value, flags string) {
		return "r := a + 1\n", w.result("r") +
			fmt.Sprintf("cf := c.fc & (1<<63)\nc.fc = cf | cf>>1\nif r == 1<<%d { c.fc ^= 1<<62 }\nif r&15 == 0 { c.fc |= 8 }\n", w.bits-1)
	}
	dec := func(w width) (value, flags string) {
		return "r := a - 1\n", w.result("r") +
			fmt.Sprintf("cf := c.fc & (1<<63)\nc.fc = cf | cf>>1\nif r == 1<<%d-1 { c.fc ^= 1<<62 }\nif r&15 == 15 { c.fc |= 8 }\n", w.bits-1)
	}
	for _, w := range []width{w32, w64} {
		p := fmt.Sprintf("%sp := (*%s)(unsafe.Add(null, va+e.addend))\na := *p\n", w.locate("wtag"), w.unsigned)
		a := fmt.Sprintf("a := %s\n", w.reg("dst"))
		for _, x := range []struct {
			name string
			f    func(width) (string, string)
		}{{"INC", inc}, {"DEC", dec}} {
			value, flags := x.f(w)
			g.writer("flagsSome", fmt.Sprintf("%sR%d", x.name, w.bits), a+value, flags, w.set("dst", "r"))
			g.emit(fmt.Sprintf("%sM%d", x.name, w.bits), "%s%s%s*p = r", p, value, flags)
		}
		value, flags := w.parts("SUB")
		g.writer("flagsAll", fmt.Sprintf("NEGR%d", w.bits), fmt.Sprintf("b := %s\na := %s(0)\n%s", w.reg("dst"), w.unsigned, value), flags, w.set("dst", "r"))
		g.plain(fmt.Sprintf("NOTR%d", w.bits), "%s", w.set("dst", "^"+w.reg("dst")))

		imul := func(name, b string) {
			name = fmt.Sprintf("%s%d", name, w.bits)
			if w.bits == 64 {
				g.writer("flagsAll", name, fmt.Sprintf("a, b := c.r[o.src], %s\nr := a * b\n", b),
					"hi, _ := bits.Mul64(a, b)\nhi -= uint64(int64(a)>>63)&b + uint64(int64(b)>>63)&a\nc.fz, c.fs, c.fc = r, r, 0\nif hi != uint64(int64(r)>>63) { c.fc = 1<<63 }\n", "c.r[o.dst] = r")
				return
			}
			g.writer("flagsAll", name, fmt.Sprintf("r := int64(int32(c.r[o.src])) * int64(int32(%s))\n", b),
				"s := uint64(int32(r))\nc.fz, c.fs, c.fc = s, s, 0\nif s != uint64(r) { c.fc = 1<<63 }\n", "c.r[o.dst] = uint64(uint32(r))")
		}
		imul("IMULRR", "c.r[o.dst]")
		imul("IMULRI", "uint64(o.imm)")
		g.emit(fmt.Sprintf("BTRI%d", w.bits), "c.fc = c.fc&8 | (c.fc^c.fc<<1)>>63<<62\nif %s>>(o.src&%d)&1 != 0 { c.fc ^= 3<<62 }", w.reg("dst"), w.bits-1)
		g.emit(fmt.Sprintf("BTRR%d", w.bits), "c.fc = c.fc&8 | (c.fc^c.fc<<1)>>63<<62\nif %s>>(c.r[o.src]&%d)&1 != 0 { c.fc ^= 3<<62 }", w.reg("dst"), w.bits-1)
		for i, name := range []string{"BTS", "BTR"} {
			g.emit(fmt.Sprintf("%sRI%d", name, w.bits), "c.fc = c.fc&8 | (c.fc^c.fc<<1)>>63<<62\na := %s\nif a>>(o.src&%d)&1 != 0 { c.fc ^= 3<<62 }\n%s",
				w.reg("dst"), w.bits-1, w.set("dst", fmt.Sprintf("a%s(1<<(o.src&%d))", []string{"|", "&^"}[i], w.bits-1)))
			g.emit(fmt.Sprintf("%sRR%d", name, w.bits), "c.fc = c.fc&8 | (c.fc^c.fc<<1)>>63<<62\na := %s\nif a>>(c.r[o.src]&%d)&1 != 0 { c.fc ^= 3<<62 }\n%s",
				w.reg("dst"), w.bits-1, w.set("dst", fmt.Sprintf("a%s(1<<(c.r[o.src]&%d))", []string{"|", "&^"}[i], w.bits-1)))
		}
		for i, name := range []string{"BT", "BTS", "BTR"} {
			tag, write := "wtag", fmt.Sprintf("\n*p = a%s(1<<(o.src&%d))", []string{"", "|", "&^"}[i], w.bits-1)
			if i == 0 {
				tag, write = "rtag", ""
			}
			g.emit(fmt.Sprintf("%sMI%d", name, w.bits), "%sp := (*%s)(unsafe.Add(null, va+e.addend))\na := *p\nc.fc = c.fc&8 | (c.fc^c.fc<<1)>>63<<62\nif a>>(o.src&%d)&1 != 0 { c.fc ^= 3<<62 }%s",
				w.locate(tag), w.unsigned, w.bits-1, write)
		}
		g.emit(fmt.Sprintf("BSF%d", w.bits), "a := %s\nc.fz = uint64(a)\nif a != 0 { c.r[o.dst] = uint64(bits.TrailingZeros%d(a)) }", w.reg("src"), w.bits)
		g.emit(fmt.Sprintf("BSR%d", w.bits), "a := %s\nc.fz = uint64(a)\nif a != 0 { c.r[o.dst] = uint64(bits.Len%d(a)-1) }", w.reg("src"), w.bits)
	}
	g.writer("flagsAll", "MUL64", "hi, lo := bits.Mul64(c.r[rAX], c.r[o.src])\n",
		"c.fz, c.fs, c.fc = lo, lo, 0\nif hi != 0 { c.fc = 1<<63 }\n", "c.r[rAX], c.r[rDX] = lo, hi")
	g.writer("flagsAll", "MUL32", "r := uint64(uint32(c.r[rAX])) * uint64(uint32(c.r[o.src]))\n",
		"s := uint64(int32(r))\nc.fz, c.fs, c.fc = s, s, 0\nif r>>32 != 0 { c.fc = 1<<63 }\n", "c.r[rAX], c.r[rDX] = uint64(uint32(r)), r>>32")
	g.emit("DIV64", "d, hi := c.r[o.src], c.r[rDX]\nif hi >= d { goto bail }\nif hi == 0 { a := c.r[rAX]\nc.r[rAX], c.r[rDX] = a/d, a%%d } else { c.r[rAX], c.r[rDX] = bits.Div64(hi, c.r[rAX], d) }")
	g.emit("DIV32", "d, hi := uint64(uint32(c.r[o.src])), uint64(uint32(c.r[rDX]))\nif hi >= d { goto bail }\na := hi<<32 | uint64(uint32(c.r[rAX]))\nc.r[rAX], c.r[rDX] = a/d, a%%d")
}

func (g *generator) vectors() {
	x := func(f string) string { return "c.fpu.xmm[o." + f + "&31]" }
	vec := width{128, "[2]uint64", ""}
	// By halves: a load of 16 bytes waits for two stores of 8 to retire.
	set := func(to, low, high string) string {
		return fmt.Sprintf("{ d := &%s\nd[0], d[1] = %s, %s }", to, low, high)
	}
	const load = "s := (*[2]uint64)(unsafe.Add(null, va+e.addend))\n"
	store := func() string {
		return fmt.Sprintf("s, d := &%s, (*[2]uint64)(unsafe.Add(null, va+e.addend))\nd[0], d[1] = s[0], s[1]", x("src"))
	}
	g.plain("MOVX", "s := &%s\n%s", x("src"), set(x("dst"), "s[0]", "s[1]"))
	g.emit("MOVXM", "%s%s%s", vec.locate("rtag"), load, set(x("dst"), "s[0]", "s[1]"))
	g.emit("MOVMX", "%s%s", vec.locate("wtag"), store())
	g.emit("MOVAXM", "%s%s%s", fmt.Sprintf(aligned, "rtag", "missRead"), load, set(x("dst"), "s[0]", "s[1]"))
	g.emit("MOVAMX", "%s%s", fmt.Sprintf(aligned, "wtag", "missWrite"), store())
	for _, w := range []width{w32, w64} {
		g.emit(fmt.Sprintf("MOVXM%d", w.bits), "%s%s", w.load("v"), set(x("dst"), "uint64(v)", "0"))
		g.emit(fmt.Sprintf("MOVMX%d", w.bits), "%s%s = %s", w.locate("wtag"), w.mem(), w.get(x("src")+"[0]"))
		g.emit(fmt.Sprintf("MOVXR%d", w.bits), "%s", set(x("dst"), "uint64("+w.reg("src")+")", "0"))
		g.emit(fmt.Sprintf("MOVRX%d", w.bits), "c.r[o.dst] = uint64(%s)", w.get(x("src")+"[0]"))
	}
	g.plain("MOVQX", "%s", set(x("dst"), x("src")+"[0]", "0"))
	g.emit("MOVHXM", "%s%s[1] = v", w64.load("v"), x("dst"))
	g.emit("MOVHMX", "%s%s = %s[1]", w64.locate("wtag"), w64.mem(), x("src"))
	for _, b := range [][2]string{{"PXOR", "d[%d] ^= s[%d]"}, {"POR", "d[%d] |= s[%d]"}, {"PAND", "d[%d] &= s[%d]"},
		{"PANDN", "d[%d] = s[%[1]d] &^ d[%[1]d]"}, {"PADDQ", "d[%d] += s[%d]"}, {"PSUBQ", "d[%d] -= s[%d]"}} {
		op := strings.ReplaceAll(b[1], "%d", "%[1]d")
		body := fmt.Sprintf(op, 0) + "\n" + fmt.Sprintf(op, 1)
		g.emit(b[0], "d, s := &%s, &%s\n%s", x("dst"), x("src"), body)
		g.emit(b[0]+"M", "%sd, s := &%s, (*[2]uint64)(unsafe.Add(null, va+e.addend))\n%s",
			fmt.Sprintf(aligned, "rtag", "missRead"), x("dst"), body)
	}
	// Arithmetic of package fp, by the op's number in fpOps.
	g.emit("FP", "%sif !ok { goto bail }", "ok := false\n"+called(fmt.Sprintf("ok = fpOps[o.disp](&%s, &%s, uint8(o.imm), &c.fpu.mxcsr)", x("dst"), x("src"))))
	half := func(i int) string {
		return fmt.Sprintf("v[%d]>>7&0x0101010101010101*0x0102040810204080>>56", i)
	}
	g.emit("PMOVMSKB", "v := &%s\nc.r[o.dst] = %s | %s<<8", x("src"), half(0), half(1))
	g.emit("PUNPCKLQDQ", "%s[1] = %s[0]", x("dst"), x("src"))
	// A byte of ones where the bytes are equal.
	equal := func(i int) string {
		return fmt.Sprintf("{ x := d[%[1]d] ^ s[%[1]d]\nd[%[1]d] = ^(x&low + low | x | low) >> 7 * 255 }\n", i)
	}
	body := "const low = 0x7f7f7f7f7f7f7f7f\n" + equal(0) + equal(1)
	g.emit("PCMPEQB", "d, s := &%s, &%s\n%s", x("dst"), x("src"), body)
	g.emit("PCMPEQBM", "%sd, s := &%s, (*[2]uint64)(unsafe.Add(null, va+e.addend))\n%s",
		fmt.Sprintf(aligned, "rtag", "missRead"), x("dst"), body)
}

func (g *generator) system() {
	g.emit("CLI", "c.flags &^= flagIF")
	pending := "{ v := 0\n" + called("v = c.apic.pending()") + "if v >= 0 { goto bail } }\n"
	g.emit("STI", "if c.flags&flagIF == 0 { %sc.flags |= flagIF }", pending)
	g.emit("POPF", `%sv := %s
if (c.flags^v)&(flagTF|flagIOPL|flagNT|flagAC|flagID) != 0 { goto bail }
if v&flagIF&^c.flags != 0 { %s }
c.flags = c.flags&^(flagIF|flagDF) | v&(flagIF|flagDF)
c.fz = ^v & flagZF
c.fs = v>>7<<63 | ^v>>2&1
c.fc = v<<63 | (v^v>>11)&1<<62 | v>>4&1<<3
c.r[rSP] += 8`, stackAt("c.r[rSP]", "rtag"), w64.mem(), pending)
	g.plain("ORDER", "c.ordered |= orderLock")
	g.emit("CLD", "c.flags &^= flagDF")
	g.emit("CLC", "c.fc = c.fc&8 | (c.fc^c.fc<<1)>>63<<62")
	g.emit("STC", "c.fc = (c.fc&8 | (c.fc^c.fc<<1)>>63<<62) ^ 3<<62")
	g.emit("RDTSC", `t := limit - uint64(left) + uint64(o.n-1) + c.tscOffset
c.r[rAX], c.r[rDX] = uint64(uint32(t)), t>>32`)
	g.emit("GENERIC", `c.rip = page + uint64(o.pc)
c.now = limit - uint64(left) + uint64(o.n-1)
%sif c.attn || c.rip != page+uint64(int64(o.disp)) { goto leave }`, called("c.execute(&c.p.cache.insts[o.imm])"))
	g.emit("SLOW", "goto bail")
	g.emit("DEAD", "goto dead")
}

func main() {
	g := &generator{}
	g.alu()
	g.fused()
	g.moves()
	g.stack()
	g.flow()
	g.shifts()
	g.unary()
	g.vectors()
	g.system()
	g.quietALU()

	var b bytes.Buffer
	b.WriteString("// Code generated by genfast. DO NOT EDIT.\n\npackage soft\n\nconst (\n")
	b.WriteString(strings.Replace(g.codes.String(), "\n", " opcode = iota\n", 1))
	b.WriteString("opCount\n)\n")
	table := func(doc, name, elem string, entries *bytes.Buffer) {
		fmt.Fprintf(&b, "\n// %s\nvar %s = [opCount]%s{\n%s}\n", doc, name, elem, entries.Bytes())
	}
	table("flagEffects is what ops do to the arithmetic flags.", "flagEffects", "flagEffect", &g.attrs)
	table("quietOps are the variants that set no flags; 0 is none.", "quietOps", "opcode", &g.quiet)
	table("basedOps are the variants for addresses without an index; 0 is none.", "basedOps", "opcode", &g.based)
	write("opcodes.go", b.Bytes())

	template, err := os.ReadFile("genfast/fast.tmpl")
	if err != nil {
		log.Fatal(err)
	}
	// With every value a case, the switch needs no bounds check.
	g.cases.WriteString("case opCount")
	for i := strings.Count(g.codes.String(), "\n") + 1; i < opcodes; i++ {
		fmt.Fprintf(&g.cases, ", %d", i)
	}
	g.cases.WriteString(":\ngoto bail\n")
	write("fast_unsafe.go", bytes.Replace(template, []byte("//CASES\n"), g.cases.Bytes(), 1))
}

func write(name string, src []byte) {
	out, err := format.Source(src)
	if err != nil {
		os.WriteFile("/tmp/cpu/bad.go", src, 0o644)
		log.Fatalf("%s: %v", name, err)
	}
	if err := os.WriteFile(name, out, 0o644); err != nil {
		log.Fatal(err)
	}
}

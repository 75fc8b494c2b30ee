package main

import (
	"fmt"
	"strings"
)

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

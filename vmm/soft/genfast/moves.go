package main

import (
	"fmt"
	"strings"
)

// called wraps statements that call a function. The compiler keeps what lives
// across a call in memory from where it is made, and o is made anew for every
// op: so o is saved by hand, where it must be.
func called(s string) string {
	return "c.at = uintptr(unsafe.Pointer(o)) - uintptr(ops)\n" + s + "\no = (*op)(unsafe.Add(ops, c.at))\n"
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

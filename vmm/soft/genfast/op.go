package main

import (
	"fmt"
	"go/ast"
	"slices"
	"strings"
)

var conditions = []string{"O", "NO", "B", "AE", "E", "NE", "BE", "A", "S", "NS", "P", "NP", "L", "GE", "LE", "G"}

// op is an op with the text of its case.
type op struct {
	name, kind, form string
	size             int // of operands, in bytes; 0 is none
	sub              string
	cond             int
	body             string

	facts
	quiet, based, full string // names of variants, and of what this is one of
}

// opFunction is a function with a directive, for one width, form and condition.
type opFunction struct {
	*inliner
	f    *function
	d    *directive
	v    variant
	form form
	cond int // or -1
}

// makeOps makes all ops; the first is none.
func makeOps(list []*function) []*op {
	functions := map[string]*function{}
	names := map[string]map[string]bool{} // of the ops of a kind
	for _, f := range list {
		functions[f.name] = f
		for _, d := range f.ops {
			if names[d.kind] == nil {
				names[d.kind] = map[string]bool{}
			}
			names[d.kind][d.name] = true
		}
	}
	ops := []*op{{name: "None", kind: "none", body: "goto bail\n", facts: facts{ends: true, leaves: true}}}
	for _, f := range list {
		for i := range f.ops {
			d := &f.ops[i]
			conds := []int{-1}
			if d.cc {
				conds = conds[:0]
				for cc := range conditions {
					conds = append(conds, cc)
				}
			}
			for _, v := range d.variants {
				for _, cc := range conds {
					x := &opFunction{inliner: &inliner{functions: functions, width: v.width}, f: f, d: d, v: v, form: forms[v.form], cond: cc}
					ops = append(ops, x.ops(len(names[d.kind]) > 1)...)
				}
			}
		}
	}
	return ops
}

// ops are the op of a function and its variants.
func (x *opFunction) ops(several bool) []*op {
	condition, ok := x.condition()
	if !ok {
		return nil
	}
	o := &op{kind: x.d.kind, form: x.v.form, size: x.v.width / 8, cond: max(x.cond, 0)}
	o.name = x.name()
	if several {
		o.sub = title(x.d.kind) + x.d.name
	}
	o.body = x.expand(condition, ownAddress)
	x.quiet = true
	quiet := x.expand(condition, ownAddress)
	x.quiet = false
	o.facts = learn(o.name, o.body, quiet)
	list := []*op{o}
	variant := func(suffix, body, quiet string) string {
		v := &op{name: o.name + suffix, kind: o.kind, form: o.form, size: o.size, sub: o.sub, cond: o.cond, body: body, full: o.name}
		v.facts = learn(v.name, body, quiet)
		list = append(list, v)
		return v.name
	}
	if o.setsFlags && !o.stores && o.changesRegisters {
		o.quiet = variant("NF", quiet, quiet)
	}
	if x.d.based && o.address {
		o.based = variant("B", x.expand(condition, ownBased), quiet)
	}
	return list
}

func (x *opFunction) name() string {
	s := x.d.name
	cond := ""
	if x.cond >= 0 {
		cond = conditions[x.cond]
	}
	if !x.fused() {
		s += cond
	}
	if !x.v.hideForm {
		s += x.v.form
	}
	if !x.v.hideSize {
		s += fmt.Sprint(x.v.width)
	}
	if x.fused() {
		s += "J" + cond
	}
	return s
}

// fused says that the op is a comparison with a branch, whose conditions are
// functions of the operands, and whose immediate is half of imm.
func (x *opFunction) fused() bool { return x.functions[x.d.kind+"E"] != nil }

// condition is the text of the op's condition. It is false where there is none.
func (x *opFunction) condition() (string, bool) {
	if x.cond < 0 {
		return "", true
	}
	prefix := "cond"
	if x.fused() {
		prefix = x.d.kind
	}
	f := x.functions[prefix+conditions[x.cond&^1]]
	if f == nil {
		return "", false
	}
	s := x.value(f, map[string]string{"T": word(x.width)})
	if x.cond&1 != 0 {
		s = "!" + s
	}
	return s, true
}

// expand is the text of the op's case.
func (x *opFunction) expand(condition, address string) string {
	var names, values, memory, located []string
	replace := map[string]string{"T": word(x.width), "cond": condition, "address": "(" + address + ")"}
	bind := func(name, place, value string) {
		if place == "mem" {
			located = append(located, name+" := "+value+"\n")
			memory = append(memory, name)
			return
		}
		names, values = append(names, name), append(values, value)
	}
	for _, p := range x.f.params {
		switch p.name {
		case "a":
			bind("a", x.form.a, operand(x.form.a, x.width, x.fused()))
		case "b":
			bind("b", x.form.b, operand(x.form.b, x.width, x.fused()))
		case "d":
			bind("d", x.form.d, x.vector(x.form.d))
		case "s":
			bind("s", x.form.s, x.vector(x.form.s))
		case "n":
			bind("n", "", "uint8("+x.form.n+")")
		case "m", "va":
			memory = append(memory, p.name)
		case "cond", "address", "c", "o", "page", "limit", "left":
		default:
			fatalf("%s: no parameter has the name %s", x.f.name, p.name)
		}
	}
	result := "" // of a value
	if n := len(x.f.results); n == 1 && x.f.results[0].typ != "exit" {
		result = x.f.results[0].typ
	}
	toMemory := result != "" && x.form.out == "mem"
	write := toMemory || x.f.assigns("m") || x.form.d == "mem" && x.f.assigns("d")
	pending := true
	before := func(s ast.Stmt) string {
		_, returns := s.(*ast.ReturnStmt)
		if !pending || !mentions(s, append(names, memory...)) && !(returns && toMemory) {
			return ""
		}
		pending = false
		registers := ""
		if names != nil {
			registers = strings.Join(names, ", ") + " := " + strings.Join(values, ", ") + "\n"
		}
		if memory == nil && !toMemory {
			return registers
		}
		at := address
		if x.form.at != "" {
			at = x.form.at
			if strings.Contains(at, "%d") {
				at = fmt.Sprintf(at, x.width/8)
			}
		}
		look := locate(at, x.width, write, x.d.aligned)
		for _, l := range located {
			look += l
		}
		return look + registers
	}
	return x.body(x.f, replace, func(results []string) string { return x.returned(results, result) }, before)
}

// vector is where a vector operand is.
func (x *opFunction) vector(place string) string {
	if place == "mem" {
		return "m"
	}
	return "&c.fpu.xmm[o." + fieldOf(place) + "&31]"
}

// returned is what a return statement becomes.
func (x *opFunction) returned(results []string, typ string) string {
	if typ != "" {
		if x.form.out == "mem" {
			return "*m = " + results[0]
		}
		width := x.width
		if typ != "T" {
			if _, err := fmt.Sscanf(typ, "uint%d", &width); err != nil {
				fatalf("%s: a result is no %s", x.f.name, typ)
			}
		}
		return store("c.r[o."+fieldOf(x.form.out)+"]", results[0], width)
	}
	if len(results) == 0 {
		return ""
	}
	to := results[len(results)-1]
	label, ok := strings.CutPrefix(to, "exit")
	if !ok || len(results) == 2 && results[0] != "rip" {
		fatalf("%s: returns %s, want rip if anything, and an exit", x.f.name, results)
	}
	if label == "Next" {
		return ""
	}
	return "goto " + strings.ToLower(label)
}

// numbered is the package of the op's number, if it has one of its encoding.
func (o *op) numbered() string {
	if slices.Contains(numbered, o.kind) {
		return "x86."
	}
	return ""
}

// info is the op's row of the table.
func (o *op) info() string {
	var s []string
	field := func(name, v string) { s = append(s, name+": "+v) }
	field("Name", fmt.Sprintf("%q", o.name))
	field("Kind", "Kind"+title(o.kind))
	if o.form != "" {
		field("Form", "Form"+o.form)
	}
	if o.size != 0 {
		field("Size", fmt.Sprint(o.size))
	}
	if o.sub != "" {
		field("Sub", o.numbered()+o.sub)
	}
	if o.cond > 0 {
		field("Sub", fmt.Sprint(o.cond))
	}
	set := func(name string, bits []string) {
		if bits = slices.DeleteFunc(bits, func(b string) bool { return b == "" }); len(bits) > 0 {
			field(name, strings.Join(bits, " | "))
		}
	}
	pick := func(ok bool, name string) string {
		if ok {
			return name
		}
		return ""
	}
	set("Effect", []string{pick(o.readsFlags, "EffReads"), pick(o.setsAll, "EffSets"), pick(o.leaves, "EffLeaves"), pick(o.branches, "EffEdge")})
	set("Reads", []string{pick(o.readsDst, "FieldDst"), pick(o.readsSrc, "FieldSrc"), pick(o.address, "FieldAddress")})
	set("Writes", []string{pick(o.writesDst, "FieldDst"), pick(o.writesSrc, "FieldSrc")})
	set("Mem", []string{pick(o.loads, "MemLoads"), pick(o.stores, "MemStores")})
	if o.vectors {
		field("Vectors", "true")
	}
	if o.ends {
		field("Ends", "true")
	}
	for _, v := range []struct{ name, of string }{{"Quiet", o.quiet}, {"Based", o.based}, {"Full", o.full}} {
		if v.of != "" {
			field(v.name, "Op"+v.of)
		}
	}
	return strings.Join(s, ", ")
}

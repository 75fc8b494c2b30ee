package jit

import "nvlab/vmm/soft/ir"

// A Probe is what translating an op told, for tests that compare it with what
// the op does.
type Probe struct {
	Known  bool          // there is code for it
	Leaves bool          // the code may leave before the op has begun
	Effect ir.FlagEffect // of the op, as this compiler does it
	Writes []uint8       // slots
}

// Probe translates the ops of a block in one mode, and keeps nothing of it.
func (n *Compiler) Probe(mode uint8, ops ...ir.Op) (list []Probe) {
	t := n.ready(ops, mode)
	t.values.forget()
	t.analyse()
	t.flags = inWord
	for i := range t.ops {
		o := &t.ops[i]
		stubs := len(t.stubs)
		p := Probe{Effect: t.effect(o)}
		p.Known = t.op(i, o)
		p.Writes = append(p.Writes, t.writes...)
		for _, s := range t.stubs[stubs:] {
			p.Leaves = p.Leaves || !s.edge
		}
		t.writes = t.writes[:0]
		list = append(list, p)
	}
	return list
}

// Skip leaves bytes of the memory for code unused, and of that for code that
// rarely runs.
func (n *Compiler) Skip(code, rare int) {
	n.pos += code
	n.rare += rare
}

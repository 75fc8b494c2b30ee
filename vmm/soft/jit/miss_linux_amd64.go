package jit

import (
	"nvlab/vmm/soft/abi"
	"nvlab/vmm/soft/x86"
)

// miss is an access that the TLB may not answer. Then the page is translated
// in Go, and code goes on with looking it up again; only what this does not
// help leaves the op to the interpreter.
type miss struct {
	start int   // of the code that looks up; 0 is none
	write bool  // the access is a store
	tag   bool  // what is looked up may be stored to
	known bool  // the page is
	page  int64 // if so
	leads bool  // for a group of accesses
}

// miss makes the branch at site lead out before op i, whose access the TLB
// does not answer. The page of its last byte is in hA, and the offset of an
// entry of the TLB, that of its first byte, in hB.
func (t *translator) miss(i, site int, m miss) {
	m.leads = t.leads(i) != nil
	t.stubs = append(t.stubs, stub{site: site, op: i, flags: t.flags, cached: t.cached, vectors: t.vectors, miss: m})
}

// missed leaves for the miss of a stub.
func (t *translator) missed(s *stub) {
	a := &t.asm
	m := &s.miss
	if m.known {
		a.MovImm(hA, uint64(m.page))
		a.MovImm(hB, uint64(m.page>>x86.PageShift&(abi.TLBSize-1)<<abi.TLBShift))
	}
	a.Store(8, hA, t.crossing(offMissPage))
	a.Store(4, hB, t.crossing(offMissEntry))
	t.toWord()
	what := uint32(m.start)
	for _, f := range []struct {
		is  bool
		bit uint32
	}{{m.write, abi.MissWrites}, {m.tag, abi.MissWritable}, {m.leads, abi.MissLeads}} {
		if f.is {
			what |= f.bit
		}
	}
	a.StoreImm(4, t.crossing(offMissWhat), int64(int32(what)))
	back := a.Pos - 4
	site := &t.n.misses[t.first+uint32(s.op)]
	switch {
	case m.leads && t.edgeStub:
		t.exit(s.op, int(*site)-1) // as the block does
	default:
		t.exit(s.op, t.n.offMissed)
		if m.leads {
			*site = int32(a.Pos - 4)
		}
	}
	if s.vectors || s.cached.slot != 0 {
		a.PatchImm(back, what-uint32(m.start)+uint32(a.Pos))
		if s.vectors {
			t.haveVectors()
		}
		t.reload()
		a.JmpTo(m.start)
	}
}

package soft

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
		a.movImm(hA, uint64(m.page))
		a.movImm(hB, uint64(m.page>>pageShift&(tlbSize-1)<<tlbShift))
	}
	a.store(8, hA, inCPU(offMissPage))
	a.store(4, hB, inCPU(offMissEntry))
	t.toWord()
	what := uint32(m.start)
	for _, f := range []struct {
		is  bool
		bit uint32
	}{{m.write, missWrites}, {m.tag, missWritable}, {m.leads, missLeads}} {
		if f.is {
			what |= f.bit
		}
	}
	a.storeImm(4, inCPU(offMissWhat), int64(int32(what)))
	back := a.pos - 4
	site := &t.n.misses[t.first+uint32(s.op)]
	switch {
	case m.leads && t.edgeStub:
		t.exit(s.op, int(*site)-1) // as the block does
	default:
		t.exit(s.op, t.n.offMissed)
		if m.leads {
			*site = int32(a.pos - 4)
		}
	}
	if s.vectors || s.cached.slot != 0 {
		a.patchImm(back, what-uint32(m.start)+uint32(a.pos))
		if s.vectors {
			t.haveVectors()
		}
		t.reload()
		a.jmpTo(m.start)
	}
}

// missed is for an access at which code was left because the TLB did not
// answer it. It returns where code goes on, if now it does, or 0.
func (c *cpu) missed() uint32 {
	x := &c.native
	n := c.p.cache.native
	set := c.privilege()
	i := x.missPage >> pageShift & (tlbSize - 1)
	e := &c.tlbs[set].fast[i]
	answers := func() bool {
		return e.native == x.missPage && (x.missWhat&missWritable == 0 || e.wtag == x.missPage)
	}
	kind := accessRead
	if x.missWhat&missWrites != 0 {
		kind = accessWrite
	}
	m := &c.tlbs[set].meta[i]
	known := m.vtag == x.missPage && (kind == accessRead || m.pa&tlbWritable != 0) // and not for code: it is observed, say
	if known && kind == accessWrite && x.missEntry == uint32(i)<<tlbShift && c.unprotected(set, x.missPage) {
		return x.missWhat & missCode
	}
	if !known && x.missEntry == uint32(i)<<tlbShift && canonical(x.missPage) { // one page
		k := &n.cache.ops[x.op]
		c.rip = c.nativePage() + uint64(k.pc)
		c.now = x.limit - x.left + uint64(k.n-1)
		if _, ok := c.translate(x.missPage, set, kind); ok && answers() && !c.attn {
			n.count.refills++
			return x.missWhat & missCode
		}
	}
	if x.missWhat&missLeads != 0 && e.native == x.missPage {
		n.guardFailed(x.header)
	}
	x.why = leftOp
	return 0
}

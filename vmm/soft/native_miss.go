package soft

import (
	"nvlab/vmm/soft/abi"
	"nvlab/vmm/soft/x86"
)

// missed is for an access at which code was left because the TLB did not
// answer it. It returns where code goes on, if now it does, or 0.
func (c *cpu) missed() uint32 {
	x := &c.native
	if x.MissPage&x86.PageMask != 0 { // it is not aligned as it has to be
		x.Why = abi.LeftOp
		return 0
	}
	n := c.p.cache.native
	set := c.privilege()
	i := x.MissPage >> x86.PageShift & (abi.TLBSize - 1)
	e := &c.tlbs[set].fast[i]
	answers := func() bool {
		return e.Native == x.MissPage && (x.MissWhat&abi.MissWritable == 0 || e.WTag == x.MissPage)
	}
	kind := accessRead
	if x.MissWhat&abi.MissWrites != 0 {
		kind = accessWrite
	}
	m := &c.tlbs[set].meta[i]
	known := m.vtag == x.MissPage && (kind == accessRead || m.pa&tlbWritable != 0) // and not for code: it is observed, say
	if known && kind == accessWrite && x.MissEntry == uint32(i)<<abi.TLBShift && c.unprotected(set, x.MissPage) {
		return x.MissWhat & abi.MissCode
	}
	if !known && x.MissEntry == uint32(i)<<abi.TLBShift && x86.Canonical(x.MissPage) { // one page
		k := &c.p.cache.Ops[x.Op]
		c.rip = c.nativePage() + uint64(k.PC)
		c.now = x.Limit - x.Left + uint64(k.N-1)
		if _, ok := c.translate(x.MissPage, set, kind); ok && answers() && !c.attn {
			n.Count.Refills++
			return x.MissWhat & abi.MissCode
		}
	}
	if x.MissWhat&abi.MissLeads != 0 && e.Native == x.MissPage {
		n.GuardFailed(x.Header)
	}
	x.Why = abi.LeftOp
	return 0
}

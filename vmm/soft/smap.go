package soft

import "nvlab/vmm/soft/x86"

// Supervisor-mode access prevention (SDM 3A, 4.6). With CR4.SMAP, supervisor
// code may read and write a user's page only while EFLAGS.AC is set, and the
// processor itself never. The supervisor's TLB holds user pages only while they
// may be accessed: when AC is cleared they go, so that neither the fast path
// nor compiled code need know.

// guarded says that supervisor accesses to user pages are refused.
func (c *cpu) guarded() bool {
	return c.cr4&x86.CR4SMAP != 0 && (c.implicit || c.flags&x86.FlagAC == 0)
}

// setAC sets EFLAGS.AC. All that clears it does so here.
func (c *cpu) setAC(on bool) {
	if on {
		c.flags |= x86.FlagAC
		return
	}
	c.flags &^= x86.FlagAC
	if s := &c.tlbs[0]; c.cr4&x86.CR4SMAP != 0 && len(s.users) > 0 {
		s.dropUsers()
	}
}

// dropUsers forgets the translations of user pages.
func (s *tlbSet) dropUsers() {
	for _, i := range s.users {
		if s.meta[i].pa&tlbUser != 0 {
			s.drop(i)
		}
	}
	s.users = s.users[:0]
}

package soft

import "math/bits"

const (
	landingCount = 4096
	landingGroup = 16

	// landingMask is what of an address, times 8, is the offset of its entry. Two
	// calls return to addresses that differ by 2 at least.
	landingMask = 2 * (landingCount - 1)
)

// A landing is the address of the code of the block at rip.
type landing struct {
	rip, code uint64
}

// noLanding is an address that never has the first entry; 0 has.
const noLanding = 2

// landings is where compiled code jumps to. Nothing but the address is compared:
// an entry is of what the jump cache has, and goes when the
// generation does that guards it there.
type landings struct {
	entries [landingCount]landing
	filled  [2][landingCount / landingGroup / 64]uint64 // groups that may hold addresses of the lower, the upper half
}

// landAt makes an entry of the block of a header, whose code is at an address.
func (c *cpu) landAt(header uint32, code uint64) {
	h := &c.p.cache.ops[header]
	rip := uint64(h.imm) + uint64(h.pc)
	half := rip >> 63
	if j := &c.jc[jumpHash(rip)]; j.rip != rip || j.link != header || j.gen != c.gens[genLower+half] {
		return
	}
	l := &c.landings[c.privilege()]
	i := rip & landingMask / 2
	l.entries[i] = landing{rip, code}
	l.filled[half][i/landingGroup/64] |= 1 << (i / landingGroup % 64)
}

// forgetLandings drops the entries of one half of the address space.
func (c *cpu) forgetLandings(gen int) {
	half := gen - genLower
	for set := range c.landings {
		l := &c.landings[set]
		for i, w := range l.filled[half] {
			for ; w != 0; w &= w - 1 {
				clear(l.entries[(64*i+bits.TrailingZeros64(w))*landingGroup:][:landingGroup])
			}
			l.filled[half][i] = 0
		}
		l.entries[0].rip = noLanding
	}
}

// forgetLandings drops all entries: their code goes.
func (p *processors) forgetLandings() {
	for _, c := range p.cpus {
		c.forgetLandings(genLower)
		c.forgetLandings(genUpper)
	}
}

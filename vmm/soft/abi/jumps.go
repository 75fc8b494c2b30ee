package abi

import "math/bits"

// JumpEntry maps a virtual address to a block's header, as long as the
// generation that guards the address is Gen. Or it maps an offset in a page to
// that: then RIP is what PageKey makes of it, and the page is any that has the
// generation.
type JumpEntry struct {
	RIP  uint64
	Gen  uint32
	Link uint32 // the header, and from bit GuardShift on which generation that is
}

// A key of an offset is no canonical address: KeyBit is set in it, and some above
// the generation, which starts at KeyShift, are not.
const (
	KeyBit   = 63
	KeyShift = 12
)

// PageKey is what the block at rip, in a page that has a generation, is found by.
func PageKey(gen uint32, rip uint64) uint64 {
	return 1<<KeyBit | uint64(gen)<<KeyShift | rip&(1<<KeyShift-1)
}

// GuardShift is above all headers of an arena.
const GuardShift = 24

// Header is the header.
func (j *JumpEntry) Header() uint32 { return j.Link & (1<<GuardShift - 1) }

// Guard is the number of the generation.
func (j *JumpEntry) Guard() uint8 { return uint8(j.Link >> GuardShift) }

// JumpCacheSize is the number of entries of a jump cache, and JumpShift the binary
// logarithm of an entry's size.
const (
	JumpCacheSize = 1 << 14
	JumpShift     = 4
)

// JumpHash is the number of the entry of an address, or of a key.
func JumpHash(rip uint64) uint64 { return (rip ^ rip>>11) & (JumpCacheSize - 1) }

const (
	landingBits  = 14
	landingCount = 1 << landingBits
	groupBits    = 4
	landingGroup = 1 << groupBits // how many of them one bit of Filled stands for

	// LandingMask is what of an address, times 8, is the offset of its entry. Two
	// calls return to addresses that differ by 2 at least.
	LandingMask = 2 * (landingCount - 1)

	// GroupShift is by how much such a part of an address is to be shifted for the
	// number of its group, and HalfShift the binary logarithm of how many groups
	// there are.
	GroupShift = 1 + groupBits
	HalfShift  = landingBits - groupBits
)

// A Landing is the address of the code of the block at rip.
type Landing struct {
	RIP, Code uint64
}

// noLanding is an address that never has the first entry; 0 has.
const noLanding = 2

// Landings is where compiled code jumps to. Nothing but the address is compared:
// an entry is of what the jump cache has, and goes when the
// generation does that guards it there.
type Landings struct {
	Entries [landingCount]Landing
	Filled  [2][landingCount / landingGroup / 64]uint64 // groups that may hold addresses of the lower, the upper half
}

// Put makes the entry of an address.
func (l *Landings) Put(rip, code uint64) {
	i := rip & LandingMask / 2
	l.Entries[i] = Landing{rip, code}
	l.Filled[rip>>63][i/landingGroup/64] |= 1 << (i / landingGroup % 64)
}

// Forget drops the entries of one half of the address space, 0 or 1.
func (l *Landings) Forget(half int) {
	for i, w := range l.Filled[half] {
		for ; w != 0; w &= w - 1 {
			clear(l.Entries[(64*i+bits.TrailingZeros64(w))*landingGroup:][:landingGroup])
		}
		l.Filled[half][i] = 0
	}
	l.Entries[0].RIP = noLanding
}

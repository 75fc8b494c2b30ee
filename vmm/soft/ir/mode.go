package ir

// Bits of a block's mode. Blocks made in one mode are not run in another.
const (
	ModeUser     = 1 << iota // CPL 3
	ModeSSE                  // CR0.TS and EM clear, CR4.OSFXSR set
	ModeMasked               // MXCSR masks all exceptions
	ModeWatched              // there is an observer: LOCK is noted
	ModeSeveral              // there are several processors
	ModeRelative             // the page may be anywhere: SlotPage says where it is
)

// reach is how far a direct branch leads, and an address relative to the
// instruction, with the instruction itself.
const reach = 1 << 31

// Anywhere says whether a block at rip, made in a mode, is one for its page at
// any address. Address space randomisation puts the code of each process
// elsewhere. Code at low addresses stays where it was linked to be, and a
// supervisor's stays too; there, addresses are constants. What a direct branch
// can reach from the others is canonical.
func Anywhere(mode uint8, rip uint64) bool {
	return mode&ModeUser != 0 && rip-reach < 1<<47-2*reach
}

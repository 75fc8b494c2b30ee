package ir

// Bits of a block's mode. Blocks made in one mode are not run in another.
const (
	ModeUser    = 1 << iota // CPL 3
	ModeSSE                 // CR0.TS and EM clear, CR4.OSFXSR set
	ModeMasked              // MXCSR masks all exceptions
	ModeWatched             // there is an observer: LOCK is noted
	ModeSeveral             // there are several processors
)

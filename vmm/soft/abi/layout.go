package abi

// A Layout says where compiled code finds what in a processor: offsets, in
// bytes, from its start. What is kept for each privilege lies a stride apart.
type Layout struct {
	R        uintptr // slots, 8 bytes each
	Flags    uintptr // RFLAGS without the arithmetic ones
	Ordered  uintptr // OrderLock is noted there, in a byte
	Gens     uintptr // generations, 4 bytes each
	Pages    uintptr // that the generations from ir.GenPages on are of, 8 bytes each
	TSC      uintptr // what the time stamp is ahead of the clock
	XMM      uintptr
	MXCSR    uintptr
	X87      X87Layout
	KernelGS uintptr // of SWAPGS
	Users    uintptr // how many pages of users' the supervisor's TLB may hold
	IRR      uintptr // the local APIC's requests, of 256 bits

	Selectors, SelectorsStride uintptr // of segment registers, 2 bytes each

	TLB, TLBStride           uintptr // TLBEntry each
	Jumps, JumpsStride       uintptr // JumpEntry each
	Landings, LandingsStride uintptr // Landings
	Crossing                 uintptr
}

// X87Layout is where the x87 FPU's state is: its registers, 16 bytes each, by
// physical number; the words of control and status; which registers are in use,
// a bit each; and of the last instruction the opcode, and the addresses of itself
// and of its operand.
type X87Layout struct {
	R, CW, SW, Tag, FOP, FIP, FDP uintptr
}

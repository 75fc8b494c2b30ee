package vmm

// portTimer is the data port of channel 2 of the timer that PCs once had
// (Intel 8254).
const portTimer = 0x42

// noTimer stands where the timer would be. Linux calibrates the time-stamp
// counter against it even if it is told the frequency: of all ones, it takes
// 100,000 reads to find out that nothing counts, and one of a zero.
type noTimer struct{}

func (noTimer) In(uint16, int) uint32   { return 0 }
func (noTimer) Out(uint16, int, uint32) {}

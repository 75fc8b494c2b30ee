// Package splitmix draws random numbers that repeat: each seed is a sequence.
package splitmix

// Next draws a number from a sequence and moves it on (Steele, Lea, Flood, "Fast
// splittable pseudorandom number generators", OOPSLA 2014). Any state will do.
func Next(state *uint64) uint64 {
	*state += 0x9e3779b97f4a7c15
	z := *state
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

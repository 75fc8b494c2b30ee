package nestedtest

import "time"

// ticks reads the host's time-stamp counter, which QEMU's TCG gives its guest
// as it is.
func ticks() uint64

// tscKHz measures how fast the counter is. A kernel within QEMU cannot: on a
// busy host its clock would run at a multiple of the time.
func tscKHz() uint64 {
	// Between a look at one clock and at the other something may come: the
	// closest pair of a few counts.
	look := func() (at time.Time, count uint64) {
		closest := time.Hour
		for range 100 {
			before := time.Now()
			c := ticks()
			if d := time.Since(before); d < closest {
				at, count, closest = before, c, d
			}
		}
		return at, count
	}
	start, from := look()
	time.Sleep(200 * time.Millisecond)
	end, to := look()
	return (to - from) * uint64(time.Millisecond) / uint64(end.Sub(start))
}

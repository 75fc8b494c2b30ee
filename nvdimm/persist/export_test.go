package persist

// Shrink has the medium keep an nth of what it keeps undecided otherwise.
func (d *Medium) Shrink(n int) { d.most = maxUndecided / n }

// KeepAtMost has the medium keep so much undecided.
func (d *Medium) KeepAtMost(n int) { d.most = n }

package persist

// Shrink has the medium keep an nth of what it keeps undecided otherwise.
func (d *Medium) Shrink(n int) { d.most = maxUndecided / n }

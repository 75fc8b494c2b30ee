package btt

import "fmt"

// block is the block of a sector as the map has it.
func (a *arena) block(sector uint32) uint32 {
	raw := le.Uint32(a.table[sector*mapEntry:])
	if raw&(flagZero|flagError) == 0 {
		return sector
	}
	return raw & blockMask
}

// Check says why Linux does not attach the table, or why it would lose data
// with it. What the log has and the map lacks is taken as done.
func (t *Table) Check() error {
	for _, a := range t.arenas {
		if err := a.attach(); err != nil {
			return fmt.Errorf("arena %d: %w", a.index, err)
		}
		if err := a.count(t.seen); err != nil {
			return fmt.Errorf("arena %d: %w", a.index, err)
		}
	}
	return nil
}

// attach reads the log, of which every lane's later entry counts.
func (a *arena) attach() error {
	a.recovered = a.recovered[:0]
	if err := a.findEntries(); err != nil {
		return err
	}
	for lane := range int(a.NFree) {
		e, err := a.later(lane)
		if err != nil {
			return err
		}
		sector, old, now := le.Uint32(e), le.Uint32(e[4:]), le.Uint32(e[8:])
		if old&blockMask == now&blockMask {
			continue // the lane was never used
		}
		if sector >= a.ExternalNLBA {
			return fmt.Errorf("lane %d: its log is of sector %d, of %d", lane, sector, a.ExternalNLBA)
		}
		if a.block(sector) == old&blockMask {
			a.recovered = append(a.recovered, fix{sector, now})
		}
	}
	return nil
}

// unused says that an entry of a log group is padding, or was never written.
func unused(e []byte) bool { return le.Uint64(e) == 0 && le.Uint64(e[8:]) == 0 }

// findEntries finds out which two of the four entries of every group are in
// use: the first two, or, by kernels up to 4.14, the first and the third
// (btt.c, log_set_indices).
func (a *arena) findEntries() error {
	second := 0
	for lane := range int(a.NFree) {
		g := a.log[lane*logGroup:][:logGroup]
		switch {
		case unused(g):
			return fmt.Errorf("lane %d: the first entry of its log is empty", lane)
		case !unused(g[3*logEntry:]):
			return fmt.Errorf("lane %d: the fourth entry of its log is not empty", lane)
		}
		for i := 1; i <= 2; i++ {
			if unused(g[i*logEntry:]) {
				continue
			}
			if second != 0 && second != i {
				return fmt.Errorf("lane %d: entry %d of its log is in use, in other lanes it is entry %d", lane, i, second)
			}
			second = i
		}
	}
	a.entries = [2]int{0, max(second, 1)}
	return nil
}

// later is the entry of a lane that was written last. Sequence numbers go 1,
// 2, 3, 1; an entry that was never written has 0 (btt.c, btt_log_get_old).
func (a *arena) later(lane int) ([]byte, error) {
	g := a.log[lane*logGroup:][:logGroup]
	x, y := g[a.entries[0]*logEntry:][:logEntry], g[a.entries[1]*logEntry:][:logEntry]
	m, n := le.Uint32(x[12:]), le.Uint32(y[12:])
	switch {
	case m == 0:
		// Linux takes the first entry for the one to be written next, as in a
		// log that was never used.
		return y, nil
	case m == n || uint64(m)+uint64(n) > 5:
		return nil, fmt.Errorf("lane %d: the sequence numbers of its log are %d and %d: want two that follow each other in 1, 2, 3, 1", lane, m, n)
	case n == m+1 || m > n && m-n != 1:
		return y, nil
	}
	return x, nil
}

// count goes through the map and the free blocks: every block must be in one
// place.
func (a *arena) count(seen []uint64) error {
	clear(seen)
	mark := func(block uint32) bool {
		word, bit := block/64, uint64(1)<<(block%64)
		was := seen[word]&bit != 0
		seen[word] |= bit
		return !was
	}
	fixes := a.recovered
	for sector := range a.ExternalNLBA {
		block := a.block(sector)
		for _, f := range fixes {
			if f.sector == sector {
				block = f.block & blockMask
			}
		}
		if block >= a.InternalNLBA {
			return fmt.Errorf("sector %d has block %d, of %d", sector, block, a.InternalNLBA)
		}
		if !mark(block) {
			return fmt.Errorf("sector %d has block %d, which another has too", sector, block)
		}
	}
	for lane := range int(a.NFree) {
		e, err := a.later(lane)
		if err != nil {
			return err
		}
		block := le.Uint32(e[4:]) & blockMask
		if block >= a.InternalNLBA {
			return fmt.Errorf("lane %d: its free block is %d, of %d", lane, block, a.InternalNLBA)
		}
		if !mark(block) {
			return fmt.Errorf("lane %d: its free block %d is in use", lane, block)
		}
	}
	return nil // as many as there are, and none twice
}

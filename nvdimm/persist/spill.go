package persist

import "slices"

// maxUndecided bounds the ops that a medium keeps undecided, and with them the
// memory of a model, to a few hundred MB. It is what 16 MiB of lines have that
// are stored to once, in chunks of 8 bytes.
const maxUndecided = 1 << 22

// lineCost is what a line takes besides its ops, in ops.
const lineCost = 8

// Drain has lines that have been undecided longest count as on the medium once
// about n bytes of lines that are stored to once are undecided: a platform that
// holds no more loses no more. Without it a line of a medium of Hints stays
// undecided until a hint, however many there are.
func (d *Medium) Drain(n int) { d.drains, d.most = true, n/LineSize*2*lineCost }

// spill lets the lines that have been undecided longest reach the memory
// controller, half of them, if the medium has too many: no cache holds more
// and more dirty lines, though a real one may choose others. It gives states
// up and adds none. Where reaching the controller decides nothing, all stays.
func (d *Medium) spill() {
	cost := d.cost()
	if cost > d.most/2 {
		lines, ids := make([]*line, 0, d.lines.n), make([]uint64, 0, d.lines.n)
		for _, l := range d.lines.all() {
			lines, ids = append(lines, l), append(ids, l.newest())
		}
		slices.Sort(ids)
		for _, l := range lines {
			if l.newest() > ids[len(ids)/2] {
				continue
			}
			if d.drains {
				d.Drained += len(l.ops)
				l.commit(func(*op) bool { return true })
			} else {
				l.reach(func(o *op) bool {
					if !o.accepted {
						d.Spilled++
					}
					return true
				})
			}
		}
		cost = d.cost()
	}
	d.added = min(cost, d.most/2) // not to look too often
}

func (d *Medium) cost() int {
	n := 0
	for _, l := range d.lines.all() {
		n += lineCost + len(l.ops)
	}
	return n
}

// newest is the id of the line's last op.
func (l *line) newest() uint64 {
	if n := len(l.ops); n > 0 {
		return l.ops[n-1].id
	}
	return 0
}

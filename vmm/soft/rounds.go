package soft

import "nvlab/internal/splitmix"

// Processors take turns: a round gives each one turn, all of the same length,
// and so moves the one clock by that length. The length, and who is first, are
// drawn for each round from the machine's seed, so that another seed shows
// another interleaving, and the same seed the same. Where Run ends and goes on
// makes no difference.
//
// A processor that halts waits for the end of its turn. When all halt, the
// clock jumps.
type rounds struct {
	rng   uint64
	end   uint64 // clock at the end of every turn of this round
	first int    // whose turn was the first
	turn  int    // turns done; all, between rounds
	read  uint64 // the highest that was read of a clock: see cpu.tsc
}

const (
	// slice is the turn of a processor that is alone: how often it is looked
	// whether Run is to end.
	slice = 200_000

	// Bounds of a turn. Longer ones cost waiting for each other, and shorter
	// ones the time to change over.
	turnMin = 500
	turnMax = turnMin + 1<<14
)

func (p *processors) roundOver() bool { return p.rounds.turn == len(p.cpus) }

// newRound draws a round.
func (p *processors) newRound() {
	r := &p.rounds
	now := p.cpu.now
	r.turn, r.end = 0, now+slice
	if n := len(p.cpus); n > 1 {
		v := splitmix.Next(&r.rng)
		r.end = now + turnMin + v%(turnMax-turnMin)
		r.first = int(v >> 32 % uint64(n))
		p.setTurn()
	}
}

// endTurn makes it the next processor's turn, if there is one.
func (p *processors) endTurn() {
	r := &p.rounds
	r.turn++
	if r.turn < len(p.cpus) {
		p.setTurn()
	}
}

func (p *processors) setTurn() {
	r := &p.rounds
	c := p.cpus[(r.first+r.turn)%len(p.cpus)]
	if c != p.cpu {
		p.cpu.tellOrder()
	}
	p.cpu = c
	c.others = p.retired() - (c.now - c.idle)
}

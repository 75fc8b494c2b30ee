package firmware

import (
	"cmp"
	"fmt"
	"slices"
)

// LineSize is what fails of a medium at once, in bytes: a cache line.
const LineSize = 64

// maxPoison is how many ranges of a DIMM may be poisoned.
const maxPoison = 4096

// Poison are the parts of a medium that cannot be read: by offset, apart from
// each other, and whole lines. It is never changed in place.
type Poison []PoisonedRange

// A PoisonedRange is bytes that cannot be read.
type PoisonedRange struct {
	Offset, Length uint64
	Latent         bool // nobody has found it yet
	Injected       bool // by the guest
	Stuck          bool // clearing does not repair it
}

func (r PoisonedRange) end() uint64 { return r.Offset + r.Length }

// like says that two ranges differ in place only.
func (r PoisonedRange) like(o PoisonedRange) bool {
	return r.Latent == o.Latent && r.Injected == o.Injected && r.Stuck == o.Stuck
}

// wholeLines are the lines that a range lies in, even in part.
func wholeLines(offset, length uint64) (uint64, uint64) {
	from := offset / LineSize * LineSize
	return from, (offset+length+LineSize-1)/LineSize*LineSize - from
}

// Add poisons a range, in whole lines. What was poisoned there is poisoned as
// said now, but what is known stays known.
func (p Poison) Add(r PoisonedRange) (Poison, error) {
	r.Offset, r.Length = wholeLines(r.Offset, r.Length)
	list, old := p.without(r.Offset, r.Length, nil)
	if !r.Latent {
		return list.with(r)
	}
	// Between what is known there, the range is latent.
	at := r.Offset
	for _, o := range append(old, PoisonedRange{Offset: r.end()}) {
		if gap := o.Offset - at; gap > 0 {
			list = append(list, PoisonedRange{at, gap, true, r.Injected, r.Stuck})
		}
		if o.Length > 0 {
			o.Injected, o.Stuck = o.Injected || r.Injected, o.Stuck || r.Stuck
			list = append(list, o)
		}
		at = o.end()
	}
	return list.with()
}

// with joins ranges to a list that they do not overlap.
func (p Poison) with(more ...PoisonedRange) (Poison, error) {
	list := append(slices.Clip(p), more...)
	slices.SortFunc(list, func(a, b PoisonedRange) int { return cmp.Compare(a.Offset, b.Offset) })
	var out Poison
	for _, r := range list {
		if n := len(out); n > 0 && out[n-1].end() == r.Offset && out[n-1].like(r) {
			out[n-1].Length += r.Length
		} else {
			out = append(out, r)
		}
	}
	if len(out) > maxPoison {
		return p, fmt.Errorf("%d poisoned ranges: a DIMM has at most %d", len(out), maxPoison)
	}
	return out, nil
}

// without takes a range out, as far as it is of a kind: what is left, and what
// was there. A nil kind is any.
func (p Poison) without(offset, length uint64, kind func(PoisonedRange) bool) (rest, taken Poison) {
	end := offset + length
	for _, r := range p {
		from, to := max(r.Offset, offset), min(r.end(), end)
		if from >= to || kind != nil && !kind(r) {
			rest = append(rest, r)
			continue
		}
		left, right, mid := r, r, r
		left.Length = from - r.Offset
		right.Offset, right.Length = to, r.end()-to
		mid.Offset, mid.Length = from, to-from
		if left.Length > 0 {
			rest = append(rest, left)
		}
		if right.Length > 0 {
			rest = append(rest, right)
		}
		taken = append(taken, mid)
	}
	return rest, taken
}

// Within lists what of a range is poisoned.
func (p Poison) Within(offset, length uint64) Poison {
	_, taken := p.without(offset, length, nil)
	return taken
}

// Heal repairs a range, whatever is wrong with it: the lines that lie in it
// even in part.
func (p Poison) Heal(offset, length uint64) Poison {
	offset, length = wholeLines(offset, length)
	rest, _ := p.without(offset, length, nil)
	return rest
}

// Uninject takes back what was injected in the lines of a range.
func (p Poison) Uninject(offset, length uint64) Poison {
	offset, length = wholeLines(offset, length)
	rest, _ := p.without(offset, length, func(r PoisonedRange) bool { return r.Injected })
	return rest
}

// Discover makes what is latent in the lines of a range known.
func (p Poison) Discover(offset, length uint64) Poison {
	offset, length = wholeLines(offset, length)
	latent := func(r PoisonedRange) bool { return r.Latent }
	if !slices.ContainsFunc(p, latent) {
		return p
	}
	rest, found := p.without(offset, length, latent)
	for i := range found {
		found[i].Latent = false
	}
	list, err := rest.with(found...)
	if err != nil {
		return p // parts of ranges that are known now, and no room for them
	}
	return list
}

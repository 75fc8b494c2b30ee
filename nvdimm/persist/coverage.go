package persist

import (
	"fmt"
	"math/big"
	"math/bits"
	"strings"

	"nvlab/internal/units"
	"nvlab/vmm/observe"
)

// Coverage says how many of the legal states were visited, and why not the
// others, once the search has ended. Stopped says that it was ended before.
func (s *Search) Coverage(stopped bool) string {
	if s.Legal == nil {
		return "no states were visited"
	}
	var b strings.Builder
	least := ""
	if s.AtLeast {
		least = "at least "
	}
	fmt.Fprintf(&b, "%s distinct of %s%s legal states at %s", fmt.Sprint(s.Visited), least, magnitude(s.Legal), units.Count(s.Points, "event"))
	if s.Duplicates > 0 {
		fmt.Fprintf(&b, ", %s with images visited before", units.Count(s.Duplicates, "other"))
	}
	switch {
	case s.Ended:
		fmt.Fprintf(&b, "; it was ended before event %d of %d", s.Next, s.journal.events.n)
	case stopped:
		b.WriteString("; the loop ended it")
	case s.Cut:
		fmt.Fprintf(&b, "; limit = %d, shared between the events, left the others out", s.Limit)
	case s.Sampled > 0:
		fmt.Fprintf(&b, "; of %s with more than %d states only as many, chosen by seed = %d", units.Count(s.Sampled, "event"), maxExhaustive, s.Seed)
	case s.Truncated == 0 && s.Spilled == 0 && s.Raced == 0 && !s.journal.sinceStart(s.Reading) && s.journal.cpus&(s.journal.cpus-1) == 0:
		b.WriteString("; that is all")
	}
	if s.Apart < s.Crowd {
		fmt.Fprintf(&b, "; of %s undecided at one event %d were lost alone and kept alone, those of the trace first", units.Count(s.Crowd, "line"), s.Apart)
	}
	b.WriteString(s.Caveats())
	return b.String()
}

// Caveats says in what the legal states that were looked at may differ from
// those of a machine: nothing, or clauses that each begin with a semicolon.
func (s *Search) Caveats() string {
	var b strings.Builder
	if s.Truncated > 0 {
		fmt.Fprintf(&b, "; taken for written back are the oldest %s of lines with more than %d undecided", units.Count(s.Truncated, "store"), maxOps)
	}
	if s.Spilled > 0 {
		fmt.Fprintf(&b, "; taken for written back, as a cache does that is full, are the oldest %s of too many undecided", units.Count(s.Spilled, "store"))
	}
	if s.Raced > 0 {
		fmt.Fprintf(&b, "; %s that waited while another CPU stored to its bytes became visible as the guest's memory shows", units.Count(s.Raced, "non-temporal store"))
	}
	if n := bits.OnesCount64(s.journal.cpus); n > 1 {
		fmt.Fprintf(&b, "; stores of %d CPUs count as visible when they were made: no state has one that waits in its CPU's store buffer while another CPU's is durable, nor a non-temporal one that waits longer than a later store of its CPU to its bytes", n)
	}
	if s.journal.clflush {
		b.WriteString(either(s.IntelCLFLUSH || s.journal.start.config.IntelCLFLUSH, "; CLFLUSH as on Intel's processors", "; CLFLUSH as on AMD's processors"))
	}
	if s.journal.kinds&observe.Vector != 0 {
		b.WriteString(either(s.Atomic16 || s.journal.start.config.Atomic16, "; aligned stores of 16 bytes are whole", "; stores of 16 bytes may be torn at 8"))
	}
	if s.journal.sinceStart(s.Reading) {
		fmt.Fprintf(&b, "; what was durable when the trace began is taken for durable under %s too", strings.Join(s.words(), " and "))
	}
	return b.String()
}

func either(first bool, yes, no string) string {
	if first {
		return yes
	}
	return no
}

// magnitude is a number, or its power of ten.
func magnitude(n *big.Int) string {
	if text := n.String(); len(text) > 12 {
		return fmt.Sprintf("about 10^%d", len(text)-1)
	}
	return n.String()
}

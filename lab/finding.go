package lab

import (
	"fmt"
	"strings"

	"nvlab/nvdimm/persist"
)

// maxListed is how many stores a finding lists of those that survived, and of
// those that did not.
const maxListed = 8

// Describe tells of a crash state: where the power failed, which stores
// survived that need not have, and which did not.
func (t *Trace) Describe(s *persist.State) string {
	var b strings.Builder
	fmt.Fprintf(&b, "crash state %s: the power failed ", s.ID)
	if s.At == persist.AtEnd {
		fmt.Fprintln(&b, t.When(s))
	} else {
		fmt.Fprintf(&b, "during %s, %s, instruction %d\n", t.command, t.When(s), s.Seq)
	}
	if s.Torn >= 0 {
		fmt.Fprintf(&b, "  torn: the label write, after %d bytes\n", s.Torn)
	}
	t.list(&b, "lost", s.Lost)
	t.list(&b, "kept", s.Kept)
	return b.String()
}

// When says when the power of a state fails.
func (t *Trace) When(s *persist.State) string {
	switch s.At {
	case persist.AtEnd:
		return "at the end of " + t.command
	case persist.AtOrder:
		return "before what orders like a fence" + t.place(s.PC, s.Process)
	}
	return "before a " + strings.ReplaceAll(s.At.String(), "_", " ") + t.place(s.PC, s.Process)
}

func (t *Trace) list(b *strings.Builder, word string, ops []persist.Op) {
	if len(ops) == 0 {
		fmt.Fprintf(b, "  %s: no store\n", word)
	}
	for i, o := range ops {
		if i == maxListed {
			fmt.Fprintf(b, "  %s: %d more\n", word, len(ops)-i)
			break
		}
		fmt.Fprintf(b, "  %s: %s\n", word, t.DescribeStore(o))
	}
}

// DescribeStore tells of a store.
func (t *Trace) DescribeStore(o persist.Op) string {
	id := "?"
	if d := t.DIMM(o.Medium); d != nil {
		id = d.ID()
	}
	return fmt.Sprintf("%s %#x+%d, %v store%s: %s", id, o.Offset, o.Size, o.Kind, t.place(o.PC, o.Process), o.Why())
}

// place is where in the guest an instruction is, as far as that is known.
func (t *Trace) place(pc uint64, process uint32) string {
	if pc == 0 { // a label write is the host's
		return ""
	}
	at, by := t.Place(pc, process), t.Process(process).String()
	if at == "" {
		at = fmt.Sprintf("%#x", pc)
		if by != "" {
			at += ", in no file that is known,"
		}
	}
	if by == "" {
		by = "a process that is not known"
	}
	return fmt.Sprintf(" at %s by %s", at, by)
}

package judge

import (
	"fmt"

	"nvlab/nvdimm/label"
)

// Labels looks at every state that a power failure in one of the record's label
// writes may leave. In each, the namespaces in force must
// be those before the write or those after it; and one that is the same at
// the beginning and at the end must be so all the time. It returns the number
// of states.
func (r *Record) Labels() (states int, findings []Finding) {
	start, end := map[int]*label.Area{}, map[int]*label.Area{}
	for l := range r.TornLabels() {
		if start[l.Area] == nil {
			start[l.Area] = label.Parse(l.Before)
		}
		if l.Torn == int(l.Size) {
			end[l.Area] = label.Parse(l.After)
		}
	}
	last := -1
	var judge *label.Judge
	for l := range r.TornLabels() {
		states++
		if l.Write != last {
			judge, last = label.NewJudge(l.Before, l.After), l.Write
		}
		err := judge.Check(l.Bytes)
		if err == nil && l.Torn == int(l.Size) {
			err = unchanged(start[l.Area], end[l.Area], label.Parse(l.Bytes))
		}
		if err != nil {
			why := fmt.Sprintf("nvdimm %q, label write %d (%d bytes at %#x) torn after %d bytes: %v", r.area(l.Area).Name, l.Write+1, l.Size, l.Offset, l.Torn, err)
			findings = append(findings, Finding{r.LabelState(l.Write, l.Torn), why})
		}
	}
	return states, findings
}

// unchanged says which label that the first two areas share a third has not.
func unchanged(start, end, now *label.Area) error {
	key := func(l *label.Label) label.Label {
		c := *l
		c.Slot, c.OwnSlot, c.Checksum = 0, 0, 0
		return c
	}
	set := func(a *label.Area) map[label.Label]bool {
		m := map[label.Label]bool{}
		for _, l := range a.Active {
			m[key(l)] = true
		}
		return m
	}
	after, here := set(end), set(now)
	for _, l := range start.Active {
		if k := key(l); after[k] && !here[k] {
			return fmt.Errorf("namespace %v, which the command does not change, is not in force", l.UUID)
		}
	}
	return nil
}

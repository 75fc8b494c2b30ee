package lab

import (
	"nvlab/nvdimm/judge"
	"nvlab/nvdimm/persist"
)

// A Finding is a power failure that leaves what none may.
type Finding = judge.Finding

// record is the trace as judges take it.
func (t *Trace) record() *judge.Record {
	r := &judge.Record{Journal: t.Journal}
	media := map[*NVDIMM]*persist.Medium{}
	for m, d := range t.names {
		media[d] = m
	}
	for _, d := range t.dimms {
		r.DIMMs = append(r.DIMMs, judge.DIMM{
			Name: d.ID(), Medium: media[d], Start: t.snapshots[d.backend],
			Addr: d.Addr(), Size: d.Size(), Backend: d.backend.Size(), LabelSize: d.LabelSize(),
		})
	}
	return r
}

// JudgeLabels is judge.Record.Labels of the trace.
func (t *Trace) JudgeLabels() (states int, findings []Finding) { return t.record().Labels() }

// JudgeBTT is judge.Record.Sectors of the trace.
func (t *Trace) JudgeBTT(s *persist.Search) (failed int, findings []Finding, err error) {
	return t.record().Sectors(s)
}

// JudgeInfo is judge.Record.InfoBlocks of the trace.
func (t *Trace) JudgeInfo(s *persist.Search) (failed int, findings []Finding, err error) {
	return t.record().InfoBlocks(s)
}

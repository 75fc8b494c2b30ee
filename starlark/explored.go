package nvstar

import (
	"cmp"
	"maps"
	"slices"

	"nvlab/lab"
	"nvlab/nvdimm/explore"
)

// A report shows so much of an exploration.
const (
	shownAnswers = 100  // whose plainest state is told of
	shownLines   = 32   // of such a state
	shownEvents  = 1000 // of which it is said what they are
)

// An ExploredDetail is what a report shows of an exploration besides its result.
type ExploredDetail struct {
	Answers []ShownState   // of the result's answers, in their order, as far as they are shown
	Events  map[int]string // when power fails, by the leaves' point
}

// A ShownState is a crash state with what it lost.
type ShownState struct {
	Told  string // when power fails, and the stores that were undecided then
	Lines []lab.LostLine
	More  int // lines, besides
}

// joinDetail is what a report shows of a result whose shards these are, as far as they
// tell: nil if none does. The plainest state of an answer is that of a shard.
func joinDetail(r *explore.Result, shards []Explored) *ExploredDetail {
	var d *ExploredDetail
	shown := map[string]ShownState{} // by the state's id
	for i := range shards {
		s := &shards[i]
		if s.Detail == nil {
			continue
		}
		if d == nil {
			d = &ExploredDetail{Events: map[int]string{}}
		}
		maps.Copy(d.Events, s.Detail.Events)
		for n, a := range s.Result.Answers() {
			if n < len(s.Detail.Answers) {
				shown[a.Plainest.ID] = s.Detail.Answers[n]
			}
		}
	}
	if d == nil {
		return nil
	}
	for i, a := range r.Answers() {
		if i == shownAnswers {
			break
		}
		d.Answers = append(d.Answers, shown[a.Plainest.ID])
	}
	return d
}

// detail makes what a report shows.
func (e *exploring) detail(r *explore.Result) (*ExploredDetail, error) {
	d := &ExploredDetail{Events: map[int]string{}}
	for i, a := range r.Answers() {
		if i == shownAnswers {
			break
		}
		s, err := e.x.t.Find(a.Plainest.ID)
		if err != nil {
			return nil, err
		}
		shown := ShownState{Told: e.x.t.Describe(s)}
		shown.Lines, shown.More = e.x.t.LostLines(s, shownLines)
		d.Answers = append(d.Answers, shown)
	}
	leaves := slices.Clone(r.Leaves)
	slices.SortStableFunc(leaves, func(a, b explore.Leaf) int { return cmp.Compare(a.Point, b.Point) })
	for i := range leaves {
		l := &leaves[i]
		if len(d.Events) == shownEvents {
			break
		}
		if _, known := d.Events[l.Point]; known {
			continue
		}
		s, err := e.x.t.Find(l.ID)
		if err != nil {
			return nil, err
		}
		d.Events[l.Point] = e.x.t.When(s)
	}
	return d, nil
}

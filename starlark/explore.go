package nvstar

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"

	"go.starlark.net/starlark"

	"nvlab/internal/units"
	"nvlab/lab"
	"nvlab/nvdimm/explore"
)

// An Exploring is how far an exploration of a test is.
type Exploring struct {
	Test string
	explore.Progress
	Findings int  // of the executions that were looked at
	Over     bool // nothing follows
}

// Explored is what an exploration came to, as far as a run's report has it.
type Explored struct {
	Test    string
	Line    string // that tells of it in the test's output
	Shard   explore.Shard
	At      string
	Booted  bool   `json:",omitempty"`
	Checked int    `json:",omitempty"`
	Ended   string `json:",omitempty"`
	Result  *explore.Result
	Bad     []string `json:",omitempty"` // answers with which something is wrong

	Detail *ExploredDetail `json:",omitempty"` // nil if nobody wants to know
}

func (x *Explored) coverage() string {
	report := fmt.Sprintf("explore(at = %q, depth = %d): %s", x.At, x.Result.Depth, x.Result.Coverage())
	if x.Shard.Of > 1 {
		report += fmt.Sprintf("; this is shard %d/%d", x.Shard.Index, x.Shard.Of)
	}
	if x.Booted {
		report += "; each execution booted, since a boot reads what may differ"
	}
	if x.Checked > 0 {
		report += fmt.Sprintf("; besides, %s of those it speaks for: as was said", units.Count(x.Checked, "execution"))
	}
	if x.Ended != "" {
		report += "; " + x.Ended
	}
	return report
}

func (x *Explored) counts() string {
	answers := x.Result.Answers()
	findings := 0
	for _, a := range answers {
		if slices.Contains(x.Bad, a.Text) {
			findings++
		}
	}
	return fmt.Sprintf("; %s, %s", units.Count(len(answers), "answer"), units.Count(findings, "finding"))
}

// JoinExplored is what an exploration came to whose shards these are.
func JoinExplored(shards []Explored) (*Explored, error) {
	joined := shards[0]
	joined.Shard = explore.Shard{}
	var results []*explore.Result
	for _, x := range shards {
		if x.Result == nil || x.At != joined.At {
			return nil, fmt.Errorf("%w: shard %d/%d explored at %q, shard %d/%d at %q", explore.ErrMerge, joined.Shard.Index, joined.Shard.Of, joined.At, x.Shard.Index, x.Shard.Of, x.At)
		}
		results = append(results, x.Result)
		joined.Bad = append(joined.Bad, x.Bad...)
		joined.Booted, joined.Ended = joined.Booted || x.Booted, cmp.Or(joined.Ended, x.Ended)
	}
	var err error
	if joined.Result, err = explore.Merge(results); err != nil {
		return nil, err
	}
	joined.Line = joined.coverage() + joined.counts()
	joined.Detail = joinDetail(joined.Result, shards)
	return &joined, nil
}

// An exploring is trace.explore under way. Its recoveries run on threads of
// their own, one at a time but for their guests (see lab.Recovery).
type exploring struct {
	x        *trace
	c        *call
	recover  starlark.Callable
	check    starlark.Callable         // nil for none
	share    bool                      // with other shards
	legal    starlark.Value            // a list, a function or None
	values   map[string]starlark.Value // answers, by their text
	failed   map[string]string         // why recoveries failed, by the text of the answer
	said     map[string][]string       // what recoveries printed, by that id
	verdicts map[string]string         // what is wrong with answers, "" for nothing, as far as they were judged
	findings int                       // answers with which something is wrong
	err      error                     // of the judge
}

// exploreTrace is trace.explore.
func exploreTrace(c *call, x *trace) (starlark.Value, error) {
	at, s := c.search()
	e := &exploring{x: x, c: c, recover: c.functionOf("recover", 1, "one argument, a VM"), share: c.truth("share"), legal: c.value("legal"), values: map[string]starlark.Value{},
		failed: map[string]string{}, said: map[string][]string{}, verdicts: map[string]string{}}
	o := lab.ExploreOptions{Search: s, Depth: int(c.number("depth", 0, math.MaxInt32)), Limit: s.Limit, NoPrune: !c.truth("prune"),
		Verify: int(c.number("verify", 0, math.MaxInt32))}
	if c.given("check") {
		e.check, o.Check = c.functionOf("check", 2, "two arguments, a VM and an answer"), e.judge
	}
	if c.given("alike") {
		o.Alike = int(c.number("alike", 1, math.MaxInt32))
	}
	if c.given("budget") {
		o.Budget = c.duration("budget")
	}
	switch e.legal.(type) {
	case nil, starlark.NoneType, starlark.Callable, starlark.Sequence:
	default:
		c.wrong("legal", e.legal, "list of answers, or function of an answer")
	}
	var base starlark.Value = starlark.None
	if c.given("base") {
		base = c.value("base")
	}
	if c.err != nil {
		return nil, c.err
	}
	var err error
	switch b := base.(type) {
	case starlark.NoneType:
	case *vm:
		if o.Base, err = b.v.Snapshot(); err != nil {
			return nil, fmt.Errorf("base: %w", err)
		}
	case *vmSnapshot:
		o.Base = b.s
	default:
		c.wrong("base", base, "VM, or snapshot of one")
		return nil, c.err
	}
	e.recover.Freeze() // what one recovery leaves to the next is no function of the state
	if e.check != nil {
		e.check.Freeze()
	}
	t := activityOf(c.thread).t
	if t.env.State != "" {
		return e.one(o)
	}
	if e.share {
		o.Shard = t.env.Shard
	}
	o.Ran, o.Bad = e.ran, func(answer string) bool { return e.verdict(answer) != "" }
	if show := t.env.Exploring; show != nil {
		o.Progress = func(p explore.Progress) { show(Exploring{Test: t.name, Progress: p, Findings: e.findings}) }
		defer show(Exploring{Test: t.name, Over: true})
	}
	result, err := x.t.Explore(c.ctx(), o, e.run)
	if err = errors.Join(e.err, err); err != nil {
		return nil, err
	}
	return e.result(at, o.Shard, result)
}

// run runs the recovery in a VM, and gives its answer as text.
func (e *exploring) run(ctx context.Context, id string, v *lab.VM) (string, error) {
	t := activityOf(e.c.thread).t
	key, err := e.call(ctx, id, e.recover, starlark.Tuple{&vm{t: t, v: v, made: "the recovering VM"}})
	if t.env.Recovered != nil {
		t.env.Recovered(t.name, v.Console())
	}
	return key, err
}

// judge is the check of what a recovery left.
func (e *exploring) judge(ctx context.Context, id, answer string, v *lab.VM) (string, error) {
	if _, failed := e.failed[answer]; failed {
		return answer, nil
	}
	t := activityOf(e.c.thread).t
	return e.call(ctx, id, e.check, starlark.Tuple{&vm{t: t, v: v, made: "the checking VM"}, e.values[answer]})
}

// call calls a function for a state, and gives what it returns as text.
func (e *exploring) call(ctx context.Context, id string, f starlark.Callable, args starlark.Tuple) (string, error) {
	t := activityOf(e.c.thread).t
	a := newActivity(ctx, t.env.Steps)
	defer a.stop(nil)
	a.t, a.recovers = t, true
	a.print = func(thread *starlark.Thread, text string) { e.said[id] = append(e.said[id], located(thread, text)) }
	thread := a.newThread(t.name)
	value, err := starlark.Call(thread, f, args, nil)
	key := ""
	if err != nil {
		if class := classify(err); uncatchable(thread, err) || class == Host || errors.As(err, new(recoveryError)) {
			return "", a.ended(err)
		}
		why := err.Error()
		if ev := new(starlark.EvalError); errors.As(err, &ev) {
			why = message(ev)
		}
		key = "failed: " + why
		e.failed[key], e.values[key] = why, starlark.None
	} else if key, err = answerText(value); err != nil {
		return "", fmt.Errorf("%s returned what is no answer: %w", f.Name(), err)
	} else if e.values[key] == nil {
		value.Freeze()
		e.values[key] = value
	}
	return key, nil
}

// ran shows what a recovery printed, and judges its answer.
func (e *exploring) ran(id, answer string) {
	t := activityOf(e.c.thread).t
	for _, text := range e.said[id] {
		t.env.Watcher.Output(t.name, strings.ToValidUTF8(text, "\ufffd")+"\n")
	}
	delete(e.said, id)
	e.verdict(answer)
}

// verdict is what is wrong with an answer, "" if nothing is.
func (e *exploring) verdict(key string) string {
	why, known := e.verdicts[key]
	if !known {
		var err error
		if why, err = e.wrong(key); err != nil && e.err == nil {
			e.err = err
		}
		if e.verdicts[key] = why; why != "" {
			e.findings++
		}
	}
	return why
}

func (e *exploring) wrong(key string) (string, error) {
	if why, ok := e.failed[key]; ok {
		return why, nil
	}
	answer, ok := e.values[key]
	if !ok { // lab gave it: the guest does not boot
		e.values[key] = starlark.None
		return key, nil
	}
	switch legal := e.legal.(type) {
	case starlark.Callable:
		v, err := e.c.callBack(legal, answer)
		if err != nil {
			return "", err
		}
		if v == starlark.None {
			return "", nil
		}
		if why, ok := starlark.AsString(v); ok {
			return why, nil
		}
		return "", fmt.Errorf("legal returned %s: want None, or what is wrong with the answer as text", abridged(v, valueLimit))
	case starlark.Sequence:
		iter := legal.Iterate()
		defer iter.Done()
		var v starlark.Value
		for iter.Next(&v) {
			if same, err := starlark.Equal(v, answer); err == nil && same {
				return "", nil
			}
		}
		return "it is none of the answers that are legal", nil
	}
	return "", nil
}

// one is the exploration of the one state that the run asks for, if the trace
// has it.
func (e *exploring) one(o lab.ExploreOptions) (starlark.Value, error) {
	t := activityOf(e.c.thread).t
	s, err := e.x.t.Find(t.env.State)
	t.reach(err)
	if err != nil {
		return exploration(starlark.MakeInt(0), 0, true, nil, nil, err.Error()), nil
	}
	at := &state{e.x, s}
	if t.env.Reached != nil {
		return nil, at.reached(t)
	}
	at.looked(e.c)
	answer, booted, err := e.x.t.Recover(e.c.ctx(), o, s, e.run)
	if err != nil {
		return nil, err
	}
	e.ran(s.ID, answer)
	why := e.verdict(answer)
	if e.err != nil {
		return nil, e.err
	}
	report := "state " + s.ID + ", answer: " + abridgedText(answer)
	if booted {
		report += "; it booted from there, since a boot reads what may differ"
	}
	var findings []starlark.Value
	if why != "" {
		report += "\n  finding: " + strings.ReplaceAll(why, "\n", "\n  ") + "\n  " + e.x.t.Explain(s)
		findings = append(findings, e.finding(at, at, answer, why))
	}
	e.c.thread.Print(e.c.thread, e.x.t.Describe(s)+report)
	answers := []starlark.Value{e.answer(at, answer, 1, starlark.MakeInt(1))}
	return exploration(starlark.MakeInt(1), 1, true, answers, findings, report), nil
}

func (e *exploring) answer(at *state, text string, executions int, states starlark.Int) starlark.Value {
	return record(starlark.StringDict{"answer": e.values[text], "executions": starlark.MakeInt(executions), "states": states, "state": at})
}

func (e *exploring) finding(at, minimal *state, answer, why string) starlark.Value {
	return record(starlark.StringDict{"state": at, "answer": e.values[answer], "why": text(why), "minimal": minimal, "explanation": text(e.x.t.Explain(minimal.s))})
}

func (e *exploring) result(at string, shard explore.Shard, r *lab.Exploration) (starlark.Value, error) {
	t := activityOf(e.c.thread).t
	told := Explored{Test: t.name, Shard: shard, At: at, Booted: r.Booted, Checked: r.Checked, Ended: r.Ended, Result: r.Result.Told()}
	var report strings.Builder
	var answers, findings []starlark.Value
	for _, a := range r.Answers() {
		s, err := e.x.t.Find(a.Plainest.ID)
		if err != nil {
			return nil, err
		}
		here := &state{e.x, s}
		answers = append(answers, e.answer(here, a.Text, a.Executions, starlark.MakeBigInt(a.States)))
		why := e.verdict(a.Text)
		if e.err != nil {
			return nil, e.err
		}
		fmt.Fprintf(&report, "\n%s: %s, the plainest %s", units.Count(a.Executions, "execution"), abridgedText(a.Text), a.Plainest.ID)
		if why == "" {
			continue
		}
		told.Bad = append(told.Bad, a.Text)
		minimal := here
		if id := r.Minimal[a.Text]; id != "" {
			if s, err = e.x.t.Find(id); err != nil {
				return nil, err
			}
			minimal = &state{e.x, s}
		}
		if len(findings) == 0 { // what a test that fails of it reports
			minimal.looked(e.c)
		}
		findings = append(findings, e.finding(here, minimal, a.Text, why))
		report.WriteString("\n  " + strings.ReplaceAll(why, "\n", "\n  "))
		report.WriteString("\n  " + strings.ReplaceAll(minimal.explained(t), "\n", "\n  "))
	}
	told.Line = told.coverage() + told.counts()
	if t.env.Detailed {
		var err error
		if told.Detail, err = e.detail(r.Result); err != nil {
			return nil, err
		}
	}
	if t.env.Explored != nil {
		t.env.Explored(told)
	}
	line := told.Line
	if e.c.ctx().Err() != nil { // no statement follows that could tell more
		line += report.String()
	}
	e.c.thread.Print(e.c.thread, line)
	return exploration(starlark.MakeBigInt(r.States), len(r.Leaves), r.Exhaustive(), answers, findings, told.coverage()+report.String()), nil
}

// exploration is what trace.explore returns.
func exploration(states starlark.Int, executions int, exhaustive bool, answers, findings []starlark.Value, report string) starlark.Value {
	return record(starlark.StringDict{
		"states": states, "executions": starlark.MakeInt(executions), "exhaustive": starlark.Bool(exhaustive),
		"answers": starlark.NewList(answers), "findings": starlark.NewList(findings), "report": text(report),
	})
}

// explained says what of a state matters, and how to come to it.
func (s *state) explained(t *T) string {
	text := s.x.t.Explain(s.s)
	if t.env.Repeat != nil {
		text += "\n" + t.env.Repeat(t.name, s.s.ID)
	}
	return text
}

// abridgedText is an answer in a line of a report.
func abridgedText(s string) string { return shorten(strings.ReplaceAll(s, "\n", `\n`), valueLimit) }

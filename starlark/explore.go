package nvstar

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"

	"go.starlark.net/starlark"

	"nvlab/internal/units"
	"nvlab/lab"
)

// An exploring is trace.explore under way.
type exploring struct {
	x       *trace
	c       *call
	recover starlark.Callable
	legal   starlark.Value            // a list, a function or None
	values  map[string]starlark.Value // answers, by their text
	failed  map[string]string         // why recoveries failed, by the text of the answer
}

// exploreTrace is trace.explore.
func exploreTrace(c *call, x *trace) (starlark.Value, error) {
	at, s := c.search()
	e := &exploring{x: x, c: c, recover: c.function("recover"), legal: c.value("legal"), values: map[string]starlark.Value{}, failed: map[string]string{}}
	o := lab.ExploreOptions{Search: s, Depth: int(c.number("depth", 0, math.MaxInt32)), Limit: s.Limit, NoPrune: !c.truth("prune")}
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
	if id := activityOf(c.thread).t.env.State; id != "" {
		_, err := x.t.Find(id)
		activityOf(c.thread).t.reach(err)
	}
	result, err := x.t.Explore(c.ctx(), o, e.run)
	if err != nil {
		return nil, err
	}
	return e.result(at, result)
}

// run runs the recovery in a VM, and gives its answer as text.
func (e *exploring) run(_ context.Context, v *lab.VM) (string, error) {
	value, err := e.c.callBack(e.recover, &vm{t: e.x.vm.t, v: v, made: "the recovering VM"})
	if err != nil {
		if class := classify(err); uncatchable(e.c.thread, err) || class == Host {
			return "", err
		}
		why := err.Error()
		if ev := new(starlark.EvalError); errors.As(err, &ev) {
			why = message(ev)
		}
		key := "failed: " + why
		e.failed[key], e.values[key] = why, starlark.None
		return key, nil
	}
	key := value.String()
	if _, known := e.values[key]; !known {
		value.Freeze()
		e.values[key] = value
	}
	return key, nil
}

// wrong says what is wrong with an answer, "" if nothing is.
func (e *exploring) wrong(key string) (string, error) {
	if why, ok := e.failed[key]; ok {
		return why, nil
	}
	answer := e.values[key]
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

func (e *exploring) result(at string, r *lab.Exploration) (starlark.Value, error) {
	report := fmt.Sprintf("explore(at = %q, depth = %d): %s", at, r.Depth, r.Coverage())
	if r.Booted {
		report += "; each execution booted, since a boot reads what may differ"
	}
	var answers, findings []starlark.Value
	for _, a := range r.Answers() {
		s, err := e.x.t.Find(a.Plainest.ID)
		if err != nil {
			return nil, err
		}
		value := e.values[a.Text]
		answers = append(answers, record(starlark.StringDict{
			"answer": value, "executions": starlark.MakeInt(a.Executions), "states": starlark.MakeBigInt(a.States), "state": &state{e.x, s},
		}))
		why, err := e.wrong(a.Text)
		if err != nil {
			return nil, err
		}
		report += fmt.Sprintf("\n%s: %s, the plainest %s", units.Count(a.Executions, "execution"), abridgedText(a.Text), a.Plainest.ID)
		if why == "" {
			continue
		}
		findings = append(findings, record(starlark.StringDict{"state": &state{e.x, s}, "answer": value, "why": text(why)}))
		report += "\n  " + strings.ReplaceAll(why, "\n", "\n  ")
	}
	first, _, _ := strings.Cut(report, "\n")
	e.c.thread.Print(e.c.thread, fmt.Sprintf("%s; %s, %s", first, units.Count(len(answers), "answer"), units.Count(len(findings), "finding")))
	return record(starlark.StringDict{
		"states": starlark.MakeBigInt(r.States), "executions": starlark.MakeInt(len(r.Leaves)), "exhaustive": starlark.Bool(r.Exhaustive()),
		"answers": starlark.NewList(answers), "findings": starlark.NewList(findings), "report": text(report),
	}), nil
}

// abridgedText is an answer in a line of a report.
func abridgedText(s string) string { return shorten(strings.ReplaceAll(s, "\n", `\n`), valueLimit) }

package nvstar

import (
	"fmt"
	"iter"
	"math"
	"slices"

	"go.starlark.net/starlark"

	"nvlab/lab"
	"nvlab/nvdimm/persist"
)

// A trace is what vm.trace recorded.
type trace struct {
	vm   *vm
	t    *lab.Trace
	made string

	command string
}

func (x *trace) alive() error                             { return x.vm.alive() }
func (x *trace) String() string                           { return x.made }
func (x *trace) Type() string                             { return "trace" }
func (x *trace) Freeze()                                  {}
func (x *trace) Truth() starlark.Bool                     { return true }
func (x *trace) Hash() (uint32, error)                    { return 0, fmt.Errorf("trace is not hashable") }
func (x *trace) Attr(name string) (starlark.Value, error) { return traceClass.attr(x, name) }
func (x *trace) AttrNames() []string                      { return traceClass.attrNames() }

func count(n int) (starlark.Value, error) { return starlark.MakeInt(n), nil }

var traceClass = newClass("trace", "What vm.trace recorded.", []member[*trace]{
	{name: "result", doc: "How the command ended → result.",
		get: func(x *trace) (starlark.Value, error) { return &result{r: x.t.Result, command: x.command}, nil }},
	{name: "stores", doc: "Stores to the NVDIMMs, in aligned chunks of at most 8 bytes: a count.",
		get: func(x *trace) (starlark.Value, error) { return count(x.t.Stores) }},
	{name: "flushes", doc: "Cache line flushes of NVDIMM lines: a count.",
		get: func(x *trace) (starlark.Value, error) { return count(x.t.Flushes) }},
	{name: "fences", doc: "SFENCE and MFENCE: a count.",
		get: func(x *trace) (starlark.Value, error) { return count(x.t.Fences) }},
	{name: "epochs", doc: "Times that a fence, or what orders like one, made earlier stores durable: a count.",
		get: func(x *trace) (starlark.Value, error) { return count(x.t.Epochs()) }},
	{name: "label_writes", doc: "Writes to label areas: a count.",
		get: func(x *trace) (starlark.Value, error) { return count(x.t.LabelWrites()) }},
	{name: "ops", sig: "(limit)", doc: `The first operations: structs of seq (instructions so far), op ("store", "flush", "fence", "flush_hint" or "label_write"), kind, nvdimm (its id; None of a fence), offset, length, addr (guest-physical; None of what is neither store nor flush), pc, symbol and process, such as "cp[213]" (None where they are not known). symbol is a function of the kernel, such as "memcpy+0x10", or where in its file a program is, "prog+0x11d6", and for a file that vm.push or a package brought and that has symbols and lines "prog+0x11d6 (store+0x16, prog.c:12)".`,
		call: func(c *call, x *trace) (starlark.Value, error) {
			limit := int(c.number("limit", 1, math.MaxInt32))
			if c.err != nil {
				return nil, c.err
			}
			return listOf(x.t.Entries(limit), x.entry), nil
		}},
	{name: "missing_flushes", sig: "()", doc: `Stores of the command that nothing had made durable at its end: a list of structs, one for each instruction of the guest, of nvdimm, offset and length (of the first store), kind, pc, symbol, process, stores and bytes (how many there are), why, and lint: True if only an instruction that orders by the way, such as one with LOCK, made them durable, and state, a crash state at the end that lost the first of them.`,
		call: func(c *call, x *trace) (starlark.Value, error) { return listOf(x.t.Missing(), x.missing), nil }},
	{name: "crash_states", sig: `(*, at="fence", limit=None, seed=0, platform=None, policy="arch", clflush="amd", vector_atomicity=8)`, doc: `The distinct legal crash images, to iterate over → iterable of state. at is the events before which power may fail: "fence" (whatever is about to make stores durable, label writes and the end), "store" (these, and every store), "flush", "label_write", "flush_hint" or "end". Up to 4,096 states of one event are all visited; of more, as many: none of the stores, all, each line lost alone, each kept alone, lines wholly or not at all, and any others, in turn, lines of the command first; the seed chooses among them. A limit is shared between the events, and what one cannot use goes to others; of one event it leaves, with seed 0, the states that tear no line as long as there are any, and the seed's choice with another. What was covered, and what not, is printed at the end.

The trace may be looked at under other rules than the VM's: platform is "adr", "eadr", "hints" or "none" (nothing is durable, the strict reading where there are no capabilities); policy="explicit" counts only fences that are asked for by name, and of a program only its own. Where processors differ the default is what all promise: clflush="intel" orders CLFLUSH with stores, as Intel's do, and not by MFENCE alone; vector_atomicity=16 keeps aligned stores of 16 bytes whole, as processors with AVX do. What counted is printed.`,
		call: crashStates},
	{name: "explore", sig: `(recover, *, legal=None, base=None, at="fence", depth=2, limit=None, seed=0, platform=None, policy="arch", prune=True, clflush="amd", vector_atomicity=8, budget=None, verify=0, share=True, alike=None, check=None)`, doc: `Calls recover(vm) in a VM that finds itself at each crash state, and collects what it returns, its answer, which is data: text, numbers, lists, dicts, structs and results of commands → struct(states, executions, answers, findings, exhaustive, report). A recovery that fails, or whose guest panics, hangs or oopses, is a finding.

legal is a list of answers, or a function of an answer that returns None or what is wrong with it. base is the VM or snapshot that the recovering VMs are forked from, one that has not looked at the contents yet; None boots one from the trace's VM. at, platform, policy, clflush and vector_atomicity are as in crash_states. depth: how many lines may differ from "nothing more survived" and from "everything did". limit bounds the executions; the order is the same with any seed, the plainest states first. prune: states that differ only in lines which the recovery does not read before it overwrites them are one execution, and so are those of whose check sums it finds alike whether they are right; False runs each. alike: where a recovery reads every line of a block, each of them and each two of them are an execution, though it may do the same with all; alike = 1 runs representatives: behind each execution, one state of each shape. Of one shape are states whose differing lines were written by the same instructions, are of the same structures (of the label area, a namespace, ext4 or XFS), page by page, and there at the beginning of a sector, at the end of a page or elsewhere, and are torn or not. The report says how many executions are missing, at least, and exhaustive is True only if none is.

Recoveries run at several states at once, in any order: what recover takes from around it is frozen, so that no recovery can leave anything to another, nor to a check: it has no use for what belongs to the test, and of its guest it brings nothing to the host but bytes that it reads. The result does not depend on that. budget is a duration of wall time, after which none begins, and of which up to half goes into listing the states; then, or when the run is interrupted, what was found is the result, and the report says so. verify: so many states that were not run are run in the end to see that they do what is said of them. share=False: with nvlab run --shard all of it is run, not a part, and a test that explores so only is one shard's; of small explorations checks may count on the whole then.

check is a function of a VM and of an answer, which runs after recover and returns what is the answer then: a second mount, or a check of what the first one left. Its VM is as that of recover was at first, and has not looked at the NVDIMMs, which hold what recover left, all that its guest saw; what else an NVDIMM knows, such as poison, health and security, is as recover found it, and the same NVDIMMs must be plugged. It is run once where it gets the same answer and reads the same bytes: most recoveries leave one of few things, so that such a check costs next to nothing, where one within recover runs each time. With prune=False it is run each time, too, and at the states of verify.

With nvlab run --state=ID only the recovery at that state is run, and what it answers is shown; the result speaks for it alone.

states is how many legal states the result speaks for, at least; answers are structs of answer, executions, states and state, the plainest; findings of state, answer, why, minimal, a state with the same answer of whose lost lines none could survive and the answer be the same, and explanation, what it lost in a sentence, the plainest first; exhaustive says whether all legal states, or all of up to depth deviations, are spoken for; report is the same as text.`,
		call: exploreTrace},
	{name: "judge_btt", sig: `(*, at="fence", limit=None, seed=0, platform=None, policy="arch", clflush="amd", vector_atomicity=8)`, doc: `Judges, on the host, the crash states of namespaces that are in sector mode when the trace begins: the table must attach, every block must be in one place, and a sector must hold what it held at some time of the command, whole → struct(states, failed, findings); a finding is struct(state, why), and there are at most 100 of the failed. What was covered is printed.`,
		call: judgeBy("judge_btt", (*lab.Trace).JudgeBTT)},
	{name: "judge_info", sig: `(*, at="fence", limit=None, seed=0, platform=None, policy="arch", clflush="amd", vector_atomicity=8)`, doc: `Judges, on the host, the crash states of the info blocks of fsdax, devdax and sector mode that the command wrote: a block must be as it was, or none that the kernel takes for one, or sound → struct(states, failed, findings), as of judge_btt.`,
		call: judgeBy("judge_info", (*lab.Trace).JudgeInfo)},
	{name: "judge_labels", sig: `()`, doc: `Judges, on the host, every state in which power fails within one of the command's label writes: the namespaces in force must be those before the write or those after it, and what the command does not change must be there all the time → struct(states, findings); a finding is struct(state, why).`,
		call: func(c *call, x *trace) (starlark.Value, error) {
			n, findings := x.t.JudgeLabels()
			return record(starlark.StringDict{"states": starlark.MakeInt(n), "findings": x.findings(c, findings)}), nil
		}},
	{name: "crash_state", sig: `(id)`, doc: `The state of that id → state, in this run or another of the same scenario, seed and guest.`,
		call: func(c *call, x *trace) (starlark.Value, error) {
			id := c.text("id")
			if c.err != nil {
				return nil, c.err
			}
			s, err := x.t.Find(id)
			if err != nil {
				return nil, err
			}
			return &state{x, s}, nil
		}},
})

// judgeBy looks at crash states with a judge on the host.
func judgeBy(what string, judge func(*lab.Trace, *persist.Search) (int, []lab.Finding, error)) func(*call, *trace) (starlark.Value, error) {
	return func(c *call, x *trace) (starlark.Value, error) {
		at, s := c.search()
		if c.err != nil {
			return nil, c.err
		}
		failed, findings, err := judge(x.t, &s)
		if err != nil {
			return nil, err
		}
		c.thread.Print(c.thread, fmt.Sprintf("%s(at = %q): %s", what, at, s.Coverage(false)))
		return record(starlark.StringDict{
			"states": starlark.MakeInt(s.Visited), "failed": starlark.MakeInt(failed), "findings": x.findings(c, findings),
		}), nil
	}
}

// findings are those whose state was asked for.
func (x *trace) findings(c *call, list []lab.Finding) starlark.Value {
	return listOf(x.wanted(c, list), func(f lab.Finding) starlark.Value {
		return record(starlark.StringDict{"state": &state{x, f.State}, "why": text(f.Why)})
	})
}

// wanted are the findings whose state was asked for.
func (x *trace) wanted(c *call, findings []lab.Finding) []lab.Finding {
	t := activityOf(c.thread).t
	if t.env.State == "" {
		return findings
	}
	found := slices.DeleteFunc(findings, func(f lab.Finding) bool { return f.State.ID != t.env.State })
	if len(found) > 0 {
		t.reach(nil)
	} else {
		t.reach(fmt.Errorf("state %q: the judge finds nothing in it", t.env.State))
	}
	return found
}

func vmTrace(c *call, v *vm) (starlark.Value, error) {
	command := c.runnable()
	if c.err != nil {
		return nil, c.err
	}
	t, err := v.v.Trace(c.ctx(), command)
	if err != nil {
		return nil, err
	}
	v.latest = &result{r: t.Result, command: command.String()}
	return &trace{vm: v, t: t, made: fmt.Sprintf("vm.trace(%s)", brief(c.value("command"))), command: command.String()}, nil
}

// dimmID is the id of a medium's NVDIMM, or None.
func (x *trace) dimmID(m *persist.Medium) starlark.Value {
	if d := x.t.DIMM(m); d != nil {
		return text(d.ID())
	}
	return starlark.None
}

func (x *trace) entry(e persist.Entry) starlark.Value {
	id := x.dimmID(e.Medium)
	if e.What == persist.AtLabel {
		id = text(x.t.Area(e.Label).ID())
	}
	addr := starlark.Value(starlark.None)
	if e.What == persist.AtStore || e.What == persist.AtFlush {
		addr = unsigned(e.Addr)
	}
	return record(starlark.StringDict{
		"seq": unsigned(e.Seq), "op": text(e.What.String()), "kind": text(e.Kind), "nvdimm": id,
		"offset": unsigned(e.Offset), "length": starlark.MakeInt(e.Length),
		"addr": addr, "pc": pcOrNone(e.PC), "symbol": textOrNone(x.t.Place(e.PC, e.Process)), "process": x.process(e.Process),
	})
}

func (x *trace) op(o persist.Op) starlark.StringDict {
	return starlark.StringDict{
		"nvdimm": x.dimmID(o.Medium), "offset": unsigned(o.Offset), "length": starlark.MakeInt(o.Size),
		"kind": text(o.Kind.String()), "pc": unsigned(o.PC), "symbol": textOrNone(x.t.Place(o.PC, o.Process)),
		"process": x.process(o.Process),
	}
}

// pcOrNone is an instruction's address; what no instruction of the guest does
// has none.
func pcOrNone(pc uint64) starlark.Value {
	if pc == 0 {
		return starlark.None
	}
	return unsigned(pc)
}

// process is a process as "name[pid]", or None.
func (x *trace) process(n uint32) starlark.Value { return textOrNone(x.t.Process(n).String()) }

func (x *trace) missing(m persist.Missing) starlark.Value {
	fields := x.op(m.Op)
	fields["stores"], fields["bytes"] = starlark.MakeInt(m.Stores), starlark.MakeInt(m.Bytes)
	fields["why"], fields["lint"], fields["state"] = text(m.Why), starlark.Bool(m.Lint), &state{x, m.State}
	return record(fields)
}

var crashPoints = map[string]persist.What{
	"fence": persist.AtFence, "store": persist.AtStore, "flush": persist.AtFlush,
	"label_write": persist.AtLabel, "flush_hint": persist.AtHint, "end": persist.AtEnd,
}

// search is what crash_states and judge_btt are asked for.
func (c *call) search() (at string, s persist.Search) {
	at = c.oneOf("at", "fence", "store", "flush", "label_write", "flush_hint", "end")
	s.At = crashPoints[at]
	if limit := c.optional("limit", 1, math.MaxInt32); limit != nil {
		s.Limit = int(*limit)
	}
	ctx := c.ctx()
	s.Stop = func() bool { return ctx.Err() != nil }
	s.Seed = uint64(c.number("seed", 0, math.MaxInt64))
	if p, ok := persist.PlatformNamed(c.oneOf("platform", "adr", "eadr", "hints", "none")); ok {
		s.Platform = &p
	}
	s.Explicit = c.oneOf("policy", "arch", "explicit") == "explicit"
	s.IntelCLFLUSH = c.oneOf("clflush", "amd", "intel") == "intel"
	switch n := c.number("vector_atomicity", 8, 16); {
	case c.err == nil && n != 8 && n != 16:
		c.err = fmt.Errorf("vector_atomicity=%d: want 8, or 16 for a processor with AVX", n)
	default:
		s.Atomic16 = n == 16
	}
	return at, s
}

func crashStates(c *call, x *trace) (starlark.Value, error) {
	at, s := c.search()
	if c.err != nil {
		return nil, c.err
	}
	return &states{x, c.thread, at, s}, nil
}

// states iterates crash states.
type states struct {
	x      *trace
	thread *starlark.Thread
	at     string
	search persist.Search
}

func (s *states) String() string        { return fmt.Sprintf("%s.crash_states(at = %q)", s.x.made, s.at) }
func (s *states) Type() string          { return "crash_states" }
func (s *states) Freeze()               {}
func (s *states) Truth() starlark.Bool  { return true }
func (s *states) Hash() (uint32, error) { return 0, fmt.Errorf("crash_states is not hashable") }

func (s *states) Iterate() starlark.Iterator {
	search := s.search
	if id := activityOf(s.thread).t.env.State; id != "" {
		return &oneState{s: s, id: id}
	}
	next, stop := iter.Pull(search.States(s.x.t.Journal))
	return &statesIterator{s: s, search: &search, next: next, stop: stop}
}

type statesIterator struct {
	s      *states
	search *persist.Search
	next   func() (*persist.State, bool)
	stop   func()
	done   bool
}

func (i *statesIterator) Next(p *starlark.Value) bool {
	s, ok := i.next()
	if !ok {
		i.done = true
		return false
	}
	*p = &state{i.s.x, s}
	return true
}

// Done says what was covered.
func (i *statesIterator) Done() {
	i.stop()
	q := i.search
	if q.Legal == nil {
		return
	}
	line := fmt.Sprintf("crash_states(at = %q): %s", i.s.at, q.Coverage(!i.done))
	i.s.thread.Print(i.s.thread, line)
}

// oneState iterates over the crash state that a run was asked for, if the
// trace has it.
type oneState struct {
	s    *states
	id   string
	done bool
}

func (i *oneState) Next(p *starlark.Value) bool {
	if i.done {
		return false
	}
	i.done = true
	s, err := i.s.x.t.Find(i.id)
	activityOf(i.s.thread).t.reach(err)
	if err != nil {
		return false
	}
	at := &state{i.s.x, s}
	if a := activityOf(i.s.thread); a.t.env.Reached != nil {
		a.stop(at.reached(a.t)) // an iterator has no error of its own
		return false
	}
	*p = at
	return true
}

func (i *oneState) Done() {}

// reach notes that a trace was asked for the run's crash state.
func (t *T) reach(err error) {
	for ; t != nil; t = t.parent {
		if err == nil {
			t.reached = true
		} else {
			t.elsewhere = err.Error()
		}
	}
}

// missed fails a test that never came to the run's crash state.
func (t *T) missed() {
	if t.env.State == "" || t.reached || t.skipped || t.parent != nil || len(t.failures) > 0 {
		return
	}
	why := "it looks at no crash states"
	if t.elsewhere != "" {
		why = t.elsewhere
	}
	t.fail(fmt.Errorf("--state %s: the test has no such crash state: %s", t.env.State, why))
}

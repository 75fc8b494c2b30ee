package run

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	nvstar "nvlab/starlark"
)

// A shardStream is what a shard wrote with -json.
type shardStream struct {
	path string
	shardRecord
	events map[int][]event     // by the number of the test
	tests  map[int]*testRecord // that ended
	files  map[string]*fileRecord
}

// Merge reports what the shards of a run came to, whose -json streams the files
// are, as the whole run would: of the options it goes by JSON, JUnit, KTAP,
// HTML, KCIDB, Origin, Verbose, Stdout and Stderr. It returns the exit status that the run would have, and
// ExitUsage if the shards are not all there, each once and to its end.
func Merge(paths []string, o Options) int {
	out := &checkedWriter{w: o.Stdout}
	o.Stdout = out
	r := &runner{o: o}
	err := r.merge(paths)
	if lost := out.err(); lost != nil {
		r.worst(ExitHost)
		err = errors.Join(err, fmt.Errorf("cannot write the report: %w", lost))
	}
	if err != nil {
		fmt.Fprintf(o.Stderr, "nvlab merge: %v\n", err)
	}
	return int(r.exit.Load())
}

func (r *runner) merge(paths []string) error {
	if err := r.o.checkReports(); err != nil {
		r.worst(ExitUsage)
		return err
	}
	var shards []*shardStream
	for _, path := range paths {
		f, err := os.Open(path)
		if err != nil {
			r.worst(ExitUsage)
			return err
		}
		s, err := readShard(path, f)
		f.Close()
		if err != nil {
			r.worst(ExitUsage)
			return err
		}
		shards = append(shards, s)
	}
	if err := complete(shards); err != nil {
		r.worst(ExitUsage)
		return err
	}
	slices.SortFunc(shards, func(a, b *shardStream) int { return cmp.Compare(a.Shard.Index, b.Shard.Index) })
	if err := r.join(shards); err != nil {
		r.worst(ExitUsage)
		return err
	}
	return r.writeReports()
}

// readShard reads a stream. What it says of tests has to be sound, as it may come
// from anywhere.
func readShard(path string, from io.Reader) (*shardStream, error) {
	s := &shardStream{path: path, events: map[int][]event{}, tests: map[int]*testRecord{}, files: map[string]*fileRecord{}}
	d := json.NewDecoder(from)
	for {
		var e event
		if err := d.Decode(&e); err == io.EOF {
			break
		} else if err != nil {
			return nil, fmt.Errorf("%s: after %d bytes: %w: want the stream of nvlab run -json", path, d.InputOffset(), err)
		}
		rec := e.Record
		if rec == nil {
			rec = &record{}
		}
		if rec.Shard != nil {
			if s.Shard.Of > 0 {
				return nil, fmt.Errorf("%s: two runs wrote to it", path)
			}
			s.shardRecord = *rec.Shard
		}
		if rec.File != nil {
			s.files[e.Package] = rec.File
		}
		if rec.Test != nil {
			if err := rec.Test.sound(e.Test); err != nil {
				return nil, fmt.Errorf("%s: test %s of %s: %w", path, e.Test, e.Package, err)
			}
			if s.tests[e.Item] != nil {
				return nil, fmt.Errorf("%s: test %s of %s ended twice", path, e.Test, e.Package)
			}
			s.tests[e.Item] = rec.Test
		}
		if n := e.Item; n > 0 {
			e.Item, e.Record = 0, nil
			s.events[n] = append(s.events[n], e)
		}
	}
	if s.Shard.Of < 1 || s.Shard.Index < 1 || s.Shard.Index > s.Shard.Of {
		return nil, fmt.Errorf("%s: it does not say which shard it is: want the stream of nvlab run -json --shard=I/N", path)
	}
	n := 0
	for _, f := range s.Files {
		for _, t := range f.Tests {
			if n++; t.Number != n {
				return nil, fmt.Errorf("%s: test %s of %s is number %d of the plan, not %d", path, t.Name, f.Path, t.Number, n)
			}
		}
	}
	return s, nil
}

// sound checks a record of a test of that name.
func (t *testRecord) sound(name string) error {
	failures := func(list []*nvstar.Failure) bool {
		return !slices.ContainsFunc(list, func(f *nvstar.Failure) bool {
			return f == nil || f.Class < nvstar.Check || f.Class > nvstar.Interrupted
		})
	}
	root := false
	for _, n := range t.Nodes {
		root = root || n.Name == name
		if n.Status < nvstar.Passed || n.Status > nvstar.Skipped || !failures(n.Failures) || n.Name != name && !strings.HasPrefix(n.Name, name+"/") {
			return errors.New("its record is none")
		}
	}
	if !root {
		return errors.New("its record does not say how it ended")
	}
	return nil
}

// complete says that the shards are all of one run, each once.
func complete(shards []*shardStream) error {
	first := shards[0]
	by := map[int]*shardStream{}
	for _, s := range shards {
		if s.plan() != first.plan() {
			return fmt.Errorf("%s is of another run than %s: the plans %s and %s differ in shards, seed or tests", s.path, first.path, s.plan(), first.plan())
		}
		if other := by[s.Shard.Index]; other != nil {
			return fmt.Errorf("shard %d/%d is there twice: %s and %s", s.Shard.Index, s.Shard.Of, other.path, s.path)
		}
		by[s.Shard.Index] = s
	}
	var missing []string
	for i := 1; i <= first.Shard.Of && len(missing) < 10; i++ {
		if by[i] == nil {
			missing = append(missing, fmt.Sprintf("%d/%d", i, first.Shard.Of))
		}
	}
	if len(missing) > 0 {
		return fmt.Errorf("missing: shard %s", strings.Join(missing, ", shard "))
	}
	for _, s := range shards {
		for _, f := range s.Files {
			for _, t := range f.Tests {
				switch has := s.tests[t.Number] != nil; {
				case owns(s.Shard, t.Number, t.Shared) && !has:
					return fmt.Errorf("shard %d/%d (%s) ended before its time: test %s of %s has no outcome", s.Shard.Index, s.Shard.Of, s.path, t.Name, f.Path)
				case has && !owns(s.Shard, t.Number, t.Shared):
					return fmt.Errorf("shard %d/%d (%s) ran test %s of %s, which is another's", s.Shard.Index, s.Shard.Of, s.path, t.Name, f.Path)
				}
			}
			if s.files[f.Path] == nil {
				return fmt.Errorf("shard %d/%d (%s) ended before its time: of %s there is no outcome", s.Shard.Index, s.Shard.Of, s.path, f.Path)
			}
		}
	}
	return nil
}

// join reports what the shards, in order, came to.
func (r *runner) join(shards []*shardStream) error {
	first := shards[0]
	r.engine, r.o.Seed, r.o.Run, r.o.Skip = first.Engine, first.Seed, first.Run, first.Skip
	var joined [][]event
	for _, p := range first.Files {
		f := &fileRun{path: p.Path, began: shards[0].files[p.Path].Began}
		r.files = append(r.files, f)
		var took time.Duration
		for _, s := range shards {
			part := s.files[p.Path]
			f.failure = cmp.Or(f.failure, part.Failure)
			took += part.Elapsed
			if part.Began.Before(f.began) {
				f.began = part.Began
			}
		}
		f.ended = f.began.Add(took)
		for _, t := range p.Tests {
			it := &item{file: f, number: t.Number}
			test, events, err := joinTest(t, shards)
			if err != nil {
				return fmt.Errorf("test %s of %s: %w", t.Name, p.Path, err)
			}
			for i := range test.Nodes {
				it.report.order = append(it.report.order, test.Nodes[i].node())
			}
			it.report.explored = test.Explored
			f.items, joined = append(f.items, it), append(joined, events)
		}
	}
	if len(r.files) == 0 {
		return errors.New("the run had no scenarios")
	}
	r.layOut()
	var lines []string
	for _, s := range shards {
		for _, line := range s.Header {
			if !slices.Contains(lines, line) {
				lines = append(lines, line)
			}
		}
	}
	r.header(lines)
	r.seq.finish(0)
	for _, f := range r.files {
		if f.failure != nil {
			r.worst(f.failure.Class.Exit())
		}
		if len(f.items) == 0 {
			r.fileEnd(f)
		}
	}
	for _, f := range r.files {
		for _, it := range f.items {
			r.retell(it, joined[it.number-1])
			r.seq.finish(it.place)
		}
		if len(f.items) > 0 {
			r.fileEnd(f)
		}
	}
	r.total()
	return nil
}

// retell reports a test that ended elsewhere.
func (r *runner) retell(it *item, events []event) {
	s := &it.report.stream
	it.file.tell(s)
	for _, n := range it.report.order {
		if n.outcome.Status == nvstar.Failed {
			r.worst(1)
			for _, f := range n.outcome.Failures {
				r.worst(f.Class.Exit())
			}
		}
		if !strings.Contains(n.name, "/") {
			it.file.count(n.name, n.outcome, told(n.outcome))
			r.count(n.outcome)
			if !s.verbose && !n.outcome.NotRun {
				it.report.summary(n.outcome.Status)
			}
		}
	}
	for _, e := range events {
		switch {
		case s.json:
			if line, err := json.Marshal(e); err == nil {
				s.w.Write(append(line, '\n'))
			}
		case s.verbose:
			io.WriteString(s.w, e.Output)
		}
	}
}

// joinTest is a test as its one shard tells of it. One that all shards share is
// what it is in the first of them in which it failed, or else the first, with
// the explorations of all.
func joinTest(t plannedTest, shards []*shardStream) (*testRecord, []event, error) {
	var own []*shardStream
	for _, s := range shards {
		if owns(s.Shard, t.Number, t.Shared) {
			own = append(own, s)
		}
	}
	from := own[0]
	for _, s := range own {
		if s.tests[t.Number].failed() {
			from = s
			break
		}
	}
	test, events := *from.tests[t.Number], slices.Clone(from.events[t.Number])
	test.Explored = slices.Clone(test.Explored)
	for i, x := range test.Explored {
		parts := []nvstar.Explored{x}
		shared := t.Shared && x.Shard.Of > 0 // else who ran it ran all of it
		if shared {
			parts = nil
			for _, s := range own {
				if list := s.tests[t.Number].Explored; i < len(list) {
					parts = append(parts, list[i])
				}
			}
			if len(parts) < len(own) {
				if !test.failed() {
					return nil, nil, fmt.Errorf("of exploration %d only %d shards of %d tell", i+1, len(parts), len(own))
				}
				parts, shared = []nvstar.Explored{x}, false // it ended before its time in some shards, and says why
			}
		}
		joined, err := nvstar.JoinExplored(parts)
		if err != nil {
			return nil, nil, err
		}
		if shared {
			test.replace(events, x, joined.Line)
			test.Explored[i] = *joined
		}
	}
	return &test, events, nil
}

func (t *testRecord) failed() bool {
	return slices.ContainsFunc(t.Nodes, func(n nodeRecord) bool { return n.Status == nvstar.Failed })
}

// replace puts a line in the place of the one that told of an exploration, in the
// output of its test or, of a subtest, of one that it is in.
func (t *testRecord) replace(events []event, x nvstar.Explored, line string) {
	change := func(text string) (string, bool) {
		before, ok := strings.CutSuffix(text, x.Line+"\n")
		return before + line + "\n", ok
	}
	for i := range events {
		if text, ok := change(events[i].Output); ok && strings.HasPrefix(x.Test+"/", events[i].Test+"/") {
			events[i].Output = text
			break
		}
	}
	t.Nodes = slices.Clone(t.Nodes)
	for i := range t.Nodes {
		n := &t.Nodes[i]
		if !strings.HasPrefix(x.Test+"/", n.Name+"/") {
			continue
		}
		n.Logs = slices.Clone(n.Logs)
		for k := range n.Logs {
			if text, ok := change(n.Logs[k]); ok {
				n.Logs[k] = text
				return
			}
		}
	}
}

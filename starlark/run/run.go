package run

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"nvlab/guest"
	"nvlab/internal/states"
	"nvlab/internal/units"
	"nvlab/lab"
	"nvlab/nvdimm/explore"
	nvstar "nvlab/starlark"
)

// A runner is one run.
type runner struct {
	o         Options
	lab       *lab.Lab
	engine    string
	states    *states.Store // nil: no test is cached
	guest     string        // what the default guest is made of
	match     *matcher
	dir       string // of the tests' directories
	artifacts artifacts
	live      *live
	quit      context.CancelCauseFunc // ends the run, with Options.Pause
	last      string                  // the test that the run ends with, as Options.Pause said; "" if it goes on
	files     []*fileRun
	planned   []plannedFile
	seq       sequence
	failed    atomic.Bool
	reached   atomic.Bool // what Options.Reached or AtSnapshot is for; no other test starts
	exit      atomic.Int32

	mu    sync.Mutex
	tally [4]int // tests that ended, by status; the last are those that did not run
}

// A fileRun is a scenario's part in a run.
type fileRun struct {
	path    string
	file    *nvstar.File
	failure *nvstar.Failure // to load it
	items   []*item
	place   int // of its last line

	mu           sync.Mutex
	told         bool // that it starts
	began, ended time.Time
	left         int // items that have not ended
	failed       bool
	skipped      int
	notRun       []string // tests
	why          string   // they were not
	unchecked    []string // tests that passed and checked nothing
}

// An item is one run of one test, from when it was chosen on.
type item struct {
	file   *fileRun
	test   *nvstar.Test
	place  int
	number int // in the plan, from 1
	report testReport
	at     nvstar.Place
	state  itemState // under the runner's mu
	cached bool      // it was told of as it was when it passed
}

// An item goes from each state to the next, or from chosen to ended if the run
// ends first. It is told of as what it was when it ended, once.
type itemState int

const (
	chosen itemState = iota
	running
	ended
)

// Run runs scenarios and returns the exit status. The cause of ctx's end is
// nvstar.ErrInterrupted.
func Run(ctx context.Context, o Options) int {
	line := newLive(o.Stderr, o.Terminal)
	out := &checkedWriter{w: o.Stdout}
	if o.Coloured {
		out.w = colouring{o.Stdout}
	}
	out.w, o.Stderr = line.over(out.w), line.over(o.Stderr) // one at a time, also where both are one writer
	if o.Terminal != nil && o.Progress != nil {
		o.Progress = besideLive{o.Progress, line}
	}
	o.Stdout = out
	r := &runner{o: o, artifacts: artifacts{base: o.Artifacts}, live: line}
	err := r.run(ctx)
	if lost := out.err(); lost != nil && !errors.Is(lost, syscall.EPIPE) { // a reader that went away has interrupted the run
		r.worst(ExitHost)
		err = errors.Join(err, fmt.Errorf("cannot write the report: %w", lost))
	}
	if err != nil {
		fmt.Fprintf(o.Stderr, "%s: %v\n", cmp.Or(o.Name, "nvlab run"), err)
	}
	return int(r.exit.Load())
}

// worst keeps the greatest exit status.
func (r *runner) worst(status int) {
	for {
		old := r.exit.Load()
		if int32(status) <= old || r.exit.CompareAndSwap(old, int32(status)) {
			return
		}
	}
}

func (r *runner) run(ctx context.Context) error {
	rng, shuffleSeed, err := r.plan()
	if err != nil {
		r.worst(ExitUsage)
		return err
	}
	if r.o.Pause != nil || r.o.GDB != "" {
		var quit context.CancelCauseFunc
		ctx, quit = context.WithCancelCause(ctx)
		defer quit(nil)
		r.quit, r.o.Timeout, r.o.Parallel, r.o.Cached = quit, 0, 1, false
	}
	if r.o.Timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, r.o.Timeout, &nvstar.TimeoutError{Limit: r.o.Timeout.String()})
		defer cancel()
	}
	usesVM, tests := r.load(ctx, rng)
	r.share()
	if b := r.o.Bundle; b != nil {
		if len(r.files) != 1 || r.files[0].file == nil {
			r.worst(ExitUsage)
			return errors.New("a bundle is of one scenario, which can be loaded")
		}
		if err := b.pack(r.files[0].path, r.files[0].file.Sources()); err != nil {
			r.worst(ExitHost)
			return err
		}
	}
	if err := obeyed(); err != nil {
		r.worst(ExitHost)
		return err
	}
	if r.o.List {
		return r.list(tests)
	}
	if tests == 0 && r.exit.Load() == 0 {
		r.worst(ExitNoTests)
		return r.noTests()
	}
	options := r.o.lab()
	if r.o.GDB != "" {
		if options.GDB, err = r.listenGDB(); err != nil {
			r.worst(ExitUsage)
			return err
		}
		defer options.GDB.Close()
		options.Engine, options.EngineReason = "soft", "for gdb"
	}
	r.lab, err = lab.New(options)
	if err != nil {
		r.worst(ExitHost)
		return err
	}
	engine, why := r.lab.Engine()
	r.engine = engine
	r.layOut()
	lines := []string{fmt.Sprintf("engine: %s (%s)\n", engine, why)}
	if rng != nil {
		lines = append(lines, fmt.Sprintf("-shuffle %d\n", shuffleSeed))
	}
	r.header(lines)
	if usesVM {
		if err := r.lab.Prepare(ctx); err != nil {
			if ctx.Err() == nil && guest.Mistaken(err) {
				r.worst(ExitUsage)
				return err
			}
			r.unprepared(ctx, err)
			return r.writeReports()
		}
	}
	if err := r.openStates(ctx, usesVM); err != nil {
		r.worst(ExitHost)
		return err
	}
	dir, done, err := newTempFolder(r.o.Keep)
	if err != nil {
		r.worst(ExitHost)
		return fmt.Errorf("no folder for the tests' own: %w", err)
	}
	defer done()
	r.dir = dir
	stop := r.live.start(tests)
	r.work(ctx)
	stop()
	r.total()
	return r.writeReports()
}

// plan checks the options and finds the files.
func (r *runner) plan() (*rand.Rand, int64, error) {
	var err error
	if r.match, err = newMatcher(r.o.Run, r.o.Skip); err != nil {
		return nil, 0, err
	}
	rng, seed, err := r.o.shuffle()
	if err != nil {
		return nil, 0, err
	}
	if err := r.o.checkReports(); err != nil {
		return nil, 0, err
	}
	paths := r.o.Paths
	if r.o.Texts == nil {
		if paths, err = Discover(paths); err != nil {
			return nil, 0, err
		}
	}
	for _, p := range paths {
		r.files = append(r.files, &fileRun{path: p})
	}
	return rng, seed, nil
}

// load loads all files and picks their tests.
func (r *runner) load(ctx context.Context, rng *rand.Rand) (usesVM bool, tests int) {
	loader := nvstar.NewLoader()
	loader.Texts = r.o.Texts
	loader.Print = func(text string) { fmt.Fprintln(r.o.Stderr, text) }
	for _, f := range r.files {
		f.file, f.failure = loader.Load(ctx, f.path)
		if r.o.Loaded != nil {
			r.o.Loaded(loader.Sources())
		}
		if f.failure != nil {
			r.worst(f.failure.Class.Exit())
			continue
		}
		for range max(r.o.Count, 1) {
			first := len(f.items)
			for _, t := range f.file.Tests {
				if r.match.match(t.Name) {
					f.items = append(f.items, &item{file: f, test: t})
				}
			}
			if rng != nil {
				round := f.items[first:]
				rng.Shuffle(len(round), func(i, j int) { round[i], round[j] = round[j], round[i] })
			}
		}
		tests += len(f.items)
		usesVM = usesVM || f.file.UsesVM && len(f.items) > 0
	}
	return usesVM, tests
}

func (r *runner) noTests() error {
	switch {
	case len(r.files) == 0:
		return fmt.Errorf("no file *.star in %s", strings.Join(r.o.Paths, ", "))
	case r.o.Run != "" || r.o.Skip != "":
		return fmt.Errorf("no test matches%s", r.o.chosen())
	}
	var names []string
	for _, f := range r.files {
		names = append(names, f.path)
	}
	const most = 3
	if n := len(names) - most; n > 0 {
		names = append(names[:most], fmt.Sprintf("and %d more", n))
	}
	return fmt.Errorf("no tests in %s: a test is a top-level function whose name starts with test_", strings.Join(names, ", "))
}

// layOut gives every test and every file's last line its place in the output.
func (r *runner) layOut() {
	places := 0
	next := func() int { places++; return places - 1 }
	next() // the header
	for _, f := range r.files {
		for _, it := range f.items {
			it.place = next()
		}
		f.place, f.left = next(), len(f.items)
	}
	r.seq = sequence{out: r.o.Stdout, unordered: r.o.JSON, places: make([]place, places)}
	for _, f := range r.files {
		for _, it := range f.items {
			it.report.stream = r.stream(it.place, f.path)
			it.report.item = it.number
			it.report.nodes = make(map[string]*node)
		}
	}
}

func (r *runner) stream(place int, pkg string) stream {
	return stream{w: r.seq.at(place), json: r.o.JSON, pkg: pkg, verbose: r.o.Verbose || r.o.JSON, shard: r.o.Shard.Of > 0}
}

// header writes lines before everything else. As events they belong to the
// first file.
func (r *runner) header(lines []string) {
	s := r.stream(0, r.files[0].path)
	r.files[0].tell(&s)
	for _, line := range lines {
		s.output("", line)
	}
	if sh := r.o.Shard; sh.Of > 0 {
		own := 0
		for _, f := range r.files {
			own += len(f.items)
		}
		rec := &shardRecord{Shard: sh, Engine: r.engine, Seed: r.o.Seed, Run: r.o.Run, Skip: r.o.Skip, Header: lines, Files: r.planned}
		s.shardLine(fmt.Sprintf("shard: %d/%d (%s of plan %s)\n", sh.Index, sh.Of, units.Count(own, "test"), rec.plan()), rec)
	}
}

// shardLine is an output with a record.
func (s *stream) shardLine(line string, r *shardRecord) {
	if s.json {
		s.encode(event{Action: "output", Output: line, Record: &record{Shard: r}})
		return
	}
	s.output("", line)
}

// tell writes a file's first event, once.
func (f *fileRun) tell(s *stream) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.told {
		f.told = true
		s.event("start", "", nil, nil)
	}
}

// begin notes that one of a file's tests starts.
func (f *fileRun) begin(s *stream) {
	f.tell(s)
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.began.IsZero() {
		f.began = time.Now()
	}
}

func (f *fileRun) elapsed() time.Duration {
	if f.ended.IsZero() {
		return 0
	}
	return f.ended.Sub(f.began)
}

// unprepared reports that there is no guest for the scenarios.
func (r *runner) unprepared(ctx context.Context, err error) {
	r.seq.finish(0)
	if ctx.Err() == nil {
		for _, f := range r.files {
			f.failure = cmp.Or(f.failure, &nvstar.Failure{Class: nvstar.Host, Message: err.Error(), Text: fmt.Sprintf("%v: no guest: %v", nvstar.Host, err)})
		}
	}
	for _, f := range r.files {
		if len(f.items) == 0 {
			r.fileEnd(f)
		}
	}
	r.settle(ctx, &nvstar.Failure{Class: nvstar.Host, Message: "there is no guest"})
	r.total()
}

// Tests may take so long to end after the run's context has: after its time
// limit, and after an interrupt.
var (
	timeoutGrace   = 10 * time.Second
	interruptGrace = 3 * time.Second
)

// work runs the tests. It returns when all have ended, or some time after ctx:
// then tests that are within one step, or one call, are left to themselves.
func (r *runner) work(ctx context.Context) {
	r.seq.finish(0)
	queue := make(chan *item)
	go func() {
		defer close(queue)
		for _, f := range r.files {
			for _, it := range f.items {
				select {
				case queue <- it:
				case <-ctx.Done():
					return
				}
			}
		}
	}()
	for _, f := range r.files {
		if len(f.items) == 0 {
			r.fileEnd(f)
		}
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		var workers sync.WaitGroup
		for range r.o.workers() {
			workers.Go(func() {
				for it := range queue {
					if ctx.Err() == nil && !(r.o.FailFast && r.failed.Load()) && !r.reached.Load() {
						r.test(ctx, it)
					}
				}
			})
		}
		workers.Wait()
	}()
	select {
	case <-done:
	case <-ctx.Done():
		select {
		case <-done:
		case <-time.After(grace(ctx)):
		}
	}
	r.settle(ctx, nil)
}

func grace(ctx context.Context) time.Duration {
	if context.Cause(ctx) == nvstar.ErrInterrupted {
		return interruptGrace
	}
	return timeoutGrace
}

// settle ends all that has not ended when the run does: because of why, or of
// the end of ctx, or of a failure before it with -failfast.
func (r *runner) settle(ctx context.Context, why *nvstar.Failure) {
	if context.Cause(ctx) == nvstar.ErrInterrupted {
		r.worst(nvstar.Interrupted.Exit())
	}
	o := nvstar.Outcome{Status: nvstar.Failed, NotRun: true}
	switch cause := context.Cause(ctx); {
	case cause == nvstar.ErrInterrupted:
		why = &nvstar.Failure{Class: nvstar.Interrupted, Message: "interrupted"}
	case cause != nil:
		why = &nvstar.Failure{Class: nvstar.Scenario, Message: cause.Error()}
	case why == nil && r.reached.Load():
		o = nvstar.Outcome{Status: nvstar.Skipped, NotRun: true, Reason: "not run: what was looked for was reached"}
	case why == nil:
		o = nvstar.Outcome{Status: nvstar.Skipped, NotRun: true, Reason: "not run: a test failed, and -failfast was given"}
	}
	if why != nil {
		text := "not run: " + why.Message
		o.Failures = []*nvstar.Failure{{Class: why.Class, Message: text, Text: text}}
	}
	for _, f := range r.files {
		for _, it := range f.items {
			switch r.state(it) {
			case chosen:
				r.end(it, o, func() { it.report.notRun(it.test.Name, &o, told(&o)) })
			case running:
				r.abandon(it, unended(ctx, it))
			}
		}
	}
}

// told is why a test did not pass, as text.
func told(o *nvstar.Outcome) string {
	var b strings.Builder
	if o.Reason != "" {
		fmt.Fprintln(&b, o.Reason)
	}
	for _, f := range o.Failures {
		fmt.Fprintln(&b, f.Text)
	}
	if o.Unchecked {
		fmt.Fprintln(&b, "no check ran")
	}
	return b.String()
}

// unended is the failure of a test that did not end when the run did. Within
// one step of the scenario it is the scenario's; within a call it waits for the
// host.
func unended(ctx context.Context, it *item) *nvstar.Failure {
	f := &nvstar.Failure{Class: nvstar.Scenario}
	where := "one step of the scenario"
	if call := it.at.Call(); call != "" {
		f.Class, where = nvstar.Host, call
	}
	if context.Cause(ctx) == nvstar.ErrInterrupted {
		f.Class = nvstar.Interrupted
	}
	f.Message = fmt.Sprintf("%v, and %v later the test had not ended: it is in %s", context.Cause(ctx), grace(ctx), where)
	f.Text = fmt.Sprintf("%s: %s: %s", it.test.Pos, f.Class, f.Message)
	return f
}

// abandon ends the report of a test that goes on.
func (r *runner) abandon(it *item, f *nvstar.Failure) {
	o := nvstar.Outcome{Status: nvstar.Failed, Failures: []*nvstar.Failure{f}}
	r.end(it, o, func() { it.report.abandon(&o, told(&o)) })
}

func (r *runner) state(it *item) itemState {
	r.mu.Lock()
	defer r.mu.Unlock()
	return it.state
}

// enter takes an item to running or ended, unless it is beyond that.
func (r *runner) enter(it *item, s itemState) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if it.state >= s {
		return false
	}
	it.state = s
	return true
}

// test runs one test.
func (r *runner) test(ctx context.Context, it *item) {
	if !r.enter(it, running) {
		return
	}
	defer func() {
		if v := recover(); v != nil {
			text := fmt.Sprintf("%v: %v\n%s", nvstar.Bug, v, debug.Stack())
			r.abandon(it, &nvstar.Failure{Class: nvstar.Bug, Message: fmt.Sprint(v), Text: text})
		}
	}()
	it.file.begin(&it.report.stream)
	r.live.begin(it)
	defer r.live.end(it)
	var shard explore.Shard
	if it.test.Explores {
		shard = r.o.Shard
	}
	w := &watcher{r: r, it: it}
	env := nvstar.Env{Lab: r.lab, Watcher: w, Verbose: r.o.Verbose, Steps: r.o.Steps, State: r.o.State, Place: &it.at, Shard: shard, Exploring: func(e nvstar.Exploring) { r.live.explores(it, e) }, Explored: it.report.note,
		Repeat: func(test, state string) string { return r.o.repeat(it.file.path, test, r.engine, state) }}
	if r.o.Reached != nil {
		env.Reached = func(ctx context.Context, at *nvstar.Reached) error {
			r.reached.Store(true)
			defer r.live.hold()()
			return r.o.Reached(ctx, at)
		}
	}
	if r.o.Snapshot != "" {
		env.Snapshot = r.o.Snapshot
		env.AtSnapshot = func(ctx context.Context, vm *lab.VM) error {
			r.reached.Store(true)
			defer r.live.hold()()
			return r.o.AtSnapshot(ctx, vm)
		}
	}
	if b := r.o.Bundle; b != nil {
		reach := env.Reached
		env.Inputs = &lab.Inputs{}
		env.Reached = func(ctx context.Context, at *nvstar.Reached) error {
			b.carry(env.Inputs.Used())
			return reach(ctx, at)
		}
	}
	if r.o.HTML != "" {
		env.Called, env.Detailed = it.report.called, true
	}
	if heard := r.o.Recovered; heard != nil {
		env.Recovered = func(test, console string) { heard(it.file.path, test, console) }
	}
	if r.o.Pause != nil {
		env.Pause = r.pause
	}
	outcome := r.runOrRecall(ctx, it, w, env)
	r.end(it, *outcome, func() {})
}

// pause lets somebody look at a test. A test that failed ends as it would, with what
// it leaves, before the run does.
func (r *runner) pause(p *nvstar.Paused) {
	if r.last != "" {
		return
	}
	release := r.live.hold()
	quit := r.o.Pause(p)
	release()
	if !quit {
		return
	}
	if r.last = p.Test; p.Why == "" {
		r.quit(nvstar.ErrInterrupted)
	}
}

// end notes how an item ended, once, and tells of it.
func (r *runner) end(it *item, o nvstar.Outcome, tell func()) {
	if !r.enter(it, ended) {
		return
	}
	f := it.file
	f.begin(&it.report.stream)
	tell()
	if o.Status == nvstar.Failed {
		r.failed.Store(true)
		r.worst(1)
		for _, failure := range o.Failures {
			r.worst(failure.Class.Exit())
		}
	}
	r.seq.finish(it.place)
	last := f.count(it.test.Name, &o, told(&o))
	r.count(&o)
	if last {
		r.fileEnd(f)
	}
}

// count adds the outcome of a test to the file's, and says whether it is the
// last.
func (f *fileRun) count(test string, o *nvstar.Outcome, why string) (last bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.left--
	f.failed = f.failed || o.Status == nvstar.Failed
	if o.Status == nvstar.Skipped {
		f.skipped++
	}
	if o.NotRun {
		f.notRun = append(f.notRun, test)
		f.why = strings.TrimSpace(why)
	}
	if o.Unchecked && !slices.Contains(f.unchecked, test) {
		f.unchecked = append(f.unchecked, test)
	}
	return f.left == 0
}

func (r *runner) count(o *nvstar.Outcome) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if o.NotRun {
		r.tally[3]++
	} else {
		r.tally[o.Status]++
	}
}

// fileEnd writes a file's last line.
func (r *runner) fileEnd(f *fileRun) {
	s := r.stream(f.place, f.path)
	f.begin(&s) // if it has no tests
	if f.ended.IsZero() {
		f.ended = time.Now()
	}
	elapsed := f.elapsed()
	took := f.took(elapsed)
	status := nvstar.Passed
	if len(f.notRun) > 0 && !r.o.Verbose && !r.o.JSON {
		s.output("", fmt.Sprintf("%s: %s\n", f.why, strings.Join(f.notRun, ", ")))
	}
	switch {
	case f.failure != nil:
		s.output("", f.failure.Text+"\n")
		s.output("", fmt.Sprintf("FAIL  %s  [%s]\n", f.path, f.failure.Class))
		status = nvstar.Failed
	case f.failed:
		s.output("", fmt.Sprintf("FAIL  %s  %s\n", f.path, took))
		status = nvstar.Failed
	case len(f.items) == 0:
		if r.o.Run == "" && r.o.Skip == "" && r.o.Shard.Of == 0 {
			s.output("", fmt.Sprintf("?     %s  [no tests]\n", f.path))
		}
		status = nvstar.Skipped
	case f.skipped > 0:
		s.output("", fmt.Sprintf("ok    %s  %s  (%d skipped)%s\n", f.path, took, f.skipped, f.noChecks()))
	default:
		s.output("", fmt.Sprintf("ok    %s  %s%s\n", f.path, took, f.noChecks()))
	}
	s.event(status.String(), "", &elapsed, &record{File: &fileRecord{f.failure, f.began, elapsed}})
	r.seq.finish(f.place)
}

// noChecks tells of tests that passed without a check.
func (f *fileRun) noChecks() string {
	const most = 3
	names := slices.Sorted(slices.Values(f.unchecked))
	switch n := len(names); {
	case n == 0:
		return ""
	case n > most:
		return fmt.Sprintf("  (no check ran in %s and %d more)", strings.Join(names[:most], ", "), n-most)
	}
	return fmt.Sprintf("  (no check ran in %s)", strings.Join(names, ", "))
}

// total writes the last lines: what was kept, and what failed.
func (r *runner) total() {
	if r.o.JSON {
		return
	}
	if r.o.Keep {
		fmt.Fprintf(r.o.Stdout, "kept: %s\n", r.dir)
	}
	if r.o.Reuse == "verify" && r.lab != nil {
		fmt.Fprintf(r.o.Stdout, "compared: %s\n", units.Count(r.lab.Compared(), "state"))
	}
	if r.exit.Load() == 0 {
		return
	}
	var parts []string
	for i, word := range []string{"passed", "failed", "skipped", "not run"} {
		if n := r.tally[i]; n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, word))
		}
	}
	unloaded := 0
	for _, f := range r.files {
		if f.failure != nil && f.file == nil {
			unloaded++
		}
	}
	if unloaded > 0 {
		files := "files"
		if unloaded == 1 {
			files = "file"
		}
		parts = append(parts, fmt.Sprintf("%d %s not loaded", unloaded, files))
	}
	if dir := r.artifacts.folderMade(); dir != "" {
		parts = append(parts, "artifacts in "+dir)
	}
	if len(parts) > 0 {
		fmt.Fprintf(r.o.Stdout, "FAIL: %s\n", strings.Join(parts, ", "))
	}
}

// A watcher is told of one test.
type watcher struct {
	r    *runner
	it   *item
	kept string                  // what Closing tells of the test that ends next
	was  map[string]*fingerprint // what files held before the test, by path
}

func (w *watcher) Match(name string) bool   { return w.r.match.match(name) }
func (w *watcher) Output(name, text string) { w.it.report.log(name, text) }

func (w *watcher) Start(name string) {
	w.it.report.start(name)
	w.r.live.enter(w.it, name)
}

// Dir makes a fresh directory whose last parts are the scenario's and the
// test's name.
func (w *watcher) Dir(name string) (string, error) {
	base := strings.TrimSuffix(filepath.Base(w.it.file.path), ".star")
	parent := filepath.Join(w.r.dir, fmt.Sprintf("%s-%d", fileName(base), w.it.place))
	if err := os.MkdirAll(parent, 0o755); err != nil {
		return "", err
	}
	return newFolder(filepath.Join(parent, fileName(strings.Join(fileNames(name), "."))))
}

// A failure shows so many lines of a console: if the guest did what it was told,
// a few of those that came after its boot, and more if it may say what went
// wrong. The artifacts have all of it.
const (
	consoleLines     = 40
	calmConsoleLines = 8
)

func (w *watcher) Closing(ctx context.Context, name string, o *nvstar.Outcome, x *lab.Experiment) {
	w.kept = ""
	if w.r.o.Ended != nil && x != nil {
		w.r.o.Ended(w.it.file.path, name, x)
	}
	var b strings.Builder
	interrupted := ctx.Err() != nil && context.Cause(ctx) == nvstar.ErrInterrupted
	defer func() {
		if x != nil && !interrupted {
			ctx, stop := keeping(ctx)
			defer stop()
			w.r.artifacts.logs.take(ctx, x)
		}
	}()
	if o.Status == nvstar.Failed && len(o.Failures) > 0 && !interrupted {
		w.evidence(ctx, &b, name, o, x)
	}
	if w.r.o.Keep && x != nil {
		fmt.Fprintf(&b, "kept: %s\n", x.Dir())
	}
	w.kept = b.String()
}

func (w *watcher) End(name, dir string, o *nvstar.Outcome) {
	if i := strings.LastIndex(name, "/"); i > 0 {
		w.r.live.enter(w.it, name[:i])
	}
	if w.it.report.end(name, o, told(o)+w.kept) && o.Status == nvstar.Failed {
		for _, f := range o.Failures {
			w.r.worst(f.Class.Exit())
		}
	}
	if dir != "" && !w.r.o.Keep {
		os.RemoveAll(dir)
	}
	if w.r.last == name {
		w.r.quit(nvstar.ErrInterrupted)
	}
}

// evidence adds the console's end, where artifacts are and how to repeat the
// test.
func (w *watcher) evidence(ctx context.Context, b io.Writer, name string, o *nvstar.Outcome, x *lab.Experiment) {
	text, calm := "", true
	for _, f := range o.Failures {
		text += f.Text + "\n"
		if f.Class != nvstar.Check && f.Class != nvstar.Scenario {
			calm = false
		}
	}
	for _, v := range o.Evidence.VMs {
		console, lines := v.Console(), consoleLines
		if calm {
			console, lines = v.ConsoleSinceBoot(), calmConsoleLines
		}
		if tail := ending(console, lines, v.KernelFault()); tail != "" {
			fmt.Fprintf(b, "console of VM %s:\n%s", machineName(v.Number(), v.Test, name), indent(tail, "  | "))
		}
	}
	repeat := w.r.o.repeat(w.it.file.path, name, w.r.engine, cmp.Or(w.r.o.State, o.State))
	if o.Finding != "" {
		io.WriteString(b, o.Finding)
		text += o.Finding
	}
	ctx, stop := keeping(ctx)
	defer stop()
	dir, err := w.r.artifacts.keep(ctx, w.was, w.it.file.path, name, text+"repeat: "+repeat+"\n", o, x)
	if dir != "" {
		fmt.Fprintf(b, "artifacts: %s\n", dir)
		w.it.report.left(name, dir)
	}
	if err != nil {
		fmt.Fprintf(b, "artifacts are not complete: %v\n", err)
	}
	fmt.Fprintf(b, "repeat: %s\n", repeat)
}

// keeping is the context of what is kept of a test: an interrupt ends it, and
// some time after its limit the run's time.
func keeping(ctx context.Context) (context.Context, func()) {
	keep, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, func() {
		if context.Cause(ctx) == nvstar.ErrInterrupted {
			cancel(nvstar.ErrInterrupted)
			return
		}
		select {
		case <-keep.Done():
		case <-time.After(timeoutGrace / 2):
			cancel(context.Cause(ctx))
		}
	})
	return keep, func() { stop(); cancel(nil) }
}

// Opened notes what a file that is not the test's own holds, so that what the
// test changed of it can be told.
func (w *watcher) Opened(ctx context.Context, path string) error {
	if w.was == nil {
		w.was = make(map[string]*fingerprint)
	}
	if w.was[path] != nil {
		return nil
	}
	p, err := fingerprintOf(ctx, path)
	if err == nil {
		w.was[path] = p
	}
	return err
}

// ending is the last n lines of a console, after the line where the kernel's fault
// begins if that is further up.
func ending(console string, n int, fault string) string {
	tail := lastLines(console, n)
	at := strings.LastIndex(console, fault)
	if fault == "" || at < 0 || strings.Contains(tail, fault) {
		return tail
	}
	first, _, _ := strings.Cut(console[strings.LastIndex(console[:at], "\n")+1:], "\n")
	return strings.TrimRight(first, "\r") + "\n...\n" + tail
}

func lastLines(text string, n int) string {
	lines := strings.Split(strings.TrimRight(strings.ReplaceAll(text, "\r", ""), "\n"), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}

package run

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"path/filepath"
	"time"

	"nvlab/internal/states"
	"nvlab/lab"
	nvstar "nvlab/starlark"
)

// A testKey is all that determines how a test ends and is known before. What it
// takes from outside of its folder while it runs is its Inputs.
type testKey struct {
	Program                 states.Sum
	Path, File, Test        string // File is absolute
	Run, Skip               string
	Sources                 [32]byte
	Engine, Kernel, Release string
	Cache, Agent, Cmdline   string
	Seed, Steps             uint64
	AllowPaths              []string
	Guest                   string
	Verbose                 bool
}

// recordVersion is raised whenever the encoding of a cachedTest gets another
// meaning.
const recordVersion = 1

// A cachedTest is a test that passed: its inputs, and all that was told of it.
type cachedTest struct {
	Version int
	Inputs  *lab.SavedInputs
	Told    []call
}

// A call is a call of a Watcher.
type call struct {
	Test    string
	Text    string         // of Output
	Outcome *cachedOutcome // of End
	Start   bool
}

// A cachedOutcome is the outcome of a test, or a subtest, that did not fail.
type cachedOutcome struct {
	Status    nvstar.Status
	Reason    string
	Elapsed   time.Duration
	Unchecked bool
}

// cacheName names a test's record; false if the test is not to be cached.
func (r *runner) cacheName(it *item) (n states.Name, ok bool) {
	o := &r.o
	switch {
	case !o.Cached || o.Reuse != "on" || r.engine != "soft" || it.test.Explores:
		return n, false
	case o.State != "" || o.Reached != nil || o.Snapshot != "" || o.Shard.Of > 0 || o.Keep || o.Ended != nil || o.Count > 1 || o.HTML != "" || o.KCIDB != "": // what calls did, and on which kernels, is not kept
		return n, false
	}
	file, err := filepath.Abs(it.file.path)
	if err != nil {
		return n, false
	}
	program, err := states.Program()
	if err != nil {
		return n, false
	}
	text, err := json.Marshal(testKey{
		Program: program, Path: it.file.path, File: file, Test: it.test.Name, Run: o.Run, Skip: o.Skip, Sources: it.file.file.Sum,
		Engine: o.Engine, Kernel: o.Kernel, Release: o.Release, Cache: o.Cache, Agent: o.Agent, Cmdline: o.Cmdline,
		Seed: o.Seed, Steps: o.Steps, AllowPaths: o.AllowPaths, Guest: r.guest, Verbose: o.Verbose,
	})
	if err != nil {
		return n, false
	}
	return states.Name{Family: sha256.Sum256([]byte("tests")), Key: sha256.Sum256(text)}, true
}

// cached tells of a test as it was told of when it passed, if its inputs are as
// they were.
func (r *runner) cached(ctx context.Context, w *watcher, name states.Name) *nvstar.Outcome {
	for _, f := range r.states.Find(name) {
		rec, err := decodeRecord(f.Meta())
		if err == nil {
			err = r.lab.Hold(ctx, rec.Inputs)
		}
		if err == nil {
			_, err = f.Images(nil) // there are none: it was used
		}
		f.Close()
		if err == nil {
			return rec.tell(w)
		}
	}
	return nil
}

func decodeRecord(b []byte) (*cachedTest, error) {
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	rec := &cachedTest{}
	if err := d.Decode(rec); err != nil {
		return nil, fmt.Errorf("no record of a test: %w", err)
	}
	n := len(rec.Told)
	if rec.Version != recordVersion || rec.Inputs == nil || n == 0 || rec.Told[n-1].Outcome == nil {
		return nil, fmt.Errorf("no record of a test, of version %d: want %d", rec.Version, recordVersion)
	}
	for _, t := range rec.Told {
		if o := t.Outcome; o != nil && o.Status != nvstar.Passed && o.Status != nvstar.Skipped {
			return nil, fmt.Errorf("a record of a test that failed")
		}
	}
	return rec, nil
}

// tell tells a watcher of the test, and returns its outcome.
func (rec *cachedTest) tell(w *watcher) (last *nvstar.Outcome) {
	for _, t := range rec.Told {
		switch o := t.Outcome; {
		case o != nil:
			last = &nvstar.Outcome{Status: o.Status, Reason: o.Reason, Elapsed: o.Elapsed, Unchecked: o.Unchecked, Cached: true}
			w.End(t.Test, "", last)
		case t.Start:
			w.Start(t.Test)
		default:
			w.Output(t.Test, t.Text)
		}
	}
	return last
}

// A recorder is a watcher that notes what it is told.
type recorder struct {
	*watcher
	told []call
}

func (c *recorder) Start(name string) {
	c.told = append(c.told, call{Test: name, Start: true})
	c.watcher.Start(name)
}

func (c *recorder) Output(name, text string) {
	c.told = append(c.told, call{Test: name, Text: text})
	c.watcher.Output(name, text)
}

func (c *recorder) End(name, dir string, o *nvstar.Outcome) {
	c.told = append(c.told, call{Test: name, Outcome: &cachedOutcome{o.Status, o.Reason, o.Elapsed, o.Unchecked}})
	c.watcher.End(name, dir, o)
}

// keep keeps a test that passed.
func (r *runner) keep(name states.Name, label string, c *recorder, in *lab.Inputs) error {
	inputs, err := in.Save()
	if err != nil {
		return err
	}
	meta, err := json.Marshal(cachedTest{recordVersion, inputs, c.told})
	if err != nil {
		return err
	}
	if _, err := decodeRecord(meta); err != nil {
		return err // a subtest that was expected to fail
	}
	variant, err := json.Marshal(inputs)
	if err != nil {
		return err
	}
	name.Variant = sha256.Sum256(variant)
	return r.states.Put(name, states.State{Label: label, Meta: meta})
}

// runOrRecall runs a test, or tells of it as it was when it passed.
func (r *runner) runOrRecall(ctx context.Context, it *item, w *watcher, env nvstar.Env) *nvstar.Outcome {
	name, ok := r.cacheName(it)
	if !ok {
		return it.test.Run(ctx, env)
	}
	if o := r.cached(ctx, w, name); o != nil {
		it.cached = true
		return o
	}
	c := &recorder{watcher: w}
	env.Watcher, env.Inputs = c, &lab.Inputs{}
	o := it.test.Run(ctx, env)
	if o.Status == nvstar.Passed && ctx.Err() == nil {
		r.keep(name, fmt.Sprintf("test %s of %s", it.test.Name, it.file.path), c, env.Inputs) // if not, it is run again
	}
	return o
}

// openStates opens the folder of states, and names the default guest.
func (r *runner) openStates(ctx context.Context, usesVM bool) error {
	if !r.o.Cached || r.o.Reuse != "on" {
		return nil
	}
	var err error
	if r.states, err = lab.States(r.o.Cache, r.o.States); err != nil {
		return err
	}
	if usesVM {
		r.guest, err = r.lab.GuestIdentity(ctx)
	}
	return err
}

// took is what a file's last line says of its time: nothing of a file whose
// tests all passed before.
func (f *fileRun) took(elapsed time.Duration) string {
	for _, it := range f.items {
		if !it.cached {
			return fmt.Sprintf("%.1fs", elapsed.Seconds())
		}
	}
	return "(cached)"
}

// Package lab composes experiments: machines, their backends and DIMMs, and
// the guests that run in them. The scenario language is a thin skin over it.
//
// A [Lab] serves a whole run, an [Experiment] one test: what hangs off an
// experiment ends with it, and returns [ErrClosed] from then on. Zero values of
// options are their defaults.
//
// A Lab's methods may be called from any goroutine. An experiment, with its
// machines, DIMMs, backends and traces, is for one goroutine at a time; those
// of different experiments run side by side. A guest runs only while a call
// such as Boot, Run or Wait is under way; ctx ends such a call.
//
// Errors have a class, see [ClassOf]: the scenario's mistake, the guest's
// failure, the host's, nvlab's own.
//
// The guest's pid 1 is a program of its own, cmd/nvlab-agent: the file that
// [Options].Agent names, one beside the running program, or one that the Go
// toolchain builds once. A program of the caller's that is named there begins
// its main with agent.Main of nvlab/guest/agent, and is static.
package lab

import (
	"cmp"
	"context"
	"sync/atomic"

	"nvlab/guest"
	"nvlab/internal/states"
	"nvlab/vmm"
	"nvlab/vmm/soft"
)

// Options are what a run fixes for all its experiments.
type Options struct {
	Cache        string   // folder of guest images; "" is the user's
	Engine       string   // "auto", "soft" or "kvm"; "" is "auto"
	EngineReason string   // why Engine is what it is; "" is that it was asked for
	Kernel       string   // name of the guest; "" is the installed default
	Release      string   // of Debian, that guests are made of; "" is the default guest's
	Agent        string   // static linux/amd64 binary that is pid 1; "" is nvlab's own
	Seed         uint64   // all randomness derives from it
	Cmdline      string   // words for every kernel, before the VM's own
	AllowPaths   []string // folders beside the experiment's own that backends may lie in
	// Carried has files of the host that pushes name, by their absolute paths there,
	// and where they are instead.
	Carried  map[string]string
	Reuse    bool   // boots are taken from the states that earlier runs kept
	Verify   bool   // with Reuse: boots are computed all the same, and compared with the states
	States   string // folder of these states; "" is the one beside the guests
	GDB      *GDB   // looks at its machines; nil for nobody. Nothing is reused then
	Progress guest.Progress
	Parallel int // processors that an experiment may use at a time; 0 for all
}

// A Lab is shared by the experiments of one run, which may run in parallel.
type Lab struct {
	opts   Options
	engine vmm.Engine
	memory *memoryGate
	images images
	states *states.Store // nil: nothing is reused

	prefixes prefixes // that were computed

	translations *soft.Translations // of all its machines
	compared     atomic.Int64       // boots, with Verify
	symbols      parsedSymbols
}

// New checks the options and chooses the engine. It boots nothing.
func New(opts Options) (*Lab, error) {
	opts.Engine = cmp.Or(opts.Engine, "auto")
	shared := soft.NewTranslations()
	engine, err := newEngine(opts.Engine, shared)
	if err != nil {
		return nil, err
	}
	l := &Lab{opts: opts, engine: engine, translations: shared, memory: newMemoryGate()}
	if opts.Reuse && opts.GDB == nil {
		if l.states, err = States(opts.Cache, opts.States); err != nil {
			return nil, &Error{Class: ClassHost, Err: err}
		}
	}
	return l, nil
}

// Engine is the engine in use unless a VM names its own, and why it was taken.
func (l *Lab) Engine() (name, why string) {
	return l.engine.Name(), engineReason(l.opts.Engine, l.opts.EngineReason, l.engine)
}

// Prepare makes the default guest's image, showing progress. Boot would do it
// as well; a run does it first so that no test is charged for it.
func (l *Lab) Prepare(ctx context.Context) error {
	_, err := l.image(ctx, guest.Spec{})
	return err
}

// Experiment starts a test's experiment in dir, which must exist.
func (l *Lab) Experiment(name, dir string) *Experiment {
	return &Experiment{lab: l, name: name, dir: dir}
}

// Package run finds the tests of scenarios, runs them and reports how they
// ended: as text, as the stream of go test -json, as JUnit XML, as KTAP, as a report for KCIDB and as a page of HTML.
package run

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"runtime"
	"strconv"
	"time"

	"nvlab/guest"
	"nvlab/lab"
	"nvlab/nvdimm/explore"
	nvstar "nvlab/starlark"
)

// Exit statuses beside those of failures (see nvstar.Class).
const (
	ExitPassed  = 0
	ExitUsage   = 2
	ExitHost    = 3
	ExitNoTests = 5
)

// Options are a run's: what the flags of nvlab run say.
type Options struct {
	Paths []string // files, and folders to search for *.star

	Run        string                                       // regular expressions for the levels of a name, joined by /
	Skip       string                                       // likewise, of tests that do not run
	List       bool                                         // names only; with JSON what is known of each
	State      string                                       // id of the one crash state to look at; "" for all
	Reached    func(context.Context, *nvstar.Reached) error // what to do there instead; nil for nothing
	Snapshot   string                                       // id of the snapshot to go to; "" for none
	AtSnapshot func(context.Context, *lab.VM) error         // what to do there
	Bundle     *Bundle                                      // to fill in there; nil for none
	Shard      explore.Shard                                // the part of the tests, and of what they explore; the zero value is all
	Verbose    bool
	FailFast   bool
	Count      int    // runs of each test; 0 is 1
	Shuffle    string // "off", "on" or a seed; "" is "off"
	Parallel   int    // tests at a time; 0 is one per core
	Timeout    time.Duration
	Steps      uint64 // a test may take; 0 is the default

	JSON      bool
	JUnit     string // file to write, or ""
	KTAP      string // likewise
	HTML      string // likewise
	KCIDB     string // likewise
	Origin    string // whose report it is, for KCIDB
	Keep      bool   // the tests' directories
	Artifacts string // folder for what failed tests leave; "" is one in the temporary folder

	Engine, Kernel, Release, Cache, Agent string // see lab.Options
	EngineReason                          string // likewise
	Reuse                                 string // "on" or "verify": see lab.Options; all else is off
	States                                string // see lab.Options
	Cached                                bool   // with Reuse: a test that passed is not run while its inputs are as they were
	Seed                                  uint64
	Cmdline                               string
	AllowPaths                            []string
	Carried                               map[string]string // likewise

	Loaded  func(paths []string) // is told of the files that were read so far; nil if nobody wants to know
	Texts   map[string]string    // of scenarios that are in no file, by their paths: these are all
	Name    string               // of the command, in errors; "" is nvlab run
	Command []string             // a command of nvlab, with its arguments, that a report names to repeat a test; nil is nvlab run

	// Pause lets somebody look at a test where it fails, and says whether the run ends
	// then; nil for nobody. Tests run one at a time then, without a time limit.
	Pause func(*nvstar.Paused) (quit bool)

	// GDB is the address where gdb is waited for, "" for nobody. Then tests run one at a
	// time, without a time limit, and nothing is reused.
	GDB string

	Stdout, Stderr io.Writer
	Progress       guest.Progress
	Terminal       func() (rows, cols int) // the size of Stderr, if it is a terminal on which lines can be drawn again; nil otherwise
	Coloured       bool                    // Stdout may have colours

	// Ended, if set, is called at the end of each test, before its machines
	// go. Tests that run in parallel call it at the same time.
	Ended func(scenario, test string, x *lab.Experiment)
	// Recovered, if set, is called before that with the console of each VM in which
	// an exploration ran a recovery; one at a time within a test.
	Recovered func(scenario, test, console string)
}

func (o *Options) lab() lab.Options {
	return lab.Options{
		Cache: o.Cache, Engine: o.Engine, EngineReason: o.EngineReason, Kernel: o.Kernel, Release: o.Release, Agent: o.Agent,
		Seed: o.Seed, Cmdline: o.Cmdline, AllowPaths: o.AllowPaths, Carried: o.Carried, Progress: o.Progress, Parallel: o.Parallel,
		States: o.States, Reuse: o.Reuse == "on" || o.Reuse == "verify", Verify: o.Reuse == "verify",
	}
}

// shuffle returns the generator that -shuffle asks for, nil for none, and its
// seed.
func (o *Options) shuffle() (*rand.Rand, int64, error) {
	var seed int64
	switch o.Shuffle {
	case "", "off":
		return nil, 0, nil
	case "on":
		if o.Shard.Of > 1 {
			return nil, 0, errors.New("-shuffle on: every shard would have an order of its own: want -shuffle SEED")
		}
		seed = time.Now().UnixNano()
	default:
		var err error
		if seed, err = strconv.ParseInt(o.Shuffle, 10, 64); err != nil {
			return nil, 0, fmt.Errorf(`-shuffle %s: want "on", "off" or a number`, o.Shuffle)
		}
	}
	return rand.New(rand.NewPCG(uint64(seed), 0)), seed, nil
}

func (o *Options) workers() int {
	if o.Parallel > 0 {
		return o.Parallel
	}
	return runtime.NumCPU()
}

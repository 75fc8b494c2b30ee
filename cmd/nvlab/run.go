package main

import (
	"cmp"
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"nvlab/guest/debian"
	nvstar "nvlab/starlark"
	nvrun "nvlab/starlark/run"
)

var runCommand = &command{
	name:  "run",
	args:  "[flags] FILE|DIR...|BUNDLE",
	short: "run the tests of scenarios",
	long: `Runs the tests of scenarios: files *.star, and those in folders. The first line
says which engine runs the machines, and why. What a failed test leaves (console,
kernel log, backends) is kept in a folder that is named, with the command that
repeats the test. Of a bundle (nvlab bundle) the one crash state is shown, with the
options that are in it. With -gdb gdb looks at the guests: docs/gdb.md.

exit status:
    0  all tests passed
    1  a test failed
    2  wrong usage, or a file that cannot be loaded
    3  the guest did not boot, or the host failed
    4  a bug in nvlab
    5  no test matched
  130  interrupted`,
}

func init() {
	runCommand.run = func(ctx context.Context, c *command, args []string) int {
		o := nvrun.Options{Stdout: os.Stdout, Stderr: os.Stderr, Progress: progress()}
		o.Terminal, o.Coloured = screen()
		fs := c.flags()
		fs.StringVar(&o.Run, "run", "", "run only tests whose name matches `RE`; expressions joined by / match the levels of a name")
		fs.StringVar(&o.Skip, "skip", "", "run no test whose name matches `RE`, which is as of -run")
		fs.StringVar(&o.State, "state", "", "of all crash states, look at the one named `ID` only: see trace.crash_states")
		shard := fs.String("shard", "", "run part `I/N` of the tests, and of the states that they explore; I is from 1 to N. If not given: of TEST_SHARD_INDEX and TEST_TOTAL_SHARDS, SLURM_ARRAY_TASK_ID, _MIN and _COUNT, JOB_COMPLETION_INDEX and NVLAB_SHARDS, or CI_NODE_INDEX and CI_NODE_TOTAL, where they are set")
		fs.BoolVar(&o.List, "list", false, "list the tests, run none; with -json what is known of each, a line of JSON a test")
		fs.BoolVar(&o.Verbose, "v", false, "show all tests and what they log")
		fs.BoolVar(&o.FailFast, "failfast", false, "start no test after the first that failed")
		fs.IntVar(&o.Count, "count", 1, "run each test `N` times, also one that passed before")
		fs.StringVar(&o.Shuffle, "shuffle", "off", "`on|off|SEED`: run tests in random order")
		fs.IntVar(&o.Parallel, "parallel", 0, "run `N` tests at a time; 0 is one per core, as far as the host's memory allows")
		fs.DurationVar(&o.Timeout, "timeout", 30*time.Minute, "end the run after the wall time `D` (30m if not given); 0 is never")
		fs.BoolVar(&o.JSON, "json", false, "write the events of go test -json")
		fs.StringVar(&o.JUnit, "junit", "", "write a JUnit report to `FILE`")
		fs.StringVar(&o.KTAP, "ktap", "", "write the kernel's KTAP to `FILE`")
		fs.StringVar(&o.KCIDB, "kcidb", "", "write a report for the kernel's KCIDB to `FILE`: docs/ci.md")
		fs.StringVar(&o.Origin, "kcidb-origin", "", "the `NAME` by which KCIDB knows whose report it is")
		fs.StringVar(&o.HTML, "html", "", "write a report to `FILE`, a page that needs nothing else")
		watch := fs.Bool("watch", false, "run the tests again each time that a scenario changes, until Ctrl-C")
		pause := fs.Bool("pause", false, "where a test fails stop, with its machines as they are, and give a prompt of the language; tests run one at a time, without a time limit")
		fs.StringVar(&o.GDB, "gdb", "", "wait for gdb at `ADDR`, such as localhost:1234, before the first machine runs; tests run one at a time on the software engine, without a time limit")
		fs.BoolVar(&o.Keep, "keep", false, "keep the tests' directories")
		fs.StringVar(&o.Artifacts, "artifacts", os.Getenv("TEST_UNDECLARED_OUTPUTS_DIR"), "keep what failed tests leave in `DIR`, instead of a new one in the temporary folder")
		fs.StringVar(&o.Reuse, "reuse", reuseDefault(), "`on|off`: take boots that were computed before, and tests that passed, from the states that are kept beside the guests")
		c.runFlags(fs, &o)
		files, status, ok := c.parse(fs, args)
		switch {
		case !ok:
			return status
		case len(files) == 0:
			return c.misused("which scenarios? want files *.star or folders")
		case o.Count < 1:
			return c.misused("-count %d: want at least 1", o.Count)
		case o.Parallel < 0:
			return c.misused("-parallel %d: want 0 or more", o.Parallel)
		case o.Reuse != "on" && o.Reuse != "off":
			return c.misused("-reuse %s: want on or off", o.Reuse)
		case o.Timeout < 0:
			return c.misused("-timeout %v: want 0 or more", o.Timeout)
		case o.GDB != "" && o.Engine == "kvm":
			return c.misused("-gdb: KVM's processors cannot be looked at: want --engine=soft")
		case *pause && o.JSON:
			return c.misused("-pause: the prompt and the events of -json would be mixed")
		}
		if err := checkRun(&o); err != nil {
			return c.misused("%v", err)
		}
		var err error
		if o.Shard, err = nvrun.ParseShard(*shard, isGiven(fs, "shard"), os.LookupEnv); err != nil {
			return c.misused("%v", err)
		}
		o.Paths = files
		if len(files) == 1 && filepath.Ext(files[0]) == nvrun.BundleExt {
			done, err := unbundle(&o, files[0], args)
			if err != nil {
				return c.misused("%v", err)
			}
			defer done()
		}
		o.Cached = !isGiven(fs, "count")
		if *pause {
			o.Pause = new(terminal).pause
		}
		if *watch {
			return nvrun.Watch(ctx, o)
		}
		return nvrun.Run(ctx, o)
	}
}

// runFlags are those that decide what the machines of a run do.
func (c *command) runFlags(fs *flag.FlagSet, o *nvrun.Options) {
	fs.Uint64Var(&o.Seed, "seed", 0, "derive all randomness from `N`")
	fs.Uint64Var(&o.Steps, "max-steps", 0, "stop a test after `N` steps of computation; 0 is the default")
	fs.StringVar(&o.Cmdline, "cmdline", "", "`WORDS` for the command line of every kernel, before those of t.vm(cmdline=...)")
	fs.Var((*list)(&o.AllowPaths), "allow-path", "let backends lie in `DIR`, too; may be repeated")
	c.machineFlags(fs, &o.Engine, &o.Kernel, &o.Release, &o.Cache, &o.Agent)
}

// checkRun looks at the values of runFlags and at the state, before anything
// starts.
func checkRun(o *nvrun.Options) error {
	if strings.ContainsAny(o.Cmdline, "\n\x00") {
		return fmt.Errorf("--cmdline %q: a kernel command line is one line", o.Cmdline)
	}
	if err := checkState(o.State); err != nil {
		return err
	}
	return checkMachine(o.Engine, o.Kernel, o.Release)
}

// checkState looks at a state's name, "" if none was given.
func checkState(id string) error {
	if id == "" {
		return nil
	}
	if err := nvstar.CheckState(id); err != nil {
		return fmt.Errorf("--state %w", err)
	}
	return nil
}

// isGiven says whether a flag was given.
func isGiven(fs *flag.FlagSet, name string) (ok bool) {
	fs.Visit(func(f *flag.Flag) { ok = ok || f.Name == name })
	return ok
}

// reuseDefault is what -reuse is if it is not given.
func reuseDefault() string { return cmp.Or(os.Getenv("NVLAB_REUSE"), "on") }

// machineFlags are those that all commands with a machine have.
func (c *command) machineFlags(fs *flag.FlagSet, engine, kernel, release, cache, agent *string) {
	fs.StringVar(engine, "engine", "auto", "`auto|soft|kvm`: what runs the machines")
	fs.StringVar(kernel, "kernel", "", "the guest `NAME` (see nvlab guest list), or a kernel to make one of")
	fs.StringVar(release, "release", "", "make guests of the `RELEASE` of Debian: "+strings.Join(debian.Releases(), ", ")+"; the default guest's if not given")
	fs.StringVar(cache, "cache", "", "the `DIR` of guests, instead of ${XDG_CACHE_HOME:-~/.cache}/nvlab")
	fs.StringVar(agent, "agent", "", "the `FILE` that is pid 1 of guests, a linux/amd64 nvlab-agent, instead of the one beside this program or built of its sources")
}

package main

import (
	"context"
	"fmt"
	"os"
	"strings"

	nvstar "nvlab/starlark"
	nvrun "nvlab/starlark/run"
)

var bundleCommand = &command{
	name:  "bundle",
	args:  "--state ID [-o FILE] [flags] FILE",
	short: "put a crash state and its scenario into one file",
	long: `Runs the test of a scenario up to a crash state, and writes a file that nvlab run
takes somewhere else: the scenario with the files that it loads and those that it
pushes, up to the state, by their absolute paths, the options that decide what its machines do, and, to compare, the version of nvlab, the guest's name,
the state in words and what it differs in from the NVDIMMs before the command.`,
}

func init() {
	bundleCommand.run = func(ctx context.Context, c *command, args []string) int {
		o := nvrun.Options{Parallel: 1, Stdout: os.Stderr, Stderr: os.Stderr, Progress: progress()}
		fs := c.flags()
		out := fs.String("o", "", "the `FILE` to write; the state's id with "+nvrun.BundleExt+" if not given")
		fs.StringVar(&o.State, "state", "", "the crash state `ID`")
		fs.StringVar(&o.Run, "run", "", "the test whose name matches `RE`")
		c.runFlags(fs, &o)
		files, status, ok := c.parse(fs, args)
		switch {
		case !ok:
			return status
		case len(files) != 1:
			return c.misused("of what? want one scenario")
		case o.State == "":
			return c.misused("which crash state? want --state ID, which a report names")
		}
		if err := checkRun(&o); err != nil {
			return c.misused("%v", err)
		}
		b := &nvrun.Bundle{Version: version(), Options: nvrun.BundleOptions{
			Engine: o.Engine, Kernel: o.Kernel, Release: o.Release, Cmdline: o.Cmdline, Seed: o.Seed, Steps: o.Steps,
		}}
		o.Name, o.Paths, o.Bundle = "nvlab bundle", files, b
		o.Reached = func(_ context.Context, at *nvstar.Reached) error { b.Reach(at); return nil }
		if status := nvrun.Run(ctx, o); b.State == "" {
			return notReached(&o, status)
		}
		path := *out
		if path == "" {
			path = o.State + nvrun.BundleExt
		}
		f, err := os.Create(path)
		if err == nil {
			err = b.Write(f)
			if closed := f.Close(); err == nil {
				err = closed
			}
		}
		if err != nil {
			return c.failed(ctx, exitHost, err)
		}
		fmt.Fprintf(stdout, "%s: crash state %s of %s; nvlab run %[1]s shows it\n", path, b.State, b.Test)
		if len(b.Lacks) > 0 {
			fmt.Fprintf(os.Stderr, "nvlab bundle: these are not in it; they have to be there where it runs, with --allow-path: %s\n", strings.Join(b.Lacks, ", "))
		}
		return exitOK
	}
}

// notReached says that there is no bundle after a run that ended with a status.
func notReached(o *nvrun.Options, status int) int {
	fmt.Fprintf(o.Stderr, "nvlab bundle: no file was written, the run did not come to crash state %s\n", o.State)
	if status == exitOK {
		return exitFail
	}
	return status
}

// unbundle has a run be that of a bundle. What it unpacks is in a new folder,
// which done removes; args, those of the command, repeat it.
func unbundle(o *nvrun.Options, path string, args []string) (done func(), err error) {
	b, err := nvrun.OpenBundle(path)
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "nvlab-bundle-")
	if err != nil {
		return nil, err
	}
	done = func() { os.RemoveAll(dir) }
	scenario, carried, err := b.Unpack(dir)
	if err != nil {
		done()
		return nil, err
	}
	fmt.Fprintf(o.Stderr, "%s: made by nvlab %s with the guest %s (this is nvlab %s)\n%s", path, b.Version, b.Guest, version(), b.Description)
	o.Paths, o.State, o.Run = []string{scenario}, b.State, b.Pattern()
	o.Carried, o.EngineReason = carried, "the bundle's"
	o.Command = append([]string{"nvlab", "run"}, args...)
	o.Engine, o.Kernel, o.Release, o.Cmdline, o.Seed, o.Steps = b.Options.Engine, b.Options.Kernel, b.Options.Release, b.Options.Cmdline, b.Options.Seed, b.Options.Steps
	return done, checkMachine(o.Engine, o.Kernel, o.Release)
}

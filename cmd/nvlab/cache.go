package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"text/tabwriter"
	"time"

	"nvlab/internal/spell"
	"nvlab/internal/states"
	"nvlab/internal/units"
	"nvlab/lab"
	nvrun "nvlab/starlark/run"
)

var cacheCommand = &command{
	name:  "cache",
	args:  "list|clean|verify [flags] [FILE|DIR...]",
	short: "list, remove and check what runs keep to reuse",
	long: `What a run computed is kept beside the guests, so that no later run computes it
again: see -reuse and -count of nvlab run.

  nvlab cache list
        lists what is kept, what it takes of the disk and when it was last used
  nvlab cache clean
        removes all of it
  nvlab cache verify [FILE|DIR...]
        reads all of it and compares checksums; then runs the tests of the scenarios
        given, computes every boot and call anew and compares it with what is kept,
        byte for byte. A difference is a bug in nvlab`,
}

func init() {
	cacheCommand.run = func(ctx context.Context, c *command, args []string) int {
		o := nvrun.Options{Stdout: os.Stdout, Stderr: os.Stderr, Progress: progress(), Reuse: "verify"}
		fs := c.flags()
		fs.Uint64Var(&o.Seed, "seed", 0, "as of nvlab run (verify)")
		c.machineFlags(fs, &o.Engine, &o.Kernel, &o.Release, &o.Cache, &o.Agent)
		words, status, ok := c.parse(fs, args)
		switch {
		case !ok:
			return status
		case len(words) == 0:
			return c.misused("want list, clean or verify")
		case words[0] != "verify" && len(words) > 1:
			return c.misused("cache %s takes no names", words[0])
		}
		store, err := lab.States(o.Cache, o.States)
		if err != nil {
			return c.failed(ctx, nvrun.ExitHost, err)
		}
		switch words[0] {
		case "list":
			return c.listStates(store)
		case "clean":
			freed, err := store.Clean()
			fmt.Printf("removed %.1f MiB\n", float64(freed)/(1<<20))
			if err != nil {
				return c.failed(ctx, nvrun.ExitHost, err)
			}
			return 0
		case "verify":
			if status := c.checkStates(store); status != 0 || len(words) == 1 {
				return status
			}
			o.Paths = words[1:]
			return nvrun.Run(ctx, o)
		}
		meant := ""
		if near := spell.Nearest(words[0], []string{"list", "clean", "verify"}); near != "" {
			meant = fmt.Sprintf(" (did you mean %s?)", near)
		}
		return c.misused("there is no %q%s", words[0], meant)
	}
}

func (c *command) listStates(store *states.Store) int {
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	var total int64
	for _, s := range store.List() {
		label := s.Label
		if s.Err != nil {
			label = s.Err.Error()
		}
		total += s.Size
		fmt.Fprintf(w, "%s\t%.1f MiB\t%s\n", label, float64(s.Size)/(1<<20), s.Used.Format(time.DateTime))
	}
	w.Flush()
	fmt.Printf("%.1f MiB of %.1f MiB in %s\n", float64(total)/(1<<20), float64(store.Limit())/(1<<20), store.Dir())
	return 0
}

// checkStates compares all checksums. What is damaged is removed, as a run would
// do.
func (c *command) checkStates(store *states.Store) int {
	good, bad := 0, 0
	for _, s := range store.List() {
		err := s.Err
		if err == nil {
			err = store.Check(s.Name)
		}
		switch {
		case err == nil:
			good++
		case errors.Is(err, fs.ErrNotExist), errors.Is(err, states.ErrOther): // it is of no use, or not without the one that is gone
			store.Remove(s.Name)
		default:
			bad++
			fmt.Printf("%v: removed\n", err)
			store.Remove(s.Name)
		}
	}
	fmt.Printf("checksums: %s whole, %d damaged\n", units.Count(good, "file"), bad)
	if bad > 0 {
		return nvrun.ExitHost
	}
	return 0
}
